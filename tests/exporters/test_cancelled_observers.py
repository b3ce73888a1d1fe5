"""Observers that are cancelled wherever they wait, and targets of notifications that misbehave."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
from prometheus_client import CollectorRegistry

from apm_s3 import ConfigStore, S3Settings
from apm_s3.configs import LogEntry
from apm_s3.exporters.notifications import Webhook, notify
from apm_s3.exporters.prometheus import PrometheusExporter
from apm_s3.health import HealthChecker
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI
from tests.faults.cancelling import Moment, cancelled_at
from tests.faults.server import FaultyS3
from tests.faults.virtual_time import VirtualTimeLoop, run_in_virtual_time
from tests.managers import make_manager
from tests.memory_transport import MemoryManager
from tests.seams.exporters import figures_of

SECRET = "a secret of more than 24 bytes"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"

Misbehave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Target:
    """A server that keeps the ids of notifications, and may misbehave on the first ones."""

    def __init__(self) -> None:
        self.url = ""
        self.ids: list[str] = []
        self.paths: list[str] = []
        self.misbehaves: list[Misbehave] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                headers = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
                await reader.readexactly(int(headers["content-length"]))
                self.paths.append(head.split()[1])
                if self.misbehaves:
                    await self.misbehaves.pop(0)(reader, writer)
                    break
                self.ids.append(headers["webhook-id"])
                writer.write(OK)
        writer.close()


@asynccontextmanager
async def listening(target: Target) -> AsyncIterator[Target]:
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
    target.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield target
    finally:
        server.close()


class Everything(Exception):
    """All entries were delivered."""


async def deliver(store: ConfigStore, target: Target, entries: list[int], last: int) -> None:
    """Notify of the entries up to `last`, and note in `entries` which were delivered."""

    async def on_delivered(_: str, entry: LogEntry) -> None:
        entries.append(entry.sequence)
        if entry.sequence == last:
            raise Everything

    since = entries[-1] if entries else 0
    with suppress(Everything):
        await notify(store, "staging", [Webhook(target.url, SECRET)], since=since, on_delivered=on_delivered)


async def with_three_entries() -> tuple[ConfigStore, dict[str, int]]:
    """A store, and the sequences of its entries by their ids."""
    store = ConfigStore(MemoryObjects())
    for text in (LOKI, OTHER_LOKI, LOKI):
        await store.upload("loki", "staging", text)
    return store, {entry.hash: entry.sequence for entry in await store.log("staging") if entry.sequence}


def tasks_of_this_library() -> list[str]:
    """The tasks that this library has, but for that of an open manager."""
    names = [task.get_name() for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith("apm_s3") and name != "apm_s3 cache clean-up"]


@pytest.mark.parametrize("moment", list(Moment))
async def test_a_cancelled_notify_leaves_nothing_and_the_next_call_misses_nothing(moment: Moment) -> None:
    store, sequences = await with_three_entries()
    # Each moment starts at another suspension, so that the three together come to all of them.
    for at in itertools.count(1 + list(Moment).index(moment), 3):
        async with listening(Target()) as target:
            entries: list[int] = []
            reached, _, error = await cancelled_at(at, moment, partial(deliver, store, target, entries, 3))
            assert isinstance(error, asyncio.CancelledError | None)
            if entries[-1:] != [3]:
                await deliver(store, target, entries, 3)
            # At least once, in order, but for what is repeated.
            assert list(dict.fromkeys(sequences[each] for each in target.ids)) == [1, 2, 3]
            assert entries == [1, 2, 3]
        if not reached:
            break
    assert at > 10


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def answers(data: bytes) -> Misbehave:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return answer


@pytest.mark.parametrize(
    "misbehave",
    [
        hang,
        close,
        answers(b"SSH-2.0-OpenSSH_9.2\r\n"),
        answers(b"HTTP/1.1 200 OK\r\ncontent-length: nonsense\r\n\r\n"),
        answers(b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"),
        answers(b"HTTP/1.1 100 Continue\r\n\r\n"),
        answers(b"HTTP/1.1 500 Oops\r\ncontent-length: 99999999999\r\n\r\n"),
    ],
    ids=[
        "never answers",
        "closes",
        "speaks another protocol",
        "cannot count",
        "redirects",
        "continues",
        "does not end",
    ],
)
def test_a_target_that_misbehaves_is_notified_again(misbehave: Misbehave) -> None:
    async def main(_: VirtualTimeLoop) -> None:
        store, sequences = await with_three_entries()
        target = Target()
        target.misbehaves.append(misbehave)
        async with listening(target):
            await deliver(store, target, [], 3)
        assert [sequences[each] for each in target.ids] == [1, 2, 3]
        assert target.paths == ["/"] * 4

    run_in_virtual_time(main)


@pytest.mark.parametrize("moment", list(Moment))
async def test_a_cancelled_watch_of_a_store_leaves_no_figures(moment: Moment) -> None:
    exporter = PrometheusExporter(CollectorRegistry())
    async with MemoryManager(S3Settings()) as s3:
        store = s3.configs("bucket")
        await store.upload("loki", "staging", LOKI)
        for at in range(1, 40):
            reached, _, error = await cancelled_at(at, moment, lambda: exporter.watch(store, interval=0.0001))
            assert reached
            assert isinstance(error, asyncio.CancelledError)
            assert figures_of(exporter, store) is None
            assert tasks_of_this_library() == []


@pytest.mark.parametrize("moment", list(Moment))
async def test_a_cancelled_health_check_leaves_no_object(moment: Moment) -> None:
    async with FaultyS3() as server:
        server.s3.buckets["bucket-one"] = {}
        async with make_manager(server) as s3:
            checker = HealthChecker(s3)
            await checker.check("bucket-one")
            # Each moment starts at another suspension, so that the three together come to most of them.
            for at in itertools.count(1 + list(Moment).index(moment), 5):
                reached, _, error = await cancelled_at(at, moment, lambda: checker.check("bucket-one"))
                assert isinstance(error, asyncio.CancelledError | None)
                await server.until_idle()
                assert server.s3.buckets["bucket-one"] == {}
                assert tasks_of_this_library() == []
                if not reached:
                    break
    assert at > 10


async def test_a_cancelled_monitor_can_be_started_again() -> None:
    async with MemoryManager(S3Settings()) as s3:
        checker = HealthChecker(s3)

        async def monitor() -> None:
            async for _ in checker.monitor(interval=0.0001):
                pass

        for moment, at in itertools.product(Moment, range(1, 4)):
            _, _, error = await cancelled_at(at, moment, monitor)
            assert isinstance(error, asyncio.CancelledError)
        assert checker.check_operations() == ()
