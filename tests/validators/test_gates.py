"""Version gates: what a release of a tool accepts, by its changelog, and by its own program if it is installed."""

import re
import shutil
import subprocess

import pytest

from apm_s3.validators import validate_config
from tests.validators.fields import documents, is_known, says_unknown

NOT_IN_DEBIAN = re.compile(r"(azure|consul|kuma|nomad)_sd_configs|azuread|jira")


def job(text):
    return f"scrape_configs: [{{job_name: a, {text}}}]"


def discovery(text):
    return job(f"{text.partition(':')[0]}_sd_configs: [{{{text.partition(':')[2]}}}]")


def rule(expression):
    return f"groups: [{{name: a, rules: [{{record: a, expr: '{expression}'}}]}}]"


def alert(text):
    return f"groups: [{{name: a, rules: [{{alert: a, expr: up, annotations: {{a: '{text}'}}}}]}}]"


PROMETHEUS = [
    (job("keep_dropped_targets: 1"), "2.47", "2.46"),
    (job("track_timestamps_staleness: true"), "2.48", "2.47"),
    (job("enable_compression: false"), "2.49", "2.48"),
    (job("scrape_protocols: [PrometheusProto]"), "2.49", "2.48"),
    (job("scrape_protocols: [PrometheusText1.0.0]"), "3.0", "2.55"),
    (job("native_histogram_min_bucket_factor: 1.1"), "2.50", "2.49"),
    (job("scrape_failure_log_file: a"), "2.55", "2.54"),
    (job("metric_name_validation_scheme: legacy"), "2.55", "2.54"),
    (job("fallback_scrape_protocol: PrometheusText0.0.4"), "3.0", "2.55"),
    (job("convert_classic_histograms_to_nhcb: true"), "3.0", "2.55"),
    (job("metric_name_escaping_scheme: dots"), "3.4", "3.3"),
    (job("scrape_native_histograms: true"), "3.8", "3.7"),
    (job("extra_scrape_metrics: true"), "3.10", "3.9"),
    (job("oauth2: {client_id: a, token_url: 'http://a', grant_type: client_credentials}"), "3.8", "3.7"),
    ("global: {convert_classic_histograms_to_nhcb: true}", "3.4", "3.3"),
    ("global: {always_scrape_classic_histograms: true}", "3.5", "3.4"),
    ("global: {rule_query_offset: 1m}", "2.53", "2.52"),
    ("runtime: {gogc: 75}", "2.53", "2.52"),
    ("runtime: {log_level: debug}", "3.15", "3.14"),
    ("otlp: {promote_resource_attributes: [a]}", "2.55", "2.54"),
    ("otlp: {translation_strategy: NoUTF8EscapingWithSuffixes}", "3.0", "2.55"),
    ("otlp: {translation_strategy: NoTranslation}", "3.4", "3.3"),
    ("otlp: {translation_strategy: UnderscoreEscapingWithoutSuffixes}", "3.6", "3.5"),
    ("otlp: {promote_scope_metadata: true}", "3.6", "3.5"),
    ("storage: {tsdb: {retention: {time: 30d}}}", "3.10", "3.9"),
    ("storage: {tsdb: {retention: {percentage: 80}}}", "3.11", "3.10"),
    ("storage: {tsdb: {chunk_encoding: {floats: xor2}}}", "3.13", "3.12"),
    ("remote_read: [{url: 'http://a', chunked_read_limit: 1}]", "2.55", "2.54"),
    ("remote_write: [{url: 'http://a', protobuf_message: prometheus.WriteRequest}]", "2.54", "2.53"),
    ("remote_write: [{url: 'http://a', google_iam: {}}]", "2.55", "2.54"),
    ("remote_write: [{url: 'http://a', round_robin_dns: true}]", "3.1", "3.0"),
    ("remote_write: [{url: 'http://a', sigv4: {role_arn: a, external_id: b}}]", "3.11", "3.10"),
    ("remote_write: [{url: 'http://a', sigv4: {session_name: a, tags: {b: c}}}]", "3.15", "3.14"),
    ("remote_write: [{url: 'http://a', azuread: {sdk: {}}}]", "2.52", "2.51"),
    ("remote_write: [{url: 'http://a', azuread: {managed_identity: {}}}]", "3.5", "3.4"),
    ("remote_write: [{url: 'http://a', azuread: {scope: a, sdk: {}}}]", "3.9", "3.8"),
    ("alerting: {alertmanagers: [{sigv4: {}}]}", "2.48", "2.47"),
    ("alerting: {alertmanagers: [{alert_relabel_configs: []}]}", "2.51", "2.50"),
    (discovery("dns:names: [a], type: NS, port: 1"), "2.49", "2.48"),
    (discovery("linode:region: a"), "2.52", "2.51"),
    (discovery("docker:host: 'unix:///a', match_first_network: true"), "2.54", "2.53"),
    (discovery("openstack:role: loadbalancer, region: a"), "3.2", "3.1"),
    (discovery("stackit:project: a"), "3.5", "3.4"),
    (discovery("hetzner:role: robot, label_selector: a"), "3.5", "3.4"),
    (discovery("aws:role: ec2"), "3.8", "3.7"),
    (discovery("aws:role: msk"), "3.10", "3.9"),
    (discovery("aws:role: rds"), "3.11", "3.10"),
    (discovery("kubernetes:role: pod, attach_metadata: {namespace: true}"), "3.6", "3.5"),
    (discovery("kubernetes:role: pod, attach_metadata: {deployment: true}"), "3.11", "3.10"),
    (discovery("kubernetes:role: pod, selectors: [{role: node, label: a=b}]"), "3.11", "3.10"),
    (discovery("azure:subscription_id: a, authentication_method: SDK"), "2.52", "2.51"),
    (discovery("azure:subscription_id: a, authentication_method: WorkloadIdentity"), "3.11", "3.10"),
    (discovery("consul:filter: a"), "3.0", "2.55"),
    (discovery("digitalocean:role: databases"), "3.12", "3.11"),
    (discovery("ec2:region: a, external_id: b"), "3.12", "3.11"),
    (discovery("oci:region: a, auth: instance_principal"), "3.14", "3.13"),
    (rule("a + 1_000"), "2.54", "2.53"),
    (rule("time() - a > 10m"), "2.54", "2.53"),
    (rule("rate(a[300])"), "2.54", "2.53"),
    (rule("histogram_avg(a)"), "2.51", "2.50"),
    (rule('sum by ("a") (b)'), "2.55", "2.54"),
    (rule("a </ 5"), "3.11", "3.10"),
    (rule("rate(a[5m * 2])"), "3.14", "3.13"),
    (rule("first_over_time(a[5m])"), "3.14", "3.13"),
    (alert("{{ toDuration 5 }}"), "3.6", "3.5"),
    (alert("{{ urlQueryEscape $labels.a }}"), "3.8", "3.7"),
    ("groups: [{name: a, query_offset: 1m, rules: []}]", "2.53", "2.52"),
    ("groups: [{name: a, labels: {b: c}, rules: []}]", "3.0", "2.55"),
]


