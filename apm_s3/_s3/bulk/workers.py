"""A running batch: a fixed set of workers that pull from an iterable of any length.

Invariants: at most `concurrency` operations are in progress; the number of operations taken but not started is limited;
when a batch stops early (time limit, cancellation, error of the iterator), all workers have stopped before the caller
continues.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from apm_s3._s3.bulk.deletions import Group
from apm_s3._s3.bulk.feed import Feed
from apm_s3._s3.engine import Engine
from apm_s3._s3.objects.deletions import delete_many
from apm_s3._s3.objects.verbs import Objects
from apm_s3._tasks import Line, stop_all
from apm_s3.batch import (
    BatchProgress,
    CopyOp,
    DeleteOp,
    DownloadOp,
    HeadOp,
    MoveOp,
    OnProgress,
    Operation,
    OperationResult,
    Operations,
    UploadOp,
)
from apm_s3.errors import ApmS3Error, DeadlineExceeded, InvalidOption, ManagerClosed, UsageError
from apm_s3.events import report_progress
from apm_s3.models import DeleteOutcome, FileInfo

T = TypeVar("T")

Result = FileInfo | DeleteOutcome | bytes


def _download(objects: Objects, operation: DownloadOp) -> Awaitable[Result]:
    if operation.to is None:
        return objects.read_file(operation.bucket, operation.key, operation.options)
    return objects.download_to(operation.bucket, operation.key, operation.to, operation.options)


_PERFORM: dict[type, Callable[[Objects, Any], Awaitable[Result]]] = {
    UploadOp: lambda objects, it: objects.upload_file(it.bucket, it.key, it.source, it.options, size=it.size),
    DownloadOp: _download,
    CopyOp: lambda objects, it: objects.copy_file(it.source_bucket, it.source_key, it.bucket, it.key, it.options),
    MoveOp: lambda objects, it: objects.move_file(
        it.source_bucket,
        it.source_key,
        it.bucket,
        it.key,
        it.options,
        mfa=it.mfa,
        bypass_governance=it.bypass_governance,
    ),
    DeleteOp: lambda objects, it: objects.delete_file(it.bucket, it.key, it.options),
    HeadOp: lambda objects, it: objects.head_file(it.bucket, it.key, it.options),
}


class Batch:
    """One running batch: its workers, from `async with` to its end.

    Args:
        put: receives each result.
        can_receive: whether a result can be received; otherwise workers start nothing new.
        bodies: whether a result may be the content of an object.
        timeout: seconds for the whole batch.
        operation_timeout: seconds for each operation.
    """

    def __init__(
        self,
        engine: Engine,
        objects: Objects,
        operations: Operations,
        *,
        put: Callable[[OperationResult], None],
        can_receive: Callable[[], bool] | None = None,
        bodies: bool = False,
        concurrency: int | None = None,
        timeout: float | None = None,
        operation_timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._most = engine.settings.max_concurrency if concurrency is None else concurrency
        _check(self._most, timeout, operation_timeout)
        self._engine = engine
        self._objects = objects
        self._feed = Feed(operations, self._most)
        self._put = put
        self._can_receive = can_receive
        self._bodies = bodies
        self._timeout = timeout
        self._operation_timeout = operation_timeout
        self._on_progress = on_progress
        self._tasks: list[asyncio.Task[None]] = []
        self._running = 0
        self._workers = 0
        self._timer: asyncio.TimerHandle | None = None
        self._error: BaseException | None = None
        self._cancelled = False
        self._done = self._failures = self._bytes = 0
        self.overdue = False
        self.ended = False
        self.results = Line()
        self.free_slots = Line()

    async def __aenter__(self) -> Self:
        if self._timeout is not None:
            self._timer = asyncio.get_running_loop().call_later(self._timeout, self._expire)
        if self._feed.needs_reader:
            self._start(self._feed.read())
        self._start_worker()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await stop_all(self._tasks)

    @property
    def complete(self) -> bool:
        """Return whether every operation was taken from the iterator."""
        return self._feed.ended

    def check(self) -> None:
        """Raise the error that stopped the batch early, if any."""
        if self._error is not None:
            raise self._error
        if self._cancelled and not self.overdue:
            raise ManagerClosed("this S3Manager was closed during the batch", operation="batch")

    def cancel_rest(self) -> Iterator[OperationResult]:
        """Yield the results of operations that were not started before the time limit."""
        for position, operation in self._feed.left():
            error = self._too_late(operation, begun=False)
            if self._on_progress is not None:
                self._progress(self._on_progress, operation, None, failed=True)
            yield OperationResult(operation, False, 0.0, None, error, position)  # noqa: FBT003 - a tuple, in its order

    def _start_worker(self) -> None:
        self._workers += 1
        self._start(self._work())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._engine.spawn(work, "batch")
        self._running += 1
        self._tasks.append(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._running -= 1
        if task.cancelled():
            self._cancelled = True
        elif (error := task.exception()) is not None and self._error is None:
            self._error = error
        if self._error is not None or not self._running:
            self.ended = True
            self.results.wake()

    def _expire(self) -> None:
        self.overdue = True
        for task in self._tasks:
            task.cancel()

    async def _work(self) -> None:
        # A single coroutine on purpose: each additional one adds cost to every step of every operation.
        feed, perform = self._feed, self._perform if self._operation_timeout is None else self._perform_in_time
        while True:
            while self._can_receive is not None and not self._can_receive():
                await self.free_slots.wait()
            work = await feed.take()
            if work is None:
                return
            if self._workers < self._most:
                # Workers are started one by one as there is work, because a small batch needs few.
                self._start_worker()
            if isinstance(work, Group):
                await self._delete(work)
                continue
            position, operation = work
            began = time.monotonic()
            try:
                result = await perform(operation)
            except BaseException as error:
                if not await self._failed(position, operation, began, error):
                    raise
            else:
                self._result(position, operation, began, result)

    def _perform(self, operation: Operation) -> Awaitable[Result]:
        perform = _PERFORM.get(type(operation))
        if perform is None:
            raise _no_operation(operation)
        if type(operation) is DownloadOp and operation.to is None and not self._bodies:
            raise _no_file(operation)
        return perform(self._objects, operation)

    async def _perform_in_time(self, operation: Operation) -> Result:
        return await self._limited(lambda: self._perform(operation))

    async def _failed(self, position: int, operation: Operation, began: float, error: BaseException) -> bool:
        """Handle an operation's exception, and return whether the batch continues."""
        if isinstance(error, asyncio.CancelledError):
            if self.overdue:
                self._result(position, operation, began, error=self._too_late(operation))
            if self.overdue or _is_cancelled():
                return False
            error = _source_cancelled(operation)
        if not isinstance(error, Exception) or isinstance(error, UsageError):
            return False
        self._result(position, operation, began, error=error)
        # An operation that is refused immediately has not let other tasks run.
        await asyncio.sleep(0)
        return True

    async def _delete(self, group: Group) -> None:
        began = time.monotonic()
        try:
            report = await self._limited(lambda: delete_many(self._engine, group.bucket, group.targets, group.options))
        except asyncio.CancelledError:
            if self.overdue:
                for position, operation in group.entries:
                    self._result(position, operation, began, error=self._too_late(operation))
            raise
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001 - see _perform
            for position, operation in group.entries:
                self._result(position, operation, began, error=error)
        else:
            for position, operation, outcome in group.outcomes(report):
                if isinstance(outcome, Exception):
                    self._result(position, operation, began, error=outcome)
                else:
                    self._result(position, operation, began, outcome)

    async def _limited(self, perform: Callable[[], Awaitable[T]]) -> T:
        limit = self._operation_timeout
        if limit is None:
            return await perform()
        watch = None
        try:
            with self._engine.runner.watched(time.monotonic() + limit) as watch:
                return await perform()
        except TimeoutError as exc:
            if watch is None or not watch.expired:
                raise
            raise DeadlineExceeded(
                f"not done within the {limit:g} seconds that each operation has",
                operation="batch",
                hint="raise operation_timeout, or lower concurrency",
            ) from exc

    def _result(
        self,
        position: int,
        operation: Operation,
        began: float,
        result: Result | None = None,
        error: Exception | None = None,
    ) -> None:
        if self._on_progress is not None:
            self._progress(self._on_progress, operation, result, failed=error is not None)
        self._put(OperationResult(operation, error is None, time.monotonic() - began, result, error, position))

    def _progress(self, tell: OnProgress, operation: Operation, result: Result | None, *, failed: bool) -> None:
        self._done += 1
        self._failures += failed
        self._bytes += _moved(operation, result)
        report_progress(tell, BatchProgress(self._done, self._failures, self._bytes, self._feed.total))

    def _too_late(self, operation: Operation, *, begun: bool = True) -> DeadlineExceeded:
        what = "it was in progress, and may or may not have been carried out" if begun else "it was not started"
        error = DeadlineExceeded(
            f"the batch's time limit of {self._timeout:g} seconds passed: {what}",
            operation="batch",
            bucket=getattr(operation, "bucket", None),
            key=getattr(operation, "key", None),
            hint="raise the batch's timeout",
        )
        error.sent = begun
        return error


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _source_cancelled(operation: Operation) -> ApmS3Error:
    return ApmS3Error(
        "something that its source awaited was cancelled",
        operation="batch",
        bucket=getattr(operation, "bucket", None),
        key=getattr(operation, "key", None),
        hint="check the async iterable that is its source",
    )


