"""Single objects, on every server: content round-trips, and invalid input is refused before anything is sent."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from apm_s3 import BucketNotFound, ObjectNotFound, PreconditionFailed, ReadOptions, S3Manager, S3Settings, UploadOptions
from apm_s3.errors import InvalidBucketName, InvalidKey, InvalidOption
from tests.managers import make_manager
from tests.servers import Server


@pytest.fixture
async def s3(server: Server, data_path: str) -> AsyncIterator[S3Manager]:
    """A manager on each data path."""
    async with make_manager(server, S3Settings(data_path=data_path)) as manager:
        yield manager


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize(
    "source", [b"content", bytearray(b"content"), memoryview(b"content")], ids=lambda s: type(s).__name__
)
async def test_bytes_round_trip(s3: S3Manager, bucket: str, source: bytes) -> None:
    await s3.upload_file(bucket, "a/key", source)

    assert await s3.read_file(bucket, "a/key") == b"content"


async def test_a_path_round_trips(s3: S3Manager, bucket: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")

    await s3.upload_file(bucket, "key", file)

    assert await s3.read_file(bucket, "key") == b"content"


async def test_a_binary_file_is_read_from_its_current_position(s3: S3Manager, bucket: str) -> None:
    file = io.BytesIO(b"skipped content")
    file.seek(8)

    await s3.upload_file(bucket, "key", file)

    assert await s3.read_file(bucket, "key") == b"content"
    assert not file.closed


async def test_an_async_iterable_round_trips(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "key", pieces_of(b"con", b"", b"tent"))

    assert await s3.read_file(bucket, "key") == b"content"


async def test_an_empty_object_round_trips(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "key", b"")

    assert await s3.read_file(bucket, "key") == b""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("text", "a path or the content"),
        (io.StringIO("text"), "binary mode"),
        (42, "int cannot be uploaded"),
        ([b"a", b"b"], "list cannot be uploaded"),
    ],
)
async def test_other_sources_are_refused(s3: S3Manager, bucket: str, source: object, reason: str) -> None:
    with pytest.raises(InvalidOption, match=reason):
        await s3.upload_file(bucket, "key", source)

    assert s3.metrics.snapshot().overall.total == 0


async def test_an_upload_describes_what_it_stored(s3: S3Manager, bucket: str) -> None:
    info = await s3.upload_file(bucket, "prometheus.yml", b"content", UploadOptions(metadata={"Author": "me"}))
    seen = await s3.head_file(bucket, "prometheus.yml")

    assert (info.bucket, info.key, info.size) == (bucket, "prometheus.yml", 7)
    assert info.content_type == seen.content_type == "application/yaml"
    assert info.metadata == seen.metadata == {"author": "me"}
    assert info.etag == seen.etag is not None
    assert seen.last_modified is not None


async def test_a_given_content_type_overrides_the_guess(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "a.json", b"{}", UploadOptions(content_type="text/x-mine"))

    assert (await s3.head_file(bucket, "a.json")).content_type == "text/x-mine"


@pytest.mark.parametrize("method", ["read_file", "head_file"])
async def test_a_missing_key_is_distinguished_from_a_missing_bucket(
    s3: S3Manager, bucket: str, bucket_name: str, method: str
) -> None:
    with pytest.raises(ObjectNotFound) as no_key:
        await getattr(s3, method)(bucket, "nothing")
    with pytest.raises(BucketNotFound) as no_bucket:
        await getattr(s3, method)(f"{bucket_name}-not", "nothing")

    assert (no_key.value.bucket, no_key.value.key, no_key.value.status) == (bucket, "nothing", 404)
    assert f"'{bucket_name}-not' does not exist" in str(no_bucket.value)


async def test_file_exists_returns_whether_an_object_exists(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "key", b"")

    assert await s3.file_exists(bucket, "key")
    assert not await s3.file_exists(bucket, "other")
    assert not await s3.file_exists(f"{bucket}-not", "key")


async def test_create_only_refuses_to_replace(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "key", b"first", UploadOptions(if_none_match="*"))

    with pytest.raises(PreconditionFailed):
        await s3.upload_file(bucket, "key", b"second", UploadOptions(if_none_match="*"))

    assert await s3.read_file(bucket, "key") == b"first"


async def test_a_range_is_read(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "key", b"0123456789")

    assert await s3.read_file(bucket, "key", ReadOptions(range=(2, 5))) == b"234"


@pytest.mark.parametrize("key", ["", "x" * 1025, "é" * 513, "\ud800"])
async def test_invalid_keys_are_refused(s3: S3Manager, bucket: str, key: str) -> None:
    with pytest.raises(InvalidKey):
        await s3.upload_file(bucket, key, b"")

    assert s3.metrics.snapshot().overall.total == 0


@pytest.mark.parametrize("name", ["", "a", "a/b", "s3://bucket", "with space", "a?b", "x" * 256])
async def test_invalid_bucket_names_are_refused(s3: S3Manager, name: str) -> None:
    with pytest.raises(InvalidBucketName):
        await s3.read_file(name, "key")

    assert s3.metrics.snapshot().overall.total == 0


async def test_deleting_an_object_is_idempotent(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "key", b"")

    await s3.delete_file(bucket, "key")
    await s3.delete_file(bucket, "key")

    assert not await s3.file_exists(bucket, "key")
