"""prometheus.yml: what its loader refuses, with the rule and the position."""

import pytest

from apm_s3.reports import Skipped
from apm_s3.validators import validate_config

JOB = "scrape_configs:\n- job_name: a\n"
WRITE = "remote_write:\n- url: http://a\n"
CLIENT = "scrape_configs[0]"


def check(text, **options):
    return validate_config("prometheus", text, kind="config", **options)


def found(text, **options):
    return {(issue.rule, issue.path) for issue in check(text, **options).errors}


def indented(text, by=2):
    return "".join(f"{' ' * by}{line}\n" for line in text.splitlines())


def job(text):
    return JOB + indented(text)


def sd(kind, text):
    lines = text.splitlines() or ["{}"]
    return f"{JOB}  {kind}_sd_configs:\n  - {lines[0]}\n" + indented("\n".join(lines[1:]), 4)


def rule(text):
    return f"{JOB}  relabel_configs:\n  - {{{text}}}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("globals: {}", ("unknown-field", "globals")),
        ("[]", ("wrong-type", "")),
        ("global: {scrape_interval: 5}", ("duration", "global.scrape_interval")),
        ("global: {scrape_interval: 1m1h}", ("duration", "global.scrape_interval")),
        ("global: {scrape_interval: 10s, scrape_timeout: 11s}", ("timeout-over-interval", "global.scrape_timeout")),
        ("global: {scrape_timeout: 61s}", ("timeout-over-interval", "global.scrape_timeout")),
        ("global: {body_size_limit: 100}", ("size", "global.body_size_limit")),
        ("global: {sample_limit: '5'}", ("wrong-type", "global.sample_limit")),
        ("global: {sample_limit: -1}", ("out-of-range", "global.sample_limit")),
        ("global: {external_labels: {'': b}}", ("label-name", 'global.external_labels[""]')),
        (
            "global: {metric_name_validation_scheme: legacy, external_labels: {a-b: c}}",
            ("label-name", "global.external_labels.a-b"),
        ),
        ("global: {scrape_protocols: []}", ("required-field", "global.scrape_protocols")),
        ("global: {scrape_protocols: [Text]}", ("enum", "global.scrape_protocols[0]")),
        (
            "global: {scrape_protocols: [PrometheusProto, PrometheusProto]}",
            ("duplicate-name", "global.scrape_protocols[1]"),
        ),
        ("global: {metric_name_validation_scheme: x}", ("enum", "global.metric_name_validation_scheme")),
        ("global: {metric_name_escaping_scheme: x}", ("enum", "global.metric_name_escaping_scheme")),
        ("rule_files: [a/*/b.yml]", ("file-glob", "rule_files[0]")),
        ("scrape_config_files: ['*/*']", ("file-glob", "scrape_config_files[0]")),
        ("scrape_configs: [null]", ("null-section", "scrape_configs[0]")),
        ("scrape_configs: [{}]", ("required-field", "scrape_configs[0]")),
        ("scrape_configs: [{job_name: a}, {job_name: a}]", ("duplicate-name", "scrape_configs[1].job_name")),
        (job("scrape_timeout: 2m"), ("timeout-over-interval", f"{CLIENT}.scrape_timeout")),
        (job("fallback_scrape_protocol: x"), ("enum", f"{CLIENT}.fallback_scrape_protocol")),
        (
            job("metric_name_validation_scheme: legacy\nmetric_name_escaping_scheme: allow-utf-8"),
            ("cross-section", f"{CLIENT}.metric_name_escaping_scheme"),
        ),
        (job("relabel_configs: [null]"), ("null-section", f"{CLIENT}.relabel_configs[0]")),
        (job("static_configs: [null]"), ("null-section", f"{CLIENT}.static_configs[0]")),
        (job("file_sd_configs: [null]"), ("null-section", f"{CLIENT}.file_sd_configs[0]")),
        (
            "alerting: {alertmanagers: [{dns_sd_configs: [~]}]}",
            ("null-section", "alerting.alertmanagers[0].dns_sd_configs[0]"),
        ),
        (job("static_configs: [{targets: ['http://a']}]"), ("target-address", f"{CLIENT}.static_configs[0].targets[0]")),
        (job("static_configs: [{targets: [a], labels: {'': b}}]"), ("label-name", f'{CLIENT}.static_configs[0].labels[""]')),
        (job("static_configs: {targets: [a]}"), ("wrong-type", f"{CLIENT}.static_configs")),
        # relabelling
        (rule("action: x"), ("enum", f"{CLIENT}.relabel_configs[0].action")),
        (rule("action: ''"), ("enum", f"{CLIENT}.relabel_configs[0].action")),
        (rule("regex: '('"), ("regex", f"{CLIENT}.relabel_configs[0].regex")),
        (rule("regex: 'a(?=b)', target_label: a"), ("regex", f"{CLIENT}.relabel_configs[0].regex")),
        (rule("regex: a"), ("required-field", f"{CLIENT}.relabel_configs[0]")),
        (rule("source_labels: [''], target_label: a"), ("label-name", f"{CLIENT}.relabel_configs[0].source_labels[0]")),
        (rule("action: hashmod, target_label: a"), ("required-field", f"{CLIENT}.relabel_configs[0]")),
        (rule("action: labelmap, replacement: ''"), ("label-name", f"{CLIENT}.relabel_configs[0].replacement")),
        (
            rule("action: lowercase, target_label: a, replacement: b"),
            ("relabel-action-args", f"{CLIENT}.relabel_configs[0].replacement"),
        ),
        (
            rule("action: keepequal, target_label: a, regex: (.*)"),
            ("relabel-action-args", f"{CLIENT}.relabel_configs[0].regex"),
        ),
        (
            rule("action: labeldrop, regex: a, source_labels: [b]"),
            ("relabel-action-args", f"{CLIENT}.relabel_configs[0].source_labels"),
        ),
        # the HTTP client
        (job("bearer_token: a\nbearer_token_file: b"), ("auth-exclusive", f"{CLIENT}.bearer_token_file")),
        (job("bearer_token: a\nbasic_auth: {username: u}"), ("auth-exclusive", f"{CLIENT}.basic_auth")),
        (job("basic_auth: {}\nauthorization: {}"), ("auth-exclusive", f"{CLIENT}.authorization")),
        (job("basic_auth: {password: a, password_file: b}"), ("auth-exclusive", f"{CLIENT}.basic_auth.password_file")),
        (job("authorization: {type: Basic}"), ("enum", f"{CLIENT}.authorization.type")),
        (job("oauth2: {token_url: http://a}"), ("required-field", f"{CLIENT}.oauth2")),
        (
            job("oauth2: {client_id: a, token_url: b, client_secret: c, client_secret_file: d}"),
            ("auth-exclusive", f"{CLIENT}.oauth2.client_secret_file"),
        ),
        (job("tls_config: {ca: a, ca_file: b}"), ("exclusive-fields", f"{CLIENT}.tls_config.ca_file")),
        (job("tls_config: {cert_file: a}"), ("required-field", f"{CLIENT}.tls_config.cert_file")),
        (job("tls_config: {min_version: TLS14}"), ("enum", f"{CLIENT}.tls_config.min_version")),
        (job("proxy_url: ':'"), ("url", f"{CLIENT}.proxy_url")),
        (job("proxy_url: http://a\nproxy_from_environment: true"), ("exclusive-fields", f"{CLIENT}.proxy_url")),
        (job("no_proxy: a"), ("required-field", f"{CLIENT}.no_proxy")),
        (job("proxy_connect_header: {A: [b]}"), ("required-field", f"{CLIENT}.proxy_connect_header")),
        (job("http_headers: {Host: {values: [a]}}"), ("reserved-header", f"{CLIENT}.http_headers.Host")),
        (job("follow_redirects: 'yes'"), ("wrong-type", f"{CLIENT}.follow_redirects")),
        # discovery
        (sd("kubernetes", ""), ("required-field", f"{CLIENT}.kubernetes_sd_configs[0]")),
        (sd("kubernetes", "role: vacation"), ("enum", f"{CLIENT}.kubernetes_sd_configs[0].role")),
        (sd("kubernetes", "role: pod\nbearer_token: a"), ("required-field", f"{CLIENT}.kubernetes_sd_configs[0].bearer_token")),
        (
            sd("kubernetes", "role: pod\nselectors: [{role: service}]"),
            ("enum", f"{CLIENT}.kubernetes_sd_configs[0].selectors[0].role"),
        ),
        (
            sd("kubernetes", "role: pod\nselectors: [{role: pod, label: 'a in b'}]"),
            ("selector", f"{CLIENT}.kubernetes_sd_configs[0].selectors[0].label"),
        ),
        (
            sd("kubernetes", "role: pod\nselectors: [{role: pod, field: name}]"),
            ("selector", f"{CLIENT}.kubernetes_sd_configs[0].selectors[0].field"),
        ),
        (
            sd("kubernetes", "role: pod\napi_server: http://a\nkubeconfig_file: b"),
            ("exclusive-fields", f"{CLIENT}.kubernetes_sd_configs[0].kubeconfig_file"),
        ),
        (sd("file", "files: [a.txt]"), ("file-glob", f"{CLIENT}.file_sd_configs[0].files[0]")),
        (sd("dns", "names: [a]\ntype: A"), ("required-field", f"{CLIENT}.dns_sd_configs[0]")),
        (sd("dns", "names: [a]\ntype: TXT"), ("enum", f"{CLIENT}.dns_sd_configs[0].type")),
        (sd("http", "url: ftp://a"), ("url", f"{CLIENT}.http_sd_configs[0].url")),
        (sd("http", "url: http:///a"), ("url", f"{CLIENT}.http_sd_configs[0].url")),
        (sd("consul", "server: ' '"), ("required-field", f"{CLIENT}.consul_sd_configs[0].server")),
        (sd("consul", "token: a\nauthorization: {credentials: b}"), ("auth-exclusive", f"{CLIENT}.consul_sd_configs[0].token")),
        (sd("marathon", "servers: [a]\nauth_token: a\nbearer_token: b"), ("auth-exclusive", f"{CLIENT}.marathon_sd_configs[0].bearer_token")),
        (sd("azure", "subscription_id: a"), ("required-field", f"{CLIENT}.azure_sd_configs[0]")),
        (sd("ec2", "filters: [{name: a}]"), ("required-field", f"{CLIENT}.ec2_sd_configs[0].filters[0]")),
        (sd("serverset", "servers: [a]\npaths: [b]"), ("format", f"{CLIENT}.serverset_sd_configs[0].paths[0]")),
        (sd("eureka", "server: a"), ("url", f"{CLIENT}.eureka_sd_configs[0].server")),
        (sd("openstack", "role: x\nregion: r"), ("enum", f"{CLIENT}.openstack_sd_configs[0].role")),
        (sd("hetzner", "{}"), ("required-field", f"{CLIENT}.hetzner_sd_configs[0]")),
        # the other sections
        ("alerting: {alertmanagers: [{api_version: v1}]}", ("enum", "alerting.alertmanagers[0].api_version")),
        ("alerting: {alertmanagers: [{sigv4: {}, basic_auth: {}}]}", ("auth-exclusive", "alerting.alertmanagers[0].sigv4")),
        ("remote_write: [{}]", ("required-field", "remote_write[0]")),
        ("remote_write: [{url: a, name: x}, {url: b, name: x}]", ("duplicate-name", "remote_write[1].name")),
        (WRITE + "  headers: {Authorization: a}", ("reserved-header", "remote_write[0].headers.Authorization")),
        (WRITE + "  protobuf_message: x", ("enum", "remote_write[0].protobuf_message")),
        (WRITE + "  queue_config: {capacity: 0}", ("out-of-range", "remote_write[0].queue_config.capacity")),
        (WRITE + "  queue_config: {min_shards: 60}", ("out-of-range", "remote_write[0].queue_config.min_shards")),
        (WRITE + "  queue_config: {max_backoff: 1ms}", ("out-of-range", "remote_write[0].queue_config.max_backoff")),
        (WRITE + "  sigv4: {access_key: a}", ("required-field", "remote_write[0].sigv4.access_key")),
        (WRITE + "  sigv4: {}\n  basic_auth: {}", ("auth-exclusive", "remote_write[0].sigv4")),
        (WRITE + "  azuread: {cloud: x, managed_identity: {}}", ("enum", "remote_write[0].azuread.cloud")),
        (WRITE + "  azuread: {managed_identity: {client_id: x}}", ("format", "remote_write[0].azuread.managed_identity.client_id")),
        ("remote_read: [{name: a}]", ("required-field", "remote_read[0]")),
        ("otlp: {promote_resource_attributes: [a, a]}", ("duplicate-name", "otlp.promote_resource_attributes[1]")),
        (
            "global: {metric_name_validation_scheme: legacy}\notlp: {translation_strategy: NoTranslation}",
            ("cross-section", "otlp.translation_strategy"),
        ),
        ("storage: {tsdb: {retention: {percentage: 101}}}", ("out-of-range", "storage.tsdb.retention.percentage")),
        ("storage: {tsdb: {chunk_encoding: {floats: XOR}}}", ("enum", "storage.tsdb.chunk_encoding.floats")),
        ("tracing: {}", ("required-field", "tracing")),
        ("tracing: {endpoint: a, compression: zip}", ("enum", "tracing.compression")),
    ],
)  # fmt: skip
def test_configurations_that_the_loader_refuses_are_refused_at_the_right_position(text, expected):
    assert expected in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "global:\n",
        "global: {scrape_interval: 0, scrape_timeout: 30s}",
        job("job_name: 010").replace("- job_name: a\n", "- scheme: http\n"),
        job("sample_limit: 0x10\nlabel_limit: 1_000\ntarget_limit: 1e3"),
        job("honor_labels: on\nenable_http2: No"),
        job("static_configs:\n- targets: [a, 'b:90']\n- targets:\n"),
        job(
            "static_configs: [{targets: ['http://a']}]\nrelabel_configs: [{target_label: __address__, replacement: b}]"
        ),
        job("relabel_configs: [{action: DROP, source_labels: [a], regex: b}]"),
        job("relabel_configs: [{target_label: 'x${1}y', source_labels: [a]}]"),
        job("tls_config: ~\nbasic_auth:\n"),
        job("authorization: {type: '  '}"),
        job("http_headers: {X-A: {values: [a], secrets: [b], files: [c]}}"),
        sd("kubernetes", "role: pod\napi_server: https://a\nbearer_token: b"),
        sd("kubernetes", "role: pod\nkubeconfig_file: a\nfollow_redirects: true"),
        sd("kubernetes", "role: endpoints\nselectors: [{role: pod, label: 'a=b,c'}, {role: service, field: a=b}]"),
        sd("stackit", "project: x"),
        sd("consul", "services: [a]"),
        "remote_write: [{url: ''}]",
        "scrape_configs:\n- &base {job_name: a, scheme: http}\n- {<<: *base, job_name: b}",
    ],
)
def test_configurations_that_the_loader_accepts_are_accepted(text):
    assert check(text).ok, str(check(text))


