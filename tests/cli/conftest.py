"""Shells for the commands."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from tests.cli.kit import Shell, on_server
from tests.servers import Server


@pytest.fixture
def local(tmp_path: Path) -> Shell:
    """A shell in an empty directory, without any server."""
    return Shell(tmp_path)


@pytest.fixture
def shell(moto: Server, bucket_name: str, tmp_path: Path) -> Shell:
    """A shell in an empty directory, with an empty bucket as its APM_S3_BUCKET."""
    client = boto3.client(
        "s3", endpoint_url=moto.endpoint_url, region_name="us-east-1",
        aws_access_key_id=moto.credentials.key_id, aws_secret_access_key=moto.credentials.secret,
    )  # fmt: skip
    client.create_bucket(Bucket=bucket_name)
    client.close()
    return Shell(tmp_path, {**on_server(moto), "APM_S3_BUCKET": bucket_name})
