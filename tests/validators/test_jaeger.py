"""Jaeger's rules: each violation is refused at its position, and nothing else is."""

from __future__ import annotations

import pytest

from apm_s3.validators import validate_config

GOOD = """\
service:
  extensions: [jaeger_storage, jaeger_query, remote_sampling, healthcheckv2]
  pipelines:
    traces:
      receivers: [otlp, jaeger]
      processors: [batch]
      exporters: [jaeger_storage_exporter, spanmetrics]
    metrics/spanmetrics:
      receivers: [spanmetrics]
      exporters: [prometheus]
  telemetry:
    resource:
      service.name: jaeger
    logs:
      level: info
extensions:
  healthcheckv2:
    use_v2: true
    http:
  jaeger_query:
    base_path: /jaeger
    storage:
      traces: primary
      traces_archive: archive
      metrics: spm
  jaeger_storage:
    backends:
      primary:
        memory:
          max_traces: 100000
      archive:
        elasticsearch:
          server_urls: ["${env:ES_URL:-http://localhost:9200}"]
    metric_backends:
      spm:
        prometheus:
          endpoint: http://prometheus:9090
  remote_sampling:
    adaptive:
      sampling_store: primary
    http:
receivers:
  otlp:
    protocols:
      grpc:
  jaeger:
    protocols:
      grpc:
processors:
  batch:
exporters:
  jaeger_storage_exporter:
    trace_storage: primary
  prometheus:
    endpoint: 0.0.0.0:8889
connectors:
  spanmetrics:
"""


def errors(text: str, kind: str = "config", name: str | None = None) -> list[tuple[str, str]]:
    report = validate_config("jaeger", text, kind=kind, name=name)
    return [(issue.path, issue.rule) for issue in report.errors]


def test_a_complete_configuration_is_accepted() -> None:
    report = validate_config("jaeger", GOOD)
    assert report.kind == "config"
    assert report.issues == ()


@pytest.mark.parametrize(
    ("old", "new", "path", "rule"),
    [
        ("connectors:\n", "connector:\n", "connector", "unknown-field"),
        ("  batch:\nexporters", "  batch/:\nexporters", 'processors["batch/"]', "component-id"),
        ("  otlp:\n", "  otpl:\n", "receivers.otpl", "component-type"),
        ("  jaeger_query:\n    base", "  jaeger_mcp:\n  jaeger_query:\n    base", "extensions.jaeger_mcp", "component-type"),
        ("exporters: [prometheus]", "exporters: [prom]", 'service.pipelines["metrics/spanmetrics"].exporters[0]',
         "undefined-reference"),
        ("healthcheckv2]", "pprof]", "service.extensions[3]", "undefined-reference"),
        ("processors: [batch]", "processors: [batch, batch]", "service.pipelines.traces.processors[1]", "duplicate"),
        ("processors: [batch]", "processors: batch", "service.pipelines.traces.processors", "wrong-type"),
        ("receivers: [otlp, jaeger]", "receivers: []", "service.pipelines.traces.receivers", "required"),
        ("exporters: [prometheus]", "exporters:", 'service.pipelines["metrics/spanmetrics"].exporters', "required"),
        ("metrics/spanmetrics:", "spans:", "service.pipelines.spans", "pipeline-id"),
        ("exporters: [jaeger_storage_exporter, spanmetrics]", "exporters: [jaeger_storage_exporter]",
         'service.pipelines["metrics/spanmetrics"].receivers[0]', "connector-unused"),
        ("receivers: [spanmetrics]", "receivers: [otlp]", "service.pipelines.traces.exporters[1]", "connector-unused"),
        ("receivers: [otlp, jaeger]", "receivers: [otlp, spanmetrics]", "service.pipelines.traces.exporters[1]",
         "connector-cycle"),
        ("    logs:\n      level", "    log:\n      level", "service.telemetry.log", "unknown-field"),
        ("base_path: /jaeger", "base_path: jaeger", "extensions.jaeger_query.base_path", "base-path"),
        ("base_path: /jaeger", "base_path: /a/../b", "extensions.jaeger_query.base_path", "base-path"),
        ("      traces: primary\n", "", "extensions.jaeger_query.storage.traces", "required"),
        ("      traces: primary\n", "      traces: other\n", "extensions.jaeger_query.storage.traces",
         "undefined-reference"),
        ("metrics: spm", "metrics: primary", "extensions.jaeger_query.storage.metrics", "undefined-reference"),
        ("    trace_storage: primary", "    trace_storage: none", "exporters.jaeger_storage_exporter.trace_storage",
         "undefined-reference"),
        ("    trace_storage: primary", "", "exporters.jaeger_storage_exporter.trace_storage", "required"),
        ("base_path: /jaeger", "trace_storage_archive: x", "extensions.jaeger_query.trace_storage_archive",
         "unknown-field"),
        ("max_traces: 100000", "max_spans: 1", "extensions.jaeger_storage.backends.primary.memory.max_spans",
         "unknown-field"),
        ("        memory:\n", "        memroy:\n", "extensions.jaeger_storage.backends.primary.memroy", "unknown-field"),
        ("          max_traces: 100000\n", "          max_traces: 1\n        badger:\n          ephemeral: true\n",
         "extensions.jaeger_storage.backends.primary", "exactly-one"),
        ("sampling_store: primary", "sampling_store: nowhere", "extensions.remote_sampling.adaptive.sampling_store",
         "undefined-reference"),
        ("    adaptive:\n", "    file:\n      path: x\n    adaptive:\n", "extensions.remote_sampling", "exactly-one"),
    ],
)  # fmt: skip
def test_each_violated_rule_is_refused_at_its_position(old: str, new: str, path: str, rule: str) -> None:
    assert old in GOOD
    assert (path, rule) in errors(GOOD.replace(old, new, 1))


