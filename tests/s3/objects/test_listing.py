"""Listing objects and versions."""

from __future__ import annotations

import asyncio

import pytest

from apm_s3 import BucketNotFound, DeleteOptions, ReadOptions, S3Manager, S3Settings, UploadOptions
from apm_s3.errors import InvalidOption
from tests.memory_transport import MemoryManager
from tests.seams.s3 import iterations_of
from tests.seams.transports import Clients


@pytest.fixture
async def filled(s3: S3Manager, bucket: str) -> str:
    """A bucket with six objects, two of them in a folder."""
    keys = ["a", "b c+d", "é", "folder/1", "folder/2", "z"]
    await asyncio.gather(
        *(
            s3.upload_file(bucket, key, key.encode(), UploadOptions(metadata={"n": str(n)}))
            for n, key in enumerate(keys)
        )
    )
    return bucket


async def test_a_page_lists_keys_in_order(s3: S3Manager, filled: str) -> None:
    page = await s3.list_files(filled)

    assert [info.key for info in page.files] == sorted(["a", "b c+d", "é", "folder/1", "folder/2", "z"])
    assert [info.size for info in page.files if info.key == "é"] == [2]
    assert page.next_token is None


async def test_pages_continue_each_other(s3: S3Manager, filled: str) -> None:
    first = await s3.list_files(filled, max_keys=4)
    second = await s3.list_files(filled, max_keys=4, token=first.next_token)

    assert [len(first.files), len(second.files)] == [4, 2]
    assert second.next_token is None


async def test_a_prefix_and_a_delimiter_narrow_a_listing(s3: S3Manager, filled: str) -> None:
    assert [info.key for info in (await s3.list_files(filled, "folder/")).files] == ["folder/1", "folder/2"]
    page = await s3.list_files(filled, delimiter="/", start_after="b")
    assert page.prefixes == ("folder/",)
    assert "a" not in [info.key for info in page.files]


async def test_metadata_is_fetched_on_request(s3: S3Manager, filled: str) -> None:
    plain = await s3.list_files(filled)
    full = await s3.list_files(filled, include_metadata=True)

    assert {info.metadata for info in plain.files} == {None}
    assert [info.key for info in full.files] == [info.key for info in plain.files]
    assert {info.key: info.metadata for info in full.files}["z"] == {"n": "5"}


async def test_all_files_are_iterated_over_pages(s3: S3Manager, bucket: str) -> None:
    keys = [f"{number:04}" for number in range(1005)]
    await asyncio.gather(*(s3.upload_file(bucket, key, b"") for key in keys))

    assert [info.key async for info in s3.iter_files(bucket)] == keys
    assert s3.metrics.snapshot().operations["list_files"].successes == 2


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
async def test_the_next_page_is_requested_ahead_and_cancelled_with_the_iteration(s3: S3Manager, bucket: str) -> None:
    await asyncio.gather(*(s3.upload_file(bucket, f"{number:04}", b"") for number in range(1001)))

    files = s3.iter_files(bucket)
    await anext(files)
    assert iterations_of(s3) == 1
    await files.aclose()

    assert iterations_of(s3) == 0


async def test_a_missing_bucket_is_an_error(s3: S3Manager, bucket: str) -> None:
    with pytest.raises(BucketNotFound):
        await s3.list_files(f"{bucket}-not")
    with pytest.raises(BucketNotFound):
        await anext(s3.iter_files(f"{bucket}-not"))


async def test_a_page_size_above_the_limit_is_refused(s3: S3Manager, bucket: str) -> None:
    with pytest.raises(InvalidOption, match="iter_files"):
        await s3.list_files(bucket, max_keys=1001)


async def test_versions_and_markers_are_listed_newest_first(s3: S3Manager, clients: Clients, bucket: str) -> None:
    await clients.call("put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = await s3.upload_file(bucket, "key", b"1")
    second = await s3.upload_file(bucket, "key", b"22")
    marker = await s3.delete_file(bucket, "key")
    await s3.upload_file(bucket, "other", b"")

    versions = [version async for version in s3.iter_versions(bucket, "key")]
    page = await s3.list_versions(bucket, max_keys=3)

    assert {version.version_id for version in versions} == {first.version_id, second.version_id, marker.version_id}
    assert [version.is_delete_marker for version in versions if version.is_latest] == [True]
    assert [version.size for version in versions if version.version_id == second.version_id] == [2]
    rest = await s3.list_versions(bucket, key_marker=page.next_key, version_marker=page.next_version)
    assert len(page.versions) + len(rest.versions) == 4


async def test_a_version_is_read_and_deleted_by_its_id(s3: S3Manager, clients: Clients, bucket: str) -> None:
    await clients.call("put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = await s3.upload_file(bucket, "key", b"1")
    await s3.upload_file(bucket, "key", b"2")

    assert await s3.read_file(bucket, "key", ReadOptions(version_id=first.version_id)) == b"1"
    await s3.delete_file(bucket, "key", DeleteOptions(version_id=first.version_id))

    assert [version.version_id async for version in s3.iter_versions(bucket)] != []
    assert first.version_id not in [version.version_id async for version in s3.iter_versions(bucket)]


async def test_a_listing_can_end_before_a_key(s3: S3Manager, bucket: str) -> None:
    for key in ("a", "b/1", "b/2", "c", "é"):
        await s3.upload_file(bucket, key, b"")

    assert [info.key async for info in s3.iter_files(bucket, stop_before="c")] == ["a", "b/1", "b/2"]
    assert [info.key async for info in s3.iter_files(bucket, start_after="a", stop_before="b/2")] == ["b/1"]
    page = await s3.list_files(bucket, delimiter="/", stop_before="c")
    assert ([info.key for info in page.files], page.prefixes) == (["a"], ("b/",))
    assert [info.key for info in (await s3.list_files(bucket, stop_before="z")).files] == ["a", "b/1", "b/2", "c"]


async def test_a_listing_that_ends_before_a_key_requests_no_page_after_it() -> None:
    async with MemoryManager(S3Settings()) as s3:
        for number in range(2500):
            s3.transport.bucket.put(f"k{number:04}", b"")

        found = [info.key async for info in s3.iter_files("bucket", stop_before="k0500")]

        assert (found[-1], len(found)) == ("k0499", 500)
        assert s3.transport.requests["list_files"] == 1
        page = await s3.list_files("bucket", stop_before="k0500")
        assert (len(page.files), page.next_token) == (500, None)
