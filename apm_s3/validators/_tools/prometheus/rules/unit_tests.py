"""Unit tests of rules for `promtool test rules`. They are checked here, but not run.

https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from apm_s3.validators._checking import Context, Source, Version, take_issues
from apm_s3.validators._decoding import Gate, Schema, Struct, report_query
from apm_s3.validators._grammars.values import is_label_name
from apm_s3.validators._query.kit import QueryProblem
from apm_s3.validators._query.promql import parse
from apm_s3.validators._tools import prometheus_common
from apm_s3.validators._tools.prometheus.gates import UTF8_NAMES
from apm_s3.validators._tools.prometheus.rules.series import check_metric, check_series, check_values

_FILE = "main.unitTestFile"
_DURATION = "int64:common/model.Duration"
_TABLE = {
    _FILE: {
        "rule_files": "[]string",
        "evaluation_interval": _DURATION,
        "group_eval_order": "[]string",
        "tests": "[]main.testGroup",
        "fuzzy_compare": "bool",
    },
    "main.testGroup": {
        "name": "string",
        "interval": _DURATION,
        "input_series": "[]main.series",
        "alert_rule_test": "[]main.alertTestCase",
        "promql_expr_test": "[]main.promqlTestCase",
        "external_labels": "{}string",
        "external_url": "string",
        "start_timestamp": "any",
    },
    "main.series": {"series": "string", "values": "string"},
    "main.alertTestCase": {"eval_time": _DURATION, "alertname": "string", "exp_alerts": "[]main.alert"},
    "main.alert": {"exp_labels": "{}string", "exp_annotations": "{}string"},
    "main.promqlTestCase": {"expr": "string", "eval_time": _DURATION, "exp_samples": "[]main.sample"},
    "main.sample": {"labels": "string", "value": "float64", "histogram": "string"},
}


def check_unit_tests(source: Source, context: Context) -> None:
    """Report the problems of one test file."""
    root = take_issues(source.document("yaml", library="v2"), context)
    if root is not None:
        _schema().decode(_FILE, root, context)


@cache
def _schema() -> Schema:
    return Schema(
        _TABLE,
        scalars=prometheus_common.SCALARS,
        hooks={
            _FILE: (_check_order,),
            "main.series": (_check_input,),
            "main.alertTestCase": (_check_alert_test,),
            "main.alert": (_check_alert,),
            "main.promqlTestCase": (_check_expression,),
            "main.sample": (_check_sample,),
        },
        gates={
            # The first releases after https://github.com/prometheus/prometheus/pull/16395 and 17636 were opened.
            _FILE: {"fuzzy_compare": Gate(since=(3, 4))},
            "main.testGroup": {"start_timestamp": Gate(since=(3, 9))},
        },
    )


def _check_order(file: Struct, context: Context) -> None:
    seen: set[str] = set()
    for index, name in file.strings("group_eval_order"):
        if name in seen:
            message = f"group {name[:80]!r} is listed twice"
            file.error(context, ("group_eval_order", index), "duplicate-name", message)
        seen.add(name)


def _check_input(series: Struct, context: Context) -> None:
    _check_text(series, "series", check_series, context)
    _check_text(series, "values", lambda text, release: check_values(text, 0, release), context)


def _check_alert_test(test: Struct, context: Context) -> None:
    if test.empty("alertname"):
        test.error(context, "alertname", "required-field", "an alert test needs an alertname")


def _check_alert(alert: Struct, context: Context) -> None:
    for field in ("exp_labels", "exp_annotations"):
        for name in alert.get(field) or ():
            if not is_label_name(name, legacy=context.is_before(UTF8_NAMES)):
                alert.error(
                    context, (field, name), "label-name", f"{name[:80]!r} is not a valid label name", at_key=True
                )


def _check_expression(test: Struct, context: Context) -> None:
    if test.empty("expr"):
        test.error(context, "expr", "required-field", "an expression test needs an expr")
    _check_text(test, "expr", parse, context, "PromQL")


def _check_sample(sample: Struct, context: Context) -> None:
    _check_text(sample, "labels", check_metric, context)
    _check_text(sample, "histogram", lambda text, release: check_values(text, 0, release), context)


def _check_text(
    owner: Struct,
    field: str,
    check: Callable[[str, Version | None], object],
    context: Context,
    language: str = "series",
) -> None:
    text = owner.get(field)
    if not isinstance(text, str) or (not text and field != "series"):
        return
    try:
        check(text, context.target)
    except QueryProblem as exc:
        report_query(owner, field, language, exc, context)
