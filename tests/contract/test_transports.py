"""What every transport does on every server, verb by verb."""

from __future__ import annotations

import asyncio
import hashlib
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from apm_s3.errors import (
    BucketNotFound,
    InvalidCredentials,
    NotConfigured,
    NotFound,
    NotModified,
    ObjectNotFound,
    PreconditionFailed,
    RequestRejected,
    UploadNotFound,
)
from apm_s3.models import Credentials
from apm_s3.options import CopyOptions, DeleteOptions, ListOptions, ReadOptions, UploadOptions
from apm_s3.settings import S3Settings
from tests.seams.transports import BotoTransport, Clients, ObjectTransport, SignedTransport, Stream
from tests.servers import Server

READ, PUT, COPY, DELETE = ReadOptions(), UploadOptions(), CopyOptions(), DeleteOptions()
MIB = 1024**2
ODD_KEYS = [
    "plain",
    "with space",
    "plus+and%25",
    "a&b=c?d#e",
    "til~de",
    "ünï/cödé/日本",
    "quote'\"<>",
    "a=b;c,d:e@f$g!h(i)*j",
]


@pytest.fixture(params=["boto", "signed"])
async def transport(
    request: pytest.FixtureRequest, clients: Clients, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[ObjectTransport]:
    """Each transport in turn, on each server; the signed one finds its routes without botocore."""
    if request.param == "boto":
        made: ObjectTransport = make_transport("boto", clients)
        yield made
        await made.aclose()
        return
    for name in ("AWS_CA_BUNDLE", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    plain = Clients(
        region=server.region,
        endpoint_url=server.endpoint_url,
        credentials=server.credentials,
        settings=S3Settings(proxies={}),
    )
    assert plain.plain is not None
    made = make_transport("signed", plain)
    yield made
    await made.aclose()
    await plain.aclose()


def make_transport(kind: str, clients: Clients) -> ObjectTransport:
    """The transport of that name over `clients`."""
    return BotoTransport(clients) if kind == "boto" else SignedTransport(clients)


async def read_all(transport: ObjectTransport, bucket: str, key: str, options: ReadOptions = READ) -> bytes:
    body = await transport.open(bucket, key, options)
    try:
        return b"".join([piece async for piece in body])
    finally:
        await body.aclose()


@pytest.mark.parametrize("data", [b"", b"x", b"\x00\xff" * 5000, b"y" * (3 * MIB)], ids=["empty", "one", "10k", "3M"])
async def test_bytes_round_trip_unchanged(transport: ObjectTransport, bucket: str, data: bytes) -> None:
    written = await transport.put(bucket, "dir/key", data, UploadOptions(content_type="text/x-test"))

    info, read = await transport.read(bucket, "dir/key", READ)

    assert read == data
    assert info.size == written.size == len(data)
    assert info.etag == written.etag
    assert info.content_type == "text/x-test"
    assert await read_all(transport, bucket, "dir/key") == data


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_odd_keys_are_stored_read_listed_copied_and_deleted(
    transport: ObjectTransport, bucket: str, key: str
) -> None:
    await transport.put(bucket, key, b"odd", PUT)
    assert (await transport.read(bucket, key, READ))[1] == b"odd"
    assert (await transport.head(bucket, key, READ)).key == key
    await transport.copy(bucket, key, bucket, f"copy/{key}", COPY)
    page = await transport.list_files(bucket, ListOptions())
    assert {file.key for file in page.files} == {key, f"copy/{key}"}
    report = await transport.delete_many(bucket, [(key, None), (f"copy/{key}", None)], DELETE)
    assert {outcome.key for outcome in report.deleted} == {key, f"copy/{key}"}
    assert (await transport.list_files(bucket, ListOptions())).files == ()


async def test_metadata_round_trips(transport: ObjectTransport, bucket: str) -> None:
    options = UploadOptions(
        content_type="application/yaml",
        metadata={"author": "someone", "x-rule": "1"},
        tags={"team": "sre", "a b": "c=d+e"},
        cache_control="max-age=60",
        content_disposition='attachment; filename="x.yml"',
        content_language="en",
    )
    before = datetime.now(UTC)
    await transport.put(bucket, "key", b"abc", options)

    info = await transport.head(bucket, "key", READ)

    assert info.metadata == {"author": "someone", "x-rule": "1"}
    assert info.content_type == "application/yaml"
    assert info.headers["cache-control"] == "max-age=60"
    assert info.headers["content-disposition"] == 'attachment; filename="x.yml"'
    assert info.size == 3
    assert info.storage_class == "STANDARD"
    assert info.last_modified is not None
    assert abs(info.last_modified - before) < timedelta(minutes=1)
    assert info.server_time is not None
    assert abs(info.server_time - before.timestamp()) < 60


async def test_ranges_return_their_bytes_and_the_total_size(transport: ObjectTransport, bucket: str) -> None:
    await transport.put(bucket, "key", bytes(range(100)), PUT)

    info, middle = await transport.read(bucket, "key", ReadOptions(range=(10, 20)))
    _, end = await transport.read(bucket, "key", ReadOptions(range=(90, None)))

    assert middle == bytes(range(10, 20))
    assert info.size == 100
    assert end == bytes(range(90, 100))


async def test_a_range_past_the_end_is_refused(transport: ObjectTransport, bucket: str) -> None:
    await transport.put(bucket, "key", b"short", PUT)
    with pytest.raises(RequestRejected) as refused:
        await transport.read(bucket, "key", ReadOptions(range=(100, 200)))
    assert refused.value.status == 416


async def test_reads_respect_their_conditions(transport: ObjectTransport, bucket: str) -> None:
    etag = (await transport.put(bucket, "key", b"one", PUT)).etag

    assert (await transport.read(bucket, "key", ReadOptions(if_match=etag)))[1] == b"one"
    with pytest.raises(NotModified):
        await transport.read(bucket, "key", ReadOptions(if_none_match=etag))
    with pytest.raises(NotModified):
        await transport.head(bucket, "key", ReadOptions(if_none_match=etag))
    with pytest.raises(PreconditionFailed):
        await transport.read(bucket, "key", ReadOptions(if_match='"0123"'))


async def test_writes_respect_their_conditions(transport: ObjectTransport, bucket: str) -> None:
    create = UploadOptions(if_none_match="*")
    etag = (await transport.put(bucket, "key", b"one", create)).etag
    with pytest.raises(PreconditionFailed):
        await transport.put(bucket, "key", b"two", create)

    newer = (await transport.put(bucket, "key", b"three", UploadOptions(if_match=etag))).etag
    with pytest.raises(PreconditionFailed):
        await transport.put(bucket, "key", b"four", UploadOptions(if_match=etag))

    info, data = await transport.read(bucket, "key", READ)
    assert (info.etag, data) == (newer, b"three")


async def test_exactly_one_of_twenty_concurrent_writers_of_a_new_key_wins(
    transport: ObjectTransport, server: Server, bucket: str
) -> None:
    if server.kind == "moto":
        pytest.skip("moto looks for the key and stores it in separate steps of its threads")

    async def write(number: int) -> bool:
        try:
            await transport.put(bucket, "key", b"%d" % number, UploadOptions(if_none_match="*"))
        except PreconditionFailed:
            return False
        return True

    won = await asyncio.gather(*(write(number) for number in range(20)))

    assert sum(won) == 1
    assert (await transport.read(bucket, "key", READ))[1] == b"%d" % won.index(True)


async def test_errors_distinguish_missing_keys_buckets_and_uploads(transport: ObjectTransport, bucket: str) -> None:
    with pytest.raises(ObjectNotFound):
        await transport.read(bucket, "missing", READ)
    with pytest.raises(NotFound):
        await transport.head(bucket, "missing", READ)
    with pytest.raises(BucketNotFound):
        await transport.read("apm-test-no-such-bucket", "key", READ)
    with pytest.raises(BucketNotFound):
        await transport.put("apm-test-no-such-bucket", "key", b"", PUT)
    with pytest.raises(BucketNotFound):
        await transport.list_files("apm-test-no-such-bucket", ListOptions())
    with pytest.raises(UploadNotFound):
        await transport.list_parts(bucket, "key", "0123456789abcdef0123456789abcdef_none", PUT)


async def test_a_bucket_tells_whether_it_has_object_lock(
    transport: ObjectTransport, clients: Clients, bucket: str
) -> None:
    with pytest.raises(NotConfigured):
        await transport.object_lock(bucket)
    with pytest.raises(BucketNotFound):
        await transport.object_lock("apm-test-no-such-bucket")
    locked = f"{bucket[:50]}-locked"
    await clients.call("create_bucket", Bucket=locked, ObjectLockEnabledForBucket=True)
    try:
        assert await transport.object_lock(locked) is True
    finally:
        await clients.call("delete_bucket", Bucket=locked)


async def test_a_server_tells_its_name(transport: ObjectTransport, server: Server, bucket: str) -> None:
    name = (await transport.server_name(bucket)).lower()
    assert ("werkzeug" if server.kind == "moto" else server.kind) in name
    with pytest.raises(NotFound):
        await transport.server_name("apm-test-no-such-bucket")


async def test_deleting_is_idempotent(transport: ObjectTransport, bucket: str) -> None:
    await transport.put(bucket, "key", b"x", PUT)
    for _ in range(2):
        await transport.delete(bucket, "key", DELETE)
    with pytest.raises(ObjectNotFound):
        await transport.read(bucket, "key", READ)


async def test_listings_can_be_paged_grouped_and_started_after_a_key(transport: ObjectTransport, bucket: str) -> None:
    keys = [f"a/{number:02}" for number in range(7)] + ["b/x", "c"]
    await asyncio.gather(*(transport.put(bucket, key, key.encode(), PUT) for key in keys))

    pages, token = [], None
    while True:
        page = await transport.list_files(bucket, ListOptions(prefix="a/", max_keys=3, token=token))
        pages.append([file.key for file in page.files])
        token = page.next_token
        if token is None:
            break
    grouped = await transport.list_files(bucket, ListOptions(delimiter="/"))
    after = await transport.list_files(bucket, ListOptions(prefix="a/", start_after="a/04"))

    assert pages == [keys[0:3], keys[3:6], keys[6:7]]
    assert grouped.prefixes == ("a/", "b/")
    assert [file.key for file in grouped.files] == ["c"]
    assert grouped.files[0].size == 1
    assert [file.key for file in after.files] == ["a/05", "a/06"]


async def test_versions_are_kept_listed_read_and_deleted(
    transport: ObjectTransport, clients: Clients, bucket: str
) -> None:
    await clients.call("put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = await transport.put(bucket, "key", b"one", PUT)
    second = await transport.put(bucket, "key", b"two", PUT)
    marker = await transport.delete(bucket, "key", DELETE)

    page = await transport.list_versions(bucket, ListOptions(), None, None)

    assert marker.delete_marker
    assert first.version_id != second.version_id
    assert {(v.version_id, v.is_delete_marker) for v in page.versions} == {
        (first.version_id, False),
        (second.version_id, False),
        (marker.version_id, True),
    }
    assert [v.is_latest for v in page.versions] == [True, False, False]
    assert (await transport.read(bucket, "key", ReadOptions(version_id=first.version_id)))[1] == b"one"
    await transport.delete(bucket, "key", DeleteOptions(version_id=marker.version_id))
    assert (await transport.read(bucket, "key", READ))[1] == b"two"


async def test_copies_keep_or_replace_metadata(transport: ObjectTransport, bucket: str) -> None:
    await transport.put(bucket, "from", b"data", UploadOptions(content_type="text/a", metadata={"k": "v"}))

    kept = await transport.copy(bucket, "from", bucket, "kept", COPY)
    replace = UploadOptions(content_type="text/b", metadata={"n": "w"})
    await transport.copy(bucket, "from", bucket, "replaced", CopyOptions(replace=replace))

    info, data = await transport.read(bucket, "kept", READ)
    assert (data, info.content_type, info.metadata, info.etag) == (b"data", "text/a", {"k": "v"}, kept.etag)
    info = await transport.head(bucket, "replaced", READ)
    assert (info.content_type, info.metadata) == ("text/b", {"n": "w"})
    with pytest.raises(ObjectNotFound):
        await transport.copy(bucket, "missing", bucket, "x", COPY)


async def test_copies_respect_their_conditions(transport: ObjectTransport, server: Server, bucket: str) -> None:
    if server.kind == "moto":
        pytest.skip("moto ignores conditions on copies")
    etag = (await transport.put(bucket, "from", b"data", PUT)).etag
    await transport.copy(bucket, "from", bucket, "to", CopyOptions(source_if_match=etag, if_none_match="*"))
    with pytest.raises(PreconditionFailed):
        await transport.copy(bucket, "from", bucket, "to", CopyOptions(if_none_match="*"))
    with pytest.raises(PreconditionFailed):
        await transport.copy(bucket, "from", bucket, "to", CopyOptions(source_if_match='"0123"'))


async def test_streams_of_known_size_are_stored(transport: ObjectTransport, bucket: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(10):
            yield bytes([number]) * 100_000

    written = await transport.put(bucket, "key", Stream(pieces, size=1_000_000), PUT)

    _, data = await transport.read(bucket, "key", READ)
    assert written.size == len(data) == 1_000_000
    assert data[::100_000] == bytes(range(10))


async def test_parts_are_combined_into_one_object(transport: ObjectTransport, bucket: str) -> None:
    options = UploadOptions(content_type="text/parts", metadata={"m": "1"})
    upload_id = await transport.create_upload(bucket, "big", options)
    first = await transport.upload_part(bucket, "big", upload_id, 1, b"a" * (5 * MIB), PUT)
    second = await transport.upload_part(bucket, "big", upload_id, 2, b"b" * 10, PUT)
    assert [part.number for part in await transport.list_parts(bucket, "big", upload_id, PUT)] == [1, 2]
    assert [upload.upload_id for upload in await transport.list_uploads(bucket, ListOptions(prefix="big"))] == [
        upload_id
    ]

    done = await transport.complete_upload(bucket, "big", upload_id, [first, second], options)

    info, data = await transport.read(bucket, "big", READ)
    assert hashlib.sha256(data).digest() == hashlib.sha256(b"a" * (5 * MIB) + b"b" * 10).digest()
    assert info.size == done.size == 5 * MIB + 10
    assert (info.content_type, info.metadata) == ("text/parts", {"m": "1"})
    assert await transport.list_uploads(bucket, ListOptions(prefix="big")) == ()


async def test_parts_can_be_copied_from_an_object(transport: ObjectTransport, bucket: str) -> None:
    await transport.put(bucket, "source", bytes(6 * MIB) + b"tail", PUT)
    upload_id = await transport.create_upload(bucket, "target", PUT)
    ranges = [(0, 5 * MIB), (5 * MIB, 6 * MIB + 4)]
    parts = [
        await transport.copy_part(bucket, "source", byte_range, bucket, "target", upload_id, number, COPY)
        for number, byte_range in enumerate(ranges, start=1)
    ]
    await transport.complete_upload(bucket, "target", upload_id, parts, PUT)

    assert (await transport.read(bucket, "target", ReadOptions(range=(6 * MIB, None))))[1] == b"tail"
    assert (await transport.head(bucket, "target", READ)).size == 6 * MIB + 4


async def test_an_aborted_upload_leaves_nothing(transport: ObjectTransport, bucket: str) -> None:
    upload_id = await transport.create_upload(bucket, "big", PUT)
    await transport.upload_part(bucket, "big", upload_id, 1, b"part", PUT)
    await transport.abort_upload(bucket, "big", upload_id, PUT)
    assert await transport.list_uploads(bucket, ListOptions(prefix="big")) == ()
    assert (await transport.list_files(bucket, ListOptions())).files == ()


async def test_a_body_can_be_abandoned_early(transport: ObjectTransport, bucket: str) -> None:
    await transport.put(bucket, "key", bytes(4 * MIB), PUT)
    body = await transport.open(bucket, "key", READ)
    assert body.length == 4 * MIB
    async for _ in body:
        break
    await body.aclose()
    await body.aclose()


async def test_presigned_urls_work_without_credentials(transport: ObjectTransport, bucket: str) -> None:
    await transport.put(bucket, "a key+&", b"data", PUT)
    get = await transport.presign("GET", bucket, "a key+&", 60, READ)
    put = await transport.presign("PUT", bucket, "new/key", 60, UploadOptions(content_type="text/x-new"))

    def fetch() -> bytes:
        with urllib.request.urlopen(get) as response:
            return response.read()

    def send() -> int:
        request = urllib.request.Request(put, data=b"put", method="PUT", headers={"Content-Type": "text/x-new"})
        with urllib.request.urlopen(request) as response:
            return response.status

    assert await asyncio.to_thread(fetch) == b"data"
    assert await asyncio.to_thread(send) == 200
    info, data = await transport.read(bucket, "new/key", READ)
    assert (data, info.content_type) == (b"put", "text/x-new")


async def test_a_wrong_secret_is_refused(transport: ObjectTransport, server: Server, bucket: str) -> None:
    if server.kind == "moto":
        pytest.skip("moto verifies no signatures")
    clients = Clients(
        region=server.region,
        endpoint_url=server.endpoint_url,
        credentials=Credentials(server.credentials.key_id, "wrong-secret"),
        settings=S3Settings(),
    )
    stranger = make_transport("boto" if isinstance(transport, BotoTransport) else "signed", clients)
    try:
        with pytest.raises(InvalidCredentials) as refused:
            await stranger.read(bucket, "key", READ)
    finally:
        await stranger.aclose()
        await clients.aclose()
    assert "wrong-secret" not in f"{refused.value} {refused.value!r} {refused.value.__dict__}"


async def test_objects_encrypted_with_customer_keys_need_them_to_be_read(
    transport: ObjectTransport, server: Server, bucket: str
) -> None:
    if server.kind == "moto":
        pytest.skip("moto does not check customer keys")
    key = bytes(range(32))
    await transport.put(bucket, "key", b"sealed", UploadOptions(sse_customer_key=key))
    assert (await transport.read(bucket, "key", ReadOptions(sse_customer_key=key)))[1] == b"sealed"
    with pytest.raises(RequestRejected):
        await transport.read(bucket, "key", READ)
