"""Reading objects as streams and into files: bounded memory, broken bodies resumed, never a mix of two objects."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from apm_s3.errors import (
    DeadlineExceeded,
    InvalidOption,
    NotFound,
    ObjectChanged,
    PreconditionFailed,
    S3Error,
    TransportError,
    UnsupportedByServer,
    UsageError,
)
from apm_s3.models import FileInfo
from apm_s3.operations.engine import READ_DEFAULTS, Engine, Operations, check_target, within
from apm_s3.options import ReadOptions
from apm_s3.pool import StreamSlot
from apm_s3.tasks import run_all, shielded
from apm_s3.transports.base import Body
from apm_s3.wire.parts import cut_range


class Download:
    """The body of an object, read piece by piece.

    It is opened by `async with`, or by awaiting it; from then on `info` describes the object. A connection that breaks
    is replaced and the rest asked for (`Range`, `If-Match`); an object that was replaced meanwhile is `ObjectChanged`.
    Leaving the `async with` early, or cancelling, gives the connection up. While nobody reads on, other calls may use
    its slot of the pool.
    """

    def __init__(
        self, engine: Engine, bucket: str, key: str, options: ReadOptions, operation: str = "download_file"
    ) -> None:
        self._engine = engine
        self._bucket = bucket
        self._key = key
        self._options = options
        self._operation = operation
        self._slot = StreamSlot(engine.pool)
        self._ends_at: float | None = None
        self._waited = 0.0
        self._body: Body | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._info: FileInfo | None = None
        self._length = 0
        self._got = 0

    @property
    def info(self) -> FileInfo:
        """The object; its `size` is that of the whole, also where a range of it is read.

        Raises:
            UsageError: the download has not been opened.
        """
        if self._info is None:
            raise UsageError(
                "the download is not open", operation=self._operation, hint="use it with 'async with', or await it"
            )
        return self._info

    @property
    def length(self) -> int:
        """Bytes that this download gives in all."""
        return self._length

    async def read(self) -> bytes:
        """All that has not been read yet."""
        return b"".join([piece async for piece in self])

    async def aclose(self) -> None:
        """Give the connection up; harmless when called twice."""
        self._ends_at = None
        self._slot.release()
        await self._drop_body()

    def __await__(self) -> Generator[Any, None, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        loop = asyncio.get_running_loop()
        began = loop.time()
        timeouts = self._engine.settings.timeouts
        # Without a timeout of the call's own, only waiting counts: its reader may take all the time it needs.
        ends_at = self._ends_at or began + timeouts.for_bytes(self._got) - self._waited
        try:
            async with asyncio.timeout_at(ends_at) as bound:
                piece = await self._next()
        except TimeoutError as exc:
            if not bound.expired():
                raise
            spent = self._options.timeout or self._waited + loop.time() - began
            raise DeadlineExceeded(
                f"not read within {spent:.3g} seconds: {self._got} of {self._length} bytes came",
                operation=self._operation,
                bucket=self._bucket,
                key=self._key,
            ) from exc
        self._waited += loop.time() - began
        if piece is None:
            await self.aclose()
            raise StopAsyncIteration
        return piece

    async def _open(self) -> Self:
        if self._info is not None:
            return self
        timeout = self._options.timeout
        if timeout is not None:
            self._ends_at = asyncio.get_running_loop().time() + timeout

        async def attempt() -> Body:
            return await self._engine.transport.open(self._bucket, self._key, self._options)

        body = await self._engine.runner.run(
            self._operation, self._bucket, self._key, attempt, timeout=timeout, measure=_promised
        )
        self._body, self._pieces = body, aiter(body)
        self._info, self._length = body.info, body.length
        return self

    async def _next(self) -> bytes | None:
        if self._pieces is None:
            if self._got < self._length or self._info is None:
                raise UsageError(
                    "the download is not open", operation=self._operation, hint="read it inside its 'async with'"
                )
            return None
        try:
            await self._slot.take()
            try:
                piece = await anext(self._pieces, None)
            except TransportError as error:
                piece = await self._resume(error)
        except BaseException:
            await shielded(self.aclose())
            raise
        self._slot.lend()
        self._got += len(piece or b"")
        return piece

    async def _resume(self, error: TransportError) -> bytes | None:
        """The next piece, over a new connection."""
        if self._got >= self._length:
            return None
        await self._drop_body()
        if self.info.etag is None or not error.retryable:
            raise error
        # The new request takes a slot of its own; waiting for it with one in hand could be waiting for oneself.
        self._slot.release()
        try:
            return await self._engine.runner.run("resume_download", self._bucket, self._key, self._reopen)
        except (PreconditionFailed, NotFound) as exc:
            raise object_changed(self._operation, self._bucket, self._key) from exc

    async def _reopen(self) -> bytes | None:
        # The first piece belongs to the attempt: a server that accepts and then breaks again must not go on for ever.
        start, stop = self._options.range or (0, None)
        options = replace(
            self._options,
            range=(start + self._got, stop),
            if_match=self.info.etag,
            if_none_match=None,
            if_modified_since=None,
            if_unmodified_since=None,
        )
        body = self._body = await self._engine.transport.open(self._bucket, self._key, options)
        pieces = self._pieces = aiter(body)
        try:
            self._check_rest(body)
            return await anext(pieces, None)
        except BaseException:
            await self._drop_body()
            raise

    def _check_rest(self, body: Body) -> None:
        if body.length != self._length - self._got:
            raise UnsupportedByServer(
                "the server ignored the range of a resumed download", bucket=self._bucket, key=self._key
            )

    async def _drop_body(self) -> None:
        body, self._body = self._body, None
        pieces, self._pieces = self._pieces, None
        if body is not None:
            await body.aclose()
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def object_changed(operation: str, bucket: str, key: str) -> ObjectChanged:
    """The error for an object that is not the one that was begun with."""
    return ObjectChanged(
        "the object was replaced or deleted while it was being read", operation=operation, bucket=bucket, key=key
    )


def _promised(body: Body) -> tuple[int, str | None]:
    return body.length, body.info.storage_class


class DownloadOperations(Operations):
    """What the manager does to read objects that are too large for `read_file`."""

    def download_file(self, bucket: str, key: str, options: ReadOptions | None = None) -> Download:
        """An object as a stream: `async with s3.download_file(...) as download: async for piece in download: ...`.

        `options.timeout` covers all of it, the reader's own work too. Without one, the first answer has the manager's
        deadline, and so has the waiting for the body, which gets a second more for each 64 KiB that came.

        Raises (when it is opened):
            BucketNotFound, ObjectNotFound: there is no such bucket, or no such key in it.
            ObjectArchived: it has to be restored from its archive class first.
        """
        engine = self._engine
        check_target(bucket, key)
        return Download(engine, bucket, key, options or READ_DEFAULTS)

    async def download_to(
        self, bucket: str, key: str, path: str | os.PathLike[str], options: ReadOptions | None = None
    ) -> FileInfo:
        """Read an object into a file, large ones in parallel ranges.

        The file appears, or is replaced, in one step once it is whole and on disk; a failure or a cancellation leaves
        what was there, and nothing else.

        Raises:
            BucketNotFound, ObjectNotFound: there is no such bucket, or no such key in it.
            ObjectChanged: the object was replaced while it was being read.
            OSError: the file cannot be written; where its folder is missing, nothing is sent.
        """
        engine = self._engine
        check_target(bucket, key)
        options = options or READ_DEFAULTS
        if options.range is not None:
            raise InvalidOption("download_to reads whole objects", hint="use download_file for a range")
        async with within(options.timeout, "download_to", bucket, key), _replacing(Path(path)) as file:
            return await _FileDownload(engine, bucket, key, replace(options, timeout=None), file).run()


class _FileDownload:
    """One object on its way into an open file."""

    def __init__(self, engine: Engine, bucket: str, key: str, options: ReadOptions, file: int) -> None:
        self._engine = engine
        self._bucket = bucket
        self._key = key
        self._options = options
        self._file = file
        self._ranges: Iterator[tuple[int, int]] = iter(())

    async def run(self) -> FileInfo:
        transfer = self._engine.settings.transfer
        async with await self._first(transfer.range_size) as first:
            info = first.info
            if first.length < info.size:
                if info.etag is None:
                    raise UnsupportedByServer("the server sends no ETag", bucket=self._bucket, key=self._key)
                self._options = replace(self._options, if_match=info.etag, if_none_match=None)
                self._ranges = cut_range(first.length, info.size, transfer.range_size)
            more = -(-(info.size - first.length) // transfer.range_size)
            helpers = min(more, transfer.parallel_parts - 1)
            await run_all([self._work(first), *(self._work(None) for _ in range(helpers))])
        return info

    async def _first(self, range_size: int) -> Download:
        """The beginning of the object, which tells its size, too."""
        try:
            return await self._download(replace(self._options, range=(0, range_size)))
        except S3Error as exc:
            if exc.status != 416:
                raise
            # Of an empty object, S3 has no first byte to give.
            return await self._download(self._options)

    async def _work(self, first: Download | None) -> None:
        if first is not None:
            await self._write(first, 0)
        for start, stop in self._ranges:
            try:
                download = await self._download(replace(self._options, range=(start, stop)))
            except (PreconditionFailed, NotFound) as exc:
                raise object_changed("download_to", self._bucket, self._key) from exc
            async with download:
                await self._write(download, start)

    def _download(self, options: ReadOptions) -> Download:
        return Download(self._engine, self._bucket, self._key, options, "download_to")

    async def _write(self, download: Download, offset: int) -> None:
        async for piece in download:
            # In the loop on purpose: a piece reaches the page cache in less time than a thread takes to be woken.
            _write_at(self._file, piece, offset)
            offset += len(piece)


@asynccontextmanager
async def _replacing(path: Path) -> AsyncIterator[int]:
    """An open file that takes the place of `path` on success, and vanishes on anything else."""
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")

    async def discard(file: int) -> None:
        await asyncio.to_thread(_discard, file, temporary)

    file = await shielded(asyncio.to_thread(_create, temporary, path), on_cancel=discard)
    try:
        yield file
    except BaseException:
        await shielded(discard(file))
        raise
    await shielded(asyncio.to_thread(_put_in_place, file, temporary, path))


def _create(temporary: Path, path: Path) -> int:
    if path.is_dir():
        raise IsADirectoryError(f"'{path}' is a directory: give the path of a file")
    return os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)


def _write_at(file: int, piece: bytes, offset: int) -> None:
    view = memoryview(piece)
    while view:
        written = os.pwrite(file, view, offset)
        view = view[written:]
        offset += written


def _put_in_place(file: int, temporary: Path, path: Path) -> None:
    try:
        try:
            # Before the rename: after a power cut, a name must never stand for a file whose bytes were lost.
            os.fsync(file)
        finally:
            os.close(file)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _discard(file: int, temporary: Path) -> None:
    os.close(file)
    temporary.unlink(missing_ok=True)
