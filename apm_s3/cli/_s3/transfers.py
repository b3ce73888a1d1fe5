"""The commands `migrate` and `sync`, which `object sync` is as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from apm_s3._manager import S3Manager
from apm_s3._naming import counted
from apm_s3.batch import BatchProgress
from apm_s3.cli._arguments import (
    PATH,
    concurrency,
    delete_extra,
    dry_run,
    exclude,
    flag,
    include,
    option,
    source_place,
    target_place,
)
from apm_s3.cli._call import Call, make_manager, this_command
from apm_s3.cli._output import ProgressLine, as_document, in_bytes, in_time
from apm_s3.cli._s3.object import is_s3
from apm_s3.cli._statuses import Status, clean
from apm_s3.errors import InvalidRequest
from apm_s3.migration import (
    MigrationOptions,
    MigrationPlan,
    MigrationProgress,
    MigrationReport,
    plan_migration,
    verify_migration,
)
from apm_s3.migration import migrate as carry_out
from apm_s3.sync import SyncPlan, SyncReport

if TYPE_CHECKING:
    from apm_s3._migration.models import Compare, IfExists, Verify


_SHOWN = 20
"""Most failures to print. The journal and the JSON output have more."""

Result = MigrationPlan | MigrationReport | SyncPlan | SyncReport


@dataclass(frozen=True)
class Access:
    """How to reach one side in S3; None leaves a value to the AWS configuration chain."""

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None

    def manager(self) -> S3Manager:
        """Return a manager that is not open yet."""
        return make_manager(self.endpoint_url, self.region, self.profile)


@dataclass(frozen=True)
class Wanted:
    """One call of `apm-s3 migrate`."""

    source: str
    target: str
    source_access: Access
    target_access: Access
    options: MigrationOptions
    journal: Path | None
    dry_run: bool
    verify_only: bool


async def run_migration(wanted: Wanted, line: ProgressLine) -> MigrationPlan | MigrationReport:
    """Plan, verify or migrate."""

    def told(progress: MigrationProgress) -> None:
        total = progress.listed if progress.listing_complete else None
        line.show(migration_line(progress), last=progress.phase == "done", done=progress.done, total=total)

    async with _managers(wanted) as managers:
        if wanted.dry_run:
            return await plan_migration(wanted.source, wanted.target, wanted.options, **managers)
        places = wanted.source, wanted.target, wanted.options
        if wanted.verify_only:
            if wanted.journal is None:
                raise InvalidRequest("--verify-only needs the journal of what was migrated", hint="give --journal FILE")
            return await verify_migration(*places, journal=wanted.journal, on_progress=told, **managers)
        return await carry_out(*places, journal=wanted.journal, on_progress=told, **managers)


@asynccontextmanager
async def _managers(wanted: Wanted) -> AsyncIterator[dict[str, Any]]:
    """Open the managers: one for both sides if their access is the same, so that S3 does the copying."""
    from_s3 = is_s3(wanted.source)
    if not (from_s3 and is_s3(wanted.target)) or wanted.source_access == wanted.target_access:
        access = wanted.source_access if from_s3 else wanted.target_access
        async with access.manager() as s3:
            yield {"source_s3": s3}
        return
    async with wanted.source_access.manager() as one, wanted.target_access.manager() as other:
        yield {"source_s3": one, "target_s3": other}


async def run_sync(
    source: str, target: str, access: Access, line: ProgressLine, *, dry_run: bool, **options: Any
) -> SyncPlan | SyncReport:
    """Plan a sync or carry it out."""

    def told(progress: BatchProgress) -> None:
        line.show(
            f"{counted(progress.done, 'object')}, {in_bytes(progress.bytes)}, {counted(progress.failed, 'error')}"
        )

    async with access.manager() as s3:
        if dry_run:
            plan: SyncPlan = await s3.sync(source, target, dry_run=True, **options)
            return plan
        report: SyncReport = await s3.sync(source, target, on_progress=told, **options)
        return report


def migration_line(progress: MigrationProgress) -> str:
    """Format the progress of a migration as one line."""
    rate = progress.bytes / progress.elapsed if progress.elapsed > 0 else 0.0
    so_far = "" if progress.listing_complete else " so far"
    left = progress.seconds_left
    parts = [
        f"{progress.phase}: {progress.done} of {counted(progress.listed, 'object')}{so_far}",
        in_bytes(progress.bytes),
        f"{in_bytes(rate)}/s",
        "" if left is None or progress.phase != "moving" else f"{in_time(left)} left",
        counted(progress.failed, "error"),
    ]
    return ", ".join(part for part in parts if part)


def as_text(result: Result) -> str:
    """Format the result for people."""
    first = str(result)
    lines: list[str] = []
    if isinstance(result, MigrationReport):
        lines += [
            f"  failed: {one.key} ({counted(one.attempts, 'attempt')}): {one.error}" for one in result.failures[:_SHOWN]
        ]
        lines += [f"  ... and {result.failed - _SHOWN} more"] if result.failed > _SHOWN else []
        lines += [f"  skipped: {key} ({reason})" for key, reason in list(result.skipped.items())[:_SHOWN]]
        if result.kept:
            lines.append(f"  {result.kept} extra objects were not deleted, because something failed before")
    elif isinstance(result, SyncReport):
        lines += [f"  failed: {key}: {error}" for key, error in list(result.failures.items())[:_SHOWN]]
    return "\n".join((first, *(clean(line, line=True) for line in lines)))


def as_json(result: Result) -> dict[str, Any]:
    """Return the result for programs: the fields of the report or plan, and `ok`."""
    return {**as_document(result), "ok": getattr(result, "ok", True)}


def how_to_resume(journal: Path | None) -> str:
    """Say how to resume after an interruption."""
    if journal is None:
        return "Nothing remembers how far it came; with --journal FILE it could be resumed."
    return f"Resume with the same command: {this_command()}"


def parse_bytes(text: str | None) -> float | None:
    """Parse a bandwidth such as "5M", "1.5G" or "800k" to bytes a second, with powers of 1024.

    Raises:
        BadParameter: `text` is not such a number.
    """
    if text is None:
        return None
    unit = text[-1:].lower()
    factor = {"k": 1024, "m": 1024**2, "g": 1024**3}.get(unit)
    try:
        return float(text[:-1]) * factor if factor else float(text)
    except ValueError as exc:
        raise click.BadParameter(f"'{text}' is no number of bytes such as 800k, 5M or 1.5G") from exc


@source_place
@target_place
@dry_run
@include
@exclude
@delete_extra
@concurrency
def sync(
    call: Call,
    *,
    source: str,
    target: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    delete_extra: bool,
    concurrency: int,
) -> Status:
    """Copy from SOURCE to TARGET what differs.

    Examples:
        apm-s3 object sync s3://apm-files/dashboards ./dashboards
        apm-s3 sync ./dashboards s3://apm-files/dashboards --delete-extra --dry-run
    """
    # Not `changes`: a lost response leaves nothing to find out, as the same command finds what is missing.
    call.resume_hint = call.resume_hint if call.dry_run else "Run it again: only what is still missing is copied."
    access = Access(call.settings.endpoint_url, call.settings.region, call.settings.profile)
    options = {
        "include": include or None,
        "exclude": exclude or None,
        "delete_extra": delete_extra,
        "concurrency": concurrency,
    }
    with call.progress() as line:
        result = asyncio.run(run_sync(source, target, access, line, dry_run=call.dry_run, **options))
    call.print(as_json(result), as_text(result))
    return Status.DONE if getattr(result, "ok", True) else Status.FAILED


@source_place
@target_place
@option("--journal", type=PATH, help="Keep track in this file; it resumes.")
@dry_run
@flag("--verify-only", help="Only compare TARGET with the journal.")
@option(
    "--if-exists", default="skip-identical", show_default=False, help="skip-identical (default), overwrite or fail."
)
@option("--compare", default="all", show_default=False, help="all (default), or content.")
@include
@exclude
@delete_extra
@flag("--versions", help="Bring all versions and delete markers.")
@option("--verify", default="checksum", show_default=False, help="checksum (default), or read: read both again.")
@option("--accept", multiple=True, help="What may get lost: metadata, tags. Repeatable.")
@option("--bandwidth", help="Bytes a second through here: 800k, 5M.")
@flag("--trust-network", help="Send contents unsigned over plain HTTP: faster.")
@concurrency
@option("--target-endpoint-url", help="The server of TARGET, if another.")
@option("--target-region", help="The region of TARGET, if another.")
@option("--target-profile", help="The profile for TARGET, if another.")
def migrate(
    call: Call,
    *,
    source: str,
    target: str,
    journal: Path | None,
    verify_only: bool,
    if_exists: str,
    compare: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    delete_extra: bool,
    versions: bool,
    verify: str,
    accept: tuple[str, ...],
    bandwidth: str | None,
    trust_network: bool,
    concurrency: int,
    target_endpoint_url: str | None,
    target_region: str | None,
    target_profile: str | None,
) -> Status:
    """Copy everything from SOURCE to TARGET, verify it, resume it.

    Example:
        apm-s3 migrate s3://old/team s3://new/team --journal move.journal
    """
    # Not `changes`: a lost response leaves nothing to find out, as the same command finds what is missing.
    call.resume_hint = call.resume_hint if call.dry_run or verify_only else how_to_resume(journal)
    options = MigrationOptions(
        if_exists=cast("IfExists", if_exists),
        compare=cast("Compare", compare),
        include=include or None,
        exclude=exclude or None,
        delete_extra=delete_extra,
        versions=versions,
        verify=cast("Verify", verify),
        accept=accept or (),
        bandwidth=parse_bytes(bandwidth),
        trust_network=trust_network,
        concurrency=concurrency,
    )
    one = call.settings
    there = Access(target_endpoint_url or one.endpoint_url, target_region or one.region, target_profile or one.profile)
    # The source may be a directory: then nothing of the common settings is used where those of the target are given.
    here = Access(one.endpoint_url, one.region, one.profile) if is_s3(source) else there
    wanted = Wanted(source, target, here, there, options, journal, call.dry_run, verify_only)
    with call.progress() as line:
        result = asyncio.run(run_migration(wanted, line))
    call.print(as_json(result), as_text(result))
    return Status.DONE if getattr(result, "ok", True) else Status.FAILED
