"""Opens both sides of a migration, finds out what the target keeps, and plans what would be done."""

from __future__ import annotations

import asyncio
import os
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from apm_s3._beneath import Below
from apm_s3._hints import Advice
from apm_s3._migration.files import FetchMover, UploadMover
from apm_s3._migration.journal import Journal, Row
from apm_s3._migration.listing import Source, list_target
from apm_s3._migration.models import (
    Capability,
    Estimate,
    MigrationOptions,
    MigrationPlan,
    Sameness,
    compare,
    fingerprint,
    needs_asking,
    patterns_of,
)
from apm_s3._migration.moving import LARGEST_COPY, Bandwidth, CopyMover, Memory, Mover, S3Mover, StreamMover
from apm_s3._migration.sides import Manager, Side, open_side
from apm_s3._migration.trees import FolderPlace, Place, S3Place, check_apart, not_in_s3, parse_place
from apm_s3._migration.versions import Histories
from apm_s3._tasks import run_all, shielded
from apm_s3.errors import ApmS3Error, InvalidOption, JournalRefused, MigrationRefused, NotFound, S3Error
from apm_s3.models import FileInfo
from apm_s3.options import DeleteOptions, UploadOptions

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
    rules: MigrationOptions
    mover: Mover
    histories: Histories | None = None

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
        yield from {id(side.s3): side for side in sides}.values()

    def identity(self) -> dict[str, str]:
        """Return the facts that identify this migration's journal."""
        return {
            "source": _named(self.source, self.source_side),
            "target": _named(self.target, self.target_side),
            "rules": fingerprint(self.rules),
        }

    def relative_keys(self, bucket: str | None, key: str) -> Iterator[str]:
        """Iterate over the relative keys that a full key may stand for."""
        for side in (self.source_side, self.target_side):
            if side is not None and side.place.bucket == bucket and key.startswith(side.place.prefix):
                yield key[len(side.place.prefix) :]

    async def current(self, row: Row) -> Row | None:
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
    source_s3: Manager | None,
    target_s3: Manager | None,
    rules: MigrationOptions,
) -> Task:
    """Open both sides and choose the mover.

    Raises:
        InvalidOption: the places overlap, or a place in S3 has no manager.
        BucketNotFound: there is no such bucket.
    """
    begins, ends = _absolute(parse_place(source)), _absolute(parse_place(target))
    one_account = target_s3 is None or target_s3 is source_s3
    if one_account and isinstance(begins, S3Place) and isinstance(ends, S3Place):
        check_apart(begins, ends, "migrate")
    from_side = await _side(source_s3 or target_s3, begins)
    to_side = await _side(target_s3 or source_s3, ends)
    mover = _mover(begins, ends, from_side, to_side, rules, one_account=one_account)
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


def _absolute(place: Place) -> Place:
    """Return a place that does not depend on the working directory, as another process may resume the migration."""
    return FolderPlace(place.root.absolute()) if isinstance(place, FolderPlace) else place


def _mover(
    source: Place,
    target: Place,
    from_side: Side | None,
    to_side: Side | None,
    rules: MigrationOptions,
    *,
    one_account: bool,
) -> Mover:
    bandwidth = Bandwidth(rules.bandwidth)
    if from_side is not None and to_side is not None:
        kind = CopyMover if one_account else StreamMover
        return kind(from_side, to_side, rules, bandwidth, Memory(_IN_FLIGHT))
    if to_side is not None and isinstance(source, FolderPlace):
        return UploadMover(source.root, to_side, rules, bandwidth)
    if from_side is not None and isinstance(target, FolderPlace):
        return FetchMover(from_side, target.root, rules, bandwidth)
    raise not_in_s3(source, target, "migrate")


async def _side(s3: Manager | None, place: Place) -> Side | None:
    if isinstance(place, FolderPlace):
        return None
    if s3 is None:
        raise InvalidOption(f"no manager was given for {place}", hint="pass source_s3 or target_s3")
    return await open_side(s3, place)


def _named(place: Place, side: Side | None) -> str:
    """Name a place with its endpoint, as two servers can have buckets of the same name."""
    return str(place) if side is None or side.is_aws else f"{place} at {side.url}"


_METADATA, _TAGS, _CACHE = {"apm-probe": "kept"}, {"apm-probe": "kept"}, "max-age=7"
_MOST_VERSIONS = 10
_PROBE_PREFIX = ".apm-s3-migration-probe-"
_PROBE = re.compile(re.escape(_PROBE_PREFIX) + "[0-9a-f]{32}")
_STREAMED = "checked with each streamed object"
_SHOWED = "found out with a probe object"
_UNASKED = "only writing an object to the target can tell"


