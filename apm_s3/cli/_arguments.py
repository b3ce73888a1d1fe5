"""Arguments and options that several commands have, and how click shows them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from apm_s3._tools import TOOLS
from apm_s3._version import __version__
from apm_s3.cli._call import Output
from apm_s3.cli._statuses import UsageFailed, did_you_mean

Function = TypeVar("Function", bound=Callable[..., Any])


class Decorator(Protocol):
    """Adds a parameter to the function of a command."""

    def __call__(self, function: Function, /) -> Function:
        """Return the function."""


_KINDS = {"text": "str", "integer": "int", "integer range": "int", "float range": "float", "file": "path"}


class Option(click.Option):
    """An option whose kind of value the help writes in angle brackets."""

    def make_metavar(self, ctx: click.Context) -> str:
        """Return `<int>`, for example."""
        kind = _KINDS.get(self.type.name, self.type.name)
        return self.metavar or f"<{(self.type.get_metavar(self, ctx) or kind).strip('[]')}>"

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Return the default; a number below the minimum is refused with a message."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


class Argument(click.Argument):
    """An argument with a line in the help, which click has since 8.5 only."""

    def __init__(self, names: Sequence[str], help: str, **settings: Any) -> None:  # noqa: A002 - as an option's
        super().__init__(names, **settings)
        self.about = help

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """Return the line of the help."""
        return self.make_metavar(ctx), self.about


def option(*names: str, **settings: Any) -> Decorator:
    """Add an option with a value to a command."""
    return click.option(*names, cls=Option, **settings)


def flag(*names: str, **settings: Any) -> Decorator:
    """Add an option without a value to a command."""
    return click.option(*names, cls=Option, is_flag=True, **settings)


def argument(name: str, **settings: Any) -> Decorator:
    """Add an argument to a command."""
    return click.argument(name, cls=Argument, **settings)


def all_of(*decorators: Decorator) -> Decorator:
    """Add several parameters, in this order."""

    def add(function: Function) -> Function:
        for each in reversed(decorators):
            function = each(function)
        return function

    return add


class _ToolType(click.Choice[str]):
    name = "str"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> None:
        """Leave the names to the help's text."""

    def get_invalid_choice_message(self, value: object, ctx: click.Context | None) -> str:  # noqa: ARG002 - as above
        meant = did_you_mean(str(value), TOOLS) or f"the tools are {', '.join(TOOLS)}"
        return f"'{value}' is not a tool; {meant}"


TOOL = _ToolType(TOOLS)
PATH = click.Path(path_type=Path)


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"apm-s3 {__version__}\n")
        ctx.exit()


@cache
def common_options() -> tuple[Option, ...]:
    """Return the options that commands share."""
    return (
        Option(["--bucket", "-b"], help="The bucket of the configurations."),
        Option(["--prefix"], help="The prefix of the configurations in it."),
        Option(["--environment", "-e"], help="The environment."),
        Option(["--profile"], help="A profile of the AWS configuration."),
        Option(["--region"], help="The AWS region."),
        Option(["--endpoint-url"], help="An S3-compatible server instead of AWS."),
        Option(["--output", "-o"], type=click.Choice(Output), help="How to print the result."),
        Option(["--debug"], is_flag=True, help="Say where settings come from; show tracebacks."),
    )


@cache
def version_option() -> Option:
    """Return the option that shows the version."""
    how = {"is_flag": True, "is_eager": True, "expose_value": False}
    return Option(["--version"], callback=_show_version, help="Show the version.", **how)


_TOOLS = f"{', '.join(TOOLS)}."
_PLACE = "s3://BUCKET/PREFIX, or a directory."

tool_name = argument("tool", type=TOOL, help=_TOOLS)
tool_argument = argument("tool", type=TOOL, required=False, help=_TOOLS)
tool_option = option("--tool", type=TOOL, help="Only this tool.")
tool_hint = option("--tool", type=TOOL, help="The tool, if file and folder names do not tell.")
revision = option("--revision", "-r", type=click.IntRange(min=1), help="By default the current one.")
source_place = argument("source", help=_PLACE)
target_place = argument("target", help=_PLACE)
include = option("--include", multiple=True, help='Only names that match, as "*.json". Repeatable.')
exclude = option("--exclude", multiple=True, help="Leave out names that match. Repeatable.")
delete_extra = flag("--delete-extra", help="At the end, delete what SOURCE lacks.")
concurrency = option("--concurrency", type=click.IntRange(min=1), default=64, help="Objects at once.")
dry_run = flag("--dry-run", help="Print what would be done, and change nothing.")
yes = flag("--yes", "-y", help="Do not ask; for scripts.")
create_environment = flag("--create", help="Allow an environment that does not exist yet.")
author = option("--author", help="By default git's user, or the login.")
message = option("--message", "-m", help="Why; by default an editor asks.")
note = option("--message", "-m", default="", show_default=False, help="Why; kept in the log.")
expect_revision = option(
    "--expect-revision", type=click.IntRange(min=0), help="Refuse if another is current; 0: if there is any."
)
exit_code = flag("--exit-code", help="Exit with 6 if there are differences.")
force = option("--force", metavar="REASON", help="Store errors too, and why.")
write_id = option("--write-id", help="An id; repeated with it, it commits at most once.")
of_note = all_of(author, note, dry_run)
of_change = all_of(author, message, yes, dry_run)
of_write = all_of(write_id, of_change)
of_care = all_of(write_id, author, note, yes, dry_run)


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """Return NAME=VALUE options as a dictionary.

    Raises:
        UsageFailed: one has no '='.
    """
    found: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise UsageFailed(f"{option} '{each}' is not NAME=VALUE")
        found[name] = value
    return found
