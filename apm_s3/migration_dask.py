"""Migrates on many machines with Dask: each range of the source's keys is a task. Needs the extra `dask`.

with Client("tcp://scheduler:8786") as client:
    report = await migrate_on_dask("s3://logs", "s3://archive", client)
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from typing import Any, Unpack

from apm_s3._migration.models import (
    MigrationKeywords,
    MigrationOptions,
    MigrationProgress,
    MigrationReport,
    OnMigrationProgress,
    options_of,
)
from apm_s3._migration.plan import check_capabilities, new_probe, open_task
from apm_s3._migration.shards import S3Access, Shard, check_shardable, cut_source, merged, run_shard
from apm_s3.errors import InvalidOption
from apm_s3.events import report_progress

__all__ = ["S3Access", "migrate_on_dask"]

_RANGES_PER_WORKER = 4
"""Several, so that a slow or lost worker delays little."""
_RETRIES = 3


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
