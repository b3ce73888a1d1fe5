"""A migration cancelled at any await leaves no task, request, upload or half object, and a journal that resumes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from apm_s3.migration import MigrationReport, migrate
from tests.faults.cancelling import Moment, cancelled_at
from tests.migration.places import SOURCE, TARGET, Place, files, open_place
from tests.seams.migration import send_in_small_parts

BODIES = {"a": b"1", "b/c": b"22", "large": bytes(range(256)) * 4097}
"""The last one is larger than what is held in memory as a whole."""

_OF_SERVER_OR_MANAGER = {"faulty s3", "apm_s3 cache clean-up"}


@pytest.mark.parametrize(
    ("way", "moment", "step"),
    [
        ("streamed", Moment.AS_IT_WAITS, 17),
        ("in parts", Moment.AS_IT_IS_SERVED, 17),
        ("to files", Moment.AGAIN_AND_AGAIN, 17),
        # Every await of every way takes three minutes.
        *(pytest.param(way, moment, 1, marks=pytest.mark.long)
          for way in ("streamed", "in parts", "copied", "to files") for moment in Moment),
    ],
)  # fmt: skip
async def test_a_cancelled_migration_leaves_nothing_but_a_journal_that_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, moment: Moment, step: int
) -> None:
    async with open_place() as one, open_place() as other:
        if way == "in parts":
            small_parts(monkeypatch, one, other)
        for key, body in BODIES.items():
            one.put(f"team/{key}", body, x_amz_tagging="k=v")
        target = other if way in ("streamed", "in parts") else one
        down = tmp_path / "down"

        async def run(journal: Path | None) -> MigrationReport:
            to = down if way == "to files" else TARGET
            options: dict[str, Any] = {"accept": ("metadata", "tags")} if way == "to files" else {}
            return await migrate(
                SOURCE, to, source_s3=one.s3, target_s3=target.s3, journal=journal, concurrency=3, **options
            )

        def arrived() -> dict[str, bytes]:
            return files(down) if way == "to files" else target.stored()

        def forget() -> None:
            target.server.s3.buckets["target"].clear()
            for name in files(down):
                (down / name).unlink()

        await run(None)  # clients and routes are there from now on
        tasks = asyncio.all_tasks()
        at, reached = 1, True
        while reached:
            forget()
            journal = tmp_path / f"{at}.journal"
            reached, _, error = await cancelled_at(at, moment, lambda: run(journal))  # noqa: B023 - awaited
            for place in (one, other):
                await settled(place)
                assert not place.server.s3.uploads
            assert error is None or isinstance(error, asyncio.CancelledError), repr(error)
            assert {task.get_name() for task in asyncio.all_tasks() - tasks} <= _OF_SERVER_OR_MANAGER
            assert arrived().items() <= BODIES.items()

            report = await run(journal)

            assert (report.failed, report.verified, arrived()) == (0, len(BODIES), BODIES)
            at += step
        assert at > 60


async def settled(place: Place) -> None:
    """Let sent bytes arrive, and check that no request holds a slot of the pool."""
    for _ in range(5):
        await asyncio.sleep(0)
    await place.server.until_idle()
    stats = place.s3.pool.stats()
    assert (stats.in_use, stats.waiting) == (0, 0)


def small_parts(monkeypatch: pytest.MonkeyPatch, *places: Place) -> None:
    """Send everything of more than 100 bytes in parts."""
    send_in_small_parts(monkeypatch, *(place.s3 for place in places))
