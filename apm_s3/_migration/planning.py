"""Plans a migration: lists both sides into a temporary journal and writes nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from apm_s3._migration.capabilities import find_capabilities
from apm_s3._migration.journal import Journal
from apm_s3._migration.listing.finding import Source, list_target
from apm_s3._migration.models import Estimate, MigrationPlan
from apm_s3._migration.moving.movers import LARGEST_COPY
from apm_s3._migration.rules import Sameness, compare, needs_asking
from apm_s3._migration.store import Row
from apm_s3._migration.task import Task
from apm_s3._tasks import run_all
from apm_s3.errors import NotFound

_STEP = 1000
_PARALLEL = 32
_SHOWN = 1000


@dataclass(slots=True)
class _Counts:
    found: Counter[Sameness] = field(default_factory=Counter)
    writes: int = 0
    reads: int = 0
    bytes_to_move: int = 0


async def make_plan(task: Task) -> MigrationPlan:
    """Make the plan from both listings. Objects that the listings cannot compare are looked at one by one."""
    async with Journal(None, task.identity()) as journal:
        source = Source(
            journal, task.rules, task.source, as_files=task.to_files, as_root=task.has_prefix, news=lambda *_: None
        )
        await run_all(
            [
                source.run(task.source_side, (None, None)),
                list_target(journal, task.target_side, task.target),
            ]
        )
        counts = await _counted(task, journal)
        totals = await journal.do(lambda store: store.totals())
        skipped = await journal.do(lambda store: store.skipped(_SHOWN))
        keeps = task.rules.patterns.keeps
        extra = await journal.do(lambda store: store.count_extra(keeps))
        there = await journal.do(lambda store: store.count_target())
    return MigrationPlan(
        source=task.source_name,
        target=task.target_name,
        objects=totals.objects,
        bytes=totals.bytes,
        new=counts.found[Sameness.NEW],
        changed=counts.found[Sameness.CHANGED],
        identical=counts.found[Sameness.IDENTICAL],
        extra=extra,
        bytes_to_move=counts.bytes_to_move,
        server_side=task.server_side,
        delete_extra=task.rules.delete_extra,
        estimate=_estimate(task, counts, totals.objects, there),
        capabilities=await find_capabilities(task, probe=None),
        skipped=skipped,
    )


async def _counted(task: Task, journal: Journal) -> _Counts:
    counts, after = _Counts(), 0
    while rows := await journal.do(lambda store: store.pending(after, _STEP)):  # noqa: B023 - awaited
        after = rows[-1].id
        for row, found in zip(rows, await run_all((_found(task, row) for row in rows), limit=_PARALLEL), strict=True):
            counts.found[found] += 1
            if found is Sameness.IDENTICAL and task.rules.compare == "all" and task.target_side and task.source_side:
                counts.reads += 2
            if found is not Sameness.IDENTICAL or task.rules.if_exists == "overwrite":
                counts.bytes_to_move += row.size
                _count_requests(task, row, counts)
    return counts


async def _found(task: Task, row: Row) -> Sameness:
    found = compare(row.size, row.etag, row.their_size, row.their_etag)
    if not needs_asking(found, task.rules, failed=row.failed):
        return found
    try:
        return Sameness.IDENTICAL if await task.mover.is_same(row) else Sameness.CHANGED
    except (NotFound, FileNotFoundError):
        return Sameness.NEW


def _count_requests(task: Task, row: Row, counts: _Counts) -> None:
    """Count the requests of one object, without retries."""
    part_size = 8 * 1024**2
    parts = -(-row.size // part_size)
    large = row.size > (LARGEST_COPY if task.server_side else 64 * 1024**2)
    if task.target_side is not None:
        counts.writes += parts + 2 if large else 1
    if task.server_side:
        counts.reads += 2 if large else 0
    else:
        reads = 0 if task.source_side is None else parts if large else 1
        counts.reads += reads + (1 if task.source_side is not None and task.target_side is not None else 0)
    if task.rules.verify == "read":
        counts.reads += 4


def _estimate(task: Task, counts: _Counts, objects: int, there: int) -> Estimate:
    pages = 0 if task.source_side is None else objects // 1000 + 1
    if task.target_side is not None:
        # The target is listed before moving, and again afterwards to verify.
        pages += there // 1000 + 1 + max(objects, there) // 1000 + 1
    return Estimate({"PUT, COPY, POST, LIST": counts.writes + pages, "GET, HEAD": counts.reads})