@pytest.mark.parametrize(("text", "known_from", "unknown_in"), PROMETHEUS)
def test_prometheus_accepts_it_from_that_release_on(text, known_from, unknown_in):
    kind = "rules" if text.startswith("groups") else "config"

    verdicts = [
        validate_config("prometheus", text, kind=kind, target_version=version).ok
        for version in (None, known_from, unknown_in)
    ]

    assert verdicts == [True, True, False]


@pytest.mark.parametrize(
    ("text", "last", "removed_in"),
    [
        (job("scrape_classic_histograms: true"), "2.55", "3.0"),
        ("alerting: {alertmanagers: [{api_version: v1}]}", "2.55", "3.0"),
        ("remote_write: [{url: 'http://a', queue_config: {capacity: 0}}]", "3.11", "3.12"),
    ],
)
def test_prometheus_accepts_it_only_before_that_release(text, last, removed_in):
    assert validate_config("prometheus", text, target_version=last).ok
    assert not validate_config("prometheus", text, target_version=removed_in).ok


def receiver(text):
    return f"route: {{receiver: a}}\nreceivers: [{{name: a, {text}}}]"


def integration(kind, text):
    return receiver(f"{kind}_configs: [{{{text}}}]")


ALERTMANAGER_GATES = [
    (integration("msteams", "webhook_url: 'http://a'"), "0.26", "0.25"),
    (integration("webhook", "url_file: a"), "0.26", "0.25"),
    (integration("discord", "webhook_url_file: a"), "0.27", "0.26"),
    (integration("msteamsv2", "webhook_url: 'http://a'"), "0.28", "0.27"),
    (integration("jira", "project: a, issue_type: b, api_url: 'http://a'"), "0.28", "0.27"),
    (integration("rocketchat", "token: a, token_id: b"), "0.28", "0.27"),
    (integration("webhook", "url: 'http://a', timeout: 1s"), "0.28", "0.27"),
    (integration("webhook", "url: 'http://a', http_config: {http_headers: {a: {values: [b]}}}"), "0.28", "0.27"),
    (integration("incidentio", "url: 'http://a', alert_source_token: a"), "0.29", "0.28"),
    (integration("jira", "project: a, issue_type: b, api_url: 'http://a', api_type: auto"), "0.29", "0.28"),
    (integration("pushover", "user_key: a, token: b, monospace: true"), "0.29", "0.28"),
    (integration("mattermost", "webhook_url: 'http://a'"), "0.30", "0.29"),
    (integration("slack", "app_token: a"), "0.30", "0.29"),
    (integration("pagerduty", "routing_key: a, timeout: 1s"), "0.30", "0.29"),
    (integration("telegram", "bot_token: a, chat_id_file: b"), "0.31", "0.30"),
    (integration("slack", "api_url: 'http://a', message_text: b"), "0.31", "0.30"),
    (integration("webhook", "url: 'http://a', payload: {b: c}"), "0.32", "0.31"),
    (integration("slack", "app_token: a, update_message: true"), "0.32", "0.31"),
    (integration("sns", "topic_arn: a, use_aws_http_client: true"), "0.33", "0.32"),
    (receiver("labels: {b: c}"), "0.33", "0.32"),
    (integration("sns", "topic_arn: a, sigv4: {role_arn: b, external_id: c}"), "0.34", "0.33"),
    (integration("incidentio", "url: 'http://a', alert_source_token: a, metadata: {b: c}"), "0.35", "0.34"),
    ("tracing: {endpoint: 'a:1'}\n" + receiver(""), "0.30", "0.29"),
    ("inhibit_rules: [{name: b, source_matchers: [a=b]}]\n" + receiver(""), "0.30", "0.29"),
    ("event_recorder: {file_outputs: [{path: b}]}\n" + receiver(""), "0.33", "0.32"),
    ("event_recorder: {stdout_outputs: [{}]}\n" + receiver(""), "0.34", "0.33"),
    ("event_recorder: {stdout_outputs: [{name: a}]}\n" + receiver(""), "0.35", "0.34"),
    ("route: {receiver: a, labels: {b: c}}\nreceivers: [{name: a}]", "0.34", "0.33"),
]


