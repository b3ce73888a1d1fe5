"""What passes once something is learned from it: expired credentials, a clock that is off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from aiobotocore.session import AioSession, get_session

from apm_s3 import Credentials, S3Manager, S3Settings
from apm_s3.errors import ClockSkewed, ExpiredToken
from apm_s3.settings import RetrySettings
from tests.faults.faults import answer, skewed
from tests.faults.memory_s3 import StoredObject, _etag
from tests.faults.server import Exchange, FaultyS3

BUCKET = "bucket-one"


class Role:
    """Credentials of a role, whose tokens are numbered."""

    def __init__(self) -> None:
        self.refreshes = 0

    def session(self) -> AioSession:
        session = get_session()
        session._credentials = AioRefreshableCredentials.create_from_metadata(
            metadata=self._metadata(), refresh_using=self._refresh, method="a test's"
        )
        return session

    async def _refresh(self) -> dict[str, str]:
        await asyncio.sleep(0)
        self.refreshes += 1
        return self._metadata()

    def _metadata(self) -> dict[str, str]:
        expiry = datetime.now(UTC) + timedelta(hours=5)
        return {
            "access_key": "key",
            "secret_key": "secret",
            "token": f"token-{self.refreshes}",
            "expiry_time": expiry.isoformat(),
        }


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


async def test_credentials_that_expired_early_are_refreshed_once_for_all_calls(server: FaultyS3) -> None:
    role = Role()
    server.will(refuse_the_first_token, times=None)
    async with S3Manager(region="us-east-1", endpoint_url=server.endpoint_url, session=role.session()) as s3:
        bodies = await asyncio.gather(*(s3.read_file(BUCKET, "key") for _ in range(20)))
    assert bodies == [b"body"] * 20
    assert role.refreshes == 1
    assert len(server.arrived) <= 40


async def test_credentials_that_stay_refused_are_refreshed_once_a_call_and_then_told(server: FaultyS3) -> None:
    role = Role()
    server.will(answer(400, "ExpiredToken"), times=None)
    async with S3Manager(region="us-east-1", endpoint_url=server.endpoint_url, session=role.session()) as s3:
        with pytest.raises(ExpiredToken) as caught:
            await s3.read_file(BUCKET, "key")
    assert (role.refreshes, len(server.arrived), caught.value.attempts) == (1, 2, 2)


async def test_a_static_token_that_expired_is_told_at_once(server: FaultyS3) -> None:
    server.will(answer(400, "ExpiredToken"), times=None)
    static = Credentials("key", "secret", "token")
    async with S3Manager(region="us-east-1", endpoint_url=server.endpoint_url, credentials=static) as s3:
        with pytest.raises(ExpiredToken, match="static session token"):
            await s3.read_file(BUCKET, "key")
    assert len(server.arrived) == 1


async def test_a_clock_that_is_off_is_corrected_once_even_where_nothing_is_retried(server: FaultyS3) -> None:
    settings = S3Settings(retry=RetrySettings(attempts=1))
    async with S3Manager(
        region="us-east-1", endpoint_url=server.endpoint_url, credentials=Credentials("k", "s"), settings=settings
    ) as s3:
        server.will(skewed)
        assert await s3.read_file(BUCKET, "key") == b"body"
        assert len(server.arrived) == 2
        server.will(skewed, times=None)
        with pytest.raises(ClockSkewed):
            await s3.read_file(BUCKET, "key")
        assert len(server.arrived) <= 4
