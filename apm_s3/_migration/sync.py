"""`sync`, `copy_prefix` and `delete_prefix`: differences are transferred in one batch; extra entries are deleted last.

Invariants: nothing is deleted before the whole source was listed and everything was transferred; nothing is deleted for
an empty source; a name that could lead out of a directory is never written.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from apm_s3._beneath import Below
from apm_s3._migration.sides import Endpoint
from apm_s3._migration.trees import (
    Entry,
    Folder,
    Globs,
    Patterns,
    Prefix,
    S3Place,
    Where,
    check_apart,
    compared,
    empty_source,
    has_content,
    is_ordered,
    is_same_time,
    not_in_s3,
    parse_place,
    remove_files,
    sorted_entries,
)
from apm_s3._naming import EXPRESS, check_bucket
from apm_s3.batch import CopyOp, DeleteOp, DownloadOp, OnProgress, Operation, OperationResult, Operations, UploadOp
from apm_s3.errors import InvalidOption
from apm_s3.sync import SyncAction, SyncPlan, SyncReport

_REMOVED_AT_ONCE = 500


class DeletionKeywords(TypedDict, total=False):
    """The keyword arguments of `delete_prefix`; see `S3Manager.sync`."""

    include: Globs | None
    exclude: Globs | None
    on_progress: OnProgress | None


class SyncKeywords(DeletionKeywords, total=False):
    """The keyword arguments of `sync` and `copy_prefix`; see `S3Manager.sync`."""

    concurrency: int | None


Run = Callable[[Operations], AsyncGenerator[OperationResult, None]]
"""Runs operations, and yields a result for each."""


From = TypeVar("From", bound=Folder | Prefix)
To = TypeVar("To", bound=Folder | Prefix)


class Direction(ABC, Generic[From, To]):
    """How to transfer entries from `source` to `target`; S3 is reached through `endpoint`."""

    def __init__(self, endpoint: Endpoint, source: From, target: To) -> None:
        self.endpoint = endpoint
        self.source: From = source
        self.target: To = target

    @abstractmethod
    def operation(self, entry: Entry) -> Operation:
        """Return the operation that transfers an entry of the source to the target."""

    @abstractmethod
    async def is_same(self, mine: Entry, theirs: Entry) -> bool:
        """Return whether two entries of the same size have the same content, as far as this can be determined."""

    def moved(self, entry: Entry, result: OperationResult) -> None:
        """Record that an entry was transferred."""

    async def _holds(self, path: Below, size: int, etag: str | None) -> bool:
        return await asyncio.to_thread(has_content, path, size, etag, self.endpoint.part_size)


class Upload(Direction[Folder, Prefix]):
    """A directory to a prefix."""

    def operation(self, entry: Entry) -> Operation:
        return UploadOp(self.target.bucket, self.target.prefix + entry.key, Below(self.source.root, entry.key))

    async def is_same(self, mine: Entry, theirs: Entry) -> bool:
        """Compare by the ETag, if it is a hash of the content."""
        return await self._holds(Below(self.source.root, mine.key), mine.size, theirs.etag)


class Fetch(Direction[Prefix, Folder]):
    """A prefix to a directory. Files get the time of their objects, so that the next sync recognizes them."""

    def operation(self, entry: Entry) -> Operation:
        to = Below(self.target.root, entry.key)
        return DownloadOp(self.source.bucket, self.source.prefix + entry.key, to=to)

    async def is_same(self, mine: Entry, theirs: Entry) -> bool:
        """Compare by the time that the last sync set, or by the ETag, if it is a hash of the content."""
        if is_same_time(mine.modified, theirs.modified):
            return True
        return await self._holds(Below(self.target.root, theirs.key), theirs.size, mine.etag)

    def moved(self, entry: Entry, result: OperationResult) -> None:
        modified = getattr(result.result, "last_modified", None)
        if modified is not None:
            Below(self.target.root, entry.key).touch(modified.timestamp())


class Copy(Direction[Prefix, Prefix]):
    """A prefix to another one, within S3."""

    def operation(self, entry: Entry) -> Operation:
        source, target = self.source, self.target
        return CopyOp(source.bucket, source.prefix + entry.key, target.bucket, target.prefix + entry.key)

    async def is_same(self, mine: Entry, theirs: Entry) -> bool:
        """Compare by the ETag; if that depends on parts, which a copy does not keep, check if the copy is newer."""
        if mine.etag is not None and mine.etag == theirs.etag:
            return True
        if mine.etag is None or "-" not in mine.etag or mine.modified is None or theirs.modified is None:
            return False
        return theirs.modified > mine.modified


AnyDirection = Direction[Any, Any]


async def delete_files(root: Path, keys: Sequence[str]) -> AsyncGenerator[tuple[str, Exception | None], None]:
    """Delete `keys` below a directory, and yield the error of each."""
    for start in range(0, len(keys), _REMOVED_AT_ONCE):
        for outcome in await asyncio.to_thread(remove_files, root, keys[start : start + _REMOVED_AT_ONCE]):
            yield outcome


async def delete_objects(
    target: Prefix, keys: Sequence[str] | AsyncGenerator[str, None], run: Run
) -> AsyncGenerator[tuple[str, Exception | None], None]:
    """Delete `keys` below a prefix, and yield the error of each."""

    async def operations() -> AsyncGenerator[DeleteOp, None]:
        if isinstance(keys, Sequence):
            for key in keys:
                yield DeleteOp(target.bucket, target.prefix + key)
            return
        async with aclosing(keys):
            async for key in keys:
                yield DeleteOp(target.bucket, target.prefix + key)

    async with aclosing(run(operations())) as results:
        async for result in results:
            yield result.operation.key[len(target.prefix) :], result.error


async def copy_tree(
    direction: AnyDirection, *, dry_run: bool, delete_extra: bool = False, **options: Unpack[SyncKeywords]
) -> SyncPlan | SyncReport:
    """Transfer differences, and delete extra entries if requested, or only return the plan."""
    patterns = Patterns(options.get("include"), options.get("exclude"))
    run = _runner(direction.endpoint, **options)
    work = _Sync(direction, patterns, delete_extra=delete_extra, ordered=await _are_ordered(direction))
    return await (work.plan() if dry_run else work.carry_out(run))


def _runner(endpoint: Endpoint, **options: Unpack[SyncKeywords]) -> Run:
    return lambda operations: endpoint.run(operations, options.get("on_progress"), options.get("concurrency"))


async def delete_all(
    endpoint: Endpoint, bucket: str, prefix: str, *, dry_run: bool, **options: Unpack[DeletionKeywords]
) -> SyncPlan | SyncReport:
    """Delete everything under a prefix while listing it, or only return the plan."""
    tree = Prefix(endpoint.verbs, bucket, prefix, as_files=False)
    patterns = Patterns(options.get("include"), options.get("exclude"))
    if dry_run:
        actions = [SyncAction("delete", one.key, one.size, "under the prefix") async for one in _kept(tree, patterns)]
        return SyncPlan(str(tree), str(tree), tuple(actions))
    began, deleted = time.monotonic(), 0
    failures: dict[str, Exception] = {}

    async def keys() -> AsyncGenerator[str, None]:
        async with aclosing(_kept(tree, patterns)) as entries:
            async for entry in entries:
                yield entry.key

    async with aclosing(delete_objects(tree, keys(), _runner(endpoint, **options))) as outcomes:
        async for key, error in outcomes:
            deleted += error is None
            if error is not None:
                failures[key] = error
    return SyncReport(str(tree), str(tree), deleted=deleted, failures=failures, duration=time.monotonic() - began)


class _Sync:
    """One sync: differences, then extra entries."""

    def __init__(self, direction: AnyDirection, patterns: Patterns, *, delete_extra: bool, ordered: bool) -> None:
        self._direction = direction
        self._patterns = patterns
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
        direction = self._direction
        return SyncPlan(
            str(direction.source), str(direction.target), tuple(actions), self._unchanged, direction.source.skipped
        )

    async def carry_out(self, run: Run) -> SyncReport:
        """Transfer what differs, then delete extra entries."""
        began = time.monotonic()
        direction, counts, moved, deleted = self._direction, {"create": 0, "update": 0}, 0, 0
        async with aclosing(run(self._operations())) as results:
            async for result in results:
                action, entry = self._moving.pop(result.position)
                if self._moved(entry, result):
                    counts[action.kind] += 1
                    moved += entry.size
        kept = len(self._extra) if self._delete_extra and self._failures else 0
        if self._extra and not kept:
            await self._spare_common()
            keys, to = [entry.key for entry in self._extra], direction.target
            outcomes = delete_files(to.root, keys) if isinstance(to, Folder) else delete_objects(to, keys, run)
            async with aclosing(outcomes):
                async for key, error in outcomes:
                    deleted += error is None
                    if error is not None:
                        self._failures[key] = error
        return SyncReport(
            str(direction.source),
            str(direction.target),
            counts["create"],
            counts["update"],
            deleted,
            self._unchanged,
            moved,
            self._failures,
            kept,
            direction.source.skipped,
            time.monotonic() - began,
        )

    async def _spare_common(self) -> None:
        """Keep entries that the source has meanwhile: both sides may have got them since the source was listed."""
        extra = {entry.key: entry for entry in self._extra}
        found = False
        async with aclosing(_kept(self._direction.source, self._patterns)) as source:
            async for entry in source:
                found = True
                extra.pop(entry.key, None)
        self._extra = list(extra.values())
        self._check_source(found=found, late=True)

    def _check_source(self, *, found: bool, late: bool = False) -> None:
        if self._extra and not found:
            direction = self._direction
            raise empty_source(InvalidOption, "sync", direction.source, direction.target, late=late)

    def _moved(self, entry: Entry, result: OperationResult) -> bool:
        error = result.error
        if error is None:
            try:
                self._direction.moved(entry, result)
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
                    operation = self._direction.operation(entry)
                except OSError as error:
                    self._failures[entry.key] = error
                    continue
                self._moving[next(position)] = action, entry
                yield operation

    async def _changes(self) -> AsyncGenerator[tuple[SyncAction, Entry], None]:
        """Yield what must be transferred, and collect extra entries for later."""
        direction, found = self._direction, False
        async with (
            aclosing(self._entries(direction.source)) as source,
            aclosing(self._entries(direction.target)) as target,
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
                elif await direction.is_same(mine, theirs):
                    self._unchanged += 1
                else:
                    yield SyncAction("update", mine.key, mine.size, "the content differs"), mine
        self._check_source(found=found)

    async def _entries(self, tree: Folder | Prefix) -> AsyncGenerator[Entry, None]:
        async with aclosing(_kept(tree, self._patterns)) as kept:
            if self._ordered:
                async for entry in kept:
                    yield entry
                return
            async for entry in sorted_entries(kept):
                yield entry


async def _kept(tree: Folder | Prefix, patterns: Patterns) -> AsyncGenerator[Entry, None]:
    async with aclosing(tree.entries()) as entries:
        async for entry in entries:
            if patterns.keeps(entry.key):
                yield entry


async def _are_ordered(direction: AnyDirection) -> bool:
    """Return whether both sides list in key order. S3 guarantees it; for other servers, a full listing must show it."""
    is_aws: bool | None = None
    for tree in (direction.target, direction.source):
        if not isinstance(tree, Prefix):
            continue
        if tree.bucket.endswith(EXPRESS):
            return False
        if is_aws is None:
            _, is_aws = await direction.endpoint.identify()
        if not is_aws and not await is_ordered(tree.entries()):
            return False
    return True


def choose_direction(endpoint: Endpoint, source: Where, target: Where) -> AnyDirection:
    """Return the direction from one place to the other.

    Raises:
        InvalidOption: neither is in S3, they overlap, or a path is empty.
    """
    theirs, ours = parse_place(source), parse_place(target)
    if isinstance(theirs, S3Place):
        if isinstance(ours, S3Place):
            return copying(endpoint, theirs, ours)
        prefix = Prefix(endpoint.verbs, *theirs, as_files=True)
        return Fetch(endpoint, prefix, Folder(ours.root, missing_ok=True))
    if isinstance(ours, S3Place):
        prefix = Prefix(endpoint.verbs, *ours, as_files=False)
        return Upload(endpoint, Folder(theirs.root, missing_ok=False), prefix)
    raise not_in_s3(source, target, "sync")


def copying(endpoint: Endpoint, source: S3Place, target: S3Place) -> Copy:
    """Return the direction from one prefix to another.

    Raises:
        InvalidOption: they overlap.
    """
    check_bucket(source.bucket)
    check_bucket(target.bucket)
    check_apart(source, target, "sync")
    verbs = endpoint.verbs
    return Copy(endpoint, Prefix(verbs, *source, as_files=False), Prefix(verbs, *target, as_files=False))
