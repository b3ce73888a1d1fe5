"""How long a caller of the store waits, in round trips: each call through a proxy that adds 50 ms to every one of them.

nox -s benchmarks -- latency [--memory] [--delay SECONDS]

The store is on SeaweedFS, behind the proxy. A warm process has done the like before; a cold one is a new manager whose
connections are open already. Beside the round trips stand the targets, the requests of one call, and what a thousand
calls cost at AWS (requests only, S3 Standard in us-east-1, https://aws.amazon.com/s3/pricing/). What SeaweedFS and
this machine take counts as part of a round trip: a longer `--delay` makes that part smaller, and rounded to whole ones
a call's wait is held against its target. With `--memory`, the same calls on a bucket in memory in virtual time: exact
steps, on which the tests rest.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from urllib.parse import urlsplit

from apm_s3 import S3Manager
from apm_s3._tasks import run_all
from benchmarks.report import Table, Value, show
from tests.configs.rounds import TARGETS, Target, fill, measure
from tests.servers import CREDENTIALS, REGION, seaweedfs_server

PRICES = {"PUT": 0.005, "COPY": 0.005, "POST": 0.005, "LIST": 0.005, "GET": 0.0004, "HEAD": 0.0004, "DELETE": 0.0}
"""US dollars for a thousand requests of a kind: https://aws.amazon.com/s3/pricing/, S3 Standard, us-east-1."""

_ROWS: dict[str, dict[str, tuple[Value, ...]]] = {}

BUCKET = "latency"
CONNECTIONS = 16

_REQUEST = re.compile(rb"(GET|PUT|HEAD|POST|DELETE) (\S*) HTTP/1\.1\r\n(.*?)\r\n\r\n", re.DOTALL)


class Proxy:
    """Passes bytes on, each way after half of `delay` seconds, in a thread of its own, and counts the requests."""

    def __init__(self, target: str, delay: float) -> None:
        self.delay = delay
        parts = urlsplit(target)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._loop = asyncio.new_event_loop()
        self.counts: Counter[str] = Counter()
        self.url = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[Proxy]:
        """It listens on a port of its own."""
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._close(server), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there, back = await asyncio.open_connection(self._host, self._port)
            await asyncio.gather(self._pass(reader, back, self._count), self._pass(there, writer, lambda _: None))

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, look: Callable[[bytes], None]
    ) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def take() -> None:
            chunk = b"-"
            while chunk:
                chunk = await reader.read(65536)
                look(chunk)
                queue.put_nowait((self._loop.time() + self.delay / 2, chunk))

        async def give() -> None:
            while True:
                when, chunk = await queue.get()
                await asyncio.sleep(max(0.0, when - self._loop.time()))
                if not chunk:
                    writer.close()
                    return
                writer.write(chunk)
                await writer.drain()

        await asyncio.gather(take(), give())

    def _count(self, chunk: bytes) -> None:
        for method, target, headers in _REQUEST.findall(chunk):
            query = target.partition(b"?")[2]
            if method == b"GET" and (b"list-type=" in query or b"versions" in query):
                self.counts["LIST"] += 1
            elif method == b"PUT" and b"x-amz-copy-source:" in headers.lower():
                self.counts["COPY"] += 1
            elif method == b"POST" and b"delete" in query:
                self.counts["DELETE"] += 1
            else:
                self.counts[method.decode()] += 1


@contextlib.asynccontextmanager
async def opened(url: str, *, bucket: bool = False) -> AsyncIterator[S3Manager]:
    """A new manager with open connections, as a new process has them once it runs."""
    async with S3Manager(region=REGION, endpoint_url=url, credentials=CREDENTIALS) as s3:
        if bucket:
            await s3.create_bucket(BUCKET)
        await run_all([s3.file_exists(BUCKET, f"open/{number}") for number in range(CONNECTIONS)])
        yield s3


