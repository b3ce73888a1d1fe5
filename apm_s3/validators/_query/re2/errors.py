"""Errors in regular expressions: Go's messages, with hints."""

from __future__ import annotations

from dataclasses import dataclass

from apm_s3.validators._query.re2.classes import POSIX

HINTS = {
    "star": "a repetition needs something before it: write .* for any text, \\* for the character itself",
    "repeat": "counts go up to 1000, nested ones multiplied, and the first must not exceed the second",
    "possessive": "RE2 has no possessive repetition: remove the second operator",
    "look": "RE2 has no look-ahead and no look-behind: use a negative matcher, or a second rule",
    "name": "write (?P<name>...): the name has only letters, digits and _",
    "unicode": "use the name of a Unicode category or script, such as L, Lu or Greek",
    "posix": f"the classes are {', '.join(POSIX)}",
    "atomic": "RE2 has no atomic groups: write (?:...)",
    "comment": "RE2 has no comments",
    "group": "the flags are i, m, s and U; write (?:...) for a group that is not captured",
    "reference": "RE2 has no back references",
    "end": "write \\z for the end of the text",
    "backslash": "write \\\\ for a backslash",
    "hexadecimal": "write two digits, or braces: \\x7F, \\x{10FFFF}",
    "letter": "a backslash before this letter has no meaning: remove it, or write \\\\ for a backslash",
}


@dataclass(frozen=True, slots=True)
class RegexError:
    """Why a pattern is not a regular expression.

    `message` is Go's message with the invalid part; `offset` is where that begins, in characters from the start of the
    pattern. `hint` says what to write instead, or is None.
    """

    message: str
    offset: int
    hint: str | None = None


class Refused(Exception):
    """The pattern is invalid, for the reason in `error`."""

    def __init__(self, reason: str, part: str, offset: int, hint: str | None = None) -> None:
        super().__init__(reason)
        self.error = RegexError(f"{reason}: `{part}`", offset, hint)


def perl_hint(part: str) -> str:
    """Suggest a replacement for a group that begins with `part` and that RE2 does not have."""
    starts = {
        "(?=": "look",
        "(?!": "look",
        "(?>": "atomic",
        "(?#": "comment",
        "(?P": "name",
        "(?<": "name",
        "(?'": "name",
    }
    return HINTS[starts.get(part[:3], "group")]


def escape_hint(char: str) -> str | None:
    """Suggest a replacement for a backslash and `char`."""
    if char in "123456789k":
        return HINTS["reference"]
    if char in "xZ":
        return HINTS["hexadecimal" if char == "x" else "end"]
    return HINTS["letter"] if char.isalpha() else None