@pytest.mark.parametrize(("text", "known_from", "unknown_in"), ALERTMANAGER_GATES)
def test_alertmanager_accepts_it_from_that_release_on(text, known_from, unknown_in):
    verdicts = [
        validate_config("alertmanager", text, kind="config", target_version=version).ok
        for version in (None, known_from, unknown_in)
    ]

    assert verdicts == [True, True, False]


@pytest.mark.parametrize(
    ("name", "known_from", "unknown_in"),
    [("tz", "0.28", "0.27"), ("toJson", "0.30", "0.29"), ("now", "0.33", "0.32"), ("toDate", "0.34", "0.33")],
)
def test_alertmanager_templates_have_a_function_from_that_release_on(name, known_from, unknown_in):
    text = f'{{{{ define "a" }}}}{{{{ {name} . }}}}{{{{ end }}}}'

    verdicts = [
        validate_config("alertmanager", text, kind="templates", target_version=version).ok
        for version in (None, known_from, unknown_in)
    ]

    assert verdicts == [True, True, False]


def test_an_event_recorder_output_needs_a_name_from_0_35_on():
    text = "event_recorder: {stdout_outputs: [{}]}\n" + receiver("")

    assert not validate_config("alertmanager", text, kind="config", target_version="0.35").ok


def test_a_field_of_a_later_release_is_reported_as_such():
    report = validate_config("prometheus", job("enable_compression: true"), target_version="2.48")

    assert [issue.message for issue in report.errors] == [
        "field 'enable_compression' was added in 2.49, but the target version is 2.48"
    ]