def test_missing_sections_are_reported_by_name() -> None:
    found = errors("processors: {batch: }\n")
    assert {path for path, rule in found if rule == "required"} == {"receivers", "exporters", "service"}


def test_storage_without_a_backend_is_refused() -> None:
    text = GOOD[: GOOD.index("    backends:")] + GOOD[GOOD.index("    metric_backends:") :]
    assert ("extensions.jaeger_storage.backends", "required") in errors(text)


def test_a_typo_gets_a_hint() -> None:
    report = validate_config("jaeger", GOOD.replace("receivers: [otlp, jaeger]", "receivers: [otpl, jaeger]"))
    assert [issue.hint for issue in report.errors] == ["did you mean otlp?"]


def test_values_with_variables_are_not_checked() -> None:
    assert errors(GOOD.replace("traces: primary", "traces: ${env:STORE}")) == []
    assert errors(GOOD.replace("[otlp, jaeger]", "${env:RECEIVERS}")) == []


SAMPLING = """{"default_strategy": {"type": "probabilistic", "param": 0.5},
 "service_strategies": [{"service": "api", "type": "ratelimiting", "param": 2,
   "operation_strategies": [{"operation": "GET /", "type": "probabilistic", "param": 1}]}]}"""


def test_sampling_strategies_are_recognised_and_accepted() -> None:
    report = validate_config("jaeger", SAMPLING)
    assert (report.kind, report.issues) == ("sampling", ())


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("0.5", '"0.5"', "default_strategy.param"),
        ('"probabilistic", "param": 0.5', '1, "param": 0.5', "default_strategy.type"),
        ('"api"', "[]", "service_strategies[0].service"),
        ('[{"service"', '{"x": [{"service"', "service_strategies"),
    ],
)
def test_json_of_the_wrong_type_is_refused(old: str, new: str, path: str) -> None:
    text = SAMPLING.replace(old, new, 1) + ("}" if new.startswith("{") else "")
    assert (path, "wrong-type") in errors(text, "sampling")


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('"ratelimiting"', '"adaptive"', "strategy-type"),
        ("0.5", "1.5", "range"),
        ('"param": 2', '"param": -2', "range"),
        (
            '"service_strategies": [',
            '"service_strategies": [{"service": "api", "type": "probabilistic", "param": 0},',
            "duplicate",
        ),
    ],
)
def test_problems_that_jaeger_only_logs_get_warnings(old: str, new: str, rule: str) -> None:
    report = validate_config("jaeger", SAMPLING.replace(old, new, 1), kind="sampling")
    assert report.ok
    assert rule in {issue.rule for issue in report.warnings}


def test_the_ui_configuration_is_an_object_or_a_function() -> None:
    assert errors('{"archiveEnabled": true}', "ui", "ui.json") == []
    assert errors("[1]", "ui", "ui.json") == [("", "wrong-type")]
    assert errors('{"x" = 1}', "ui", "ui.json") != []
    assert errors("// ui\nfunction UIConfig() {\n  return {};\n}\n", "ui", "ui.js") == []
    assert errors("export default {}", "ui", "ui.js") == [("", "ui-function")]


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
    assert errors(text) == []


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
        ("ai: {agent_url: ''}", [("ai.agent_url", "required")]),
        ("ai: {agent_url: '', enable_mcp: false}", [("ai.agent_url", "required")]),
        ("ai: {enable_mpc: true}", [("ai.enable_mpc", "unknown-field")]),
    ],
)
def test_requirements_of_agents_and_interceptors_are_checked(fields: str, found: list[tuple[str, str]]) -> None:
    text = GOOD.replace("    base_path: /jaeger\n", f"    base_path: /jaeger\n    {fields}\n")

    assert errors(text) == [(f"extensions.jaeger_query.{path}", rule) for path, rule in found]
