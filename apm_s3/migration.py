"""Migrations of whole prefixes and directories: planned, journaled, verified on the way, and resumed where they ended.

async with S3Manager(endpoint_url="https://old.example") as old, S3Manager() as new:
    report = await migrate("s3://logs/2024", "s3://archive/logs", source_s3=old, target_s3=new, journal="logs.journal")
    report.raise_for_failures()
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from apm_s3._manager import S3Manager
from apm_s3._migration.capabilities import check_capabilities, new_probe
from apm_s3._migration.journal import Journal
from apm_s3._migration.models import (
    Capability,
    Estimate,
    IfExists,
    MigrationFailure,
    MigrationPlan,
    MigrationProgress,
    MigrationReport,
    OnMigrationProgress,
    Verify,
)
from apm_s3._migration.planning import make_plan
from apm_s3._migration.rules import MigrationRules
from apm_s3._migration.run import Run
from apm_s3._migration.task import Task, open_task
from apm_s3.errors import InvalidOption

__all__ = [
    "Capability",
    "Estimate",
    "MigrationFailure",
    "MigrationPlan",
    "MigrationProgress",
    "MigrationReport",
    "migrate",
    "plan_migration",
    "verify_migration",
]

_CONCURRENCY = 64

Where = str | os.PathLike[str]
Patterns = str | Sequence[str]


async def migrate(
    source: Where,
    target: Where,
    *,
    source_s3: S3Manager | None = None,
    target_s3: S3Manager | None = None,
    journal: Where | None = None,
    if_exists: IfExists = "skip-identical",
    include: Patterns | None = None,
    exclude: Patterns | None = None,
    transform_key: Callable[[str], str] | None = None,
    delete_extra: bool = False,
    versions: bool = False,
    acls: bool = False,
    verify: Verify = "checksum",
    accept: Collection[str] = (),
    bandwidth: float | None = None,
    concurrency: int = _CONCURRENCY,
    on_progress: OnMigrationProgress | None = None,
) -> MigrationReport:
    """Bring everything from one place to another, verify it, and say what came of it.

    With one manager, S3 copies by itself; with two, contents are streamed through this machine in bounded memory.
    Content headers, metadata, tags, storage class and, between buckets with object lock, locks are kept. Moving begins
    while the source is still being listed. Contents are held against the source by ETags, by checksums of the whole
    object where both servers keep one, by repeating the parts that the source was uploaded in, or by reading back; at
    the end the target is listed once more. One object that fails stops nothing: it is tried three times, and reported.
    An object that changes meanwhile is moved as it is then.

    What has been cancelled or killed goes on where it was, if it is called again with the same `journal`. A journal
    stands for one migration: once it is finished, calling again verifies what it moved, and lists nothing new.

    Args:
        source, target: "s3://bucket/prefix", where a prefix stands for a folder, or the path of a directory.
        source_s3, target_s3: open managers. One of them does for a directory on the other side, and for two prefixes of
            one endpoint and account.
        journal: the file that remembers how far it has come (SQLite). Without one, nothing can be resumed.
        if_exists: what becomes of an object that the target has: moved only if it is another one, moved always, or
            failed if it is another one.
        include, exclude: patterns of names below the source, as of `fnmatch`; "*" stands for "/" too.
        transform_key: gives the name below the target for a name below the source.
        delete_extra: delete from the target what the source lacks: last, and only if nothing failed before.
        versions: bring all versions and delete markers, in their order, to a bucket that keeps versions. All are
            listed before the first moves.
        acls: give every copy the grants of its source.
        verify: "read" reads all contents, metadata and tags of both sides once more at the end.
        accept: names of what may get lost: see `Capability`. For a directory, give ("metadata", "tags").
        bandwidth: bytes a second that cross this machine, at most.
        concurrency: objects at once; the managers' `max_concurrency` bounds the requests.
        on_progress: told a few times a second.

    Raises:
        InvalidOption: an option that makes no sense; places that overlap; nothing was moved.
        MigrationRefused: the target cannot keep what the source has, and it was not accepted; or `delete_extra` would
            delete everything, as the source has nothing.
        JournalRefused: the journal is another migration's, or another process is using it.
        BucketNotFound: there is no such bucket.
        OSError: a directory cannot be read.
    """
    rules = MigrationRules(
        if_exists=if_exists,
        include=include,
        exclude=exclude,
        transform_key=transform_key,
        delete_extra=delete_extra,
        versions=versions,
        acls=acls,
        verify=verify,
        accept=tuple(accept),
    )
    _check(concurrency)
    task = await open_task(source, target, source_s3, target_s3, rules, bandwidth)
    async with Journal(_path(journal), task.identity()) as opened:
        await _check_target(task, opened)
        return await Run(task, opened, concurrency=concurrency, on_progress=on_progress).run()


async def plan_migration(
    source: Where,
    target: Where,
    *,
    source_s3: S3Manager | None = None,
    target_s3: S3Manager | None = None,
    if_exists: IfExists = "skip-identical",
    include: Patterns | None = None,
    exclude: Patterns | None = None,
    transform_key: Callable[[str], str] | None = None,
    delete_extra: bool = False,
    versions: bool = False,
    acls: bool = False,
    verify: Verify = "checksum",
    accept: Collection[str] = (),
) -> MigrationPlan:
    """What `migrate` would do with the same arguments. Nothing is written: both sides are listed.

    Raises:
        InvalidOption, BucketNotFound, OSError: as `migrate`.
    """
    rules = MigrationRules(
        if_exists=if_exists,
        include=include,
        exclude=exclude,
        transform_key=transform_key,
        delete_extra=delete_extra,
        versions=versions,
        acls=acls,
        verify=verify,
        accept=tuple(accept),
    )
    return await make_plan(await open_task(source, target, source_s3, target_s3, rules))


async def verify_migration(
    source: Where,
    target: Where,
    *,
    journal: Where,
    source_s3: S3Manager | None = None,
    target_s3: S3Manager | None = None,
    if_exists: IfExists = "skip-identical",
    include: Patterns | None = None,
    exclude: Patterns | None = None,
    transform_key: Callable[[str], str] | None = None,
    delete_extra: bool = False,
    versions: bool = False,
    acls: bool = False,
    verify: Verify = "checksum",
    accept: Collection[str] = (),
    concurrency: int = _CONCURRENCY,
    on_progress: OnMigrationProgress | None = None,
) -> MigrationReport:
    """Hold what a journal says was moved against the target as it is now; nothing is moved.

    The target is listed: sizes and ETags are compared. `verify="read"` reads contents, metadata and tags of both sides.
    What is wrong has failed in the report; `migrate` with the same journal moves it again.

    Args: those of `migrate`.

    Raises:
        JournalRefused: there is no such journal, or it is another migration's.
    """
    path = _path(journal)
    if path is None or not path.exists():
        raise InvalidOption(f"there is no journal '{journal}'", hint="give the one of the migration to verify")
    rules = MigrationRules(
        if_exists=if_exists,
        include=include,
        exclude=exclude,
        transform_key=transform_key,
        delete_extra=delete_extra,
        versions=versions,
        acls=acls,
        verify=verify,
        accept=tuple(accept),
    )
    _check(concurrency)
    task = await open_task(source, target, source_s3, target_s3, rules)
    async with Journal(path, task.identity()) as opened:
        return await Run(task, opened, concurrency=concurrency, on_progress=on_progress).verify()


async def _check_target(task: Task, journal: Journal) -> None:
    """Look what the target keeps, once; the probe of a run that was killed meanwhile is written again, and deleted."""
    if await journal.do(lambda store: store.get("target_checked")):
        return
    probe = await journal.do(lambda store: store.get("probe")) or new_probe()
    await journal.do(lambda store: store.set(probe=probe))
    await check_capabilities(task, probe=probe)
    await journal.do(lambda store: store.set(target_checked="yes"))


def _check(concurrency: int) -> None:
    if concurrency < 1:
        raise InvalidOption(f"concurrency is {concurrency}", hint="give 1 or more")


def _path(journal: Where | None) -> Path | None:
    return None if journal is None else Path(journal).absolute()
