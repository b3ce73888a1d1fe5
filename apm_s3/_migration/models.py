"""What a migration moves, by which rules, what makes two objects identical, and what is reported. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Literal, NamedTuple, TypeAlias, TypedDict, get_args

from apm_s3._beneath import no_file
from apm_s3._migration.trees import Patterns
from apm_s3._naming import check_key, counted, on_one_line
from apm_s3.errors import ApmS3Error, BatchError, InvalidKey, InvalidOption, JournalRefused

IfExists = Literal["skip-identical", "overwrite", "fail"]
Verify = Literal["checksum", "read"]
Compare = Literal["all", "content"]


class Capability(NamedTuple):
    """Whether the target keeps one property of objects, such as tags.

    Attributes:
        name: "metadata", "tags", "storage-class", "object-lock", "checksums" or "versions".
        kept: None if only writing to the target could tell.
        needed: whether this migration needs it.
    """

    name: str
    kept: bool | None
    needed: bool
    detail: str

    def __str__(self) -> str:
        kept = {True: "kept", False: "LOST" if self.needed else "not needed", None: "unknown"}[self.kept]
        return f"{self.name}: {kept} ({self.detail})"


@dataclass(frozen=True, slots=True)
class Estimate:
    """The requests that a migration makes, without retries.

    Attributes:
        requests: counted by S3's price classes, "PUT, COPY, POST, LIST" and "GET, HEAD".
    """

    requests: Mapping[str, int]

    def __str__(self) -> str:
        counts = ", ".join(f"{count} of {name}" for name, count in self.requests.items())
        return f"about {counts}"


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """What a migration would do. Making a plan writes nothing.

    Attributes:
        objects, bytes: the source's objects after include and exclude, and their size.
        new: objects that the target lacks.
        changed: objects whose content at the target differs, or cannot be compared by listings.
        identical: objects that the target already has.
        extra: objects that only the target has; `delete_extra` says whether they would be deleted.
        bytes_to_move: size of the new and changed objects.
        server_side: whether S3 does the copying, so that no content passes through this machine.
        skipped: names that cannot be moved, with the reason; at most 1000.
    """

    source: str
    target: str
    objects: int
    bytes: int
    new: int
    changed: int
    identical: int
    extra: int
    bytes_to_move: int
    server_side: bool
    delete_extra: bool
    estimate: Estimate
    capabilities: tuple[Capability, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def losses(self) -> tuple[Capability, ...]:
        """Return the properties that are needed but not kept by the target."""
        return tuple(one for one in self.capabilities if one.needed and one.kept is False)

    def __str__(self) -> str:
        how = "copied by S3" if self.server_side else "streamed"
        extra = "to be deleted" if self.delete_extra else "left alone"
        lines = [
            f"{self.source} -> {self.target} ({how})",
            f"  {counted(self.objects, 'object')}, {counted(self.bytes, 'byte')}",
            f"  {self.new} new, {self.changed} changed, {self.identical} identical, {self.extra} extra ({extra})",
            f"  {counted(self.bytes_to_move, 'byte')} to move",
            f"  {self.estimate}",
            *(f"  {one}" for one in self.capabilities),
            *(f"  skip {on_one_line(key)} ({reason})" for key, reason in self.skipped.items()),
        ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class MigrationProgress:
    """How far a migration has come.

    Attributes:
        phase: "moving", "retrying", "verifying", "deleting" or "done".
        done: objects that are at the target, including those that were already there.
        listed: objects found so far; `listing_complete` says whether these are all.
        bytes: size of the objects that this run moved.
        listed_bytes: size of all objects found so far.
        elapsed: seconds since this run began.
        before: how many of `done` were there when this run began: of earlier runs with the same journal.
    """

    phase: str
    done: int
    failed: int
    bytes: int
    listed: int
    listed_bytes: int
    listing_complete: bool
    elapsed: float
    before: int = 0

    @property
    def seconds_left(self) -> float | None:
        """Estimate the remaining seconds from the objects of this run so far; None while that is not possible."""
        left, handled = self.listed - self.done - self.failed, self.done + self.failed - self.before
        if not self.listing_complete or (left and handled <= 0):
            return None
        return left * self.elapsed / handled if left else 0.0


OnMigrationProgress: TypeAlias = Callable[[MigrationProgress], object]
"""Called in the event loop a few times a second, so it must not block. Its exceptions are logged and ignored."""


class MigrationFailure(NamedTuple):
    """An object that was not moved, or differs from its source."""

    key: str
    version: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a migration did, including earlier runs with the same journal.

    Attributes:
        moved: objects that were copied.
        identical: objects that the target already had.
        compare: what made them identical: "all" that is carried over, or only their "content".
        vanished: objects that were deleted from the source before they were moved.
        deleted: extra objects that were deleted from the target.
        kept: extra objects that were not deleted because something had failed.
        verified: objects that were compared with the target after everything had moved, without the trusted ones.
        trusted: objects that went unsigned over plain HTTP, because of `trust_network`, and match as far as responses
            over plain HTTP tell.
        not_carried: what objects may have and no migration carries over: "acls", between prefixes.
        failed: objects that failed in the end; `failures` has at most 1000 of them, the journal has all.
        bytes: size of the moved objects.
        resumed: whether an earlier run began the journal.
        skipped: names that cannot be moved, with the reason; at most 1000.
        duration: seconds that this run took.
    """

    source: str
    target: str
    objects: int = 0
    moved: int = 0
    identical: int = 0
    vanished: int = 0
    deleted: int = 0
    kept: int = 0
    verified: int = 0
    trusted: int = 0
    compare: Compare = "all"
    not_carried: tuple[str, ...] = ()
    failed: int = 0
    bytes: int = 0
    failures: tuple[MigrationFailure, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    resumed: bool = False
    duration: float = 0.0

    @property
    def ok(self) -> bool:
        """Return whether everything is at the target, verified or trusted."""
        return not self.failed and not self.kept

    def raise_for_failures(self) -> None:
        """Raise if anything failed.

        Raises:
            BatchError: something failed; its `failures` maps the first 1000 keys to their errors.
        """
        if self.ok:
            return
        first = f"; the first is '{self.failures[0].key}': {self.failures[0].error}" if self.failures else ""
        raise BatchError(
            f"{self.failed} of {self.objects} objects failed{first}",
            failures={one.key: ApmS3Error(one.error) for one in self.failures},
            operation="migrate",
            hint="run it again with the same journal: only missing objects are moved",
        )

    def __str__(self) -> str:
        counts = (
            f"{self.moved} moved ({counted(self.bytes, 'byte')}), {self.identical} identical"
            f"{' in content' if self.compare == 'content' else ''}, {self.vanished} vanished, "
            f"{self.deleted} deleted, {self.verified} verified, "
            f"{f'{self.trusted} trusted, ' if self.trusted else ''}{self.failed} failed"
        )
        return f"{self.source} -> {self.target}: {counts}"


_MD5 = re.compile(r'"?[0-9a-f]{32}"?')

CAPABILITIES = ("metadata", "tags", "storage-class", "object-lock", "checksums", "versions")
"""The values that `accept` takes."""

NAMELESS = "its key is the prefix itself, so it has no name below it"
"""Why an object is skipped whose name below the target would be empty."""


DEFAULT_CONCURRENCY = 64


class MigrationKeywords(TypedDict, total=False):
    """The fields of `MigrationOptions` as keyword arguments."""

    if_exists: IfExists
    compare: Compare
    include: str | Sequence[str] | None
    exclude: str | Sequence[str] | None
    transform_key: Callable[[str], str] | None
    delete_extra: bool
    versions: bool
    verify: Verify
    accept: Collection[str]
    bandwidth: float | None
    trust_network: bool
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationOptions:
    """What a migration does. Its functions take these fields as keyword arguments, or one such object.

    Attributes:
        if_exists: for objects that the target already has: move them only if they differ, move them always, or fail if
            they differ.
        compare: what makes an object identical. "all": content, content type, headers, metadata, tags, storage class
            and locks, which takes a HEAD of both sides for each object that the listings call identical, and a request
            for the tags of each side where there are some or the server does not count them. "content": the content
            alone, without further requests where the listings tell; the report names it.
        include, exclude: patterns of `fnmatch` for names below the source; "*" matches "/" too.
        transform_key: maps a name below the source to a name below the target.
        delete_extra: delete from the target what the source lacks: last, and only if nothing failed. Before, the
            source is listed again.
        versions: move all versions and delete markers, in order, to a bucket with versioning. All are listed before the
            first one moves.
        verify: "read" also reads all contents, metadata and tags of both sides at the end.
        accept: names of properties that may get lost; see `Capability`. For a directory, use ("metadata", "tags").
        bandwidth: most bytes a second through this machine.
        trust_network: send contents above 1 MiB unsigned over plain HTTP, with the digests that the source reports. It
            saves hashing them. Whoever can change packets on the way can change contents unnoticed, so the report
            counts them as `trusted`, and not as `verified`.
        concurrency: objects moved at once; the managers' `max_concurrency` limits the requests.

    Raises:
        InvalidOption: a value is invalid.
    """

    if_exists: IfExists = "skip-identical"
    compare: Compare = "all"
    include: str | Sequence[str] | None = None
    exclude: str | Sequence[str] | None = None
    transform_key: Callable[[str], str] | None = None
    delete_extra: bool = False
    versions: bool = False
    verify: Verify = "checksum"
    accept: Collection[str] = ()
    bandwidth: float | None = None
    trust_network: bool = False
    concurrency: int = DEFAULT_CONCURRENCY

    def __post_init__(self) -> None:
        for name in ("include", "exclude", "accept"):
            values = getattr(self, name)
            if values is not None and not isinstance(values, str):
                object.__setattr__(self, name, tuple(values))
        for name, kind in (("if_exists", IfExists), ("verify", Verify), ("compare", Compare)):
            if (value := getattr(self, name)) not in get_args(kind):
                raise InvalidOption(f"{name}={value!r:.40} is not valid", hint=f"use {', '.join(get_args(kind))}")
        if unknown := sorted(set(self.accept) - set(CAPABILITIES)):
            raise InvalidOption(
                f"accept has an unknown name: {unknown[0]!r:.40}", hint=f"use names of {', '.join(CAPABILITIES)}"
            )
        if self.bandwidth is not None and not self.bandwidth > 0:
            raise InvalidOption(f"bandwidth is {self.bandwidth}", hint="give bytes per second, or omit it")
        if self.concurrency < 1:
            raise InvalidOption(f"concurrency is {self.concurrency}", hint="give 1 or more")


def options_of(options: MigrationOptions | None, keywords: MigrationKeywords) -> MigrationOptions:
    """Return the options of a call: an object, of which keywords replace fields.

    Raises:
        InvalidOption: a value is invalid.
    """
    return replace(options or MigrationOptions(), **keywords)


def patterns_of(options: MigrationOptions) -> Patterns:
    """Return the patterns that select keys."""
    return Patterns(options.include, options.exclude)


def fingerprint(options: MigrationOptions) -> str:
    """Describe in JSON what determines the names at the target. A function counts by its module and name only."""
    transform = options.transform_key
    told = {
        "if_exists": options.if_exists,
        "include": _listed(options.include),
        "exclude": _listed(options.exclude),
        "transform_key": transform and [str(getattr(transform, name, "")) for name in ("__module__", "__qualname__")],
        "delete_extra": options.delete_extra,
        "versions": options.versions,
        # Journals have it.
        "acls": False,
    }
    return json.dumps(told, sort_keys=True)


def target_key_of(options: MigrationOptions, key: str) -> str:
    """Return the name of `key` at the target.

    Raises:
        InvalidKey: `transform_key` returned something that is not a valid key.
    """
    if options.transform_key is None:
        return key
    made = options.transform_key(key)
    if not isinstance(made, str):
        raise InvalidKey(f"transform_key returned {type(made).__name__} for '{key}'", hint="it must return a str")
    check_key(made, bucket=None)
    return made


def check_row(
    options: MigrationOptions, row: tuple[object, ...], patterns: Patterns, *, from_files: bool, to_files: bool
) -> None:
    """Check that a listing of this migration could have brought a row of its journal.

    Args:
        row: key, version and name at the target.
        patterns: those of these options.
        from_files, to_files: whether that side is a directory, so that names must be file names.

    Raises:
        JournalRefused: it could not.
    """
    key, version, target_key = row
    problem = None
    if not isinstance(key, str) or not isinstance(version, str) or not isinstance(target_key, str):
        problem = "it is no text"
    elif not patterns.keeps(key) or target_key_of(options, key) != target_key:
        problem = "include, exclude and transform_key do not give it this name"
    else:
        problem = (from_files and no_file(key)) or (to_files and no_file(target_key)) or None
    if problem:
        raise JournalRefused(
            f"the journal was changed by others, or another transform_key made it: {key!r:.80}, at the target "
            f"{target_key!r:.80}: {problem}"
        )


def other_rules(known: str, given: str) -> str:
    """Name the rules in which two fingerprints differ. Pure."""
    theirs = json.loads(given)
    try:
        ours = json.loads(known)
    except (ValueError, RecursionError):
        ours = None
    if not isinstance(ours, dict):
        return "rules, which cannot be read"
    return ", ".join(sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)))


