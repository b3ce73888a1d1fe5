"""What a report suggests for common mistakes."""

from __future__ import annotations

import pytest

from apm_s3._tools import Tool
from apm_s3.validators import validate_bundle, validate_config

JOB = "scrape_configs: [{job_name: a, %s}]"
RULE = "groups: [{name: g, rules: [{alert: a, expr: '%s', annotations: {s: '%s'}}]}]"


@pytest.mark.parametrize(
    ("tool", "kind", "text", "suggestion"),
    [
        ("prometheus", "config", JOB % "static_configs: {targets: [a]}", "(begin each item with '- ')"),
        ("prometheus", "config", JOB % "static_configs: [{targets: a}]", "(put a single value in brackets: [...])"),
        ("prometheus", "config", "alerting: {alertmanagers: [{targets: [a]}]}", "(targets is a field of static_configs)"),
        ("prometheus", "config", "a:\n\t- b", "indent with spaces, not with tabs"),
        ("prometheus", "rules", RULE % ("up", "{{ $lables.a }}"), "did you mean $labels?"),
        ("prometheus", "rules", RULE % ("up", "{{ $value | humanise }}"), "did you mean humanize?"),
        ("grafana", "dashboard", '{"title": "a",}', "no comma before '}'"),
    ],
)  # fmt: skip
def test_a_common_mistake_gets_a_suggestion(tool: Tool, kind: str, text: str, suggestion: str) -> None:
    report = validate_config(tool, text, kind=kind)

    assert len(report.errors) == 1
    assert suggestion in str(report.errors[0])


@pytest.mark.parametrize(
    ("tool", "expression", "found"),
    [
        ("prometheus", "up[5m]", "a range vector"),
        ("prometheus", '"a"', "a string"),
        ("loki", '{app="a"} |= "error"', "log lines"),
        ("prometheus", "up", None),
        ("prometheus", "1", None),
        ("loki", 'count_over_time({app="a"}[5m]) > 1', None),
    ],
)
def test_a_rule_whose_evaluation_always_fails_gets_a_warning(tool: Tool, expression: str, found: str | None) -> None:
    report = validate_config(tool, RULE % (expression, ""), kind="rules")

    assert report.ok
    assert [issue.rule for issue in report.issues] == (["query-type"] if found else [])
    assert found is None or found in report.issues[0].message


@pytest.mark.parametrize(
    ("kind", "text", "since", "before"),
    [
        ("tests", "fuzzy_compare: true", "3.4", "3.3"),
        ("tests", "tests: [{start_timestamp: 1}]", "3.9", "3.8"),
        ("tests", "tests: [{input_series: [{series: a, values: '{{custom_values:[1]}}'}]}]", "2.54", "2.53"),
        ("tests", "tests: [{input_series: [{series: a, values: '{{counter_reset_hint:gauge}}'}]}]", "2.55", "2.54"),
        ("web", "rate_limit: {burst: 1, interval: 1s}", "3.6", "3.5"),
    ],
)
def test_files_and_web_configurations_accept_the_fields_of_their_release(
    kind: str, text: str, since: str, before: str
) -> None:
    assert validate_config("prometheus", text, kind=kind, target_version=since).ok
    assert not validate_config("prometheus", text, kind=kind, target_version=before).ok


def test_two_equal_signs_in_a_matcher_get_a_specific_warning() -> None:
    text = "route: {receiver: a, routes: [{matchers: ['severity == page']}]}\nreceivers: [{name: a}]"

    hints = [issue.hint for issue in validate_config("alertmanager", text, kind="config").issues]

    assert hints == ["the operator for equality is a single ="]


@pytest.mark.parametrize("url", ["thanos:10908/api", "/api", "ftp://a"])
def test_a_remote_url_without_http_gets_a_warning(url: str) -> None:
    report = validate_config("prometheus", f"remote_write: [{{url: '{url}'}}]", kind="config")

    assert [(issue.severity.value, issue.path) for issue in report.issues] == [("warning", "remote_write[0].url")]


@pytest.mark.parametrize(
    ("kind", "text", "place"),
    [
        ("config", "global:\n  scrape_interval: {{ interval }}", (2, 21)),
        ("config", "scrape_configs:\n- job_name: a\n  static_configs: [{targets: [{{ .host }}]}]", (3, 32)),
        ("rules", "groups:\n- name: a\n  rules:\n  - {alert: a, expr: up, labels: {b: {{ $value }}}}", (4, 39)),
    ],
)
def test_a_template_without_quotes_is_one_error_that_asks_for_quotes(
    kind: str, text: str, place: tuple[int, int]
) -> None:
    (issue,) = validate_config("prometheus", text, kind=kind).issues

    assert (issue.line, issue.column) == place
    assert issue.hint == "put a value that begins with '{{' in quotes, or render the template first"


def test_a_syntax_error_after_a_template_without_quotes_asks_for_quotes() -> None:
    text = "groups:\n- name: a\n  rules:\n  - alert: a\n    expr: up\n    annotations:\n      b: {{ $value }} is up"

    (issue,) = validate_config("prometheus", text, kind="rules").issues

    assert issue.message.endswith("; put a value that begins with '{{' in quotes, or render the template first")


def test_a_series_with_an_open_brace_says_so() -> None:
    text = "tests: [{input_series: [{series: 'up{a=\"b\"', values: '1'}]}]"

    (issue,) = validate_config("prometheus", text, kind="tests").issues

    assert (issue.column, issue.message) == (
        37,
        "invalid series: '{' is not closed, or a label's value has no closing quote",
    )


@pytest.mark.parametrize(
    ("expression", "example"), [("quantile(up)", "quantile(0.9, up)"), ("topk(up)", "topk(5, up)")]
)
def test_an_aggregation_without_its_parameter_shows_a_sensible_one(expression: str, example: str) -> None:
    (issue,) = validate_config("prometheus", RULE % (expression, ""), kind="rules").issues

    assert f"such as {example}" in issue.message


def test_a_duration_in_the_wrong_order_is_named() -> None:
    (issue,) = validate_config("prometheus", RULE % ("rate(up[30m1h])", ""), kind="rules").issues

    assert "'30m1h' is not a valid duration; write it as" in issue.message


def test_an_invalid_pattern_of_templates_is_one_error_in_a_file_and_in_a_bundle() -> None:
    text = "templates: ['t/[.tmpl']\nroute: {receiver: a}\nreceivers: [{name: a}]"

    for report in (
        validate_config("alertmanager", text, kind="config"),
        validate_bundle("alertmanager", {"alertmanager.yml": text.encode()}),
    ):
        assert [(issue.rule, issue.line, issue.column) for issue in report.issues] == [("file-glob", 1, 13)]
