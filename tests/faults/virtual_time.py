"""An event loop whose clock stands still while anything happens, for a client and a server that share the loop.

A timeout of seconds then costs none, and a busy machine cannot make one expire: the clock moves to the next timer only
when no socket has anything to read and no thread is at work.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from unittest import mock

T = TypeVar("T")

STEP = 1 / 16
"""Seconds of virtual time by whose multiples the clock moves; a power of two, so that no sum is rounded."""
POLL = 0.05
"""Seconds of real time for which a thread is waited for at once."""


class _IdleSelector(selectors.DefaultSelector):
    """Asks the loop what to do when nothing is ready."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        # The kernel may need a moment for what was sent to this process by itself.
        if ready := super().select(self.loop.patience):
            return ready
        if timeout is None or self.loop.threads:
            return super().select(POLL)
        # Timers that expire at almost the same time expire together: each move of the clock costs real time.
        self.loop.now = math.ceil((self.loop.now + timeout) / STEP) * STEP
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The loop.

    Attributes:
        now: its time, in seconds.
        patience: seconds of real time for which nothing must arrive before the clock moves.
        threads: how many calls run in threads.
    """

    def __init__(self) -> None:
        self.now = time.monotonic()
        self.patience = 0.002
        self.threads = 0
        selector = _IdleSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """The virtual time."""
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """As usual; the clock stands still until the thread is done."""
        future = super().run_in_executor(executor, func, *args)
        self.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self.threads -= 1


def run_in_virtual_time(main: Callable[[VirtualTimeLoop], Coroutine[Any, Any, T]]) -> T:
    """Run `main(loop)`; `time.monotonic` tells the loop's time meanwhile."""
    loop = VirtualTimeLoop()
    with (
        asyncio.Runner(loop_factory=lambda: loop) as runner,
        mock.patch.object(time, "monotonic", loop.time),
    ):
        return runner.run(main(loop))
