"""The tokens of PromQL: one regular expression, and a slow path for unusual numbers."""

from __future__ import annotations

import re

from apm_s3.validators._query.parsing import BAD, DURATION, END, NAME, NUMBER, STRING, Tokens

AGGREGATORS = frozenset(
    ("sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk", "count_values", "quantile")
)
EXPERIMENTAL_AGGREGATORS = frozenset(("limitk", "limit_ratio"))
METRIC = "<metric>"
"""A name with a colon, which can only be a metric name."""

_KEYWORDS = {
    word: word
    for word in (
        *("and", "or", "unless", "atan2", "offset", "by", "without", "on", "ignoring", "group_left", "group_right"),
        *("bool", "start", "end"),
        *AGGREGATORS,
        *EXPERIMENTAL_AGGREGATORS,
    )
} | {"inf": NUMBER, "nan": NUMBER}
NO_METRIC = frozenset(("atan2", "on", "ignoring", "group_left", "group_right", "bool"))
"""Keywords that cannot be metric names."""
NO_LABEL = frozenset(("without",))
"""Keywords that cannot be label names in a list of labels."""
WORDS = frozenset(_KEYWORDS.values()) - {NUMBER}

# The order of the groups is that of `_KINDS`.
_TOKEN = re.compile(
    r"""(?:[ \t\r\n]++|\#[^\r\n]*+)*+
    (?:([a-zA-Z_:][a-zA-Z0-9_:]*+)
    |(==|!=|=~|!~|<=|>=|</|>/|[(){},=+*/%^@\[\]<>-])
    |("(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+'|`[^`]*+`)
    |([0-9]++(?:ms|[smhdwy])(?:[0-9]++(?:ms|[smhdwy]))*+(?![0-9a-zA-Z_]))
    |((?:0[xX][0-9a-fA-F]++|[0-9]++(?:\.[0-9]*+)?+(?:[eE][+-]?[0-9]++)?+|\.[0-9]++(?:[eE][+-]?[0-9]++)?+)(?![0-9a-zA-Z_.]))
    |(\.?[0-9])
    |(\Z)
    |(.))""",
    re.VERBOSE | re.DOTALL,
)
_NAMES, _SIGNS, _ODD, _END = 1, 2, 6, 7
_KINDS = {3: STRING, 4: DURATION, 5: NUMBER, _END: END, 8: BAD}
_LAST = frozenset((END, BAD))
_BEFORE_UNDERSCORES = re.compile(
    r"(?:0[xX][0-9a-fA-F]*+(?:\.[0-9a-fA-F]*+)?+|[0-9]*+(?:\.[0-9]*+)?+)(?:[eE][+-]?[0-9]*+)?+(?![0-9a-zA-Z_])"
)
_REST = re.compile(r"[0-9a-zA-Z_.]*+")
_DECIMAL, _HEXADECIMAL = "0123456789", "0123456789abcdefABCDEF"


def tokenize(text: str, *, underscores: bool) -> Tokens:
    """Tokenize `text`, up to its end or the first `BAD` token; numbers may have `underscores` since 2.54."""
    kinds: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    match_token, keyword = _TOKEN.match, _KEYWORDS.get
    at, in_bracket, kind = 0, False, ""
    while kind not in _LAST:
        match = match_token(text, at)
        group = (match and match.lastindex) or _END
        start, at = match.span(group) if match else (at, at)
        if group == _NAMES:
            word = text[start:at]
            kind = keyword(word) or keyword(word.lower()) or NAME
            if ":" in word:
                kind, at = _colons(word, start, at, in_bracket)
        elif group == _SIGNS:
            kind = text[start:at]
            if kind in "[]":
                in_bracket = kind == "["
        elif group == _ODD:
            kind, at = _odd_number(text, start, underscores)
        else:
            kind = _KINDS[group]
        kinds.append(kind)
        starts.append(start)
        ends.append(at)
    if kind == END and len(ends) > 1:
        # Do not report errors inside spaces and comments at the end.
        starts[-1] = ends[-1] = ends[-2]
    return Tokens(text, kinds, starts, ends)


def _colons(word: str, start: int, end: int, in_bracket: bool) -> tuple[str, int]:
    """Return the kind and end of a name with colons; in brackets, a colon separates range and step."""
    if not in_bracket:
        return METRIC, end
    colon = word.index(":")
    return (":", start + 1) if colon == 0 else (NAME, start + colon)


def _odd_number(text: str, start: int, underscores: bool) -> tuple[str, int]:
    """Return the kind and end of the number at `start`, by the rules of Prometheus's lexer."""
    if underscores:
        end = _scan_number(text, start)
    else:
        match = _BEFORE_UNDERSCORES.match(text, start)
        end = match.end() if match else -1
    if end >= 0:
        return NUMBER, end
    rest = _REST.match(text, start)
    return BAD, rest.end() if rest else start + 1


def _scan_number(text: str, start: int) -> int:
    """Return the end of the number at `start`, -1 if there is none. `parse_number` parses it."""
    at, digits = start, _DECIMAL
    if text[at : at + 2] in ("0x", "0X"):
        at, digits = at + 2, _HEXADECIMAL
        at += text[at : at + 1] == "_"
    at += text[at : at + 1] == "."
    at += text[at : at + 1] in digits and at < len(text)
    seen: set[str] = set()
    while (char := text[at : at + 1].lower()) and (char in "._e" or char in digits):
        if char in seen:
            return -1
        at += 1
        if char not in "._e":
            continue
        if char != "_":
            seen.add(char)
        if char == "e":
            at += text[at : at + 1] in ("+", "-")
        if char == "." and digits is _HEXADECIMAL:
            return -1
        following = text[at : at + 1].lower()
        if following in ("_", ".") or (char != "." and following in ("e", "")):
            return -1
    return -1 if at == start or text[at : at + 1].isalnum() or text[at : at + 1] == "_" else at
