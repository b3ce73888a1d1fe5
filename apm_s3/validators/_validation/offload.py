"""Validation outside the event loop: in a thread, or in separate processes for large inputs.

A thread is not enough for megabytes: the garbage collector walks all nodes of a document in one go while it holds the
interpreter lock (100 ms for 2 MB of YAML). A process reads its work from stdin and writes the result to stdout. If it
cannot be started or fails, a thread does the work, unless the system killed it: this process would be the next one.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from apm_s3._processes import ROOT, clean_environment, isolated_python
from apm_s3._tasks import run_all, wait_shielded

T = TypeVar("T")

THREAD_BYTES = 256 * 1024
"""The largest sources that a thread checks."""

SHARE_BYTES = 1024**2
"""The work that justifies another process: half a second, twice the time to start one."""

LARGE_BYTES = 512 * 1024
"""The largest texts that a thread searches for secrets or compares, which is quicker than a validation."""

MAX_SHARE = 32 * 1024**2
"""The maximum input of a process: pickling it blocks the event loop for about 20 ms."""

_SLICE = 1024**2

MAX_PROCESSES = 4
"""Concurrent processes for one bundle; each needs about 70 MB."""

_MAIN = "from apm_s3.validators._validation.offload import serve; serve()"


MAX_BYTES_AT_ONCE = 16 * 1024**2
"""Sources that are worked on at the same time; a larger one is alone. Each byte takes up to 80 bytes of memory."""

MAX_ADMITTED, MAX_ADMITTED_BYTES = 64, 64 * 1024**2
"""Validations that may have begun or wait, and their sources, where `BOUNDED` is set."""

PATIENCE = 15.0
"""Seconds for which work waits for a processor where `BOUNDED` is set: a refusal is better than an answer too late."""

STALLED = 5.0
"""Seconds of waiting of the first in the queue after which more work is refused at once where `BOUNDED` is set."""

BOUNDED: ContextVar[bool] = ContextVar("apm_s3_bounded_validations", default=False)
"""Whether a validation beyond that is refused, as in a service, which cannot choose its callers."""


class Busy(Exception):
    """Too much work is waiting, or for too long: it was refused before it began. Only where `BOUNDED` is set."""


class Gate:
    """Shares processors among all work of an event loop, in the order in which it came."""

    def __init__(self, processors: int) -> None:
        self._slots = processors
        self._bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None], float]] = deque()
        self._admitted = 0
        self._admitted_bytes = 0

    @contextmanager
    def admit(self, size: int) -> Iterator[None]:
        """Count a validation of `size` bytes, all of whose work is done inside.

        Raises:
            Busy: there are too many, or they wait for too long, and `BOUNDED` is set.
        """
        full = self._admitted >= MAX_ADMITTED or self._admitted_bytes + size > MAX_ADMITTED_BYTES
        if BOUNDED.get() and ((full and self._admitted) or self._is_stalled()):
            raise Busy
        self._admitted += 1
        self._admitted_bytes += size
        try:
            yield
        finally:
            self._admitted -= 1
            self._admitted_bytes -= size

    @asynccontextmanager
    async def slot(self, size: int, *, begun: bool = False) -> AsyncIterator[list[asyncio.Future[Any]]]:
        """Wait until a processor is free, and memory for `size` bytes of sources.

        Yields a list: they are taken until a thread in it ends, which a cancellation does not stop.

        Args:
            begun: whether this ends work of which the larger part is done: it goes first, and is not refused.

        Raises:
            Busy: it waited for `PATIENCE`, and `BOUNDED` is set.
        """
        if self._waiting or not self._fits(size):
            try:
                async with asyncio.timeout(PATIENCE if BOUNDED.get() and not begun else None):
                    await self._turn(size, begun=begun)
            except TimeoutError:
                raise Busy from None
        else:
            self._take(size)
        threads: list[asyncio.Future[Any]] = []
        try:
            yield threads
        finally:
            if any(not each.done() for each in threads):
                threads[-1].add_done_callback(lambda _: self._give_back(size))
            else:
                self._give_back(size)

    async def _turn(self, size: int, *, begun: bool) -> None:
        loop = asyncio.get_running_loop()
        place = size, loop.create_future(), loop.time()
        turn = place[1]
        if begun:
            self._waiting.appendleft(place)
        else:
            self._waiting.append(place)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(size)
            else:
                with suppress(ValueError):
                    self._waiting.remove(place)
                self._wake()
            raise

    def _is_stalled(self) -> bool:
        return bool(self._waiting) and asyncio.get_running_loop().time() - self._waiting[0][2] >= STALLED

    def _fits(self, size: int) -> bool:
        return self._slots > 0 and (self._bytes == 0 or self._bytes + size <= MAX_BYTES_AT_ONCE)

    def _take(self, size: int) -> None:
        self._slots -= 1
        self._bytes += size

    def _give_back(self, size: int) -> None:
        self._slots += 1
        self._bytes -= size
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, turn, _ = self._waiting.popleft()
            if not turn.done():
                self._take(size)
                turn.set_result(None)


_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Gate, Gate]] = WeakKeyDictionary()


def gate() -> Gate:
    """Return the gate of the running event loop for validations and other long work."""
    return _both()[0]


def _both() -> tuple[Gate, Gate]:
    """Return the gates for long and for quick work: reads of masked files must not wait for hostile validations."""
    loop = asyncio.get_running_loop()
    found = _gates.get(loop)
    return _gates.setdefault(loop, (Gate(_processors()), Gate(_processors()))) if found is None else found


async def run_beside(work: Callable[[], T], size: int, *, begun: bool = False) -> T:
    """Run `work` and return its result, as soon as a processor is free. Above `THREAD_BYTES`, it must be picklable.

    After a cancellation, a process is killed; a thread goes on, and its processor counts as taken until it ends.

    Args:
        begun: see `Gate.slot`.
    """
    async with gate().slot(size, begun=begun) as threads:
        if size > THREAD_BYTES:
            answer = await _in_process(work)
            if answer is not None:
                return cast("T", await asyncio.to_thread(pickle.loads, answer))
        return await _in_thread(work, threads)


async def run_quick(work: Callable[[], T]) -> T:
    """Run `work` in a thread, of which there are as many at a time as processors, besides those of `run_beside`."""
    async with _both()[1].slot(0) as threads:
        return await _in_thread(work, threads)


async def run_large(work: Callable[[], T], size: int) -> T:
    """Run work on texts of `size` bytes that are no validation: as `run_quick` up to `LARGE_BYTES`, or `run_beside`."""
    return await (run_beside(work, size) if size > LARGE_BYTES else run_quick(work))


async def _in_thread(work: Callable[[], T], threads: list[asyncio.Future[Any]]) -> T:
    thread = asyncio.get_running_loop().run_in_executor(None, copy_context().run, work)
    threads.append(thread)
    return await wait_shielded(thread)


async def run_shared(
    work: Callable[[Mapping[str, bytes]], Callable[[], Mapping[str, T]]], files: Mapping[str, bytes]
) -> dict[str, T]:
    """Run the work for `files`, divided among the processors if they are large, and return the results by name."""
    total = sum(map(len, files.values()))
    at_once = min(_processors(), MAX_PROCESSES)
    count = 1 if total <= THREAD_BYTES else max(min(at_once, -(-total // SHARE_BYTES)), -(-total // MAX_SHARE))
    shares: list[dict[str, bytes]] = [{} for _ in range(count)]
    # Distribute large files first, in turn, for shares of about the same size.
    for at, name in enumerate(sorted(files, key=lambda name: len(files[name]), reverse=True)):
        shares[at % count][name] = files[name]
    calls = (run_beside(work(share), sum(map(len, share.values()))) for share in shares)
    found = await run_all(calls, limit=at_once)
    return {name: result for results in found for name, result in results.items()}


def _processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def _in_process(work: Callable[[], object]) -> bytes | None:
    """Run `work` in a separate process and return its output; None if that fails."""
    command = isolated_python(_MAIN)
    if command is None:
        return None
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=ROOT,
            env=clean_environment(),
        )
    except (OSError, NotImplementedError):
        return None
    try:
        await _send(process, work)
        answer, _ = await process.communicate()
    finally:
        # After a cancellation, nobody waits for the result.
        if process.returncode is None:
            process.kill()
    if process.returncode is not None and process.returncode < 0:
        raise MemoryError(f"a process of this library was killed by signal {-process.returncode}: give it more memory")
    return answer if process.returncode == 0 else None


async def _send(process: asyncio.subprocess.Process, work: Callable[[], object]) -> None:
    """Send `work` to a process in slices, so that the event loop is not blocked."""
    pipe, message = process.stdin, memoryview(pickle.dumps(work))
    if pipe is None:
        raise AssertionError("it was started with a pipe")
    # If a process exits before it has read everything, its return code shows it.
    with suppress(BrokenPipeError, ConnectionResetError):
        for start in range(0, len(message), _SLICE):
            pipe.write(message[start : start + _SLICE])
            await pipe.drain()
    pipe.close()


def serve() -> None:
    """Run in the process: read the work from stdin, and write its result to stdout."""
    # Trees have no cycles, and garbage collection would take half of the time.
    gc.disable()
    work: Callable[[], object] = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own parent wrote it
    sys.stdout.buffer.write(pickle.dumps(work()))
