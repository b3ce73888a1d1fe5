"""The three ways of a sync: a directory to a prefix, a prefix to a directory, and inside S3.

Each knows how one entry moves, when both sides are the same, and how what is extra goes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol

from apm_s3._s3.bulk.trees import Entry, Folder, Prefix, make_folder, remove_files
from apm_s3._wire.parts import composite_etag, plan_parts
from apm_s3.batch import CopyOp, DeleteOp, DownloadOp, Operation, OperationResult, UploadOp
from apm_s3.errors import ObjectTooLarge

_MD5 = re.compile(r'"?([0-9a-f]{32})(?:-([0-9]{1,5}))?"?')
_PIECE = 1024**2
_REMOVED_AT_ONCE = 500
_SAME_TIME = 0.001
"""Seconds: file systems and S3 round times differently."""


Run = Callable[[Any], AsyncGenerator[OperationResult, None]]
"""Carries operations out, and gives a result for each."""


class Way(Protocol):
    """How entries get from `source` to `target`."""

    @property
    def source(self) -> Folder | Prefix:
        """Where they come from."""

    @property
    def target(self) -> Folder | Prefix:
        """Where they go."""

    async def operation(self, entry: Entry) -> Operation:
        """What brings an entry of the source to the target."""

    async def is_same(self, mine: Entry, theirs: Entry) -> bool:
        """Whether two entries of one size have the same content, as far as can be told."""

    def moved(self, entry: Entry, result: OperationResult) -> None:
        """It was brought there."""

    def delete(self, keys: Sequence[str], run: Run) -> AsyncGenerator[tuple[str, Exception | None], None]:
        """Delete `keys` of the target; what went wrong with each."""


class Upload:
    """A directory to a prefix."""

    def __init__(self, source: Folder, target: Prefix, part_size: int) -> None:
        self.source = source
        self.target = target
        self._part_size = part_size

    async def operation(self, entry: Entry) -> Operation:
        return UploadOp(self.target.bucket, self.target.prefix + entry.key, self.source.root / entry.key)

    async def is_same(self, mine: Entry, theirs: Entry) -> bool:
        """By the ETag, where it is a sum of the content."""
        return await asyncio.to_thread(
            has_content, self.source.root / mine.key, mine.size, theirs.etag, self._part_size
        )

    def moved(self, entry: Entry, result: OperationResult) -> None: ...

    def delete(self, keys: Sequence[str], run: Run) -> AsyncGenerator[tuple[str, Exception | None], None]:
        return delete_objects(self.target, keys, run)


class Fetch:
    """A prefix to a directory. Files get the time of their objects, so that the next sync knows them."""

    def __init__(self, source: Prefix, target: Folder, part_size: int) -> None:
        self.source = source
        self.target = target
        self._part_size = part_size
        self._made: set[str] = set()

    async def operation(self, entry: Entry) -> Operation:
        """See `Way.operation`.

        Raises:
            OSError: the file's directory cannot be made.
        """
        if entry.key.rpartition("/")[0] not in self._made:
            await asyncio.to_thread(make_folder, self.target.root, entry.key, self._made)
        return DownloadOp(self.source.bucket, self.source.prefix + entry.key, to=self.target.root / entry.key)

    async def is_same(self, mine: Entry, theirs: Entry) -> bool:
        """By the time that the last sync set, or by the ETag, where it is a sum of the content."""
        times = mine.modified, theirs.modified
        if times[0] is not None and times[1] is not None and abs(times[0] - times[1]) < _SAME_TIME:
            return True
        return await asyncio.to_thread(
            has_content, self.target.root / theirs.key, theirs.size, mine.etag, self._part_size
        )

    def moved(self, entry: Entry, result: OperationResult) -> None:
        modified = getattr(result.result, "last_modified", None)
        if modified is not None:
            at = int(modified.timestamp() * 1e9)
            os.utime(self.target.root / entry.key, ns=(at, at))

    async def delete(self, keys: Sequence[str], run: Run) -> AsyncGenerator[tuple[str, Exception | None], None]:  # noqa: ARG002 - of the protocol
        for start in range(0, len(keys), _REMOVED_AT_ONCE):
            some = keys[start : start + _REMOVED_AT_ONCE]
            for outcome in await asyncio.to_thread(remove_files, self.target.root, some):
                yield outcome


class Copy:
    """A prefix to another one, inside S3."""

    def __init__(self, source: Prefix, target: Prefix) -> None:
        self.source = source
        self.target = target

    async def operation(self, entry: Entry) -> Operation:
        source, target = self.source, self.target
        return CopyOp(source.bucket, source.prefix + entry.key, target.bucket, target.prefix + entry.key)

    async def is_same(self, mine: Entry, theirs: Entry) -> bool:
        """By the ETag; where that tells of parts, which a copy does not keep, by whether the copy is younger."""
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
    """Delete `keys` below a prefix; what went wrong with each."""

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


def has_content(path: Path, size: int, etag: str | None, part_size: int) -> bool:
    """Whether a file has the content of which `etag` is the sum, in parts of `part_size` if it was uploaded in parts.

    False where that cannot be told: an ETag of an encrypted object (KMS, SSE-C) is no sum of its content. Blocks.

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


def _md5s(path: Path, ranges: Sequence[tuple[int, int]]) -> list[str]:
    sums: list[str] = []
    with path.open("rb", buffering=0) as file:
        for start, stop in ranges:
            digest = hashlib.md5(usedforsecurity=False)
            left = stop - start
            while left and (piece := file.read(min(_PIECE, left))):
                digest.update(piece)
                left -= len(piece)
            sums.append(digest.hexdigest())
    return sums
