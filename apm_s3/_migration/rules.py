"""The rules of a migration: which objects move, their names at the target, and what counts as identical. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import get_args

from apm_s3._beneath import no_file
from apm_s3._migration.models import Compare, IfExists, Verify
from apm_s3._naming import check_key
from apm_s3._s3.bulk.trees import Rules as Patterns
from apm_s3.errors import InvalidKey, InvalidOption, JournalRefused

_MD5 = re.compile(r'"?[0-9a-f]{32}"?')

CAPABILITIES = ("metadata", "tags", "storage-class", "object-lock", "checksums", "versions")
"""The values that `accept` takes."""

NAMELESS = "its key is the prefix itself, so it has no name below it"
"""Why an object is skipped whose name below the target would be empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationRules:
    """The rule set of a migration: everything that determines what the target will hold.

    Attributes:
        transform_key: maps a source name to a target name; both are relative to their places.
        compare: what must be the same for an object to count as identical.
        trust_network: whether contents may go unsigned over plain HTTP, with the digests that the source reports.
    """

    if_exists: IfExists = "skip-identical"
    include: str | Sequence[str] | None = None
    exclude: str | Sequence[str] | None = None
    transform_key: Callable[[str], str] | None = None
    delete_extra: bool = False
    versions: bool = False
    verify: Verify = "checksum"
    accept: tuple[str, ...] = ()
    trust_network: bool = False
    compare: Compare = "all"

    def __post_init__(self) -> None:
        if self.if_exists not in get_args(IfExists):
            hint = f"use {', '.join(get_args(IfExists))}"
            raise InvalidOption(f"if_exists={self.if_exists!r:.40} is not valid", hint=hint)
        if self.verify not in get_args(Verify):
            hint = f"use {', '.join(get_args(Verify))}"
            raise InvalidOption(f"verify={self.verify!r:.40} is not valid", hint=hint)
        if self.compare not in get_args(Compare):
            hint = f"use {', '.join(get_args(Compare))}"
            raise InvalidOption(f"compare={self.compare!r:.40} is not valid", hint=hint)
        if unknown := sorted(set(self.accept) - set(CAPABILITIES)):
            raise InvalidOption(
                f"accept has an unknown name: {unknown[0]!r:.40}", hint=f"use names of {', '.join(CAPABILITIES)}"
            )

    @property
    def patterns(self) -> Patterns:
        """The patterns that select keys."""
        return Patterns(self.include, self.exclude)

    def fingerprint(self) -> str:
        """Describe the rule set in JSON. A function counts only by its module and name: code cannot be compared."""
        transform = self.transform_key
        told = {
            "if_exists": self.if_exists,
            "include": _listed(self.include),
            "exclude": _listed(self.exclude),
            "transform_key": transform
            and [str(getattr(transform, name, "")) for name in ("__module__", "__qualname__")],
            "delete_extra": self.delete_extra,
            "versions": self.versions,
            # Journals have it.
            "acls": False,
        }
        return json.dumps(told, sort_keys=True)

    def target_key(self, key: str) -> str:
        """Return the name of `key` at the target.

        Raises:
            InvalidKey: `transform_key` returned something that is not a valid key.
        """
        if self.transform_key is None:
            return key
        made = self.transform_key(key)
        if not isinstance(made, str):
            raise InvalidKey(f"transform_key returned {type(made).__name__} for '{key}'", hint="it must return a str")
        check_key(made, bucket=None)
        return made

    def check_row(self, row: tuple[object, ...], patterns: Patterns, *, from_files: bool, to_files: bool) -> None:
        """Check that a listing of this migration could have brought a row of its journal.

        Args:
            row: key, version and name at the target.
            patterns: those of these rules.
            from_files, to_files: whether that side is a directory, so that names must be file names.

        Raises:
            JournalRefused: it could not.
        """
        key, version, target_key = row
        problem = None
        if not isinstance(key, str) or not isinstance(version, str) or not isinstance(target_key, str):
            problem = "it is no text"
        elif not patterns.keeps(key) or self.target_key(key) != target_key:
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
    ours, theirs = json.loads(known), json.loads(given)
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


def needs_asking(found: Sameness, rules: MigrationRules, *, failed: bool) -> bool:
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
