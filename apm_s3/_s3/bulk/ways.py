"""The three directions of a sync: a directory to a prefix, a prefix to a directory, and within S3.

Each knows how to transfer one entry, when both sides are the same, and how to delete extra entries.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from apm_s3._beneath import Below
from apm_s3._s3.bulk.trees import Entry, Folder, Prefix, remove_files
from apm_s3._wire.parts import composite_etag, plan_parts
from apm_s3.batch import CopyOp, DeleteOp, DownloadOp, Operation, OperationResult, UploadOp
from apm_s3.errors import ObjectTooLarge

_MD5 = re.compile(r'"?([0-9a-f]{32})(?:-([0-9]{1,5}))?"?')
_PIECE = 1024**2
_REMOVED_AT_ONCE = 500
_SAME_TIME = 0.001
"""Tolerance in seconds, because file systems and S3 round times differently."""


Run = Callable[[Any], AsyncGenerator[OperationResult, None]]
"""Runs operations, and yields a result for each."""


class Way(Protocol):
    """How to transfer entries from `source` to `target`."""

    @property
    def source(self) -> Folder | Prefix:
        """Return the name of the source."""

    @property
    def target(self) -> Folder | Prefix:
        """Return the name of the target."""

    async def operation(self, entry: Entry) -> Operation:
        """Return the operation that transfers an entry of the source to the target."""

    async def is_same(self, mine: Entry, theirs: Entry) -> bool:
        """Return whether two entries of the same size have the same content, as far as this can be determined."""

    def moved(self, entry: Entry, result: OperationResult) -> None:
        """Record that an entry was transferred."""

    def delete(self, keys: Sequence[str], run: Run) -> AsyncGenerator[tuple[str, Exception | None], None]:
        """Delete `keys` of the target, and yield the error of each."""


class Upload:
    """A directory to a prefix."""

    def __init__(self, source: Folder, target: Prefix, part_size: int) -> None:
        self.source = source
        self.target = target
        self._part_size = part_size

    async def operation(self, entry: Entry) -> Operation:
        return UploadOp(self.target.bucket, self.target.prefix + entry.key, Below(self.source.root, entry.key))

    async def is_same(self, mine: Entry, theirs: Entry) -> bool:
        """Compare by the ETag, if it is a hash of the content."""
        return await asyncio.to_thread(
            has_content, Below(self.source.root, mine.key), mine.size, theirs.etag, self._part_size
        )

    def moved(self, entry: Entry, result: OperationResult) -> None: ...

    def delete(self, keys: Sequence[str], run: Run) -> AsyncGenerator[tuple[str, Exception | None], None]:
        return delete_objects(self.target, keys, run)


class Fetch:
    """A prefix to a directory. Files get the time of their objects, so that the next sync recognizes them."""

    def __init__(self, source: Prefix, target: Folder, part_size: int) -> None:
        self.source = source
        self.target = target
        self._part_size = part_size

    async def operation(self, entry: Entry) -> Operation:
        to = Below(self.target.root, entry.key)
        return DownloadOp(self.source.bucket, self.source.prefix + entry.key, to=to)

    async def is_same(self, mine: Entry, theirs: Entry) -> bool:
        """Compare by the time that the last sync set, or by the ETag, if it is a hash of the content."""
        times = mine.modified, theirs.modified
        if times[0] is not None and times[1] is not None and abs(times[0] - times[1]) < _SAME_TIME:
            return True
        return await asyncio.to_thread(
            has_content, Below(self.target.root, theirs.key), theirs.size, mine.etag, self._part_size
        )

    def moved(self, entry: Entry, result: OperationResult) -> None:
        modified = getattr(result.result, "last_modified", None)
        if modified is not None:
            Below(self.target.root, entry.key).touch(modified.timestamp())

    async def delete(self, keys: Sequence[str], run: Run) -> AsyncGenerator[tuple[str, Exception | None], None]:  # noqa: ARG002 - of the protocol
        for start in range(0, len(keys), _REMOVED_AT_ONCE):
            some = keys[start : start + _REMOVED_AT_ONCE]
            for outcome in await asyncio.to_thread(remove_files, self.target.root, some):
                yield outcome


class Copy:
    """A prefix to another one, within S3."""

    def __init__(self, source: Prefix, target: Prefix) -> None:
        self.source = source
        self.target = target

    async def operation(self, entry: Entry) -> Operation:
        source, target = self.source, self.target
        return CopyOp(source.bucket, source.prefix + entry.key, target.bucket, target.prefix + entry.key)

    async def is_same(self, mine: Entry, theirs: Entry) -> bool:
        """Compare by the ETag; if that depends on parts, which a copy does not keep, check if the copy is newer."""
        if mine.etag is not None and mine.etag == theirs.etag:
            return True
        if mine.etag is None or "-" not in mine.etag or mine.modified is None or theirs.modified is None:
            return False
        return theirs.modified > mine.modified

    def moved(self, entry: Entry, result: OperationResult) -> None: ...

    def delete(self, keys: Sequence[str], run: Run) -> AsyncGenerator[tuple[str, Exception | None], None]:
        return delete_objects(self.target, keys, run)


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


def has_content(path: Below, size: int, etag: str | None, part_size: int) -> bool:
    """Return whether `etag` is the hash of a file, in parts of `part_size` if it was uploaded in parts.

    False if this cannot be determined: the ETag of an encrypted object (KMS, SSE-C) is not a hash of its content.
    Blocks.

    Raises:
        OSError: the file cannot be read.
    """
    match = _MD5.fullmatch(etag or "")
    if match is None:
        return False
    if match[2] is None:
        return _md5s(path, [(0, size)])[0] == match[1]
    try:
        parts = plan_parts(size, part_size)
    except ObjectTooLarge:
        return False
    if len(parts) != int(match[2]):
        return False
    told = composite_etag(_md5s(path, [(part.start, part.stop) for part in parts]))
    return told is not None and told.strip('"') == f"{match[1]}-{match[2]}"


def _md5s(path: Below, ranges: Sequence[tuple[int, int]]) -> list[str]:
    sums: list[str] = []
    with path.read() as file:
        for start, stop in ranges:
            digest = hashlib.md5(usedforsecurity=False)
            left = stop - start
            while left and (piece := file.read(min(_PIECE, left))):
                digest.update(piece)
                left -= len(piece)
            sums.append(digest.hexdigest())
    return sums
