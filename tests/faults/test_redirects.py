"""A redirect is never followed to another host: with it would go the session token and the customer's key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import product

import pytest

from apm_s3 import Credentials, S3Manager, S3Settings
from apm_s3.errors import ApmS3Error, UnsupportedByServer
from apm_s3.options import ReadOptions, UploadOptions
from apm_s3.settings import RetrySettings, TransferSettings
from tests.faults.faults import answer
from tests.faults.matrix import DATA_PATHS, verbs_of
from tests.faults.server import Exchange, FaultyS3
from tests.faults.verbs import BUCKET, new_state
from tests.managers import make_manager

KEY = bytes(range(32))

MOST_SENDS = 128
"""More than any call sends if every request is redirected: three calls of get_bucket ask for each setting."""


@asynccontextmanager
async def a_manager(data_path: str) -> AsyncIterator[tuple[S3Manager, FaultyS3, FaultyS3]]:
    """A manager, its server, and another server that no request may reach."""
    settings = S3Settings(
        data_path=data_path,  # type: ignore[arg-type]
        transfer=TransferSettings(multipart_threshold=200, range_size=100),
        retry=RetrySettings(initial_delay=0.001),
    )
    async with (
        FaultyS3() as elsewhere,
        FaultyS3() as server,
        make_manager(server, settings, credentials=Credentials("k", "s", "session-token")) as s3,
    ):
        server.s3 = new_state()
        elsewhere.s3 = new_state()
        yield s3, server, elsewhere


def redirecting_to(server: FaultyS3, status: int, region: str | None) -> Callable[[Exchange], Awaitable[None]]:
    async def fault(exchange: Exchange) -> None:
        named = {"x_amz_bucket_region": region} if region else {}
        await answer(status, "", location=f"{server.endpoint_url}{exchange.request.target}", **named)(exchange)

    return fault


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_no_call_follows_a_redirect_to_another_host(data_path: str, status: int) -> None:
    async with a_manager(data_path) as (s3, server, elsewhere):
        for verb, region in product(verbs_of(data_path), [None, "eu-west-1", "evil.example/#"]):  # type: ignore[arg-type]
            server.s3 = verb.state()
            server.rules.clear()
            server.arrived.clear()
            server.will(redirecting_to(elsewhere, status, region), times=None)
            try:
                value = await verb.call(s3)
            except ApmS3Error:
                pass
            else:
                # This is how S3 says that a bucket is in another region.
                assert (verb.request, region, value) == ("HeadBucket", "eu-west-1", verb.result)

            assert elsewhere.arrived == [], verb
            assert len(server.arrived) <= MOST_SENDS, verb


@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_no_redirect_sends_a_customer_key_to_another_host(data_path: str) -> None:
    calls: list[Callable[[S3Manager], Awaitable[object]]] = [
        lambda s3: s3.read_file(BUCKET, "a", ReadOptions(sse_customer_key=KEY)),
        lambda s3: s3.upload_file(BUCKET, "a", b"new", UploadOptions(sse_customer_key=KEY)),
        lambda s3: s3.read_file(BUCKET, "a", ReadOptions(requester_pays=True)),
    ]
    async with a_manager(data_path) as (s3, server, elsewhere):
        server.will(redirecting_to(elsewhere, 307, None), times=None)
        for call in calls:
            with pytest.raises(ApmS3Error):
                await call(s3)

        assert elsewhere.arrived == []


@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_a_redirect_to_another_region_is_signed_for_that_region(data_path: str) -> None:
    scopes: list[str] = []

    async def observe(exchange: Exchange) -> None:
        scope = exchange.request.headers["authorization"].split("Credential=")[1].split(",")[0]
        scopes.append(scope.split("/")[2])
        if scopes[-1] == "us-east-1":
            await redirecting_to(elsewhere, 301, "eu-west-1")(exchange)
        else:
            exchange.send(exchange.carry_out())

    async with a_manager(data_path) as (s3, server, elsewhere):
        server.will(observe, times=None)
        assert await s3.read_file(BUCKET, "a")

        assert elsewhere.arrived == []
    assert scopes == ["us-east-1", "eu-west-1"]


async def test_a_server_that_keeps_naming_new_regions_does_not_fill_memory_with_clients() -> None:
    count = 0

    async def fault(exchange: Exchange) -> None:
        nonlocal count
        count += 1
        await answer(301, "PermanentRedirect", x_amz_bucket_region=f"xx-west-{count}")(exchange)

    async with a_manager("signed") as (s3, server, _):
        server.will(fault, times=None)
        for _ in range(2):
            await asyncio.gather(*(s3.read_file(BUCKET, "a") for _ in range(40)), return_exceptions=True)
        with pytest.raises(UnsupportedByServer, match="regions"):
            await s3.read_file(BUCKET, "a")
