"""The releases of Prometheus that know each field, value and rule, from 2.45.

From https://github.com/prometheus/prometheus/blob/main/CHANGELOG.md; fields of libraries (`http_headers`, `sigv4`,
`oauth2`) from the release that first used that version of the library. Fields without an entry exist since 2.45 or
earlier. Fields of 3.15, which the tables do not have yet, have their kind here.
"""

from __future__ import annotations

from collections.abc import Iterable

from apm_s3.validators._checking import Version
from apm_s3.validators._decoding import Gate, Gates, Values

UTF8_NAMES: Version = (3, 0)
"""Metrics and labels may have any UTF-8 name, unless the legacy scheme is set."""
REGION_FROM_THE_INSTANCE: Version = (3, 0)
"""AWS discovery can take the region from the environment or from the instance's metadata."""
ADDRESSES_WITHOUT_PORT: Version = (3, 0)
"""Target addresses no longer get a port from the scheme, and need none."""
WITHOUT_ALERTMANAGER_V1: Version = (3, 0)
"""Version 1 of Alertmanager's API is no longer supported."""
IDENTITY_OF_THE_SYSTEM: Version = (3, 5)
"""An Azure managed identity without a client id is the system-assigned one."""
SELECTORS_OF_OTHER_ROLES: Version = (3, 11)
"""Kubernetes discovery of pods accepts selectors of other roles."""
QUEUE_BOUNDS: Version = (3, 12)
"""The numbers of a remote-write queue are validated."""
TEMPLATE_FUNCTIONS_SINCE: dict[str, Version] = {"now": (3, 6), "toDuration": (3, 6), "urlQueryEscape": (3, 8)}

