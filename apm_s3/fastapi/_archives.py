"""Bundles as tar and zip archives, made in pieces. The same bundle always makes the same bytes."""

from __future__ import annotations

import asyncio
import io
import tarfile
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime

_BLOCK = 512
_RECORD = 20 * _BLOCK
_PIECE = 256 * 1024


def tar_size(files: Mapping[str, bytes], moment: datetime) -> int:
    """Return the size of the archive in bytes."""
    content = sum(len(_head(name, raw, moment)) + len(raw) + -len(raw) % _BLOCK for name, raw in files.items())
    return content + 2 * _BLOCK + -(content + 2 * _BLOCK) % _RECORD


async def tar_pieces(files: Mapping[str, bytes], moment: datetime) -> AsyncIterator[bytes]:
    """Yield a tar archive (POSIX.1-2001) of the files, all from `moment`."""
    sent = 0
    for name, raw in files.items():
        for piece in (_head(name, raw, moment), *_cut(raw), b"\0" * (-len(raw) % _BLOCK)):
            if piece:
                sent += len(piece)
                yield piece
    end = 2 * _BLOCK
    yield b"\0" * (end + -(sent + end) % _RECORD)


def _head(name: str, raw: bytes, moment: datetime) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(raw), int(moment.timestamp()), 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def _cut(raw: bytes) -> Iterator[bytes]:
    view = memoryview(raw)
    return (bytes(view[start : start + _PIECE]) for start in range(0, len(raw), _PIECE))


async def zip_pieces(files: Mapping[str, bytes], moment: datetime) -> AsyncIterator[bytes]:
    """Yield a zip archive of the files, all from `moment`."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in files.items():
            info = zipfile.ZipInfo(name, moment.timetuple()[:6])
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            await asyncio.to_thread(archive.writestr, info, raw)
            yield sink.take()
    yield sink.take()


class _Sink(io.RawIOBase):
    """A file without positions, so that `zipfile` never goes back; what was written is taken away."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(memoryview(data))  # type: ignore[arg-type]
        self._pieces.append(piece)
        return len(piece)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
