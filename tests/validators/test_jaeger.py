"""Jaeger's rules: each violation is refused at its position, and nothing else is."""

from __future__ import annotations

import pytest

from apm_s3.validators import validate_config
from tests.validators.good import JAEGER, SAMPLING, errors


def test_missing_sections_are_reported_by_name() -> None:
    found = errors("jaeger", "processors: {batch: }\n")
    assert {path for path, rule in found if rule == "required-field"} == {"receivers", "exporters", "service"}


def test_storage_without_a_backend_is_refused() -> None:
    text = JAEGER[: JAEGER.index("    backends:")] + JAEGER[JAEGER.index("    metric_backends:") :]
    assert ("extensions.jaeger_storage.backends", "required-field") in errors("jaeger", text)


def test_a_typo_gets_a_hint() -> None:
    report = validate_config("jaeger", JAEGER.replace("receivers: [otlp, jaeger]", "receivers: [otpl, jaeger]"))
    assert [issue.hint for issue in report.errors] == ["did you mean otlp?"]


def test_values_with_variables_are_not_checked() -> None:
    assert errors("jaeger", JAEGER.replace("traces: primary", "traces: ${env:STORE}")) == []
    assert errors("jaeger", JAEGER.replace("[otlp, jaeger]", "${env:RECEIVERS}")) == []


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('"ratelimiting"', '"adaptive"', "strategy-type"),
        ("0.5", "1.5", "out-of-range"),
        ('"param": 2', '"param": -2', "out-of-range"),
        (
            '"service_strategies": [',
            '"service_strategies": [{"service": "api", "type": "probabilistic", "param": 0},',
            "duplicate-name",
        ),
    ],
)
def test_problems_that_jaeger_only_logs_get_warnings(old: str, new: str, rule: str) -> None:
    report = validate_config("jaeger", SAMPLING.replace(old, new, 1), kind="sampling")
    assert report.ok
    assert rule in {issue.rule for issue in report.warnings}


def test_the_ui_configuration_is_an_object_or_a_function() -> None:
    assert errors("jaeger", '{"archiveEnabled": true}', kind="ui", name="ui.json") == []
    assert errors("jaeger", "[1]", kind="ui", name="ui.json") == [("", "wrong-type")]
    assert errors("jaeger", '{"x" = 1}', kind="ui", name="ui.json") != []
    assert errors("jaeger", "// ui\nfunction UIConfig() {\n  return {};\n}\n", kind="ui", name="ui.js") == []
    assert errors("jaeger", "export default {}", kind="ui", name="ui.js") == [("", "ui-function")]


@pytest.mark.parametrize(
    "text",
    [
        "${file:jaeger.yaml}",
        (
            "receivers: ${file:receivers.yaml}\nexporters: {debug: {}}\n"
            "service: {pipelines: {traces: {receivers: [otlp], exporters: [debug]}}}"
        ),
        (
            "receivers: {otlp: {}}\nexporters: ${file:exporters.yaml}\nconnectors: ${file:connectors.yaml}\n"
            "service: {pipelines: {traces: {receivers: [otlp, forward], exporters: [debug, forward]}}}"
        ),
    ],
)
def test_a_value_from_a_variable_does_not_count_as_missing(text: str) -> None:
    assert errors("jaeger", text) == []


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ("query_interceptors: [a]", []),
        ("query_interceptors: ${env:X}", []),
        ("query_interceptors: a", [("query_interceptors", "wrong-type")]),
        ("ai: {}", []),
        ("ai: {enable_mcp: true}", []),
        ("ai: {enabled: false}", []),
        ("ai: {agent_url: '', mcp: {}}", []),
        ("ai: {agent_url: 'ws://a:1', health_check_interval: 0}", []),
        ("ai: {agent_url: '', enable_mcp: true}", []),
        ("ai: {agent_url: ''}", [("ai.agent_url", "required-field")]),
        ("ai: {agent_url: '', enable_mcp: false}", [("ai.agent_url", "required-field")]),
        ("ai: {enable_mpc: true}", [("ai.enable_mpc", "unknown-field")]),
    ],
)
def test_requirements_of_agents_and_interceptors_are_checked(fields: str, found: list[tuple[str, str]]) -> None:
    text = JAEGER.replace("    base_path: /jaeger\n", f"    base_path: /jaeger\n    {fields}\n")

    assert errors("jaeger", text) == [(f"extensions.jaeger_query.{path}", rule) for path, rule in found]
