"""Large uploads: parallel parts, all or nothing, and no upload left open."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from apm_s3 import PreconditionFailed, S3Manager, S3Settings, TransferSettings, UploadOptions
from apm_s3.errors import InvalidOption, ObjectChanged
from apm_s3.models import UploadInfo
from apm_s3.options import ListOptions
from tests.managers import make_manager
from tests.seams.s3 import transport_of
from tests.servers import Server

MIB = 1024**2
SETTINGS = S3Settings(transfer=TransferSettings(multipart_threshold=5 * MIB, part_size=5 * MIB, parallel_parts=2))
CONTENT = Random(1).randbytes(1000) * (11 * MIB // 1000) + b"end"


@pytest.fixture
async def s3(server: Server, data_path: str) -> AsyncIterator[S3Manager]:
    """A manager that sends parts from 5 MiB on."""
    async with make_manager(server, replace(SETTINGS, data_path=data_path)) as manager:
        yield manager


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of three parts."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def own(uploads: Iterable[UploadInfo]) -> list[UploadInfo]:
    """The uploads of the test, without the one with which the manager may be probing the server's checksums."""
    return [upload for upload in uploads if not upload.key.startswith(".apm-s3-checksum-probe-")]


async def open_uploads(s3: S3Manager, bucket: str) -> int:
    return len(own(await transport_of(s3).list_uploads(bucket, ListOptions())))


async def pieces(size: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(CONTENT), size):
        yield CONTENT[start : start + size]


def parts_sent(s3: S3Manager) -> int:
    return s3.metrics.snapshot().operations["upload_part"].successes


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "path", "file", "iterable"])
async def test_large_content_round_trips(s3: S3Manager, bucket: str, file: Path, kind: str) -> None:
    source = {
        "bytes": lambda: CONTENT,
        "bytearray": lambda: bytearray(CONTENT),
        "path": lambda: file,
        "file": lambda: io.BytesIO(CONTENT),
        "iterable": pieces,
    }[kind]()
    options = UploadOptions(metadata={"author": "me"}, content_type="text/x-large")

    info = await s3.upload_file(bucket, "key", source, options)

    assert parts_sent(s3) == 3
    seen = await s3.head_file(bucket, "key")
    assert info.size == seen.size == len(CONTENT)
    assert (seen.content_type, seen.metadata, seen.etag) == ("text/x-large", {"author": "me"}, info.etag)
    assert await s3.read_file(bucket, "key") == CONTENT
    assert await open_uploads(s3, bucket) == 0


async def test_a_small_stream_is_sent_in_one_request(s3: S3Manager, bucket: str) -> None:
    async def small() -> AsyncIterator[bytes]:
        yield b"small"

    await s3.upload_file(bucket, "key", small())

    assert "upload_part" not in s3.metrics.snapshot().operations
    assert await s3.read_file(bucket, "key") == b"small"


async def test_a_failing_stream_leaves_nothing(s3: S3Manager, bucket: str) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield CONTENT
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        await s3.upload_file(bucket, "key", failing())

    assert not await s3.file_exists(bucket, "key")
    assert await open_uploads(s3, bucket) == 0


async def test_a_stream_of_text_leaves_nothing(s3: S3Manager, bucket: str) -> None:
    async def text() -> AsyncIterator[object]:
        yield CONTENT
        yield "text"

    with pytest.raises(InvalidOption, match="returned str instead of bytes"):
        await s3.upload_file(bucket, "key", text())

    assert await open_uploads(s3, bucket) == 0


async def test_the_source_generator_is_closed_after_a_failure(s3: S3Manager, bucket: str) -> None:
    closed = []

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            yield "not bytes"
        finally:
            closed.append(True)

    with pytest.raises(InvalidOption):
        await s3.upload_file(bucket, "key", source())

    assert closed == [True]


async def test_a_cancelled_upload_leaves_nothing(s3: S3Manager, bucket: str) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield CONTENT
        begun.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(s3.upload_file(bucket, "key", endless()))
    await begun.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload

    assert not await s3.file_exists(bucket, "key")
    assert await open_uploads(s3, bucket) == 0


