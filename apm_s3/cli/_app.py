"""The commands."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from apm_s3._version import __version__
from apm_s3.cli._demo import run_demo

app = typer.Typer(
    name="apm-s3",
    help="Validated, versioned configurations of observability tools in S3.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

INTERRUPTED = 130
"""The exit status that shells report for a program stopped by SIGINT."""


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
    console = Console(highlight=False)
    try:
        ok = asyncio.run(run_demo(console, endpoint_url=endpoint_url, region=region))
    except KeyboardInterrupt:
        console.print("\nInterrupted.")
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(0 if ok else 1)
