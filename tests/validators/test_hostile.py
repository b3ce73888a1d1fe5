"""Documents made to crash a checker: whatever they contain, there is a report and no exception."""

import copy
import json
import random
from datetime import date
from pathlib import Path

import pytest
import yaml

from apm_s3.validators import validate_bundle, validate_config
from tests.validators.good import ALERTMANAGER
from tests.validators.test_grafana import DASHBOARD

DATA = Path(__file__).parent / "data" / "prometheus"
EXAMPLES = Path(__file__).parents[2] / "examples" / "configs"
ODD = [
    *(
        None,
        True,
        0,
        -1,
        10**30,
        -(10**400),
        1e308,
        float("inf"),
        float("nan"),
        "",
        " ",
        "\x00",
        "\ud800",
        "\udfff",
        "\ufeff",
    ),
    *(
        [],
        {},
        [[]],
        [None],
        ["a"],
        {"a": "b"},
        {"": ""},
        {"<<": 1},
        [{}],
        {"name": ["a"]},
        "{{",
        "{{ 1",
        "${",
        "${A:-",
        "[",
        "(",
    ),
    *(
        "x offset inf",
        "x[1e30]",
        *("x offset inf", "x[1e30]"),
        "0x",
        "9" * 5000,
        "-" * 300,
        "1e99999",
        "2024-13-45",
        "0000-00-00T99:99:99Z",
        "::",
        "]:[",
    ),
    *("\\p{", "(?P<", "a" * 3000, "\u2028", "\U0010ffff", "http://[", "http://%", "\r", "!!binary", "*", "&a", "<<"),
]
UNIT_TESTS = """
rule_files: ['*.yml']
evaluation_interval: 1m
group_eval_order: [a, b]
tests:
  - interval: 1m
    name: a
    input_series: [{series: 'up{job="a"}', values: '1 2x3 _ stale {{schema:1 sum:2 buckets:[1 2]}}'}]
    alert_rule_test: [{eval_time: 1m, alertname: a, exp_alerts: [{exp_labels: {a: b}, exp_annotations: {a: b}}]}]
    promql_expr_test: [{expr: up, eval_time: 1m, exp_samples: [{labels: 'up{a="b"}', value: 1, histogram: '{{}}'}]}]
"""
WEB = """
tls_server_config: {cert_file: a, key_file: b, client_auth_type: NoClientCert, cipher_suites: [a], min_version: TLS12}
http_server_config: {http2: true, headers: {X-Frame-Options: deny}}
basic_auth_users: {a: $2y$10$x}
rate_limit: {burst: 1, interval: 1s}
"""
SD = "scrape_configs: [{job_name: a, file_sd_configs: [{files: ['*.json']}], relabel_configs: [{regex: a, action: drop}]}]"
KEYS = ["", "<<", "\ud800", "a" * 3000, "~", "null", "1", "\x00", "name", "$"]


def documents():
    """Good documents of all tools, as data, with their tool and kind."""
    yield "prometheus", "config", yaml.safe_load((DATA / "full.yml").read_text("utf-8"))
    yield "prometheus", "rules", yaml.safe_load((DATA / "rules.yml").read_text("utf-8"))
    yield "prometheus", "tests", yaml.safe_load(UNIT_TESTS)
    yield "prometheus", "web", yaml.safe_load(WEB)
    yield "prometheus", "targets", {"x.json": [{"targets": ["a:1"], "labels": {"a": "b"}}]}
    yield "alertmanager", "config", yaml.safe_load(ALERTMANAGER)
    yield "grafana", "dashboard", copy.deepcopy(DASHBOARD)
    for tool in ("loki", "jaeger", "grafana"):
        for path in sorted(EXAMPLES.glob(f"**/{tool}/**/*.y*ml")):
            yield tool, None, yaml.safe_load(path.read_text("utf-8"))


def places(value, found):
    """Every collection in `value`."""
    if isinstance(value, dict | list) and value:
        found.append(value)
        for item in value.values() if isinstance(value, dict) else value:
            places(item, found)
    return found


def changed(source, value):
    value = copy.deepcopy(value)
    for _ in range(source.choice((1, 1, 2, 4))):
        holder = source.choice(places(value, []) or [[0]])
        where = source.choice(list(holder)) if isinstance(holder, dict) else source.randrange(len(holder))
        if isinstance(holder, dict) and source.random() < 0.2:
            holder[source.choice(KEYS)] = holder.pop(where)
        else:
            holder[where] = copy.deepcopy(source.choice(ODD))
    return value


