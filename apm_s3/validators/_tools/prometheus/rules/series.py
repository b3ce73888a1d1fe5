"""The notation of series and their values in unit tests of rules.

https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series.
"""

from __future__ import annotations

import re

from apm_s3.validators._checking import Version
from apm_s3.validators._query.kit import QueryProblem, Selector
from apm_s3.validators._query.promql import NO_METRIC, parse

QUOTED_NAMES = (3, 0)
_KEYS_SINCE = {"custom_values": (2, 54), "counter_reset_hint": (2, 55)}
"""Fields of histograms that 2.53 does not have: https://github.com/prometheus/prometheus/pull/14537 for the second."""
_SERIES = re.compile(
    r"""\s*(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)?
    (?P<labels>\{(?:[^}"'`]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)*\})?""",
    re.VERBOSE | re.DOTALL,
)
_NUMBERS = frozenset(("inf", "nan"))
_NUMBER = r"[+-]?(?:inf|nan|0x[0-9a-f]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)"
_HISTOGRAM = r"\{\{(?:[^}]*)\}\}"
_ITEM = re.compile(
    rf"(?:_(?:x[0-9]+)?|stale|{_NUMBER}(?:[+-]{_NUMBER.removeprefix('[+-]?')}x[0-9]+|x[0-9]+)?"
    rf"|{_HISTOGRAM}(?:[+-]{_HISTOGRAM}x[0-9]+|x[0-9]+)?)(?=\s|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"\{\{.*?\}\}\S*|\S+", re.DOTALL)
_PAIR = re.compile(r"\s*([a-z_]+)\s*:\s*(\[[^\]]*\]|[a-z]+|[^\s\]\[]+)", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?[0-9]+")
_KEYS = ("schema", "sum", "count", "z_bucket", "z_bucket_w", "buckets", "n_buckets", "offset", "n_offset")
_WHOLE_KEYS = frozenset(("schema", "offset", "n_offset"))
_LISTS = frozenset(("buckets", "n_buckets", "custom_values"))
_RESETS = ("unknown", "reset", "not_reset", "gauge")


def check_series(text: str, release: Version | None) -> None:
    """Check that a text is a series such as `up{job="a"}`; values may follow.

    Raises:
        QueryProblem: it is not a series.
    """
    match = _SERIES.match(text)
    if match is None or not (match["name"] or match["labels"]):
        raise QueryProblem("expected the name of a metric or labels in braces", 0, len(text))
    name, labels = match["name"], match["labels"]
    if not labels and text.startswith("{", match.end()) and not text.startswith("{{", match.end()):
        raise QueryProblem("'{' is not closed, or a label's value has no closing quote", match.end(), match.end() + 1)
    if name and (name in NO_METRIC or name.lower() in _NUMBERS):
        raise QueryProblem(f"{name!r} is not a valid metric name", match.start("name"), match.end("name"))
    if labels:
        _check_labels(text[: match.end()], match, release)
    if text[match.end() :].strip():
        check_values(text, match.end(), release)


def check_metric(text: str, release: Version | None) -> None:
    """Check that a text is a series without values.

    Raises:
        QueryProblem: it is not.
    """
    match = _SERIES.fullmatch(text.rstrip())
    if match is None:
        raise QueryProblem("expected the name of a metric with labels in braces, and nothing more", 0, len(text))
    if match["name"] or (match["labels"] or "{}")[1:-1].strip():
        check_series(text, release)


def _check_labels(series: str, match: re.Match[str], release: Version | None) -> None:
    """Check labels like a selector of a query, which they are except for the operators."""
    start = match.start("labels")
    inner = match["labels"][1:-1].strip()
    if not inner:
        if not match["name"]:
            raise QueryProblem("a series needs a name or a label", start, match.end("labels"))
        return
    if release is not None and release < QUOTED_NAMES and re.match(r"[\"'`]", inner):
        raise QueryProblem("quoted names are supported since 3.0", start + 1, start + 2)
    # Unlike in a selector, the name may be a keyword, and values may be empty.
    tree = parse(("x" * start)[1:] + "x" + series[start:] if start else series, release)
    found = tree.matchers if isinstance(tree, Selector) else ()
    seen: set[str] = set()
    for matcher in found:
        if matcher.op != "=":
            raise QueryProblem(f"labels of a series cannot use {matcher.op}", matcher.start, matcher.end, "write =")
        if matcher.name in seen:
            raise QueryProblem(f"label {matcher.name[:80]!r} is given twice", matcher.start, matcher.end)
        seen.add(matcher.name)


def check_values(text: str, start: int, release: Version | None) -> None:
    """Check values such as `1 2 3`, `0+10x5`, `_x3` or `{{schema:1 count:2}}`.

    Raises:
        QueryProblem: they are not valid.
    """
    at = start
    while True:
        space = _SPACE.match(text, at)
        at = space.end() if space else at
        if at == len(text):
            return
        item = _ITEM.match(text, at)
        if item is None:
            word = _WORD.match(text, at)
            end = word.end() if word else at + 1
            message = f"{text[at:end][:40]!r} is not a valid value of a series"
            hint = "write 1, 1x5 for six equal values, 0+10x5 for rising ones, _ for none, stale"
            raise QueryProblem(message, at, end, hint)
        for histogram in re.finditer(_HISTOGRAM, item[0]):
            _check_histogram(histogram[0][2:-2], at + histogram.start() + 2, release)
        at = item.end()


def _check_histogram(inner: str, start: int, release: Version | None) -> None:
    known = (*_KEYS, *(key for key, since in _KEYS_SINCE.items() if release is None or release >= since))
    at = 0
    while inner[at:].strip():
        pair = _PAIR.match(inner, at)
        if pair is None or pair[1] not in known:
            shown = inner[at:].strip()[:40]
            begin = start + at + len(inner[at:]) - len(inner[at:].lstrip())
            raise QueryProblem(
                f"{shown!r} is not a field of a histogram; known fields: {', '.join(known)}", begin, begin + 1
            )
        if not _fits(pair[1], pair[2]):
            begin = start + pair.start(2)
            raise QueryProblem(f"{pair[2][:40]!r} is not a valid value of {pair[1]}", begin, start + pair.end(2))
        at = pair.end()


def _fits(key: str, value: str) -> bool:
    if key in _LISTS:
        return value.startswith("[") and all(re.fullmatch(_NUMBER, item, re.IGNORECASE) for item in value[1:-1].split())
    if key == "counter_reset_hint":
        return value in _RESETS
    pattern = _WHOLE.pattern if key in _WHOLE_KEYS else _NUMBER
    return re.fullmatch(pattern, value, re.IGNORECASE) is not None
