"""Throttles a migration: by 503 responses, by bandwidth, and by memory for contents in transit.

`Schedule` is pure: it decides which row is next. The other classes wait.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from apm_s3._migration.rules import group_of
from apm_s3._migration.store import Row

_STEP = 1.0
"""Additive increase: a limit of n grows by this much after n requests."""
_CUT = 0.5
_QUIET = 1.0
"""Seconds after a cut in which a limit is not cut again, as the requests of that time were sent together."""


@dataclass(slots=True)
class _Group:
    rows: deque[Row] = field(default_factory=deque)
    running: int = 0
    limit: float = 0.0
    cut_at: float = -_QUIET


class Schedule:
    """Takes rows from each group of keys in turn, within a limit for each group.

    A group is a first folder below the prefix, as S3 slows down prefixes, not buckets
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html).

    Args:
        most: rows of one group at once, until S3 slows it down.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(most)
        self._clock = clock
        self._groups: dict[str, _Group] = {}
        self._turns: deque[str] = deque()
        self.waiting = 0

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows to move."""
        for row in rows:
            name = group_of(row.target_key)
            group = self._groups.get(name)
            if group is None:
                group = self._groups[name] = _Group(limit=self._most)
            if not group.rows:
                self._turns.append(name)
            group.rows.append(row)
            self.waiting += 1

    def take(self) -> Row | None:
        """Return the next row; None if there is none, or if all groups with rows are at their limits."""
        for _ in range(len(self._turns)):
            name = self._turns[0]
            group = self._groups[name]
            self._turns.rotate(-1)
            if group.running >= max(1, int(group.limit)):
                continue
            row = group.rows.popleft()
            if not group.rows:
                self._turns.remove(name)
            group.running += 1
            self.waiting -= 1
            return row
        return None

    def done(self, row: Row) -> None:
        """Note that a row has ended, successfully or not."""
        name = group_of(row.target_key)
        group = self._groups[name]
        group.running -= 1
        if group.limit < self._most:
            group.limit = min(self._most, group.limit + _STEP / max(group.limit, 1.0))
        elif not group.running and not group.rows:
            del self._groups[name]

    def slowed(self, key: str) -> None:
        """Note a 503 response for a key, and cut the limit of its group."""
        group = self._groups.get(group_of(key))
        now = self._clock()
        if group is not None and now - group.cut_at >= _QUIET:
            group.cut_at = now
            group.limit = max(1.0, min(group.limit, float(group.running or 1)) * _CUT)

    def limit(self, key: str) -> float:
        """Return how many rows of the key's group may move at once."""
        group = self._groups.get(group_of(key))
        return self._most if group is None else group.limit


class Bandwidth:
    """Limits bytes a second with a token bucket of one second. None means no limit."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._tokens = rate or 0.0
        self._at: float | None = None

    async def take(self, size: int) -> None:
        """Wait until `size` bytes may move. A large request goes into debt, which the next callers wait off."""
        if self._rate is None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        passed = 0.0 if self._at is None else now - self._at
        self._at = now
        self._tokens = min(self._rate, self._tokens + passed * self._rate) - size
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._rate)


class Memory:
    """Limits the bytes of content in memory to `size` in all; they are granted in the order of the requests."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Wait until `size` bytes are free, and keep them until the block ends. More than all of them count as all."""
        taken = min(size, self._size)
        await self._take(taken)
        try:
            yield
        finally:
            self._free += taken
            self._wake()

    async def _take(self, size: int) -> None:
        if not self._waiters and size <= self._free:
            self._free -= size
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((size, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                # They were granted in the same moment.
                self._free += size
            self._wake()
            raise

    def _wake(self) -> None:
        """Grant the longest waiting requests that fit; cancelled ones are only dropped."""
        while self._waiters and (self._waiters[0][1].cancelled() or self._waiters[0][0] <= self._free):
            size, waiter = self._waiters.popleft()
            if not waiter.cancelled():
                self._free -= size
                waiter.set_result(None)
