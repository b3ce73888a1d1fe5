"""Assembles the command line from the table of commands.

A command is a function in a module of its group; `_commands.py` names it. This module builds a command only when it is
needed, adds the common options, runs it, and turns whatever it raises into a message and an exit status:

    def history(ctx: typer.Context, tool: ToolName, limit: Limit = None) -> None:
        \"""List the releases of a tool, newest first.

        Example:
            apm-s3 config history prometheus -e production
        \"""
        call = Call.of(ctx)
        releases = call.run_on_store(lambda store: store.history(tool, call.environment, limit=limit))
        call.print({"releases": releases}, make_table(...))

A function may return a `Status`; None is `Status.DONE`.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from apm_s3.cli._arguments import common_options, version_option
from apm_s3.cli._call import Call, Output
from apm_s3.cli._commands import COMMANDS, EXAMPLES, GROUPS, Entry
from apm_s3.cli._statuses import MEANINGS, Explanation, OutputFailed, Status, clean, did_you_mean, print_error

NAME = "apm-s3"
_COMPLETE = "_APM_S3_COMPLETE"
"""The environment variable with which a shell asks for completions."""

_UsageError = cast("type[Exception]", typer.BadParameter.__base__)
"""Typer exports only this subclass of its error for wrong usage."""

Context = Any
"""Typer's context: its class has moved between Typer's versions."""

_SCOPES = {
    "store": ("bucket", "prefix", "environment", "profile", "region", "endpoint_url", "output", "debug"),
    "s3": ("profile", "region", "endpoint_url", "output", "debug"),
    "local": ("output", "debug"),
}


class Command(TyperCommand):
    """One command with its common options.

    Attributes:
        own: the number of parameters of its own; the common ones follow.
        examples: command lines that show its use.
    """

    own: int = 0
    examples: tuple[str, ...] = ()

    def format_help(self, ctx: Context, formatter: Any) -> None:
        """Write the help: own options in full, common ones by name."""
        format_command_help(self, ctx, formatter)

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        """Return the arguments as other tools write them: no braces, and no second brackets, which Typer 0.29 adds."""
        return [re.sub(r"^\[(\[.*\])\]$", r"\1", piece.strip("{}")) for piece in super().collect_usage_pieces(ctx)]

    def invoke(self, ctx: Context) -> Any:
        """Run the command, and return its exit status."""
        call = _make_call(ctx, [str(param.name) for param in self.params[self.own :]])
        ctx.obj = call
        try:
            result = super().invoke(ctx)
        except (_UsageError, typer.Exit, typer.Abort, BrokenPipeError):
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


class Group(TyperGroup):
    """A group whose commands are imported only when they are needed.

    Args:
        words: the names of the groups above and of this one; none for the whole command line.
    """

    def __init__(self, *words: str, **attributes: Any) -> None:
        super().__init__(name=words[-1] if words else NAME, rich_markup_mode=None, **attributes)
        self.words = words

    def list_commands(self, ctx: Context) -> list[str]:  # noqa: ARG002 - Typer's signature
        """Return the names of the commands and groups in this group."""
        depth = len(self.words)
        inside = [name.split() for name in COMMANDS if tuple(name.split()[:depth]) == self.words]
        return list(dict.fromkeys(words[depth] for words in inside))

    def get_command(self, ctx: Context, cmd_name: str) -> Any:  # noqa: ARG002 - Typer's signature
        """Return a command; its module is imported now."""
        full = " ".join((*self.words, cmd_name))
        if full in COMMANDS:
            return make_command(full, COMMANDS[full])
        return make_group(cmd_name) if not self.words and cmd_name in GROUPS else None

    def summary_of(self, name: str) -> str:
        """Return what a command or group in this one is for."""
        full = " ".join((*self.words, name))
        return COMMANDS[full].summary if full in COMMANDS else GROUPS[full]

    def resolve_command(self, ctx: Context, args: list[str]) -> Any:
        """Return the command that `args` begin with; suggest one if there is none."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            meant = did_you_mean(args[0], known)
            ctx.fail(f"no such command '{args[0]}'" + (f"; {meant}" if meant else ""))
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Context, formatter: Any) -> None:
        """Write the help: the commands from the table, without importing them."""
        format_group_help(self, ctx, formatter)


@cache
def make_command(name: str, entry: Entry) -> Command:
    """Import a command's function, and build the command from its signature and docstring."""
    module, _, function_name = entry.target.partition(":")
    function = getattr(import_module(f"apm_s3.cli.{module}"), function_name)
    text, examples = split_docstring(inspect.getdoc(function) or "")
    command = _build(function, name.rpartition(" ")[2], text)
    command.own = len(command.params)
    command.examples = examples
    taken = {param.name for param in command.params}
    command.params += [
        param for param in common_options() if param.name in _SCOPES[entry.scope] and param.name not in taken
    ]
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
    if _COMPLETE in os.environ:
        return _complete(app, arguments)
    try:
        with app.make_context(NAME, list(arguments) or ["--help"]) as ctx:
            return int(app.invoke(ctx) or 0)
    except typer.Exit as exc:
        return exc.exit_code
    except _UsageError as exc:
        return _report_usage(exc)
    except typer.Abort:
        sys.stderr.write("Stopped. Nothing was changed.\n")
        return Status.FAILED
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Nothing was changed.\n")
        return Status.INTERRUPTED


_CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _build(function: Any, name: str, text: str) -> Command:
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name, cls=Command, help=text, context_settings=_CONTEXT)(function)
    command = typer.main.get_command(app)
    assert isinstance(command, Command)  # noqa: S101 - Typer made it of this class
    return command


def _make_call(ctx: Context, common: Sequence[str]) -> Call:
    """Take the common options out of the command's parameters; those before the command's name apply as well."""
    given = dict(ctx.find_root().params)
    given |= {name: value for name in common if (value := ctx.params.pop(name)) not in (None, False)}
    names = ("bucket", "prefix", "environment", "profile", "region", "endpoint_url")
    options = {name.replace("_", "-"): given.get(name) for name in names}
    return Call(options, Output(given.get("output") or Output.text), debug=bool(given.get("debug")))


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


def _complete(app: Group, arguments: Sequence[str]) -> int:
    """Print the completions that a shell asks for."""
    from typer.completion import completion_init  # type: ignore[attr-defined]  # noqa: PLC0415 - only shells need it

    completion_init()
    try:
        app.main(list(arguments), prog_name=NAME, complete_var=_COMPLETE)
    except SystemExit as exc:
        return int(exc.code or 0)
    return Status.DONE


def format_command_help(command: Command, ctx: Any, formatter: Any) -> None:
    """Write usage, description, arguments, options and examples; the common options by name only."""
    _write_usage(command, ctx, formatter)
    _write_text(formatter, command.help or "")
    own, common = command.params[: command.own], command.params[command.own :]
    _write_list(formatter, "Arguments", [_record(param, ctx) for param in own if param.param_type_name == "argument"])
    _write_list(formatter, "Options", [_record(param, ctx) for param in own if param.param_type_name == "option"])
    if common:
        formatter.write("\n")
        names = ", ".join(_option_names(param) for param in common)
        _write_wrapped(formatter, f"Common options: {names}. See apm-s3 --help, exit statuses too.")
    _write_examples(formatter, command.examples)


def format_group_help(group: Group, ctx: Any, formatter: Any) -> None:
    """Write usage, the commands, and for the whole command line the common options and exit statuses."""
    _write_usage(group, ctx, formatter)
    _write_text(formatter, group.help or "")
    _write_list(formatter, "Commands", [(name, group.summary_of(name)) for name in group.list_commands(ctx)])
    _write_examples(formatter, EXAMPLES[" ".join(group.words)])
    if group.words:
        return
    _write_list(formatter, "Common options, before or after the command", [_record(p, ctx) for p in group.params])
    with formatter.section("Settings"):
        _write_wrapped(formatter, "Options win over environment variables, these over a trusted apm-s3.toml.")
    _write_list(formatter, "Exit statuses", [(str(int(status)), meaning) for status, meaning in MEANINGS.items()])


def _record(param: Any, ctx: Any) -> tuple[str, str] | None:
    record: tuple[str, str] | None = param.get_help_record(ctx)
    if record is None:
        return None
    # The usage line shows which arguments may be omitted, and a number below the minimum is refused with a message.
    if "[" not in record[1]:
        return record[0], record[1]
    text = re.sub(r"\\?\[required\]|(?:; )?x>=[0-9.]+", "", record[1]).replace("\\[]", "").replace("[]", "")
    return record[0].replace(" range>", ">").replace(" RANGE", ""), text.strip()


def _option_names(param: Any) -> str:
    return "/".join(sorted(param.opts, key=len))


def _write_text(formatter: Any, text: str) -> None:
    if text:
        for paragraph in text.split("\n\n"):
            formatter.write("\n")
            _write_wrapped(formatter, paragraph)


def _write_list(formatter: Any, title: str, rows: list[tuple[str, str] | None]) -> None:
    kept = [row for row in rows if row is not None]
    if kept:
        with formatter.section(title):
            _write_rows(formatter, kept)


def _write_examples(formatter: Any, examples: Sequence[str]) -> None:
    if examples:
        with formatter.section("Example" if len(examples) == 1 else "Examples"):
            for line in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def _write_usage(command: Any, ctx: Any, formatter: Any) -> None:
    formatter.write(f"Usage: {ctx.command_path} {' '.join(command.collect_usage_pieces(ctx))}\n")


def _write_rows(formatter: Any, rows: Sequence[tuple[str, str]]) -> None:
    """Write two columns; the second one begins below a first one that is too wide."""
    indent = formatter.current_indent
    column = min(max(len(name) for name, _ in rows), _MAX_COLUMN) + 2
    for name, text in rows:
        lines = _wrap(text, formatter.width - indent - column) or [""]
        if len(name) > _MAX_COLUMN:
            lines.insert(0, "")
        first, *others = lines
        formatter.write(f"{'':{indent}}{name:{column}}{first}".rstrip() + "\n")
        for line in others:
            formatter.write(f"{'':{indent + column}}{line}\n")


_MAX_COLUMN = 34


def _write_wrapped(formatter: Any, text: str) -> None:
    indent = formatter.current_indent
    for line in _wrap(text, formatter.width - indent):
        formatter.write(f"{'':{indent}}{line}\n")


def _wrap(text: str, width: int) -> list[str]:
    """Break `text` into lines between words. Importing textwrap would take longer than the rest of the help."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines
