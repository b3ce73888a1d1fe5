"""The commands."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from apm_s3._version import __version__
from apm_s3.cli import _transfers as transfers
from apm_s3.cli._progress import ProgressLine
from apm_s3.cli._transfers import Access, Output, Wanted

app = typer.Typer(
    name="apm-s3",
    help="Validated, versioned configurations of observability tools in S3.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

INTERRUPTED = 130
"""The exit status that shells report for a program stopped by SIGINT."""

_PLACE = "s3://BUCKET/PREFIX, or a directory."
_STATUSES = (
    "Exit statuses: 0: all is at the target. 1: something failed. 2: refused, nothing was moved. "
    "3: not possible (no such bucket, no response). 130: interrupted."
)

Source = Annotated[str, typer.Argument(help=_PLACE)]
Target = Annotated[str, typer.Argument(help=_PLACE)]
Include = Annotated[list[str] | None, typer.Option(help="Only names that match this pattern. Repeatable.")]
Exclude = Annotated[list[str] | None, typer.Option(help="Leave out names that match this pattern. Repeatable.")]
DeleteExtra = Annotated[bool, typer.Option("--delete-extra", help="Delete from TARGET what SOURCE lacks, at the end.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan, and write nothing.")]
Printed = Annotated[Output, typer.Option(help="How to print the result. Progress goes to the standard error.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Objects at once.")]
Endpoint = Annotated[str | None, typer.Option(help="An S3-compatible server; by default AWS.")]
Region = Annotated[str | None, typer.Option(help="By default that of the AWS configuration.")]
Profile = Annotated[str | None, typer.Option(help="A profile of the AWS configuration files.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"apm-s3 {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Validated, versioned configurations of observability tools in S3."""


@app.command()
def demo(
    endpoint_url: Annotated[
        str | None,
        typer.Option(
            help="An S3-compatible server to use instead of the embedded one, with the credentials of the AWS chain "
            "(AWS_ACCESS_KEY_ID, ~/.aws ...)."
        ),
    ] = None,
    region: Annotated[str, typer.Option(help="The region of that server.")] = "us-east-1",
) -> None:
    """Show what the library does, on example configurations, in a bucket that is deleted afterwards."""
    from apm_s3.cli._demo import run_demo  # noqa: PLC0415 - it brings the validators, which nothing else needs

    console = Console(highlight=False)
    try:
        ok = asyncio.run(run_demo(console, endpoint_url=endpoint_url, region=region))
    except KeyboardInterrupt:
        console.print("\nInterrupted.")
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(0 if ok else 1)


@app.command(epilog=_STATUSES)
def migrate(
    source: Source,
    target: Target,
    journal: Annotated[
        Path | None, typer.Option(help="Remember in this file how far it came. An existing one resumes.")
    ] = None,
    dry_run: DryRun = False,
    verify_only: Annotated[
        bool, typer.Option("--verify-only", help="Hold what the journal says against TARGET, and move nothing.")
    ] = False,
    output: Printed = Output.text,
    if_exists: Annotated[str, typer.Option(help="skip-identical, overwrite or fail.")] = "skip-identical",
    include: Include = None,
    exclude: Exclude = None,
    delete_extra: DeleteExtra = False,
    versions: Annotated[bool, typer.Option("--versions", help="Bring all versions and delete markers.")] = False,
    acls: Annotated[bool, typer.Option("--acls", help="Give every copy the grants of its source.")] = False,
    verify: Annotated[str, typer.Option(help="checksum, or read: all of both sides once more.")] = "checksum",
    accept: Annotated[
        list[str] | None, typer.Option(help="What may get lost: metadata, tags, object-lock ... Repeatable.")
    ] = None,
    bandwidth: Annotated[str | None, typer.Option(help="Bytes a second through this machine: 800k, 5M.")] = None,
    concurrency: Concurrency = 64,
    endpoint_url: Endpoint = None,
    region: Region = None,
    profile: Profile = None,
    target_endpoint_url: Annotated[str | None, typer.Option(help="If TARGET's is another one.")] = None,
    target_region: Annotated[str | None, typer.Option(help="If TARGET's is another one.")] = None,
    target_profile: Annotated[str | None, typer.Option(help="If TARGET's is another one.")] = None,
) -> None:
    """Bring everything from SOURCE to TARGET, verify it, and resume where it was interrupted."""
    rules: dict[str, Any] = {
        "if_exists": if_exists,
        "include": include,
        "exclude": exclude,
        "delete_extra": delete_extra,
        "versions": versions,
        "acls": acls,
        "verify": verify,
        "accept": tuple(accept or ()),
    }
    wanted = Wanted(
        source,
        target,
        Access(endpoint_url, region, profile),
        Access(target_endpoint_url or endpoint_url, target_region or region, target_profile or profile),
        rules,
        journal,
        transfers.parse_bytes(bandwidth),
        concurrency,
        dry_run,
        verify_only,
    )
    go_on = transfers.how_to_go_on(journal)
    raise typer.Exit(transfers.carry_out(lambda line: transfers.run_migration(wanted, line), output, go_on))


@app.command(epilog=_STATUSES)
def sync(
    source: Source,
    target: Target,
    dry_run: DryRun = False,
    output: Printed = Output.text,
    include: Include = None,
    exclude: Exclude = None,
    delete_extra: DeleteExtra = False,
    concurrency: Concurrency = 64,
    endpoint_url: Endpoint = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Bring from SOURCE to TARGET what differs. Without a journal: do it again after an interruption."""
    access = Access(endpoint_url, region, profile)
    options = {"include": include, "exclude": exclude, "delete_extra": delete_extra, "concurrency": concurrency}
    go_on = "Do it again: only what is still missing moves."

    def work(line: ProgressLine) -> Any:
        return transfers.run_sync(source, target, access, line, dry_run=dry_run, **options)

    raise typer.Exit(transfers.carry_out(work, output, go_on))
