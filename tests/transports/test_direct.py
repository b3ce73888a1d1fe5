"""Large bodies that are received past aiohttp."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from apm_s3 import S3Manager, S3Settings, TransferSettings
from apm_s3.errors import ConnectionLost, RequestTimedOut
from apm_s3.options import ReadOptions, UploadOptions
from apm_s3.settings import Timeouts
from tests.faults import faults
from tests.faults.server import Exchange, FaultyS3
from tests.transports.test_signed import KEYS, PLAIN, Signed

READ, PLAIN_PUT = ReadOptions(), UploadOptions()
MIB = 1024**2
CONTENT = os.urandom(9 * MIB + 5)


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyS3]:
    """A server with a large object."""
    async with FaultyS3() as server:
        server.s3.buckets["bucket"] = {}
        async with Signed(server.endpoint_url) as transport:
            await transport.put("bucket", "key", CONTENT, PLAIN_PUT)
        yield server


async def test_all_of_a_large_body_is_poured(faulty: FaultyS3) -> None:
    pieces: list[bytes] = []
    async with Signed(faulty.endpoint_url) as transport:
        body = await transport.open("bucket", "key", READ)
        await body.pour(lambda piece: pieces.append(bytes(piece)))
        assert [piece async for piece in body] == []
    assert b"".join(pieces) == CONTENT


async def test_what_came_before_is_not_poured_again(faulty: FaultyS3) -> None:
    pieces: list[bytes] = []
    async with Signed(faulty.endpoint_url) as transport:
        body = await transport.open("bucket", "key", READ)
        pieces.append(await anext(aiter(body)))
        await body.pour(lambda piece: pieces.append(bytes(piece)))
        pieces += [piece async for piece in body]
    assert b"".join(pieces) == CONTENT


async def test_a_body_that_nobody_took_for_a_while_is_whole(faulty: FaultyS3) -> None:
    pieces: list[bytes] = []
    async with Signed(faulty.endpoint_url) as transport:
        body = await transport.open("bucket", "key", READ)
        for _ in range(1000):
            await asyncio.sleep(0)
        await body.pour(lambda piece: pieces.append(bytes(piece)))
        pieces += [piece async for piece in body]
    assert b"".join(pieces) == CONTENT


async def test_a_large_body_over_tls_is_poured() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT) + CONTENT)
        await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    pieces: list[bytes] = []
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        async with Signed(f"https://127.0.0.1:{port}", replace(PLAIN, verify=False)) as transport:
            body = await transport.open("bucket", "key", READ)
            await body.pour(lambda piece: pieces.append(bytes(piece)))
            assert [piece async for piece in body] == []
    assert b"".join(pieces) == CONTENT


@pytest.mark.parametrize("fault", [faults.truncated, faults.reset_in_body])
async def test_a_connection_that_breaks_is_told_by_iteration(faulty: FaultyS3, fault: faults.Fault) -> None:
    pieces: list[bytes] = []
    faulty.will(fault, "GetObject")
    async with Signed(faulty.endpoint_url) as transport:
        body = await transport.open("bucket", "key", READ)
        await body.pour(lambda piece: pieces.append(bytes(piece)))
        with pytest.raises(ConnectionLost):
            await anext(aiter(body))
    assert CONTENT.startswith(b"".join(pieces))
    assert len(b"".join(pieces)) < len(CONTENT)


async def test_silence_in_the_body_is_a_timeout(faulty: FaultyS3) -> None:
    async def half(exchange: Exchange) -> None:
        exchange.send(exchange.carry_out(), upto=5 * MIB)
        await exchange.hang()

    faulty.will(half, "GetObject")
    async with Signed(faulty.endpoint_url, replace(PLAIN, timeouts=Timeouts(read=0.3))) as transport:
        body = await transport.open("bucket", "key", READ)
        await body.pour(lambda piece: None)
        with pytest.raises(RequestTimedOut):
            await anext(aiter(body))


async def test_what_the_taker_raises_is_raised_and_the_connection_closed(faulty: FaultyS3) -> None:
    def full(piece: memoryview) -> None:
        raise OSError(28, "no space left")

    async with Signed(faulty.endpoint_url) as transport:
        body = await transport.open("bucket", "key", READ)
        with pytest.raises(OSError, match="no space left"):
            await body.pour(full)
        await body.aclose()
        await asyncio.wait_for(faulty.until_disconnected(), 10)


async def test_a_cancelled_pour_closes_the_connection(faulty: FaultyS3) -> None:
    async def half(exchange: Exchange) -> None:
        exchange.send(exchange.carry_out(), upto=5 * MIB)
        await exchange.hang()

    faulty.will(half, "GetObject")
    begun = asyncio.Event()
    async with Signed(faulty.endpoint_url) as transport:
        body = await transport.open("bucket", "key", READ)
        pouring = asyncio.create_task(body.pour(lambda piece: begun.set()))
        await begun.wait()
        pouring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pouring
        await asyncio.wait_for(faulty.until_disconnected(), 10)


@pytest.mark.parametrize("range_size", [64 * MIB, 8 * MIB], ids=["one", "ranges"])
async def test_a_file_is_whole_though_connections_break(faulty: FaultyS3, tmp_path: Path, range_size: int) -> None:
    settings = S3Settings(transfer=TransferSettings(range_size=range_size, parallel_parts=2))
    faulty.will(faults.reset_in_body, "GetObject", times=2)
    async with S3Manager(
        region="us-east-1", endpoint_url=faulty.endpoint_url, credentials=KEYS, settings=settings
    ) as s3:
        await s3.download_to("bucket", "key", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
