"""PromQL; the one place that touches promql-parser, an extra. Without it nothing is checked.

That parser follows Prometheus 3 and takes a little more than Prometheus does without feature flags; `_EXTENSIONS`
has what. It recurses, so that an expression of too many operators and brackets is left unchecked rather than risk
the process.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from apm_s3.validators._context import Version
from apm_s3.validators._grammars import regexes
from apm_s3.validators._grammars.promql_forms import simplify

SKIPPED = "PromQL was not checked: install apm-s3[validate] for promql-parser"
MAX_LENGTH = 100_000
MAX_PARTS = 300
"""The parser's time grows with their square: 300 take it 30 ms, 20 000 crash it."""

try:
    _parser: Any = import_module("promql_parser")
except ImportError:
    _parser = None

_STRING = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`[^`]*`|#[^\n]*")
_MATCHER = re.compile(
    r"(?P<op>=~|!~)?\s*(?P<text>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)|#[^\n]*", re.DOTALL
)
_ESCAPE = re.compile(r"(\\(?:[abfnrtv\\'\"]|[0-7]{3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}))")
_SIMPLE_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
}
_BRACES = re.compile(r"\{[^{}]*\}")
_OPERATOR = re.compile(r"[-+*/%^(]|[<>!=]=?|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_EXPERIMENTAL = (
    *("double_exponential_smoothing", "histogram_quantiles", "info", "limit_ratio", "limitk", "start_timestamp"),
    *("mad_over_time", "sort_by_label", "sort_by_label_desc", "ts_of_first_over_time", "ts_of_last_over_time"),
    *("ts_of_max_over_time", "ts_of_min_over_time", "start", "end", "range", "step", "max_of", "min_of"),
)
_EXTENSIONS = (
    (
        re.compile(rf"(?<![\w:@])(?<!@ )({'|'.join(_EXPERIMENTAL)})\s*\(", re.IGNORECASE),
        "is experimental, which Prometheus refuses without a feature flag",
    ),
    (
        re.compile(r"(?<![\w:])(fill(?:_left|_right)?)\s*\(", re.IGNORECASE),
        "is experimental, which Prometheus refuses without a feature flag",
    ),
    (re.compile(r"\{[^{}]*\"\"\s*(or)\b(?!\s*[=!])", re.IGNORECASE), "cannot join matchers"),
    (re.compile(r"(\[\s*0+(?:\.0*)?\s*(?:[\]:])|:\s*0+(?:\.0*)?\s*\])"), "is no range: a duration must be above 0"),
)
_RANGE = re.compile(r"\[[^\]]*\]|\boffset\s*-?\s*\w+", re.IGNORECASE)
_DURATION = re.compile(r"(?<![\w:.])\d+(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*(?![\w:])")
_INTERCHANGEABLE, _QUOTED_LABELS = (2, 54), (2, 55)
_BARE_RANGE = re.compile(r"\[\s*(?:0[xX]\w+|[\d.]+(?:[eE]\d+)?)\s*[\]:]|\boffset\s+-?[\d.]+(?![\w.])", re.IGNORECASE)
_QUOTED_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\"", re.IGNORECASE)
_SINCE: dict[str, Version] = {
    "first_over_time": (3, 14),
    "histogram_avg": (2, 51),
    "histogram_stddev": (2, 47),
    "histogram_stdvar": (2, 47),
}
_NEWER = re.compile(rf"(?<![\w:])({'|'.join(_SINCE)})\s*\(", re.IGNORECASE)
_SMOOTHING = "double_exponential_smoothing"
_HOLT_WINTERS = re.compile(r"\bholt_winters(?=\s*\()")


def available() -> bool:
    """Whether PromQL can be checked."""
    return _parser is not None


def too_complex(expression: str) -> bool:
    """Whether an expression has more parts than the parser can be trusted with."""
    if len(expression) <= MAX_PARTS:
        return False
    # What is inside braces costs nothing.
    bare = _BRACES.sub("", _STRING.sub('""', expression))
    return len(expression) > MAX_LENGTH or len(_OPERATOR.findall(bare)) > MAX_PARTS


def promql_problem(expression: str, target: Version | None = None) -> str | None:
    """Why `expression` is no PromQL, None when it is (or cannot be told: see `available` and `too_complex`)."""
    if _parser is None or too_complex(expression):
        return None
    if target is not None and target < (3, 0):
        if _SMOOTHING in expression:
            return f"unknown function {_SMOOTHING}: before Prometheus 3 it is holt_winters"
        expression = _HOLT_WINTERS.sub(_SMOOTHING, expression)
    expression = simplify(expression, _STRING, target)
    expression, problem = _settle_regexes(expression)
    if problem:
        return problem
    try:
        _parser.parse(expression)
    except ValueError as exc:
        return str(exc).splitlines()[0][:300] if str(exc) else "not PromQL"
    return _extension_problem(_STRING.sub('""', expression), target)


def _extension_problem(bare: str, target: Version | None) -> str | None:
    """What promql-parser takes and the release does not; `bare` is an expression without the content of its strings."""
    if target is not None and (problem := _too_new(bare, target)):
        return problem
    before_3 = target is not None and target < (3, 0)
    for pattern, reason in _EXTENSIONS:
        for match in pattern.finditer(bare):
            smoothing = before_3 and match[1] == _SMOOTHING
            if not smoothing and not _is_at_modifier(bare, match.start(1)):
                return f"{match[1]!r} {reason}"
    return None


def _too_new(bare: str, target: Version) -> str | None:
    if target < _INTERCHANGEABLE:
        if duration := _DURATION.search(_RANGE.sub("", bare)):
            return f"unexpected duration {duration[0]!r}: Prometheus takes it for a number from 2.54 on"
        if number := _BARE_RANGE.search(bare):
            return f"{number[0].strip()!r} has no unit, without which Prometheus takes it from 2.54 on"
    if target < _QUOTED_LABELS and _QUOTED_GROUPING.search(bare):
        return "a label name in quotes is known from 2.55 on"
    for name in _NEWER.findall(bare):
        since = _SINCE[name.lower()]
        if target < since:
            return f"function {name!r} is known from {since[0]}.{since[1]} on"
    return None


def _settle_regexes(expression: str) -> tuple[str, str | None]:
    """`expression` with each regular expression replaced by one of the same standing, once RE2 has taken it.

    promql-parser reads them with Rust's regex, which is neither a part of RE2 nor contains it.
    """
    if "~" not in expression:
        return expression, None
    problems: list[str] = []

    def settle(match: re.Match[str]) -> str:
        text = _unquote(match["text"]) if match["op"] else None
        if text is None:
            return match[0]
        if error := regexes.regex_error(text):
            problems.append(regexes.regex_message(error))
            return match[0]
        return f'{match["op"]}"{".*" if regexes.matches_empty(text) else ".+"}"'

    settled = _MATCHER.sub(settle, expression)
    return settled, problems[0] if problems else None


def _unquote(text: str) -> str | None:
    """The value of a PromQL string; None where it has an escape that is none."""
    inner = text[1:-1]
    if text[0] == "`" or "\\" not in inner:
        return inner
    pieces = _ESCAPE.split(inner)
    # Pieces alternate: text between escapes, then an escape.
    if any("\\" in piece for piece in pieces[::2]):
        return None
    return "".join(_escaped(piece) if at % 2 else piece for at, piece in enumerate(pieces))


def _escaped(escape: str) -> str:
    if escape[1] in _SIMPLE_ESCAPES:
        return _SIMPLE_ESCAPES[escape[1]]
    digits, base = (escape[1:], 8) if escape[1].isdigit() else (escape[2:], 16)
    return chr(min(int(digits, base), 0x10FFFF))


def _is_at_modifier(bare: str, start: int) -> bool:
    """Whether what begins at `start` is the `start()` or `end()` of an `@`."""
    return bare[:start].rstrip().endswith("@")
