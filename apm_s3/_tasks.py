"""Structured concurrency: task groups that raise the first error itself, shields against cancellation, deadlines."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def run_all(coroutines: Iterable[Coroutine[Any, Any, T]], *, limit: int | None = None) -> list[T]:
    """Run all coroutines concurrently (at most `limit` at a time), and return the results in order.

    The first failure cancels the others and is raised itself, after they have finished: never an `ExceptionGroup`.
    """
    pending = list(coroutines)
    if len(pending) == 1:
        return [await pending[0]]
    semaphore = asyncio.Semaphore(limit) if limit else None

    async def bounded(coroutine: Coroutine[Any, Any, T]) -> T:
        if semaphore is None:
            return await coroutine
        async with semaphore:
            return await coroutine

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(bounded(coroutine)) for coroutine in pending]
    except BaseExceptionGroup as failures:
        raise _first(failures) from None
    finally:
        # A coroutine whose task was cancelled before it started would warn that it was never awaited.
        for coroutine in pending:
            coroutine.close()
    return [task.result() for task in tasks]


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


async def wait_shielded(task: asyncio.Future[T]) -> T:
    """Wait for `task`, which continues if the caller is cancelled; then nothing logs its error.

    On Python 3.14, `asyncio.shield` logs the error of a task whose caller was cancelled, also if others handle it.
    """
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        # It may fail later, when perhaps nobody awaits it any more.
        task.add_done_callback(_retrieve)
        raise
    return task.result()


def _retrieve(task: asyncio.Future[Any]) -> None:
    """Retrieve the exception of a finished task, or asyncio logs it."""
    if not task.cancelled():
        task.exception()


async def shielded(
    work: Coroutine[Any, Any, T],
    *,
    on_cancel: Callable[[T], Awaitable[object]] | None = None,
    timeout: float | None = None,
) -> T:
    """Let `work` finish even if the caller is cancelled; the cancellation is raised afterwards.

    Args:
        on_cancel: undoes the result of `work` if the caller was cancelled meanwhile.
        timeout: seconds after which a cancelled caller stops waiting and cancels `work`.
    """
    task = asyncio.ensure_future(work)
    try:
        return await wait_shielded(task)
    except asyncio.CancelledError:
        if task.cancelled():
            raise
        await _settle(task, timeout)
        if on_cancel is not None and not task.cancelled() and task.exception() is None:
            await _settle(asyncio.ensure_future(_await(on_cancel(task.result()))), timeout)
        raise


async def finish_within(task: asyncio.Future[T], grace: float) -> T:
    """Wait for `task`, which continues if the caller is cancelled; the caller then waits at most `grace` seconds."""
    try:
        return await wait_shielded(task)
    except asyncio.CancelledError:
        end = asyncio.get_running_loop().time() + grace
        while not task.done() and (left := end - asyncio.get_running_loop().time()) > 0:
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task}, timeout=left)
        raise


async def _await(work: Awaitable[object]) -> None:
    await work


async def wait_finished(task: asyncio.Future[Any]) -> None:
    """Wait until `task` has finished, even if the caller is cancelled repeatedly. Its result is ignored."""
    await _settle(task, None)


async def _settle(task: asyncio.Future[Any], timeout: float | None) -> None:
    """Wait for `task` at most `timeout` seconds, even if the caller is cancelled repeatedly."""
    loop = asyncio.get_running_loop()
    end = None if timeout is None else loop.time() + timeout
    while not task.done():
        left = None if end is None else end - loop.time()
        if left is not None and left <= 0:
            task.cancel()
            end = None
            continue
        try:
            await asyncio.wait({task}, timeout=left)
        except asyncio.CancelledError:
            continue


class Watch:
    """The deadline of one call, in the task that makes it.

    Args:
        when: the deadline, of `time.monotonic`.
        loop: the running one, if it is known: up to Python 3.11, looking it up is a call of the system.
    """

    __slots__ = ("cancelling", "expired", "task", "when")

    def __init__(self, when: float, loop: asyncio.AbstractEventLoop | None = None) -> None:
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a deadline needs a task to cancel")
        self.task: asyncio.Task[Any] = task
        self.when: float = when
        self.cancelling: int = task.cancelling()
        self.expired: bool = False

    @property
    def overrun(self) -> bool:
        """Return whether a `CancelledError` was caused only by the deadline, not by a caller."""
        return self.expired and self.task.cancelling() - 1 <= self.cancelling


class Deadlines:
    """Cancels calls when their deadline passes. One timer serves all, because `asyncio.timeout` costs 10 µs per call.

    The `when` of a watch may be moved later at any time. All times are those of `time.monotonic`.
    """

    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._next = math.inf

    def watch(self, when: float) -> Watch:
        """Set a deadline for the current task, until `forget`.

        Raises:
            RuntimeError: called outside a task.
        """
        watch = Watch(when)
        self.add(watch)
        return watch

    def add(self, watch: Watch) -> None:
        """Set the deadline of the task of `watch`, until `forget`."""
        self._watches.add(watch)
        if watch.when < self._next:
            self._arm(watch.when)

    def forget(self, watch: Watch) -> None:
        """Remove the deadline of a finished call."""
        self._watches.discard(watch)
        if watch.expired:
            watch.task.uncancel()

    def expire_all(self) -> None:
        """Expire all deadlines now."""
        self._expire(list(self._watches))

    def _arm(self, when: float) -> None:
        self._disarm()
        self._next = when
        self._timer = asyncio.get_running_loop().call_later(max(0.0, when - time.monotonic()), self._sweep)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._next = None, math.inf

    def _sweep(self) -> None:
        now = time.monotonic()
        self._expire([watch for watch in self._watches if watch.when <= now])

    def _expire(self, watches: list[Watch]) -> None:
        self._disarm()
        for watch in watches:
            self._watches.discard(watch)
            watch.expired = True
            watch.task.cancel()
        if self._watches:
            self._arm(min(watch.when for watch in self._watches))


class Line:
    """A queue of waiting tasks, woken in order of arrival. A woken task checks the state again."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Wait until woken."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def wake(self) -> None:
        """Wake the first waiting task, if any."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def wake_all(self) -> None:
        """Wake all waiting tasks."""
        while self._waiters:
            self.wake()


async def stop_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel `tasks`, and wait until they have finished, even if the caller is cancelled repeatedly."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await shielded(_ended(running))


async def _ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks)
