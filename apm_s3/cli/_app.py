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
    help="Configurations of observability tools in S3: validated, versioned, rolled back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

INTERRUPTED = 130
"""What a shell reports for a program that SIGINT ended."""


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
    """Configurations of observability tools in S3: validated, versioned, rolled back."""


@app.command()
def demo(
    endpoint_url: Annotated[
        str | None,
        typer.Option(
            help="An S3-compatible server to use in place of the embedded one, with the credentials of the AWS chain "
            "(AWS_ACCESS_KEY_ID, ~/.aws ...)."
        ),
    ] = None,
    region: Annotated[str, typer.Option(help="The region of that server.")] = "us-east-1",
) -> None:
    """Show on example configurations what the library does, in a bucket that is deleted again."""
    console = Console(highlight=False)
    try:
        ok = asyncio.run(run_demo(console, endpoint_url=endpoint_url, region=region))
    except KeyboardInterrupt:
        console.print("\nInterrupted.")
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(0 if ok else 1)
