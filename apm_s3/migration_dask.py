"""Migrates on many machines with Dask: each range of the source's keys is a task. Needs the extra `dask`.

with Client("tcp://scheduler:8786") as client:
    report = await migrate_on_dask("s3://logs", "s3://archive", client)
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Unpack

from apm_s3._manager import S3Manager
from apm_s3._migration.journal import Journal
from apm_s3._migration.listing import Bounds, Checkpoints, Listing
from apm_s3._migration.models import (
    MigrationKeywords,
    MigrationOptions,
    MigrationProgress,
    MigrationReport,
    OnMigrationProgress,
    options_of,
)
from apm_s3._migration.plan import Task, check_capabilities, new_probe, open_task
from apm_s3._migration.run import MOST_SHOWN, Run
from apm_s3._migration.sides import Side
from apm_s3._migration.trees import FolderPlace, parse_place
from apm_s3.errors import InvalidOption, JournalRefused
from apm_s3.events import report_progress
from apm_s3.models import FileInfo

__all__ = ["S3Access", "migrate_on_dask"]

_RANGES_PER_WORKER = 4
"""Several, so that a slow or lost worker delays little."""
_RETRIES = 3


@dataclass(frozen=True, slots=True)
class S3Access:
    """How a worker reaches S3: with credentials from its own AWS chain. Holds no secrets."""

    endpoint_url: str | None = None
    region: str | None = None

    def manager(self) -> S3Manager:
        """Return a manager that is not open yet."""
        return S3Manager(endpoint_url=self.endpoint_url, region=self.region)


async def migrate_on_dask(
    source: str,
    target: str,
    client: Any,
    options: MigrationOptions | None = None,
    *,
    source_access: S3Access | None = None,
    target_access: S3Access | None = None,
    journals: str | os.PathLike[str] | None = None,
    ranges: int | None = None,
    on_progress: OnMigrationProgress | None = None,
    **keywords: Unpack[MigrationKeywords],
) -> MigrationReport:
    """Migrate one prefix to another on the workers of a Dask cluster; see `migrate`.

    The source is listed once and its keys are cut into ranges of about equally many objects, one task each. If a worker
    is lost, its tasks are repeated elsewhere, where moved objects count as identical. Credentials are not sent: this
    process and the workers each use their own AWS chain.

    Args:
        client: a `distributed.Client`, synchronous or asynchronous.
        options: as for `migrate`, without `delete_extra`, `versions` and `bandwidth`. `transform_key` must be a
            function that can be pickled; `concurrency` counts for each worker.
        source_access, target_access: how to reach each side; AWS by default. If both are equal, S3 does the copying.
        journals: a directory on each worker, or a shared one, with a journal for each range. It lets a repeated task
            or a second call resume.
        ranges: number of tasks; by default four for each worker.
        on_progress: called after each range.

    Raises:
        InvalidOption: a side is a directory, or an option is invalid; nothing was moved.
        MigrationRefused, BucketNotFound: as for `migrate`.
    """
    began = time.monotonic()
    rules = options_of(options, keywords)
    check_shardable(source, target, rules)
    one = source_access or S3Access()
    other = target_access or one
    wanted = _RANGES_PER_WORKER * await _workers(client) if ranges is None else ranges
    if wanted < 1:
        raise InvalidOption(f"ranges is {wanted}", hint="give 1 or more, and start workers")
    async with one.manager() as from_s3, other.manager() as to_s3:
        task = await open_task(source, target, from_s3, from_s3 if one == other else to_s3, rules)
        await check_capabilities(task, probe=new_probe())
        bounds = await cut_source(task, wanted)
    folder = None if journals is None else os.fspath(journals)
    shards = [Shard(source, target, one, other, rules, some, folder) for some in bounds]
    futures = client.map(run_shard, shards, pure=False, retries=_RETRIES, key="apm-s3-migration")
    try:
        reports: list[MigrationReport] = []
        for future in futures:
            reports.append(await _result(client, future))
            _report_progress(
                on_progress, merged(reports, time.monotonic() - began), complete=len(reports) == len(futures)
            )
    except BaseException:
        with suppress(Exception):
            await _maybe_awaited(client.cancel(futures))
        raise
    return merged(reports, time.monotonic() - began)


def _report_progress(on_progress: OnMigrationProgress | None, so_far: MigrationReport, *, complete: bool) -> None:
    if on_progress is None:
        return
    done = so_far.moved + so_far.identical + so_far.vanished
    phase = "done" if complete else "moving"
    told = MigrationProgress(
        phase, done, so_far.failed, so_far.bytes, so_far.objects, so_far.bytes, complete, so_far.duration
    )
    report_progress(on_progress, told)


async def _workers(client: Any) -> int:
    # Not `scheduler_info`, which answers from a cache: that of an asynchronous client has no workers yet.
    return len(await client.ncores() if client.asynchronous else await asyncio.to_thread(client.ncores))


async def _result(client: Any, future: Any) -> MigrationReport:
    found: MigrationReport = await future.result() if client.asynchronous else await asyncio.to_thread(future.result)
    return found


async def _maybe_awaited(found: Any) -> Any:
    return await found if hasattr(found, "__await__") else found


@dataclass(frozen=True, slots=True)
class Shard:
    """One range of a migration. It can be pickled if `transform_key` can."""

    source: str
    target: str
    source_access: S3Access
    target_access: S3Access
    rules: MigrationOptions
    bounds: Bounds
    journals: str | None

    def journal(self, identity: dict[str, str]) -> Path | None:
        """Return the path of the shard's journal: its name follows from `identity`, wherever the shard runs."""
        if self.journals is None:
            return None
        name = hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()[:24]
        return Path(self.journals) / f"{name}.journal"


