"""Assembles the command line from the table of commands.

A command is a function in a module of its group; `_commands.py` names it. This module builds a command only when it is
needed, adds the common options, runs it, and turns whatever it raises into a message and an exit status:

    @tool_name
    @option("--limit", "-n", type=int, help="At most this many.")
    def history(call: Call, *, tool: Tool, limit: int | None) -> None:
        \"""List the releases of a tool, newest first.

        Example:
            apm-s3 config history prometheus -e production
        \"""
        releases = call.run_on_store(lambda store: store.history(tool, call.environment, limit=limit))
        call.print({"releases": releases}, make_table(...))

A function may return a `Status`; None is `Status.DONE`.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

import click

from apm_s3.cli._arguments import Argument, Option, common_options, version_option
from apm_s3.cli._call import HELD, Call, Output
from apm_s3.cli._commands import COMMANDS, EXAMPLES, GROUPS, Entry, Scope
from apm_s3.cli._statuses import MEANINGS, Explanation, OutputFailed, Status, clean, did_you_mean, print_error

NAME = "apm-s3"
COMPLETE = "_APM_S3_COMPLETE"
"""The environment variable with which a shell asks for completions."""

_SCOPES = {
    "store": ("bucket", "prefix", "environment", "profile", "region", "endpoint_url", "output", "debug"),
    "s3": ("profile", "region", "endpoint_url", "output", "debug"),
    "local": ("output", "debug"),
}


class Command(click.Command):
    """One command with its common options.

    Attributes:
        own: the number of parameters of its own; the common ones follow.
        examples: command lines that show its use.
    """

    own: int = 0
    examples: tuple[str, ...] = ()

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write usage, description, arguments, options and examples; the common options by name only."""
        _write_head(self, ctx, formatter)
        own, common = self.params[: self.own], self.params[self.own :]
        for title, kind in (("Arguments", Argument), ("Options", Option)):
            _write_list(formatter, title, [param.get_help_record(ctx) for param in own if isinstance(param, kind)])
        if common:
            formatter.write_paragraph()
            names = ", ".join("/".join(sorted(param.opts, key=len)) for param in common)
            formatter.write_text(f"Common options: {names}. See apm-s3 --help, exit statuses too.")
        _write_examples(formatter, self.examples)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and return its exit status."""
        held = [param.name for param in self.params[: self.own] if param.name in HELD and isinstance(param, Option)]
        call = _make_call(ctx, [str(param.name) for param in self.params[self.own :]], held)
        assert self.callback is not None  # noqa: S101 - each command is a function
        try:
            result = ctx.invoke(self.callback, call, **ctx.params)
        except (click.UsageError, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as exc:  # noqa: BLE001 - each error becomes a message; --debug shows where it came from
            return _report(exc, call)
        except BaseException as exc:
            if not _is_interruption(exc):
                raise
            sys.stderr.write(f"\nInterrupted. {clean(call.resume_hint)}\n")
            return Status.INTERRUPTED
        return Status.DONE if result is None else result


def _is_interruption(exc: BaseException) -> bool:
    """Return whether Ctrl-C ended the command. Where it meets another cancellation, asyncio raises CancelledError."""
    loaded = sys.modules.get("asyncio.exceptions")
    return isinstance(exc, KeyboardInterrupt) or (loaded is not None and isinstance(exc, loaded.CancelledError))


class Group(click.Group):
    """A group whose commands are imported only when they are needed.

    Args:
        words: the names of the groups above and of this one; none for the whole command line.
    """

    def __init__(self, *words: str, **attributes: Any) -> None:
        super().__init__(name=words[-1] if words else NAME, **attributes)
        self.words = words

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands and groups in this group."""
        depth = len(self.words)
        inside = [name.split() for name in COMMANDS if tuple(name.split()[:depth]) == self.words]
        return list(dict.fromkeys(words[depth] for words in inside))

    def get_command(self, ctx: click.Context, cmd_name: str) -> Any:  # noqa: ARG002 - click's signature
        """Return a command; its module is imported now."""
        full = " ".join((*self.words, cmd_name))
        if full in COMMANDS:
            return make_command(COMMANDS[full])
        return make_group(cmd_name) if not self.words and cmd_name in GROUPS else None

    def summary_of(self, name: str) -> str:
        """Return what a command or group in this one is for."""
        full = " ".join((*self.words, name))
        return COMMANDS[full].summary if full in COMMANDS else GROUPS[full]

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command that `args` begin with; suggest one if there is none."""
        if not (ctx.resilient_parsing or args[0].startswith("-") or self.get_command(ctx, args[0])):
            known = self.list_commands(ctx)
            meant = did_you_mean(args[0], known)
            ctx.fail(f"no such command '{args[0]}'" + (f"; {meant}" if meant else ""))
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write usage and the commands, from the table, and above all groups the common options and exit statuses."""
        _write_head(self, ctx, formatter)
        _write_list(formatter, "Commands", [(name, self.summary_of(name)) for name in self.list_commands(ctx)])
        _write_examples(formatter, EXAMPLES[" ".join(self.words)])
        if self.words:
            return
        common = [param.get_help_record(ctx) for param in self.params]
        _write_list(formatter, "Common options, before or after the command", common)
        with formatter.section("Settings"):
            formatter.write_text("Options win over environment variables, these over a trusted apm-s3.toml.")
        _write_list(formatter, "Exit statuses", [(str(int(status)), meaning) for status, meaning in MEANINGS.items()])