class Sameness(IntEnum):
    """What two listings say about an object and its counterpart."""

    NEW = 0
    IDENTICAL = 1
    CHANGED = 2
    UNSURE = 3


def compare(size: int, etag: str | None, their_size: int | None, their_etag: str | None) -> Sameness:
    """Compare an object with its counterpart by size and ETag. ETags of parts or encrypted objects only prove equality.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    if their_size is None:
        return Sameness.NEW
    if size != their_size:
        return Sameness.CHANGED
    if etag and etag == their_etag:
        return Sameness.IDENTICAL
    if is_md5(etag) and is_md5(their_etag):
        return Sameness.CHANGED
    return Sameness.UNSURE


def needs_asking(found: Sameness, rules: MigrationOptions, *, failed: bool) -> bool:
    """Return whether listings leave it open if an object is identical: they say nothing of metadata and tags. Pure.

    Args:
        failed: whether it failed before, perhaps for what `rules.compare` leaves out.
    """
    return found is Sameness.UNSURE or (found is Sameness.IDENTICAL and (rules.compare == "all" or failed))


def is_md5(etag: str | None) -> bool:
    """Return whether an ETag looks like the MD5 of the content."""
    return etag is not None and _MD5.fullmatch(etag) is not None


def group_of(key: str) -> str:
    """Return the part of a key by which requests are throttled: its first folder."""
    return key.partition("/")[0] if "/" in key else ""


def _listed(patterns: str | Sequence[str] | None) -> list[str]:
    if not patterns:
        return []
    return [patterns] if isinstance(patterns, str) else list(patterns)
