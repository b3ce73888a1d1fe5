"""The command `migrate`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from apm_s3.cli._arguments import DeleteExtra, DryRun, Exclude, Include, SourcePlace, TargetPlace, TransferConcurrency
from apm_s3.cli._call import Call
from apm_s3.cli._s3 import transfers
from apm_s3.cli._s3.places import is_s3
from apm_s3.cli._s3.transfers import Access, Wanted
from apm_s3.cli._statuses import Status
from apm_s3.migration import MigrationOptions

if TYPE_CHECKING:
    from apm_s3._migration.models import Compare, IfExists, Verify


def migrate(
    ctx: typer.Context,
    source: SourcePlace,
    target: TargetPlace,
    journal: Annotated[Path | None, typer.Option(help="Keep track in this file; it resumes.")] = None,
    dry_run: DryRun = False,
    verify_only: Annotated[bool, typer.Option("--verify-only", help="Only compare TARGET with the journal.")] = False,
    if_exists: Annotated[
        str, typer.Option(help="skip-identical (default), overwrite or fail.", show_default=False)
    ] = "skip-identical",
    compare: Annotated[str, typer.Option(help="all (default), or content.", show_default=False)] = "all",
    include: Include = None,
    exclude: Exclude = None,
    delete_extra: DeleteExtra = False,
    versions: Annotated[bool, typer.Option("--versions", help="Bring all versions and delete markers.")] = False,
    verify: Annotated[
        str, typer.Option(help="checksum (default), or read: read both again.", show_default=False)
    ] = "checksum",
    accept: Annotated[list[str] | None, typer.Option(help="What may get lost: metadata, tags. Repeatable.")] = None,
    bandwidth: Annotated[str | None, typer.Option(help="Bytes a second through here: 800k, 5M.")] = None,
    trust_network: Annotated[
        bool, typer.Option("--trust-network", help="Send contents unsigned over plain HTTP: faster.")
    ] = False,
    concurrency: TransferConcurrency = 64,
    target_endpoint_url: Annotated[str | None, typer.Option(help="The server of TARGET, if another.")] = None,
    target_region: Annotated[str | None, typer.Option(help="The region of TARGET, if another.")] = None,
    target_profile: Annotated[str | None, typer.Option(help="The profile for TARGET, if another.")] = None,
) -> Status:
    """Copy everything from SOURCE to TARGET, verify it, resume it.

    Example:
        apm-s3 migrate s3://old/team s3://new/team --journal move.journal
    """
    call = Call.of(ctx)
    # Not `changes`: a lost response leaves nothing to find out, as the same command finds what is missing.
    call.go_on = call.go_on if dry_run or verify_only else transfers.how_to_go_on(journal)
    options = MigrationOptions(
        if_exists=cast("IfExists", if_exists),
        compare=cast("Compare", compare),
        include=include,
        exclude=exclude,
        delete_extra=delete_extra,
        versions=versions,
        verify=cast("Verify", verify),
        accept=accept or (),
        bandwidth=transfers.parse_bytes(bandwidth),
        trust_network=trust_network,
        concurrency=concurrency,
    )
    one = call.settings
    there = Access(target_endpoint_url or one.endpoint_url, target_region or one.region, target_profile or one.profile)
    # The source may be a directory: then nothing of the common settings is used where those of the target are given.
    here = Access(one.endpoint_url, one.region, one.profile) if is_s3(source) else there
    wanted = Wanted(source, target, here, there, options, journal, dry_run, verify_only)
    with call.progress() as line:
        result = asyncio.run(transfers.run_migration(wanted, line))
    call.print(transfers.as_json(result), transfers.as_text(result))
    return Status.DONE if getattr(result, "ok", True) else Status.FAILED
