"""Streams of known size are one PUT below the threshold, and longer ones reuse memory."""

from __future__ import annotations

import gzip
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from apm_s3 import S3Settings, TransferSettings
from apm_s3.errors import InvalidOption, ObjectChanged
from tests.memory_transport import MemoryManager
from tests.seams.s3 import StreamReader

MIB = 1024**2
SETTINGS = S3Settings(transfer=TransferSettings(part_size=5 * MIB, multipart_threshold=20 * MIB, parallel_parts=2))


@pytest.fixture
async def s3() -> AsyncIterator[MemoryManager]:
    """A manager whose objects are in memory."""
    async with MemoryManager(SETTINGS) as manager:
        yield manager


async def pieces(size: int, piece: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, size, piece):
        yield bytes([start % 251]) * min(piece, size - start)


@pytest.mark.parametrize("size", [0, 1, 5 * MIB - 1, 5 * MIB, 12 * MIB, 20 * MIB - 1])
async def test_a_stream_of_known_size_below_the_threshold_is_one_put(s3: MemoryManager, size: int) -> None:
    info = await s3.upload_file("bucket", "key", pieces(size), size=size)

    assert (info.size, s3.transport.requests["put"], s3.transport.requests["create_upload"]) == (size, 1, 0)
    assert s3.transport.objects["key"].body == b"".join([piece async for piece in pieces(size)])


async def test_a_stream_of_known_size_from_the_threshold_on_is_sent_in_parts(s3: MemoryManager) -> None:
    await s3.upload_file("bucket", "key", pieces(20 * MIB), size=20 * MIB)

    assert (s3.transport.requests["put"], s3.transport.requests["upload_part"]) == (0, 4)
    assert s3.transport.objects["key"].body == b"".join([piece async for piece in pieces(20 * MIB)])


@pytest.mark.parametrize(
    ("told", "came"), [(10, 9), (10, 11), (0, 1), (12 * MIB, 1), (30 * MIB, 29 * MIB), (21 * MIB, 22 * MIB)]
)
async def test_a_stream_longer_or_shorter_than_announced_is_not_stored(s3: MemoryManager, told: int, came: int) -> None:
    with pytest.raises(ObjectChanged, match="instead of"):
        await s3.upload_file("bucket", "key", pieces(came), size=told)

    assert s3.transport.objects == {}
    assert s3.transport.uploads == {}


async def test_a_download_below_the_threshold_is_one_put(s3: MemoryManager) -> None:
    body = b"a" * 12 * MIB
    await s3.upload_file("bucket", "from", body)

    info = await s3.upload_file("bucket", "to", s3.download_file("bucket", "from"))

    assert info.etag == (await s3.head_file("bucket", "from")).etag
    assert s3.transport.requests["create_upload"] == 0


async def test_an_open_file_below_the_threshold_is_one_put(s3: MemoryManager, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 4 * MIB)
    for file in (path.open("rb"), io.BytesIO(path.read_bytes()), path.open("rb", buffering=0)):
        with file:
            file.seek(3)
            assert (await s3.upload_file("bucket", "key", file)).size == 12 * MIB - 3
    assert s3.transport.requests["create_upload"] == 0
    packed = io.BytesIO(gzip.compress(b"a" * 21 * MIB))
    with gzip.open(packed) as unpacked:
        assert (await s3.upload_file("bucket", "key", unpacked)).size >= 0
    assert len(s3.transport.objects["key"].body) == 21 * MIB


@pytest.mark.parametrize("source", [b"abc", Path("file")])
async def test_a_size_is_only_accepted_for_streams(s3: MemoryManager, source: bytes | Path) -> None:
    with pytest.raises(InvalidOption, match="size is for"):
        await s3.upload_file("bucket", "key", source, size=3)
    with pytest.raises(InvalidOption, match="size is for"):
        await s3.upload_file("bucket", "key", pieces(3), size=-1)


async def test_the_parts_of_a_stream_reuse_memory(s3: MemoryManager, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: dict[int, object] = {}
    read_into = StreamReader.read_into

    async def watched(self: StreamReader, block: memoryview) -> int:
        blocks[id(block.obj)] = block.obj
        return await read_into(self, block)

    body = b"".join([piece async for piece in pieces(52 * MIB)])
    monkeypatch.setattr(StreamReader, "read_into", watched)
    await s3.upload_file("bucket", "key", pieces(52 * MIB))

    assert s3.transport.requests["upload_part"] == 11
    # The first block is read before it is known that there is more than one.
    assert len(blocks) == 3
    assert s3.transport.objects["key"].body == body