def _check(concurrency: int, timeout: float | None, operation_timeout: float | None) -> None:
    if concurrency < 1:
        raise InvalidOption(f"concurrency is {concurrency}", hint="use 1 or more, or omit it")
    for name, seconds in (("timeout", timeout), ("operation_timeout", operation_timeout)):
        if seconds is not None and not seconds > 0:
            raise InvalidOption(f"{name} is {seconds}, but must be more than 0", hint="omit it for no limit")


def _no_operation(given: object) -> InvalidOption:
    return InvalidOption(
        f"a {type(given).__name__} is not an operation",
        operation="batch",
        hint="use UploadOp, DownloadOp, CopyOp, MoveOp, DeleteOp or HeadOp of apm_s3.batch",
    )


def _no_file(operation: DownloadOp) -> InvalidOption:
    return InvalidOption(
        "a list of results cannot hold contents",
        operation="batch",
        bucket=operation.bucket,
        key=operation.key,
        hint="name a file: DownloadOp(bucket, key, to=path), or use batch_iter, which also returns contents",
    )


def _moved(operation: Operation, result: Result | None) -> int:
    """Return the bytes of content that were transferred."""
    if not isinstance(operation, UploadOp | DownloadOp) or result is None:
        return 0
    return len(result) if isinstance(result, bytes) else max(getattr(result, "size", 0), 0)
