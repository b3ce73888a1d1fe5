"""Rule files: what Prometheus refuses, with the rule and the position."""

import json

import pytest

from apm_s3.validators import validate_config


def check(text, **options):
    return validate_config("prometheus", text, kind="rules", **options)


def alert(text):
    return f"groups: [{{name: g, rules: [{{alert: a, expr: up, {text}}}]}}]"


@pytest.mark.parametrize(
    ("text", "rule", "path"),
    [
        ("groups: [{rules: []}]", "required-field", "groups[0]"),
        ("groups: [{name: g}, {name: g}]", "duplicate-name", "groups[1].name"),
        ("groups: [{name: g, rules: [{expr: up}]}]", "required-field", "groups[0].rules[0]"),
        (
            "groups: [{name: g, rules: [{alert: a, record: b, expr: up}]}]",
            "exclusive-fields",
            "groups[0].rules[0].alert",
        ),
        ("groups: [{name: g, rules: [{alert: a}]}]", "required-field", "groups[0].rules[0]"),
        ("groups: [{name: g, rules: [{alert: a, expr: rate(up)}]}]", "promql", "groups[0].rules[0].expr"),
        ("groups: [{name: g, rules: [{alert: a, expr: 'up{a=~\"(\"}'}]}]", "promql", "groups[0].rules[0].expr"),
        ("groups: [{name: g, rules: [{record: r, expr: up, for: 1m}]}]", "exclusive-fields", "groups[0].rules[0].for"),
        ("groups: [{name: g, rules: [{record: 'r{}', expr: up}]}]", "name-validity", "groups[0].rules[0].record"),
        ("groups: [{name: g, labels: {__name__: x}}]", "label-name", "groups[0].labels.__name__"),
        (alert("labels: {__name__: b}"), "label-name", "groups[0].rules[0].labels.__name__"),
        (alert("annotations: {'': b}"), "label-name", 'groups[0].rules[0].annotations[""]'),
        (alert("annotations: {s: '{{ $label }}'}"), "template", "groups[0].rules[0].annotations.s"),
        (alert("labels: {s: '{{ foo }}'}"), "template", "groups[0].rules[0].labels.s"),
        (alert("severity: page"), "unknown-field", "groups[0].rules[0].severity"),
        (alert("for: 5"), "duration", "groups[0].rules[0].for"),
        (
            "groups: [{name: g, partial_response_strategy: warn}]",
            "unknown-field",
            "groups[0].partial_response_strategy",
        ),
        ("namespace: x\ngroups: []", "unknown-field", "namespace"),
    ],
)
def test_configurations_that_prometheus_refuses_are_refused_at_the_right_position(text, rule, path):
    assert [(issue.rule, issue.path) for issue in check(text).errors] == [(rule, path)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "groups: []",
        "groups: [{name: g, interval: 1m, limit: 5, query_offset: 1m, labels: {team: x}, rules: []}]",
        alert("for: 0, labels: {a: 5}, annotations: {s: '{{ $labels.x }} {{ $value | humanize }} {{ $externalURL }}'}"),
        "groups: [{name: g, rules: [{record: 'a b', expr: 'up{a=~\"[[a]\"}'}]}]",
        "groups: [{name: g, rules: [{record: r, expr: 5m}, null]}]",
    ],
)
def test_configurations_that_prometheus_accepts_are_accepted(text):
    assert check(text).ok, str(check(text))


@pytest.mark.parametrize(
    ("expression", "old", "new"),
    [
        ("holt_winters(up[5m], 0.1, 0.2)", True, False),
        ("double_exponential_smoothing(up[5m], 0.1, 0.2)", False, False),
        ("up > 5m", False, True),
        ("sum by (a) (rate(up[5m] offset 1d))", True, True),
        ("up @ start()", True, True),
        ("start()", False, False),
        ("sort_by_label(up, 'a')", False, False),
        ("up[0]", False, False),
        ("up + on (a) fill (0) up", False, False),
        ('{a="b" or c="d"}', False, False),
        ('up{or="a"}', True, True),
        ('label_replace(up, "a", "info(", "b", "step(")', True, True),
    ],
)
def test_promql_is_checked_for_the_release_without_feature_flags(expression, old, new):
    data = {"groups": [{"name": "g", "rules": [{"record": "r", "expr": expression}]}]}

    assert (check(data, target_version="2.53").ok, check(data).ok) == (old, new)


@pytest.mark.parametrize(("expression", "good"), [("1" + "+1" * 40_000, True), ("(" * 50_000, False)])
def test_an_expression_of_any_size_is_checked(expression, good):
    data = {"groups": [{"name": "g", "rules": [{"record": "r", "expr": expression}]}]}

    report = check(data)

    assert (report.ok, report.skipped) == (good, ())


@pytest.mark.parametrize(
    ("value", "line", "column"),
    [
        ("up ==", 5, 16),
        ("'up{job=''a''} &'", 5, 26),
        ('"up{job=\\"a\\"} &"', 5, 26),
        ("|\n      up &\n", 6, 10),
        ("|\n      up +\n        sum bi (x) (up)\n", 7, 13),
        (">-\n      up\n      or rte(up[5m])\n", 7, 10),
        ("up or\n      rte(up[5m])\n", 6, 7),
        ("!!str up &", 5, 20),
    ],
)
def test_an_error_in_promql_has_the_line_and_column_of_its_token(value, line, column):
    text = f"groups:\n- name: g\n  rules:\n  - alert: a\n    expr: {value}"

    assert [(issue.line, issue.column) for issue in check(text).errors] == [(line, column)]


def test_an_error_in_data_has_the_offset_of_its_character():
    data = {"groups": [{"name": "g", "rules": [{"record": "r", "expr": "sum(up))"}]}]}

    assert "at character 8" in check(data).errors[0].message


def test_an_error_includes_the_hint_of_the_query_language():
    assert check(alert("labels: {}").replace("expr: up", "expr: 'rte(up[5m])'")).errors[0].hint == "did you mean rate?"


@pytest.mark.parametrize(
    "expression",
    [
        *("1_000_000 + 0xF_F", "rate(a[5m*2])", "rate(a[(5m + 1h) / 2])", "a[5m:1m*2]", "a[5m:step()]", "a[range()]"),
        *("a offset (1m * 2)", "a offset -(5m)", "a offset step()", "a[max_of(5m, step() * 2)]", "a </ 5", "b >/ 2"),
        *('label_replace(a, "[5m", "</", "1_0", "offset (")', "a[5m] offset 5m", "rate(a[5m ^ 2 % 3])"),
    ],
)
def test_every_form_of_promql_is_accepted(expression):
    assert check(f"groups: [{{name: a, rules: [{{alert: a, expr: {json.dumps(expression)}}}]}}]").ok


@pytest.mark.parametrize(
    "expression",
    [
        *("1__0", "1_", "a[-5m]", "a[5m/0]", "a[5m*]", "a[(5m]", "a[foo()]", "a[min_of(5m)]", "a offset (5m", "a </"),
        *("a[5m:-1m]", "a offset foo()", "a[5m] smoothed", "a + fill(0) b", "step()"),
    ],
)
def test_text_that_only_resembles_promql_is_refused(expression):
    assert not check(f"groups: [{{name: a, rules: [{{record: a, expr: {json.dumps(expression)}}}]}}]").ok


def test_templates_in_rules_have_no_tmpl_function():
    assert not check(alert("annotations: {x: '{{ tmpl \"y\" 1 }}'}")).ok
