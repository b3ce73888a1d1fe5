"""A batch of mixed small operations: operations a second, client CPU and peak memory.

    nox -s benchmarks -- batch [--operations 20000] [--rounds 3]

`S3Manager.batch_iter` and `batch` beside the manager's own verbs and aiobotocore's, each under `asyncio.gather` with a
semaphore.
One operation in five each: upload, read, head, copy and delete, of 4 KiB, 64 at a time. Each contender runs in a process
of its own, in turn, for several rounds; medians are printed, and their ratios to `batch_iter`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.clients import Aiobotocore, ApmS3, Client
from benchmarks.report import Table, show
from benchmarks.small import BODY, BUCKET, ROOT, cpu

AT_ONCE = 64
READ = 200
"""Objects that are read, looked at and copied in turn."""
KINDS = ("put", "get", "head", "copy", "delete")
FIGURES = ("rate", "cpu", "mib", "grown")
COLUMNS = ("operations a second", "CPU of each, µs", "peak MiB", "MiB more than before")
Figures = dict[str, float]


def plan(count: int, label: str) -> Iterator[tuple[str, str, str]]:
    """The operations: verb, key, and for copies the target."""
    for number in range(count):
        verb = KINDS[number % len(KINDS)]
        key = f"{label}/{verb}/{number:06}" if verb in ("put", "delete") else f"{label}/there/{number % READ}"
        yield verb, key, f"{label}/copied/{number:06}"


def operation(verb: str, key: str, target: str) -> Any:
    """One of them for this library's batch."""
    from apm_s3.batch import CopyOp, DeleteOp, DownloadOp, HeadOp, UploadOp

    match verb:
        case "put":
            return UploadOp(BUCKET, key, BODY)
        case "get":
            return DownloadOp(BUCKET, key)
        case "head":
            return HeadOp(BUCKET, key)
        case "copy":
            return CopyOp(BUCKET, key, BUCKET, target)
    return DeleteOp(BUCKET, key)


async def batch_iter(client: Client, count: int, label: str) -> int:
    """Results in the order of completion."""
    operations = (operation(*entry) for entry in plan(count, label))
    return sum([result.success async for result in client.s3.batch_iter(operations, concurrency=AT_ONCE)])


async def batch(client: Client, count: int, label: str) -> int:
    """A list of results. It holds no contents: heads stand for reads."""
    entries = (("head" if verb == "get" else verb, key, target) for verb, key, target in plan(count, label))
    operations = (operation(*entry) for entry in entries)
    return len((await client.s3.batch(operations, concurrency=AT_ONCE)).succeeded)


async def gather(client: Client, count: int, label: str) -> int:
    """The obvious way."""
    semaphore = asyncio.Semaphore(AT_ONCE)

    async def one(verb: str, key: str, target: str) -> bool:
        method = getattr(client, verb)
        arguments = {"put": (key, BODY), "copy": (key, target)}.get(verb, (key,))
        async with semaphore:
            await method(*arguments)
        return True

    return sum(await asyncio.gather(*(one(*entry) for entry in plan(count, label))))


Contender = tuple[type[Client], Callable[[Any, int, str], Awaitable[int]]]
CONTENDERS: dict[str, Contender] = {
    "batch_iter": (ApmS3, batch_iter),
    "batch": (ApmS3, batch),
    "gather over apm_s3": (ApmS3, gather),
    "gather over aiobotocore": (Aiobotocore, gather),
}


def peak() -> float:
    """The most memory that this process has had, MiB. What `getrusage` tells is its parent's, where that had more."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


async def measure(name: str, endpoint: str, count: int, label: str) -> Figures:
    """The figures of one contender in one round."""
    kind, run = CONTENDERS[name]
    client = kind(endpoint, BUCKET)
    await client.open()
    try:
        await client.head(f"{label}/there/0")
        before, began, used = peak(), time.perf_counter(), cpu()
        done = await run(client, count, label)
        seconds, used = time.perf_counter() - began, cpu() - used
        if done != count:
            raise RuntimeError(f"{done} of {count} operations were done")
        return {"rate": count / seconds, "cpu": used / count * 1e6, "mib": peak(), "grown": peak() - before}
    finally:
        await client.close()


async def fill(endpoint: str, count: int, label: str) -> None:
    """What is read, and what is deleted."""
    client = ApmS3(endpoint, BUCKET)
    await client.open()
    there = [operation("put", f"{label}/there/{number}", "") for number in range(READ)]
    doomed = [operation("put", key, "") for verb, key, _ in plan(count, label) if verb == "delete"]
    (await client.s3.batch([*there, *doomed])).raise_for_failures()
    await client.close()


def run_child(*job: Any) -> Figures:
    """One contender, one round, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.batch", "--job", json.dumps(job)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def report(results: dict[str, list[Figures]], operations: int) -> None:
    """Medians, and in brackets how many times those of `batch_iter`."""
    rows = {
        name: tuple(statistics.median(one[figure] for one in rounds) for figure in FIGURES)
        for name, rounds in results.items()
    }
    note = f"{operations} uploads, reads, heads, copies and deletions of 4 KiB on SeaweedFS, {AT_ONCE} at a time."
    title = "Operations a second (more is better), CPU and memory (less is better)"
    show(Table("A batch of mixed operations", title, COLUMNS, rows, ratios=True, plotted=COLUMNS, note=note))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(asyncio.run(measure(*json.loads(arguments.job)))), flush=True)
        os._exit(0)

    from benchmarks import servers

    results: dict[str, list[Figures]] = {name: [] for name in CONTENDERS}
    with servers.start("seaweedfs") as endpoint:
        asyncio.run(make_bucket(endpoint))
        for turn in range(arguments.rounds):
            for name in CONTENDERS:
                label = f"{name.replace(' ', '_')}-{turn}"
                asyncio.run(fill(endpoint, arguments.operations, label))
                results[name].append(run_child(name, endpoint, arguments.operations, label))
                print(f"round {turn + 1}: {name} done", file=sys.stderr)
    report(results, arguments.operations)


async def make_bucket(endpoint: str) -> None:
    """The bucket that all use."""
    client = ApmS3(endpoint, BUCKET)
    await client.open()
    await client.s3.create_bucket(BUCKET)
    await client.close()


if __name__ == "__main__":
    main()
