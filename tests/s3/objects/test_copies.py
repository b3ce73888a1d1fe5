"""Copies and moves inside S3."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from apm_s3 import (
    BucketNotFound,
    CopyOptions,
    ObjectNotFound,
    PreconditionFailed,
    ReadOptions,
    S3Manager,
    S3Settings,
    TransferSettings,
    UploadOptions,
)
from apm_s3.errors import InvalidOption, ObjectChanged
from apm_s3.models import FileInfo
from tests.managers import make_manager
from tests.seams.s3 import transport_of
from tests.seams.transports import Clients
from tests.servers import Server

MIB = 1024**2
IN_PARTS = S3Settings(transfer=TransferSettings(multipart_threshold=5 * MIB, part_size=5 * MIB))
LARGE = Random(1).randbytes(1000) * (6 * MIB // 1000)
OPTIONS = UploadOptions(
    content_type="text/x-mine",
    metadata={"author": "me"},
    tags={"team": "apm", "tier": "1 = 2/+"},
    cache_control="no-cache",
    content_disposition="inline",
    content_language="en",
)


@pytest.fixture
async def parts(server: Server) -> AsyncIterator[S3Manager]:
    """A manager that moves in parts from 5 MiB on."""
    async with make_manager(server, IN_PARTS) as manager:
        yield manager


async def tags_of(clients: Clients, bucket: str, key: str) -> dict[str, str]:
    response = await clients.call("get_object_tagging", Bucket=bucket, Key=key)
    return {tag["Key"]: tag["Value"] for tag in response["TagSet"]}


async def test_a_copy_keeps_metadata_and_tags(s3: S3Manager, clients: Clients, bucket: str) -> None:
    await s3.upload_file(bucket, "from +é", b"content", OPTIONS)

    copied = await s3.copy_file(bucket, "from +é", bucket, "to")

    seen = await s3.head_file(bucket, "to")
    assert await s3.read_file(bucket, "to") == b"content"
    assert (seen.content_type, seen.metadata, seen.etag) == ("text/x-mine", {"author": "me"}, copied.etag)
    assert await tags_of(clients, bucket, "to") == dict(OPTIONS.tags)


async def test_a_copy_can_get_new_metadata(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "from", b"content", OPTIONS)

    await s3.copy_file(
        bucket, "from", bucket, "to", CopyOptions(replace=UploadOptions(content_type="a/b", metadata={"new": "1"}))
    )

    seen = await s3.head_file(bucket, "to")
    assert (seen.content_type, seen.metadata) == ("a/b", {"new": "1"})


async def test_a_missing_source_is_named(s3: S3Manager, bucket: str) -> None:
    with pytest.raises(ObjectNotFound, match="'nothing' does not exist"):
        await s3.copy_file(bucket, "nothing", bucket, "to")


@pytest.mark.parametrize("server", ["moto"], indirect=True)  # SeaweedFS answers 500 where the destination is missing
@pytest.mark.parametrize("missing", ["source", "destination"])
async def test_an_error_names_which_of_two_buckets_is_missing(s3: S3Manager, bucket: str, missing: str) -> None:
    await s3.upload_file(bucket, "key", b"")
    other = f"{bucket}-not"
    source, target = (other, bucket) if missing == "source" else (bucket, other)

    with pytest.raises(BucketNotFound, match=f"'{other}' does not exist"):
        await s3.copy_file(source, "key", target, "to")


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)  # moto ignores conditions of copies
async def test_a_copy_respects_its_conditions(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "from", b"content")
    await s3.upload_file(bucket, "to", b"there")

    with pytest.raises(PreconditionFailed):
        await s3.copy_file(bucket, "from", bucket, "to", CopyOptions(source_if_match='"other"'))
    with pytest.raises(PreconditionFailed):
        await s3.copy_file(bucket, "from", bucket, "to", CopyOptions(if_none_match="*"))

    assert await s3.read_file(bucket, "to") == b"there"


async def test_a_moved_object_exists_only_at_its_destination(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "from", b"content", OPTIONS)

    moved = await s3.move_file(bucket, "from", bucket, "to")

    assert (moved.key, moved.size, moved.metadata) == ("to", 7, {"author": "me"})
    assert await s3.read_file(bucket, "to") == b"content"
    assert not await s3.file_exists(bucket, "from")


async def test_a_large_object_is_moved_in_parts_with_its_metadata(
    parts: S3Manager, clients: Clients, bucket: str
) -> None:
    await parts.upload_file(bucket, "from", LARGE, OPTIONS)

    await parts.move_file(bucket, "from", bucket, "to")

    assert parts.metrics.snapshot().operations["copy_part"].successes == 2
    seen = await parts.head_file(bucket, "to")
    assert (seen.content_type, seen.metadata) == ("text/x-mine", {"author": "me"})
    assert (seen.headers["cache-control"], seen.headers["content-disposition"]) == ("no-cache", "inline")
    assert await tags_of(clients, bucket, "to") == dict(OPTIONS.tags)
    assert await parts.read_file(bucket, "to") == LARGE
    assert not await parts.file_exists(bucket, "from")


async def test_moving_an_object_onto_itself_is_refused(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "key", b"content")

    with pytest.raises(InvalidOption, match="onto itself"):
        await s3.move_file(bucket, "key", bucket, "key")

    assert await s3.read_file(bucket, "key") == b"content"


@pytest.mark.parametrize("server", ["moto"], indirect=True)
async def test_a_failed_copy_keeps_the_source_of_a_move(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "key", b"content")

    with pytest.raises(BucketNotFound):
        await s3.move_file(bucket, "key", f"{bucket}-not", "key")

    assert await s3.read_file(bucket, "key") == b"content"


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
async def test_a_source_that_is_overwritten_during_a_move_is_kept(
    s3: S3Manager, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = transport_of(s3)
    copy = transport.copy

    async def overwriting(*arguments: Any) -> FileInfo:
        copied = await copy(*arguments)
        await s3.upload_file(bucket, "from", b"newer")
        return copied

    await s3.upload_file(bucket, "from", b"content")
    monkeypatch.setattr(transport, "copy", overwriting)
    with pytest.raises(ObjectChanged, match="both the copy and the new source exist"):
        await s3.move_file(bucket, "from", bucket, "to")

    assert await s3.read_file(bucket, "from") == b"newer"
    assert await s3.read_file(bucket, "to") == b"content"


async def test_in_a_versioned_bucket_a_move_leaves_a_marker_and_every_version(
    s3: S3Manager, clients: Clients, bucket: str
) -> None:
    await clients.call("put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    await s3.upload_file(bucket, "from", b"1")
    second = await s3.upload_file(bucket, "from", b"2")

    await s3.move_file(bucket, "from", bucket, "to")

    assert not await s3.file_exists(bucket, "from")
    assert await s3.read_file(bucket, "to") == b"2"
    assert await s3.read_file(bucket, "from", ReadOptions(version_id=second.version_id)) == b"2"


async def test_one_version_can_be_moved(s3: S3Manager, clients: Clients, bucket: str) -> None:
    await clients.call("put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = await s3.upload_file(bucket, "from", b"1")
    await s3.upload_file(bucket, "from", b"2")

    await s3.move_file(bucket, "from", bucket, "to", CopyOptions(source_version_id=first.version_id))

    assert await s3.read_file(bucket, "to") == b"1"
    assert await s3.read_file(bucket, "from") == b"2"
    with pytest.raises(ObjectNotFound):
        await s3.read_file(bucket, "from", ReadOptions(version_id=first.version_id))
