"""The sources of `upload_file`: bytes, a path, a binary file or an async iterable, in one of two forms.

`RandomSource` can be read at any position, repeatedly, so its parts are sent in parallel and retried after a failure.
`StreamReader` reads only forward; the sender keeps what it has read.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import stat
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar, cast

from apm_s3._beneath import Below
from apm_s3._wire.http1 import http_time
from apm_s3.errors import InvalidOption, ObjectChanged, TransportError
from apm_s3.models import FileInfo
from apm_s3.models._objects import Stream

T = TypeVar("T")

PIECE = 1024**2
"""Size up to which a file is held in memory, and of one read from a caller's file."""

_STEP = 256 * 1024
"""Bytes that are written to the connection at a time. Larger blocks are newly allocated each time, and their page
faults cost as much as their CRC."""

_HINT = "pass bytes, a pathlib.Path, a file opened in binary mode, or an async iterable of bytes"


def stored_with(info: FileInfo) -> dict[str, Any]:
    """Return the fields of `UploadOptions` that give an upload the content type, metadata and headers of `info`."""
    headers = info.headers
    expires = headers.get("expires")
    found = {
        "content_type": info.content_type,
        "metadata": info.metadata,
        "cache_control": headers.get("cache-control"),
        "content_disposition": headers.get("content-disposition"),
        "content_encoding": headers.get("content-encoding"),
        "content_language": headers.get("content-language"),
        "expires": http_time(expires) if expires else None,
    }
    return {name: value for name, value in found.items() if value}


class RandomSource(Protocol):
    """Bytes of a known size that can be read at any position.

    Attributes:
        size: total number of bytes.
        failure: the error while reading it, if any. HTTP libraries hide it behind their own error.
    """

    size: int
    failure: Exception | None

    def body(self, start: int, stop: int) -> bytes | Stream:
        """Return bytes [start, stop) as the body of a request."""


def open_source(source: object) -> RandomSource | StreamReader | Path | Below:
    """Return the form in which `source` is read; for a path, use `open_path`, which does I/O.

    Raises:
        InvalidOption: `upload_file` does not accept the source; a `str` could be a path or the content.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return MemorySource(source)
    if isinstance(source, str):
        raise InvalidOption(
            "a str cannot be uploaded: it could be a path or the content", hint="pass Path(...), or text.encode()"
        )
    if isinstance(source, os.PathLike):
        return source if isinstance(source, Below) else Path(source)
    if isinstance(source, io.TextIOBase):
        raise InvalidOption("a file in text mode cannot be uploaded", hint="open it in binary mode ('rb')")
    # Check for files first: some (aiofiles) can also be iterated, but yield lines.
    if callable(getattr(source, "read", None)):
        return StreamReader(_pieces_of_file(cast("BinaryIO", source)), _size_left(source))
    if isinstance(source, AsyncIterable):
        return StreamReader(aiter(source))
    raise InvalidOption(f"{type(source).__name__} cannot be uploaded", hint=_HINT)


class MemorySource:
    """Bytes in memory. A bytearray must not be modified during the upload."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(data).cast("B")
        self.size = self._view.nbytes
        self.failure: Exception | None = None

    def body(self, start: int, stop: int) -> bytes | Stream:
        if stop - start <= PIECE:
            return bytes(self._view[start:stop])

        async def pieces() -> AsyncIterator[bytes]:
            # Sliced while sending, so that there is no second copy of everything.
            for first in range(start, stop, _STEP):
                yield bytes(self._view[first : min(first + _STEP, stop)])

        return Stream(pieces, size=stop - start, replayable=True)

    def release(self) -> None:
        """Release the memory now, even if a body of it is still referenced."""
        self._view = memoryview(b"")


class PathSource:
    """A regular file. Each read opens it again, and fails if it is not the same file any more.

    A change is detected by the file's identity, size or modification time, after the last byte is read and before it is
    sent, so that no request with mixed bytes is completed.
    """

    def __init__(self, path: Path | Below, identity: tuple[int, ...], size: int) -> None:
        self.path = path
        self.size = size
        self.failure: Exception | None = None
        self._identity = identity

    def body(self, start: int, stop: int) -> Stream:
        return Stream(lambda: self._read(start, stop), size=stop - start, replayable=True)

    def check(self) -> None:
        """Check that the file is still the one that was opened.

        Raises:
            ObjectChanged: it has changed.
        """
        if _identity(self.path.stat()) != self._identity:
            raise self._changed()

    def hash_part(self, start: int, stop: int, digest: Any) -> bytes:
        """Update `digest`, a hashlib object, with bytes [start, stop). Blocks, so use a thread."""
        with self._open() as file:
            file.seek(start)
            left = stop - start
            while left and (piece := file.read(min(PIECE, left))):
                digest.update(piece)
                left -= len(piece)
        return cast("bytes", digest.digest())

    async def _read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        try:
            with self._open() as file:
                file.seek(start)
                while start < stop:
                    piece = file.read(min(_STEP, stop - start))
                    start += len(piece)
                    if not piece or (start == stop and _identity(os.fstat(file.fileno())) != self._identity):
                        raise self._changed()
                    yield piece
        except (OSError, ObjectChanged) as exc:
            self.failure = exc
            raise

    def _open(self) -> io.FileIO:
        return _file(self.path)

    def _changed(self) -> ObjectChanged:
        return ObjectChanged(
            f"the file '{self.path}' changed while it was being uploaded",
            hint="upload it again once nothing writes to it",
        )


