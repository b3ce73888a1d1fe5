"""A running batch: a fixed set of workers that pull operations from an iterable of any length, and their results.

Deletions are grouped; an incomplete group is sent when its first deletion has waited for a second, or at the end.

Invariants: at most `concurrency` operations are in progress; the number of operations taken but not started is limited;
when a batch stops early (time limit, cancellation, error of the iterator), all workers have stopped before the caller
continues. No group has more than 1000 deletions; all deletions of a group share bucket and options, and either all of
them name a version or none does, so that each key in the response belongs to one of them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Coroutine, Iterator, Sequence, Sized
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack

from apm_s3._hints import Advice
from apm_s3._s3.engine import Engine, check_target
from apm_s3._s3.objects.deletions import delete_many
from apm_s3._s3_responses import s3_error
from apm_s3._tasks import Line, stop_all
from apm_s3.batch import (
    BatchProgress,
    BatchResult,
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
from apm_s3.errors import (
    ApmS3Error,
    DeadlineExceeded,
    InvalidOption,
    InvalidRequest,
    ManagerClosed,
    S3Error,
    UsageError,
)
from apm_s3.events import report_progress
from apm_s3.models import DeleteOutcome, DeleteReport, FileInfo
from apm_s3.options import DeleteOptions

GROUP = 1000
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html."""

_MOST = 10 * GROUP
"""Maximum number of held deletions, in all groups together."""

_GroupKey = tuple[str, DeleteOptions | None, bool]


@dataclass(slots=True)
class Group:
    """Deletions that share a request.

    Attributes:
        began: when the first deletion was added, by `time.monotonic`.
        entries: the deletions and their positions in the batch.
    """

    bucket: str
    options: DeleteOptions | None
    began: float
    entries: list[tuple[int, DeleteOp]] = field(default_factory=list)

    @property
    def targets(self) -> list[tuple[str, str | None]]:
        """Return the keys for `delete_files`."""
        return [(operation.key, _version(operation)) for _, operation in self.entries]

    def outcomes(self, report: DeleteReport) -> Iterator[tuple[int, DeleteOp, DeleteOutcome | S3Error]]:
        """Yield the result of each deletion; `report` covers all of them."""
        versioned = bool(self.entries) and _version(self.entries[0][1]) is not None
        deleted = {(one.key, one.version_id if versioned else None): one for one in report.deleted}
        failed = {(one.key, one.version_id if versioned else None): one for one in report.failed}
        for position, operation in self.entries:
            target = (operation.key, _version(operation))
            # Some servers omit the version: then the failure counts for each version not reported as deleted.
            failure = failed.get(target) or (None if target in deleted else failed.get((operation.key, None)))
            if failure is None:
                yield position, operation, deleted.get(target) or DeleteOutcome(*target)
                continue
            yield (
                position,
                operation,
                s3_error(
                    operation="delete_files",
                    status=403 if failure.s3_code == "AccessDenied" else 0,
                    s3_code=failure.s3_code,
                    message=failure.message,
                    bucket=self.bucket,
                    key=operation.key,
                ),
            )


class Deletions:
    """The groups that are not full yet.

    Attributes:
        held: the number of deletions in all groups.
    """

    def __init__(self) -> None:
        self._groups: dict[_GroupKey, Group] = {}
        self.held = 0

    def add(self, position: int, operation: DeleteOp, now: float) -> Group | None:
        """Add a deletion, and return the group to send now, if any."""
        options = operation.options
        versioned = options is not None and options.version_id is not None
        if versioned and options is not None:
            options = replace(options, version_id=None)
        key = (operation.bucket, options, versioned)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(operation.bucket, options, now)
        group.entries.append((position, operation))
        self.held += 1
        if len(group.entries) >= GROUP:
            del self._groups[key]
            self.held -= GROUP
            return group
        return self.pop() if self.held >= _MOST else None

    def pop(self, begun_before: float | None = None) -> Group | None:
        """Return the oldest group, if there is one (and it was started before that time)."""
        if not self._groups:
            return None
        key, group = next(iter(self._groups.items()))
        if begun_before is not None and group.began >= begun_before:
            return None
        del self._groups[key]
        self.held -= len(group.entries)
        return group


