"""Exit statuses, and how an error is printed. `_errors.py` decides which error gets which status."""

from __future__ import annotations

import os
import re
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
        Status.CONFLICT: "a conflict: changed by others, frozen or blocked; nothing was changed",
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


class Explanation(NamedTuple):
    """An error as it is shown: the status, what went wrong, and what to do."""

    status: Status
    message: str
    hint: str = ""


def did_you_mean(given: str, known: Sequence[str]) -> str:
    """Return "did you mean 'x'?" for the most similar of `known`, or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - the help does without it

    matches = get_close_matches(given, known, n=1, cutoff=0.5)
    return f"did you mean '{matches[0]}'?" if matches else ""


HIDDEN = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5"
    "\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Characters that a terminal obeys, that reorder a line, that nobody sees, or that look like a space.

Unicode's categories Cc, Cf, Cs, Zl, Zp and Zs, and its property Default_Ignorable_Code_Point. Space, tab, line feed and
U+3000, which is as wide as the characters around it, are left."""


def clean(text: str, *, line: bool = False) -> str:
    """Return `text` with its hidden characters visible, because a terminal would obey those of foreign text.

    Everything that a command prints passes this function.

    Args:
        line: whether it is one line, so that line feeds and tabs in it are not its own.
    """
    text = HIDDEN.sub(_escaped, text)
    return text.replace("\n", "\\n").replace("\t", "\\t") if line else text


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def print_error(explanation: Explanation) -> None:
    """Print an error to standard error: one line, and one with the hint."""
    bold, red, off = ("\033[1m", "\033[1;31m", "\033[0m") if in_colour(sys.stderr.isatty()) else ("", "", "")
    lines = [f"{red}error:{off} {clean(explanation.message, line=True)}"]
    if explanation.hint:
        lines.append(f"{bold}hint:{off} {clean(explanation.hint, line=True)}")
    sys.stderr.write("\n".join(lines) + "\n")


def in_colour(terminal: bool) -> bool:
    """Return whether to write colours: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
