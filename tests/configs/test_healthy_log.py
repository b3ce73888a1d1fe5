"""The log of a store's first write on a fresh bucket: no WARNING unless something failed."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest

from apm_s3 import S3Manager
from apm_s3.errors import BucketNotFound, PreconditionFailed
from apm_s3.options import UploadOptions
from tests.configs.samples import PROMETHEUS
from tests.managers import make_manager
from tests.servers import Server


@pytest.fixture
async def s3(server: Server) -> AsyncIterator[S3Manager]:
    async with make_manager(server) as manager:
        yield manager


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_the_first_bucket_upload_and_deploy_log_no_warning(
    s3: S3Manager, bucket_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "apm_s3")

    await s3.ensure_bucket(bucket_name)
    store = s3.configs(bucket_name)
    await store.upload("prometheus", "staging", PROMETHEUS)
    await store.deploy(await store.plan_deploy("staging", "production", create=True))

    assert warnings(caplog) == []
    assert "upload_file" in caplog.text


async def test_a_write_to_a_bucket_that_does_not_exist_logs_a_warning(
    s3: S3Manager, bucket_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = s3.configs(bucket_name)
    with pytest.raises(BucketNotFound):
        await store.upload("prometheus", "staging", PROMETHEUS)

    assert any("failure BUCKET_NOT_FOUND" in warning for warning in warnings(caplog))


async def test_a_refused_write_logs_a_warning(
    s3: S3Manager, bucket_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    await s3.ensure_bucket(bucket_name)
    await s3.upload_file(bucket_name, "key", b"1")

    with pytest.raises(PreconditionFailed):
        await s3.upload_file(bucket_name, "key", b"2", UploadOptions(if_none_match="*"))

    [warning] = warnings(caplog)
    assert "failure PRECONDITION_FAILED" in warning
