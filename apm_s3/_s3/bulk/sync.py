"""`sync`, `copy_prefix` and `delete_prefix`: what differs moves, in one batch; what is extra goes last, if at all.

Invariants: nothing is deleted before the whole source has been listed and everything has moved; nothing is deleted for
a source that has nothing; a name that could lead out of a directory is never written.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal, cast, overload

from apm_s3._s3.bulk.batch import iter_batch
from apm_s3._s3.bulk.trees import Entry, Folder, Lister, Prefix, Rules, compared, is_ordered, sorted_entries
from apm_s3._s3.bulk.ways import Copy, Fetch, Upload, Way, delete_objects
from apm_s3._s3.bulk.workers import Verbs
from apm_s3._s3.engine import Engine, check_bucket
from apm_s3._s3.engine import Operations as ManagerPart
from apm_s3.batch import OnProgress, Operation, OperationResult
from apm_s3.errors import InvalidOption
from apm_s3.sync import SyncAction, SyncPlan, SyncReport

Place = str | os.PathLike[str]
Patterns = str | Sequence[str]

_S3 = "s3://"

_EXPRESS = "--x-s3"
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-express-differences.html: listings in no order."""


class SyncOperations(ManagerPart):
    """What the manager does to bring whole trees from one place to another."""

    @overload
    async def sync(
        self, source: Place, target: Place, *, dry_run: Literal[True], delete_extra: bool = False,
        include: Patterns | None = None, exclude: Patterns | None = None, on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncPlan: ...  # fmt: skip
    @overload
    async def sync(
        self, source: Place, target: Place, *, dry_run: Literal[False] = False, delete_extra: bool = False,
        include: Patterns | None = None, exclude: Patterns | None = None, on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncReport: ...  # fmt: skip
    async def sync(
        self,
        source: Place,
        target: Place,
        *,
        dry_run: bool = False,
        delete_extra: bool = False,
        include: Patterns | None = None,
        exclude: Patterns | None = None,
        on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncPlan | SyncReport:
        """Bring what differs from a directory to a prefix, from a prefix to a directory, or from a prefix to another.

        Files and objects of another size differ, and those of the same size whose content does: it is held against the
        ETag, where that is a sum of the content. (That of an object with KMS or SSE-C is none, and such an object is
        brought again.) A file that came from S3 gets the time of its object, which tells the next time that it is the
        same. One that fails stops nothing; see the report's `failures`. Both sides are listed in step, so that their
        size does not matter; of what is extra, the names are held. (A server other than S3 is asked for its list once
        more, before, for its order: one that lists folder by folder, as SeaweedFS does, has both lists held. So has S3
        Express.)

        Args:
            source, target: "s3://bucket/prefix", where a prefix stands for a folder, or the path of a directory. Links
                are not followed.
            dry_run: say what would be done, and write nothing.
            delete_extra: delete from the target what the source lacks: last, and only if nothing failed before.
            include, exclude: patterns of names below source and target, as of `fnmatch`; "*" stands for "/" too. What
                they leave out is neither brought nor deleted.
            on_progress: told whenever a file or object has moved.
            concurrency: how many move at once; by default `max_concurrency` of the settings.

        Raises:
            InvalidOption: source and target are not such places, or overlap; or `delete_extra` would delete everything,
                as the source has nothing.
            OSError: a directory cannot be read. Nothing was deleted.
            BucketNotFound: there is no such bucket.
        """
        way = _way(self._engine, cast("Lister", self), source, target)
        ordered = await _are_ordered(self._engine, way)
        work = _Sync(way, Rules(include, exclude), delete_extra=delete_extra, ordered=ordered)
        if dry_run:
            return await work.plan()
        return await work.carry_out(_Runs(self._engine, cast("Verbs", self), on_progress, concurrency))

    @overload
    async def copy_prefix(
        self, source_bucket: str, source_prefix: str, bucket: str, prefix: str, *, dry_run: Literal[True],
        include: Patterns | None = None, exclude: Patterns | None = None, on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncPlan: ...  # fmt: skip
    @overload
    async def copy_prefix(
        self, source_bucket: str, source_prefix: str, bucket: str, prefix: str, *, dry_run: Literal[False] = False,
        include: Patterns | None = None, exclude: Patterns | None = None, on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncReport: ...  # fmt: skip
    async def copy_prefix(
        self,
        source_bucket: str,
        source_prefix: str,
        bucket: str,
        prefix: str,
        *,
        dry_run: bool = False,
        include: Patterns | None = None,
        exclude: Patterns | None = None,
        on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncPlan | SyncReport:
        """Copy the objects under a prefix inside S3, those that are there already left out; see `copy_file`, `sync`.

        Both prefixes are taken as they are: "logs" stands for "logs/1" and "logs-old/1". Each key gets `prefix` in
        place of `source_prefix`.

        Args and errors: those of `sync`.
        """
        s3 = cast("Lister", self)
        way = Copy(Prefix(s3, source_bucket, source_prefix, as_files=False), Prefix(s3, bucket, prefix, as_files=False))
        _check_apart(way)
        ordered = await _are_ordered(self._engine, way)
        work = _Sync(way, Rules(include, exclude), delete_extra=False, ordered=ordered)
        if dry_run:
            return await work.plan()
        return await work.carry_out(_Runs(self._engine, cast("Verbs", self), on_progress, concurrency))

    @overload
    async def delete_prefix(
        self, bucket: str, prefix: str, *, dry_run: Literal[True], include: Patterns | None = None,
        exclude: Patterns | None = None, on_progress: OnProgress | None = None,
    ) -> SyncPlan: ...  # fmt: skip
    @overload
    async def delete_prefix(
        self, bucket: str, prefix: str, *, dry_run: Literal[False] = False, include: Patterns | None = None,
        exclude: Patterns | None = None, on_progress: OnProgress | None = None,
    ) -> SyncReport: ...  # fmt: skip
    async def delete_prefix(
        self,
        bucket: str,
        prefix: str,
        *,
        dry_run: bool = False,
        include: Patterns | None = None,
        exclude: Patterns | None = None,
        on_progress: OnProgress | None = None,
    ) -> SyncPlan | SyncReport:
        """Delete all objects under a prefix, 1000 a request, while they are listed.

        The prefix is taken as it is: "logs" stands for "logs/1" and "logs-old/1". A versioned bucket gets delete
        markers.

        Args and errors: those of `sync`.

        Raises:
            InvalidOption: an empty prefix, which stands for the whole bucket: `delete_bucket(force=True)` empties one.
        """
        if not prefix:
            raise InvalidOption(
                "an empty prefix stands for the whole bucket",
                operation="delete_prefix",
                bucket=bucket,
                hint="give a prefix; delete_bucket(bucket, force=True) empties a bucket, old versions included",
            )
        check_bucket(bucket)
        tree, rules = Prefix(cast("Lister", self), bucket, prefix, as_files=False), Rules(include, exclude)
        if dry_run:
            actions = [SyncAction("delete", one.key, one.size, "under the prefix") async for one in _kept(tree, rules)]
            return SyncPlan(str(tree), str(tree), tuple(actions))
        run = _Runs(self._engine, cast("Verbs", self), on_progress, None)
        return await _delete_all(tree, rules, run)


class _Runs:
    """Carries operations out; see `ways.Runs`."""

    def __init__(self, engine: Engine, s3: Verbs, on_progress: OnProgress | None, concurrency: int | None) -> None:
        self._engine = engine
        self._s3 = s3
        self._on_progress = on_progress
        self._concurrency = concurrency

    def __call__(self, operations: Any) -> AsyncGenerator[OperationResult, None]:
        return iter_batch(
            self._engine,
            self._s3,
            operations,
            self._on_progress,
            concurrency=self._concurrency,
            timeout=None,
            operation_timeout=None,
        )


class _Sync:
    """One sync: what differs, and then what is extra."""

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
        """What is to be done."""
        async with aclosing(self._changes()) as changes:
            actions = [action async for action, _ in changes]
        if self._delete_extra:
            actions += [SyncAction("delete", one.key, one.size, "the source lacks it") for one in self._extra]
        way = self._way
        return SyncPlan(str(way.source), str(way.target), tuple(actions), self._unchanged, way.source.skipped)

    async def carry_out(self, run: _Runs) -> SyncReport:
        """Do it."""
        began = time.monotonic()
        way, counts, moved, deleted = self._way, {"create": 0, "update": 0}, 0, 0
        async with aclosing(run(self._operations())) as results:
            async for result in results:
                action, entry = self._moving.pop(result.position)
                if self._moved(entry, result):
                    counts[action.kind] += 1
                    moved += entry.size
        kept = len(self._extra) if self._delete_extra and self._failures else 0
        if self._delete_extra and not kept:
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
        """What is to be brought; what is extra is kept for later."""
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
        if self._extra and not found:
            raise InvalidOption(
                f"{way.source} has nothing, so that delete_extra would delete all {len(self._extra)} of {way.target}",
                operation="sync",
                hint="check the source; delete_prefix, or removing the directory, is the way to delete everything",
            )

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


async def _delete_all(tree: Prefix, rules: Rules, run: _Runs) -> SyncReport:
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


async def _are_ordered(engine: Engine, way: Way) -> bool:
    """Whether both sides come in the order of their keys. S3 promises it; of others, it is seen only at the end."""
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


def _way(engine: Engine, s3: Lister, source: Place, target: Place) -> Way:
    part_size = engine.settings.transfer.part_size
    theirs, ours = _in_s3(source), _in_s3(target)
    if theirs is None and ours is None:
        raise InvalidOption(
            f"neither '{source}' nor '{target}' is in S3", operation="sync", hint="name one as 's3://bucket/prefix'"
        )
    if theirs is None and ours is not None:
        return Upload(Folder(Path(source), missing_ok=False), Prefix(s3, *ours, as_files=False), part_size)
    if theirs is not None and ours is None:
        return Fetch(Prefix(s3, *theirs, as_files=True), Folder(Path(target), missing_ok=True), part_size)
    way = Copy(Prefix(s3, *theirs or ("", ""), as_files=False), Prefix(s3, *ours or ("", ""), as_files=False))
    _check_apart(way)
    return way


def _in_s3(place: Place) -> tuple[str, str] | None:
    """Bucket and prefix of a place in S3. The prefix stands for a folder: it ends with "/", or is empty."""
    if not isinstance(place, str) or not place.startswith(_S3):
        return None
    bucket, _, prefix = place[len(_S3) :].partition("/")
    check_bucket(bucket)
    return bucket, prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def _check_apart(way: Copy) -> None:
    source, target = way.source, way.target
    check_bucket(source.bucket)
    check_bucket(target.bucket)
    overlap = source.prefix.startswith(target.prefix) or target.prefix.startswith(source.prefix)
    if source.bucket == target.bucket and overlap:
        raise InvalidOption(
            f"{source} and {target} overlap",
            operation="sync",
            hint="copy to a prefix that does not begin like the other",
        )
