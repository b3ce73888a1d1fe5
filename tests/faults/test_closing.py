"""A manager is closed while its calls wait for a silent server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from apm_s3 import S3Manager, S3Settings
from apm_s3.errors import ManagerClosed
from tests.faults.server import Exchange, FaultyS3
from tests.s3.transports.test_signed import KEYS

CONTENT = bytes(range(256)) * 2048
Read = Callable[[S3Manager, Path], Awaitable[object]]


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyS3]:
    """A server that sends half of an object."""
    async with FaultyS3() as server:
        server.s3.buckets["bucket"] = {}
        async with _manager(server, "signed") as s3:
            await s3.upload_file("bucket", "key", CONTENT)
        yield server


async def _read_file(s3: S3Manager, folder: Path) -> object:
    return await s3.read_file("bucket", "key")


async def _download_file(s3: S3Manager, folder: Path) -> object:
    async with s3.download_file("bucket", "key") as download:
        return [piece async for piece in download]


async def _download_to(s3: S3Manager, folder: Path) -> object:
    return await s3.download_to("bucket", "key", folder / "file")


@pytest.mark.parametrize("data_path", ["signed", "boto"])
@pytest.mark.parametrize("read", [_read_file, _download_file, _download_to])
async def test_closing_wakes_calls_that_are_reading_a_body(
    faulty: FaultyS3, tmp_path: Path, data_path: str, read: Read
) -> None:
    halfway = asyncio.Event()

    async def half(exchange: Exchange) -> None:
        exchange.send(exchange.carry_out(), upto=len(CONTENT) // 2)
        halfway.set()
        await exchange.hang()

    faulty.will(half, "GetObject")
    async with _manager(faulty, data_path) as s3:
        reading = asyncio.ensure_future(read(s3, tmp_path))
        await halfway.wait()
        for _ in range(1000):
            await asyncio.sleep(0)

    with pytest.raises(ManagerClosed, match="closed during the call"):
        await asyncio.wait_for(reading, 10)
    assert list(tmp_path.iterdir()) == []
    await asyncio.wait_for(faulty.until_disconnected(), 10)


async def test_reading_a_download_after_closing_is_a_clear_error(faulty: FaultyS3) -> None:
    async def half(exchange: Exchange) -> None:
        exchange.send(exchange.carry_out(), upto=len(CONTENT) // 2)
        await exchange.hang()

    faulty.will(half, "GetObject")
    s3 = await _manager(faulty, "signed").open()
    download = await s3.download_file("bucket", "key")
    await anext(aiter(download))
    await s3.aclose()

    with pytest.raises(ManagerClosed):
        await anext(aiter(download))
    await download.aclose()


async def test_closing_tells_calls_waiting_for_the_pool_that_nothing_was_sent(faulty: FaultyS3, tmp_path: Path) -> None:
    arrived = asyncio.Event()

    async def silent(exchange: Exchange) -> None:
        arrived.set()
        await exchange.hang()

    faulty.will(silent, "GetObject")
    async with _manager(faulty, "signed") as s3:
        first = asyncio.ensure_future(_read_file(s3, tmp_path))
        await arrived.wait()
        second = asyncio.ensure_future(_read_file(s3, tmp_path))
        await asyncio.sleep(0)

    with pytest.raises(ManagerClosed, match="may or may not have been carried out"):
        await asyncio.wait_for(first, 10)
    with pytest.raises(ManagerClosed, match="nothing was sent"):
        await asyncio.wait_for(second, 10)


def _manager(server: FaultyS3, data_path: str) -> S3Manager:
    settings = S3Settings(data_path=data_path, max_concurrency=1)
    return S3Manager(region="us-east-1", endpoint_url=server.endpoint_url, credentials=KEYS, settings=settings)
