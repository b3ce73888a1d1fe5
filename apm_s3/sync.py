"""What a sync would do, and what it did: frozen, free of I/O. `S3Manager.sync` and its neighbours return these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from apm_s3.errors import BatchError

__all__ = ["SyncAction", "SyncPlan", "SyncReport"]


class SyncAction(NamedTuple):
    """One thing to do.

    Attributes:
        kind: "create" what the target lacks, "update" what differs, "delete" what the source lacks.
        key: the file's or object's name below source and target.
        size: bytes of what is written, or deleted.
        reason: why.
    """

    kind: Literal["create", "update", "delete"]
    key: str
    size: int
    reason: str

    def __str__(self) -> str:
        return f"{self.kind} {self.key} ({self.size} bytes; {self.reason})"


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a sync would do. Nothing was written.

    Attributes:
        unchanged: how many are the same on both sides.
        skipped: what cannot be synced, and why, by name: links, and keys that cannot be names of files.
    """

    source: str
    target: str
    actions: tuple[SyncAction, ...]
    unchanged: int = 0
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.actions

    @property
    def bytes(self) -> int:
        """Bytes that would be written."""
        return sum(action.size for action in self.actions if action.kind != "delete")

    def __str__(self) -> str:
        lines = [f"{self.source} -> {self.target}"]
        lines += [f"  {action}" for action in self.actions] or ["  no differences"]
        lines += [f"  skip {key} ({reason})" for key, reason in self.skipped.items()]
        return "\n".join([*lines, f"  {self.unchanged} unchanged"])


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did.

    Attributes:
        created, updated, deleted, unchanged: how many files or objects.
        bytes: of the contents that were written. Copies inside S3 count, too.
        failures: what could not be done, and why, by name.
        kept: extra files or objects that were not deleted because something failed before.
        skipped: what cannot be synced, and why, by name: links, and keys that cannot be names of files.
        duration: seconds in all.
    """

    source: str
    target: str
    created: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    bytes: int = 0
    failures: Mapping[str, Exception] = field(default_factory=dict)
    kept: int = 0
    skipped: Mapping[str, str] = field(default_factory=dict)
    duration: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def raise_for_failures(self) -> None:
        """Raise if anything failed.

        Raises:
            BatchError: its `failures` has the error of each by its name.
        """
        if self.ok:
            return
        key, error = next(iter(self.failures.items()))
        where = f"from {self.source} to {self.target}"
        raise BatchError(
            f"{len(self.failures)} could not be brought {where}, the first is '{key}': {error}",
            failures=self.failures,
            operation="sync",
            hint="do it again: only what is still missing moves",
        )

    def __str__(self) -> str:
        counts = f"{self.created} created, {self.updated} updated, {self.deleted} deleted, {self.unchanged} unchanged"
        return f"{self.source} -> {self.target}: {counts}, {len(self.failures)} failed, {self.bytes} bytes"
