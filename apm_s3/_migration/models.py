"""Plan, progress and report of a migration: frozen, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from apm_s3._naming import on_one_line
from apm_s3.errors import ApmS3Error, BatchError

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
            f"  {self.objects} objects, {self.bytes} bytes",
            f"  {self.new} new, {self.changed} changed, {self.identical} identical, {self.extra} extra ({extra})",
            f"  {self.bytes_to_move} bytes to move",
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
            f"{self.moved} moved ({self.bytes} bytes), {self.identical} identical"
            f"{' in content' if self.compare == 'content' else ''}, {self.vanished} vanished, "
            f"{self.deleted} deleted, {self.verified} verified, "
            f"{f'{self.trusted} trusted, ' if self.trusted else ''}{self.failed} failed"
        )
        return f"{self.source} -> {self.target}: {counts}"
