"""Every call against wrong responses gives the right result or a clear error."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from apm_s3 import Credentials, S3Manager
from apm_s3.errors import (
    ConnectionLost,
    IntegrityError,
    InvalidRequest,
    NotModified,
    ObjectTooLarge,
    UnsupportedByServer,
)
from apm_s3.options import BucketOptions, CopyOptions, DeleteOptions, ReadOptions, Tags, UploadOptions, Versioning
from apm_s3.settings import RetrySettings
from tests.faults.cached_verbs import state_with_a_store
from tests.faults.lies import LIES, endless, going_on, surplus
from tests.faults.matrix import DATA_PATHS, DataPath, run_matrix
from tests.faults.memory_s3 import Request, Response, error_response
from tests.faults.server import Exchange, Fault, FaultyS3, head_of
from tests.faults.verbs import BUCKET, OLD, OTHER, new_state
from tests.managers import SESSION
from tests.seams.s3 import VerifyingSettings

_HONEST = {
    ("list", "empty pages for ever"),
    ("list to a stop", "empty pages for ever"),
    ("versions", "empty pages for ever"),
    ("empty and delete bucket", "one deletion untold"),
    ("clean up uploads", "hostile numbers"),
}
"""Calls that cannot know better: one page is empty, what a second look finds gone is not counted
as deleted, and an upload without a time may be a new one."""


# One test per transport, so that parallel runs do not run the matrix in every process.
@pytest.mark.timeout(400)
@pytest.mark.parametrize("data_path", DATA_PATHS)
def test_calls_to_a_lying_server_give_the_right_result_or_an_error(data_path: DataPath) -> None:
    cells = run_matrix(data_path, LIES)
    wrong = [
        f"{verb}, {case}: {'; '.join(cell.problems)}"
        for (verb, case), cell in cells.items()
        if cell.problems and (cell.verb.name, case) not in _HONEST
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_an_endless_document_is_abandoned(data_path: DataPath) -> None:
    async with _open(data_path) as (server, s3):
        server.will(endless(200, b"<ListBucketResult>"), "ListObjectsV2", times=None)

        with pytest.raises((IntegrityError, ConnectionLost), match=r"longer than|more than"):
            await s3.list_files(BUCKET)


@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_an_endless_object_without_a_size_is_abandoned(data_path: DataPath) -> None:
    async with _open(data_path) as (server, s3):
        server.will(endless(200, b"a"), "GetObject", times=None)

        for read in (s3.read_file, s3.get_file):
            with pytest.raises(
                (IntegrityError, UnsupportedByServer), match=r"longer than|more than|size of the object"
            ):
                await read(BUCKET, "a")


@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_an_object_longer_than_the_caller_allows_is_not_read(data_path: DataPath) -> None:
    async with _open(data_path) as (server, s3):
        enough, less = ReadOptions(max_size=len(OLD)), ReadOptions(max_size=len(OLD) - 1)

        assert await s3.read_file(BUCKET, "a", enough) == OLD
        assert (await s3.get_file(BUCKET, "a", enough)).data == OLD
        assert await s3.read_file(BUCKET, "large", ReadOptions(max_size=5, range=(0, 5))) == OLD[:5]
        for read in (s3.read_file(BUCKET, "a", less), s3.get_file(BUCKET, "a", less)):
            with pytest.raises(ObjectTooLarge) as refused:
                await read
            assert (refused.value.size, refused.value.limit, refused.value.key) == (len(OLD), len(OLD) - 1, "a")
        assert server.arrived.count("GetObject") == 5
    with pytest.raises(InvalidRequest):
        ReadOptions(max_size=-1)


@pytest.mark.parametrize("data_path", DATA_PATHS)
@pytest.mark.parametrize("etag", ['"another"', 'W/"another"'])
async def test_a_304_about_another_object_is_not_believed(data_path: DataPath, etag: str) -> None:
    async with _open(data_path) as (server, s3):
        known = (await s3.head_file(BUCKET, "a")).etag
        server.will(_not_modified(etag), times=None)
        for read in (s3.read_file, s3.get_file, s3.head_file):
            with pytest.raises(IntegrityError, match="304 for ETag") as refused:
                await read(BUCKET, "a", ReadOptions(if_none_match=known))
            assert (refused.value.bucket, refused.value.key) == (BUCKET, "a")

            with pytest.raises(IntegrityError, match="without a condition"):
                await read(BUCKET, "a")


@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_a_304_about_the_known_object_is_believed(data_path: DataPath) -> None:
    async with _open(data_path) as (server, s3):
        known = (await s3.head_file(BUCKET, "a")).etag
        assert known is not None
        for etag in (known, f"W/{known}", ""):
            for wanted in (known, f'"older", {known}', f"W/{known}", "*"):
                server.will(_not_modified(etag), "GetObject")
                with pytest.raises(NotModified):
                    await s3.read_file(BUCKET, "a", ReadOptions(if_none_match=wanted))
        with pytest.raises(NotModified):
            server.will(_not_modified(known), "HeadObject")
            await s3.head_file(BUCKET, "a", ReadOptions(if_modified_since=datetime(2030, 1, 1, tzinfo=UTC)))


@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_extra_bytes_after_a_response_that_fills_the_buffer_are_not_a_response(data_path: DataPath) -> None:
    async with _open(data_path) as (server, s3):
        received = {"signed": 64 * 1024, "boto": 256 * 1024}[data_path]
        server.will(surplus, "GetObject", times=None)
        info = server.s3.buckets[BUCKET]["a"]
        # The response ends where the buffer does, so that the event loop has not read the bytes after it.
        request = Request("GET", f"/{BUCKET}/a", {"x-amz-checksum-mode": "ENABLED"})
        head = len(head_of(server.s3.handle(request))) - len(str(len(info.body)))
        info.body = b"a" * (received - head - len(str(received)))

        for _ in range(20):
            assert await s3.read_file(BUCKET, "a") == info.body
            assert await s3.read_file(BUCKET, "b") == OLD


@pytest.mark.parametrize("data_path", DATA_PATHS)
@pytest.mark.parametrize("extra", [b"x", b"<Error/>\r\n\r\n", b"<Error><Code>NoSuchKey</Code></Error>" * 9])
async def test_extra_bytes_that_arrive_with_the_next_request_cost_a_retry_and_not_its_result(
    data_path: DataPath, extra: bytes
) -> None:
    async def late(exchange: Exchange) -> None:
        exchange.transport.write(extra)
        exchange.send(exchange.carry_out())

    async with _open(data_path) as (server, s3):
        assert await s3.read_file(BUCKET, "a") == OLD
        server.will(late, "GetObject")
        assert await s3.read_file(BUCKET, "a") == OLD
        server.will(late, "PutObject")
        await s3.upload_file(BUCKET, "a", b"new")
        assert (server.arrived.count("GetObject"), server.arrived.count("PutObject")) == (3, 2)


@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_a_last_page_that_repeats_an_earlier_one_is_noticed(data_path: DataPath) -> None:
    """It would name everything twice."""
    async with _open(data_path) as (server, s3):
        for listing, request in (
            (s3.iter_files(BUCKET), "ListObjectsV2"),
            (s3.iter_versions(BUCKET), "ListObjectVersions"),
        ):
            server.will(going_on(empty=False), request)
            with pytest.raises(IntegrityError, match="its pages repeat"):
                assert [found.key async for found in listing]

        server.s3 = state_with_a_store()
        server.will(going_on(empty=False), "ListObjectsV2")
        with pytest.raises(IntegrityError, match="its pages repeat"):
            await s3.configs(BUCKET).environments()


@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_the_outcomes_of_a_multi_delete_are_reported_per_key(data_path: DataPath) -> None:
    async def refused(exchange: Exchange) -> None:
        response = exchange.carry_out()
        response.body = response.body.replace(
            b"<Deleted><Key>b</Key></Deleted>",
            b"<Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message></Error>",
        )
        exchange.send(response)

    async with _open(data_path) as (server, s3):
        server.will(refused, "DeleteObjects", times=None)
        report = await s3.delete_files(BUCKET, ["a", "b"])

        assert [outcome.key for outcome in report.deleted] == ["a"]
        assert [(failure.key, failure.s3_code) for failure in report.failed] == [("b", "AccessDenied")]
        assert server.arrived.count("DeleteObjects") == 1


@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_only_the_keys_with_transient_failures_are_deleted_again(data_path: DataPath) -> None:
    async def busy(exchange: Exchange) -> None:
        response = exchange.carry_out()
        response.body = response.body.replace(
            b"<Deleted><Key>b</Key></Deleted>", b"<Error><Key>b</Key><Code>SlowDown</Code></Error>"
        )
        exchange.send(response)

    async with _open(data_path) as (server, s3):
        server.will(busy, "DeleteObjects")
        report = await s3.delete_files(BUCKET, ["a", "b"])

        assert sorted(outcome.key for outcome in report.deleted) == ["a", "b"]
        assert report.ok
        assert server.arrived.count("DeleteObjects") == 2


@pytest.mark.parametrize("refused_key", [b"", b"a"])
@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_emptying_ends_if_deleted_versions_are_listed_again(data_path: DataPath, refused_key: bytes) -> None:
    async def pretending(exchange: Exchange) -> None:
        kept = dict(exchange.s3.buckets[BUCKET])
        response = exchange.carry_out()
        exchange.s3.buckets[BUCKET] = kept
        told = re.compile(rb"<Deleted>(<Key>%b</Key>.*?)</Deleted>" % refused_key)
        response.body = told.sub(
            rb"<Error>\1<VersionId>null</VersionId><Code>AccessDenied</Code></Error>", response.body
        )
        exchange.send(response)

    async with _open(data_path) as (server, s3):
        server.will(pretending, "DeleteObjects", times=None)
        with pytest.raises(IntegrityError, match="reported as deleted") as refused:
            await s3.delete_bucket(BUCKET, force=True)

        assert (refused.value.bucket, refused.value.key) == (BUCKET, "b" if refused_key else "a")
        assert server.arrived.count("DeleteObjects") == 2
        assert BUCKET in server.s3.buckets


@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_a_lone_surrogate_is_refused_before_anything_is_sent(data_path: DataPath) -> None:
    bad = "\ud800"
    async with _open(data_path) as (server, s3):
        for call in (
            s3.list_files(BUCKET, bad),
            s3.list_files(BUCKET, token=bad),
            s3.list_versions(BUCKET, key_marker=bad),
            s3.read_file(BUCKET, "a", ReadOptions(if_match=bad)),
            s3.read_file(BUCKET, "a", ReadOptions(version_id=bad)),
            s3.head_file(BUCKET, "a", ReadOptions(expected_bucket_owner=bad)),
            s3.upload_file(BUCKET, "c", b"", UploadOptions(content_type=bad)),
            s3.delete_file(BUCKET, "a", DeleteOptions(version_id=bad)),
            s3.delete_files(BUCKET, [("a", bad)]),
            s3.copy_file(BUCKET, "a", OTHER, "c", CopyOptions(source_version_id=bad)),
            s3.presign_download(BUCKET, "a", options=ReadOptions(version_id=bad)),
            s3.presign_upload(BUCKET, "a", options=UploadOptions(content_type=bad)),
        ):
            with pytest.raises(InvalidRequest):
                await call
        assert server.arrived == []


@pytest.mark.parametrize("kept", [True, False], ids=["refused", "taken and not kept"])
async def test_a_server_without_a_setting_is_told_with_what_it_was_sent_before(kept: bool) -> None:
    async def without_tags(exchange: Exchange) -> None:
        exchange.send(error_response(501, "NotImplemented") if kept else Response(200))

    async with _open("signed") as (server, s3):
        server.will(without_tags, "PutBucket:tagging", times=None)
        with pytest.raises(UnsupportedByServer, match=r"has no Tags .*already sent to it: Versioning"):
            await s3.ensure_bucket(BUCKET, BucketOptions(versioning=Versioning(), tags=Tags({"a": "b"})))
        assert (await s3.get_setting(BUCKET, Versioning)) == Versioning()


def _not_modified(etag: str) -> Fault:
    async def answer(exchange: Exchange) -> None:
        headers = {"etag": etag} if etag else {}
        exchange.send(Response(304, headers, b""))

    return answer


@asynccontextmanager
async def _open(data_path: DataPath) -> AsyncIterator[tuple[FaultyS3, S3Manager]]:
    settings = VerifyingSettings(data_path=data_path, retry=RetrySettings(initial_delay=0))
    async with (
        FaultyS3() as server,
        S3Manager(
            region="us-east-1",
            endpoint_url=server.endpoint_url,
            session=SESSION,
            credentials=Credentials("k", "s"),
            settings=settings,
        ) as s3,
    ):
        server.s3 = new_state()
        yield server, s3
