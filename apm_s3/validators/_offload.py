"""Validation beside the event loop: in a thread, or in processes of its own for what is large.

A thread is not enough for megabytes: the garbage collector walks all the nodes of a document at once, with the
interpreter lock held (100 ms for 2 MB of YAML). A process gets its work on its input and answers on its output; if
it cannot be started or fails, a thread does the work.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast

from apm_s3._tasks import run_all

T = TypeVar("T")

THREAD_BYTES = 256 * 1024
"""The largest sources that are left to a thread."""

SHARE_BYTES = 1024**2
"""What a further process is started for: half a second's work, twice the time of its start."""

MAX_SHARE = 32 * 1024**2
"""What a process is given: putting it together holds the event loop for some 20 ms."""

_SLICE = 1024**2

MAX_PROCESSES = 4
"""At once for one bundle; each takes some 70 MB."""

_MAIN = "from apm_s3.validators._offload import serve; serve()"


async def run_beside(work: Callable[[], T], size: int) -> T:
    """What `work`, which can be pickled where it has more than `THREAD_BYTES` of sources, returns."""
    if size > THREAD_BYTES and sys.executable:
        answer = await _in_process(work)
        if answer is not None:
            return cast("T", await asyncio.to_thread(pickle.loads, answer))
    return await asyncio.to_thread(work)


async def run_shared(
    work: Callable[[Mapping[str, bytes]], Callable[[], Mapping[str, T]]], files: Mapping[str, bytes]
) -> dict[str, T]:
    """What the work for each share of `files` returns, by name; large ones are shared out among the processors."""
    total = sum(map(len, files.values()))
    at_once = min(_processors(), MAX_PROCESSES)
    count = 1 if total <= THREAD_BYTES else max(min(at_once, -(-total // SHARE_BYTES)), -(-total // MAX_SHARE))
    shares: list[dict[str, bytes]] = [{} for _ in range(count)]
    # Large ones first, in turn: shares of about the same size.
    for at, name in enumerate(sorted(files, key=lambda name: len(files[name]), reverse=True)):
        shares[at % count][name] = files[name]
    calls = (run_beside(work(share), sum(map(len, share.values()))) for share in shares)
    found = await run_all(calls, limit=at_once)
    return {name: result for results in found for name, result in results.items()}


def _processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def _in_process(work: Callable[[], object]) -> bytes | None:
    """The answer of a process of its own, None where there is none to be had."""
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _MAIN),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths},
        )
    except (OSError, NotImplementedError):
        return None
    try:
        await _send(process, work)
        answer, _ = await process.communicate()
    finally:
        # Cancelled while it works: nobody waits for its answer any more.
        if process.returncode is None:
            process.kill()
    return answer if process.returncode == 0 else None


async def _send(process: asyncio.subprocess.Process, work: Callable[[], object]) -> None:
    """Hand `work` to a process, in slices between which the event loop has its turn."""
    pipe, message = process.stdin, memoryview(pickle.dumps(work))
    if pipe is None:
        raise AssertionError("it was started with a pipe")
    # A process that ends before it has read everything says so by its return code.
    with suppress(BrokenPipeError, ConnectionResetError):
        for start in range(0, len(message), _SLICE):
            pipe.write(message[start : start + _SLICE])
            await pipe.drain()
    pipe.close()


def serve() -> None:
    """The process: read one piece of work from the input, write what it returns to the output."""
    # Trees have no cycles: walking them is half of the time, for nothing.
    gc.disable()
    work: Callable[[], object] = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own parent wrote it
    sys.stdout.buffer.write(pickle.dumps(work()))
