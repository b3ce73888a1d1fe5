"""Finds what holds the event loop: in its own thread, or by holding the interpreter lock in another."""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
import threading
import time
import traceback
from types import FrameType


class Watchdog:
    """Between `async with` and its end, the longest time is measured that one callback, or one `select`, takes.

    What counts is the CPU time of the loop's thread, and the time in which it waits for the interpreter lock: a thread
    that wants the lock asks for it, and sleeps, once a switch interval, and the kernel counts these sleeps. So a
    machine that is busy with other things is not mistaken for a stall, as it would be by the time of day alone.

    Attributes:
        longest: seconds.
        culprits: what the threads did in the middle of it.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._running = False
        self._wall, self._used = time.monotonic(), _used()
        self._samples: list[str] = []
        self._sampler = threading.Thread(target=self._sample, name="watchdog", daemon=True)
        self.longest = 0.0
        self.culprits: list[str] = []

    async def __aenter__(self) -> Watchdog:
        # What the test run itself holds would make each garbage collection longer than it is in a program.
        gc.collect()
        gc.freeze()
        run_handle = self._run_handle = asyncio.Handle._run

        def measured(handle: asyncio.Handle) -> None:
            self._mark()
            run_handle(handle)
            self._mark()

        asyncio.Handle._run = measured  # type: ignore[method-assign]
        self._running = True
        self._mark()
        self.longest = 0.0
        asyncio.get_running_loop().call_soon(self._turn)
        self._sampler.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.Handle._run = self._run_handle  # type: ignore[method-assign]
        self._mark()
        self._running = False
        self._sampler.join()
        gc.unfreeze()

    def _turn(self) -> None:
        if self._running:
            asyncio.get_running_loop().call_soon(self._turn)

    def _mark(self) -> None:
        wall, used = time.monotonic(), _used()
        spent = min(wall - self._wall, used - self._used)
        if spent > self.longest:
            self.longest = spent
            self.culprits = self._samples
        self._wall, self._used, self._samples = wall, used, []

    def _sample(self) -> None:
        while self._running:
            time.sleep(self._limit / 5)
            if time.monotonic() - self._wall > self._limit / 2 and len(self._samples) < 9:
                self._samples += [
                    _stack(frame) for ident, frame in sys._current_frames().items() if ident != threading.get_ident()
                ]


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_THREAD)
    return usage.ru_utime + usage.ru_stime + usage.ru_nvcsw * sys.getswitchinterval()


def _stack(frame: FrameType) -> str:
    return " < ".join(f"{entry.name}:{entry.lineno}" for entry in reversed(traceback.extract_stack(frame)[-6:]))