def can_share(operation: DeleteOp) -> bool:
    """Return whether a deletion can share a request. Deletions that would be refused cannot, to protect the others."""
    options = operation.options
    try:
        check_target(operation.bucket, operation.key)
        if options is None:
            return True
        (options.version_id or "").encode()
    except (InvalidRequest, UnicodeEncodeError, TypeError, AttributeError):
        return False
    return options.if_match is None


def _version(operation: DeleteOp) -> str | None:
    return operation.options.version_id if operation.options is not None else None


LINGER = 1.0
"""Maximum time in seconds that a deletion waits for others while a worker is free."""

Work = tuple[int, Operation] | Group
"""One operation with its position, or a group of deletions."""


class Feed:
    """The work of one batch, for any number of workers.

    Attributes:
        total: the number of operations, if known.
        ended: whether all of them were taken from the source.
    """

    def __init__(self, operations: Operations, ahead: int) -> None:
        self.total: int | None = len(operations) if isinstance(operations, Sized) else None
        self.ended = False
        self._ahead = ahead
        self._deletions = Deletions()
        self._ready: deque[Work] = deque()
        self._hungry = Line()
        self._space = Line()
        self._taken = 0
        self._timer: asyncio.TimerHandle | None = None
        self._iterator: Iterator[Operation] | None = None
        self._async: AsyncIterable[Operation] | None = None
        if isinstance(operations, AsyncIterable):
            self._async = operations
        else:
            self._iterator = iter(operations)

    @property
    def needs_reader(self) -> bool:
        """Return whether a task must run `read` in addition to the workers."""
        return self._async is not None

    async def take(self) -> Work | None:
        """Return the next piece of work; None at the end."""
        if self._iterator is not None:
            return self._pull(self._iterator)
        # Workers do not step the async iterator themselves: two of them in one async generator would be an error, and
        # its context may depend on the task. So `read` offers, and wakes one worker for each piece. Another worker that
        # comes by at that moment may take the piece first: the woken one then waits again.
        while not self._ready:
            if self.ended:
                return None
            await self._hungry.wait()
        self._space.wake()
        return self._ready.popleft()

    async def read(self) -> None:
        """Read an async iterable in a single task, because its context may depend on the task."""
        if self._async is None:
            return
        iterator = aiter(self._async)
        try:
            async for operation in iterator:
                work = self._sorted(operation)
                if work is None:
                    self._arm()
                    continue
                self._offer(work)
                while len(self._ready) >= self._ahead:
                    await self._space.wait()
            self._offer_gathered()
            self.ended = True
            self._hungry.wake_all()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            close: Any = getattr(iterator, "aclose", None)
            if close is not None:
                await close()

    def left(self) -> Iterator[tuple[int, Operation]]:
        """Return work that was taken but not started, and the rest of a source of known length."""
        while self._ready:
            yield from _entries(self._ready.popleft())
        while (group := self._deletions.pop()) is not None:
            yield from group.entries
        if self._iterator is not None and self.total is not None:
            for operation in self._iterator:
                self._taken += 1
                yield self._taken - 1, operation
            self.ended = True

    def _pull(self, iterator: Iterator[Operation]) -> Work | None:
        if self._deletions.held and (overdue := self._deletions.pop(time.monotonic() - LINGER)) is not None:
            return overdue
        if not self.ended:
            for operation in iterator:
                work = self._sorted(operation)
                if work is not None:
                    return work
            self.ended = True
        return self._deletions.pop()

    def _sorted(self, operation: Operation) -> Work | None:
        position = self._taken
        self._taken += 1
        if type(operation) is DeleteOp and can_share(operation):
            return self._deletions.add(position, operation, time.monotonic())
        return position, operation

    def _offer(self, work: Work) -> None:
        self._ready.append(work)
        self._hungry.wake()

    def _offer_gathered(self) -> None:
        self._timer = None
        while (group := self._deletions.pop()) is not None:
            self._offer(group)

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LINGER, self._offer_gathered)


def _entries(work: Work) -> Iterator[tuple[int, Operation]]:
    if isinstance(work, Group):
        yield from work.entries
    else:
        yield work


T = TypeVar("T")

Result = FileInfo | DeleteOutcome | bytes


Perform = Callable[[Operation], Awaitable[Result]]
"""Carries out one operation."""

