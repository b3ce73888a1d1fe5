"""Fixtures for programs that use this library. pytest finds them automatically.

async def test_my_service(apm_s3_server: EmbeddedServer) -> None:
    async with S3Manager(endpoint_url=apm_s3_server.endpoint_url, credentials=apm_s3_server.credentials) as s3:
        ...
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apm_s3.testing._memory import MemoryObjects
from apm_s3.testing._server import EmbeddedServer, embedded_server


@pytest.fixture(scope="session")
def _apm_s3_server() -> Iterator[EmbeddedServer]:
    with embedded_server() as server:
        yield server


@pytest.fixture
def apm_s3_server(_apm_s3_server: EmbeddedServer) -> EmbeddedServer:
    """An S3 server without buckets, shared by the session and reset before each test. Needs the extra `testing`."""
    _apm_s3_server.reset()
    return _apm_s3_server


@pytest.fixture
def apm_s3_objects() -> MemoryObjects:
    """An empty in-memory bucket for `ConfigStore(apm_s3_objects)`; `will_fail` simulates failures."""
    return MemoryObjects()
