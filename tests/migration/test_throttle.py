"""What slows a migration down, and what limits its memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from apm_s3.migration import migrate
from tests.faults.memory_s3 import error_response
from tests.faults.server import Exchange
from tests.faults.virtual_time import VirtualTimeLoop, run_in_virtual_time
from tests.migration.places import SOURCE, TARGET, open_place, write
from tests.migration.stubs import stub_task
from tests.seams.migration import Bandwidth, Journal, Memory, Row, Run, Schedule

ROOT = Path(__file__).parents[2]


def rows(*keys: str) -> list[Row]:
    return [Row(number, key, "", key, 1, None, None, None, False, 0) for number, key in enumerate(keys)]  # noqa: FBT003


def test_folders_take_turns() -> None:
    schedule = Schedule(8)
    schedule.add(rows("a/1", "a/2", "a/3", "b/1", "c", "d"))
    taken = []
    while (row := schedule.take()) is not None:
        taken.append(row.key)
    assert taken == ["a/1", "b/1", "c", "a/2", "d", "a/3"]
    assert schedule.waiting == 0


def test_only_a_throttled_folder_waits_and_it_recovers_step_by_step() -> None:
    schedule = Schedule(8)
    schedule.add(rows(*(f"{folder}/{number}" for folder in "ab" for number in range(100))))
    running = [row for _ in range(16) if (row := schedule.take()) is not None]
    assert len(running) == 16
    sent_at = time.monotonic()
    assert schedule.slowed("a/5", sent_at)
    assert schedule.slowed("a/6", sent_at)  # sent at the same time: counts once
    assert (schedule.limit("a/5"), schedule.limit("b/5")) == (4.0, 8.0)
    for row in running:
        schedule.done(row)
    taken = [row for _ in range(30) if (row := schedule.take()) is not None]
    # The eight that ended have raised the limit by about two.
    assert [sum(row.key.startswith(folder) for row in taken) for folder in "ab"] == [5, 8]
    schedule.slowed("a/7", time.monotonic())
    assert 2 <= schedule.limit("a/7") < 3


def test_a_throttled_folder_never_stops_completely() -> None:
    schedule = Schedule(8)
    schedule.add(rows("a/1", "a/2"))
    slowed = [schedule.slowed("a/1", time.monotonic()) for _ in range(20)]
    assert schedule.take() is not None
    assert schedule.take() is None
    # The pool has to slow down what the folder's own limit cannot.
    assert (slowed[0], slowed[-1], schedule.slowed("b/1", time.monotonic())) == (True, False, False)


@pytest.mark.parametrize("attempts", [1, 4])
async def test_a_503_for_one_folder_slows_down_only_that_one_and_everything_arrives(
    monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    limits: dict[str, list[float]] = {"a": [], "b": []}
    unhandled: list[bool] = []
    slowed = Schedule.slowed

    def noted(schedule: Schedule, key: str, sent_at: float) -> bool:
        handled = slowed(schedule, key, sent_at)
        for folder, found in limits.items():
            found.append(schedule.limit(f"{folder}/"))
        unhandled.append(not handled)
        return handled

    monkeypatch.setattr(Schedule, "slowed", noted)
    async with open_place(attempts=attempts) as one:
        for folder in "ab":
            for number in range(40):
                one.put(f"team/{folder}/{number}")
        refusals = iter(range(30))

        async def fault(exchange: Exchange) -> None:
            refused = exchange.request.key.startswith("copy/a") and next(refusals, None) is not None
            exchange.send(error_response(503, "SlowDown") if refused else exchange.carry_out())

        one.server.will(fault, "CopyObject", times=None)

        report = await migrate(SOURCE, TARGET, source_s3=one.s3, concurrency=16)

        assert (report.moved, report.failed) == (80, 0)
        # The pool, which all folders share, does nothing on top of that unless the folder's limit is 1 already.
        assert one.s3.pool.stats().slowdowns <= sum(unhandled) < len(unhandled)
    assert len(limits["a"]) >= 30
    assert min(limits["a"]) <= 8
    assert set(limits["b"]) == {16.0}


def test_bytes_move_no_faster_than_the_bandwidth() -> None:
    async def moved(loop: VirtualTimeLoop) -> float:
        bandwidth = Bandwidth(1000)
        began = loop.now

        async def take() -> None:
            for _ in range(10):
                await bandwidth.take(250)

        await asyncio.gather(take(), take())
        return loop.now - began

    # 5000 bytes, of which a second's worth may go at once.
    assert 3.9 <= run_in_virtual_time(moved) <= 5.5


@pytest.mark.parametrize("way", ["streamed", "from files", "to files"])
async def test_every_byte_that_passes_counts_for_the_bandwidth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    taken: list[tuple[float | None, int]] = []

    async def noted(bandwidth: Bandwidth, size: int) -> None:
        taken.append((bandwidth._rate, size))

    monkeypatch.setattr(Bandwidth, "take", noted)
    async with open_place() as one, open_place() as other:
        for size in (1, 20, 300):
            one.put(f"team/{size}", bytes(size))
        source = write(tmp_path / "up", {str(size): bytes(size) for size in (1, 20, 300)})
        await migrate(
            source if way == "from files" else SOURCE, tmp_path / "down" if way == "to files" else TARGET,
            source_s3=one.s3, target_s3=other.s3 if way == "streamed" else one.s3,
            accept=["metadata", "tags"], bandwidth=1e6,
        )  # fmt: skip

    assert sorted(taken) == [(1e6, 1), (1e6, 20), (1e6, 300)]


async def test_memory_is_bounded_and_granted_in_turn() -> None:
    memory = Memory(1024)
    seen: list[int] = []
    held = most = 0

    async def use(number: int) -> None:
        nonlocal held, most
        async with memory.hold(500):
            seen.append(number)
            held += 1
            most = max(most, held)
            await asyncio.sleep(0)
            held -= 1

    await asyncio.gather(*(use(number) for number in range(20)))
    assert (seen, most) == (list(range(20)), 2)
    async with memory.hold(5000):
        pass
    assert memory._free == 1024


@pytest.mark.parametrize("moment", ["waiting", "just granted", "released in between"])
async def test_a_cancelled_wait_for_memory_takes_none(moment: str) -> None:
    memory = Memory(1024)
    first = memory.hold(1024)
    await first.__aenter__()
    second, third = memory.hold(600), memory.hold(600)
    waiting = asyncio.ensure_future(second.__aenter__())
    other = asyncio.ensure_future(third.__aenter__())
    await asyncio.sleep(0)
    if moment == "just granted":
        await first.__aexit__(None, None, None)
    waiting.cancel()
    if moment == "released in between":
        # The cancelled task has not run yet.
        await first.__aexit__(None, None, None)
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    if moment == "waiting":
        await first.__aexit__(None, None, None)
    await other
    assert memory._free == 1024 - 600
    await third.__aexit__(None, None, None)
    assert memory._free == 1024


async def test_twenty_thousand_keys_are_moved_during_the_listing_with_few_in_memory() -> None:
    keys = [f"obj-{number:07}" for number in range(20_000)]
    task, moving = stub_task(keys, 16)
    async with Journal(None, task.identity()) as journal:
        run = Run(task, journal)
        held = 0
        take = run._schedule.take

        def watched() -> Row | None:
            nonlocal held
            held = max(held, run._schedule.waiting)
            return take()

        run._schedule.take = watched  # type: ignore[method-assign]
        report = await run.run()

    assert sorted(moving.keys) == keys
    assert (report.moved, report.verified, report.failed) == (20_000, 20_000, 0)
    assert 0 <= moving.listed_before < 20_000
    assert 0 < held <= 3000


@pytest.mark.long
def test_a_million_keys_in_one_flat_prefix_need_little_memory() -> None:
    """Prints keys a second, seconds to the first copy, and peak memory."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.migration.million"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    found = json.loads(done.stdout)
    sys.stdout.write(f"{found}\n")
    assert found["moved"] == 1_000_000
    assert found["grown_mib"] < 150