def test_all_problems_are_found_at_once_in_the_order_of_the_document():
    text = "globl: {}\nscrape_configs:\n- job_nam: a\n  scheme: []\n- job_name: b\n  sample_limit: x\n"

    assert [issue.line for issue in check(text).errors] == [1, 3, 4, 6]


def test_a_field_that_could_not_be_decoded_causes_no_second_error():
    assert found("scrape_configs: [{job_name: [a]}]") == {("wrong-type", "scrape_configs[0].job_name")}


def test_a_mistyped_field_gets_a_hint():
    hints = [issue.hint for issue in check("global: {scrape_intervall: 1m}").errors]

    assert hints == ["did you mean scrape_interval?"]


@pytest.mark.parametrize(
    "text",
    [
        job("basic_auth: {username: u, password: [hunter2]}"),
        job("bearer_token: hunter2\nbasic_auth: {password: hunter2}"),
        "remote_write: [{url: 'http://u:hunter2@[::1'}]",
        job("static_configs: [{targets: ['http://u:hunter2@a/b']}]"),
        job(
            "static_configs: [{targets: [a]}]\nrelabel_configs: [{target_label: __address__, replacement: '//u:hunter2@a'}]"
        ),
        "remote_write: [{url: 'http://u:hunter2@a b'}]",
    ],
)
def test_no_report_contains_a_secret(text):
    assert "hunter2" not in str(check(text))
    assert not check(text).ok


