"""Many calls at once: bounded, fair, none starved, and an outage is not multiplied."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from apm_s3 import S3Manager, S3Settings
from apm_s3.errors import ConnectFailed, ServiceUnavailable, Throttled
from apm_s3.settings import RetrySettings, Timeouts
from tests.faults.faults import answer, reset_before_headers
from tests.faults.matrix import DATA_PATHS
from tests.faults.memory_s3 import StoredObject, _etag
from tests.faults.server import Exchange, FaultyS3
from tests.managers import make_manager

BUCKET = "bucket-one"
PATIENT = Timeouts(connect=600, read=600, deadline=600)
"""A retried call is served last, so no timeout may end an attempt on a busy machine."""


@pytest.fixture
async def server() -> AsyncIterator[FaultyS3]:
    """A server with one bucket."""
    async with FaultyS3() as server:
        server.s3.buckets[BUCKET] = {}
        yield server


@asynccontextmanager
async def manager(server: FaultyS3, **settings: Any) -> AsyncIterator[S3Manager]:
    """A warm manager."""
    async with make_manager(server, S3Settings(**settings)) as s3:
        await s3.upload_file(BUCKET, "warm", b"warm")
        server.arrived.clear()
        yield s3


def store(server: FaultyS3, key: str, body: bytes) -> None:
    server.s3.buckets[BUCKET][key] = StoredObject(body, {}, _etag(body))


async def blocks_kept(work: Callable[[], Awaitable[Any]]) -> int:
    """The number of memory blocks that some work leaves."""
    gc.collect()
    before = sys.getallocatedblocks()
    await work()
    gc.collect()
    return sys.getallocatedblocks() - before


@pytest.mark.parametrize("data_path", ["signed", pytest.param("boto", marks=pytest.mark.long)])
async def test_ten_thousand_reads_through_a_pool_of_32_are_served_in_order(server, data_path) -> None:
    count, width = 10_000, 32
    store(server, "object", b"x" * 4096)
    served: list[int] = []
    most = 0

    async def watched(exchange: Exchange) -> None:
        nonlocal most
        most = max(most, len(server.connections))
        exchange.send(exchange.carry_out())

    async def read(s3: S3Manager, number: int) -> None:
        assert len(await s3.read_file(BUCKET, "object")) == 4096
        served.append(number)

    async with manager(server, data_path=data_path, max_concurrency=width, timeouts=PATIENT) as s3:
        server.will(watched, "GetObject", times=None)
        await asyncio.gather(*(read(s3, number) for number in range(count)))
        stats = s3.pool.stats()
        grown = await blocks_kept(lambda: asyncio.gather(*(s3.read_file(BUCKET, "object") for _ in range(count // 5))))
    assert sorted(served) == list(range(count))
    assert max(abs(place - number) for place, number in enumerate(served)) <= 4 * width
    assert most <= width
    assert (stats.in_use, stats.waiting) == (0, 0)
    assert stats.waited >= count - width
    assert grown < count // 5


@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_unread_bodies_cannot_starve_the_pool(server, data_path) -> None:
    body = b"x" * 2_000_000
    store(server, "large", body)
    store(server, "small", b"small")
    async with manager(server, data_path=data_path, max_concurrency=2) as s3:
        downloads = [await s3.download_file(BUCKET, "large") for _ in range(8)]
        first = [await anext(download) for download in downloads]
        assert await asyncio.gather(*(s3.read_file(BUCKET, "small") for _ in range(10))) == [b"small"] * 10
        rest = await asyncio.gather(*(download.read() for download in downloads))
        assert all(start + end == body for start, end in zip(first, rest, strict=True))
        assert s3.pool.stats().in_use == 0


async def test_a_half_read_body_that_is_dropped_releases_its_slot_and_connection(server) -> None:
    store(server, "large", b"x" * 2_000_000)
    async with manager(server, max_concurrency=1) as s3:
        for _ in range(5):
            async with s3.download_file(BUCKET, "large") as download:
                await anext(download)
        assert s3.pool.stats().in_use == 0
        await server.until_idle()


async def test_the_pool_slows_down_on_request_of_s3_and_recovers_by_itself(server) -> None:
    store(server, "object", b"x")
    busy = 0

    async def at_most_four(exchange: Exchange) -> None:
        nonlocal busy
        if busy >= 4:
            await answer(503, "SlowDown")(exchange)
            return
        busy += 1
        await asyncio.sleep(0)
        busy -= 1
        exchange.send(exchange.carry_out())

    retry = RetrySettings(attempts=20, initial_delay=0.01, budget=1e6)
    async with manager(server, max_concurrency=32, retry=retry, timeouts=PATIENT) as s3:
        server.will(at_most_four, "GetObject", times=None)
        bodies = await asyncio.gather(*(s3.read_file(BUCKET, "object") for _ in range(300)))
        assert bodies == [b"x"] * 300
        assert s3.pool.stats().slowdowns > 0
        server.rules.clear()
        for _ in range(32 * 32):
            await s3.read_file(BUCKET, "object")
        assert s3.pool.stats().limit == 32


async def test_an_outage_is_not_multiplied_by_retries(server) -> None:
    retry = RetrySettings(attempts=5, initial_delay=0.001, budget=20)
    async with manager(server, retry=retry, timeouts=PATIENT) as s3:
        server.will(answer(500, "InternalError"), times=None)
        outcomes = await asyncio.gather(*(s3.read_file(BUCKET, "object") for _ in range(100)), return_exceptions=True)
        assert all(isinstance(outcome, ServiceUnavailable) for outcome in outcomes)
        assert len(server.arrived) == 120


@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_a_refused_connection_is_retried_and_then_raised(server, data_path) -> None:
    retry = RetrySettings(attempts=3, initial_delay=0.001)
    async with manager(server, data_path=data_path, retry=retry) as s3:
        server.stop_listening()
        for connection in list(server.connections):
            connection.transport.abort()
        await server.until_disconnected()
        with pytest.raises(ConnectFailed) as caught:
            while True:  # connections that were kept alive fail first, as lost ones
                await s3.read_file(BUCKET, "object")
        assert caught.value.attempts == 3
        assert not caught.value.sent
        assert not server.arrived


@pytest.mark.parametrize("data_path", DATA_PATHS)
@pytest.mark.parametrize("attempts", [1, 2, 4])
async def test_each_attempt_sends_exactly_one_request(server, data_path, attempts) -> None:
    retry = RetrySettings(attempts=attempts, initial_delay=0.001)
    async with manager(server, data_path=data_path, retry=retry) as s3:
        server.will(reset_before_headers, times=None)
        for call in (
            s3.read_file(BUCKET, "object"),
            s3.upload_file(BUCKET, "object", b"x"),
            s3.delete_file(BUCKET, "object"),
            s3.head_file(BUCKET, "object"),
        ):
            server.arrived.clear()
            with pytest.raises(Exception) as caught:
                await call
            assert len(server.arrived) == caught.value.attempts == attempts  # type: ignore[attr-defined]


async def test_the_error_of_a_throttled_call_counts_its_attempts(server) -> None:
    retry = RetrySettings(attempts=3, initial_delay=0.001)
    async with manager(server, retry=retry) as s3:
        server.will(answer(503, "SlowDown"), times=None)
        with pytest.raises(Throttled, match="after 3 attempts"):
            await s3.read_file(BUCKET, "object")
        read = s3.metrics.snapshot().operations["read_file"]
        assert (read.retries, read.failures, dict(read.errors)) == (2, 1, {"THROTTLED": 1})
