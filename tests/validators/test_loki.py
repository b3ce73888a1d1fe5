"""Loki's rules: each violation is refused at its position, and nothing else is."""

from __future__ import annotations

import pytest

from apm_s3.validators import validate_config

GOOD = """\
auth_enabled: false
target: all
server:
  http_listen_port: 3100
  log_level: info
common:
  path_prefix: /loki
  replication_factor: 1
  storage:
    filesystem: {chunks_directory: /loki/chunks, rules_directory: /loki/rules}
  ring: {kvstore: {store: inmemory}}
schema_config:
  configs:
    - {from: 2020-01-01, store: tsdb, object_store: filesystem, schema: v12, index: {prefix: index_, period: 24h}}
    - {from: "2024-04-01", store: tsdb, object_store: s3, schema: v13, index: {prefix: index_, period: 24h}}
storage_config:
  tsdb_shipper: {active_index_directory: /loki/index, cache_location: /loki/cache}
ingester:
  chunk_encoding: snappy
  wal: {enabled: true, checkpoint_duration: 5m}
limits_config:
  retention_period: 744h
  ingestion_rate_mb: 8.5
  max_line_size: 256KB
  deletion_mode: filter-and-delete
  retention_stream: [{selector: '{app="x"}', priority: 1, period: 48h}]
compactor:
  working_directory: /loki/compactor
  retention_enabled: true
  delete_request_store: filesystem
  compaction_interval: 10m
querier: {max_concurrent: 4}
frontend_worker: {scheduler_address: "scheduler:9095"}
ruler:
  alertmanager_url: http://alertmanager:9093
  storage: {type: local, local: {directory: /rules}}
"""


def errors(text: str, **options: str) -> list[tuple[str, str]]:
    return [(issue.path, issue.rule) for issue in validate_config("loki", text, kind="config", **options).errors]


def test_a_complete_configuration_is_accepted() -> None:
    report = validate_config("loki", GOOD)
    assert (report.kind, report.issues) == ("config", ())


SECOND = 'from: "2024-04-01", store: tsdb, object_store: s3, schema: v13, index: {prefix: index_, period: 24h}'


@pytest.mark.parametrize(
    ("old", "new", "path", "rule"),
    [
        ("http_listen_port: 3100", "http_listen_prot: 3100", "server.http_listen_prot", "unknown-field"),
        ("log_level: info", "log_level: loud", "server.log_level", "enum"),
        ("replication_factor: 1", "replication_factor: one", "common.replication_factor", "wrong-type"),
        ("    filesystem: {chunks", "    s3: {region: x}\n    filesystem: {chunks", "common.storage", "exclusive-fields"),
        (SECOND, SECOND.replace("2024-04-01", "2024-4-1"), "schema_config.configs[1].from", "date"),
        (SECOND, SECOND.replace("2024-04-01", "2019-04-01"), "schema_config.configs[1].from", "period-order"),
        (SECOND, SECOND.replace("v13", "v12"), "schema_config.configs[1].schema", "structured-metadata"),
        (SECOND, SECOND.replace("v13", "v99"), "schema_config.configs[1].schema", "enum"),
        (SECOND, SECOND.replace("store: tsdb", "store: boltdb-shipper"), "schema_config.configs[1].store",
         "structured-metadata"),
        (SECOND, SECOND.replace("24h", "48h"), "schema_config.configs[1].index.period", "index-period"),
        (SECOND, SECOND.replace("object_store: s3", "object_store: s4"), "schema_config.configs[1].object_store",
         "unknown-object-store"),
        (SECOND, SECOND.replace("object_store: s3", "object_store: cos"), "schema_config.configs[1].object_store",
         "unknown-object-store"),
        ("tsdb_shipper:", "boltdb_shipper:", "storage_config.boltdb_shipper", "unknown-field"),
        ("chunk_encoding: snappy", "chunk_encoding: zip", "ingester.chunk_encoding", "enum"),
        ("chunk_encoding: snappy", "index_shards: 0", "ingester.index_shards", "out-of-range"),
        ("chunk_encoding: snappy", "chunk_idle_period: 30", "ingester.chunk_idle_period", "duration"),
        ("checkpoint_duration: 5m", "checkpoint_duration: 0s", "ingester.wal.checkpoint_duration", "out-of-range"),
        ("max_line_size: 256KB", "max_line_size: big", "limits_config.max_line_size", "size"),
        ("deletion_mode: filter-and-delete", "deletion_mode: all", "limits_config.deletion_mode", "enum"),
        ("period: 48h", "period: 1h", "limits_config.retention_stream[0].period", "out-of-range"),
        ("  delete_request_store: filesystem\n", "", "compactor", "required-field"),
        ("compaction_interval: 10m", "compaction_interval: 10m\n  apply_retention_interval: 15m",
         "compactor.apply_retention_interval", "out-of-range"),
        ("compaction_interval: 10m", "max_compaction_parallelism: 0", "compactor.max_compaction_parallelism",
         "out-of-range"),
        ("{max_concurrent: 4}", "{query_store_only: true, query_ingester_only: true}", "querier.query_ingester_only",
         "exclusive-fields"),
        ("{scheduler_address:", "{frontend_address: x, scheduler_address:", "frontend_worker.scheduler_address",
         "exclusive-fields"),
        ("querier:", "distributor: {ingester_writes_enabled: false}\nquerier:",
         "distributor.ingester_writes_enabled", "required-field"),
        ("querier:", "ingest_limits: {enabled: true}\nquerier:", "ingest_limits", "required-field"),
        ("  tsdb_shipper:", "  azure: {environment: Mars}\n  tsdb_shipper:", "storage_config.azure.environment", "enum"),
        ("  tsdb_shipper:", "  aws: {signature_version: v2}\n  tsdb_shipper:",
         "storage_config.aws.signature_version", "enum"),
        ("http://alertmanager:9093", "http://alertmanager:9093\n  external_url: 'http://[x'", "ruler.external_url", "url"),
    ],
)  # fmt: skip
def test_each_violated_rule_is_refused_at_its_position(old: str, new: str, path: str, rule: str) -> None:
    assert old in GOOD
    found = errors(GOOD.replace(old, new, 1))
    assert any(at.startswith(path) and of == rule for at, of in found), found


