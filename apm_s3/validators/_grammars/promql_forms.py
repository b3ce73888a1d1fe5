"""Forms of PromQL that promql-parser does not read yet, put into ones that it does.

Numbers with underscores (Prometheus 2.54), the operators that trim histograms (3.11) and calculated durations (3.14):
https://prometheus.io/docs/prometheus/latest/querying/basics/. Whether they fit is settled here; what remains has the
same types, and nothing else of it is meant to be kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from apm_s3.validators._context import Version

_UNDERSCORES, _TRIM, _DURATIONS = (2, 54), (3, 11), (3, 14)
_SPECIAL = re.compile(
    r"\d_|</|>/|\[[^\]]*[^\s\w.:\]]|\[\s*[a-z_]|:\s*[a-z_]+\s*\(|\boffset\s*[-+]?\s*[a-z_(]", re.IGNORECASE
)
_NUMBER = re.compile(r"(?<![\w:.])(?:0[xX]_?[0-9a-fA-F]+(?:_[0-9a-fA-F]+)+|\d[\d_.eE+-]*)")
_LONE_UNDERSCORE = re.compile(r"(?<=[0-9a-fA-F])_(?=[0-9a-fA-F])")
_TRIM_OPERATOR = re.compile(r"</|>/")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_OFFSET = re.compile(r"\boffset\b(?=\s*[-+]?\s*[a-z_(])", re.IGNORECASE)
_TOKEN = re.compile(r"\s*(?:(?P<literal>\d[\w.]*)|(?P<name>[a-zA-Z_]\w*)|(?P<sign>[-+*/%^(),]))")
_LITERAL = re.compile(r"(?:\d+(?:ms|[smhdwy]))+|\d+(?:\.\d*)?(?:[eE]\d+)?|0[xX][0-9a-fA-F]+", re.ASCII)
_MAX_DEPTH = 50


class _NoDuration(Exception):
    pass


def simplify(expression: str, strings: re.Pattern[str], target: Version | None) -> str:
    """`expression` without the forms that `target` knows and promql-parser does not; `strings` finds its strings."""
    if not _SPECIAL.search(expression):
        return expression
    spans = [match.span() for match in strings.finditer(expression)]
    pieces, at = [], 0
    # Brackets may hold no string, and neither may an offset, so that what is between two strings stands alone.
    for start, stop in (*spans, (len(expression), len(expression))):
        pieces += [_simplify(expression[at:start], target), expression[start:stop]]
        at = stop
    return "".join(pieces)


def _simplify(text: str, target: Version | None) -> str:
    if target is None or target >= _UNDERSCORES:
        text = _NUMBER.sub(lambda match: _LONE_UNDERSCORE.sub("", match[0]), text)
    if target is None or target >= _TRIM:
        text = _TRIM_OPERATOR.sub("* ", text)
    if target is None or target >= _DURATIONS:
        text = _simplify_offsets(_BRACKETS.sub(_simplify_brackets, text))
    return text


def _simplify_brackets(match: re.Match[str]) -> str:
    window, colon, resolution = match[1].partition(":")
    try:
        parts = [part if _plain(part) else _Duration(part).whole() for part in (window, resolution)]
    except _NoDuration:
        return match[0]
    return f"[{parts[0]}{colon}{parts[1]}]"


def _plain(part: str) -> bool:
    return not part.strip() or _LITERAL.fullmatch(part.strip()) is not None


def _simplify_offsets(text: str) -> str:
    pieces, at = [], 0
    for match in _OFFSET.finditer(text):
        try:
            length = _Duration(text[match.end() :]).offset()
        except _NoDuration:
            continue
        pieces += [text[at : match.end()], " 1m"]
        at = match.end() + length
    return "".join((*pieces, text[at:]))


class _Duration:
    """A calculated duration: literals, `step()`, `range()`, `min_of()`, `max_of()`, brackets and operators."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def whole(self) -> str:
        """A duration in place of all of it, which is above 0."""
        value = self._sum()
        if self._text[self._at :].strip() or (value is not None and value <= 0):
            raise _NoDuration
        return "1m"

    def offset(self) -> int:
        """The length of what may follow `offset`: one operand with a sign."""
        self._signed()
        return self._at

    def _sum(self) -> float | None:
        value = self._signed()
        while (operator := self._peek()) is not None and operator["sign"] in ("+", "-", "*", "/", "%", "^"):
            self._at = operator.end()
            divisor = self._signed()
            if operator["sign"] in "/%" and divisor == 0:
                raise _NoDuration
            value = None
        return value

    def _signed(self) -> float | None:
        token = self._take()
        if token["sign"] in ("+", "-"):
            value = self._nested(self._signed)
            return -value if value is not None and token["sign"] == "-" else value
        if token["literal"]:
            if not _LITERAL.fullmatch(token["literal"]):
                raise _NoDuration
            return float(bool(token["literal"].strip("0.xX")))
        if token["name"]:
            self._call(token["name"].lower())
            return None
        if token["sign"] != "(":
            raise _NoDuration
        value = self._nested(self._sum)
        self._expect(")")
        return value

    def _call(self, name: str) -> None:
        self._expect("(")
        if name in ("min_of", "max_of"):
            self._nested(self._sum)
            self._expect(",")
            self._nested(self._sum)
        elif name not in ("step", "range"):
            raise _NoDuration
        self._expect(")")

    def _nested(self, part: Callable[[], float | None]) -> float | None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _NoDuration
        value = part()
        self._depth -= 1
        return value

    def _peek(self) -> re.Match[str] | None:
        return _TOKEN.match(self._text, self._at)

    def _take(self) -> re.Match[str]:
        token = self._peek()
        if token is None:
            raise _NoDuration
        self._at = token.end()
        return token

    def _expect(self, sign: str) -> None:
        if self._take()["sign"] != sign:
            raise _NoDuration
