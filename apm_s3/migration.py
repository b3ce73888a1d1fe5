"""Migrates prefixes and directories: plans, journals, verifies, and resumes interrupted migrations.

async with S3Manager(endpoint_url="https://old.example") as old, S3Manager() as new:
    report = await migrate("s3://logs/2024", "s3://archive/logs", source_s3=old, target_s3=new, journal="logs.journal")
    report.raise_for_failures()
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Unpack

from apm_s3._manager import S3Manager
from apm_s3._migration.journal import Journal
from apm_s3._migration.models import (
    Capability,
    Estimate,
    MigrationFailure,
    MigrationKeywords,
    MigrationOptions,
    MigrationPlan,
    MigrationProgress,
    MigrationReport,
    OnMigrationProgress,
    options_of,
)
from apm_s3._migration.plan import Task, check_capabilities, check_probe, make_plan, new_probe, open_task
from apm_s3._migration.run import Run
from apm_s3._tracing import operation
from apm_s3.errors import InvalidOption

__all__ = [
    "Capability",
    "Estimate",
    "MigrationFailure",
    "MigrationOptions",
    "MigrationPlan",
    "MigrationProgress",
    "MigrationReport",
    "migrate",
    "plan_migration",
    "verify_migration",
]

Where = str | os.PathLike[str]


async def migrate(
    source: Where,
    target: Where,
    options: MigrationOptions | None = None,
    *,
    source_s3: S3Manager | None = None,
    target_s3: S3Manager | None = None,
    journal: Where | None = None,
    on_progress: OnMigrationProgress | None = None,
    **keywords: Unpack[MigrationKeywords],
) -> MigrationReport:
    """Copy everything from one place to another, verify it, and return a report.

    With one manager, S3 does the copying; with two, contents are streamed through this machine in bounded memory.
    Content headers, metadata, tags, storage class and, between buckets with object lock, locks are kept. Moving begins
    while the source is still being listed. Contents are verified by ETags, by checksums of the whole object if both
    servers keep one, by repeating the parts that the source was uploaded in, or by reading back; at the end the target
    is listed once more. A failed object does not stop the others: it is tried three times, then reported. An object
    that changes during the migration is moved in its new state.

    To resume a cancelled or killed migration, call it again with the same `journal`. A journal belongs to one
    migration: calling again after it has finished verifies what it moved, and lists nothing new.

    Args:
        source, target: "s3://bucket/prefix", with the prefix as a folder, or the path of a directory.
        options: what to do; `keywords` are its fields, and replace those of the object.
        source_s3, target_s3: open managers. One is enough if the other side is a directory, or if both prefixes have
            the same endpoint and account.
        journal: the SQLite file that stores progress. Without it, a migration cannot be resumed.
        on_progress: called a few times a second.

    Raises:
        InvalidOption: an option is invalid, or the places overlap; nothing was moved.
        MigrationRefused: the target cannot keep something that `accept` does not name, and nothing was moved; or the
            source is empty, perhaps only at the end, and `delete_extra` would delete everything.
        JournalRefused: the journal belongs to another migration, or another process is using it, and nothing was
            moved; or it can no longer be written (its `may_have_happened` is True then).
        BucketNotFound: there is no such bucket.
        OSError: a directory cannot be read.
    """
    rules = options_of(options, keywords)
    with _traced("migrate", source_s3, target_s3):
        task = await open_task(source, target, source_s3, target_s3, rules)
        async with Journal(_path(journal), task.identity()) as opened:
            await _check_target(task, opened)
            return await Run(task, opened, on_progress=on_progress).run()


async def plan_migration(
    source: Where,
    target: Where,
    options: MigrationOptions | None = None,
    *,
    source_s3: S3Manager | None = None,
    target_s3: S3Manager | None = None,
    **keywords: Unpack[MigrationKeywords],
) -> MigrationPlan:
    """Plan what `migrate` would do with the same arguments. Lists both sides and writes nothing.

    Raises:
        InvalidOption, BucketNotFound, OSError: as for `migrate`.
    """
    rules = options_of(options, keywords)
    with _traced("plan_migration", source_s3, target_s3):
        return await make_plan(await open_task(source, target, source_s3, target_s3, rules))


async def verify_migration(
    source: Where,
    target: Where,
    options: MigrationOptions | None = None,
    *,
    journal: Where,
    source_s3: S3Manager | None = None,
    target_s3: S3Manager | None = None,
    on_progress: OnMigrationProgress | None = None,
    **keywords: Unpack[MigrationKeywords],
) -> MigrationReport:
    """Compare what a journal lists as moved with the current target; move nothing.

    The target is listed, and sizes and ETags are compared. `verify="read"` also reads contents, metadata and tags of
    both sides. Objects that differ count as failed in the report; `migrate` with the same journal moves them again.

    Args: as for `migrate`.

    Raises:
        InvalidOption: the journal does not exist.
        JournalRefused: the journal belongs to another migration.
    """
    path = _path(journal)
    if path is None or not path.exists():
        raise InvalidOption(f"there is no journal '{journal}'", hint="give the journal of the migration to verify")
    rules = options_of(options, keywords)
    with _traced("verify_migration", source_s3, target_s3):
        task = await open_task(source, target, source_s3, target_s3, rules)
        async with Journal(path, task.identity()) as opened:
            return await Run(task, opened, on_progress=on_progress).verify()


def _traced(name: str, source_s3: S3Manager | None, target_s3: S3Manager | None) -> AbstractContextManager[None]:
    """Trace the block as the operation `name`, if one of the managers traces."""
    for s3 in (target_s3, source_s3):
        if s3 is not None and s3._tracer is not None:  # noqa: SLF001 - the tracer is for what stands on the manager
            return operation(s3._tracer, name, {})  # noqa: SLF001 - see above
    return nullcontext()


async def _check_target(task: Task, journal: Journal) -> None:
    """Check once what the target keeps. A probe that a killed run left is overwritten and deleted."""
    if await journal.do(lambda store: store.get("target_checked")):
        return
    probe = await journal.do(lambda store: store.get("probe")) or new_probe()
    check_probe(probe)
    await journal.do(lambda store: store.set(probe=probe))
    await check_capabilities(task, probe=probe)
    await journal.do(lambda store: store.set(target_checked="yes"))


def _path(journal: Where | None) -> Path | None:
    return None if journal is None else Path(journal).absolute()
