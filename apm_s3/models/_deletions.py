"""Results of deletions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeleteOutcome:
    """The result of a deletion: the version it removed, or the delete marker it created."""

    key: str
    version_id: str | None = None
    delete_marker: bool = False


@dataclass(frozen=True, slots=True)
class KeyFailure:
    """Why S3 failed on one key of a bulk request."""

    key: str
    version_id: str | None
    s3_code: str
    message: str


@dataclass(frozen=True, slots=True)
class DeleteReport:
    """The result of a bulk deletion, by key."""

    deleted: tuple[DeleteOutcome, ...]
    failed: tuple[KeyFailure, ...]

    @property
    def ok(self) -> bool:
        """Return whether every key was deleted."""
        return not self.failed
