"""Migrations on real servers, with their treatment of tags, parts, locks and orders of keys."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from apm_s3 import S3Manager, S3Settings, TransferSettings, UploadOptions
from apm_s3.migration import migrate
from apm_s3.options import BucketOptions, ObjectLock
from tests.managers import make_manager
from tests.servers import Server

MIB = 1024**2
LARGE = Random(1).randbytes(MIB) * 7


@pytest.fixture
async def managers(seaweedfs: Server, moto: Server) -> AsyncIterator[dict[str, S3Manager]]:
    """A manager of each server, with small parts."""
    settings = S3Settings(transfer=TransferSettings(part_size=5 * MIB, multipart_threshold=6 * MIB))
    async with make_manager(seaweedfs, settings) as one, make_manager(moto, settings) as other:
        yield {"seaweedfs": one, "moto": other}


async def filled(s3: S3Manager) -> str:
    """A bucket with objects of every kind."""
    bucket = f"apm-test-{uuid.uuid4().hex[:20]}"
    await s3.create_bucket(bucket)
    options = UploadOptions(
        content_type="application/x-test",
        metadata={"made-by": "test"},
        tags={"kind": "test", "plus+": "a b=c"},
        cache_control="no-store",
        content_disposition="inline",
        content_encoding="identity",
        content_language="de",
    )
    await s3.upload_file(bucket, "team/small", b"content", options)
    await s3.upload_file(bucket, "team/folder/large", LARGE, options)
    for key in ("team/folder-1", "team/folder.2", "team/empty"):
        await s3.upload_file(bucket, key, key.encode() if key != "team/empty" else b"")
    return bucket


@pytest.mark.parametrize(
    ("source", "target"), [("seaweedfs", "seaweedfs"), ("moto", "moto"), ("seaweedfs", "moto"), ("moto", "seaweedfs")]
)
async def test_objects_arrive_with_all_their_properties(
    managers: dict[str, S3Manager], bucket_name: str, source: str, target: str
) -> None:
    one, other = managers[source], managers[target]
    bucket = await filled(one)
    await other.create_bucket(bucket_name)

    report = await migrate(
        f"s3://{bucket}/team", f"s3://{bucket_name}/copy", source_s3=one, target_s3=other, verify="read"
    )

    assert not report.failures, report.failures
    assert (report.moved, report.verified) == (5, 5)
    for key in ("small", "folder/large"):
        ours = await one.get_file(bucket, f"team/{key}", tags=True)
        theirs = await other.get_file(bucket_name, f"copy/{key}", tags=True)
        assert theirs.data == ours.data
        assert theirs.tags == ours.tags == {"kind": "test", "plus+": "a b=c"}
        for name in ("etag", "content_type", "metadata"):
            assert getattr(theirs.info, name) == getattr(ours.info, name), (key, name)
        headers = {name: value for name, value in ours.info.headers.items() if name != "x-amz-tagging-count"}
        assert headers.items() <= dict(theirs.info.headers).items()
    left = [info.key async for info in other.iter_files(bucket_name)]
    assert not [key for key in left if "probe" in key]
    again = await migrate(f"s3://{bucket}/team", f"s3://{bucket_name}/copy", source_s3=one, target_s3=other)
    assert (again.identical, again.moved) == (5, 0)


async def test_files_round_trip_through_a_server(
    managers: dict[str, S3Manager], bucket_name: str, tmp_path: Path
) -> None:
    s3 = managers["seaweedfs"]
    await s3.create_bucket(bucket_name)
    (tmp_path / "up" / "deep").mkdir(parents=True)
    (tmp_path / "up" / "deep" / "large").write_bytes(LARGE + LARGE)
    (tmp_path / "up" / "small").write_bytes(b"content")

    up = await migrate(tmp_path / "up", f"s3://{bucket_name}", target_s3=s3)
    down = await migrate(f"s3://{bucket_name}", tmp_path / "down", source_s3=s3, accept=["metadata", "tags"])

    assert (up.verified, down.verified, up.failures, down.failures) == (2, 2, (), ())
    assert (tmp_path / "down" / "deep" / "large").read_bytes() == LARGE + LARGE
    again = await migrate(tmp_path / "up", f"s3://{bucket_name}", target_s3=s3)
    assert again.identical == 2


@pytest.mark.parametrize("streamed", [True, False])
async def test_locks_are_kept_between_buckets_that_have_them(
    managers: dict[str, S3Manager], seaweedfs: Server, bucket_name: str, streamed: bool
) -> None:
    s3, target = managers["seaweedfs"], f"{bucket_name}-2"
    for bucket in (bucket_name, target):
        await s3.create_bucket(bucket, BucketOptions(object_lock=ObjectLock()))
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    options = UploadOptions(object_lock_mode="GOVERNANCE", retain_until=until, legal_hold=True, tags={"a": "b"})
    await s3.upload_file(bucket_name, "locked", b"content", options)
    async with make_manager(seaweedfs) as other:
        report = await migrate(
            f"s3://{bucket_name}", f"s3://{target}", source_s3=s3, target_s3=other if streamed else s3
        )

    assert (report.moved, report.failures) == (1, ())
    ours, theirs = await s3.head_file(bucket_name, "locked"), await s3.head_file(target, "locked")
    assert ours.headers["x-amz-object-lock-legal-hold"] == "ON"
    assert ours.headers == theirs.headers
    assert await s3.get_file_tags(target, "locked") == {"a": "b"}
