"""The longest time that the event loop is held, in milliseconds, while large things are put, got, listed and so on.

    nox -s benchmarks -- stalls [--rounds 3] [--size 64]

Beside aiobotocore where it can do the same. A busy machine only adds to a stall, so the best round counts.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from apm_s3 import S3Manager
from apm_s3.migration import migrate
from apm_s3.validators import validate_config_async
from benchmarks import servers
from benchmarks.clients import Aiobotocore, ApmS3, Client
from benchmarks.large import MIB
from benchmarks.large_bundle import MAIN, rules
from benchmarks.report import Table, Value, show
from benchmarks.small import BUCKET, LISTED, prepare
from benchmarks.validate import configuration

FILES, MOVED = 500, 2000
TICK = 0.001
Work = Callable[[], Awaitable[Any]]


async def longest(work: Work) -> float:
    """Milliseconds that the loop was late at most while `work` ran."""
    late = 0.0

    async def tick() -> None:
        nonlocal late
        while True:
            began = time.perf_counter()
            await asyncio.sleep(TICK)
            late = max(late, time.perf_counter() - began - TICK)

    gc.collect()
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    await work()
    await asyncio.sleep(TICK)  # so that what held the loop at the very end is seen
    ticking.cancel()
    return late * 1000


def of_objects(client: Client, size: int) -> dict[str, Work]:
    """What both libraries can do."""
    body = os.urandom(size * MIB)
    return {
        f"put {size} MiB": lambda: client.put("large", body),
        f"get {size} MiB": lambda: client.get("large"),
        f"list {LISTED} keys": lambda: client.list("listed/"),
    }


def of_configurations(s3: S3Manager) -> dict[str, Work]:
    """What only this library does."""
    store = s3.configs(BUCKET)
    random = Random(1)
    files = {"prometheus.yml": MAIN, **{f"rules/{n:04}.yml": rules(n, random) for n in range(FILES - 1)}}
    text = configuration(2_000_000)
    return {
        "validate 2 MB": lambda: validate_config_async("prometheus", text),
        f"upload {FILES} files, 10 MB": lambda: store.upload("prometheus", "staging", files=files),
        "download them": lambda: store.download_bundle("prometheus", "staging"),
        "plan their deploy": lambda: store.plan_deploy("staging", "production", create=True),
        f"migrate {MOVED} objects": lambda: migrate(
            f"s3://{BUCKET}/moved/", f"s3://{BUCKET}/{os.urandom(4).hex()}/", source_s3=s3
        ),
    }


async def measure(endpoint: str, rounds: int, size: int) -> dict[str, dict[str, float]]:
    """The shortest of the longest stalls of each library, by operation."""
    ours, theirs = ApmS3(endpoint, BUCKET), Aiobotocore(endpoint, BUCKET)
    await ours.open()
    await theirs.open()
    try:
        for number in range(MOVED):
            await ours.put(f"moved/{number:05}", b"x" * 100)
        works = {
            "apm_s3": {**of_objects(ours, size), **of_configurations(ours.s3)},
            "aiobotocore": of_objects(theirs, size),
        }
        found: dict[str, dict[str, float]] = {name: {} for name in works}
        for turn in range(rounds + 1):  # the first loads modules and connects
            for name, operations in works.items():
                for operation, work in operations.items():
                    late = await longest(work)
                    if turn:
                        found[name][operation] = min(late, found[name].get(operation, late))
        return found
    finally:
        await theirs.close()
        await ours.close()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=64, help="MiB")
    arguments = parser.parse_args()
    with servers.start("seaweedfs") as endpoint:
        asyncio.run(prepare(endpoint, listed=True))
        found = asyncio.run(measure(endpoint, arguments.rounds, arguments.size))
    columns = tuple(found["apm_s3"])
    rows: dict[str, tuple[Value, ...]] = {name: tuple(map(late.get, columns)) for name, late in found.items()}
    note = f"The best of {arguments.rounds} rounds. This library promises at most 50 ms."
    title = "The longest time that the event loop is held, ms; less is better"
    show(Table("Event loop", title, columns, rows, ratios=True, plotted=columns, note=note))


if __name__ == "__main__":
    main()
