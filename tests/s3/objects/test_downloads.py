"""Reading large objects: as a stream, and into a file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random
from unittest import mock

import pytest

from apm_s3 import BucketNotFound, ObjectNotFound, ReadOptions, S3Manager, S3Settings, Timeouts, TransferSettings
from apm_s3.errors import DeadlineExceeded, InvalidOption, ObjectChanged, UsageError
from tests.faults.virtual_time import VirtualTimeLoop, run_in_virtual_time
from tests.managers import make_manager
from tests.memory_transport import MemoryBody, MemoryManager
from tests.seams.s3 import let_deadlines_pass
from tests.servers import Server

KIB = 1024
SETTINGS = S3Settings(max_concurrency=4, transfer=TransferSettings(range_size=64 * KIB, parallel_parts=3))
CONTENT = Random(1).randbytes(700 * KIB + 5)


@pytest.fixture
async def s3(server: Server, data_path: str) -> AsyncIterator[S3Manager]:
    """A manager whose ranges are small."""
    async with make_manager(server, replace(SETTINGS, data_path=data_path)) as manager:
        yield manager


@pytest.fixture
async def stored(s3: S3Manager, bucket: str) -> str:
    """A bucket with an object named "key"."""
    await s3.upload_file(bucket, "key", CONTENT)
    return bucket


async def test_a_download_yields_the_object_in_pieces(s3: S3Manager, stored: str) -> None:
    async with s3.download_file(stored, "key") as download:
        pieces = [piece async for piece in download]

    assert b"".join(pieces) == CONTENT
    assert len(pieces) > 1
    assert (download.info.key, download.info.size, download.length) == ("key", len(CONTENT), len(CONTENT))


async def test_a_download_can_be_awaited_and_read_at_once(s3: S3Manager, stored: str) -> None:
    download = await s3.download_file(stored, "key")

    assert await download.read() == CONTENT
    assert await download.read() == b""


async def test_read_returns_the_rest_of_the_body(s3: S3Manager, stored: str) -> None:
    async with s3.download_file(stored, "key") as download:
        first = await anext(download)

        assert first + await download.read() == CONTENT


async def test_a_range_can_be_streamed(s3: S3Manager, stored: str) -> None:
    async with s3.download_file(stored, "key", ReadOptions(range=(10, 300_000))) as download:
        assert await download.read() == CONTENT[10:300_000]
        assert (download.length, download.info.size) == (299_990, len(CONTENT))


async def test_a_stream_of_an_empty_object_is_empty(s3: S3Manager, bucket: str) -> None:
    await s3.upload_file(bucket, "empty", b"")

    async with s3.download_file(bucket, "empty") as download:
        assert [piece async for piece in download] == []


async def test_a_missing_key_and_a_missing_bucket_are_distinguished_in_downloads(s3: S3Manager, bucket: str) -> None:
    with pytest.raises(ObjectNotFound):
        await s3.download_file(bucket, "nothing")
    with pytest.raises(BucketNotFound):
        await s3.download_file(f"{bucket}-not", "nothing")


async def test_a_download_is_read_only_while_it_is_open(s3: S3Manager, stored: str) -> None:
    download = s3.download_file(stored, "key")
    with pytest.raises(UsageError, match="not open"):
        await anext(download)
    with pytest.raises(UsageError, match="not open"):
        _ = download.info

    async with download:
        await anext(download)
    with pytest.raises(UsageError, match="not open"):
        await anext(download)


async def test_unread_bodies_cannot_starve_the_pool(s3: S3Manager, stored: str) -> None:
    held = [await s3.download_file(stored, "key") for _ in range(8)]
    for download in held:
        await anext(download)

    assert await asyncio.wait_for(s3.read_file(stored, "key"), 20) == CONTENT

    for download in held:
        await download.aclose()
    assert s3.pool.stats().in_use == 0


async def test_a_cancelled_reader_returns_its_slot(s3: S3Manager, stored: str) -> None:
    begun = asyncio.Event()

    async def read() -> None:
        async with s3.download_file(stored, "key") as download:
            await anext(download)
            begun.set()
            await asyncio.Event().wait()

    reading = asyncio.create_task(read())
    await begun.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert s3.pool.stats().in_use == 0


async def test_the_timeout_covers_the_body(s3: S3Manager, stored: str) -> None:
    download = await s3.download_file(stored, "key", ReadOptions(timeout=60))
    blocked = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(hold_a_slot(s3, blocked))
        await asyncio.sleep(0)
        reading = asyncio.create_task(download.read())
        while not s3.pool.stats().waiting:  # noqa: ASYNC110 - the pool tells nobody
            await asyncio.sleep(0)
        let_deadlines_pass(s3)
        with pytest.raises(DeadlineExceeded, match="not read within"):
            await reading
        blocked.set()


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def hold_a_slot(s3: S3Manager, until: asyncio.Event) -> None:
    async with s3.pool.slot():
        await until.wait()


@pytest.mark.parametrize("size", [0, 1, 64 * KIB, 64 * KIB + 1, 700 * KIB + 5])
async def test_an_object_is_downloaded_to_a_file(s3: S3Manager, bucket: str, tmp_path: Path, size: int) -> None:
    await s3.upload_file(bucket, "key", CONTENT[:size])

    info = await s3.download_to(bucket, "key", tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == CONTENT[:size]
    assert (info.key, info.size) == ("key", size)
    assert names_in(tmp_path) == ["file"]


async def test_an_existing_file_is_replaced(s3: S3Manager, stored: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")

    await s3.download_to(stored, "key", str(tmp_path / "file"))

    assert (tmp_path / "file").read_bytes() == CONTENT


async def test_a_failed_download_leaves_the_old_file(s3: S3Manager, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")

    with pytest.raises(ObjectNotFound):
        await s3.download_to(bucket, "nothing", tmp_path / "file")

    assert names_in(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


async def test_an_unusable_path_is_refused_before_anything_is_sent(s3: S3Manager, stored: str, tmp_path: Path) -> None:
    s3.metrics.reset()

    with pytest.raises(FileNotFoundError):
        await s3.download_to(stored, "key", tmp_path / "missing" / "file")
    with pytest.raises(IsADirectoryError):
        await s3.download_to(stored, "key", tmp_path)
    with pytest.raises(InvalidOption, match="whole objects"):
        await s3.download_to(stored, "key", tmp_path / "file", ReadOptions(range=(0, 1)))

    assert s3.metrics.snapshot().overall.total == 0
    assert names_in(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs")
async def test_a_device_or_pipe_is_never_replaced_by_a_download(s3: S3Manager, stored: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path / "pipe", Path("/dev/no-such-device"), Path("/tmp/../dev/no-such-device")):
        with pytest.raises(InvalidOption, match="would be replaced"):
            await s3.download_to(stored, "key", path)

    assert (tmp_path / "pipe").is_fifo()
    assert names_in(tmp_path) == ["pipe"]


async def test_a_cancelled_download_leaves_no_file(server: Server, stored: str, tmp_path: Path) -> None:
    def cancel(event: object) -> None:
        task.cancel()

    async with make_manager(server, SETTINGS, hooks=[cancel]) as s3:
        task = asyncio.create_task(s3.download_to(stored, "key", tmp_path / "file"))
        with pytest.raises(asyncio.CancelledError):
            await task

        assert s3.pool.stats().in_use == 0
    assert names_in(tmp_path) == []


def test_a_body_that_stops_coming_ends_at_the_deadline_of_the_manager() -> None:
    async def never(_: MemoryBody) -> AsyncIterator[bytes]:
        await asyncio.get_running_loop().create_future()
        yield b""

    async def main(loop: VirtualTimeLoop) -> float:
        async with MemoryManager(S3Settings(timeouts=Timeouts(deadline=8))) as s3:
            await s3.upload_file("bucket", "key", b"content")
            with mock.patch.object(MemoryBody, "__aiter__", never):
                async with s3.download_file("bucket", "key") as download:
                    began = loop.time()
                    with pytest.raises(DeadlineExceeded, match="0 of 7 bytes came"):
                        await download.read()
                    return loop.time() - began

    assert run_in_virtual_time(main) == pytest.approx(8, abs=0.5)


async def test_a_server_that_goes_on_with_another_object_in_spite_of_the_condition_is_noticed() -> None:
    async with MemoryManager(S3Settings()) as s3:
        await s3.upload_file("bucket", "key", CONTENT)
        s3.transport.breaks.append(10)
        opened = s3.transport.open

        async def another(bucket: str, key: str, options: ReadOptions) -> MemoryBody:
            body = await opened(bucket, key, options)
            body.info = body.info._replace(etag='"another"')
            return body

        async with s3.download_file("bucket", "key") as download:
            with mock.patch.object(s3.transport, "open", another), pytest.raises(ObjectChanged):
                await download.read()
