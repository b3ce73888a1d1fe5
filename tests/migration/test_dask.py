"""Migrations on a Dask cluster: the same result as on one machine, though a worker dies."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apm_s3.errors import InvalidOption
from apm_s3.migration import MigrationOptions, MigrationProgress, MigrationReport
from apm_s3.migration_dask import S3Access, migrate_on_dask
from tests.faults.server import Exchange
from tests.migration.places import SOURCE, TARGET, open_place
from tests.seams.migration import Shard, merged, ranges_of, run_shard

COUNT = 400


@given(st.sets(st.text("abc/", min_size=1, max_size=4)), st.integers(1, 9))
def test_ranges_cover_every_key_once_and_have_similar_sizes(keys: set[str], count: int) -> None:
    samples = sorted(keys)
    ranges = ranges_of(samples, count)
    sizes = [
        sum((start is None or key > start) and (stop is None or key <= stop) for key in samples)
        for start, stop in ranges
    ]
    assert sum(sizes) == len(samples)
    # Each begins where the one before it ends: between samples, too, there are keys.
    assert [None, *(stop for _, stop in ranges)] == [*(start for start, _ in ranges), None]
    assert len(ranges) <= count
    assert max(sizes, default=0) <= len(samples) / min(count, len(samples) or 1) + 2


def test_a_shard_contains_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    access = S3Access(endpoint_url="http://127.0.0.1:1")
    shard = Shard(SOURCE, TARGET, access, access, MigrationOptions(), (None, "m"), None)
    assert b"very-secret" not in pickle.dumps(shard)
    assert pickle.loads(pickle.dumps(shard)) == shard


def test_reports_of_ranges_are_merged() -> None:
    one = MigrationReport("s", "t", objects=2, moved=1, failed=1, bytes=5, skipped={"a": "why"})
    other = MigrationReport("s", "t", objects=3, moved=3, bytes=7, resumed=True)
    both = merged([one, other], 4.0)
    assert (both.objects, both.moved, both.failed, both.bytes, both.resumed) == (5, 4, 1, 12, True)
    assert (both.skipped, both.ok, both.duration) == ({"a": "why"}, False, 4.0)


async def test_a_range_that_is_run_twice_moves_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    async with open_place() as one:
        for number in range(30):
            one.put(f"team/{number:03}")
        access = S3Access(one.server.endpoint_url, "us-east-1")
        shard = Shard(SOURCE, TARGET, access, access, MigrationOptions(concurrency=4), ("004", "019"), str(tmp_path))

        first = await asyncio.to_thread(run_shard, shard)
        second = await asyncio.to_thread(run_shard, shard)
        elsewhere = await asyncio.to_thread(
            run_shard, Shard(SOURCE, TARGET, access, access, MigrationOptions(concurrency=4), ("004", "019"), None)
        )

        assert sorted(one.stored()) == [f"{number:03}" for number in range(5, 20)]
        assert (first.moved, second.moved, second.resumed, second.verified) == (15, 15, True, 15)
        assert (elsewhere.identical, elsewhere.moved) == (15, 0)
        assert one.arrived("CopyObject") == 15


async def test_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="other machines do not have this directory"):
        await migrate_on_dask(str(tmp_path), TARGET, None)


@pytest.mark.parametrize("name", ["delete_extra", "versions", "bandwidth"])
async def test_options_of_whole_migrations_are_refused(name: str) -> None:
    with pytest.raises(InvalidOption, match=name):
        await migrate_on_dask(SOURCE, TARGET, None, MigrationOptions(**{name: True}))  # type: ignore[arg-type]


class Threads:
    """A client whose workers are threads of this process, as far as `migrate_on_dask` asks."""

    asynchronous = False

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2)
        self.cancelled: list[Any] = []

    def ncores(self) -> Any:
        return {"one": 1, "two": 1}

    def map(self, work: Callable[[Shard], MigrationReport], shards: list[Shard], **_: object) -> list[Any]:
        return [self._pool.submit(work, pickle.loads(pickle.dumps(shard))) for shard in shards]

    def cancel(self, futures: list[Any]) -> None:
        self.cancelled += futures
        for future in futures:
            future.cancel()


class Asynchronous(Threads):
    """A client for use inside the event loop, which has asked its scheduler nothing yet."""

    asynchronous = True

    async def ncores(self) -> Any:
        return super().ncores()

    def scheduler_info(self) -> dict[str, Any]:
        return {"workers": {}}

    def map(self, work: Callable[[Shard], MigrationReport], shards: list[Shard], **options: object) -> list[Any]:
        return [SimpleNamespace(result=partial(asyncio.wrap_future, one)) for one in super().map(work, shards)]


@pytest.mark.parametrize("kind", [Threads, Asynchronous])
async def test_the_workers_of_either_kind_of_client_are_counted(
    monkeypatch: pytest.MonkeyPatch, kind: type[Threads]
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    async with open_place() as one:
        for number in range(9):
            one.put(f"team/{number}")
        access = S3Access(one.server.endpoint_url, "us-east-1")

        report = await migrate_on_dask(SOURCE, TARGET, kind(), source_access=access)

    assert (report.moved, report.failed) == (9, 0)


async def test_ranges_become_tasks_whose_reports_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    told: list[MigrationProgress] = []
    async with open_place() as one:
        for number in range(COUNT):
            one.put(f"team/{number % 7}/{number:05}", str(number).encode())
        access = S3Access(one.server.endpoint_url, "us-east-1")

        report = await migrate_on_dask(
            SOURCE, TARGET, Threads(), source_access=access, ranges=3, concurrency=4, on_progress=told.append
        )

        assert len(one.stored()) == COUNT
        assert (report.objects, report.moved, report.failed, report.verified) == (COUNT, COUNT, 0, COUNT)
        assert [progress.phase for progress in told] == ["moving", "moving", "done"]


async def test_a_cancelled_migration_cancels_its_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    async with open_place() as one:
        one.put("team/a")
        client, reached = Threads(), asyncio.Event()

        async def fault(exchange: Exchange) -> None:
            if exchange.request.key == "copy/a":
                reached.set()
            exchange.send(exchange.carry_out())

        one.server.will(fault, "CopyObject", times=None)
        access = S3Access(one.server.endpoint_url, "us-east-1")
        running = asyncio.create_task(migrate_on_dask(SOURCE, TARGET, client, source_access=access, ranges=1))
        await reached.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert len(client.cancelled) == 1
        await asyncio.to_thread(client._pool.shutdown)


# distributed warns of ports that are in use, and leaves sockets of workers that were killed.
@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workers", [2, 4])
async def test_a_cluster_moves_everything_even_if_a_worker_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    from distributed import Client, LocalCluster

    told: list[MigrationProgress] = []
    async with open_place() as one:
        for number in range(COUNT):
            one.put(f"team/{number % 7}/{number:05}", str(number).encode(), x_amz_tagging="kind=test")
        wanted = {key.removeprefix("team/"): found.body for key, found in one.server.s3.buckets["source"].items()}
        cluster = await asyncio.to_thread(
            LocalCluster, n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
        )
        client = await asyncio.to_thread(Client, cluster)
        try:
            pids = await asyncio.to_thread(client.run, os.getpid)
            copies: Counter[str] = Counter()

            async def fault(exchange: Exchange) -> None:
                if exchange.request.operation == "CopyObject":
                    copies[exchange.request.key] += 1
                    if copies.total() == COUNT // 2:
                        os.kill(next(iter(pids.values())), signal.SIGKILL)
                exchange.send(exchange.carry_out())

            one.server.will(fault, times=None)
            report = await migrate_on_dask(
                SOURCE, TARGET, client, source_access=S3Access(one.server.endpoint_url, "us-east-1"),
                ranges=6, concurrency=4, on_progress=told.append, journals=tmp_path,
            )  # fmt: skip
        finally:
            await asyncio.to_thread(client.close)
            await asyncio.to_thread(cluster.close)

        assert one.stored() == wanted
        assert (report.objects, report.failed, report.verified) == (COUNT, 0, COUNT)
        assert report.moved + report.identical == COUNT
        assert copies.total() >= COUNT
        assert (told[-1].phase, told[-1].done, told[-1].listing_complete) == ("done", COUNT, True)