@pytest.mark.parametrize(
    ("text", "known_from", "unknown_in"),
    [
        ("scrape_configs: [{job_name: a, fallback_scrape_protocol: PrometheusText0.0.4}]", "3.0", "2.53"),
        ("scrape_configs: [{job_name: a, enable_compression: true}]", "2.49", "2.48"),
        ("otlp: {promote_resource_attributes: [a]}", "2.55", "v2.54.1"),
        ("scrape_configs: [{job_name: a, relabel_configs: [{target_label: a-b}]}]", "3.1.0", "2.55"),
    ],
)
def test_a_target_version_refuses_what_its_release_does_not_support(text, known_from, unknown_in):
    assert check(text).ok
    assert check(text, target_version=known_from).ok
    assert not check(text, target_version=unknown_in).ok


def test_before_version_3_a_target_without_a_port_needs_a_scheme_with_a_default_port():
    text = job("scheme: gopher\nstatic_configs: [{targets: ['a:70', b]}]")

    assert check(text).ok
    assert found(text, target_version="2.53") == {("target-address", f"{CLIENT}.static_configs[0].targets[1]")}


def test_a_removed_field_is_reported_as_removed():
    text = job("scrape_classic_histograms: true")

    assert check(text, target_version="2.50").ok
    assert "removed in 3.0" in check(text).errors[0].message


