"""Validation outside the event loop: in a thread, or in separate processes for large inputs.

A thread is not enough for megabytes: the garbage collector walks all nodes of a document in one go while it holds the
interpreter lock (100 ms for 2 MB of YAML). A process reads its work from stdin and writes the result to stdout. If it
cannot be started or fails, a thread does the work.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar, cast

from apm_s3._processes import ROOT, clean_environment, isolated_python
from apm_s3._tasks import run_all

T = TypeVar("T")

THREAD_BYTES = 256 * 1024
"""The largest sources that a thread checks."""

SHARE_BYTES = 1024**2
"""The work that justifies another process: half a second, twice the time to start one."""

MAX_SHARE = 32 * 1024**2
"""The maximum input of a process: pickling it blocks the event loop for about 20 ms."""

_SLICE = 1024**2

MAX_PROCESSES = 4
"""Concurrent processes for one bundle; each needs about 70 MB."""

_MAIN = "from apm_s3.validators._validation.offload import serve; serve()"


async def run_beside(work: Callable[[], T], size: int) -> T:
    """Run `work` and return its result. Above `THREAD_BYTES` of sources, it must be picklable."""
    if size > THREAD_BYTES:
        answer = await _in_process(work)
        if answer is not None:
            return cast("T", await asyncio.to_thread(pickle.loads, answer))
    return await asyncio.to_thread(work)


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
