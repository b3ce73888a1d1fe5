"""`store` is a store on memory, on moto and on SeaweedFS; `bucket_objects` is its bucket, seen from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from apm_s3 import S3Manager
from apm_s3.configs import ConfigStore
from apm_s3.testing import MemoryObjects
from tests.managers import make_manager
from tests.seams.store import ObjectStore, S3Objects
from tests.servers import Server


@asynccontextmanager
async def opened(server: Server) -> AsyncIterator[S3Manager]:
    """A manager on the server."""
    async with make_manager(server) as s3:
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
    async with opened(request.getfixturevalue(request.param)) as s3:
        await s3.create_bucket(bucket_name)
        yield S3Objects(s3, bucket_name)


@pytest.fixture
def store(bucket_objects: ObjectStore) -> ConfigStore:
    """An empty store."""
    return ConfigStore(bucket_objects)
