"""Downloads objects to files: in parallel ranges, verified, and renamed into place."""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from apm_s3._beneath import Below
from apm_s3._hints import Advice
from apm_s3._s3.engine import Engine, within
from apm_s3._s3.objects.streams import Download, object_changed
from apm_s3._s3.transports.expectations import corrupted
from apm_s3._tasks import run_all, shielded
from apm_s3._wire import checksums
from apm_s3._wire.parts import cut_range
from apm_s3.errors import IntegrityError, InvalidOption, NotFound, PreconditionFailed, UnsupportedByServer
from apm_s3.models import FileInfo
from apm_s3.options import ReadOptions

_GROWTH = 8
"""Maximum multiple of `range_size`: larger ranges need fewer requests, if there are enough of them."""

_PIECE = 1024**2
"""Bytes that are hashed at a time."""

_HASHED_AT_ONCE = 64 * _PIECE
"""Bytes that a thread hashes before it checks for a cancellation."""


async def download_to(engine: Engine, bucket: str, key: str, path: Path | Below, options: ReadOptions) -> FileInfo:
    """Download an object to a file, completely or not at all."""
    if options.range is not None:
        raise InvalidOption("download_to reads whole objects", hint="use download_file for a range")
    async with within(options.timeout, "download_to", bucket, key), _replacing(path) as file:
        return await _FileDownload(engine, bucket, key, replace(options, timeout=None), file).run()