def test_relabelling_that_leaves_a_target_without_an_address_is_refused():
    rules = "relabel_configs: [{source_labels: [__address__], regex: '(.*):9.*', target_label: __address__, replacement: ''}]"
    text = job(f"static_configs: [{{targets: ['a:80', 'b:90']}}]\n{rules}")

    assert found(text) == {("target-address", f"{CLIENT}.static_configs[0].targets[1]")}


def test_a_target_that_relabelling_drops_needs_no_address():
    text = job("static_configs: [{targets: ['']}]\nrelabel_configs: [{action: drop, source_labels: [job], regex: a}]")

    assert check(text).ok


def test_a_mapping_is_checked_like_its_text():
    data = {"global": {"scrape_interval": "15s"}, "scrape_configs": [{"job_name": "a", "sample_limit": "x"}]}

    assert [(issue.rule, issue.line) for issue in check(data).errors] == [("wrong-type", None)]


@pytest.mark.parametrize("text", ["rule_files: [a?b]", "remote_write: [{url: http://a/b?c=d}]"])
def test_a_question_mark_in_brackets_needs_quotes(text):
    assert [issue.rule for issue in check(text).errors] == ["yaml-syntax"]


@pytest.mark.parametrize("text", ["rule_files: ['a?b']", "rule_files:\n- a?b", "remote_write:\n- url: http://a/b?c=d"])
def test_a_question_mark_elsewhere_needs_no_quotes(text):
    assert check(text).ok


