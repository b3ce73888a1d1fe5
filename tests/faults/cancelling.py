"""Cancels a call at every suspension in turn, including those of its child tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar
from enum import Enum
from typing import Any


class Moment(Enum):
    """When a waiting task is cancelled."""

    AS_IT_WAITS = "right after it has begun to wait"
    AS_IT_IS_SERVED = "when what it waits for has just come, so that the result is lost"
    AGAIN_AND_AGAIN = "as it waits, and ten times more, by an impatient caller"


class Countdown:
    """Cancels `root` at suspension number `at`; counts them all."""

    def __init__(self, at: int, moment: Moment) -> None:
        self.at = at
        self.moment = moment
        self.suspensions = 0
        self.root: asyncio.Task[Any] | None = None

    def suspended(self, waited_for: Any) -> None:
        self.suspensions += 1
        impatience = 10 if self.moment is Moment.AGAIN_AND_AGAIN else 0
        if self.at <= self.suspensions <= self.at + impatience:
            if self.moment is Moment.AS_IT_IS_SERVED and asyncio.isfuture(waited_for):
                # Called before the task itself is told: its callback is added when it gets this future.
                waited_for.add_done_callback(lambda _: self.cancel())
            else:
                self.cancel()

    def cancel(self) -> None:
        if self.root is not None:
            self.root.cancel()


_COUNTDOWN: ContextVar[Countdown | None] = ContextVar("countdown", default=None)


class _Counted(Coroutine[Any, Any, Any]):
    """A coroutine whose suspensions are counted."""

    def __init__(self, work: Coroutine[Any, Any, Any], countdown: Countdown) -> None:
        self._work = work
        self._countdown = countdown

    def send(self, value: Any) -> Any:
        return self._suspended(self._work.send(value))

    def throw(self, *error: Any) -> Any:
        return self._suspended(self._work.throw(*error))

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._work.__await__()

    def _suspended(self, waited_for: Any) -> Any:
        # The future still has to be blocking when the task gets it, and a callback does not change that.
        self._countdown.suspended(waited_for)
        return waited_for


def _factory(loop: asyncio.AbstractEventLoop, work: Any, **arguments: Any) -> asyncio.Task[Any]:
    countdown = _COUNTDOWN.get()
    if countdown is not None:
        work = _Counted(work, countdown)
    return asyncio.Task(work, loop=loop, **arguments)


async def cancelled_at(
    at: int, moment: Moment, call: Callable[[], Awaitable[Any]]
) -> tuple[bool, Any, BaseException | None]:
    """Run `call`, cancel it at suspension `at`, and return whether it got that far, its result and its error."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(_factory)
    countdown = Countdown(at, moment)

    async def root() -> Any:
        return await call()

    token = _COUNTDOWN.set(countdown)
    try:
        task = countdown.root = asyncio.create_task(root(), name="cancelled call")
    finally:
        _COUNTDOWN.reset(token)
    try:
        await asyncio.wait({task})
    finally:
        loop.set_task_factory(before)
    reached = countdown.suspensions >= at
    if task.cancelled():
        return reached, None, asyncio.CancelledError()
    error = task.exception()
    return reached, None if error else task.result(), error
