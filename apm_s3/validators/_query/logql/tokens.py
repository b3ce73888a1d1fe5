"""The tokens of LogQL. Keywords are reserved everywhere; functions only before `(`, `by` or `without`."""

from __future__ import annotations

import re

from apm_s3.validators._query.parsing import BAD, DURATION, END, NAME, NUMBER, STRING, Tokens

BYTES, FLAG = "<bytes>", "<flag>"
RANGE_OPS = frozenset(
    (
        *("rate", "rate_counter", "count_over_time", "bytes_rate", "bytes_over_time", "avg_over_time", "sum_over_time"),
        *("min_over_time", "max_over_time", "stdvar_over_time", "stddev_over_time", "quantile_over_time"),
        *("first_over_time", "last_over_time", "absent_over_time"),
    )
)
VECTOR_OPS = frozenset(
    (
        *("sum", "avg", "max", "min", "count", "stddev", "stdvar", "bottomk", "topk", "approx_topk", "sort"),
        "sort_desc",
    )
)
CONVERSIONS = ("bytes", "duration", "duration_seconds")
PARSERS = ("json", "logfmt", "regexp", "unpack", "pattern")
STAGES = (*PARSERS, "line_format", "label_format", "decolorize", "drop", "keep")
_FUNCTIONS = frozenset((*RANGE_OPS, *VECTOR_OPS, *CONVERSIONS, "label_replace", "vector", "ip"))
_KEYWORDS = frozenset(
    (
        *("by", "without", "bool", "offset", "on", "ignoring", "group_left", "group_right", "or", "and", "unless"),
        *("json", "logfmt", "regexp", "unpack", "pattern", "line_format", "label_format", "decolorize", "drop", "keep"),
        *("unwrap", "variants", "of", "label_replace"),
    )
)
KEYWORDS = _KEYWORDS | _FUNCTIONS

_TOKEN = re.compile(
    r"""(?:\s++|\#[^\n]*+)*+
    (?:([^\W\d]\w*+)
    |("(?:[^"\\\n]|\\.)*+"|`[^`]*+`)
    |(\|=|\|~|\|>|!=|!~|!>|==|=~|<=|>=|[(){},=+*/%^@\[\]<>|-])
    |((?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:ns|us|\u00b5s|\u03bcs|ms|[smhdwy])
        (?:(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:ns|us|\u00b5s|\u03bcs|ms|[smhdwy]))*+(?!\w))
    |((?:[0-9]++(?:\.[0-9]*+)?+)(?:B|[kKMGTP](?:iB|i|B)?)(?!\w))
    |((?:0[xX][0-9a-fA-F_]++|[0-9][0-9_]*+(?:\.[0-9_]*+)?+(?:[eE][+-]?[0-9]++)?+|\.[0-9]++(?:[eE][+-]?[0-9]++)?+)(?![\w.]))
    |(\.?[0-9][\w.]*+)
    |(\Z)
    |(.))""",
    re.VERBOSE | re.DOTALL,
)
_NAMES, _STRINGS, _SIGNS, _DURATIONS, _BYTES, _NUMBERS, _ODD, _END = 1, 2, 3, 4, 5, 6, 7, 8
_KINDS = {_STRINGS: STRING, _DURATIONS: DURATION, _BYTES: BYTES, _NUMBERS: NUMBER, _ODD: BAD, _END: END, 9: BAD}
_LAST = frozenset((END, BAD))
_CALLED = re.compile(r"\s*(?:\(|(?:by|without)\b)", re.IGNORECASE)
_FLAG = re.compile(r"--(?:strict|keep-empty)(?![a-zA-Z-])")


def tokenize(text: str) -> Tokens:
    """Tokenize `text`, up to its end or the first `BAD` token."""
    kinds: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at, kind = 0, ""
    while kind not in _LAST:
        match = _TOKEN.match(text, at)
        group = (match and match.lastindex) or _END
        start, at = match.span(group) if match else (at, at)
        if group == _NAMES:
            kind = _word(text, text[start:at].lower(), at)
        elif group == _SIGNS:
            kind = text[start:at]
            if kind == "-" and (flag := _FLAG.match(text, start)):
                kind, at = FLAG, flag.end()
        else:
            kind = _KINDS[group]
        kinds.append(kind)
        starts.append(start)
        ends.append(at)
    if kind == END and len(ends) > 1:
        # Do not report errors inside spaces and comments at the end.
        starts[-1] = ends[-1] = ends[-2]
    return Tokens(text, kinds, starts, ends)


def _word(text: str, word: str, end: int) -> str:
    if word in _FUNCTIONS:
        return word if _CALLED.match(text, end) else NAME
    return word if word in _KEYWORDS else NAME
