"""Deleting many objects, and presigned URLs."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request

import pytest

from apm_s3 import BucketNotFound, DeleteOptions, S3Manager
from apm_s3.errors import InvalidKey, InvalidOption
from tests.seams.transports import Clients


async def test_many_objects_are_deleted_in_batches_with_one_outcome_each(s3: S3Manager, bucket: str) -> None:
    await asyncio.gather(*(s3.upload_file(bucket, f"k{number}", b"") for number in range(5)))
    keys = [f"k{number}" for number in range(1203)]

    report = await s3.delete_files(bucket, keys)

    assert report.ok
    assert sorted(outcome.key for outcome in report.deleted) == sorted(keys)
    assert s3.metrics.snapshot().operations["delete_files"].successes == 2
    assert (await s3.list_files(bucket)).files == ()


async def test_deleting_no_keys_sends_no_request(s3: S3Manager, bucket: str) -> None:
    assert (await s3.delete_files(bucket, [])).ok
    assert s3.metrics.snapshot().overall.total == 0


async def test_a_key_given_twice_is_deleted_once(s3: S3Manager, bucket: str) -> None:
    report = await s3.delete_files(bucket, ["a", "a", "b"])

    assert sorted(outcome.key for outcome in report.deleted) == ["a", "b"]


async def test_keys_that_xml_cannot_hold_are_deleted_too(s3: S3Manager, bucket: str) -> None:
    for key in ("a\x01b", "a & <b>", "é"):
        await s3.upload_file(bucket, key, b"")

    report = await s3.delete_files(bucket, ["a\x01b", "a & <b>", "é"])

    assert sorted(outcome.key for outcome in report.deleted) == ["a\x01b", "a & <b>", "é"]
    assert (await s3.list_files(bucket)).files == ()


async def test_versions_are_deleted_by_their_ids(s3: S3Manager, clients: Clients, bucket: str) -> None:
    await clients.call("put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = await s3.upload_file(bucket, "key", b"1")
    await s3.upload_file(bucket, "key", b"2")

    await s3.delete_files(bucket, [("key", first.version_id)])

    assert len([version async for version in s3.iter_versions(bucket)]) == 1
    assert await s3.read_file(bucket, "key") == b"2"


async def test_a_missing_bucket_is_an_error(s3: S3Manager, bucket: str) -> None:
    with pytest.raises(BucketNotFound):
        await s3.delete_files(f"{bucket}-not", ["a"])


async def test_a_single_string_is_not_accepted_as_a_list_of_keys(s3: S3Manager, bucket: str) -> None:
    with pytest.raises(InvalidKey, match="not several"):
        await s3.delete_files(bucket, "abc")


async def test_one_invalid_key_refuses_the_whole_call(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "good", b"")

    with pytest.raises(InvalidKey):
        await s3.delete_files(bucket, ["good", ""])

    assert await s3.file_exists(bucket, "good")


async def test_options_for_a_single_key_are_refused_for_many_keys(s3: S3Manager, bucket: str) -> None:
    with pytest.raises(InvalidOption, match="for one key"):
        await s3.delete_files(bucket, ["a"], DeleteOptions(version_id="1"))


def send(url: str, method: str = "GET", body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": "application/octet-stream"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read()


async def test_a_presigned_url_downloads_without_credentials(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "a key/é+", b"content")

    url = await s3.presign_download(bucket, "a key/é+")

    assert await asyncio.to_thread(send, url) == b"content"


async def test_a_presigned_url_uploads_without_credentials(s3: S3Manager, bucket: str) -> None:
    url = await s3.presign_upload(bucket, "key", 60)

    await asyncio.to_thread(send, url, "PUT", b"content")

    assert await s3.read_file(bucket, "key") == b"content"


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)  # moto verifies no signatures
async def test_a_presigned_url_is_valid_only_for_its_key(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "key", b"")
    await s3.upload_file(bucket, "other", b"")

    url = (await s3.presign_download(bucket, "key")).replace("/key?", "/other?")

    with pytest.raises(urllib.error.HTTPError, match="403"):
        await asyncio.to_thread(send, url)


@pytest.mark.parametrize("seconds", [0, -1, 7 * 24 * 3600 + 1])
async def test_presigned_urls_are_valid_for_one_second_to_seven_days(s3: S3Manager, bucket: str, seconds: int) -> None:
    with pytest.raises(InvalidOption, match="7 days"):
        await s3.presign_download(bucket, "key", seconds)
