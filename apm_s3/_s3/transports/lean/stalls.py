"""The `read` timeout of attempts, with one timer for all requests, because a timer per request costs 7 µs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apm_s3._s3.transports.lean.connection import Response


class Stalls:
    """Cancels tasks that wait for the server and have made no progress for `timeout` seconds.

    A stall is detected up to a quarter of the timeout later. A task waits for one thing at a time.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._seen: dict[asyncio.Task[Any], float] = {}
        self._reading: dict[asyncio.Task[Any], tuple[Response, int]] = {}
        self._cancelled: dict[asyncio.Task[Any], int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, now: float) -> asyncio.Task[Any]:
        """Watch the current task until `leave`; `now` is of `time.monotonic`."""
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a request needs a task to run in")
        self._seen[task] = now
        if self._timer is None:
            self._arm()
        return task

    def reading(self, task: asyncio.Task[Any], response: Response) -> None:
        """From now on, received bytes of `response` count as progress."""
        self._reading[task] = (response, -1)

    def moved(self, task: asyncio.Task[Any]) -> None:
        """Record progress."""
        if task in self._seen:
            self._seen[task] = time.monotonic()

    def leave(self, task: asyncio.Task[Any]) -> bool:
        """Stop watching, and return whether the wait ended only because of a stall."""
        if self._reading:
            self._reading.pop(task, None)
        if self._seen.pop(task, None) is not None:
            return False
        cancelling = self._cancelled.pop(task, None)
        return cancelling is not None and task.uncancel() <= cancelling

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = self._loop.call_later(self.timeout / 4, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = time.monotonic()
        for task, (response, total) in self._reading.items():
            if response.total_bytes != total and task in self._seen:
                self._reading[task] = (response, response.total_bytes)
                self._seen[task] = now
        for task in [task for task, seen in self._seen.items() if now - seen >= self.timeout]:
            del self._seen[task]
            self._cancelled[task] = task.cancelling()
            task.cancel()
        if self._seen:
            self._arm()
