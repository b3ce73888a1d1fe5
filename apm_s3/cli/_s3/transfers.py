"""The commands `migrate` and `sync`, which `object sync` is as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apm_s3._manager import S3Manager
from apm_s3._naming import counted
from apm_s3.batch import BatchProgress
from apm_s3.cli import _arguments as args
from apm_s3.cli._call import Call, make_manager, this_command
from apm_s3.cli._output import as_document, in_bytes, in_time
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
    pass


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


@args.source_place
@args.target_place
@args.dry_run
@args.include
@args.exclude
@args.delete_extra
@args.concurrency
def sync(
    call: Call, *, source: str, target: str, include: tuple[str, ...], exclude: tuple[str, ...], **options: Any
) -> Status:
    """Copy from SOURCE to TARGET what differs.

    Examples:
        apm-s3 object sync s3://apm-files/dashboards ./dashboards
        apm-s3 sync ./dashboards s3://apm-files/dashboards --delete-extra --dry-run
    """
    # Not `changes`: a lost response leaves nothing to find out, as the same command finds what is missing.
    call.resume_hint = call.resume_hint if call.dry_run else "Run it again: only what is still missing is copied."
    options |= {"include": include or None, "exclude": exclude or None}
    if call.dry_run:
        return _finish(call, call.run(lambda s3: s3.sync(source, target, dry_run=True, **options)))

    def show(progress: BatchProgress) -> None:
        line.show(
            f"{counted(progress.done, 'object')}, {in_bytes(progress.bytes)}, {counted(progress.failed, 'error')}"
        )

    with call.progress() as line:
        report = call.run(lambda s3: s3.sync(source, target, on_progress=show, **options))
    return _finish(call, report)


def _finish(call: Call, result: Result) -> Status:
    ok = getattr(result, "ok", True)
    call.print({**as_document(result), "ok": ok}, as_text(result))
    return Status.DONE if ok else Status.FAILED


@args.source_place
@args.target_place
@args.option("--journal", type=args.PATH, help="Keep track in this file; it resumes.")
@args.dry_run
@args.flag("--verify-only", help="Only compare TARGET with the journal.")
@args.option(
    "--if-exists", default="skip-identical", show_default=False, help="skip-identical (default), overwrite or fail."
)
@args.option("--compare", default="all", show_default=False, help="all (default), or content.")
@args.include
@args.exclude
@args.delete_extra
@args.flag("--versions", help="Bring all versions and delete markers.")
@args.option("--verify", default="checksum", show_default=False, help="checksum (default), or read: read both again.")
@args.option("--accept", multiple=True, help="What may get lost: metadata, tags. Repeatable.")
@args.option("--bandwidth", help="Bytes a second through here: 800k, 5M.")
@args.flag("--trust-network", help="Send contents unsigned over plain HTTP: faster.")
@args.concurrency
@args.option("--target-endpoint-url", help="The server of TARGET, if another.")
@args.option("--target-region", help="The region of TARGET, if another.")
@args.option("--target-profile", help="The profile for TARGET, if another.")
def migrate(
    call: Call,
    *,
    source: str,
    target: str,
    journal: Path | None,
    verify_only: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    bandwidth: str | None,
    target_endpoint_url: str | None,
    target_region: str | None,
    target_profile: str | None,
    **options: Any,
) -> Status:
    """Copy everything from SOURCE to TARGET, verify it, resume it.

    Example:
        apm-s3 migrate s3://old/team s3://new/team --journal move.journal
    """
    # Not `changes`: a lost response leaves nothing to find out, as the same command finds what is missing.
    if not (call.dry_run or verify_only):
        call.resume_hint = (
            "Nothing remembers how far it came; with --journal FILE it could be resumed."
            if journal is None
            else f"Resume with the same command: {this_command()}"
        )
    rules = MigrationOptions(
        include=include or None, exclude=exclude or None, bandwidth=parse_bytes(bandwidth), **options
    )
    one = call.settings
    there = Access(
        target_endpoint_url or one.get("endpoint-url"),
        target_region or one.get("region"),
        target_profile or one.get("profile"),
    )
    # The source may be a directory: then nothing of the common settings is used where those of the target are given.
    here = Access(one.get("endpoint-url"), one.get("region"), one.get("profile")) if is_s3(source) else there

    def show(progress: MigrationProgress) -> None:
        total = progress.listed if progress.listing_complete else None
        line.show(migration_line(progress), last=progress.phase == "done", done=progress.done, total=total)

    async def work() -> MigrationPlan | MigrationReport:
        async with _managers(here, there if is_s3(target) else here) as managers:
            if call.dry_run:
                return await plan_migration(source, target, rules, **managers)
            if not verify_only:
                return await carry_out(source, target, rules, journal=journal, on_progress=show, **managers)
            if journal is None:
                raise InvalidRequest("--verify-only needs the journal of what was migrated", hint="give --journal FILE")
            return await verify_migration(source, target, rules, journal=journal, on_progress=show, **managers)

    with call.progress() as line:
        return _finish(call, asyncio.run(work()))


@asynccontextmanager
async def _managers(source: Access, target: Access) -> AsyncIterator[dict[str, Any]]:
    """Open the managers: one for both sides if their access is the same, so that S3 does the copying."""
    async with source.manager() as one:
        if source == target:
            yield {"source_s3": one}
            return
        async with target.manager() as other:
            yield {"source_s3": one, "target_s3": other}
