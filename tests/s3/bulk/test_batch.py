"""Batches: their results and order, what ends them, and how much memory they use."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from apm_s3 import CopyOptions, DeleteOptions, ReadOptions, S3Settings, UploadOptions
from apm_s3.batch import (
    BatchProgress,
    BatchResult,
    CopyOp,
    DeleteOp,
    DownloadOp,
    HeadOp,
    MoveOp,
    Operation,
    OperationResult,
    UploadOp,
)
from apm_s3.errors import (
    ApmS3Error,
    BatchError,
    DeadlineExceeded,
    InvalidKey,
    InvalidOption,
    ManagerClosed,
    ObjectNotFound,
    PreconditionFailed,
)
from apm_s3.models import DeleteOutcome
from tests.memory_transport import MemoryManager
from tests.seams.s3 import gather_deletions_for

LIMIT = 1.0
"""Seconds after which hanging operations end: far more than others take, even on a busy machine."""


@pytest.fixture
async def s3() -> AsyncIterator[MemoryManager]:
    """A manager whose objects are in memory."""
    async with MemoryManager(S3Settings(max_concurrency=8)) as manager:
        yield manager


def uploads(count: int) -> Iterator[UploadOp]:
    return (UploadOp("bucket", f"k{number}", b"%d" % number) for number in range(count))


async def as_they_come(operations: Iterator[Operation]) -> AsyncIterator[Operation]:
    for operation in operations:
        await asyncio.sleep(0)
        yield operation


async def test_results_are_in_the_order_of_the_operations(s3: MemoryManager) -> None:
    operations = list(uploads(100))

    results = await s3.batch(operations)

    assert results.ok
    assert [result.operation for result in results] == operations
    assert [result.position for result in results] == list(range(100))
    assert results[3].result == await s3.head_file("bucket", "k3")


async def test_one_batch_can_contain_all_kinds_of_operations(s3: MemoryManager, tmp_path: Path) -> None:
    for key in ("a", "b", "c", "d"):
        await s3.upload_file("bucket", key, key.encode())

    uploaded, downloaded, copied, moved, deleted, told = await s3.batch(
        [
            UploadOp("bucket", "new", b"new", UploadOptions(metadata={"one": "two"})),
            DownloadOp("bucket", "a", to=tmp_path / "a"),
            CopyOp("bucket", "a", "bucket", "copy"),
            MoveOp("bucket", "b", "bucket", "moved"),
            DeleteOp("bucket", "c"),
            HeadOp("bucket", "d"),
        ]
    )

    assert uploaded.result.metadata == {"one": "two"}
    assert (downloaded.result.size, (tmp_path / "a").read_bytes()) == (1, b"a")
    assert (copied.result.key, moved.result.key, deleted.result.key, told.result.key) == ("copy", "moved", "c", "d")
    assert set(s3.transport.objects) == {"a", "copy", "d", "moved", "new"}


async def test_a_failure_stops_nothing(s3: MemoryManager) -> None:
    operations = [HeadOp("bucket", "none"), UploadOp("bucket", "", b""), *uploads(20), DownloadOp("bucket", "k1")]

    results = await s3.batch(operations)

    assert [result.position for result in results.failed] == [0, 1, 22]
    assert [type(result.error) for result in results.failed] == [ObjectNotFound, InvalidKey, InvalidOption]
    assert len(results.succeeded) == 20
    assert not results.ok


async def test_raise_for_failures_raises_every_failure(s3: MemoryManager) -> None:
    results = await s3.batch([*uploads(2), HeadOp("bucket", "none"), HeadOp("bucket", "neither")])

    with pytest.raises(BatchError, match=r"2 of 4 operations failed, the first is HeadOp of 'bucket/none'") as failed:
        results.raise_for_failures()

    assert failed.value.failures == {"2": results[2].error, "3": results[3].error}
    (await s3.batch(uploads(2))).raise_for_failures()


async def test_an_empty_batch_succeeds(s3: MemoryManager) -> None:
    results = await s3.batch([])

    assert (results.ok, len(results), list(results)) == (True, 0, [])
    assert [result async for result in s3.batch_iter([])] == []


@pytest.mark.parametrize("lazily", [False, True])
async def test_deletions_are_grouped_a_thousand_per_request(s3: MemoryManager, lazily: bool) -> None:
    await s3.batch(uploads(2500))
    deletions: Any = (DeleteOp("bucket", f"k{number}") for number in range(2500))

    results = await s3.batch(as_they_come(deletions) if lazily else deletions)

    assert results.ok
    assert [result.result.key for result in results] == [f"k{number}" for number in range(2500)]
    assert s3.transport.objects == {}
    assert (s3.transport.requests["delete_many"], s3.transport.requests["delete"]) == (3, 0)


async def test_a_failed_deletion_does_not_affect_its_group(s3: MemoryManager) -> None:
    await s3.batch([UploadOp("bucket", key, b"") for key in ("a", "locked", "b")])

    results = await s3.batch([DeleteOp("bucket", key) for key in ("a", "locked", "b", "a")])

    assert [result.success for result in results] == [True, False, True, True]
    assert "AccessDenied" in str(results[1].error)
    assert s3.transport.requests["delete_many"] == 1


async def test_a_refused_deletion_does_not_affect_the_others(s3: MemoryManager) -> None:
    await s3.upload_file("bucket", "a", b"")

    results = await s3.batch([DeleteOp("bucket", "a"), DeleteOp("bucket", ""), DeleteOp("no/bucket", "a")])

    assert [result.success for result in results] == [True, False, False]


async def test_a_deletion_with_a_condition_is_sent_alone(s3: MemoryManager) -> None:
    info = await s3.upload_file("bucket", "a", b"")
    await s3.upload_file("bucket", "b", b"")

    results = await s3.batch(
        [
            DeleteOp("bucket", "a", DeleteOptions(if_match=info.etag)),
            DeleteOp("bucket", "b", DeleteOptions(if_match='"another"')),
        ]
    )

    assert [type(result.error) for result in results] == [type(None), PreconditionFailed]
    assert (s3.transport.requests["delete_many"], s3.transport.requests["delete"]) == (0, 2)


async def test_a_deletion_does_not_wait_forever_for_others(s3: MemoryManager, monkeypatch: pytest.MonkeyPatch) -> None:
    gather_deletions_for(monkeypatch, 0.01)
    come = asyncio.Event()

    async def source() -> AsyncIterator[Operation]:
        yield DeleteOp("bucket", "a")
        await come.wait()

    async with aclosing(s3.batch_iter(source())) as results:
        assert (await anext(results)).success
        come.set()
        assert [result async for result in results] == []


async def test_no_more_operations_run_at_once_than_the_concurrency_allows(s3: MemoryManager) -> None:
    under_way: set[str] = set()
    most = 0

    async def body(key: str) -> AsyncIterator[bytes]:
        nonlocal most
        under_way.add(key)
        most = max(most, len(under_way))
        for _ in range(5):
            await asyncio.sleep(0)
        yield b""
        under_way.discard(key)

    operations = (UploadOp("bucket", f"k{number}", body(f"k{number}")) for number in range(50))

    assert (await s3.batch(operations, concurrency=3)).ok
    assert most == 3


async def test_operations_are_pulled_only_when_they_can_start(s3: MemoryManager) -> None:
    taken = 0

    def endless() -> Iterator[Operation]:
        nonlocal taken
        while True:
            taken += 1
            yield UploadOp("bucket", "key", b"")

    for source in (endless, lambda: as_they_come(endless())):
        taken = 0
        async with aclosing(s3.batch_iter(source(), concurrency=4)) as results:
            await anext(results)
            for _ in range(100):
                await asyncio.sleep(0)
            assert taken <= 16


async def test_iterated_results_include_contents_but_listed_results_do_not(s3: MemoryManager) -> None:
    await s3.upload_file("bucket", "a", b"content")

    assert [result.result async for result in s3.batch_iter([DownloadOp("bucket", "a")])] == [b"content"]
    (result,) = await s3.batch([DownloadOp("bucket", "a")])
    assert "to=path" in str(result.error)
    assert s3.transport.requests["read"] == 1


async def test_a_list_of_results_releases_the_uploaded_sources(s3: MemoryManager) -> None:
    class Body(bytearray):
        pass

    bodies: list[weakref.ref[Body]] = []

    def operations() -> Iterator[UploadOp]:
        for number in range(20):
            body = Body(b"content")
            bodies.append(weakref.ref(body))
            yield UploadOp("bucket" if number % 2 else "other", f"k{number}", body)

    results = await s3.batch(operations())
    gc.collect()

    assert len(results.failed) == 10
    assert [body() for body in bodies] == [None] * 20
    assert {result.operation.source for result in results} == {None}


async def test_a_released_source_cannot_be_uploaded_by_mistake(s3: MemoryManager) -> None:
    results = await s3.batch(uploads(1))

    again = await s3.batch([result.operation for result in results])

    assert isinstance(again[0].error, InvalidOption)


async def test_progress_is_reported_after_each_operation(s3: MemoryManager) -> None:
    told: list[BatchProgress] = []

    await s3.batch([*uploads(3), HeadOp("bucket", "none")], concurrency=1, on_progress=told.append)

    assert told == [
        BatchProgress(1, 0, 1, 4), BatchProgress(2, 0, 2, 4), BatchProgress(3, 0, 3, 4), BatchProgress(4, 1, 3, 4)
    ]  # fmt: skip
    told.clear()
    await s3.batch(uploads(1), on_progress=told.append)
    assert told[0].total is None


async def test_a_failing_progress_callback_is_ignored(s3: MemoryManager) -> None:
    assert (await s3.batch(uploads(3), on_progress=lambda progress: 1 / 0)).ok


async def test_an_exception_of_the_iterator_stops_the_batch(s3: MemoryManager) -> None:
    def broken() -> Iterator[Operation]:
        yield from uploads(3)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        await s3.batch(broken())
    with pytest.raises(LookupError, match="no more"):
        await s3.batch(as_they_come(broken()))
    with pytest.raises(LookupError, match="no more"):
        [result async for result in s3.batch_iter(broken())]


async def test_an_exception_of_a_source_fails_only_its_operation(s3: MemoryManager, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise LookupError("no more")

    async def cancelled() -> AsyncIterator[bytes]:
        yield b"a"
        raise asyncio.CancelledError

    operations = [
        UploadOp("bucket", "a", broken()),
        UploadOp("bucket", "b", tmp_path / "none"),
        UploadOp("bucket", "c", cancelled()),
        UploadOp("bucket", "d", "text"),  # type: ignore[arg-type]
        UploadOp("bucket", "e", b""),
        "delete everything",
    ]

    results = await s3.batch(operations)  # type: ignore[arg-type]

    assert [type(result.error) for result in results] == [
        LookupError, FileNotFoundError, ApmS3Error, InvalidOption, type(None), InvalidOption
    ]  # fmt: skip
    assert set(s3.transport.objects) == {"e"}


async def test_an_async_iterator_is_read_and_closed_by_one_task(s3: MemoryManager) -> None:
    tasks = set()

    async def source() -> AsyncIterator[Operation]:
        try:
            async with asyncio.timeout(60):
                for operation in uploads(50):
                    tasks.add(asyncio.current_task())
                    await asyncio.sleep(0)
                    yield operation
        finally:
            tasks.add(asyncio.current_task())

    async with aclosing(s3.batch_iter(source())) as results:
        await anext(results)

    assert len(tasks) == 1


def hang(s3: MemoryManager, *keys: str) -> None:
    """Make uploads of `keys` hang."""
    put = s3.transport.put

    async def hanging(bucket: str, key: str, body: Any, options: UploadOptions) -> Any:
        if key in keys:
            await asyncio.Event().wait()
        return await put(bucket, key, body, options)

    s3.transport.put = hanging  # type: ignore[method-assign]


async def test_an_operation_has_its_own_time_limit(s3: MemoryManager) -> None:
    hang(s3, "k1")

    results = await s3.batch(uploads(4), operation_timeout=LIMIT)

    assert [result.success for result in results] == [True, False, True, True]
    assert isinstance(results[1].error, DeadlineExceeded)
    assert "operation_timeout" in str(results[1].error)


async def test_deletions_share_the_time_limit_of_their_request(s3: MemoryManager) -> None:
    async def never(*_: Any) -> Any:
        await asyncio.Event().wait()

    s3.transport.delete_many = never  # type: ignore[method-assign]

    results = await s3.batch([DeleteOp("bucket", "a"), DeleteOp("bucket", "b")], operation_timeout=LIMIT)

    assert [type(result.error) for result in results] == [DeadlineExceeded] * 2


async def test_deletions_in_progress_when_a_batch_times_out_may_have_been_carried_out(s3: MemoryManager) -> None:
    async def never(*_: Any) -> Any:
        await asyncio.Event().wait()

    s3.transport.delete_many = never  # type: ignore[method-assign]

    results = await s3.batch([DeleteOp("bucket", "a"), DeleteOp("bucket", "b")], timeout=LIMIT)

    errors = [result.error for result in results]
    assert [type(error) for error in errors] == [DeadlineExceeded] * 2
    assert [error.sent for error in errors] == [True, True]  # type: ignore[union-attr]
    assert [result.operation.key for result in results] == ["a", "b"]  # type: ignore[union-attr]


async def test_work_that_was_taken_but_not_started_has_a_result_and_counts_as_progress(s3: MemoryManager) -> None:
    hang(s3, "k0")
    operations = [*uploads(1), DeleteOp("bucket", "a"), DeleteOp("bucket", "b"), UploadOp("bucket", "k1", b"")]
    told: list[BatchProgress] = []

    results = await s3.batch(as_they_come(iter(operations)), concurrency=1, timeout=LIMIT, on_progress=told.append)

    found = {result.position: result for result in results}
    for position, result in found.items():
        assert result.operation.key == operations[position].key  # type: ignore[union-attr]
    assert sorted(found) == [0, 1, 2, 3]
    assert not any(result.success for result in results)
    assert [progress.done for progress in told] == list(range(1, len(found) + 1))
    assert told[-1].failed == len(found)
    assert s3.transport.objects == {}
    assert s3.transport.requests["delete_many"] == 0


async def test_after_a_batch_times_out_every_listed_operation_has_a_result(s3: MemoryManager) -> None:
    hang(s3, "k1", "k2")
    operations = [*uploads(4), DeleteOp("bucket", "x")]

    results = await s3.batch(operations, concurrency=2, timeout=LIMIT)

    assert [result.operation for result in results] == operations
    assert [result.success for result in results] == [True, False, False, False, False]
    errors = [result.error for result in results.failed]
    assert all(isinstance(error, DeadlineExceeded) for error in errors)
    assert [error.sent for error in errors] == [True, True, False, False]  # type: ignore[union-attr]
    assert set(s3.transport.objects) == {"k0"}
    streamed = [result async for result in s3.batch_iter(operations, concurrency=2, timeout=LIMIT)]
    assert sorted(result.position for result in streamed) == list(range(5))


@pytest.mark.parametrize("lazily", [False, True])
async def test_after_a_batch_times_out_its_iterator_is_not_read_any_more(s3: MemoryManager, lazily: bool) -> None:
    hang(s3, "k1", "k2")

    def source() -> Any:
        return as_they_come(uploads(10)) if lazily else uploads(10)

    results = await s3.batch(source(), concurrency=2, timeout=LIMIT)

    assert not results.complete
    assert not results.ok
    assert results.failed
    assert [result.position for result in results] == list(range(len(results)))
    with pytest.raises(BatchError, match="before all operations were started"):
        results.raise_for_failures()
    streamed: list[OperationResult] = []
    with pytest.raises(DeadlineExceeded, match="before all operations were started"):
        async for result in s3.batch_iter(source(), concurrency=2, timeout=LIMIT):
            streamed.append(result)  # noqa: PERF401 - what came before the error counts
    assert streamed


async def test_a_batch_that_ends_early_closes_its_async_iterator(s3: MemoryManager) -> None:
    hang(s3, "k0")
    closed = []

    async def endless() -> AsyncIterator[Operation]:
        try:
            while True:
                yield UploadOp("bucket", "k0", b"0")
        finally:
            closed.append(asyncio.current_task())

    results = await s3.batch(endless(), concurrency=1, timeout=LIMIT)

    assert not results.ok
    assert len(closed) == 1


async def test_timed_out_operations_have_stopped(s3: MemoryManager) -> None:
    gate = asyncio.Event()
    put = s3.transport.put

    async def slow(*arguments: Any) -> Any:
        await gate.wait()
        return await put(*arguments)

    s3.transport.put = slow  # type: ignore[method-assign]
    await s3.batch(uploads(4), timeout=0.02)
    await s3.batch(uploads(4), operation_timeout=0.02)
    gate.set()
    for _ in range(10):
        await asyncio.sleep(0)

    assert s3.transport.objects == {}
    assert s3.pool.stats().in_use == 0


async def test_a_cancelled_batch_stops_its_operations(s3: MemoryManager) -> None:
    hang(s3, "k5")
    stored = asyncio.Event()
    s3.transport.after = lambda verb, count: stored.set()
    batch = asyncio.create_task(s3.batch(uploads(10_000_000)))
    await stored.wait()
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch
    before = len(s3.transport.objects)
    for _ in range(10):
        await asyncio.sleep(0)

    assert len(s3.transport.objects) == before
    assert s3.pool.stats().in_use == 0


async def test_a_closed_manager_ends_its_batches(s3: MemoryManager) -> None:
    hang(s3, "k1")
    stored = asyncio.Event()
    s3.transport.after = lambda verb, count: stored.set()
    batch = asyncio.create_task(s3.batch(uploads(10_000_000)))
    await stored.wait()
    await s3.aclose()

    with pytest.raises(ManagerClosed):
        await batch
    with pytest.raises(ManagerClosed):
        await s3.batch(uploads(1))


@pytest.mark.parametrize("limits", [{"concurrency": 0}, {"timeout": 0.0}, {"operation_timeout": -1.0}])
async def test_an_invalid_limit_is_refused(s3: MemoryManager, limits: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        await s3.batch(uploads(1), **limits)
    with pytest.raises(InvalidOption):
        [result async for result in s3.batch_iter(uploads(1), **limits)]
    assert s3.transport.objects == {}


async def test_the_options_of_an_operation_apply(s3: MemoryManager) -> None:
    await s3.upload_file("bucket", "a", b"")

    results = await s3.batch(
        [
            HeadOp("bucket", "a", ReadOptions(if_match='"another"')),
            CopyOp("bucket", "a", "bucket", "b", CopyOptions(source_if_match='"another"')),
        ]
    )

    assert [type(result.error) for result in results] == [PreconditionFailed] * 2


async def test_a_stream_uploaded_in_a_batch_must_have_its_announced_size(s3: MemoryManager) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"12345"

    results = await s3.batch([UploadOp("bucket", f"k{size}", stream(), size=size) for size in (4, 5, 6)])

    assert [result.success for result in results] == [False, True, False]
    assert list(s3.transport.objects) == ["k5"]


async def test_the_options_of_a_move_apply_to_the_deletion_of_its_source(
    s3: MemoryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[DeleteOptions] = []
    delete = s3.transport.delete

    async def observed(bucket: str, key: str, options: DeleteOptions) -> DeleteOutcome:
        asked.append(options)
        return await delete(bucket, key, options)

    monkeypatch.setattr(s3.transport, "delete", observed)
    await s3.upload_file("bucket", "a", b"1")
    [result] = await s3.batch([MoveOp("bucket", "a", "bucket", "b", mfa="serial 123456", bypass_governance=True)])

    assert result.success
    assert [(options.mfa, options.bypass_governance) for options in asked] == [("serial 123456", True)]
    assert "123456" not in repr(result)


def test_the_repr_of_a_result_shows_its_outcome() -> None:
    failed = OperationResult(HeadOp("bucket", "key"), success=False, duration=0.1, error=ValueError("no"))

    assert repr(BatchResult((failed,), 0.5)) == "<BatchResult of 1 operations, 1 failed, in 0.5 s>"
    assert "secret" not in repr(UploadOp("bucket", "key", b"secret"))
