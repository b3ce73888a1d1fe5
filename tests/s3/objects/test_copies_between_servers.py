"""Downloads as sources of uploads, and reading them by byte counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from apm_s3 import ReadOptions, S3Manager, TransferSettings, UploadOptions
from apm_s3.errors import IntegrityError, ObjectNotFound
from tests.faults import faults
from tests.faults.server import FaultyS3
from tests.managers import make_manager
from tests.seams.s3 import VerifyingSettings

MIB = 1024**2
SMALL, LARGE = Random(1).randbytes(70_000), Random(1).randbytes(12 * MIB)
STORED = UploadOptions(content_type="text/x-test", metadata={"team": "sre"}, cache_control="no-store")


@asynccontextmanager
async def place(data_path: str, concurrency: int = 64) -> AsyncIterator[tuple[FaultyS3, S3Manager]]:
    """A server with a bucket, and its manager."""
    settings = VerifyingSettings(
        data_path=data_path,  # type: ignore[arg-type]
        max_concurrency=concurrency,
        transfer=TransferSettings(multipart_threshold=5 * MIB, part_size=5 * MIB),
    )
    async with (
        FaultyS3() as server,
        make_manager(server, settings) as s3,
    ):
        server.s3.buckets["bucket"] = {}
        yield server, s3


@pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
async def test_a_download_is_stored_with_its_content_type_metadata_and_headers(data_path: str, content: bytes) -> None:
    async with place(data_path) as (_, here), place(data_path) as (server, there):
        await here.upload_file("bucket", "a", content, STORED)

        async with here.download_file("bucket", "a") as download:
            info = await there.upload_file("bucket", "b", download)

        assert info.size == len(content)
        stored = server.s3.buckets["bucket"]["b"]
        assert stored.body == content
        found = await there.head_file("bucket", "b")
        assert (found.content_type, found.metadata, found.headers) == (
            "text/x-test",
            {"team": "sre"},
            {"cache-control": "no-store"},
        )
        parts = server.arrived.count("UploadPart")
        assert parts == (3 if content is LARGE else 0)


async def test_options_override_the_metadata_of_a_download(data_path: str) -> None:
    async with place(data_path) as (server, s3):
        await s3.upload_file("bucket", "a", SMALL, STORED)

        # It is opened, and closed, by the upload.
        await s3.upload_file(
            "bucket", "b", s3.download_file("bucket", "a"), UploadOptions(content_type="a/b", metadata={"x": "y"})
        )

        found = await s3.head_file("bucket", "b")
        assert (found.content_type, found.metadata) == ("a/b", {"x": "y"})
        assert found.headers == {"cache-control": "no-store"}
        assert server.s3.buckets["bucket"]["b"].body == SMALL


async def test_one_slot_is_enough_to_copy_a_large_download(data_path: str) -> None:
    async with place(data_path, concurrency=1) as (server, s3):
        await s3.upload_file("bucket", "a", LARGE)
        await s3.upload_file("bucket", "b", s3.download_file("bucket", "a"))
        assert server.s3.buckets["bucket"]["b"].body == LARGE
        assert s3.pool.stats().in_use == 0


async def test_a_damaged_download_is_not_stored(data_path: str) -> None:
    async with place(data_path) as (server, s3):
        await s3.upload_file("bucket", "a", LARGE)
        server.will(faults.corrupted, "GetObject", times=None)

        with pytest.raises(IntegrityError):
            await s3.upload_file("bucket", "b", s3.download_file("bucket", "a"))

        assert "b" not in server.s3.buckets["bucket"]
        assert not server.s3.uploads


async def test_a_download_of_a_missing_object_stores_nothing(data_path: str) -> None:
    async with place(data_path) as (server, s3):
        with pytest.raises(ObjectNotFound):
            await s3.upload_file("bucket", "b", s3.download_file("bucket", "missing"))
        assert server.s3.buckets["bucket"] == {}


async def test_the_unread_rest_of_a_range_is_stored(data_path: str) -> None:
    async with place(data_path) as (server, s3):
        await s3.upload_file("bucket", "a", SMALL)
        async with s3.download_file("bucket", "a", ReadOptions(range=(10, 5000))) as download:
            assert await download.read(7) == SMALL[10:17]
            await s3.upload_file("bucket", "b", download)
        assert server.s3.buckets["bucket"]["b"].body == SMALL[17:5000]


async def test_a_download_can_be_read_by_byte_counts(data_path: str) -> None:
    async with place(data_path) as (_, s3):
        await s3.upload_file("bucket", "a", SMALL)
        async with s3.download_file("bucket", "a") as download:
            assert await download.read(0) == b""
            assert await download.read(3) == SMALL[:3]
            assert download.remaining == len(SMALL) - 3
            assert await anext(download) != b""
            read = len(SMALL) - download.remaining
            assert await download.read(100) == SMALL[read : read + 100]
            assert await download.read() == SMALL[read + 100 :]
            assert await download.read(5) == await download.read() == b""
