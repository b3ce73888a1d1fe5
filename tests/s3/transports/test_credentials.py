"""Credentials are botocore's own objects, so that a refresh reaches all clients."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials

from apm_s3.models import Credentials
from tests.seams.transports import CredentialProvider


class Source:
    """A role whose credentials are numbered."""

    def __init__(self, *, seconds: float = 3600) -> None:
        self.asked = 0
        self.seconds = seconds
        self.failing = False

    def _metadata(self) -> dict[str, str]:
        expires = datetime.now(UTC) + timedelta(seconds=self.seconds)
        number = str(self.asked)
        return {"access_key": f"id{number}", "secret_key": "s", "token": number, "expiry_time": expires.isoformat()}

    async def refresh(self) -> dict[str, str]:
        await asyncio.sleep(0)
        if self.failing:
            raise OSError("no answer")
        self.asked += 1
        return self._metadata()

    async def load(self) -> Any:
        return AioRefreshableCredentials.create_from_metadata(self._metadata(), self.refresh, "test")


async def test_credentials_that_are_about_to_expire_are_refreshed_by_botocore() -> None:
    source = Source(seconds=1)
    shared = await source.load()
    source.seconds = 3600

    async def load() -> Any:
        return shared

    provider = CredentialProvider(load)
    found = await asyncio.gather(*(provider.get() for _ in range(10)))
    assert {credentials.key_id for credentials in found if credentials} == {"id1"}
    assert source.asked == 1


async def test_expired_credentials_are_refreshed_once_for_all_waiting_calls() -> None:
    source = Source()
    provider = CredentialProvider(source.load)
    assert await provider.get() == Credentials("id0", "s", "0")

    assert await asyncio.gather(*(provider.refresh() for _ in range(10))) == [True] * 10

    assert await provider.get() == Credentials("id1", "s", "1")
    assert source.asked == 1


async def test_a_failed_refresh_is_no_recovery() -> None:
    source = Source()
    provider = CredentialProvider(source.load)
    await provider.get()
    source.failing = True
    assert not await provider.refresh()


async def test_a_refresh_reaches_all_clients_that_share_the_credentials() -> None:
    source = Source()
    shared = await source.load()

    async def load() -> Any:
        return shared

    provider = CredentialProvider(load)
    await provider.get()
    await provider.refresh()
    assert (await shared.get_frozen_credentials()).token == "1"


async def test_keys_that_were_rotated_in_a_file_are_read_again() -> None:
    static = AioCredentials("old", "s", "t")

    async def load() -> Any:
        return static

    async def reload() -> Any:
        return AioCredentials("new", "s2", "t2")

    provider = CredentialProvider(load, reload)
    assert await provider.get() == Credentials("old", "s", "t")
    assert await provider.refresh()
    assert await provider.get() == Credentials("new", "s2", "t2")
    assert static.access_key == "new"


async def test_static_credentials_cannot_be_refreshed() -> None:
    async def load() -> Any:
        return AioCredentials("id", "s", "t")

    provider = CredentialProvider(load)
    await provider.get()
    assert not await provider.refresh()


async def test_missing_credentials_are_none() -> None:
    async def load() -> Any:
        return None

    assert await CredentialProvider(load).get() is None