LOKI = """\
schema_config:
  configs: [{from: 2024-01-01, store: tsdb, object_store: filesystem, schema: v13, index: {prefix: a, period: 24h}}]
"""
LOKI_GATES = [
    ("limits_config: {discover_service_name: [a]}", "3.0", "2.9"),
    ("limits_config: {otlp_config: {}}", "3.0", "2.9"),
    ("limits_config: {split_metadata_queries_by_interval: 1h}", "3.0", "2.9"),
    ("pattern_ingester: {enabled: true}", "3.0", "2.9"),
    ("metrics_namespace: a", "3.0", "2.9"),
    ("query_range: {cache_instant_metric_results: true}", "3.0", "2.9"),
    ("chunk_store_config: {l2_chunk_cache_handoff: 1h}", "3.0", "2.9"),
    ("ingester: {flush_op_backoff: {}}", "3.1", "3.0"),
    ("ingester: {owned_streams_check_interval: 30s}", "3.1", "3.0"),
    ("limits_config: {tsdb_precompute_chunks: true}", "3.1", "3.0"),
    ("frontend_worker: {query_scheduler_grpc_client: {}}", "3.1", "3.0"),
    ("bloom_build: {enabled: true}", "3.1", "3.0"),
    ("common: {storage: {s3: {disable_dualstack: true}}}", "3.1", "3.0"),
    ("kafka_config: {topic: a}", "3.2", "3.1"),
    ("profiling: {cpu_profile_rate: 1}", "3.2", "3.1"),
    ("limits_config: {block_ingestion_status_code: 200}", "3.2", "3.1"),
    ("compactor: {retention_backoff_config: {}}", "3.3", "3.2"),
    ("distributor: {push_worker_count: 1}", "3.3", "3.2"),
    ("ingester: {kafka_ingestion: {enabled: false}}", "3.3", "3.2"),
    ("querier: {query_partition_ingesters: true}", "3.3", "3.2"),
    ("storage_config: {use_thanos_objstore: false}", "3.3", "3.2"),
    ("limits_config: {bloom_planning_strategy: split_keyspace_by_factor}", "3.3", "3.2"),
    ("limits_config: {metric_aggregation_enabled: true}", "3.3", "3.2"),
    ("limits_config: {bloom_prefetch_blocks: true}", "3.4", "3.3"),
    ("limits_config: {discover_generic_fields: {}}", "3.4", "3.3"),
    ("limits_config: {shard_streams: {time_sharding_enabled: true}}", "3.4", "3.3"),
    ("chunk_store_config: {skip_query_writeback_cache_older_than: 1h}", "3.4", "3.3"),
    ("frontend: {support_parquet_encoding: true}", "3.4", "3.3"),
    ("analytics: {tls_config: {}}", "3.4", "3.3"),
    ("common: {storage: {alibabacloud: {conn_timeout_sec: 1}}}", "3.4", "3.3"),
    ("server: {cluster_validation: {}}", "3.4", "3.3"),
    ("ui: {enabled: true}", "3.5", "3.4"),
    ("distributor: {ingest_limits_enabled: true}", "3.5", "3.4"),
    ("ingest_limits: {enabled: false}", "3.5", "3.4"),
    ("compactor: {delete_request_store_db_type: sqlite}", "3.5", "3.4"),
    ("common: {storage: {s3: {chunk_delimiter: '-'}}}", "3.5", "3.4"),
    ("common: {storage: {gcs: {endpoint: a}}}", "3.5", "3.4"),
    ("limits_config: {policy_stream_mapping: {}}", "3.5", "3.4"),
    ("limits_config: {simulated_push_latency: 1s}", "3.5", "3.4"),
    ("compactor: {jobs_config: {}}", "3.6", "3.5"),
    ("distributor: {max_recv_msg_size: 1}", "3.6", "3.5"),
    ("limits_config: {max_line_size_truncate_identifier: a}", "3.6", "3.5"),
    ("limits_config: {pattern_persistence_enabled: true}", "3.6", "3.5"),
    ("tenant_limits_allow_publish: [a]", "3.6", "3.5"),
    ("query_engine: {enable: true}", "3.7", "3.6"),
    ("ingester: {delegate_stream_limits_enabled: true}", "3.7", "3.6"),
    ("compactor: {deletion_marker_object_store_prefix: a/}", "3.7", "3.6"),
    ("distributor: {circuit_breaker: {}}", "3.8", "3.7"),
    ("distributor: {max_inflight_bytes: 1}", "3.8", "3.7"),
    ("lbac: {enabled: true}", "3.8", "3.7"),
]


