"""Migrates prefixes and directories: plans, journals, verifies, and resumes interrupted migrations.

async with S3Manager(endpoint_url="https://old.example") as old, S3Manager() as new:
    report = await migrate("s3://logs/2024", "s3://archive/logs", source_s3=old, target_s3=new, journal="logs.journal")
    report.raise_for_failures()
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from apm_s3._manager import S3Manager
from apm_s3._migration.journal import Journal
from apm_s3._migration.models import (
    Capability,
    Compare,
    Estimate,
    IfExists,
    MigrationFailure,
    MigrationPlan,
    MigrationProgress,
    MigrationReport,
    MigrationRules,
    OnMigrationProgress,
    Verify,
)
from apm_s3._migration.plan import Task, check_capabilities, check_probe, make_plan, new_probe, open_task
from apm_s3._migration.run import Run
from apm_s3._tracing import operation
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
    compare: Compare = "all",
    include: Patterns | None = None,
    exclude: Patterns | None = None,
    transform_key: Callable[[str], str] | None = None,
    delete_extra: bool = False,
    versions: bool = False,
    verify: Verify = "checksum",
    accept: Collection[str] = (),
    bandwidth: float | None = None,
    trust_network: bool = False,
    concurrency: int = _CONCURRENCY,
    on_progress: OnMigrationProgress | None = None,
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
        source_s3, target_s3: open managers. One is enough if the other side is a directory, or if both prefixes have
            the same endpoint and account.
        journal: the SQLite file that stores progress. Without it, a migration cannot be resumed.
        if_exists: for objects that the target already has: move them only if they differ, move them always, or fail if
            they differ.
        compare: what makes an object identical. "all": content, content type, headers, metadata, tags, storage class
            and locks, which takes a HEAD of both sides for each object that the listings call identical, and a request
            for the tags of each side where there are some or the server does not count them. "content": the content
            alone, without further requests where the listings tell; the report names it.
        include, exclude: patterns of `fnmatch` for names below the source; "*" matches "/" too.
        transform_key: maps a name below the source to a name below the target.
        delete_extra: delete from the target what the source lacks: last, and only if nothing failed. Before, the
            source is listed again.
        versions: move all versions and delete markers, in order, to a bucket with versioning. All are listed before the
            first one moves.
        verify: "read" also reads all contents, metadata and tags of both sides at the end.
        accept: names of properties that may get lost; see `Capability`. For a directory, use ("metadata", "tags").
        bandwidth: most bytes a second through this machine.
        trust_network: send contents above 1 MiB unsigned over plain HTTP, with the digests that the source reports. It
            saves hashing them. Whoever can change packets on the way can change contents unnoticed, so the report
            counts them as `trusted`, and not as `verified`.
        concurrency: objects moved at once; the managers' `max_concurrency` limits the requests.
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
    rules = MigrationRules(
        if_exists=if_exists,
        compare=compare,
        include=include,
        exclude=exclude,
        transform_key=transform_key,
        delete_extra=delete_extra,
        versions=versions,
        verify=verify,
        accept=tuple(accept),
        trust_network=trust_network,
    )
    _check(concurrency)
    with _traced("migrate", source_s3, target_s3):
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
    compare: Compare = "all",
    include: Patterns | None = None,
    exclude: Patterns | None = None,
    transform_key: Callable[[str], str] | None = None,
    delete_extra: bool = False,
    versions: bool = False,
    verify: Verify = "checksum",
    accept: Collection[str] = (),
) -> MigrationPlan:
    """Plan what `migrate` would do with the same arguments. Lists both sides and writes nothing.

    Raises:
        InvalidOption, BucketNotFound, OSError: as for `migrate`.
    """
    rules = MigrationRules(
        if_exists=if_exists,
        compare=compare,
        include=include,
        exclude=exclude,
        transform_key=transform_key,
        delete_extra=delete_extra,
        versions=versions,
        verify=verify,
        accept=tuple(accept),
    )
    with _traced("plan_migration", source_s3, target_s3):
        return await make_plan(await open_task(source, target, source_s3, target_s3, rules))


async def verify_migration(
    source: Where,
    target: Where,
    *,
    journal: Where,
    source_s3: S3Manager | None = None,
    target_s3: S3Manager | None = None,
    if_exists: IfExists = "skip-identical",
    compare: Compare = "all",
    include: Patterns | None = None,
    exclude: Patterns | None = None,
    transform_key: Callable[[str], str] | None = None,
    delete_extra: bool = False,
    versions: bool = False,
    verify: Verify = "checksum",
    accept: Collection[str] = (),
    concurrency: int = _CONCURRENCY,
    on_progress: OnMigrationProgress | None = None,
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
    rules = MigrationRules(
        if_exists=if_exists,
        compare=compare,
        include=include,
        exclude=exclude,
        transform_key=transform_key,
        delete_extra=delete_extra,
        versions=versions,
        verify=verify,
        accept=tuple(accept),
    )
    _check(concurrency)
    with _traced("verify_migration", source_s3, target_s3):
        task = await open_task(source, target, source_s3, target_s3, rules)
        async with Journal(path, task.identity()) as opened:
            return await Run(task, opened, concurrency=concurrency, on_progress=on_progress).verify()


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


def _check(concurrency: int) -> None:
    if concurrency < 1:
        raise InvalidOption(f"concurrency is {concurrency}", hint="give 1 or more")


def _path(journal: Where | None) -> Path | None:
    return None if journal is None else Path(journal).absolute()
