"""What a migration would do, how far it has come, and what it did: frozen, free of I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from apm_s3.errors import ApmS3Error, BatchError

IfExists = Literal["skip-identical", "overwrite", "fail"]
Verify = Literal["checksum", "read"]


class Capability(NamedTuple):
    """Whether the target keeps one thing that objects have.

    Attributes:
        name: "metadata", "tags", "storage-class", "object-lock", "checksums", "versions" or "acls".
        kept: None where only writing to the target could tell.
        needed: whether this migration needs it.
    """

    name: str
    kept: bool | None
    needed: bool
    detail: str

    def __str__(self) -> str:
        kept = {True: "kept", False: "LOST", None: "unknown"}[self.kept]
        return f"{self.name}: {kept} ({self.detail})"


@dataclass(frozen=True, slots=True)
class Estimate:
    """The requests that a migration makes, and what S3 charges for them by its list prices.

    Attributes:
        requests: by S3's classes: "PUT, COPY, POST, LIST" and "GET, HEAD".
        dollars: of the requests alone, without traffic and storage.
        prices: whose prices these are, and of when.
    """

    requests: Mapping[str, int]
    dollars: float
    prices: str

    def __str__(self) -> str:
        counts = ", ".join(f"{count} of {name}" for name, count in self.requests.items())
        return f"about {counts}: ${self.dollars:.2f} ({self.prices}; without traffic and storage)"


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """What a migration would do. Nothing was written.

    Attributes:
        objects, bytes: what the source has, after include and exclude.
        new: what the target lacks.
        changed: what the target has with other content, or with content that cannot be compared by listings.
        identical: what the target has already.
        extra: what the source lacks; `delete_extra` says whether it would be deleted.
        bytes_to_move: of new and changed objects.
        server_side: whether S3 copies by itself, so that no content crosses this machine.
        skipped: what cannot be moved, and why, by name: 1000 of them at most.
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
        """What is needed, and is not kept by the target."""
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
            *(f"  skip {key} ({reason})" for key, reason in self.skipped.items()),
        ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class MigrationProgress:
    """How far a migration has come.

    Attributes:
        phase: "moving", "retrying", "verifying", "deleting" or "done".
        done: objects that are at the target, those included that were there before.
        listed: objects found so far; `listing_complete` says whether these are all of them.
        bytes: of the objects that were moved by this run.
        listed_bytes: of all objects found so far.
        elapsed: seconds since this run began.
    """

    phase: str
    done: int
    failed: int
    bytes: int
    listed: int
    listed_bytes: int
    listing_complete: bool
    elapsed: float

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the objects so far; None while nothing can be told."""
        if not self.listing_complete or not self.done or self.elapsed <= 0:
            return None
        return (self.listed - self.done - self.failed) * self.elapsed / (self.done + self.failed)


OnMigrationProgress: TypeAlias = Callable[[MigrationProgress], object]
"""Called in the event loop a few times a second: quick, and never waiting. What it raises is logged, no more."""


class MigrationFailure(NamedTuple):
    """An object that was not moved, or is not what it should be."""

    key: str
    version: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a migration did, earlier runs of the same journal included.

    Attributes:
        moved: objects that were copied.
        identical: objects that were at the target already.
        vanished: objects that were deleted from the source before they were moved.
        deleted: what was extra at the target.
        kept: what is extra and was not deleted, because something failed before.
        verified: objects that were held against the target after everything had moved.
        failed: how many failed in the end; `failures` has 1000 of them at most, the journal all.
        bytes: of the objects that were moved.
        resumed: whether the journal had been begun by an earlier run.
        skipped: what cannot be moved, and why, by name: 1000 of them at most.
        duration: seconds of this run.
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
    failed: int = 0
    bytes: int = 0
    failures: tuple[MigrationFailure, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    resumed: bool = False
    duration: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether everything is at the target, and verified."""
        return not self.failed and not self.kept

    def raise_for_failures(self) -> None:
        """Raise if anything failed.

        Raises:
            BatchError: its `failures` has the errors of the first 1000 by their keys.
        """
        if self.ok:
            return
        first = f"; the first is '{self.failures[0].key}': {self.failures[0].error}" if self.failures else ""
        raise BatchError(
            f"{self.failed} of {self.objects} objects failed{first}",
            failures={one.key: ApmS3Error(one.error) for one in self.failures},
            operation="migrate",
            hint="run it again with the same journal: only what is missing moves",
        )

    def __str__(self) -> str:
        counts = (
            f"{self.moved} moved ({self.bytes} bytes), {self.identical} identical, {self.vanished} vanished, "
            f"{self.deleted} deleted, {self.verified} verified, {self.failed} failed"
        )
        return f"{self.source} -> {self.target}: {counts}"