_KINDS = (UploadOp, DownloadOp, CopyOp, MoveOp, DeleteOp, HeadOp)


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
        perform: Perform,
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
        self._carry_out = perform
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
        # The flag first: a worker that is cancelled has to know that it was the time limit, and not the caller. It then
        # reports its own operation, because only it knows which one was in progress, and may have been carried out.
        self.overdue = True
        for task in self._tasks:
            task.cancel()

    async def _work(self) -> None:
        # A few workers that take turns, not a task for each operation: an iterator of a million operations would become
        # a million tasks before the first one ends. Nobody assigns work, so that a slow operation holds up only its own
        # worker. A worker never learns that the batch is over from a flag: `take` returns None, once for each of them.
        # A single coroutine on purpose: each additional one adds cost to every step of every operation.
        feed, perform = self._feed, self._perform if self._operation_timeout is None else self._perform_in_time
        while True:
            # Asked before the work is taken: what has been taken is started. Asked again after each wake, because a
            # worker that was not waiting may have filled the place meanwhile.
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
        if type(operation) not in _KINDS:
            raise _no_operation(operation)
        if type(operation) is DownloadOp and operation.to is None and not self._bodies:
            raise _no_file(operation)
        return self._carry_out(operation)

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
                hint=Advice.LONGER_OPERATIONS(),
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


_CHAIN = 20
"""Maximum length of a chain of causes; real chains are shorter."""


class Limits(TypedDict, total=False):
    """Limits of a batch, as in `S3Manager.batch`."""

    concurrency: int | None
    timeout: float | None
    operation_timeout: float | None


async def run_batch(
    engine: Engine, perform: Perform, operations: Operations, on_progress: OnProgress | None, **limits: Unpack[Limits]
) -> BatchResult:
    """Carry out `operations`, and give the results in their order."""
    began = time.monotonic()
    results: list[OperationResult | None] = []
    # A caller's list keeps its operations in memory anyway.
    keep = isinstance(operations, Sequence)

    def put(result: OperationResult) -> None:
        while result.position >= len(results):
            results.append(None)
        plain = result.success and (keep or type(result.operation) is not UploadOp)
        results[result.position] = result if plain else _slim(result, keep=keep)

    batch = Batch(engine, perform, operations, put=put, on_progress=on_progress, **limits)
    async with batch:
        while not batch.ended:
            await batch.results.wait()
    batch.check()
    if batch.overdue:
        for result in batch.cancel_rest():
            put(result)
    return BatchResult(
        tuple(result for result in results if result is not None), time.monotonic() - began, batch.complete
    )


async def iter_batch(
    engine: Engine, perform: Perform, operations: Operations, on_progress: OnProgress | None, **limits: Unpack[Limits]
) -> AsyncGenerator[OperationResult, None]:
    """Run `operations`, and yield each result as soon as it is available."""
    results: deque[OperationResult] = deque()
    limit = limits.get("concurrency") or engine.settings.max_concurrency

    def put(result: OperationResult) -> None:
        results.append(result)
        batch.results.wake()

    batch = Batch(
        engine,
        perform,
        operations,
        put=put,
        can_receive=lambda: len(results) < limit,
        bodies=True,
        on_progress=on_progress,
        **limits,
    )
    async with batch:
        while True:
            while results:
                result = results.popleft()
                if len(results) < limit:
                    batch.free_slots.wake()
                yield result
            if batch.ended:
                break
            await batch.results.wait()
    batch.check()
    if batch.overdue:
        for result in batch.cancel_rest():
            yield result
        if not batch.complete:
            raise DeadlineExceeded(
                f"the time limit of {limits['timeout']:g} seconds passed before all operations were started",
                operation="batch_iter",
                hint="raise the batch's timeout",
            )


def _slim(result: OperationResult, *, keep: bool) -> OperationResult:
    """Return the result without references to bodies, in the operation and in the frames of a traceback."""
    error: BaseException | None = result.error
    for _ in range(_CHAIN):
        if error is None:
            break
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
    operation = result.operation
    if keep or not isinstance(operation, UploadOp) or not isinstance(operation.source, bytes | bytearray | memoryview):
        return result
    return result._replace(operation=replace(operation, source=None))