def add_row(name: str, state: str, rounds: float, target: int | None, counts: Counter[str]) -> None:
    price = sum(PRICES[verb] * count for verb, count in counts.items())
    verdict = "" if target is None or round(rounds) <= target else " MISSED"
    wanted = None if target is None else f"{target}{verdict}"
    listed = ", ".join(f"{count} {verb}" for verb, count in sorted(counts.items()))
    kind = "Configurations" if state else "Objects"
    row = (rounds, wanted, f"{price:.4f}", listed)
    _ROWS.setdefault(kind, {})[f"{name}, {state}" if state else name] = row


async def timed(proxy: Proxy, call: Awaitable[object]) -> tuple[float, Counter[str]]:
    """Round trips and requests of a call."""
    proxy.counts.clear()
    began = time.perf_counter()
    await call
    rounds = (time.perf_counter() - began) / proxy.delay
    return rounds, Counter(proxy.counts)


async def measure_store(proxy: Proxy, target: Target, *, warm: bool, prefix: str) -> None:
    async with opened(proxy.url) as s3:
        store = s3.configs(BUCKET, prefix)
        await fill(store)
        if warm:
            rounds, counts = await timed(proxy, target.call(store))
    if not warm:
        async with opened(proxy.url) as s3:
            rounds, counts = await timed(proxy, target.call(s3.configs(BUCKET, prefix)))
    add_row(target.name, "warm" if warm else "cold", rounds, target.warm if warm else target.cold, counts)


async def measure_objects(proxy: Proxy) -> None:
    large = bytes(20 * 1024 * 1024)
    calls: dict[str, Callable[[S3Manager], Awaitable[object]]] = {
        "upload_file 4 KiB": lambda s3: s3.upload_file(BUCKET, "small", bytes(4096)),
        "upload_file 20 MiB": lambda s3: s3.upload_file(BUCKET, "large", large),
        "head_file": lambda s3: s3.head_file(BUCKET, "small"),
        "file_exists": lambda s3: s3.file_exists(BUCKET, "small"),
        "read_file 4 KiB": lambda s3: s3.read_file(BUCKET, "small"),
        "read_file 20 MiB": lambda s3: s3.read_file(BUCKET, "large"),
        "list_files": lambda s3: s3.list_files(BUCKET, "small"),
        "copy_file": lambda s3: s3.copy_file(BUCKET, "small", BUCKET, "copy"),
        "move_file": lambda s3: s3.move_file(BUCKET, "copy", BUCKET, "moved"),
        "delete_file": lambda s3: s3.delete_file(BUCKET, "moved"),
        "delete_files": lambda s3: s3.delete_files(BUCKET, ["small", "large"]),
    }
    async with opened(proxy.url) as s3:
        for name, call in calls.items():
            add_row(name, "", *_without_target(await timed(proxy, call(s3))))


def _without_target(found: tuple[float, Counter[str]]) -> tuple[float, None, Counter[str]]:
    return found[0], None, found[1]


async def measure_all(proxy: Proxy) -> None:
    async with opened(proxy.url, bucket=True):
        pass
    for number, target in enumerate(TARGETS):
        for warm in (True, False):
            await measure_store(proxy, target, warm=warm, prefix=f"team-{number}-{warm}/")
    await measure_objects(proxy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", action="store_true", help="exact steps on a bucket in memory")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds that a round trip takes longer")
    arguments = parser.parse_args()
    if arguments.memory:
        for target in TARGETS:
            for warm in (True, False):
                cost = measure(target, warm=warm)
                wanted = target.warm if warm else target.cold
                add_row(target.name, "warm" if warm else "cold", cost.steps, wanted, cost.requests)
        report("Exact steps on a bucket in memory, in virtual time.")
        return
    with seaweedfs_server() as server, Proxy(server.endpoint_url, arguments.delay).running() as proxy:
        asyncio.run(measure_all(proxy))
    report(
        f"Through a proxy that adds {arguments.delay * 1000:.0f} ms to each round trip to SeaweedFS. A cold process has "
        "open connections and remembers nothing. The prices are those of a thousand calls at AWS."
    )


def report(note: str) -> None:
    columns = ("round trips", "at most", "US dollars", "requests")
    for kind, rows in _ROWS.items():
        show(Table("Latency", f"{kind}: round trips of a call; less is better", columns, rows, note=note))


if __name__ == "__main__":
    main()