def loki(text, version):
    return validate_config("loki", f"{LOKI}{text}\n", kind="config", target_version=version).ok


@pytest.mark.parametrize(("text", "known_from", "unknown_in"), LOKI_GATES)
def test_loki_accepts_it_from_that_release_on(text, known_from, unknown_in):
    assert [loki(text, version) for version in (None, known_from, unknown_in)] == [True, True, False]


@pytest.mark.parametrize(
    ("text", "last", "removed_in"),
    [
        ("limits_config: {enforce_metric_name: false}", "2.9", "3.0"),
        ("compactor: {shared_store: s3}", "2.9", "3.0"),
        ("storage_config: {tsdb_shipper: {shared_store: s3}}", "2.9", "3.0"),
        ("chunk_store_config: {max_look_back_period: 0s}", "2.9", "3.0"),
        ("querier: {engine: {timeout: 3m}}", "2.9", "3.0"),
        ("frontend_worker: {parallelism: 10}", "2.9", "3.0"),
        ("bloom_compactor: {enabled: true}", "3.1", "3.2"),
        ("limits_config: {bloom_ngram_length: 4}", "3.2", "3.3"),
        ("distributor: {tenant_topic: {enabled: true}}", "3.5", "3.6"),
        ("chunk_store_config: {write_dedupe_cache_config: {}}", "3.7", "3.8"),
        ("limits_config: {per_tenant_override_config: a}", "3.7", "3.8"),
        ("storage_config: {boltdb_shipper: {active_index_directory: a}}", "3.7", "3.8"),
        ("table_manager: {retention_period: 0s}", "3.7", "3.8"),
        ("ruler: {remote_write: {client: {url: 'http://a'}}}", "3.7", "3.8"),
    ],
)
def test_loki_accepts_it_only_before_that_release(text, last, removed_in):
    assert [loki(text, version) for version in (None, last, removed_in)] == [False, True, False]


def ask(command, paths, folder):
    """What `command` says of each of `paths`."""
    said = {}
    for start in range(0, len(paths), 200):
        batch = [str(path) for path in paths[start : start + 200]]
        shown = subprocess.run([*command, *batch], capture_output=True, text=True, timeout=120)
        # Each message has the name of its file, or stands between the names of two.
        for line in (shown.stdout + shown.stderr).split(str(folder))[1:]:
            said[line.split(".yml")[0].strip("/")] = said.get(line.split(".yml")[0].strip("/"), "") + line
    return said


def differences(command, tool, kind, root, release, folder):
    """The fields on which the tool's own program and we disagree."""
    fields = documents(tool, root)
    paths = []
    for index, text in enumerate(fields.values()):
        paths.append(folder / f"{index}.yml")
        paths[-1].write_text(text, encoding="utf-8")
    said = ask(command, paths, folder)
    assert len(said) == len(paths)
    return [
        (owner, name)
        for index, ((owner, name), text) in enumerate(fields.items())
        if not NOT_IN_DEBIAN.search(text)
        and says_unknown(said[str(index)], name)
        == is_known(validate_config(tool, text, kind=kind, target_version=release), name)
    ]


def release_of(program):
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True)
    return re.search(r"version (\d+\.\d+)", shown.stdout + shown.stderr)[1]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("kind", ["config", "rules"])
def test_promtool_knows_the_fields_listed_for_its_release(kind, tmp_path):
    root = "prometheus/config.Config" if kind == "config" else "model/rulefmt.RuleGroups"
    flags = ["--syntax-only"] if kind == "config" else []
    command = ["promtool", "check", kind, *flags, "--lint=none"]

    assert differences(command, "prometheus", kind, root, release_of("promtool"), tmp_path) == []


@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed")
def test_amtool_knows_the_fields_listed_for_its_release(tmp_path):
    command = ["amtool", "check-config"]
    release = release_of("amtool")

    assert differences(command, "alertmanager", "config", "alertmanager/config.Config", release, tmp_path) == []
