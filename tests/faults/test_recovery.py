"""Errors after which the client corrects itself: expired credentials and a skewed clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from email.utils import formatdate
from time import time
from typing import Any

import pytest

from apm_s3 import Credentials, S3Manager, S3Settings
from apm_s3.errors import ClockSkewed, ExpiredToken
from apm_s3.options import Versioning
from apm_s3.settings import RetrySettings
from tests.faults.faults import answer, skewed
from tests.faults.matrix import DATA_PATHS
from tests.faults.memory_s3 import StoredObject, _etag
from tests.faults.roles import Role
from tests.faults.server import Exchange, FaultyS3

BUCKET = "bucket-one"


@pytest.fixture
async def server() -> AsyncIterator[FaultyS3]:
    """A server with one object."""
    async with FaultyS3() as server:
        server.s3.buckets[BUCKET] = {"key": StoredObject(b"body", {}, _etag(b"body"))}
        yield server


async def refuse_the_first_token(exchange: Exchange) -> None:
    if exchange.request.headers["x-amz-security-token"] == "token-0":
        await answer(400, "ExpiredToken")(exchange)
    else:
        exchange.send(exchange.carry_out())


async def refuse_the_old_day(exchange: Exchange) -> None:
    """The server is two days ahead, so that the day in the signature's scope has to change, too."""
    at = time() + 48 * 3600
    said = datetime.strptime(exchange.request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs(said.timestamp() - at) > 15 * 60:
        await answer(403, "RequestTimeTooSkewed", date=formatdate(at, usegmt=True))(exchange)
        return
    assert f"/{said:%Y%m%d}/" in exchange.request.headers["authorization"]
    exchange.send(exchange.carry_out())


CALLS: dict[str, Callable[[S3Manager], Awaitable[object]]] = {
    "an object": lambda s3: s3.read_file(BUCKET, "key"),
    "a bucket": lambda s3: s3.get_setting(BUCKET, Versioning),
}


@pytest.fixture(params=DATA_PATHS)
def manager(request: pytest.FixtureRequest, server: FaultyS3) -> Callable[..., S3Manager]:
    """Make a manager on each transport."""

    def make(*, attempts: int = 3, **options: Any) -> S3Manager:
        settings = S3Settings(data_path=request.param, retry=RetrySettings(attempts=attempts))
        return S3Manager(region="us-east-1", endpoint_url=server.endpoint_url, settings=settings, **options)

    return make


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_credentials_that_expired_early_are_refreshed_once_for_all_calls(server: FaultyS3, manager, call) -> None:
    role = Role()
    async with manager(session=role.session()) as s3:
        await call(s3)
        server.arrived.clear()
        server.will(refuse_the_first_token, times=None)
        results = await asyncio.gather(*(call(s3) for _ in range(20)))
    assert results == results[:1] * 20
    assert role.refreshes == 1
    assert len(server.arrived) <= 40


async def test_the_first_credentials_may_already_have_expired(server: FaultyS3, manager) -> None:
    role = Role()
    server.will(refuse_the_first_token, times=None)
    async with manager(session=role.session()) as s3:
        assert await s3.read_file(BUCKET, "key") == b"body"
    assert role.refreshes == 1


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_credentials_that_remain_refused_are_refreshed_once_per_call_and_then_raised(
    server: FaultyS3, manager, call
) -> None:
    role = Role()
    server.will(answer(400, "ExpiredToken"), times=None)
    async with manager(session=role.session()) as s3:
        with pytest.raises(ExpiredToken) as caught:
            await call(s3)
    assert (role.refreshes, len(server.arrived), caught.value.attempts) == (1, 2, 2)


async def test_an_expired_static_token_is_raised_immediately(server: FaultyS3, manager) -> None:
    server.will(answer(400, "ExpiredToken"), times=None)
    async with manager(credentials=Credentials("key", "secret", "token")) as s3:
        with pytest.raises(ExpiredToken, match="static session token"):
            await s3.read_file(BUCKET, "key")
    assert len(server.arrived) == 1


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_skewed_clock_is_corrected_once_even_without_retries(server: FaultyS3, manager, call) -> None:
    async with manager(attempts=1, credentials=Credentials("k", "s")) as s3:
        server.will(refuse_the_old_day, times=None)
        await call(s3)
        assert len(server.arrived) == 2
        await call(s3)
        assert len(server.arrived) == 3


async def test_a_skewed_clock_is_noticed_by_the_date_of_a_response_without_a_body(server: FaultyS3, manager) -> None:
    async with manager(attempts=1, credentials=Credentials("k", "s")) as s3:
        server.will(refuse_the_old_day, times=None)
        assert (await s3.head_file(BUCKET, "key")).size == 4
        assert server.arrived == ["HeadObject", "HeadObject"]


async def test_a_clock_that_remains_refused_is_an_error(server: FaultyS3, manager) -> None:
    async with manager(attempts=1, credentials=Credentials("k", "s")) as s3:
        server.will(skewed, times=None)
        with pytest.raises(ClockSkewed):
            await s3.read_file(BUCKET, "key")
        assert len(server.arrived) == 2
