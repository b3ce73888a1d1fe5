"""Escapes and named classes of regular expressions. Each reader returns the result and its end."""

from __future__ import annotations

import re

from apm_s3.validators._query.re2.classes import (
    MAX_RUNE,
    PERL,
    POSIX,
    Group,
    canonical_name,
    unicode_names,
)
from apm_s3.validators._query.re2.errors import HINTS, Refused, escape_hint

_OCTAL = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")
_HEX = re.compile(r"[0-9A-Fa-f]{2}")
_BRACED = re.compile(r"\{([0-9A-Fa-f]*)(.?)", re.DOTALL)
_ESCAPED = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def read_escape(text: str, at: int) -> tuple[str, int]:
    """Read the escape at `at`.

    Raises:
        Refused: it is invalid.
    """
    if at + 1 == len(text):
        raise Refused("trailing backslash at end of expression", "", at, HINTS["backslash"])
    char = text[at + 1]
    if char < "\x80" and not char.isalnum():
        return char, at + 2
    if char in _ESCAPED:
        return _ESCAPED[char], at + 2
    if octal := _OCTAL.match(text, at + 1):
        return chr(int(octal[0], 8)), octal.end()
    code, end = _hexadecimal(text, at + 2) if char == "x" else (None, at + 2)
    if code is None:
        raise Refused("invalid escape sequence", text[at:end], at, escape_hint(char))
    return chr(code), end


def _hexadecimal(text: str, at: int) -> tuple[int | None, int]:
    """Read the code after `\\x`; None if it is invalid, with the end of what Go has read by then."""
    braced = _BRACED.match(text, at)
    if braced is None:
        digits = _HEX.match(text, at)
        return int(digits[0], 16) if digits else None, min(at + 2, len(text))
    # Go stops at the first digit that exceeds Unicode's range.
    digits_end, code = braced.start(1), 0
    for digit in braced[1]:
        code, digits_end = code * 16 + int(digit, 16), digits_end + 1
        if code > MAX_RUNE:
            return None, digits_end
    return code if braced[1] and braced[2] == "}" else None, braced.end()


def perl_class(letter: str) -> Group | None:
    """Return the class of a backslash and `letter`, or None."""
    ranges = PERL.get(letter.lower())
    return None if ranges is None else (ranges, letter.isupper())


def read_unicode_class(text: str, at: int) -> tuple[Group, int]:
    """Read the category or script named by the `\\p` or `\\P` at `at`, and whether it is inverted.

    Raises:
        Refused: the name is missing or unknown.
    """
    inverse = text[at + 1] == "P"
    if text.startswith("{", at + 2):
        close = text.find("}", at)
        if close < 0:
            raise Refused("invalid character class range", text[at:], at, "a closing } is missing")
        name, end = text[at + 3 : close], close + 1
    else:
        name, end = text[at + 2 : at + 3], min(at + 3, len(text))
    if name.startswith("^"):
        name, inverse = name[1:], not inverse
    known = unicode_names().get(canonical_name(name))
    if known is None:
        raise Refused("invalid character class range", text[at:end], at, HINTS["unicode"])
    return (known, inverse), end


def read_posix_class(text: str, at: int) -> tuple[Group, int]:
    """Read the class of the `[:name:]` at `at`, which must be followed by `:]`.

    Raises:
        Refused: unknown name.
    """
    close = text.find(":]", at + 2)
    inverse = text.startswith("^", at + 2)
    ranges = POSIX.get(text[at + 2 + inverse : close])
    if ranges is None:
        raise Refused("invalid character class range", text[at : close + 2], at, HINTS["posix"])
    return (ranges, inverse), close + 2
