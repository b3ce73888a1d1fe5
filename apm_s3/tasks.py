"""Structured concurrency: groups that raise the first error itself, and shields that outlive a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def run_all(coroutines: Iterable[Coroutine[Any, Any, T]], *, limit: int | None = None) -> list[T]:
    """Run all of them at once (at most `limit` at a time), results in order.

    The first failure cancels the others, waits for them, and is raised as it is: never an `ExceptionGroup`.
    """
    pending = list(coroutines)
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
        # A coroutine whose task was cancelled before it began would warn that it was never awaited.
        for coroutine in pending:
            coroutine.close()
    return [task.result() for task in tasks]


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


async def shielded(
    work: Coroutine[Any, Any, T],
    *,
    on_cancel: Callable[[T], Awaitable[object]] | None = None,
    timeout: float | None = None,
) -> T:
    """Let `work` come to its end even if the caller is cancelled; the cancellation is raised after it.

    Args:
        on_cancel: undoes the result of `work` when the caller was cancelled meanwhile.
        timeout: seconds after which a cancelled caller stops waiting and cancels `work`.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled():
            raise
        await _settle(task, timeout)
        if on_cancel is not None and not task.cancelled() and task.exception() is None:
            await _settle(asyncio.ensure_future(_await(on_cancel(task.result()))), timeout)
        elif not task.cancelled():
            task.exception()
        raise


async def _await(work: Awaitable[object]) -> None:
    await work


async def _settle(task: asyncio.Future[Any], timeout: float | None) -> None:
    """Wait for `task`, however often the caller is cancelled meanwhile, at most `timeout` seconds."""
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
