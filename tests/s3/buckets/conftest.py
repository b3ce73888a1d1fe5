"""Bucket operations on each server, and a control plane that fails when it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from apm_s3 import S3Manager
from apm_s3.settings import RetrySettings, S3Settings
from tests.conftest import make_clients
from tests.seams.s3 import buckets_on
from tests.seams.transports import BotoTransport, Clients, Endpoint
from tests.servers import Server

QUICK = S3Settings(retry=RetrySettings(attempts=3, initial_delay=0.001, max_delay=0.002))

Fault = Callable[[str, Mapping[str, Any]], BaseException | None]


class FaultyControl:
    """The real control plane, with faults before a request is sent, or after it took effect."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.calls: list[str] = []
        self.before: Fault = lambda method, params: None
        self.after: Fault = lambda method, params: None
        self.pretend: Endpoint | None = None

    async def call(self, method: str, *, region: str | None = None, **params: Any) -> Mapping[str, Any]:
        self.calls.append(method)
        if (fault := self.before(method, params)) is not None:
            raise fault
        response = await self.clients.call(method, region=region, **params)
        if (fault := self.after(method, params)) is not None:
            raise fault
        return response

    async def endpoint(self, region: str | None = None) -> Endpoint:
        if self.pretend is None:
            return await self.clients.endpoint(region)
        return self.pretend._replace(region=region or self.pretend.region)


def make_buckets(clients: Clients, control: Any = None) -> S3Manager:
    return buckets_on(BotoTransport(clients), control or clients, QUICK)


@pytest.fixture
async def moto_clients(moto: Server) -> AsyncIterator[Clients]:
    made = make_clients(moto, QUICK)
    yield made
    await made.aclose()


@pytest.fixture
async def weed_clients(seaweedfs: Server) -> AsyncIterator[Clients]:
    made = make_clients(seaweedfs, QUICK)
    yield made
    await made.aclose()


@pytest.fixture
async def buckets(clients: Clients) -> S3Manager:
    """On each server."""
    return make_buckets(clients)


@pytest.fixture
async def moto_buckets(moto_clients: Clients) -> S3Manager:
    return make_buckets(moto_clients)


@pytest.fixture
async def weed_buckets(weed_clients: Clients) -> S3Manager:
    return make_buckets(weed_clients)


@pytest.fixture
def control(moto_clients: Clients) -> FaultyControl:
    return FaultyControl(moto_clients)


@pytest.fixture
async def trusted_buckets(control: FaultyControl) -> S3Manager:
    """On moto, taken for AWS, where no setting is tried first."""
    control.pretend = Endpoint("http://127.0.0.1", "us-east-1", is_aws=True)
    return make_buckets(control.clients, control)