@pytest.mark.parametrize("text", ["", "{}", "auth_enabled: false\n", "schema_config: {configs: []}\n"])
def test_a_configuration_without_a_schema_is_refused(text: str) -> None:
    assert [rule for _, rule in errors(text)] == ["no-schema-config"]


def test_structured_metadata_can_be_disabled() -> None:
    old = GOOD.replace(SECOND, SECOND.replace("v13", "v12"))
    assert errors(old.replace("limits_config:", "limits_config:\n  allow_structured_metadata: false")) == []
    assert errors(old, target_version="2.9") == []


def test_object_stores_depend_on_the_client_and_may_be_named() -> None:
    cos = GOOD.replace("object_store: s3", "object_store: cos")
    assert errors(cos.replace("storage_config:", "storage_config:\n  use_thanos_objstore: false")) == []
    named = "storage_config:\n  object_store: {named_stores: {s3: {mine: {bucket_name: b}}}}"
    assert errors(GOOD.replace("object_store: s3", "object_store: mine").replace("storage_config:", named)) == []


def test_fields_depend_on_the_release() -> None:
    old = GOOD.replace("tsdb_shipper: {", "boltdb_shipper: {")
    assert errors(old, target_version="3.0") == []
    assert errors(GOOD.replace("delete_request_store: filesystem", "shared_store: s3"), target_version="2.9") == []
    new = GOOD + "pattern_ingester: {enabled: true}\n"
    assert errors(new) == []
    assert errors(new, target_version="2.9") == [("pattern_ingester", "unknown-field")]


def test_variables_are_replaced_by_their_defaults() -> None:
    text = GOOD.replace("3100", "${PORT:3100}").replace("replication_factor: 1", "replication_factor: ${FACTOR}")
    assert errors(text) == []
    assert errors(GOOD.replace("3100", "${PORT:many}")) == [("server.http_listen_port", "wrong-type")]


RULES = """\
groups:
  - name: api
    interval: 1m
    rules:
      - alert: Errors
        expr: 'sum(rate({app="api"} |= "error" | json | line_format "{{.msg}}" [5m])) by (pod) > 10'
        for: 5m
        labels: {severity: page}
        annotations: {summary: '{{ $labels.pod }}: {{ $value }}'}
      - record: api:errors
        expr: |
          sum(count_over_time({app="api"} |~ `err\\d+[(]` [1m])) # a comment (
"""


def test_rules_are_recognised_and_accepted() -> None:
    report = validate_config("loki", RULES)
    assert (report.kind, report.issues) == ("rules", ())


@pytest.mark.parametrize(
    ("old", "new", "path", "rule"),
    [
        ("    rules:", "    rule:", "groups[0].rule", "unknown-field"),
        ("[5m])) by", "[5m]) by", "groups[0].rules[0].expr", "logql"),
        ("- alert: Errors\n", "- alert: Errors\n        record: x\n", "groups[0].rules[0].alert", "exclusive-fields"),
        ("name: api", "name: ''", "groups[0].name", "required-field"),
        ("{{ $value }}", "{{ $valu }}", "groups[0].rules[0].annotations.summary", "template"),
    ],
)
def test_each_violated_rule_for_rule_files_is_refused(old: str, new: str, path: str, rule: str) -> None:
    found = [
        (issue.path, issue.rule) for issue in validate_config("loki", RULES.replace(old, new, 1), kind="rules").errors
    ]
    assert (path, rule) in found, found


@pytest.mark.parametrize(
    ("expression", "line", "column"),
    [
        ("sum(rate({app=x}[5m]))", 1, 15),
        ("sum(\n  rate({app='x'}[5m])\n)", 2, 13),
        ('rate({app="x"} |= error [5m])', 1, 19),
        ('sum(rate({app="x"}))', 1, 19),
    ],
)
def test_an_error_in_logql_has_the_position_of_its_token(expression: str, line: int, column: int) -> None:
    text = "groups:\n- name: g\n  rules:\n  - record: r\n    expr: |\n"
    text += "".join(f"      {part}\n" for part in expression.split("\n"))

    found = validate_config("loki", text, kind="rules").errors

    assert [(issue.rule, issue.line, issue.column) for issue in found] == [("logql", line + 5, column + 6)]
