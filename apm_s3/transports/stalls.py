"""The `read` timeout of one attempt: one timer over all requests in flight, as one timer a request costs 7 µs each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any


class Flight:
    """One wait for the server, in the task that waits.

    Attributes:
        seen: when something last moved (`time.monotonic`).
        content: the `StreamReader` that is read, once there is one.
        pieces: what gives the body that is sent, if it is sent piece by piece.
        overdue: whether nothing moved for the timeout, and the task was cancelled for it.
    """

    __slots__ = ("cancelling", "content", "overdue", "pieces", "seen", "task", "total")

    def __init__(self, task: asyncio.Task[Any], now: float) -> None:
        self.task = task
        self.seen = now
        self.content: Any = None
        self.pieces: AsyncGenerator[Any, None] | None = None
        self.total = 0
        self.cancelling = task.cancelling()
        self.overdue = False


class Stalls:
    """Cancels the waits in which nothing has moved for `timeout` seconds; found up to a quarter of it later."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._flights: set[Flight] = set()
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, content: Any = None) -> Flight:
        """Watch the current task until `leave`."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request needs a task to run in")
        flight = Flight(task, time.monotonic())
        flight.content = content
        self._flights.add(flight)
        if self._timer is None:
            self._arm()
        return flight

    def leave(self, flight: Flight) -> bool:
        """The wait is over: whether it ended because nothing moved, and for no other reason."""
        self._flights.discard(flight)
        if not flight.overdue:
            return False
        flight.overdue = False
        return flight.task.uncancel() <= flight.cancelling

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.timeout / 4, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = time.monotonic()
        for flight in list(self._flights):
            if flight.content is not None and flight.content.total_bytes != flight.total:
                flight.total = flight.content.total_bytes
                flight.seen = now
            elif now - flight.seen >= self.timeout:
                self._flights.discard(flight)
                flight.overdue = True
                flight.task.cancel()
        if self._flights:
            self._arm()
