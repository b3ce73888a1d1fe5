"""Metrics and hooks get the real outcome of each call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from apm_s3 import S3Settings
from apm_s3.errors import AccessDenied, DeadlineExceeded, InvalidCredentials, NotModified
from apm_s3.events import OperationEvent, Outcome
from apm_s3.metrics import OperationMetrics
from apm_s3.options import ReadOptions
from apm_s3.settings import RetrySettings, TransferSettings
from tests.faults.faults import answer, silent, truncated
from tests.faults.matrix import DATA_PATHS
from tests.faults.server import Exchange, FaultyS3
from tests.faults.verbs import BUCKET, OLD, new_state
from tests.managers import make_manager
from tests.seams.s3 import let_deadlines_pass

LARGE = len(OLD) * 10


class World:
    """A manager, its server, and the events that its hook received."""

    def __init__(self, data_path: str, server: FaultyS3) -> None:
        self.events: list[OperationEvent] = []
        self.server = server
        settings = S3Settings(
            data_path=data_path,  # type: ignore[arg-type]
            max_concurrency=1,
            transfer=TransferSettings(range_size=100),
            retry=RetrySettings(attempts=2, initial_delay=0.001),
        )
        self.s3 = make_manager(server, settings, hooks=[self.events.append])

    def of(self, operation: str) -> OperationMetrics:
        return self.s3.metrics.snapshot().operations[operation]


@pytest.fixture(params=DATA_PATHS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with FaultyS3() as server:
        server.s3 = new_state()
        made = World(request.param, server)
        async with made.s3:
            yield made


async def test_a_download_is_counted_once_it_has_been_read(world: World) -> None:
    async with world.s3.download_file(BUCKET, "large") as download:
        assert "download_file" not in world.s3.metrics.snapshot().operations
        await download.read()

    counted = world.of("download_file")
    assert (counted.successes, counted.total, counted.bytes_received) == (1, 1, LARGE)
    assert [(event.outcome, event.bytes_received) for event in world.events] == [(Outcome.SUCCESS, LARGE)]


async def test_a_download_abandoned_early_is_not_a_success(world: World) -> None:
    async with world.s3.download_file(BUCKET, "large"):
        pass

    counted = world.of("download_file")
    assert (counted.successes, counted.cancelled, counted.failures, counted.bytes_received) == (0, 1, 0, 0)


async def test_a_download_whose_body_breaks_for_good_is_a_failure(world: World) -> None:
    world.server.will(truncated, "GetObject", times=None)
    with pytest.raises(Exception, match=r"broke|ended"):
        async with world.s3.download_file(BUCKET, "large") as download:
            await download.read()

    counted = world.of("download_file")
    assert (counted.successes, counted.failures) == (0, 1)
    assert 0 < counted.bytes_received < LARGE


async def test_a_cancelled_download_counts_as_cancelled(world: World) -> None:
    async def half(exchange: Exchange) -> None:
        response = exchange.carry_out()
        exchange.send(response, upto=LARGE // 2)
        await exchange.hang()

    async def read() -> None:
        async with world.s3.download_file(BUCKET, "large") as download:
            async for _ in download:
                begun.set()

    world.server.will(half, "GetObject")
    begun = asyncio.Event()
    reading = asyncio.create_task(read())
    await begun.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert (world.of("download_file").cancelled, world.of("download_file").total) == (1, 1)


async def test_the_bytes_of_a_downloaded_file_are_counted_once(world: World, tmp_path: Path) -> None:
    await world.s3.download_to(BUCKET, "large", tmp_path / "file")

    counted = world.of("download_to")
    assert counted.bytes_received == LARGE
    assert counted.total == counted.successes


async def test_an_unchanged_object_is_not_a_failure(world: World) -> None:
    etag = (await world.s3.head_file(BUCKET, "a")).etag
    for call in (world.s3.read_file, world.s3.head_file):
        with pytest.raises(NotModified):
            await call(BUCKET, "a", ReadOptions(if_none_match=etag))
    with pytest.raises(NotModified):
        await world.s3.download_file(BUCKET, "a", ReadOptions(if_none_match=etag))

    assert world.s3.metrics.snapshot().success_rate == 1.0
    assert world.events[-1].outcome is Outcome.SUCCESS


async def test_file_exists_does_not_count_a_missing_file_as_a_failure(world: World) -> None:
    assert not await world.s3.file_exists(BUCKET, "missing")

    counted = world.of("file_exists")
    assert (counted.successes, counted.failures) == (1, 0)


async def test_a_call_reports_its_wait_for_the_pool(world: World) -> None:
    async with world.s3.pool.slot():
        waiting = asyncio.create_task(world.s3.read_file(BUCKET, "a", ReadOptions(timeout=0.01)))
        with pytest.raises(DeadlineExceeded, match="waiting for a slot of the pool") as late:
            await waiting

    assert not late.value.sent
    assert late.value.retryable
    assert "max_concurrency" in str(late.value)


async def test_a_download_reports_its_waits_for_the_pool_between_pieces(world: World) -> None:
    async def read_on() -> None:
        async with world.s3.download_file(BUCKET, "large", ReadOptions(timeout=60)) as download:
            opened.set()
            await taken.wait()
            await download.read()

    opened, taken = asyncio.Event(), asyncio.Event()
    reading = asyncio.create_task(read_on())
    await opened.wait()
    async with world.s3.pool.slot():
        taken.set()
        while not world.s3.pool.stats().waiting:  # noqa: ASYNC110 - the pool tells nobody
            await asyncio.sleep(0)
        let_deadlines_pass(world.s3)
        with pytest.raises(DeadlineExceeded, match="waiting for a slot of the pool"):
            await reading


async def test_a_call_without_a_response_is_reported_as_such(world: World) -> None:
    world.server.will(silent, "GetObject", times=None)
    reading = asyncio.create_task(world.s3.read_file(BUCKET, "a", ReadOptions(timeout=60)))
    while "GetObject" not in world.server.arrived:  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0)
    let_deadlines_pass(world.s3)
    with pytest.raises(DeadlineExceeded, match="no response") as late:
        await reading
    assert late.value.sent


async def test_a_head_reports_a_wrong_secret(world: World) -> None:
    world.server.will(answer(403, "SignatureDoesNotMatch"), times=None)
    for call in (world.s3.head_file, world.s3.file_exists):
        with pytest.raises(InvalidCredentials, match="secret") as refused:
            await call(BUCKET, "a")
        assert "IAM" not in str(refused.value)


async def test_a_denied_head_explains_that_s3_gives_no_reason(world: World) -> None:
    world.server.will(answer(403, "AccessDenied"), times=None)
    with pytest.raises(AccessDenied, match="does not say why"):
        await world.s3.head_file(BUCKET, "a")
