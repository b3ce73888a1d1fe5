"""Objects with their metadata and tags, and tags alone."""

from __future__ import annotations

import pytest

from apm_s3 import ObjectNotFound, ReadOptions, S3Manager, UploadOptions
from apm_s3.errors import ObjectChanged
from apm_s3.models import FileContent
from apm_s3.settings import S3Settings
from tests.managers import make_manager
from tests.memory_transport import MemoryManager
from tests.seams.transports import Clients
from tests.seams.wire import MalformedDocument, xml
from tests.servers import Server

TAGS = {"team": "apm + co", "a/b": "c=d:e@f", "empty": ""}


async def test_tags_round_trip(server: Server, bucket: str, data_path: str) -> None:
    async with make_manager(server, S3Settings(data_path=data_path)) as s3:  # type: ignore[arg-type]
        await s3.upload_file(bucket, "key", b"content", UploadOptions(tags=TAGS))
        await s3.upload_file(bucket, "none", b"content")

        assert await s3.get_file_tags(bucket, "key") == TAGS
        assert await s3.get_file_tags(bucket, "none") == {}
        with pytest.raises(ObjectNotFound):
            await s3.get_file_tags(bucket, "missing")


async def test_an_object_is_read_with_its_tags(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(
        bucket, "key", b"content", UploadOptions(metadata={"one": "two"}, cache_control="no-store", tags=TAGS)
    )

    found = await s3.get_file(bucket, "key", tags=True)

    assert (found.data, found.tags, found.info.size) == (b"content", TAGS, 7)
    assert (found.info.metadata, found.info.headers["cache-control"]) == ({"one": "two"}, "no-store")
    assert (await s3.get_file(bucket, "key")).tags is None


async def test_content_and_tags_belong_to_the_same_version(s3: S3Manager, clients: Clients, bucket: str) -> None:
    await clients.call("put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = await s3.upload_file(bucket, "key", b"1", UploadOptions(tags={"version": "1"}))
    await s3.upload_file(bucket, "key", b"2", UploadOptions(tags={"version": "2"}))

    old = await s3.get_file(bucket, "key", ReadOptions(version_id=first.version_id), tags=True)

    assert (old.data, old.tags) == (b"1", {"version": "1"})
    assert await s3.get_file_tags(bucket, "key", ReadOptions(version_id=first.version_id)) == {"version": "1"}


async def test_an_object_deleted_before_its_tags_are_read_is_an_error() -> None:
    async with MemoryManager(S3Settings()) as s3:
        await s3.upload_file("bucket", "key", b"content")

        def deleted(verb: str, _count: int) -> None:
            if verb == "tags":
                s3.transport.bucket.delete(["key"])

        s3.transport.before = deleted
        with pytest.raises(ObjectChanged, match="before its tags were read"):
            await s3.get_file("bucket", "key", tags=True)
        with pytest.raises(ObjectNotFound):
            await s3.get_file("bucket", "key", tags=True)


async def test_an_object_without_tags_has_an_empty_mapping() -> None:
    async with MemoryManager(S3Settings()) as s3:
        info = await s3.upload_file("bucket", "key", b"content")

        assert await s3.get_file("bucket", "key", tags=True) == FileContent(info, b"content", {})


@pytest.mark.parametrize(
    "body",
    [
        b"<Other/>",
        b"<Tagging><TagSet><Tag><Value>1</Value></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet><Tag><Key>a</Key></Tag><Tag><Key>a</Key></Tag></TagSet></Tagging>",
    ],
)
def test_an_invalid_list_of_tags_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedDocument):
        xml.parse_tags(body)
