"""Arguments and options that several commands have.

The common ones are built by Typer's public interface: what lies below it changes with its versions.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Annotated, Any, cast

import typer

from apm_s3._tools import TOOLS, Tool
from apm_s3._version import __version__
from apm_s3.cli._call import Output
from apm_s3.cli._statuses import UsageFailed, did_you_mean


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


_PLACE = "s3://BUCKET/PREFIX, or a directory."


def _check_tool(value: str | None) -> str | None:
    if value is not None and value not in TOOLS:
        meant = did_you_mean(value, TOOLS) or f"the tools are {', '.join(TOOLS)}"
        raise typer.BadParameter(f"'{value}' is not a tool; {meant}")
    return value


def _complete_tool(incomplete: str) -> list[str]:
    return [tool for tool in TOOLS if tool.startswith(incomplete)]


def as_tool(name: str) -> Tool:
    """Return the name of a tool that a parameter's callback has checked, as the library types it."""
    return cast("Tool", name)


ToolName = Annotated[
    str,
    typer.Argument(metavar="TOOL", help=f"{', '.join(TOOLS)}.", callback=_check_tool, autocompletion=_complete_tool),
]
ToolArgument = Annotated[
    str | None,
    typer.Argument(metavar="[TOOL]", help=f"{', '.join(TOOLS)}.", callback=_check_tool, autocompletion=_complete_tool),
]
ToolOption = Annotated[
    str | None, typer.Option("--tool", help="Only this tool.", callback=_check_tool, autocompletion=_complete_tool)
]
Revision = Annotated[int | None, typer.Option("--revision", "-r", min=1, help="By default the current one.")]
ToolHint = Annotated[
    str | None,
    typer.Option(
        "--tool",
        help="The tool, if file and folder names do not tell.",
        callback=_check_tool,
        autocompletion=_complete_tool,
    ),
]
SourcePlace = Annotated[str, typer.Argument(metavar="SOURCE", help=_PLACE)]
TargetPlace = Annotated[str, typer.Argument(metavar="TARGET", help=_PLACE)]
Include = Annotated[list[str] | None, typer.Option(help='Only names that match, as "*.json". Repeatable.')]
Exclude = Annotated[list[str] | None, typer.Option(help="Leave out names that match. Repeatable.")]
DeleteExtra = Annotated[bool, typer.Option("--delete-extra", help="At the end, delete what SOURCE lacks.")]
TransferConcurrency = Annotated[int, typer.Option(min=1, help="Objects at once.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; for scripts.")]
Create = Annotated[bool, typer.Option("--create", help="Allow an environment that does not exist yet.")]
Author = Annotated[str | None, typer.Option(help="By default git's user, or the login.")]
Message = Annotated[str | None, typer.Option("--message", "-m", help="Why; by default an editor asks.")]
Note = Annotated[str, typer.Option("--message", "-m", help="Why; kept in the log.")]
ExpectRevision = Annotated[int | None, typer.Option(min=0, help="Refuse if another is current; 0: if there is any.")]
ExitCode = Annotated[bool, typer.Option("--exit-code", help="Exit with 6 if there are differences.")]


def pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """Return NAME=VALUE options as a dictionary.

    Raises:
        UsageFailed: one has no '='.
    """
    found: dict[str, str] = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise UsageFailed(f"{option} '{each}' is not NAME=VALUE")
        found[name] = value
    return found
