"""What observing costs: client CPU of small requests without and with metrics, Prometheus, logs and traces.

    nox -s benchmarks -- hooks [--server seaweedfs|nginx] [--rounds 60] [--requests 100]

4 KiB objects, 32 in flight. All ways take turns in one process, in another order each round; a round of each is compared
with the round of `none` beside it, and medians are printed. The marks are those that the metrics promise.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from prometheus_client import CollectorRegistry, generate_latest

from apm_s3 import Credentials, S3Manager
from apm_s3.exporters.logs import configure_logging
from apm_s3.exporters.prometheus import PrometheusExporter
from apm_s3.exporters.tracing import OpenTelemetryTracer
from benchmarks import servers
from benchmarks.clients import KEY_ID, REGION, SECRET, verifying_settings
from benchmarks.report import Table, show
from benchmarks.small import BODY, BUCKET, in_turn, prepare

VERBS = ("put", "get")
SCRAPED = 1000
"""Requests between two scrapes: a third of a second of work, where Prometheus scrapes every 15 s or so."""


class Nowhere(SpanExporter):
    """Takes spans as a fast exporter would, and drops them."""

    def export(self, _spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


@dataclass
class Way:
    """One way to observe.

    Attributes:
        mark: the most that it may cost, as a share of the CPU without it.
        after: done once for every thousand requests: a scrape.
        logs: whether operations are logged.
    """

    name: str
    s3: S3Manager
    mark: float | None = None
    after: Callable[[], object] = lambda: None
    logs: bool = False


@asynccontextmanager
async def all_ways(endpoint: str, log: Path) -> AsyncIterator[list[Way]]:
    """Every way, with an open manager of its own."""
    async with AsyncExitStack() as stack:

        async def manager(**arguments: Any) -> S3Manager:
            made = S3Manager(
                region=REGION,
                endpoint_url=endpoint,
                credentials=Credentials(KEY_ID, SECRET),
                settings=verifying_settings(),
                **arguments,
            )
            return await stack.enter_async_context(made)

        none = await manager()
        none._engine().runner._metrics = None  # what every manager has otherwise
        registry = CollectorRegistry()
        scraped = await manager()
        PrometheusExporter(registry).add(scraped)
        traced, sampled = TracerProvider(shutdown_on_exit=False), TracerProvider(
            sampler=TraceIdRatioBased(0.01), shutdown_on_exit=False
        )  # fmt: skip
        for provider in (traced, sampled):
            provider.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
            stack.callback(provider.shutdown)
        stream = stack.enter_context(log.open("w"))
        configure_logging("info", stream=stream)
        yield [
            Way("none", none),
            Way("S3Metrics", await manager(), 0.05),
            Way("Prometheus", scraped, 0.10, lambda: generate_latest(registry)),
            Way("logs at info, to a file", await manager(), logs=True),
            Way("hook that does nothing", await manager(hooks=(lambda _: None,))),
            Way("traces", await manager(tracer=OpenTelemetryTracer(traced))),
            Way("traces, 1 % sampled", await manager(tracer=OpenTelemetryTracer(sampled))),
        ]


async def round_of(way: Way, verb: str, requests: int) -> float:
    """Seconds of CPU for each request."""
    s3, keys = way.s3, [f"hooks/{number:06}" for number in range(requests)]
    if verb == "put":
        works = [lambda key=key: s3.upload_file(BUCKET, key, BODY) for key in keys]
    else:
        works = [lambda key=key: s3.read_file(BUCKET, key) for key in keys]
    logging.getLogger("apm_s3").setLevel(logging.INFO if way.logs else logging.CRITICAL)
    gc.collect()
    used = time.process_time()
    await in_turn(works)
    worked = time.process_time()
    way.after()
    return (worked - used) / requests + (time.process_time() - worked) / SCRAPED


async def measure(endpoint: str, rounds: int, requests: int) -> dict[str, list[tuple[str, float, float, float | None]]]:
    """By verb and way: its name, CPU of a request, share more than `none`, and mark."""
    taken: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with all_ways(endpoint, Path(folder, "log")) as ways:
            for way in ways:  # connections, routes, code that warms up
                for verb in VERBS:
                    await round_of(way, verb, requests)
            for turn in range(rounds):
                order = ways[turn % len(ways) :] + ways[: turn % len(ways)]
                for verb in VERBS:
                    for way in order if turn % 2 else order[::-1]:
                        taken.setdefault((verb, way.name), []).append(await round_of(way, verb, requests))
            return {
                verb: [
                    (way.name, statistics.median(taken[verb, way.name]), more(taken, verb, way.name), way.mark)
                    for way in ways
                ]
                for verb in VERBS
            }


def more(taken: dict[tuple[str, str], list[float]], verb: str, name: str) -> float:
    pairs = zip(taken[verb, name], taken[verb, "none"], strict=True)
    return statistics.median(used / base for used, base in pairs) - 1


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=("seaweedfs", "nginx"), default="seaweedfs")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--requests", type=int, default=100)
    arguments = parser.parse_args()
    with servers.start(arguments.server) as endpoint:
        if arguments.server == "seaweedfs":
            asyncio.run(prepare(endpoint, listed=False))
            asyncio.run(make_bucket(endpoint))
        results = asyncio.run(measure(endpoint, arguments.rounds, arguments.requests))
    note = f"4 KiB, 32 in flight, {arguments.rounds} rounds in turn."
    for verb, figures in results.items():
        rows = {
            name: (used * 1e6, share * 100, None if mark is None else mark * 100) for name, used, share, mark in figures
        }
        columns = ("CPU of a request, µs", "more than without, %", "promised, %")
        title = f"CPU of a {verb}; less is better"
        show(Table("Metrics, logs and traces", title, columns, rows, plotted=columns[:1], note=note))


async def make_bucket(endpoint: str) -> None:
    async with S3Manager(region=REGION, endpoint_url=endpoint, credentials=Credentials(KEY_ID, SECRET)) as s3:
        await s3.ensure_bucket(BUCKET)


if __name__ == "__main__":
    main()
