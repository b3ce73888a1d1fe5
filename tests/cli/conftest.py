"""Shells for the commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.cli.kit import Shell, on_server
from tests.cli.memory import memory_server
from tests.faults.server import FaultyS3
from tests.servers import Server


@pytest.fixture
def local(tmp_path: Path) -> Shell:
    """A shell in an empty directory, without any server."""
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def _memory() -> Iterator[FaultyS3]:
    with memory_server() as server:
        yield server


@pytest.fixture
def memory(_memory: FaultyS3) -> Iterator[FaultyS3]:
    """A server in memory, without rules."""
    yield _memory
    _memory.rules.clear()
    _memory.s3.buckets.clear()


@pytest.fixture
def shell(memory: FaultyS3, bucket_name: str, tmp_path: Path) -> Shell:
    """A shell in an empty directory, with an empty bucket in memory as its APM_S3_BUCKET."""
    memory.s3.buckets[bucket_name] = {}
    return Shell(tmp_path, {**on_server(Server("memory", memory.endpoint_url)), "APM_S3_BUCKET": bucket_name})


@pytest.fixture
def moto_shell(moto: Server, bucket_name: str, tmp_path: Path) -> Shell:
    """The same on moto, which knows versions and more settings of buckets."""
    client = boto3.client(
        "s3", endpoint_url=moto.endpoint_url, region_name="us-east-1",
        aws_access_key_id=moto.credentials.key_id, aws_secret_access_key=moto.credentials.secret,
    )  # fmt: skip
    client.create_bucket(Bucket=bucket_name)
    client.close()
    return Shell(tmp_path, {**on_server(moto), "APM_S3_BUCKET": bucket_name})
