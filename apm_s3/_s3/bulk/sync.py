"""`sync`, `copy_prefix` and `delete_prefix`: differences are transferred in one batch; extra entries are deleted last.

Invariants: nothing is deleted before the whole source was listed and everything was transferred; nothing is deleted for
an empty source; a name that could lead out of a directory is never written.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

from apm_s3._s3.bulk.trees import Entry, Folder, Prefix, Rules, compared, empty_source, is_ordered, sorted_entries
from apm_s3._s3.bulk.ways import Copy, Fetch, Run, Upload, Way, delete_objects
from apm_s3._s3.engine import Engine, check_bucket
from apm_s3.batch import Operation, OperationResult
from apm_s3.errors import InvalidOption
from apm_s3.sync import SyncAction, SyncPlan, SyncReport

Place = str | os.PathLike[str]
Patterns = str | Sequence[str]

_S3 = "s3://"

_EXPRESS = "--x-s3"
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-express-differences.html: listings are unordered."""


async def bring(
    engine: Engine, way: Way, rules: Rules, run: Run | None, *, delete_extra: bool
) -> SyncPlan | SyncReport:
    """Transfer differences, and delete extra entries if requested; without `run`, only return the plan."""
    work = _Sync(way, rules, delete_extra=delete_extra, ordered=await _are_ordered(engine, way))
    return await (work.plan() if run is None else work.carry_out(run))


async def delete_all(engine: Engine, bucket: str, prefix: str, rules: Rules, run: Run | None) -> SyncPlan | SyncReport:
    """Delete everything under a prefix while listing it; without `run`, only return the plan."""
    tree = Prefix(engine, bucket, prefix, as_files=False)
    if run is None:
        actions = [SyncAction("delete", one.key, one.size, "under the prefix") async for one in _kept(tree, rules)]
        return SyncPlan(str(tree), str(tree), tuple(actions))
    began, deleted = time.monotonic(), 0
    failures: dict[str, Exception] = {}

    async def keys() -> AsyncGenerator[str, None]:
        async with aclosing(_kept(tree, rules)) as entries:
            async for entry in entries:
                yield entry.key

    async with aclosing(delete_objects(tree, keys(), run)) as outcomes:
        async for key, error in outcomes:
            deleted += error is None
            if error is not None:
                failures[key] = error
    return SyncReport(str(tree), str(tree), deleted=deleted, failures=failures, duration=time.monotonic() - began)


class _Sync:
    """One sync: differences, then extra entries."""

    def __init__(self, way: Way, rules: Rules, *, delete_extra: bool, ordered: bool) -> None:
        self._way = way
        self._rules = rules
        self._delete_extra = delete_extra
        self._extra: list[Entry] = []
        self._unchanged = 0
        self._moving: dict[int, tuple[SyncAction, Entry]] = {}
        self._failures: dict[str, Exception] = {}
        self._ordered = ordered

    async def plan(self) -> SyncPlan:
        """Return the plan."""
        async with aclosing(self._changes()) as changes:
            actions = [action async for action, _ in changes]
        if self._delete_extra:
            actions += [SyncAction("delete", one.key, one.size, "the source lacks it") for one in self._extra]
        way = self._way
        return SyncPlan(str(way.source), str(way.target), tuple(actions), self._unchanged, way.source.skipped)

    async def carry_out(self, run: Run) -> SyncReport:
        """Transfer what differs, then delete extra entries."""
        began = time.monotonic()
        way, counts, moved, deleted = self._way, {"create": 0, "update": 0}, 0, 0
        async with aclosing(run(self._operations())) as results:
            async for result in results:
                action, entry = self._moving.pop(result.position)
                if self._moved(entry, result):
                    counts[action.kind] += 1
                    moved += entry.size
        kept = len(self._extra) if self._delete_extra and self._failures else 0
        if self._extra and not kept:
            await self._spare_common()
            async with aclosing(way.delete([entry.key for entry in self._extra], run)) as outcomes:
                async for key, error in outcomes:
                    deleted += error is None
                    if error is not None:
                        self._failures[key] = error
        return SyncReport(
            str(way.source),
            str(way.target),
            counts["create"],
            counts["update"],
            deleted,
            self._unchanged,
            moved,
            self._failures,
            kept,
            way.source.skipped,
            time.monotonic() - began,
        )

    async def _spare_common(self) -> None:
        """Keep entries that the source has meanwhile: both sides may have got them since the source was listed."""
        extra = {entry.key: entry for entry in self._extra}
        found = False
        async with aclosing(_kept(self._way.source, self._rules)) as source:
            async for entry in source:
                found = True
                extra.pop(entry.key, None)
        self._extra = list(extra.values())
        self._check_source(found=found, late=True)

    def _check_source(self, *, found: bool, late: bool = False) -> None:
        if self._extra and not found:
            way = self._way
            raise empty_source(InvalidOption, "sync", way.source, way.target, late=late)

    def _moved(self, entry: Entry, result: OperationResult) -> bool:
        error = result.error
        if error is None:
            try:
                self._way.moved(entry, result)
            except OSError as problem:
                error = problem
        if error is not None:
            self._failures[entry.key] = error
        return error is None

    async def _operations(self) -> AsyncGenerator[Operation, None]:
        position = itertools.count()
        async with aclosing(self._changes()) as changes:
            async for action, entry in changes:
                try:
                    operation = await self._way.operation(entry)
                except OSError as error:
                    self._failures[entry.key] = error
                    continue
                self._moving[next(position)] = action, entry
                yield operation

    async def _changes(self) -> AsyncGenerator[tuple[SyncAction, Entry], None]:
        """Yield what must be transferred, and collect extra entries for later."""
        way, found = self._way, False
        async with (
            aclosing(self._entries(way.source)) as source,
            aclosing(self._entries(way.target)) as target,
            aclosing(compared(source, target)) as pairs,
        ):
            async for mine, theirs in pairs:
                found = found or mine is not None
                if mine is None:
                    if theirs is not None and self._delete_extra:
                        self._extra.append(theirs)
                elif theirs is None:
                    yield SyncAction("create", mine.key, mine.size, "the target lacks it"), mine
                elif mine.size != theirs.size:
                    yield SyncAction("update", mine.key, mine.size, f"the target has {theirs.size} bytes"), mine
                elif await way.is_same(mine, theirs):
                    self._unchanged += 1
                else:
                    yield SyncAction("update", mine.key, mine.size, "the content differs"), mine
        self._check_source(found=found)

    async def _entries(self, tree: Folder | Prefix) -> AsyncGenerator[Entry, None]:
        async with aclosing(_kept(tree, self._rules)) as kept:
            if self._ordered:
                async for entry in kept:
                    yield entry
                return
            async for entry in sorted_entries(kept):
                yield entry


