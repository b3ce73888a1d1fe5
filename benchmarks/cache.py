"""Reads from memory: `configs.download` within the staleness, beside cachetools and aiocache giving the same bytes.

Run it with `nox -s benchmarks -- cache`. All of it runs in one process, in turns, and the medians of the rounds are
compared. What the others give is a shared object under one key; a `download` also looks whether the environment's state
is young enough, counts the hit, moves two entries in the order of their use, and makes a file of the caller's own.
"""

import argparse
import asyncio
import gc
import statistics
import time
from functools import partial

from aiocache import SimpleMemoryCache
from aiocache.serializers import NullSerializer
from cachetools import TTLCache

from apm_s3 import CacheSettings, S3Manager, S3Settings
from benchmarks.report import Table, show
from benchmarks.servers import BUCKET, start
from tests.servers import CREDENTIALS, REGION

CONFIG = "global:\n  scrape_interval: 30s\n" + "# a line of a comment\n" * 100
MARK = 200_000


async def measured(read, calls):
    """Calls a second of `await read()`."""
    gc.collect()
    began = time.perf_counter()
    for _ in range(calls):
        await read()
    return calls / (time.perf_counter() - began)


async def readers(s3):
    """What is compared, by name: coroutine functions that give the same file."""
    store = s3.configs(BUCKET)
    file = await store.download("prometheus", "production")

    plain = TTLCache(maxsize=10_000, ttl=3600)
    key = ("prometheus", "production", None)
    plain[key] = file
    backend = SimpleMemoryCache(serializer=NullSerializer())
    await backend.set("prometheus/production", file, ttl=3600)

    async def cachetools():
        return plain[key]

    async def aiocache():
        return await backend.get("prometheus/production")

    return {
        "configs.download": partial(store.download, "prometheus", "production"),
        "cachetools.TTLCache": cachetools,
        "aiocache memory": aiocache,
    }


async def run(endpoint, rounds, calls):
    settings = S3Settings(cache=CacheSettings(current_staleness=3600.0))
    server = {"region": REGION, "endpoint_url": endpoint, "credentials": CREDENTIALS}
    async with S3Manager(**server) as s3:
        await s3.create_bucket(BUCKET)
        await s3.configs(BUCKET).upload("prometheus", "production", CONFIG)
    async with S3Manager(**server, settings=settings) as s3:
        before = s3.metrics.snapshot().overall.total
        await asyncio.gather(*(s3.configs(BUCKET).download("prometheus", "production") for _ in range(1000)))
        cold = s3.metrics.snapshot().overall.total - before

        compared = await readers(s3)
        rates = {name: [] for name in compared}
        hits = s3.cache.stats().hits
        for _ in range(rounds):
            for name, read in compared.items():
                rates[name].append(await measured(read, calls))
        counted = s3.cache.stats().hits - hits
    report(rates, cold, counted, rounds * calls)


def report(rates, cold, counted, expected):
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ours = medians["configs.download"]
    print(f"hits counted: {counted} of {expected}")
    columns = ("reads a second", "µs of each")
    rows = {name: (rate, 1e6 / rate) for name, rate in medians.items()}
    note = f"1 000 concurrent cold downloads sent {cold} requests."
    title = "Reads of a cached configuration; more a second is better"
    show(Table("Cache hits", title, columns, rows, ratios=True, plotted=columns[:1], note=note))
    print(f"the mark: {MARK:,} a second; {'reached' if ours >= MARK else 'MISSED'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=100_000)
    arguments = parser.parse_args()
    with start("seaweedfs") as endpoint:
        asyncio.run(run(endpoint, arguments.rounds, arguments.calls))


if __name__ == "__main__":
    main()
