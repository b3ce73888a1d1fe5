"""Which release of Prometheus knows which field, from 2.45 on.

From https://github.com/prometheus/prometheus/blob/main/CHANGELOG.md. A field without an entry is taken to be as old
as 2.45.
"""

from __future__ import annotations

from collections.abc import Iterable

from apm_s3.validators.decoding.schema import Gate, Gates

_HTTP_CLIENT = {"http_headers": (2, 53)}
_SCRAPE = {
    "native_histogram_bucket_limit": (2, 45),
    "keep_dropped_targets": (2, 47),
    "track_timestamps_staleness": (2, 48),
    "enable_compression": (2, 49),
    "scrape_protocols": (2, 49),
    "native_histogram_min_bucket_factor": (2, 50),
    "metric_name_validation_scheme": (2, 54),
    "scrape_failure_log_file": (2, 55),
    "always_scrape_classic_histograms": (3, 0),
    "convert_classic_histograms_to_nhcb": (3, 0),
    "fallback_scrape_protocol": (3, 0),
    "metric_name_escaping_scheme": (3, 4),
    "scrape_native_histograms": (3, 8),
    "extra_scrape_metrics": (3, 9),
}
_DISCOVERY = {
    "stackit_sd_configs": (3, 5),
    "aws_sd_configs": (3, 8),
    "ecs_sd_configs": (3, 8),
    "msk_sd_configs": (3, 9),
    "elasticache_sd_configs": (3, 10),
    "rds_sd_configs": (3, 11),
    "oci_sd_configs": (3, 11),
    "outscale_sd_configs": (3, 11),
}
_SINCE: dict[str, dict[str, tuple[int, int]]] = {
    "common/config.OAuth2": {
        "audience": (3, 6),
        "claims": (3, 6),
        "client_certificate_key": (3, 6),
        "client_certificate_key_file": (3, 6),
        "client_certificate_key_id": (3, 6),
        "client_certificate_key_ref": (3, 6),
        "grant_type": (3, 6),
        "iss": (3, 6),
        "signature_algorithm": (3, 6),
    },
    "discovery/consul.SDConfig": {"health_filter": (3, 0)},
    "discovery/aws.EC2SDConfig": {"external_id": (3, 8)},
    "discovery/aws.LightsailSDConfig": {"external_id": (3, 8)},
    "discovery/digitalocean.SDConfig": {"role": (3, 11), "httpclient": (3, 11)},
    "discovery/hetzner.SDConfig": {"label_selector": (3, 5)},
    "discovery/kubernetes.AttachMetadataConfig": {
        "namespace": (3, 6),
        "cronjob": (3, 10),
        "deployment": (3, 10),
        "job": (3, 10),
    },
    "discovery/linode.SDConfig": {"region": (2, 52)},
    "discovery/moby.DockerSDConfig": {"match_first_network": (2, 54)},
    "discovery/xds.SDConfig": {"client_id": (2, 50)},
    "model/rulefmt.RuleGroup": {"query_offset": (2, 53), "labels": (3, 0)},
    "prometheus/config.AlertmanagerConfig": {"sigv4": (2, 48), "alert_relabel_configs": (2, 51), **_DISCOVERY},
    "prometheus/config.Config": {"runtime": (2, 53), "otlp": (2, 54)},
    "prometheus/config.GlobalConfig": {
        "keep_dropped_targets": (2, 47),
        "scrape_protocols": (2, 49),
        "rule_query_offset": (2, 53),
        "metric_name_validation_scheme": (2, 54),
        "scrape_failure_log_file": (2, 55),
        "metric_name_escaping_scheme": (3, 4),
        "always_scrape_classic_histograms": (3, 5),
        "convert_classic_histograms_to_nhcb": (3, 5),
        "scrape_native_histograms": (3, 8),
        "extra_scrape_metrics": (3, 9),
    },
    "prometheus/config.OTLPConfig": {
        "promote_resource_attributes": (2, 54),
        "translation_strategy": (3, 0),
        "keep_identifying_resource_attributes": (3, 1),
        "convert_histograms_to_nhcb": (3, 4),
        "promote_all_resource_attributes": (3, 5),
        "ignore_resource_attributes": (3, 5),
        "promote_scope_metadata": (3, 6),
        "label_name_underscore_sanitization": (3, 8),
        "label_name_preserve_multiple_underscores": (3, 8),
    },
    "prometheus/config.RemoteReadConfig": {"chunked_read_limit": (2, 54)},
    "prometheus/config.RemoteWriteConfig": {
        "protobuf_message": (2, 54),
        "google_iam": (2, 55),
        "round_robin_dns": (3, 1),
        "failed_request_logging": (3, 10),
    },
    "prometheus/config.QueueConfig": {"sample_age_limit": (2, 50)},
    "prometheus/config.ScrapeConfig": {**_SCRAPE, **_DISCOVERY},
    "prometheus/config.TSDBConfig": {
        "retention": (3, 9),
        "stale_series_compaction_threshold": (3, 9),
        "chunk_encoding": (3, 12),
    },
    "prometheus/sigv4.SigV4Config": {"external_id": (3, 8), "service_name": (3, 8)},
    "remote/azuread.AzureADConfig": {
        "oauth": (2, 48),
        "sdk": (2, 52),
        "workload_identity": (3, 7),
        "certificate": (3, 11),
    },
}
_REMOVED: dict[str, dict[str, Gate]] = {
    "prometheus/config.ScrapeConfig": {"scrape_classic_histograms": Gate(until=(3, 0), kind="bool")},
}


def _gates() -> Gates:
    gates = {name: {field: Gate(since=since) for field, since in fields.items()} for name, fields in _SINCE.items()}
    for name, removed in _REMOVED.items():
        gates.setdefault(name, {}).update(removed)
    return gates


GATES = _gates()


def with_http_client(types: Iterable[str]) -> Gates:
    """`GATES`, and those of an HTTP client for the `types` that have its fields inline."""
    gates = {name: dict(fields) for name, fields in GATES.items()}
    for name in types:
        gates.setdefault(name, {}).update({field: Gate(since=since) for field, since in _HTTP_CLIENT.items()})
    return gates
