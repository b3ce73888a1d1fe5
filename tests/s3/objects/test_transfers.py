"""Transfers under faults and cancellation, on a transport in memory."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from apm_s3 import (
    CopyOptions,
    PreconditionFailed,
    ReadOptions,
    RetrySettings,
    S3Manager,
    S3Settings,
    TransferSettings,
    UploadOptions,
)
from apm_s3.errors import (
    AccessDenied,
    ApmS3Error,
    BucketNotFound,
    ConditionalConflict,
    ConnectionLost,
    IntegrityError,
    ObjectChanged,
    ServiceUnavailable,
    Throttled,
)
from tests.cancellation import cancelled_everywhere
from tests.memory_transport import MemoryManager, MemoryTransport
from tests.seams.transports import PartInfo
from tests.seams.wire import checksum, error_of_response

MIB = 1024**2
SETTINGS = S3Settings(
    transfer=TransferSettings(multipart_threshold=5 * MIB, part_size=5 * MIB, parallel_parts=2, range_size=MIB),
    retry=RetrySettings(attempts=3, initial_delay=0.0),
)
CONTENT = Random(1).randbytes(1000) * (11 * MIB // 1000)
CREATE = UploadOptions(if_none_match="*")


@pytest.fixture
async def s3() -> AsyncIterator[MemoryManager]:
    """A manager over an empty bucket in memory."""
    async with MemoryManager(SETTINGS) as manager:
        yield manager


async def pieces(content: bytes = CONTENT) -> AsyncIterator[bytes]:
    for start in range(0, len(content), MIB):
        yield content[start : start + MIB]


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def lost() -> ApmS3Error:
    return ConnectionLost("the answer was lost")


def failing(verb: str, *counts: int, error: Callable[[], ApmS3Error] = lost) -> Callable[[str, int], None]:
    def fail(called: str, count: int) -> None:
        if called == verb and count in counts:
            raise error()

    return fail


def refused(status: int, s3_code: str) -> Callable[[], ApmS3Error]:
    return lambda: error_of_response(operation="put", status=status, s3_code=s3_code, bucket="bucket", key="key")


# --------------------------------------------------------------------------------------------------------------
# Uploads


async def test_a_failed_part_is_sent_again(s3: MemoryManager) -> None:
    s3.transport.before = failing("upload_part", 1, 3)

    await s3.upload_file("bucket", "key", pieces())

    assert s3.transport.requests["upload_part"] == 5
    assert s3.transport.objects["key"][1] == CONTENT


async def test_a_part_that_keeps_failing_aborts_the_upload(s3: MemoryManager) -> None:
    s3.transport.before = failing("upload_part", *range(1, 100))

    with pytest.raises(ConnectionLost):
        await s3.upload_file("bucket", "key", CONTENT)

    assert (s3.transport.uploads, s3.transport.objects) == ({}, {})


async def test_an_upload_that_cannot_be_aborted_is_named_in_the_error(s3: MemoryManager) -> None:
    def fail(verb: str, count: int) -> None:
        failing("upload_part", *range(1, 100), error=refused(403, "AccessDenied"))(verb, count)
        failing("abort_upload", *range(1, 100), error=refused(503, "SlowDown"))(verb, count)

    s3.transport.before = fail

    with pytest.raises(AccessDenied) as caught:
        await s3.upload_file("bucket", "key", CONTENT)

    assert "upload-1 is still open" in caught.value.__notes__[0]
    assert "cleanup_uploads" in caught.value.__notes__[0]


async def test_an_upload_of_a_stream_buffers_no_more_parts_than_allowed() -> None:
    class Forgetful(MemoryTransport):
        """Keeps the bodies of parts, as a transport with reference cycles does, but not their content."""

        async def upload_part(self, *arguments: Any) -> PartInfo:
            kept.append(arguments[4])
            info = await super().upload_part(*arguments)
            self.uploads[arguments[2]].parts[info.number] = b""
            return info

    kept: list[object] = []
    async with MemoryManager(SETTINGS) as s3:
        s3.transport.__class__ = Forgetful
        block = bytes(MIB)
        tracemalloc.start()
        try:
            await s3.upload_file("bucket", "key", repeated(block, 60))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert len(kept) == 12
    # Two parts, and the combined object of the test's transport.
    assert peak < 30 * MIB


async def repeated(block: bytes, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield block


@pytest.mark.parametrize("source", [b"small", CONTENT], ids=["small", "in parts"])
async def test_a_creation_whose_response_was_lost_is_recognised(s3: MemoryManager, source: bytes) -> None:
    s3.transport.after = failing("put" if source == b"small" else "complete_upload", 1)

    info = await s3.upload_file("bucket", "key", source, CREATE)

    assert info.size == len(source)
    assert s3.transport.objects["key"][1] == source
    assert s3.transport.uploads == {}


async def test_a_completion_whose_response_was_lost_is_recognised(s3: MemoryManager) -> None:
    s3.transport.after = failing("complete_upload", 1)

    info = await s3.upload_file("bucket", "key", CONTENT)

    assert info.etag == s3.transport.objects["key"][0].etag


async def test_an_object_created_by_another_account_remains_a_conflict_after_a_retry(s3: MemoryManager) -> None:
    def overtaken(verb: str, count: int) -> None:
        if (verb, count) == ("put", 1):
            s3.transport.store("key", b"others", UploadOptions(), '"others"')
            raise lost()

    s3.transport.before = overtaken

    with pytest.raises(PreconditionFailed):
        await s3.upload_file("bucket", "key", b"ours", CREATE)

    assert s3.transport.objects["key"][1] == b"others"


async def test_the_same_bytes_with_other_metadata_count_as_another_writers(s3: MemoryManager) -> None:
    def overtaken(verb: str, count: int) -> None:
        if (verb, count) == ("put", 1):
            s3.transport.store("key", b"same", UploadOptions(metadata={"writer": "other"}), '"etag"')
            raise lost()

    s3.transport.before = overtaken

    with pytest.raises(PreconditionFailed):
        await s3.upload_file("bucket", "key", b"same", UploadOptions(if_none_match="*", metadata={"writer": "me"}))


async def test_a_conflict_on_a_free_key_is_retried(s3: MemoryManager) -> None:
    s3.transport.before = failing("put", 1, error=refused(409, "ConditionalRequestConflict"))

    await s3.upload_file("bucket", "key", b"ours", CREATE)

    assert s3.transport.objects["key"][1] == b"ours"


async def test_a_conflict_won_by_another_writer_is_raised(s3: MemoryManager) -> None:
    s3.transport.store("key", b"others", UploadOptions(), '"others"')
    s3.transport.before = failing("put", *range(9), error=refused(409, "ConditionalRequestConflict"))

    with pytest.raises(PreconditionFailed):
        await s3.upload_file("bucket", "key", b"ours", CREATE)

    assert s3.transport.requests["put"] == 1


async def test_a_conflict_is_retried_while_its_condition_holds_until_attempts_run_out(s3: MemoryManager) -> None:
    s3.transport.store("key", b"first", UploadOptions(), '"first"')
    s3.transport.before = failing("put", *range(9), error=refused(409, "ConditionalRequestConflict"))

    with pytest.raises(ConditionalConflict):
        await s3.upload_file("bucket", "key", b"ours", UploadOptions(if_match='"first"'))

    assert s3.transport.requests["put"] == 3


# --------------------------------------------------------------------------------------------------------------
# Downloads


async def test_a_broken_body_is_resumed_where_it_broke(s3: MemoryManager) -> None:
    await s3.upload_file("bucket", "key", CONTENT)
    s3.transport.breaks = [3_000_000, 0, 2_000_000]

    async with s3.download_file("bucket", "key") as download:
        assert await download.read() == CONTENT

    assert s3.transport.requests["open"] == 4
    assert s3.transport.open_bodies == 0


async def test_a_body_that_breaks_without_progress_uses_up_the_attempts(s3: MemoryManager) -> None:
    await s3.upload_file("bucket", "key", b"x" * 500_000)
    s3.transport.breaks = [300_000, *[0] * 20]

    async with s3.download_file("bucket", "key") as download:
        with pytest.raises(ConnectionLost):
            await download.read()

    assert s3.transport.requests["open"] == 4
    assert s3.transport.open_bodies == 0
    assert s3.pool.stats().in_use == 0


@pytest.mark.parametrize("change", ["replaced", "deleted"])
async def test_a_resumed_body_never_mixes_two_versions_of_an_object(s3: MemoryManager, change: str) -> None:
    await s3.upload_file("bucket", "key", b"x" * 500_000)
    s3.transport.breaks = [300_000]

    async with s3.download_file("bucket", "key") as download:
        await anext(download)
        if change == "replaced":
            s3.transport.store("key", b"y" * 500_000, UploadOptions(), '"y"')
        else:
            del s3.transport.objects["key"]
        with pytest.raises(ObjectChanged, match="replaced or deleted"):
            await download.read()


async def test_a_cancelled_reader_closes_its_connection(s3: MemoryManager) -> None:
    await s3.upload_file("bucket", "key", b"x" * 500_000)
    download = await s3.download_file("bucket", "key")

    reading = asyncio.ensure_future(download.read())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert s3.transport.open_bodies == 0
    assert s3.pool.stats().in_use == 0


async def test_an_object_without_an_etag_is_not_resumed(s3: MemoryManager) -> None:
    info = s3.transport.store("key", b"x" * 500_000, UploadOptions(), "")
    s3.transport.objects["key"] = info._replace(etag=None), b"x" * 500_000
    s3.transport.breaks = [300_000]

    async with s3.download_file("bucket", "key") as download:
        with pytest.raises(ConnectionLost):
            await download.read()


async def test_a_file_downloaded_in_broken_ranges_is_complete(s3: MemoryManager, tmp_path: Path) -> None:
    await s3.upload_file("bucket", "key", CONTENT)
    s3.transport.breaks = [None, 500_000, 100_000, None, 0]

    await s3.download_to("bucket", "key", tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [MIB // 2, 6 * MIB], ids=["resumed", "in ranges"])
async def test_a_file_that_does_not_match_its_checksum_is_not_kept(
    s3: MemoryManager, tmp_path: Path, size: int
) -> None:
    info = s3.transport.store("key", CONTENT[:size], UploadOptions(), '"key"')
    right = {"crc32": checksum("crc32", CONTENT[:size])}
    s3.transport.objects["key"] = info._replace(checksums=right), CONTENT[:size]
    s3.transport.breaks = [300_000]
    await s3.download_to("bucket", "key", tmp_path / "right")
    s3.transport.objects["key"] = info._replace(checksums=right), CONTENT[: size - 1] + bytes([CONTENT[size - 1] ^ 1])
    s3.transport.breaks = [300_000]

    with pytest.raises(IntegrityError, match="crc32"):
        await s3.download_to("bucket", "key", tmp_path / "wrong")

    assert names_in(tmp_path) == ["right"]


@pytest.mark.parametrize("algorithm", ["crc32", "sha256"])
async def test_the_checksum_of_an_object_read_in_ranges_is_verified(
    s3: MemoryManager, tmp_path: Path, algorithm: str
) -> None:
    info = s3.transport.store("key", CONTENT, UploadOptions(), '"key"')
    right = info._replace(checksums={algorithm: checksum(algorithm, CONTENT)})
    s3.transport.objects["key"] = right, CONTENT
    await s3.download_to("bucket", "key", tmp_path / "right")
    s3.transport.objects["key"] = right, CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])

    with pytest.raises(IntegrityError, match=algorithm):
        await s3.download_to("bucket", "key", tmp_path / "wrong")

    assert (tmp_path / "right").read_bytes() == CONTENT
    assert names_in(tmp_path) == ["right"]


@pytest.mark.parametrize("breaks", [None, 300_000, 500_000], ids=["unbroken", "resumed", "broken at the end"])
async def test_a_stream_that_does_not_match_its_checksum_ends_with_an_error(
    s3: MemoryManager, breaks: int | None
) -> None:
    content = b"x" * 500_000
    info = s3.transport.store("key", content, UploadOptions(), '"key"')
    s3.transport.objects["key"] = info._replace(checksums={"crc32": checksum("crc32", content)}), content
    s3.transport.breaks = [breaks]
    async with s3.download_file("bucket", "key") as download:
        assert await download.read() == content
    s3.transport.objects["key"] = s3.transport.objects["key"][0], content[:-1] + b"?"
    s3.transport.breaks = [breaks]

    async with s3.download_file("bucket", "key") as download:
        with pytest.raises(IntegrityError, match="crc32"):
            await download.read()


async def test_a_range_is_not_checked_against_the_checksum_of_the_whole(s3: MemoryManager) -> None:
    info = s3.transport.store("key", b"content", UploadOptions(), '"key"')
    s3.transport.objects["key"] = info._replace(checksums={"crc32": checksum("crc32", b"content")}), b"content"

    async with s3.download_file("bucket", "key", ReadOptions(range=(0, 3))) as download:
        assert await download.read() == b"con"


async def test_an_object_that_changes_between_ranges_leaves_no_file(s3: MemoryManager, tmp_path: Path) -> None:
    await s3.upload_file("bucket", "key", CONTENT)

    def change(verb: str, count: int) -> None:
        if (verb, count) == ("open", 4):
            s3.transport.store("key", CONTENT[::-1], UploadOptions(), '"other"')

    s3.transport.before = change

    with pytest.raises(ObjectChanged):
        await s3.download_to("bucket", "key", tmp_path / "file")

    assert names_in(tmp_path) == []
    assert s3.transport.open_bodies == 0


# --------------------------------------------------------------------------------------------------------------
# Copies, moves, deletions


async def test_an_object_that_is_too_large_for_one_copy_is_copied_in_parts(s3: MemoryManager) -> None:
    await s3.upload_file("bucket", "from", CONTENT, UploadOptions(metadata={"author": "me"}))
    s3.transport.largest_copy = 1000

    copied = await s3.copy_file(
        "bucket", "from", "bucket", "to", CopyOptions(replace=UploadOptions(metadata={"n": "1"}))
    )

    assert s3.transport.requests["copy_part"] == 3
    assert s3.transport.objects["to"][1] == CONTENT
    assert copied.metadata == {"n": "1"}


async def test_a_copy_in_parts_never_mixes_two_versions_of_its_source(s3: MemoryManager) -> None:
    await s3.upload_file("bucket", "from", CONTENT)

    def change(verb: str, count: int) -> None:
        if (verb, count) == ("copy_part", 2):
            s3.transport.store("from", CONTENT[::-1], UploadOptions(), '"other"')

    s3.transport.before = change

    with pytest.raises(ObjectChanged, match="the source was replaced"):
        await s3.move_file("bucket", "from", "bucket", "to", CopyOptions(replace=UploadOptions()))

    assert "to" not in s3.transport.objects
    assert s3.transport.uploads == {}


async def test_a_copy_whose_response_was_lost_is_recognised(s3: MemoryManager) -> None:
    await s3.upload_file("bucket", "from", b"content")
    s3.transport.after = failing("copy", 1)

    await s3.copy_file("bucket", "from", "bucket", "to", CopyOptions(if_none_match="*"))

    assert s3.transport.objects["to"][1] == b"content"


async def test_a_missing_bucket_of_a_copy_is_reported_although_the_other_cannot_be_asked(s3: MemoryManager) -> None:
    missing = refused(404, "NoSuchBucket")

    def fail(verb: str, count: int) -> None:
        raise missing() if verb == "copy" else lost()

    s3.transport.before = fail
    with pytest.raises(BucketNotFound, match="copy_file: bucket"):
        await s3.copy_file("source", "from", "target", "to")


async def test_a_move_succeeds_even_if_the_response_to_its_deletion_is_lost(s3: MemoryManager) -> None:
    await s3.upload_file("bucket", "from", b"content")
    s3.transport.after = failing("delete", 1)

    await s3.move_file("bucket", "from", "bucket", "to")

    assert list(s3.transport.objects) == ["to"]


@pytest.mark.parametrize("verb", ["head", "copy", "delete"])
async def test_a_failed_move_keeps_the_object(s3: MemoryManager, verb: str) -> None:
    await s3.upload_file("bucket", "from", b"content")
    s3.transport.before = failing(verb, *range(1, 100), error=refused(403, "AccessDenied"))

    with pytest.raises(AccessDenied):
        await s3.move_file("bucket", "from", "bucket", "to")

    assert s3.transport.objects["from"][1] == b"content"


async def test_the_source_of_a_move_stays_if_the_copy_is_gone_or_is_too_short(s3: MemoryManager) -> None:
    await s3.upload_file("bucket", "from", b"content")

    def vanish(verb: str, count: int) -> None:
        if verb == "copy":
            del s3.transport.objects["to"]

    def shrink(verb: str, count: int) -> None:
        if verb == "copy":
            info, body = s3.transport.objects["to"]
            s3.transport.objects["to"] = info._replace(size=1), body[:1]

    for after, error in ((vanish, ObjectChanged), (shrink, IntegrityError)):
        s3.transport.after = after
        with pytest.raises(error, match="the source was left"):
            await s3.move_file("bucket", "from", "bucket", "to")
        assert s3.transport.objects["from"][1] == b"content"


async def test_only_the_keys_that_s3_was_too_busy_for_are_retried(s3: MemoryManager) -> None:
    report = await s3.delete_files("bucket", ["a", "busy", "locked"])

    assert [outcome.key for outcome in report.deleted] == ["a", "busy"]
    assert [(failure.key, failure.s3_code) for failure in report.failed] == [("locked", "AccessDenied")]
    assert s3.transport.requests["delete_many"] == 2


async def test_a_failed_batch_among_others_is_reported_per_key(s3: MemoryManager) -> None:
    s3.transport.before = failing("delete_many", 2, error=refused(403, "AccessDenied"))

    report = await s3.delete_files("bucket", [f"{number:04}" for number in range(1500)])

    assert len(report.deleted) == 1000
    assert [failure.s3_code for failure in report.failed] == ["AccessDenied"] * 500


async def test_the_failure_of_a_single_batch_is_raised(s3: MemoryManager) -> None:
    s3.transport.before = failing("delete_many", *range(9), error=refused(503, "SlowDown"))

    with pytest.raises(Throttled):
        await s3.delete_files("bucket", ["a"])


async def test_a_head_request_reports_an_unavailable_server(s3: MemoryManager) -> None:
    s3.transport.before = failing("head", *range(9), error=refused(503, ""))

    with pytest.raises(ServiceUnavailable):
        await s3.file_exists("bucket", "key")


# --------------------------------------------------------------------------------------------------------------
# Cancellation


Work = Callable[[S3Manager], Awaitable[object]]


@asynccontextmanager
async def world() -> AsyncIterator[MemoryManager]:
    async with MemoryManager(SETTINGS) as s3:
        for key in ("large", "old"):
            s3.transport.store(key, CONTENT[: 6 * MIB], UploadOptions(content_type="a/b"), f'"{key}"')
        yield s3


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(lambda s3: s3.upload_file("bucket", "key", b"small"), id="put"),
        pytest.param(lambda s3: s3.upload_file("bucket", "key", CONTENT), id="bytes"),
        pytest.param(lambda s3: s3.upload_file("bucket", "key", pieces()), id="stream"),
        pytest.param(
            lambda s3: s3.copy_file("bucket", "large", "bucket", "key", CopyOptions(replace=UploadOptions())), id="copy"
        ),
        pytest.param(
            lambda s3: s3.move_file("bucket", "large", "bucket", "key", CopyOptions(replace=UploadOptions())), id="move"
        ),
    ],
)
async def test_a_write_cancelled_anywhere_leaves_all_or_nothing(work: Work) -> None:
    turns = 0
    async for turn, s3 in cancelled_everywhere(world, work):
        turns = turn
        assert s3.transport.uploads == {}, turn
        assert s3.pool.stats().in_use == 0, turn
        stored = s3.transport.objects.get("key")
        assert stored is None or stored[1] in {b"small", CONTENT, CONTENT[: 6 * MIB]}, turn
        assert stored is not None or "large" in s3.transport.objects, turn

    assert turns > 2


@pytest.mark.parametrize("kind", ["stream", "file"])
async def test_a_download_cancelled_anywhere_leaves_nothing(kind: str, tmp_path: Path) -> None:
    async def work(s3: S3Manager) -> None:
        if kind == "file":
            await s3.download_to("bucket", "large", tmp_path / "file")
        else:
            async with s3.download_file("bucket", "large") as download:
                await download.read()

    turns = 0
    async for turn, s3 in cancelled_everywhere(world, work):
        turns = turn
        assert s3.transport.open_bodies == 0, turn
        assert s3.pool.stats().in_use == 0, turn
        left = names_in(tmp_path)
        assert left in ([], ["file"]), turn
        if left:
            assert (tmp_path / "file").read_bytes() == CONTENT[: 6 * MIB]
            (tmp_path / "file").unlink()

    assert turns > 10
