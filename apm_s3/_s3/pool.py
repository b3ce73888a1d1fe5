"""The pool: limits the requests in flight across all calls of a manager. It knows no verbs and no connections.

Invariants: at most `limit` slots are in use; waiting tasks are served in order of arrival; if a task is cancelled after
it got a slot, the next task gets it. A lent slot (of a body that is not being read) counts as in use until a waiting
task takes it over.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from apm_s3._backoff import AdaptiveLimit

if TYPE_CHECKING:
    from apm_s3.models import PoolStats


class S3ConnectionPool:
    """A fair semaphore that slows down when S3 asks to, and recovers automatically; see `AdaptiveLimit`."""

    def __init__(self, max_concurrency: int) -> None:
        self._max = max_concurrency
        self._limit = AdaptiveLimit(max_concurrency)
        self._in_use = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._lent: dict[StreamSlot, None] = {}
        self._sections: set[asyncio.Task[Any]] = set()
        self._acquired = self._waited = self._slowdowns = 0
        self._wait_seconds = self._longest_wait = 0.0

    def stats(self) -> PoolStats:
        """Return the current statistics."""
        from apm_s3.models import PoolStats  # noqa: PLC0415 - many programs never ask for them

        return PoolStats(
            max_concurrency=self._max,
            limit=int(self._limit.value),
            in_use=self._in_use,
            lent=len(self._lent),
            waiting=len(self._waiters),
            acquired=self._acquired,
            waited=self._waited,
            wait_seconds=self._wait_seconds,
            longest_wait=self._longest_wait,
            slowdowns=self._slowdowns,
        )

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Let a block of your own code count as one request in flight.

        Calls that the same task makes inside the block use this slot, not another one. Tasks started inside use their
        own slots.
        """
        task = asyncio.current_task()
        if task is None or task in self._sections:
            yield
            return
        await self.acquire()
        self._sections.add(task)
        try:
            yield
        finally:
            self._sections.discard(task)
            self.release()

    def covers(self, task: asyncio.Task[Any] | None) -> bool:
        """Return whether `task` is inside its own `slot()`."""
        return task in self._sections

    def try_acquire(self) -> bool:
        """Take a slot if one is free and nobody is waiting."""
        if self._waiters:
            return False
        if self._in_use >= int(self._limit.value) and not self._take_back():
            return False
        self._in_use += 1
        self._acquired += 1
        return True

    async def acquire(self) -> bool:
        """Take a slot, waiting in the queue if necessary, and return whether it was."""
        if self.try_acquire():
            return False
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        began = time.monotonic()
        try:
            await waiter
        except BaseException:
            # Served and cancelled in the same step of the event loop: the slot is ours, though we never woke up, and
            # nobody else knows of it. Lost, it would shrink the pool for good.
            if waiter.done() and not waiter.cancelled():
                self.release()
            else:
                with suppress(ValueError):
                    self._waiters.remove(waiter)
            raise
        waited = time.monotonic() - began
        self._acquired += 1
        self._waited += 1
        self._wait_seconds += waited
        self._longest_wait = max(self._longest_wait, waited)
        return True

    def release(self) -> None:
        """Return a slot."""
        self._in_use -= 1
        if self._waiters:
            self._serve()

    def slowed(self, sent_at: float) -> None:
        """Record that S3 throttled a request sent at `sent_at` (`time.monotonic`)."""
        self._slowdowns += self._limit.slowed(sent_at)

    def succeeded(self) -> None:
        """Record that S3 served a request."""
        if self._limit.value < self._limit.most:
            self._limit.succeeded()
            if self._waiters:
                self._serve()

    def _serve(self) -> None:
        while self._waiters and (self._in_use < int(self._limit.value) or self._take_back()):
            waiter = self._waiters.popleft()
            if not waiter.done():  # otherwise it was cancelled and is about to leave the queue
                self._in_use += 1
                waiter.set_result(None)

    def _take_back(self) -> bool:
        """Free a slot by ending loans, oldest first, and return whether there is one now."""
        while self._lent and self._in_use >= int(self._limit.value):
            slot = next(iter(self._lent))
            del self._lent[slot]
            slot.held = False
            self._in_use -= 1
        return self._in_use < int(self._limit.value)

    def _lend(self, slot: StreamSlot) -> None:
        self._lent[slot] = None
        if self._waiters:
            self._serve()

    def _reclaim(self, slot: StreamSlot) -> None:
        self._lent.pop(slot, None)


class StreamSlot:
    """The slot of a body that is read in pieces. While nobody reads the body, a waiting task may take the slot over.

    `await take()` before each read, `lend()` after returning a piece, `release()` at the end. So a body that is not
    read any further keeps its connection, but not a slot.

    Attributes:
        held: whether it has a slot now, lent or not.
    """

    __slots__ = ("_pool", "held")

    def __init__(self, pool: S3ConnectionPool) -> None:
        self._pool = pool
        self.held = False

    async def take(self) -> bool:
        """Get a slot: the lent one if nobody took it, otherwise a new one, waiting like everybody else.

        Returns:
            Whether it had to wait.
        """
        waited = False
        if self.held:
            self._pool._reclaim(self)  # noqa: SLF001 - two halves of one thing
        elif not self._pool.covers(asyncio.current_task()):
            waited = await self._pool.acquire()
            self.held = True
        return waited

    def lend(self) -> None:
        """Let others use the slot until the next `take`."""
        if self.held:
            self._pool._lend(self)  # noqa: SLF001

    def release(self) -> None:
        """Release the slot; harmless if there is none."""
        if self.held:
            self._pool._reclaim(self)  # noqa: SLF001
            self.held = False
            self._pool.release()