def new_probe() -> str:
    """Return a unique name for a probe object."""
    return f"{_PROBE_PREFIX}{uuid.uuid4().hex}"


def check_probe(name: str) -> None:
    """Check a name that a journal tells: the object of this name is overwritten, and deleted.

    Raises:
        JournalRefused: `new_probe` cannot have made it.
    """
    if not _PROBE.fullmatch(name):
        raise JournalRefused(f"the journal was changed by others: its probe object has the name {name!r:.80}")


async def find_capabilities(task: Task, *, probe: str | None) -> tuple[Capability, ...]:
    """Return what the target keeps.

    Args:
        probe: the name of an object to write below the target, copy (if S3 does the copying), read back and delete.
            None writes nothing.
    """
    if task.target_side is None:
        return tuple(_of_directory())
    found = [] if task.source_side is None else await _of_objects(task, task.target_side, probe=probe)
    if task.source_side is not None:
        locks = task.target_side.locks
        denied = any("get_object_lock_configuration" in side.unreadable for side in task.sides)
        detail = "the target's bucket has object lock" if locks else "the target's bucket has no object lock"
        needed, kept = task.source_side.locks, locks if locks or not denied else None
        if denied:
            detail = "a setting could not be read: grant s3:GetBucketObjectLockConfiguration to be sure"
        found.append(Capability("object-lock", kept, needed, detail))
        found += await _when_asked(task, task.target_side)
        found.append(Capability("storage-class", kept=None, needed=False, detail=_STREAMED))
    return tuple(found)


async def check_capabilities(task: Task, *, probe: str | None) -> tuple[Capability, ...]:
    """Return what the target keeps, and refuse losses that were not accepted by name.

    Raises:
        MigrationRefused: something would get lost that `accept` does not name.
    """
    found = await find_capabilities(task, probe=probe)
    lost = [one for one in found if one.needed and one.kept is False and one.name not in task.rules.accept]
    if lost:
        names = tuple(one.name for one in lost)
        listed = "; ".join(f"{one.name}: {one.detail}" for one in lost)
        raise MigrationRefused(
            f"{task.target} cannot keep everything: {listed}",
            capabilities=names,
            operation="migrate",
            hint=Advice.ACCEPT_LOSSES(names=names),
        )
    return found


async def _when_asked(task: Task, target: Side) -> list[Capability]:
    found = []
    if task.rules.versions:
        status = await target.setting("get_bucket_versioning", "Status")
        kept = status == "Enabled"
        found.append(Capability("versions", kept, needed=True, detail=f"versioning is {status or 'not enabled'}"))
    return found


def _of_directory() -> Iterator[Capability]:
    for name in ("metadata", "tags"):
        yield Capability(name, kept=False, needed=True, detail="files have none")
    for name in ("storage-class", "object-lock", "checksums"):
        yield Capability(name, kept=False, needed=False, detail="files have none")


async def _of_objects(task: Task, target: Side, *, probe: str | None) -> list[Capability]:
    accepted = set(task.rules.accept)
    names = ("metadata", "tags", "checksums")
    if probe is None or target.locks or {"metadata", "tags"} <= accepted:
        # The bucket may lock every new object, and then the probe could not be deleted.
        return [Capability(name, None, name != "checksums", _UNASKED) for name in names]
    with_tags = "tags" not in accepted
    key = target.key(probe)
    try:
        info, tags = await _probed(task, target, key, with_tags=with_tags)
    except S3Error as exc:
        if not exc.may_have_happened and not exc.retryable and with_tags:
            why = f"an object with tags was refused: {exc.s3_code or exc.problem}"
            return [Capability("tags", kept=False, needed=True, detail=why)]
        raise
    kept_metadata = dict(info.metadata or {}) == _METADATA and info.headers.get("cache-control") == _CACHE
    summed = bool(info.checksums)
    return [
        Capability("metadata", kept_metadata, needed=True, detail=_SHOWED),
        Capability("tags", not with_tags or tags == _TAGS, needed=with_tags, detail=_SHOWED),
        Capability("checksums", summed, needed=False, detail=", ".join(info.checksums) or "it reports none"),
    ]


async def _probed(task: Task, target: Side, key: str, *, with_tags: bool) -> tuple[FileInfo, dict[str, str]]:
    """Write a probe (and let S3 copy it, if S3 does the copying), and return the result and its tags."""
    bucket, s3 = target.place.bucket, target.s3
    options = UploadOptions(
        content_type="text/plain", metadata=_METADATA, tags=_TAGS if with_tags else {}, cache_control=_CACHE
    )
    keys = [key]
    try:
        await s3.upload_file(bucket, key, b"apm_s3 looks what this server keeps", options)
        if task.server_side:
            keys.append(f"{key}-copy")
            await s3.copy_file(bucket, key, bucket, keys[-1])
        info = await target.head(keys[-1])
        return info, await s3.get_file_tags(bucket, keys[-1]) if with_tags else {}
    finally:
        await shielded(_remove(target, keys))


