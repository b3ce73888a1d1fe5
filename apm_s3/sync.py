"""Plans and results of syncs: frozen, without I/O. `S3Manager.sync`, `copy_prefix` and `delete_prefix` return them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from apm_s3._naming import counted, on_one_line
from apm_s3.errors import BatchError

__all__ = ["SyncAction", "SyncPlan", "SyncReport"]


class SyncAction(NamedTuple):
    """One action of a sync.

    Attributes:
        kind: "create" if the target lacks it, "update" if it differs, "delete" if the source lacks it.
        key: the name of the file or object relative to source and target.
        size: bytes written, or deleted.
        reason: why the action is needed.
    """

    kind: Literal["create", "update", "delete"]
    key: str
    size: int
    reason: str

    def __str__(self) -> str:
        return f"{self.kind} {on_one_line(self.key)} ({counted(self.size, 'byte')}; {self.reason})"


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a sync would do. Nothing was written.

    Attributes:
        unchanged: how many files or objects are the same on both sides.
        skipped: links, and keys that cannot be file names, with the reason by name.
    """

    source: str
    target: str
    actions: tuple[SyncAction, ...]
    unchanged: int = 0
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Return whether there is nothing to do."""
        return not self.actions

    @property
    def bytes(self) -> int:
        """Return the number of bytes that would be written."""
        return sum(action.size for action in self.actions if action.kind != "delete")

    def __str__(self) -> str:
        lines = [f"{self.source} -> {self.target}"]
        lines += [f"  {action}" for action in self.actions] or ["  no differences"]
        lines += [f"  skip {on_one_line(key)} ({reason})" for key, reason in self.skipped.items()]
        return "\n".join([*lines, f"  {self.unchanged} unchanged"])


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did.

    Attributes:
        created, updated, deleted, unchanged: numbers of files or objects.
        bytes: content written, including copies within S3.
        failures: the error of each failed action, by name.
        kept: extra files or objects that were not deleted because an earlier action failed.
        skipped: links, and keys that cannot be file names, with the reason by name.
        duration: seconds in total.
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
        """Return whether nothing failed."""
        return not self.failures

    def raise_for_failures(self) -> None:
        """Raise if anything failed.

        Raises:
            BatchError: `failures` has the error of each failed action, by name.
        """
        if self.ok:
            return
        key, error = next(iter(self.failures.items()))
        where = f"from {self.source} to {self.target}"
        raise BatchError(
            f"{len(self.failures)} could not be synced {where}; the first is '{key}': {error}",
            failures=self.failures,
            operation="sync",
            hint="run it again: only the remaining differences are transferred",
        )

    def __str__(self) -> str:
        counts = f"{self.created} created, {self.updated} updated, {self.deleted} deleted, {self.unchanged} unchanged"
        return f"{self.source} -> {self.target}: {counts}, {len(self.failures)} failed, {counted(self.bytes, 'byte')}"
