"""Exit statuses, and how an error is printed. `_errors.py` decides which error gets which status."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple


class Status(IntEnum):
    """The exit statuses of all commands."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INVALID = 3
    CONFLICT = 4
    UNKNOWN = 5
    DIFFERENT = 6
    INTERRUPTED = 130


MEANINGS: Mapping[Status, str] = MappingProxyType(
    {
        Status.DONE: "done",
        Status.FAILED: "failed",
        Status.USAGE: "wrong usage; nothing was done",
        Status.INVALID: "a configuration is invalid",
        Status.CONFLICT: "a conflict: changed by others, frozen, outdated or blocked; nothing was changed",
        Status.UNKNOWN: "the outcome is unknown: the change may have happened",
        Status.DIFFERENT: "differences or drift were found (with --exit-code)",
        Status.INTERRUPTED: "interrupted with Ctrl-C",
    }
)


class UsageFailed(Exception):
    """The command cannot run with these arguments and settings; nothing was done.

    Args:
        problem: what is wrong.
        hint: what to do about it.
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.hint = hint


class OutputFailed(Exception):
    """The command succeeded, but its result cannot be written to standard output."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror or error}")

    hint = "the command itself was carried out"


class Told(NamedTuple):
    """An error as it is shown: the status, what went wrong, and what to do."""

    status: Status
    message: str
    hint: str = ""


def did_you_mean(given: str, known: Sequence[str]) -> str:
    """Return "did you mean 'x'?" for the most similar of `known`, or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - the help does without it

    matches = get_close_matches(given, known, n=1, cutoff=0.5)
    return f"did you mean '{matches[0]}'?" if matches else ""


_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def clean(text: str) -> str:
    """Return `text` with its control characters visible, because a terminal would obey those of foreign text."""
    return text.translate(_CONTROLS)


def print_error(told: Told) -> None:
    """Print an error to standard error: one line, and one with the hint."""
    bold, red, off = ("\033[1m", "\033[1;31m", "\033[0m") if in_colour(sys.stderr.isatty()) else ("", "", "")
    lines = [f"{red}error:{off} {clean(told.message)}"]
    if told.hint:
        lines.append(f"{bold}hint:{off} {clean(told.hint)}")
    sys.stderr.write("\n".join(lines) + "\n")


def in_colour(terminal: bool) -> bool:
    """Return whether to write colours: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