class _FileDownload:
    """One download to an open file."""

    def __init__(self, engine: Engine, bucket: str, key: str, options: ReadOptions, file: int) -> None:
        self._engine = engine
        self._bucket = bucket
        self._key = key
        self._options = options
        self._file = file
        self._size = 0
        self._ranges: Iterator[tuple[int, int]] = iter(())
        self._crc: checksums.Crc | None = None
        self._algorithm = ""

    async def run(self) -> FileInfo:
        transfer = self._engine.settings.transfer
        # Requested without a range, because only then S3 returns the checksum of the whole object.
        async with Download(
            self._engine, self._bucket, self._key, self._options, "download_to", upto=transfer.range_size
        ) as first:
            info = first.info
            if first.length == info.size:
                await self._write(first, 0)
                return info
            if info.etag is None:
                raise UnsupportedByServer("the server sends no ETag", bucket=self._bucket, key=self._key)
            self._size = info.size
            self._options = replace(self._options, if_match=info.etag, if_none_match=None)
            known = checksums.verifiable(info.checksums)
            if known is not None and checksums.is_crc(known[0]):
                self._algorithm, self._crc = known[0], checksums.Crc(known[0])
            range_size = min(
                max(info.size // (2 * transfer.parallel_parts), transfer.range_size), _GROWTH * transfer.range_size
            )
            self._ranges = cut_range(first.length, info.size, range_size)
            helpers = min(-(-(info.size - first.length) // range_size), transfer.parallel_parts - 1)
            await run_all([self._work(first), *(self._work(None) for _ in range(helpers))])
            if known is not None:
                await self._verify(*known)
        return info

    async def _work(self, first: Download | None) -> None:
        if first is not None:
            await self._write(first, 0)
            # Do not wait for the rest of its body: the ranges are faster.
            await first.aclose()
        for start, stop in self._ranges:
            options = replace(self._options, range=(start, stop))
            try:
                download = await Download(self._engine, self._bucket, self._key, options, "download_to")
            except (PreconditionFailed, NotFound) as exc:
                raise object_changed("download_to", self._bucket, self._key) from exc
            async with download:
                if download.info.size != self._size or download.info.etag != self._options.if_match:
                    raise object_changed("download_to", self._bucket, self._key)
                await self._write(download, start)

    async def _write(self, download: Download, offset: int) -> None:
        stop = offset + download.length
        crc = checksums.Crc(self._algorithm) if self._crc is not None else None

        def take(piece: bytes | memoryview) -> None:
            nonlocal offset
            if offset + len(piece) > stop:
                raise self._miscounted(offset + len(piece), stop)
            if crc is not None:
                crc.update(piece)
            # In the event loop on purpose: writing a piece to the page cache is faster than waking a thread.
            _write_at(self._file, piece, offset)
            offset += len(piece)

        await download.drain(take)
        if offset != stop:
            raise self._miscounted(offset, stop)
        if self._crc is not None and crc is not None:
            self._crc.add_range(crc, self._size - offset)

    def _miscounted(self, received: int, stop: int) -> IntegrityError:
        return IntegrityError(
            f"the body ends at byte {received} instead of {stop}",
            operation="download_to",
            bucket=self._bucket,
            key=self._key,
        )

    async def _verify(self, algorithm: str, expected: str) -> None:
        """Verify the checksum of all ranges together."""
        checksum = self._crc or await self._hash_file(algorithm)
        actual = checksums.encode(checksum.digest())
        if actual != expected:
            raise corrupted("download_to", self._bucket, self._key, algorithm, actual, expected)

    async def _hash_file(self, algorithm: str) -> checksums.Checksum:
        checksum = checksums.start(algorithm)

        def hash_range(start: int, stop: int) -> None:
            for first, last in cut_range(start, stop, _PIECE):
                checksum.update(os.pread(self._file, last - first, first))

        for start, stop in cut_range(0, self._size, _HASHED_AT_ONCE):
            # Shielded, because the file must not be closed while the thread reads it.
            await shielded(asyncio.to_thread(hash_range, start, stop))
        return checksum


class _Replacement(NamedTuple):
    """A temporary file beside the one that it replaces; its names are relative to `folder`, or whole paths if None."""

    file: int
    folder: int | None
    temporary: str
    final: str

    def put_in_place(self) -> None:
        try:
            # Before the rename, so that after a power failure the name never refers to a file without its bytes.
            os.fsync(self.file)
            os.replace(self.temporary, self.final, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(self.temporary, dir_fd=self.folder)
            raise
        finally:
            self._close()

    def discard(self) -> None:
        try:
            with suppress(FileNotFoundError):
                os.unlink(self.temporary, dir_fd=self.folder)
        finally:
            self._close()

    def _close(self) -> None:
        os.close(self.file)
        if self.folder is not None:
            os.close(self.folder)


@asynccontextmanager
async def _replacing(path: Path | Below) -> AsyncIterator[int]:
    """An open file that replaces `path` on success, and is deleted otherwise."""

    async def discard(made: _Replacement) -> None:
        await asyncio.to_thread(made.discard)

    made = await shielded(asyncio.to_thread(_create, path), on_cancel=discard)
    try:
        yield made.file
    except BaseException:
        await shielded(discard(made))
        raise
    await shielded(asyncio.to_thread(made.put_in_place))


def _create(path: Path | Below) -> _Replacement:
    final, folder = path.enter(create=True) if isinstance(path, Below) else (os.fspath(path), None)
    try:
        return _created(path, final, folder)
    except BaseException:
        if folder is not None:
            os.close(folder)
        raise


def _created(path: Path | Below, final: str, folder: int | None) -> _Replacement:
    try:
        mode = os.stat(final, dir_fd=folder).st_mode
    except OSError:
        # It is new, or opening the temporary file beside it fails too.
        mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"'{path}' is a directory: pass the path of a file")
    # The rename would replace a device, for everybody; and /dev/stdout, which leads to a file if it is redirected.
    if not stat.S_ISREG(mode) or os.path.dirname(os.path.abspath(path)) == "/dev":  # noqa: PTH100, PTH120 - faster
        raise InvalidOption(
            f"'{path}' is not a regular file, and would be replaced",
            operation="download_to",
            hint=Advice.NO_REGULAR_FILE(),
        )
    parent, name = os.path.split(final)
    temporary = os.path.join(parent, f".{name[:100]}.{secrets.token_hex(8)}.part")  # noqa: PTH118 - maybe relative
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    return _Replacement(os.open(temporary, flags, 0o666, dir_fd=folder), folder, temporary, final)


def _write_at(file: int, piece: bytes | memoryview, offset: int) -> None:
    view = memoryview(piece)
    while view:
        written = os.pwrite(file, view, offset)
        view = view[written:]
        offset += written
