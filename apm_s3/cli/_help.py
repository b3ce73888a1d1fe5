"""Writes the help of commands and groups, so that each fits a screen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from apm_s3.cli._commands import EXAMPLES
from apm_s3.cli._statuses import MEANINGS

if TYPE_CHECKING:
    from apm_s3.cli._app import Command, Group


def format_command_help(command: Command, ctx: Any, formatter: Any) -> None:
    """Write usage, description, arguments, options and examples; the common options by name only."""
    _write_usage(command, ctx, formatter)
    _write_text(formatter, command.help or "")
    own, common = command.params[: command.own], command.params[command.own :]
    _write_list(formatter, "Arguments", [_record(param, ctx) for param in own if param.param_type_name == "argument"])
    _write_list(formatter, "Options", [_record(param, ctx) for param in own if param.param_type_name == "option"])
    if common:
        formatter.write("\n")
        names = ", ".join(_names(param) for param in common)
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


def _names(param: Any) -> str:
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
