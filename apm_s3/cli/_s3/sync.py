"""The command `sync`, which `object sync` is as well."""

from __future__ import annotations

import asyncio

import typer

from apm_s3.cli._arguments import DeleteExtra, DryRun, Exclude, Include, SourcePlace, TargetPlace, TransferConcurrency
from apm_s3.cli._call import Call
from apm_s3.cli._s3 import transfers
from apm_s3.cli._s3.transfers import Access
from apm_s3.cli._statuses import Status


def sync(
    ctx: typer.Context,
    source: SourcePlace,
    target: TargetPlace,
    dry_run: DryRun = False,
    include: Include = None,
    exclude: Exclude = None,
    delete_extra: DeleteExtra = False,
    concurrency: TransferConcurrency = 64,
) -> Status:
    """Copy from SOURCE to TARGET what differs.

    Examples:
        apm-s3 object sync s3://apm-files/dashboards ./dashboards
        apm-s3 sync ./dashboards s3://apm-files/dashboards --delete-extra --dry-run
    """
    call = Call.of(ctx)
    # Not `changes`: a lost response leaves nothing to find out, as the same command finds what is missing.
    call.go_on = call.go_on if dry_run else "Run it again: only what is still missing is copied."
    access = Access(call.settings.endpoint_url, call.settings.region, call.settings.profile)
    options = {"include": include, "exclude": exclude, "delete_extra": delete_extra, "concurrency": concurrency}
    with call.progress() as line:
        result = asyncio.run(transfers.run_sync(source, target, access, line, dry_run=dry_run, **options))
    call.print(transfers.as_json(result), transfers.as_text(result))
    return Status.DONE if getattr(result, "ok", True) else Status.FAILED