async def _kept(tree: Folder | Prefix, rules: Rules) -> AsyncGenerator[Entry, None]:
    async with aclosing(tree.entries()) as entries:
        async for entry in entries:
            if rules.keeps(entry.key):
                yield entry


async def _are_ordered(engine: Engine, way: Way) -> bool:
    """Return whether both sides list in key order. S3 guarantees it; for other servers, a full listing must show it."""
    is_aws: bool | None = None
    for tree in (way.target, way.source):
        if not isinstance(tree, Prefix):
            continue
        if tree.bucket.endswith(_EXPRESS):
            return False
        if is_aws is None:
            is_aws = (await engine.control.endpoint()).is_aws
        if not is_aws and not await is_ordered(tree.entries()):
            return False
    return True


def choose_way(engine: Engine, source: Place, target: Place) -> Way:
    """Return the way from one place to the other.

    Raises:
        InvalidOption: neither is in S3.
    """
    part_size = engine.settings.transfer.part_size
    theirs, ours = _in_s3(source), _in_s3(target)
    if theirs is not None and ours is not None:
        return copying(engine, theirs, ours)
    if theirs is not None:
        return Fetch(Prefix(engine, *theirs, as_files=True), Folder(Path(target), missing_ok=True), part_size)
    if ours is not None:
        return Upload(Folder(Path(source), missing_ok=False), Prefix(engine, *ours, as_files=False), part_size)
    raise InvalidOption(
        f"neither '{source}' nor '{target}' is in S3", operation="sync", hint="name one as 's3://bucket/prefix'"
    )


def copying(engine: Engine, source: tuple[str, str], target: tuple[str, str]) -> Copy:
    """Return the way from one prefix to another; both are (bucket, prefix).

    Raises:
        InvalidOption: they overlap.
    """
    way = Copy(Prefix(engine, *source, as_files=False), Prefix(engine, *target, as_files=False))
    check_bucket(way.source.bucket)
    check_bucket(way.target.bucket)
    prefixes = way.source.prefix, way.target.prefix
    overlap = prefixes[0].startswith(prefixes[1]) or prefixes[1].startswith(prefixes[0])
    if way.source.bucket == way.target.bucket and overlap:
        raise InvalidOption(
            f"{way.source} and {way.target} overlap",
            operation="sync",
            hint="copy to a prefix that is neither inside nor around the other",
        )
    return way


def _in_s3(place: Place) -> tuple[str, str] | None:
    """Return bucket and prefix of a place in S3. The prefix is a folder: it ends with "/", or is empty."""
    if not isinstance(place, str) or not place.startswith(_S3):
        return None
    bucket, _, prefix = place[len(_S3) :].partition("/")
    check_bucket(bucket)
    return bucket, prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
