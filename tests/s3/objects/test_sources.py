"""Sources yield the same bytes, whatever the size of their pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apm_s3.errors import ObjectChanged
from tests.seams.s3 import PIECE, MemorySource, PathSource, StreamReader, open_path
from tests.seams.transports import Stream


async def pieces_of(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@given(pieces=st.lists(st.binary(max_size=20), max_size=20), size=st.integers(1, 30))
def test_all_blocks_of_a_stream_but_the_last_are_full(pieces: list[bytes], size: int) -> None:
    async def read_all() -> list[bytes]:
        reader = StreamReader(pieces_of(pieces))
        blocks = []
        while block := await reader.read(size):
            blocks.append(bytes(block))
        return blocks

    blocks = asyncio.run(read_all())

    assert b"".join(blocks) == b"".join(pieces)
    assert all(len(block) == size for block in blocks[:-1])


@given(pieces=st.lists(st.binary(max_size=20), max_size=20), first=st.integers(1, 30), size=st.integers(1, 30))
def test_a_block_that_is_put_back_is_read_again(pieces: list[bytes], first: int, size: int) -> None:
    async def read_all() -> bytes:
        reader = StreamReader(pieces_of(pieces))
        reader.give_back(await reader.read(first))
        blocks = []
        while block := await reader.read(size):
            blocks.append(bytes(block))
        return b"".join(blocks)

    assert asyncio.run(read_all()) == b"".join(pieces)


async def body_of(body: bytes | Stream) -> bytes:
    return b"".join([piece async for piece in body.open()]) if isinstance(body, Stream) else body


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 3 * PIECE + 7])
async def test_a_part_of_memory_can_be_read_repeatedly(size: int) -> None:
    data = bytes(range(256)) * (4 * PIECE // 256)

    body = MemorySource(data).body(5, 5 + size)

    assert await body_of(body) == data[5 : 5 + size]
    assert await body_of(body) == data[5 : 5 + size]


async def test_a_part_of_a_file_can_be_read_repeatedly(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * (4 * PIECE // 256))
    source = await open_path(file)
    assert isinstance(source, PathSource)

    body = source.body(5, 2 * PIECE)

    assert await body_of(body) == file.read_bytes()[5 : 2 * PIECE]
    assert await body_of(body) == file.read_bytes()[5 : 2 * PIECE]


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
async def test_a_changed_file_never_yields_its_last_byte(tmp_path: Path, change: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 3 * PIECE)
    source = await open_path(file)
    got = 0
    with pytest.raises(ObjectChanged, match="changed while it was being uploaded"):
        async for piece in source.body(0, source.size).open():
            got += len(piece)
            if got == PIECE:
                apply(change, file)

    assert got < 3 * PIECE
    assert isinstance(source.failure, ObjectChanged)


def apply(change: str, file: Path) -> None:
    match change:
        case "grow":
            with file.open("ab") as writer:
                writer.write(b"more")
        case "shrink":
            with file.open("r+b") as writer:
                writer.truncate(PIECE)
        case "rewrite":
            file.write_bytes(b"y" * 3 * PIECE)


async def test_a_replaced_file_is_noticed_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 3 * PIECE)
    source = await open_path(file)
    assert isinstance(source, PathSource)
    (tmp_path / "new").write_bytes(b"y" * 3 * PIECE)

    (tmp_path / "new").replace(file)

    with pytest.raises(ObjectChanged):
        source.check()
