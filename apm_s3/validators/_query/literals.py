"""Strings, numbers and durations as Go reads them: strconv.Unquote, strconv.ParseInt, common/model.ParseDuration."""

from __future__ import annotations

import re

MAX_SECONDS = 2**63 / 10**9
"""A duration is an int64 of nanoseconds: 292 years."""

_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34}
_ESCAPE = re.compile(r"\\(?:([abfnrtv\\'\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|)")
_DURATION = re.compile(
    r"(?:([0-9]+)y)?(?:([0-9]+)w)?(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?(?:([0-9]+)ms)?"
)
_UNITS = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1000, 1)
_INTEGER = re.compile(r"0[xX](?:_?[0-9a-fA-F])+|0(?:_?[0-7])*|[1-9](?:_?[0-9])*")
_FLOAT = re.compile(r"(?=\.?[0-9])(?:[0-9](?:_?[0-9])*)?(?:\.(?:[0-9](?:_?[0-9])*)?)?(?:[eE][+-]?[0-9](?:_?[0-9])*)?")
_LONGEST = 1000


class BadLiteral(Exception):
    """A literal that Go refuses; `at` is the offset of the problem."""

    def __init__(self, message: str, at: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


def unquote(literal: str) -> str:
    """Return the text of a string in `"`, `'` or backquotes. Bytes that are not UTF-8 become lone surrogates.

    Raises:
        BadLiteral: an escape that Go does not have.
    """
    quote, inner = literal[0], literal[1:-1]
    if "\ufffd" in inner:
        raise BadLiteral("the character U+FFFD is not allowed: it marks broken UTF-8", literal.index("\ufffd"))
    if quote == "`" or "\\" not in inner:
        return inner
    pieces: list[bytes] = []
    end = 0
    for match in _ESCAPE.finditer(inner):
        pieces += [inner[end : match.start()].encode("utf-8", "surrogatepass"), _escaped(match, quote)]
        end = match.end()
    pieces.append(inner[end:].encode("utf-8", "surrogatepass"))
    return b"".join(pieces).decode("utf-8", "surrogateescape")


def source_offset(literal: str, offset: int) -> int:
    """Return the position in `literal` of the character at `offset` in its text; `unquote` must accept `literal`."""
    inner = literal[1:-1]
    if literal[0] == "`" or "\\" not in inner:
        return 1 + min(offset, len(inner))
    end = 0
    for match in _ESCAPE.finditer(inner):
        if match.start() - end >= offset:
            break
        offset -= match.start() - end + 1
        end = match.end()
    return 1 + min(end + max(offset, 0), len(inner))


def _escaped(match: re.Match[str], quote: str) -> bytes:
    simple, octal, hexadecimal, short, long = match.groups()
    if simple is not None and (simple not in "'\"" or simple == quote):
        return bytes((_SIMPLE[simple],))
    if hexadecimal is not None:
        return bytes((int(hexadecimal, 16),))
    if octal is not None and int(octal, 8) < 256:
        return bytes((int(octal, 8),))
    code = short or long
    if code is not None and not 0xD800 <= int(code, 16) < 0xE000 and int(code, 16) <= 0x10FFFF:
        return chr(int(code, 16)).encode()
    shown = match.string[match.start() : max(match.end(), match.start() + 2)]
    raise BadLiteral(f"unknown escape {shown!r}; write \\\\ for a backslash", match.start() + 1)


def parse_number(literal: str) -> float:
    """Parse a number without a sign: decimal, octal with a leading 0, hexadecimal, with underscores.

    Raises:
        BadLiteral: not a number, or out of range for a double.
    """
    if len(literal) > _LONGEST:
        raise BadLiteral(f"a number with more than {_LONGEST} characters")
    if _INTEGER.fullmatch(literal):
        digits = literal.replace("_", "")
        whole = int(digits, 16 if digits[1:2] in ("x", "X") else 8 if digits[0] == "0" else 10)
        if whole < 2**63:
            return float(whole)
        if digits[1:2] in ("x", "X"):
            raise BadLiteral("a hexadecimal number with more than 64 bits")
    word = literal.lower()
    if word in ("inf", "nan"):
        return float(word)
    if not _FLOAT.fullmatch(literal):
        raise BadLiteral("not a number")
    value = float(literal.replace("_", ""))
    if value == float("inf"):
        raise BadLiteral("out of range for a 64-bit float")
    return value


def parse_duration(literal: str) -> float:
    """Parse `1h30m` into seconds: y w d h m s ms, each at most once, largest first.

    Raises:
        BadLiteral: not a valid duration, or longer than 292 years.
    """
    match = _DURATION.fullmatch(literal) if literal and len(literal) < _LONGEST else None
    if match is None:
        raise BadLiteral("not a valid duration; write it as 30s, 5m or 1h30m (y, w, d, h, m, s, ms; largest first)")
    total = sum(int(count) * unit for count, unit in zip(match.groups("0"), _UNITS, strict=True))
    if total * 10**6 >= 2**63:
        raise BadLiteral("longer than 292 years")
    return total / 1000
