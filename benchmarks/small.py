"""Small objects: requests a second and client CPU of each client, 4 KiB objects, 32 in flight.

    nox -s benchmarks -- small [--server seaweedfs|nginx] [--rounds 5] [--requests 2000] [client ...]

Each client runs in a process of its own, in turn, for several rounds; medians are printed, and their ratios to this
library's. The nox session installs the clients; nginx is Debian's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.clients import CLIENTS, CONCURRENCY, Bare, Client
from benchmarks.report import Table, show

ROOT = Path(__file__).parents[1]
BUCKET = "benchmark"
BODY = bytes(range(256)) * 16
LISTED = 20_000
VERBS = {"seaweedfs": ("put", "get", "head", "copy", "list", "delete"), "nginx": ("put", "get", "head")}
"""nginx has no DeleteObjects, with which obstore deletes, and neither listing nor copy of S3's."""

NOT_ON = {"nginx": ("miniopy-async",), "seaweedfs": ()}
"""miniopy-async takes nginx's 201 to a PUT for an error."""

SERVERS = {"seaweedfs": "SeaweedFS", "nginx": "nginx"}

Figures = dict[str, tuple[float, float]]
"""By verb: requests (or listed keys) a second, and microseconds of CPU for each."""


def cpu() -> float:
    """Seconds of CPU that this process has taken, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def in_turn(works: Iterable[Callable[[], Awaitable[Any]]]) -> None:
    """Do all of `works`, `CONCURRENCY` at a time."""
    left = iter(works)

    async def work() -> None:
        for one in left:
            await one()

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


async def measure(client: Client, verbs: Iterable[str], requests: int, label: str) -> Figures:
    """The figures of one client in one round."""
    keys = [f"{label}/{number:06}" for number in range(requests)]

    def works(verb: str) -> list[Callable[[], Awaitable[Any]]]:
        method = getattr(client, verb)
        if verb == "put":
            return [lambda key=key: method(key, BODY) for key in keys]
        if verb == "copy":
            return [lambda key=key: method(key, f"copy/{key}") for key in keys]
        return [lambda key=key: method(key) for key in keys]

    figures: Figures = {}
    await client.open()
    try:
        await client.put(f"{label}/warm", BODY)
        if await client.get(f"{label}/warm") != BODY:
            raise RuntimeError("it does not read what it wrote")
        for verb in verbs:
            count, began, used = requests, time.perf_counter(), cpu()
            if verb == "list":
                count = await client.list("listed/")
                if count != LISTED:
                    raise RuntimeError(f"{count} keys listed, not {LISTED}")
            else:
                await in_turn(works(verb))
            figures[verb] = (count / (time.perf_counter() - began), (cpu() - used) / count * 1e6)
    finally:
        await client.close()
    return figures


async def prepare(endpoint: str, *, listed: bool) -> None:
    """The bucket, and the keys that are listed."""
    bare = Bare(endpoint, BUCKET)
    await bare.open()
    if listed:
        await bare.send("PUT", "")
        await in_turn([lambda n=number: bare.put(f"listed/{n:06}", b"x") for number in range(LISTED)])
    await bare.close()


def run_child(name: str, endpoint: str, verbs: Iterable[str], requests: int, label: str) -> Figures:
    """One client, one round, in a process of its own."""
    job = json.dumps([name, endpoint, list(verbs), requests, label])
    command = [sys.executable, "-m", "benchmarks.small", "--job", job]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return {verb: tuple(figures) for verb, figures in json.loads(done.stdout.splitlines()[-1]).items()}


def report(results: dict[str, list[Figures]], server: str, requests: int) -> None:
    """Medians, and in brackets how many times this library's rate and CPU each client's is."""
    verbs = VERBS[server]
    medians = {
        name: {verb: tuple(map(statistics.median, zip(*(r[verb] for r in rounds), strict=True))) for verb in verbs}
        for name, rounds in results.items()
    }
    section = f"Small objects, on {SERVERS[server]}"
    rounds = len(next(iter(results.values())))
    note = f"4 KiB, {CONCURRENCY} in flight, {requests} requests; medians of {rounds} rounds."
    if server == "nginx":
        note += " nginx leaves more of the machine to the client."
    if "list" in verbs:
        note += f" A listing is of {LISTED} keys, and its figures are those of a key."
    for index, title in enumerate(("Requests a second; more is better", "CPU of a request, µs; less is better")):
        rows = {name: tuple(figures[verb][index] for verb in verbs) for name, figures in medians.items()}
        show(Table(section, title, verbs, rows, ratios=True, plotted=verbs, note=note))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clients", nargs="*", metavar="client")
    parser.add_argument("--server", choices=list(VERBS), default="seaweedfs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        name, endpoint, verbs, requests, label = json.loads(arguments.job)
        print(json.dumps(asyncio.run(measure(CLIENTS[name](endpoint, BUCKET), verbs, requests, label))), flush=True)
        # obstore's threads now and then abort a process that ends while they run.
        os._exit(0)

    from benchmarks import servers

    verbs = VERBS[arguments.server]
    clients = arguments.clients or [name for name in CLIENTS if name not in NOT_ON[arguments.server]]
    results: dict[str, list[Figures]] = {name: [] for name in clients}
    with servers.start(arguments.server) as endpoint:
        asyncio.run(prepare(endpoint, listed="list" in verbs))
        for turn in range(arguments.rounds):
            for name in clients:
                label = f"{name.replace(' ', '_')}-{turn}"
                results[name].append(run_child(name, endpoint, verbs, arguments.requests, label))
                print(f"round {turn + 1}: {name} done", file=sys.stderr)
    report(results, arguments.server, arguments.requests)


if __name__ == "__main__":
    main()