@pytest.mark.parametrize(
    "text",
    [
        "global: {external_labels: {<<: {a: c}, a: b}}",
        "global: {external_labels: {a: b, <<: {a: c}}}",
        "global: {external_labels: {<<: [{a: c}, {a: d}]}}",
        "scrape_configs: [{<<: {sample_limit: x}, job_name: a, sample_limit: 1}]",
        'rule_files: ["a\\/b"]',
    ],
)
def test_merge_keys_and_escapes_that_go_refuses_are_refused(text):
    assert not check(text).ok


@pytest.mark.parametrize(
    "text",
    [
        "global: {external_labels: {<<: {a: c}, b: b}}",
        "scrape_configs: [{<<: {sample_limit: 5}, job_name: a, sample_limit: 1}]",
        "scrape_configs: [{job_name: a, <<: {params: {a: [b]}}, params: {c: [d]}}]",
        'rule_files: ["a\\\\/b", "/a"]',
    ],
)
def test_merge_keys_and_escapes_that_go_accepts_are_accepted(text):
    assert check(text).ok


def test_targets_relabelled_by_an_oversized_pattern_are_reported_as_unchecked():
    text = job(
        "static_configs: [{targets: ['']}]\nrelabel_configs: [{action: drop, source_labels: [job], regex: '%s'}]"
    )

    assert check(text % "\\p{Greek}").skipped == (
        Skipped("relabelling", "", "the targets of a job were not relabelled: a regular expression is too large"),
    )