async def _remove(target: Side, keys: list[str]) -> None:
    """Delete probes with all their versions."""
    bucket, s3 = target.place.bucket, target.s3
    for key in keys:
        with suppress(ApmS3Error):
            # A killed run may have left several versions.
            for _ in range(_MOST_VERSIONS):
                info = await target.head(key)
                await s3.delete_file(bucket, key, DeleteOptions(version_id=info.version_id))


_STEP = 1000
_PARALLEL = 32
_SHOWN = 1000


@dataclass(slots=True)
class _Counts:
    found: Counter[Sameness] = field(default_factory=Counter)
    writes: int = 0
    reads: int = 0
    bytes_to_move: int = 0


async def make_plan(task: Task) -> MigrationPlan:
    """Make the plan from both listings. Objects that the listings cannot compare are looked at one by one."""
    async with Journal(None, task.identity()) as journal:
        source = Source(
            journal, task.rules, task.source, as_files=task.to_files, as_root=task.has_prefix, on_found=lambda *_: None
        )
        await run_all(
            [
                source.run(task.source_side, (None, None)),
                list_target(journal, task.target_side, task.target),
            ]
        )
        counts = await _counted(task, journal)
        totals = await journal.do(lambda store: store.totals())
        skipped = await journal.do(lambda store: store.skipped(_SHOWN))
        keeps = patterns_of(task.rules).keeps
        extra = await journal.do(lambda store: store.count_extra(keeps))
        there = await journal.do(lambda store: store.count_target())
    return MigrationPlan(
        source=str(task.source),
        target=str(task.target),
        objects=totals.objects,
        bytes=totals.bytes,
        new=counts.found[Sameness.NEW],
        changed=counts.found[Sameness.CHANGED],
        identical=counts.found[Sameness.IDENTICAL],
        extra=extra,
        bytes_to_move=counts.bytes_to_move,
        server_side=task.server_side,
        delete_extra=task.rules.delete_extra,
        estimate=_estimate(task, counts, totals.objects, there),
        capabilities=await find_capabilities(task, probe=None),
        skipped=skipped,
    )


async def _counted(task: Task, journal: Journal) -> _Counts:
    counts, after = _Counts(), 0
    while rows := await journal.do(lambda store: store.pending(after, _STEP)):  # noqa: B023 - awaited
        after = rows[-1].id
        for row, found in zip(rows, await run_all((_found(task, row) for row in rows), limit=_PARALLEL), strict=True):
            counts.found[found] += 1
            if found is Sameness.IDENTICAL and task.rules.compare == "all" and task.target_side and task.source_side:
                counts.reads += 2
            if found is not Sameness.IDENTICAL or task.rules.if_exists == "overwrite":
                counts.bytes_to_move += row.size
                _count_requests(task, row, counts)
    return counts


async def _found(task: Task, row: Row) -> Sameness:
    found = compare(row.size, row.etag, row.their_size, row.their_etag)
    if not needs_asking(found, task.rules, failed=row.failed):
        return found
    try:
        return Sameness.IDENTICAL if await task.mover.is_same(row) else Sameness.CHANGED
    except (NotFound, FileNotFoundError):
        return Sameness.NEW


def _count_requests(task: Task, row: Row, counts: _Counts) -> None:
    """Count the requests of one object, without retries."""
    part_size = 8 * 1024**2
    parts = -(-row.size // part_size)
    large = row.size > (LARGEST_COPY if task.server_side else 64 * 1024**2)
    if task.target_side is not None:
        counts.writes += parts + 2 if large else 1
    if task.server_side:
        counts.reads += 2 if large else 0
    else:
        reads = 0 if task.source_side is None else parts if large else 1
        counts.reads += reads + (1 if task.source_side is not None and task.target_side is not None else 0)
    if task.rules.verify == "read":
        counts.reads += 4


def _estimate(task: Task, counts: _Counts, objects: int, there: int) -> Estimate:
    pages = 0 if task.source_side is None else objects // 1000 + 1
    if task.target_side is not None:
        # The target is listed before moving, and again afterwards to verify.
        pages += there // 1000 + 1 + max(objects, there) // 1000 + 1
    return Estimate({"PUT, COPY, POST, LIST": counts.writes + pages, "GET, HEAD": counts.reads})