_HTTP_CLIENT = {"http_headers": (2, 53)}
_SCRAPE = {
    "keep_dropped_targets": (2, 47),
    "track_timestamps_staleness": (2, 48),
    "enable_compression": (2, 49),
    "scrape_protocols": (2, 49),
    "native_histogram_min_bucket_factor": (2, 50),
    "metric_name_validation_scheme": (2, 55),
    "scrape_failure_log_file": (2, 55),
    "always_scrape_classic_histograms": (3, 0),
    "convert_classic_histograms_to_nhcb": (3, 0),
    "fallback_scrape_protocol": (3, 0),
    "metric_name_escaping_scheme": (3, 4),
    "scrape_native_histograms": (3, 8),
    "extra_scrape_metrics": (3, 10),
}
_DISCOVERY = {
    "stackit_sd_configs": (3, 5),
    "aws_sd_configs": (3, 8),
    "ecs_sd_configs": (3, 8),
    "msk_sd_configs": (3, 10),
    "elasticache_sd_configs": (3, 11),
    "rds_sd_configs": (3, 11),
    "outscale_sd_configs": (3, 12),
    "oci_sd_configs": (3, 14),
}
_AWS = (
    "SDConfig",
    "EC2SDConfig",
    "ECSSDConfig",
    "ElasticacheSDConfig",
    "LightsailSDConfig",
    "MSKSDConfig",
    "RDSSDConfig",
)
_SINCE: dict[str, dict[str, Version]] = {
    "common/config.Authorization": {"credentials_ref": (2, 53)},
    "common/config.BasicAuth": {"password_ref": (2, 53), "username_file": (2, 48), "username_ref": (2, 53)},
    "common/config.OAuth2": {
        "client_secret_ref": (2, 53),
        "audience": (3, 8),
        "claims": (3, 8),
        "client_certificate_key": (3, 8),
        "client_certificate_key_file": (3, 8),
        "client_certificate_key_id": (3, 8),
        "client_certificate_key_ref": (3, 8),
        "grant_type": (3, 8),
        "iss": (3, 8),
        "signature_algorithm": (3, 8),
    },
    "common/config.TLSConfig": {"ca_ref": (2, 53), "cert_ref": (2, 53), "key_ref": (2, 53)},
    **{f"discovery/aws.{name}": {"external_id": (3, 12)} for name in _AWS},
    "discovery/aws.RDSSDConfig": {"external_id": (3, 12), "filters": (3, 13)},
    "discovery/consul.SDConfig": {"filter": (3, 0), "health_filter": (3, 11)},
    "discovery/digitalocean.SDConfig": {"role": (3, 12), "httpclient": (3, 12)},
    "discovery/hetzner.SDConfig": {"label_selector": (3, 5)},
    "discovery/kubernetes.AttachMetadataConfig": {
        "namespace": (3, 6),
        "cronjob": (3, 11),
        "deployment": (3, 11),
        "job": (3, 11),
    },
    "discovery/linode.SDConfig": {"region": (2, 52)},
    "discovery/moby.DockerSDConfig": {"match_first_network": (2, 54)},
    "discovery/xds.SDConfig": {"client_id": (2, 50)},
    "model/rulefmt.RuleGroup": {"query_offset": (2, 53), "labels": (3, 0)},
    "prometheus/config.AlertmanagerConfig": {"sigv4": (2, 48), "alert_relabel_configs": (2, 51), **_DISCOVERY},
    "prometheus/config.Config": {"runtime": (2, 53), "otlp": (2, 55)},
    "prometheus/config.GlobalConfig": {
        "keep_dropped_targets": (2, 47),
        "scrape_protocols": (2, 49),
        "rule_query_offset": (2, 53),
        "metric_name_validation_scheme": (2, 55),
        "scrape_failure_log_file": (2, 55),
        "convert_classic_histograms_to_nhcb": (3, 4),
        "metric_name_escaping_scheme": (3, 4),
        "always_scrape_classic_histograms": (3, 5),
        "scrape_native_histograms": (3, 8),
        "extra_scrape_metrics": (3, 10),
    },
    "prometheus/config.OTLPConfig": {
        "translation_strategy": (3, 0),
        "keep_identifying_resource_attributes": (3, 1),
        "convert_histograms_to_nhcb": (3, 4),
        "promote_all_resource_attributes": (3, 5),
        "ignore_resource_attributes": (3, 5),
        "promote_scope_metadata": (3, 6),
        "label_name_underscore_sanitization": (3, 8),
        "label_name_preserve_multiple_underscores": (3, 8),
    },
    "prometheus/config.RemoteReadConfig": {"chunked_read_limit": (2, 55)},
    "prometheus/config.RemoteWriteConfig": {
        "protobuf_message": (2, 54),
        "google_iam": (2, 55),
        "round_robin_dns": (3, 1),
        "failed_request_logging": (3, 14),
    },
    "prometheus/config.QueueConfig": {"sample_age_limit": (2, 50)},
    "prometheus/config.ScrapeConfig": {**_SCRAPE, **_DISCOVERY},
    "prometheus/config.TSDBConfig": {
        "retention": (3, 10),
        "stale_series_compaction_threshold": (3, 10),
        "chunk_encoding": (3, 13),
    },
    "prometheus/config.TSDBRetentionConfig": {"percentage": (3, 11)},
    "prometheus/sigv4.SigV4Config": {
        "use_fips_sts_endpoint": (2, 53),
        "service_name": (3, 5),
        "external_id": (3, 11),
    },
    "remote/azuread.AzureADConfig": {
        "oauth": (2, 48),
        "sdk": (2, 52),
        "workload_identity": (3, 7),
        "scope": (3, 9),
        "certificate": (3, 13),
    },
}
_BEYOND_THE_TABLE: dict[str, dict[str, Gate]] = {
    "prometheus/config.ScrapeConfig": {"scrape_classic_histograms": Gate(until=(3, 0), kind="bool")},
    "prometheus/config.RuntimeConfig": {"log_level": Gate(since=(3, 15), kind="string")},
    "prometheus/sigv4.SigV4Config": {
        "session_name": Gate(since=(3, 15), kind="string"),
        "tags": Gate(since=(3, 15), kind="any"),
    },
}

VALUES: Values = {
    "discovery/aws.SDConfig": {"role": {"msk": (3, 10), "elasticache": (3, 11), "rds": (3, 11)}},
    "discovery/azure.SDConfig": {"authentication_method": {"sdk": (2, 52), "workloadidentity": (3, 11)}},
    "discovery/dns.SDConfig": {"type": {"ns": (2, 49)}},
    "discovery/openstack.SDConfig": {"role": {"loadbalancer": (3, 2)}},
    "prometheus/config.GlobalConfig": {"scrape_protocols": {"prometheustext1.0.0": (3, 0)}},
    "prometheus/config.OTLPConfig": {
        "translation_strategy": {
            "noutf8escapingwithsuffixes": (3, 0),
            "notranslation": (3, 4),
            "underscoreescapingwithoutsuffixes": (3, 6),
        },
    },
    "prometheus/config.ScrapeConfig": {"scrape_protocols": {"prometheustext1.0.0": (3, 0)}},
}


def _gates() -> Gates:
    gates = {name: {field: Gate(since=since) for field, since in fields.items()} for name, fields in _SINCE.items()}
    for name, fields in _BEYOND_THE_TABLE.items():
        gates.setdefault(name, {}).update(fields)
    return gates


GATES = _gates()


def with_http_client(types: Iterable[str]) -> Gates:
    """Return `GATES` with the gates of an HTTP client for the `types` that have its fields inline."""
    gates = {name: dict(fields) for name, fields in GATES.items()}
    for name in types:
        gates.setdefault(name, {}).update({field: Gate(since=since) for field, since in _HTTP_CLIENT.items()})
    return gates