def make_command(entry: Entry) -> Command:
    """Import a command's function, and build the command from its parameters and docstring."""
    return _build(entry.target, entry.scope)


@cache
def _build(target: str, scope: Scope) -> Command:
    # Once for commands with two names: click takes the parameters off the function.
    module, _, name = target.partition(":")
    function = getattr(import_module(f"apm_s3.cli.{module}"), name)
    text, examples = split_docstring(inspect.getdoc(function) or "")
    command = click.command(name, cls=Command, help=text, context_settings=_CONTEXT)(function)
    command.own = len(command.params)
    command.examples = examples
    taken = {param.name for param in command.params}
    command.params += [param for param in common_options() if param.name in _SCOPES[scope] and param.name not in taken]
    return command


@cache
def make_group(name: str) -> Group:
    """Build a group of commands."""
    return Group(name, help=GROUPS[name], context_settings=_CONTEXT)


def make_app() -> Group:
    """Build the whole command line, without its commands."""
    app = Group(help="Validated, versioned configurations of observability tools in S3.", context_settings=_CONTEXT)
    app.params += [*common_options(), version_option()]
    return app


def split_docstring(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the description and the lines below "Example:" or "Examples:" of a function's docstring."""
    description, _, examples = text.replace("\nExamples:\n", "\nExample:\n").partition("\nExample:\n")
    return description.strip(), tuple(line.strip() for line in examples.splitlines() if line.strip())


def run(arguments: Sequence[str]) -> int:
    """Run the command line with `arguments`, and return its exit status."""
    status: int = Status.DONE
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except OSError as exc:
        # The interpreter must not flush into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # The reader of a pipe has gone, as `head` does: it does not want to know.
        # What failed before has been told, and its status says more: that the outcome is unknown, for example.
        if not isinstance(exc, BrokenPipeError) and status == Status.DONE:
            print_error(Explanation(Status.FAILED, str(OutputFailed(exc)), OutputFailed.hint))
        return status or Status.FAILED
    return status


def _run(arguments: Sequence[str]) -> int:
    app = make_app()
    if COMPLETE in os.environ:
        return _complete(app)
    try:
        with app.make_context(NAME, list(arguments) or ["--help"]) as ctx:
            return int(app.invoke(ctx) or 0)
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.UsageError as exc:
        return _report_usage(exc)
    except click.Abort:
        sys.stderr.write("Stopped. Nothing was changed.\n")
        return Status.FAILED
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Nothing was changed.\n")
        return Status.INTERRUPTED


_CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


def _make_call(ctx: click.Context, common: Sequence[str], held: Sequence[str]) -> Call:
    """Take options out of the command's parameters; common ones before the command's name apply as well."""
    given = dict(ctx.find_root().params)
    given |= {name: value for name in common if (value := ctx.params.pop(name)) not in (None, False)}
    names = ("bucket", "prefix", "environment", "profile", "region", "endpoint_url")
    options = {name.replace("_", "-"): given.get(name) for name in names}
    return Call(
        options,
        given.get("output") or Output.text,
        debug=bool(given.get("debug")),
        given={name: ctx.params.pop(name) for name in held},
    )


def _report(error: Exception, call: Call) -> Status:
    """Tell an error, and return the exit status."""
    if call.debug:
        import traceback  # noqa: PLC0415 - only for this

        sys.stderr.write(clean("".join(traceback.format_exception(error))))
    from apm_s3.cli._errors import details, explain  # noqa: PLC0415 - the help does without it

    explanation = explain(error, changes=call.changes)
    print_error(explanation)
    if call.output is Output.json:
        from apm_s3.cli._output import print_json  # noqa: PLC0415 - the help does without it

        code = getattr(error, "code", "USAGE" if explanation.status is Status.USAGE else "INTERNAL_ERROR")
        facts = {"code": code, "message": explanation.message, "hint": explanation.hint, "status": explanation.status}
        # Standard error has it already, and the exit status must remain that of the error.
        with contextlib.suppress(OSError):
            print_json({"error": {**facts, **details(error)}})
            sys.stdout.flush()
    return explanation.status


def _report_usage(error: Any) -> Status:
    """Tell what is wrong with the arguments."""
    path = error.ctx.command_path if error.ctx is not None else NAME
    message = error.format_message().rstrip(".")
    print_error(Explanation(Status.USAGE, message[:1].lower() + message[1:], f"see {path} --help"))
    return Status.USAGE


def _complete(app: Group) -> int:
    """Print the completions that a shell asks for."""
    from click.shell_completion import shell_complete  # noqa: PLC0415 - only shells need it

    return shell_complete(app, {}, NAME, COMPLETE, os.environ[COMPLETE])


def _write_head(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    formatter.write_usage(ctx.command_path, " ".join(command.collect_usage_pieces(ctx)))
    formatter.write_paragraph()
    formatter.write_text(command.help or "")


def _write_list(formatter: click.HelpFormatter, title: str, rows: Sequence[tuple[str, str] | None]) -> None:
    if kept := [row for row in rows if row is not None]:
        with formatter.section(title):
            formatter.write_dl(kept, col_max=34)


def _write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    if examples:
        with formatter.section("Example" if len(examples) == 1 else "Examples"):
            formatter.write("".join(f"  {line}\n" for line in examples))