def check_that_nothing_crashes(seed, count):
    source = random.Random(seed)
    originals = list(documents())
    for _ in range(count):
        tool, kind, value = source.choice(originals)
        value = changed(source, value)
        form = source.random()
        given = value if form < 0.4 else json.dumps(value, ensure_ascii=form < 0.7)
        try:
            mode = source.choice(("fallback", "classic", "utf8-strict"))
            report = validate_config(tool, given, kind=kind, matchers=mode)
            text = json.dumps(value.get("x.json") if kind == "targets" and isinstance(value, dict) else value)
            files = {"a.json": text.encode(), f"{tool}.yml": SD.encode() if form < 0.5 else text.encode()}
            validate_bundle(tool, files, matchers=mode)
            for issue in report.issues:
                f"{issue}".encode()
        except BaseException as exc:
            raise AssertionError(f"{type(exc).__name__} of {tool} {kind} on {given!r:.2000}") from exc


def test_no_mutation_of_a_valid_document_crashes_a_checker():
    check_that_nothing_crashes(seed=3, count=2_000)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(10))
def test_none_of_many_mutations_of_a_valid_document_crashes_a_checker(seed):
    check_that_nothing_crashes(seed=seed, count=10_000)


@pytest.mark.parametrize("tool", ["prometheus", "alertmanager", "grafana", "loki", "jaeger"])
@pytest.mark.parametrize("make", [lambda: 10**5000, lambda: -(10**5000), lambda: date.max, lambda: {10**5000: 1}, set])
def test_data_that_no_file_can_contain_is_refused_with_a_report(tool, make):
    assert validate_config(tool, {"password": make(), "global": make()}).issues


@pytest.mark.parametrize("text", ["\ud800: a", 'a: "\\ud800"', '{"title": "\\ud800", "panels": 1}'])
def test_a_lone_surrogate_never_reaches_a_report(text):
    for tool in ("prometheus", "grafana"):
        "".join(map(str, validate_config(tool, text).issues)).encode()


def test_the_place_of_an_error_behind_many_blanks_is_found_at_once() -> None:
    """The rest of the blanks was searched for a line break from each: minutes."""
    text = f"{{{{{' ' * 600_000}x }}}}"
    rule = {"alert": "A", "expr": "x", "annotations": {"a": text}}

    source = json.dumps({"groups": [{"name": "a", "rules": [rule]}]})
    report = validate_config("prometheus", source, kind="rules")

    assert [each.column for each in report.errors] == [source.index("x }}") + 1]


LONG = 2_000_000
LEGACY = {
    "metric_name_validation_scheme": "legacy",
    "relabel_configs": [{"action": "labelmap", "replacement": "a" * 100 + "-"}],
}


@pytest.mark.parametrize(
    ("tool", "name", "text"),
    [
        ("jaeger", "ui.js", "\n" * LONG),
        ("grafana", None, "a: 1\n" + "\n" * LONG),
        ("loki", "loki.yaml", f"limits_config: {{ingestion_rate_mb: 1, max_line_size: '1{' ' * LONG}x'}}"),
        (
            "alertmanager",
            "alertmanager.yml",
            f"receivers: [{{name: a}}]\nroute: {{receiver: a, routes: [{{matchers: ['a=x{{{' ' * 65_000}x']}}]}}",
        ),
        (
            "prometheus",
            "prometheus.yml",
            json.dumps({"scrape_configs": [{"job_name": "a", **LEGACY}]}),
        ),
        (
            "loki",
            "rules/a.yml",
            "groups: [{name: a, rules: [{alert: A, expr: '"
            'sum(count_over_time({a="b"} | regexp `(?P<a>x)[' + "(?<" * 43_000 + "]` [1m])) > 0'}]}]",
        ),
    ],
)  # fmt: skip
def test_no_expression_of_a_validator_tries_blanks_or_names_in_many_ways(
    tool: str, name: str | None, text: str
) -> None:
    """One call of `re` holds the interpreter until its end, and these took minutes or years."""
    assert validate_config(tool, text, name=name).tool == tool