async def open_path(path: Path | Below) -> PathSource | MemorySource:
    """Open the file, and read it into memory if it is small.

    Raises:
        OSError: it cannot be opened.
        InvalidOption: it is not a regular file.
        ObjectChanged: it changed while it was being read.
    """
    return await asyncio.to_thread(_open_path, path)


def _open_path(path: Path | Below) -> PathSource | MemorySource:
    with _file(path) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InvalidOption(f"'{path}' is not a regular file", hint="open it in binary mode and pass the file")
        source = PathSource(path, _identity(status), status.st_size)
        if status.st_size > PIECE:
            return source
        data = file.read(PIECE)
        if len(data) != status.st_size:
            raise source._changed()  # noqa: SLF001 - its own module
        source.check()
        return MemorySource(data)


def _file(path: Path | Below) -> io.FileIO:
    return io.FileIO(os.fspath(path), opener=path.opener if isinstance(path, Below) else _open_without_waiting)


def _open_without_waiting(path: str, flags: int) -> int:
    # A FIFO without a writer would block the thread forever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class StreamReader:
    """Reads pieces of any length as blocks of the requested length.

    Attributes:
        expected: the probable number of bytes; None if unknown.
    """

    def __init__(self, pieces: AsyncIterator[bytes], expected: int | None = None) -> None:
        self._pieces = pieces
        self._held: deque[memoryview] = deque()
        self.expected = expected

    async def read(self, size: int) -> bytearray:
        """Return the next `size` bytes; fewer only at the end.

        Raises:
            InvalidOption: the source returned something other than bytes.
        """
        block = bytearray(size)
        with memoryview(block) as view:
            filled = await self.read_into(view)
        del block[filled:]
        return block

    async def read_into(self, block: memoryview) -> int:
        """Fill `block`, except at the end, and return the number of bytes.

        Raises:
            InvalidOption: the source returned something other than bytes.
        """
        size, filled = len(block), 0
        while filled < size:
            if not self._held:
                found = await anext(self._pieces, None)
                if found is None:
                    break
                self._held.append(_as_bytes(found))
            piece = self._held.popleft()
            taken = piece[: size - filled]
            block[filled : filled + len(taken)] = taken
            filled += len(taken)
            if len(taken) < len(piece):
                self._held.appendleft(piece[len(taken) :])
        return filled

    def give_back(self, block: bytearray) -> None:
        """Read `block`, the last one, again."""
        self._held.appendleft(memoryview(block))

    async def aclose(self) -> None:
        """Close the underlying generator, if there is one."""
        close: Callable[[], Any] | None = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()


def guarded(source: RandomSource, attempt: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    """Wrap `attempt`, to raise an error of the source instead of the resulting error of the request."""

    async def attempted() -> T:
        try:
            return await attempt()
        except TransportError as exc:
            if source.failure is not None:
                raise source.failure from exc
            raise

    return attempted


async def _pieces_of_file(file: BinaryIO) -> AsyncIterator[bytes]:
    while True:
        if inspect.iscoroutinefunction(file.read):
            piece = await file.read(PIECE)
        else:
            piece = await asyncio.to_thread(file.read, PIECE)
        if piece is None:
            raise InvalidOption("a non-blocking file had nothing to read", hint="open it in blocking mode")
        if not piece:
            return
        yield piece


_MEASURED = (io.BufferedReader, io.BufferedRandom, io.FileIO, io.BytesIO)
"""Files whose size is the number of bytes to read; this excludes files that decompress or wrap something else."""


def _size_left(file: object) -> int | None:
    if type(file) not in _MEASURED or type(getattr(file, "raw", None)) not in (type(None), io.FileIO):
        return None
    known = cast("BinaryIO", file)
    try:
        if isinstance(known, io.BytesIO):
            return max(known.getbuffer().nbytes - known.tell(), 0)
        status = os.fstat(known.fileno())
        return max(status.st_size - known.tell(), 0) if stat.S_ISREG(status.st_mode) else None
    except (OSError, ValueError):
        return None


def _as_bytes(piece: object) -> memoryview:
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise InvalidOption(f"the source returned {type(piece).__name__} instead of bytes", hint=_HINT)
    return memoryview(piece).cast("B")
