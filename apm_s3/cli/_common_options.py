"""The options that commands share, built by Typer's public interface: what lies below it changes with its versions."""

from __future__ import annotations

import sys
from functools import cache
from typing import Annotated, Any

import typer

from apm_s3._version import __version__
from apm_s3.cli._call import Output


@cache
def common_options() -> list[Any]:
    """Return the options that commands share."""
    return _options_of(_take_common)


@cache
def version_option() -> Any:
    """Return the option that shows the version."""
    (option,) = _options_of(_take_version)
    return option


def _check_output(value: str | None) -> str | None:
    if value is not None and value not in tuple(Output):
        raise typer.BadParameter(f"'{value}' is neither {' nor '.join(Output)}")
    return value


def _complete_output(incomplete: str) -> list[str]:
    return [each.value for each in Output if each.value.startswith(incomplete)]


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"apm-s3 {__version__}\n")
        raise typer.Exit


_OUTPUT = typer.Option(
    *("--output", "-o"),
    metavar="<text|json>",
    help="How to print the result.",
    callback=_check_output,
    autocompletion=_complete_output,
)
_VERSION = typer.Option(
    "--version", help="Show the version.", callback=_show_version, is_eager=True, expose_value=False
)
_DEBUG = typer.Option("--debug", help="Say where settings come from; show tracebacks.")


def _take_common(
    *,
    bucket: Annotated[str | None, typer.Option("--bucket", "-b", help="The bucket of the configurations.")] = None,
    prefix: Annotated[str | None, typer.Option(help="The prefix of the configurations in it.")] = None,
    environment: Annotated[str | None, typer.Option("--environment", "-e", help="The environment.")] = None,
    profile: Annotated[str | None, typer.Option(help="A profile of the AWS configuration.")] = None,
    region: Annotated[str | None, typer.Option(help="The AWS region.")] = None,
    endpoint_url: Annotated[str | None, typer.Option(help="An S3-compatible server instead of AWS.")] = None,
    output: Annotated[str | None, _OUTPUT] = None,
    debug: Annotated[bool, _DEBUG] = False,
) -> None:
    """Hold the options for Typer to read."""


def _take_version(*, version: Annotated[bool, _VERSION] = False) -> None:
    """Hold the option for Typer to read."""


def _options_of(function: Any) -> list[Any]:
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command("common")(function)
    return list(typer.main.get_command(app).params)
