"""Rule files of Prometheus and their unit tests, as promtool checks them.

https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series.

https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from apm_s3.reports import Rule
from apm_s3.validators._checking import Context, Source, Version, take_issues
from apm_s3.validators._decoding import Hook, Schema, check_rule_query, load_table, report_query
from apm_s3.validators._query.gotemplate import template_functions, template_problem
from apm_s3.validators._query.kit import Expr, QueryProblem, Selector
from apm_s3.validators._query.promql import NO_METRIC, parse
from apm_s3.validators._query.values import is_label_name, is_metric_name, is_utf8
from apm_s3.validators._structs import Struct, check_unique
from apm_s3.validators._tools import prometheus_common
from apm_s3.validators._tools.prometheus.config import RULES, rules_schema
from apm_s3.validators._tools.prometheus_common import UTF8_NAMES


def check_rule_file(source: Source, context: Context) -> None:
    """Report the problems of one file."""
    root = take_issues(source.document("yaml", library="v3"), context)
    if root is not None:
        rules_schema().decode(RULES, root, context)


TEMPLATE_VARIABLES = ("$labels", "$externalLabels", "$externalURL", "$value")


Parse = Callable[[str, Version | None], Expr]
"""Parses an expression, or raises `QueryProblem`."""


def check_groups(file: Struct, context: Context, language: Rule = "promql", parse: Parse = parse) -> None:
    """Check the rules of rulefmt.RuleGroups.Validate, with expressions that `parse` accepts."""
    check_unique(context, file.named("groups"), "there is more than one group with the name {name}")
    for _, group in file.structs("groups"):
        _check_labels(group, context)
        for _, rule in group.structs("rules"):
            _check_rule(rule, context, language, parse)


def _check_rule(rule: Struct, context: Context, language: Rule, parse: Parse) -> None:
    record, alert = rule.get("record"), rule.get("alert")
    expression = rule.get("expr")
    if expression and isinstance(expression, str):
        check_rule_query(rule, expression, language, parse, context)
    if record:
        _check_recording(rule, record, context)
    _check_labels(rule, context)
    _check_names(rule, ("annotations",), "annotation name", context)
    if alert:
        functions = template_functions("prometheus", context.target)
        for field in ("labels", "annotations"):
            _check_templates(rule, field, functions, context)


def _check_recording(rule: Struct, record: str, context: Context) -> None:
    if not is_metric_name(record, legacy=context.is_before(UTF8_NAMES)):
        rule.error(context, "record", "name-validity", f"{record[:80]!r} is not a valid metric name")
    elif "{" in record or "}" in record:
        message = f"the name {record[:80]!r} has braces; was it meant for expr?"
        rule.error(context, "record", "name-validity", message)


def _check_labels(owner: Struct, context: Context) -> None:
    _check_names(owner, ("labels",), "label name in a rule", context)
    for name, value in (owner.get("labels") or {}).items():
        if isinstance(value, str) and not is_utf8(value):
            owner.error(context, ("labels", name), "label-value", "a label value must be UTF-8")


def _check_names(owner: Struct, fields: tuple[str, ...], what: str, context: Context) -> None:
    for field in fields:
        for name in owner.get(field) or ():
            reserved = field == "labels" and name == "__name__"
            if reserved or not is_label_name(name, legacy=context.is_before(UTF8_NAMES)):
                owner.error(context, (field, name), "label-name", f"{name[:80]!r} is not a valid {what}", at_key=True)


def _check_templates(rule: Struct, field: str, functions: frozenset[str], context: Context) -> None:
    for name, text in (rule.get(field) or {}).items():
        if isinstance(text, str) and (found := template_problem(text, functions, TEMPLATE_VARIABLES)):
            node, path = rule.place(field, name)
            context.add(context.issue_inside(node, path, found[1], "template", f"invalid Go template: {found[0]}"))


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
    """Check that a text is a series such as `up{job="a"}`, with or without values, or raise `QueryProblem`."""
    match = _SERIES.match(text)
    if match is None or not (match["name"] or match["labels"]):
        raise QueryProblem("expected the name of a metric or labels in braces", 0, len(text))
    name, labels = match["name"], match["labels"]
    if not labels and text.startswith("{", match.end()) and not text.startswith("{{", match.end()):
        raise QueryProblem("'{' is not closed, or a label's value has no closing quote", match.end(), match.end() + 1)
    if name and (name in NO_METRIC or name.lower() in _NUMBERS):
        raise QueryProblem(f"{name!r} is not a valid metric name", match.start("name"), match.end("name"))
    if labels:
        _check_series_labels(text[: match.end()], match, release)
    if text[match.end() :].strip():
        check_values(text, match.end(), release)


def check_metric(text: str, release: Version | None) -> None:
    """Check that a text is a series without values, or raise `QueryProblem`."""
    match = _SERIES.fullmatch(text.rstrip())
    if match is None:
        raise QueryProblem("expected the name of a metric with labels in braces, and nothing more", 0, len(text))
    if match["name"] or (match["labels"] or "{}")[1:-1].strip():
        check_series(text, release)


def _check_series_labels(series: str, match: re.Match[str], release: Version | None) -> None:
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
    """Check values such as `1 2 3`, `0+10x5`, `_x3` or `{{schema:1 count:2}}`, or raise `QueryProblem`."""
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


_FILE = "main.unitTestFile"


def check_unit_tests(source: Source, context: Context) -> None:
    """Report the problems of one test file."""
    root = take_issues(source.document("yaml", library="v2"), context)
    if root is not None:
        _schema().decode(_FILE, root, context)


@cache
def _schema() -> Schema:
    return Schema(
        load_table("prometheus_tests"),
        scalars=prometheus_common.SCALARS,
        hooks={
            _FILE: (_check_order,),
            "main.series": (_text("series", check_series), _text("values", _values)),
            "main.alert": (_check_alert,),
            "main.promqlTestCase": (_text("expr", parse, "promql"),),
            "main.sample": (_text("labels", check_metric), _text("histogram", _values)),
        },
    )


def _check_order(file: Struct, context: Context) -> None:
    check_unique(context, file.listed("group_eval_order"), "group {name} is listed twice")


def _check_alert(alert: Struct, context: Context) -> None:
    _check_names(alert, ("exp_labels", "exp_annotations"), "label name", context)


def _values(text: str, release: Version | None) -> None:
    check_values(text, 0, release)


def _text(field: str, check: Callable[[str, Version | None], object], rule: Rule = "series") -> Hook:
    """Return a hook: `check` must accept the text of the field."""

    def run(owner: Struct, context: Context) -> None:
        text = owner.get(field)
        if not isinstance(text, str) or (not text and field != "series"):
            return
        try:
            check(text, context.target)
        except QueryProblem as exc:
            report_query(owner, field, rule, exc, context)

    return run
