"""Provides work to the workers of a batch, from an iterable, or from an async iterable read by a single task.

Deletions are grouped; an incomplete group is sent when its first deletion has waited for a second, or at the end.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterable, Iterator, Sized
from typing import Any

from apm_s3._s3.bulk.deletions import Deletions, Group, can_share
from apm_s3._tasks import Line
from apm_s3.batch import DeleteOp, Operation, Operations

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
