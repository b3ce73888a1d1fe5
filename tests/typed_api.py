"""The public API as a type checker sees it. Never run: `nox -s types` checks it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import assert_type

from apm_s3 import (
    Credentials,
    Download,
    FileInfo,
    S3Manager,
    S3Settings,
    Timeouts,
    UploadOptions,
    ValidationReport,
    retry_s3,
    validate_config,
)
from apm_s3.batch import BatchResult, DeleteOp, HeadOp, OperationResult, UploadOp
from apm_s3.configs import Bundle, ConfigFile, ConfigStore, Release
from apm_s3.migration import MigrationOptions, MigrationPlan, MigrationReport, migrate, plan_migration
from apm_s3.models import ListPage
from apm_s3.sync import SyncPlan, SyncReport


async def chunks() -> AsyncIterator[bytes]:
    """A source without a known size."""
    yield b"text"


async def objects(s3: S3Manager) -> None:
    """Every kind of source is accepted, except a str."""
    assert_type(await s3.upload_file("bucket", "key", b"text"), FileInfo)
    await s3.upload_file("bucket", "key", Path("file"), UploadOptions(content_type="text/plain"))
    await s3.upload_file("bucket", "key", chunks())
    await s3.upload_file("bucket", "key", "text")  # type: ignore[arg-type]
    assert_type(await s3.read_file("bucket", "key"), bytes)
    assert_type(await s3.head_file("bucket", "key"), FileInfo)
    assert_type(await s3.file_exists("bucket", "key"), bool)
    assert_type(await s3.list_files("bucket", max_keys=10, include_metadata=True), ListPage)
    async for file in s3.iter_files("bucket"):
        assert_type(file, FileInfo)
    async with s3.download_file("bucket", "key") as download:
        assert_type(download, Download)


async def batches(s3: S3Manager) -> None:
    """Operations of several kinds, from a list or a generator."""
    assert_type(await s3.batch([HeadOp("bucket", "a"), DeleteOp("bucket", "b")], concurrency=2), BatchResult)
    assert_type((await s3.batch(UploadOp("bucket", key, b"") for key in "abc"))[0], OperationResult)
    async for result in s3.batch_iter([HeadOp("bucket", "a")]):
        assert_type(result, OperationResult)
    assert_type(await s3.sync("folder", "s3://bucket/prefix", dry_run=True), SyncPlan)
    assert_type(await s3.sync(Path("folder"), "s3://bucket/prefix", delete_extra=True), SyncReport)
    assert_type(await s3.delete_prefix("bucket", "prefix/"), SyncReport)
    await s3.batch([UploadOp("bucket", "key", "text")])  # type: ignore[arg-type]


async def migrations(s3: S3Manager) -> None:
    """Options are keywords, or one object."""
    options = MigrationOptions(if_exists="fail", accept={"tags"}, concurrency=8)
    assert_type(await plan_migration("s3://a", "s3://b", options, source_s3=s3), MigrationPlan)
    assert_type(await migrate("s3://a", "s3://b", options, source_s3=s3, verify="read"), MigrationReport)
    assert_type(await migrate(Path("folder"), "s3://b", target_s3=s3, exclude=["*.tmp"]), MigrationReport)
    await migrate("s3://a", "s3://b", source_s3=s3, if_exist="fail")  # type: ignore[call-arg]
    await migrate("s3://a", "s3://b", source_s3=s3, if_exists="never")  # type: ignore[arg-type]


async def configurations(s3: S3Manager) -> None:
    """What a store accepts and returns."""
    configs = assert_type(s3.configs("bucket", prefix="team/"), ConfigStore)
    release = await configs.upload("prometheus", "production", {"scrape_configs": []}, expect_revision=0)
    assert_type(release, Release)
    assert_type(await configs.download("prometheus", "production", revision=1), ConfigFile)
    assert_type(await configs.download_bundle("prometheus", "production"), Bundle)
    await configs.upload("prometheus", "production", files={"prometheus.yml": Path("prometheus.yml")})
    await configs.upload("prometheus", "production", expect_revision="1")  # type: ignore[arg-type]
    await configs.upload("promtheus", "production")  # type: ignore[arg-type]
    for old in await configs.history("loki", "staging"):
        await configs.rollback(old.tool, "staging", to_revision=old.revision)


async def manager() -> None:
    """How a manager is made."""
    async with S3Manager(
        region="us-east-1",
        endpoint_url="http://127.0.0.1:9000",
        credentials=Credentials("id", "secret"),
        settings=S3Settings(timeouts=Timeouts(deadline=10)),
    ) as s3:
        assert_type(s3, S3Manager)


async def retried() -> None:
    """The type of what is retried is kept."""

    async def answer() -> int:
        return 42

    assert_type(await retry_s3(answer, attempts=2, operation="answer"), int)


def validation() -> None:
    """Sources of a validation."""
    assert_type(validate_config("loki", "text"), ValidationReport)
    assert_type(validate_config("loki", Path("loki.yaml"), kind="config"), ValidationReport)
    validate_config("loki", 42)  # type: ignore[arg-type]
    validate_config("lokki", "text")  # type: ignore[arg-type]
