"""`store` is a store on memory, on moto and on SeaweedFS; `bucket_objects` is its bucket, seen from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from apm_s3 import S3Manager
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.s3_objects import S3Objects
from apm_s3.configs._store import ConfigStore
from apm_s3.testing import MemoryObjects
from tests.conftest import make_clients
from tests.servers import Server


@asynccontextmanager
async def opened(server: Server) -> AsyncIterator[S3Manager]:
    """A manager on the server."""
    async with S3Manager(region=server.region, endpoint_url=server.endpoint_url, credentials=server.credentials) as s3:
        yield s3


@pytest.fixture
def memory() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture(params=["memory", "moto", "seaweedfs"])
async def bucket_objects(request: pytest.FixtureRequest, bucket_name: str) -> AsyncIterator[ObjectStore]:
    """An empty bucket."""
    if request.param == "memory":
        yield MemoryObjects()
        return
    server = request.getfixturevalue(request.param)
    clients = make_clients(server)
    await clients.call("create_bucket", Bucket=bucket_name)
    await clients.aclose()
    async with opened(server) as s3:
        yield S3Objects(s3, bucket_name)


@pytest.fixture
def store(bucket_objects: ObjectStore) -> ConfigStore:
    """An empty store."""
    return ConfigStore(bucket_objects)
