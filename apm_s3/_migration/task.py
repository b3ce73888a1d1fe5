"""A prepared migration: both places, their sides in S3, and the mover for them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from apm_s3._beneath import Below
from apm_s3._manager import S3Manager
from apm_s3._migration.moving.files import FetchMover, UploadMover
from apm_s3._migration.moving.movers import CopyMover, Mover, S3Mover, StreamMover
from apm_s3._migration.moving.throttle import Bandwidth, Memory
from apm_s3._migration.moving.versions import Histories
from apm_s3._migration.places import FolderPlace, Place, S3Place, check_apart, parse_place
from apm_s3._migration.rules import MigrationRules
from apm_s3._migration.sides import Side, open_side
from apm_s3._migration.store import Row
from apm_s3.errors import InvalidOption, NotFound

_IN_FLIGHT = 32 * 1024**2
"""Most bytes of content in memory at once."""


@dataclass(slots=True)
class Task:
    """A migration that is ready to run.

    Attributes:
        source_side, target_side: None for a directory.
        histories: moves all versions of a key; None if only current versions move.
    """

    source: Place
    target: Place
    source_side: Side | None
    target_side: Side | None
    rules: MigrationRules
    mover: Mover
    histories: Histories | None = None

    @property
    def source_name(self) -> str:
        """The source as shown to people."""
        return str(self.source)

    @property
    def target_name(self) -> str:
        """The target as shown to people."""
        return str(self.target)

    @property
    def server_side(self) -> bool:
        """Whether S3 does the copying."""
        return isinstance(self.mover, CopyMover)

    @property
    def trusting(self) -> bool:
        """Whether contents above 1 MiB may go unsigned over plain HTTP."""
        return isinstance(self.mover, StreamMover) and self.mover.trusting

    @property
    def to_files(self) -> bool:
        """Whether the target is a directory, so that names must be file names."""
        return isinstance(self.target, FolderPlace)

    @property
    def has_prefix(self) -> bool:
        """Whether the target can hold an object whose key is the source's prefix itself."""
        return isinstance(self.target, S3Place) and bool(self.target.prefix)

    @property
    def sides(self) -> Iterator[Side]:
        """Iterate over the sides in S3, one for each manager."""
        sides = [side for side in (self.source_side, self.target_side) if side is not None]
        yield from {id(side.engine): side for side in sides}.values()

    def identity(self) -> dict[str, str]:
        """Return the facts that identify this migration's journal."""
        return {
            "source": _named(self.source, self.source_side),
            "target": _named(self.target, self.target_side),
            "rules": self.rules.fingerprint(),
        }

    def relative_keys(self, bucket: str | None, key: str) -> Iterator[str]:
        """Iterate over the relative keys that a full key may stand for."""
        for side in (self.source_side, self.target_side):
            if side is not None and side.place.bucket == bucket and key.startswith(side.place.prefix):
                yield key[len(side.place.prefix) :]

    async def look(self, row: Row) -> Row | None:
        """Return the row with the source object's current state; None if the object is gone."""
        if self.source_side is None:
            root = self.source.root if isinstance(self.source, FolderPlace) else Path()
            try:
                told = await asyncio.to_thread(Below(root, row.key).stat)
            except FileNotFoundError:
                return None
            return row._replace(size=told.st_size, modified=told.st_mtime)
        try:
            info = await self.source_side.head(self.source_side.key(row.key), row.version)
        except NotFound:
            return None
        modified = None if info.last_modified is None else info.last_modified.timestamp()
        return row._replace(size=info.size, etag=info.etag, modified=modified, storage_class=info.storage_class)


async def open_task(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    source_s3: S3Manager | None,
    target_s3: S3Manager | None,
    rules: MigrationRules,
    bandwidth: float | None = None,
) -> Task:
    """Open both sides and choose the mover.

    Raises:
        InvalidOption: the places overlap, or a place in S3 has no manager.
        BucketNotFound: there is no such bucket.
    """
    begins, ends = parse_place(source), parse_place(target)
    one_account = target_s3 is None or target_s3 is source_s3
    check_apart(begins, ends, same_account=one_account)
    if bandwidth is not None and not bandwidth > 0:
        raise InvalidOption(f"bandwidth is {bandwidth}", hint="give bytes per second, or omit it")
    from_side = await _side(source_s3 or target_s3, begins)
    to_side = await _side(target_s3 or source_s3, ends)
    mover = _mover(begins, ends, from_side, to_side, rules, Bandwidth(bandwidth), one_account=one_account)
    histories = None
    if rules.versions:
        if not isinstance(mover, S3Mover):
            raise InvalidOption("files have no versions", hint="omit versions")
        if rules.delete_extra:
            raise InvalidOption("delete_extra and versions exclude each other", hint="omit one of them")
        if rules.verify == "read":
            raise InvalidOption("versions are not read back at the end", hint="omit verify")
        histories = Histories(mover, rules)
    return Task(begins, ends, from_side, to_side, rules, mover, histories)


def _mover(
    source: Place,
    target: Place,
    from_side: Side | None,
    to_side: Side | None,
    rules: MigrationRules,
    bandwidth: Bandwidth,
    *,
    one_account: bool,
) -> Mover:
    if from_side is not None and to_side is not None:
        kind = CopyMover if one_account else StreamMover
        return kind(from_side, to_side, rules, bandwidth, Memory(_IN_FLIGHT))
    if to_side is not None and isinstance(source, FolderPlace):
        return UploadMover(source.root, to_side, rules, bandwidth)
    if from_side is not None and isinstance(target, FolderPlace):
        return FetchMover(from_side, target.root, rules, bandwidth)
    raise InvalidOption("neither place is in S3", hint="name one as 's3://bucket/prefix'")


async def _side(s3: S3Manager | None, place: Place) -> Side | None:
    if isinstance(place, FolderPlace):
        return None
    if s3 is None:
        raise InvalidOption(f"no manager was given for {place}", hint="pass source_s3 or target_s3")
    return await open_side(s3, place)


def _named(place: Place, side: Side | None) -> str:
    """Name a place with its endpoint, as two servers can have buckets of the same name."""
    return str(place) if side is None or side.is_aws else f"{place} at {side.url}"