def run_shard(shard: Shard) -> MigrationReport:
    """Run a shard in its own event loop. Blocks."""
    return asyncio.run(_run_shard(shard))


async def _run_shard(shard: Shard) -> MigrationReport:
    async with shard.source_access.manager() as one, shard.target_access.manager() as other:
        same = shard.source_access == shard.target_access
        task = await open_task(shard.source, shard.target, one, one if same else other, shard.rules)
        identity = {**task.identity(), "range": repr(shard.bounds)}
        path = shard.journal(identity)
        if path is not None:
            await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        try:
            return await _run(task, Journal(path, identity), shard)
        except JournalRefused:
            # Another task is running the same range: what it has moved will count as identical here.
            return await _run(task, Journal(None, identity), shard)


async def _run(task: Task, journal: Journal, shard: Shard) -> MigrationReport:
    async with journal:
        return await Run(task, journal, bounds=shard.bounds).run()


async def cut_source(task: Task, count: int) -> list[Bounds]:
    """List the source once and cut its keys into at most `count` ranges of about equally many objects.

    Raises:
        InvalidOption: the source is a directory.
    """
    side = task.source_side
    if side is None:
        raise InvalidOption("a directory cannot be split: other machines do not have it", hint="use migrate")
    return ranges_of(sorted(await _samples(side)), count)


async def _samples(side: Side) -> list[str]:
    found: list[str] = []
    cut = len(side.place.prefix)

    async def take(files: Sequence[FileInfo]) -> None:
        # Every hundredth key is enough to find the cuts, and takes little memory.
        found.extend(info.key[cut:] for info in files[::100])

    async def again() -> None:
        found.clear()

    await Listing(side.s3, side.place.bucket, side.place.prefix, Checkpoints(take, again), ordered=side.ordered).run()
    return found


def ranges_of(samples: Sequence[str], count: int) -> list[Bounds]:
    """Cut sorted `samples` into at most `count` ranges of about equally many. Pure."""
    step = max(len(samples) / count, 1.0)
    cuts = sorted({samples[int(number * step)] for number in range(1, count) if int(number * step) < len(samples)})
    edges: list[str | None] = [None, *cuts, None]
    return list(pairwise(edges))


def merged(reports: Sequence[MigrationReport], duration: float) -> MigrationReport:
    """Merge the reports of all ranges into one. Pure."""
    first = reports[0]
    return replace(
        first,
        objects=sum(one.objects for one in reports),
        moved=sum(one.moved for one in reports),
        identical=sum(one.identical for one in reports),
        vanished=sum(one.vanished for one in reports),
        verified=sum(one.verified for one in reports),
        trusted=sum(one.trusted for one in reports),
        failed=sum(one.failed for one in reports),
        bytes=sum(one.bytes for one in reports),
        failures=tuple(failure for one in reports for failure in one.failures)[:MOST_SHOWN],
        skipped=dict([item for one in reports for item in one.skipped.items()][:MOST_SHOWN]),
        resumed=any(one.resumed for one in reports),
        duration=duration,
    )


def check_shardable(source: str, target: str, rules: MigrationOptions) -> None:
    """Refuse migrations that cannot be done range by range.

    Raises:
        InvalidOption: a side is a directory, or `delete_extra`, `versions` or `bandwidth` is set.
    """
    if isinstance(parse_place(source), FolderPlace) or isinstance(parse_place(target), FolderPlace):
        raise InvalidOption("other machines do not have this directory", hint="use migrate")
    if rules.delete_extra or rules.versions:
        raise InvalidOption("delete_extra and versions need the whole prefix, not ranges", hint="use migrate")
    if rules.bandwidth is not None:
        raise InvalidOption("bandwidth limits one machine, not many", hint="omit it, or use migrate")
