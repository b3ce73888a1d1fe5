"""The life of a manager: no I/O before it is opened, nothing left after it is closed, one event loop."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest
from aiobotocore.session import get_session

import apm_s3
from apm_s3 import S3Manager, S3Settings
from apm_s3.errors import InvalidOption, ManagerClosed, WrongEventLoop
from tests.managers import make_manager
from tests.servers import Server


@pytest.mark.parametrize(
    "url", ["localhost:9000", "", "http://", "http://u:hunter2@localhost", "u:hunter2@h", "http://h:x"]
)
def test_an_invalid_endpoint_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(InvalidOption, match="endpoint_url") as refused:
        S3Manager(endpoint_url=url)

    assert "hunter2" not in str(refused.value)


def test_making_a_manager_needs_neither_an_event_loop_nor_a_server() -> None:
    manager = S3Manager(endpoint_url="http://127.0.0.1:1")

    assert manager.metrics.snapshot().overall.total == 0
    assert manager.pool.stats().in_use == 0


async def test_a_call_before_opening_says_how_to_open() -> None:
    with pytest.raises(ManagerClosed, match="async with S3Manager"):
        await S3Manager().read_file("bucket", "key")


async def test_a_call_after_closing_is_refused(server: Server, bucket: str) -> None:
    async with make_manager(server) as s3:
        await s3.upload_file(bucket, "key", b"value")

    with pytest.raises(ManagerClosed, match="was closed"):
        await s3.read_file(bucket, "key")


async def test_a_closed_manager_cannot_be_reopened(moto: Server) -> None:
    s3 = await make_manager(moto).open()
    await s3.aclose()

    with pytest.raises(ManagerClosed, match="Create a new one"):
        await s3.open()


async def test_opening_and_closing_twice_is_harmless(server: Server, bucket: str) -> None:
    s3 = await make_manager(server).open()
    async with s3:
        await s3.upload_file(bucket, "key", b"value")
    await s3.aclose()

    await asyncio.gather(s3.aclose(), s3.aclose())


async def test_a_cancelled_close_still_closes_everything(server: Server, bucket: str) -> None:
    s3 = await make_manager(server).open()
    await s3.upload_file(bucket, "key", b"value")

    closing = asyncio.create_task(s3.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing

    await s3.aclose()


async def test_calls_in_progress_stop_when_the_manager_is_closed(server: Server, bucket: str, data_path: str) -> None:
    settings = S3Settings(data_path=data_path, max_concurrency=4)
    s3 = await make_manager(server, settings).open()
    await s3.upload_file(bucket, "key", b"x" * 1_000_000)

    calls = [asyncio.create_task(s3.read_file(bucket, "key")) for _ in range(40)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    await s3.aclose()
    results = await asyncio.gather(*calls, return_exceptions=True)

    assert {type(result) for result in results} == {bytes, ManagerClosed}
    assert s3.pool.stats().in_use == 0


async def test_calls_and_close_refuse_another_event_loop(moto: Server) -> None:
    async with make_manager(moto) as s3:

        async def use() -> None:
            with pytest.raises(WrongEventLoop, match="one S3Manager per event loop"):
                await s3.read_file("bucket", "key")
            with pytest.raises(WrongEventLoop):
                await s3.aclose()

        await asyncio.to_thread(asyncio.run, use())


async def test_a_manager_that_is_left_open_warns_as_soon_as_it_is_dropped(moto: Server) -> None:
    s3 = await make_manager(moto).open()
    gc.collect()

    gc.disable()  # a reference cycle would leave it to the collector
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        del s3
    gc.enable()

    assert ["unclosed <S3Manager" in str(warning.message) for warning in heard] == [True]


async def test_a_shared_session_stays_usable_after_the_manager_is_closed(server: Server, bucket: str) -> None:
    session = get_session()
    session.set_credentials(server.credentials.key_id, server.credentials.secret)

    for number in range(2):
        async with make_manager(server, session=session, credentials=None) as s3:
            await s3.upload_file(bucket, f"key-{number}", b"value")
            assert await s3.read_file(bucket, f"key-{number}") == b"value"


async def test_an_aioboto3_session_can_be_shared(server: Server, bucket: str) -> None:
    aioboto3 = pytest.importorskip("aioboto3", reason="aioboto3 pins an old aiobotocore; nox -s tests_old has it")
    session = aioboto3.Session(server.credentials.key_id, server.credentials.secret, region_name=server.region)

    async with make_manager(server, session=session, credentials=None) as s3:
        await s3.upload_file(bucket, "key", b"value")
        assert await s3.read_file(bucket, "key") == b"value"


async def test_a_hundred_concurrent_first_calls_share_one_client(server: Server, bucket: str) -> None:
    async with make_manager(server) as s3:
        await asyncio.gather(*(s3.upload_file(bucket, f"key-{number}", b"value") for number in range(100)))

        assert s3.metrics.snapshot().operations["upload_file"].successes == 100


async def test_metrics_count_operations_and_bytes(server: Server, bucket: str) -> None:
    async with make_manager(server) as s3:
        await s3.upload_file(bucket, "key", b"value")
        await s3.read_file(bucket, "key")

        operations = s3.metrics.snapshot().operations
        assert operations["upload_file"].bytes_sent == 5
        assert operations["read_file"].bytes_received == 5


async def test_hooks_are_called_for_every_operation(server: Server, bucket: str) -> None:
    heard = []
    async with make_manager(server, hooks=[heard.append]) as s3:
        await s3.upload_file(bucket, "key", b"value")

    assert [(event.operation, event.bucket, event.key) for event in heard] == [("upload_file", bucket, "key")]


def test_the_repr_contains_no_secret() -> None:
    credentials = apm_s3.Credentials("AKID", "the-secret", "the-token")

    shown = repr(S3Manager(credentials=credentials)) + repr(credentials)

    assert "the-secret" not in shown
    assert "the-token" not in shown
