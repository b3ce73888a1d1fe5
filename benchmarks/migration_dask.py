"""A migration by two and by four Dask workers on this machine, beside one process.

    nox -s benchmarks -- migration_dask [--objects 10000] [--rounds 3]

Objects of 4 KiB, bucket to bucket on one SeaweedFS, without the start of the cluster. The results are compared object by
object. On two cores that SeaweedFS shares, more workers gain little: the figures show what the ranges cost.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from apm_s3.migration import MigrationReport, migrate
from apm_s3.migration_dask import S3Access, migrate_on_dask
from benchmarks.migration import KIB, environment, fill, make_buckets, manager
from benchmarks.report import Table, show
from tests.servers import Server, seaweedfs_server

WORKERS = (2, 4)


async def timed(server: Server, count: int, label: str, work: Callable[[str], Awaitable[MigrationReport]]) -> float:
    """The seconds that `work` takes to bring all objects below `label`; what it has brought is checked and deleted."""
    began = time.perf_counter()
    report = await work(f"s3://target/{label}")
    seconds = time.perf_counter() - began
    async with manager(server) as s3:
        ours = {info.key.removeprefix("small/"): info.etag async for info in s3.iter_files("source", "small/")}
        theirs = {info.key.removeprefix(f"{label}/"): info.etag async for info in s3.iter_files("target", f"{label}/")}
        if ours != theirs or report.moved != count or report.verified != count:
            raise RuntimeError(f"{label}: {report}, {len(theirs)} objects arrived")
        await s3.delete_prefix("target", f"{label}/")
    return seconds


async def one_process(server: Server, target: str) -> MigrationReport:
    async with manager(server) as s3:
        return await migrate("s3://source/small", target, source_s3=s3)


async def on_workers(client: Any, access: S3Access, target: str) -> MigrationReport:
    return await migrate_on_dask("s3://source/small", target, client, source_access=access)


async def main(count: int, rounds: int) -> None:
    from distributed import Client, LocalCluster

    with seaweedfs_server() as server:
        os.environ.update(environment(server))
        for name in set(os.environ) - set(environment(server)):
            del os.environ[name]
        await make_buckets(server)
        await fill(server, "small", count, 4 * KIB)
        access = S3Access(server.endpoint_url, server.region)
        seconds: dict[str, list[float]] = {}
        for turn in range(rounds):
            found = await timed(server, count, f"one-{turn}", partial(one_process, server))
            seconds.setdefault("one process", []).append(found)
        for workers in WORKERS:
            options: dict[str, Any] = {"threads_per_worker": 1, "processes": True, "dashboard_address": None}
            cluster = await asyncio.to_thread(LocalCluster, n_workers=workers, **options)
            client = await asyncio.to_thread(Client, cluster)
            try:
                for turn in range(rounds):
                    work = partial(on_workers, client, access)
                    found = await timed(server, count, f"dask-{workers}-{turn}", work)
                    seconds.setdefault(f"{workers} workers", []).append(found)
            finally:
                await asyncio.to_thread(client.close)
                await asyncio.to_thread(cluster.close)
    medians = {name: statistics.median(found_all) for name, found_all in seconds.items()}
    rows = {name: (median, count / median) for name, median in medians.items()}
    title = f"Dask workers on this machine, {count} objects of 4 KiB"
    note = "Without the start of the cluster. Workers and server share the cores: the figures show what ranges cost."
    show(Table("Migrations", title, ("seconds", "objects a second"), rows, ratios=True, note=note))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.objects, arguments.rounds))