async def test_a_file_overwritten_during_its_upload_is_an_error(server: Server, bucket: str, file: Path) -> None:
    def overwrite(event: object) -> None:
        if event.operation == "create_upload":
            file.write_bytes(CONTENT[::-1])

    async with make_manager(server, SETTINGS, hooks=[overwrite]) as s3:
        with pytest.raises(ObjectChanged, match="changed while it was being uploaded"):
            await s3.upload_file(bucket, "key", file)

        assert not await s3.file_exists(bucket, "key")
        assert await open_uploads(s3, bucket) == 0


async def test_a_file_that_changes_after_its_first_part_is_an_error(server: Server, bucket: str, file: Path) -> None:
    def grow(event: object) -> None:
        if event.operation == "upload_part":
            with file.open("ab") as writer:
                writer.write(b"more")

    async with make_manager(server, SETTINGS, hooks=[grow]) as s3:
        with pytest.raises(ObjectChanged):
            await s3.upload_file(bucket, "key", file)

        assert not await s3.file_exists(bucket, "key")


async def test_a_missing_file_raises_file_not_found_error(s3: S3Manager, bucket: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await s3.upload_file(bucket, "key", tmp_path / "missing")


async def test_a_folder_and_a_pipe_are_refused(s3: S3Manager, bucket: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(IsADirectoryError):
        await s3.upload_file(bucket, "key", tmp_path)
    with pytest.raises(InvalidOption, match="not a regular file"):
        await s3.upload_file(bucket, "key", tmp_path / "pipe")


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)  # moto ignores the condition
async def test_create_only_also_protects_large_objects(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "key", b"first")

    with pytest.raises(PreconditionFailed):
        await s3.upload_file(bucket, "key", CONTENT, UploadOptions(if_none_match="*"))

    assert await s3.read_file(bucket, "key") == b"first"
    assert await open_uploads(s3, bucket) == 0


async def test_an_interrupted_upload_resumes_from_its_parts(s3: S3Manager, bucket: str, file: Path) -> None:
    transport = transport_of(s3)
    upload_id = await transport.create_upload(bucket, "key", UploadOptions())
    await transport.upload_part(bucket, "key", upload_id, 1, CONTENT[: 5 * MIB], UploadOptions())
    await transport.upload_part(bucket, "key", upload_id, 2, b"x" * 5 * MIB, UploadOptions())

    await s3.upload_file(bucket, "key", file, resume=True)

    assert parts_sent(s3) == 2  # the second was not the file's
    assert await s3.read_file(bucket, "key") == CONTENT
    assert await open_uploads(s3, bucket) == 0


async def test_a_resumable_upload_that_fails_keeps_its_parts(server: Server, bucket: str, file: Path) -> None:
    def touch(event: object) -> None:
        if event.operation == "upload_part":
            os.utime(file)

    async with make_manager(server, SETTINGS, hooks=[touch]) as s3:
        with pytest.raises(ObjectChanged):
            await s3.upload_file(bucket, "key", file, resume=True)

        assert await open_uploads(s3, bucket) == 1

    async with make_manager(server, SETTINGS) as s3:
        await s3.upload_file(bucket, "key", file, resume=True)

        assert parts_sent(s3) < 3
        assert await s3.read_file(bucket, "key") == CONTENT


async def test_only_a_path_can_be_resumed(s3: S3Manager, bucket: str) -> None:
    with pytest.raises(InvalidOption, match="resume needs a path"):
        await s3.upload_file(bucket, "key", b"bytes", resume=True)


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)  # moto says that every upload began in 2010
async def test_orphaned_uploads_are_cleaned_up_by_age(s3: S3Manager, bucket: str) -> None:
    upload_id = await transport_of(s3).create_upload(bucket, "some/key", UploadOptions())

    young = await s3.cleanup_uploads(bucket, timedelta(days=1))
    elsewhere = await s3.cleanup_uploads(bucket, timedelta(0), prefix="other/")
    gone = await s3.cleanup_uploads(bucket, timedelta(0))

    assert (young, elsewhere) == ((), ())
    assert [(upload.key, upload.upload_id) for upload in own(gone)] == [("some/key", upload_id)]
    assert await open_uploads(s3, bucket) == 0
