"""The types of Loki's configuration, and which release changed which of them.

Sources: the changelog (https://github.com/grafana/loki/blob/main/CHANGELOG.md), the upgrade notes
(https://grafana.com/docs/loki/latest/setup/upgrade/) and the reference pages of the releases
(https://grafana.com/docs/loki/latest/configure/). If several releases are possible, a field counts as known from the
first of them, and a removed field until the last. Changes of a patch release count from its minor release.
The fields inside `bloom_build`, `dataobj`, `ingest_limits`, `kafka_config`, `pattern_ingester`, `query_engine` and `ui`
are those of the newest release.
Only the names of removed fields are known, so any value is accepted for the releases that had them.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from apm_s3.validators._checking import Context, Version
from apm_s3.validators._decoding import Gate, Gates, Mismatch, Schema, list_codec, load_table, wrong_type
from apm_s3.validators._grammars.values import parse_go_duration, parse_regex
from apm_s3.validators._reading.nodes import SCALAR, SEQUENCE, Node, Path
from apm_s3.validators._tools import prometheus_common
from apm_s3.validators._tools.loki import config
from apm_s3.validators._tools.loki.config import RULE_TYPES, check_rules
from apm_s3.validators._tools.prometheus import discovery

_ADDED: dict[Version, dict[str, tuple[str, ...]]] = {
    (3, 0): {
        "pkg/distributor.Config": ("otlp_config",),
        "pkg/loki.Config": ("bloom_gateway", "metrics_namespace", "operational_config", "pattern_ingester"),
        "pkg/lokifrontend.Config": ("log_query_request_headers",),
        "pkg/ruler.RemoteWriteConfig": ("add_org_id_header",),
        "pkg/storage.Config": ("bloom_shipper", "object_prefix"),
        "pkg/validation.Limits": (
            "bloom_block_encoding", "bloom_gateway_enable_filtering", "discover_log_levels", "discover_service_name",
            "max_metadata_cache_freshness", "max_query_capacity", "otlp_config", "recent_metadata_query_window",
            "sort_schema", "split_ingester_queries_by_interval", "split_instant_metric_queries_by_interval",
            "split_metadata_queries_by_interval", "split_recent_metadata_queries_by_interval", "tsdb_sharding_strategy",
        ),
        "querier/queryrange.Config": (
            "cache_instant_metric_results", "cache_label_results", "cache_series_results",
            "instant_metric_query_split_align", "instant_metric_results_cache", "label_results_cache",
            "series_results_cache",
        ),
        "storage/config.ChunkStoreConfig": ("chunk_cache_config_l2", "l2_chunk_cache_handoff"),
        "storage/config.IndexPeriodicTableConfig": ("path_prefix",),
        "util/validation.BlockedQuery": ("query_tags",),
    },
    (3, 1): {
        "client/aws.S3Config": ("disable_dualstack",),
        "dskit/server.Config": (
            "grpc_server_recv_buffer_pools_enabled", "grpc_server_stats_tracking_enabled", "log_source_ips_full",
            "proxy_protocol_enabled",
        ),
        "kv/memberlist.KVConfig": ("broadcast_timeout_for_local_updates_on_shutdown",),
        "pkg/ingester.Config": ("flush_op_backoff", "owned_streams_check_interval"),
        "pkg/loki.Config": ("bloom_build",),
        "pkg/storage.NamedAWSStorageConfig": ("disable_dualstack",),
        "pkg/validation.Limits": (
            "bloom_build_builder_response_timeout", "bloom_build_max_builders", "bloom_build_task_max_retries",
            "bloom_creation_enabled", "bloom_split_series_keyspace_by", "s3_sse_kms_encryption_context",
            "s3_sse_kms_key_id", "s3_sse_type", "tsdb_precompute_chunks", "use_owned_stream_count",
        ),
        "querier/worker.Config": ("query_frontend_grpc_client", "query_scheduler_grpc_client"),
    },
    (3, 2): {
        "pkg/distributor.Config": ("ingester_writes_enabled", "kafka_writes_enabled"),
        "pkg/loki.Config": ("kafka_config", "profiling"),
        "pkg/validation.Limits": (
            "block_ingestion_status_code", "block_ingestion_until", "bloom_max_block_size", "bloom_max_bloom_size",
        ),
    },
    (3, 3): {
        "loki/common.Config": ("scratch_path",),
        "loki/common.Storage": ("object_store",),
        "pkg/analytics.Config": ("proxy_url",),
        "pkg/compactor.Config": ("retention_backoff_config",),
        "pkg/distributor.Config": ("push_worker_count",),
        "pkg/ingester.Config": ("kafka_ingestion",),
        "pkg/logql.EngineOpts": ("max_count_min_sketch_heap_size",),
        "pkg/querier.Config": ("query_partition_ingesters",),
        "pkg/storage.Config": ("object_store", "use_thanos_objstore"),
        "pkg/validation.Limits": (
            "bloom_planning_strategy", "bloom_task_target_series_chunk_size", "ingestion_partitions_tenant_shard_size",
            "log_level_fields", "metric_aggregation_enabled", "pattern_ingester_tokenizable_json_fields_append",
            "pattern_ingester_tokenizable_json_fields_default", "pattern_ingester_tokenizable_json_fields_delete",
            "shard_aggregations",
        ),
    },
    (3, 4): {
        "client/alibaba.OssConfig": ("conn_timeout_sec", "read_write_timeout_sec"),
        "distributor/shardstreams.Config": ("time_sharding_enabled", "time_sharding_ignore_recent"),
        "dskit/grpcclient.Config": ("cluster_validation",),
        "dskit/server.Config": ("cluster_validation",),
        "kv/memberlist.KVConfig": (
            "acquire_writer_timeout", "max_concurrent_writes", "notify_interval", "obsolete_entries_timeout",
        ),
        "pkg/analytics.Config": ("tls_config",),
        "pkg/loki.Config": ("dataobj",),
        "pkg/lokifrontend.Config": ("support_parquet_encoding",),
        "pkg/storage.NamedOssConfig": ("conn_timeout_sec", "read_write_timeout_sec"),
        "pkg/validation.Limits": ("bloom_prefetch_blocks", "discover_generic_fields", "enforced_labels"),
        "storage/config.ChunkStoreConfig": ("skip_query_writeback_cache_older_than",),
    },
    (3, 5): {
        "client/aws.S3Config": ("chunk_delimiter",),
        "client/gcp.GCSConfig": ("endpoint",),
        "dskit/server.Config": (
            "grpc_collect_max_streams_by_conn", "trace_request_exclude_headers_list", "trace_request_headers",
        ),
        "kv/memberlist.KVConfig": ("abort_if_cluster_fast_join_fails", "watch_prefix_buffer_size"),
        "pkg/compactor.Config": ("backup_delete_request_store_db_type", "delete_request_store_db_type"),
        "pkg/distributor.Config": ("ingest_limits_dry_run_enabled", "ingest_limits_enabled"),
        "pkg/loki.Config": ("ingest_limits", "ingest_limits_frontend", "ingest_limits_frontend_client", "ui"),
        "pkg/lokifrontend.Config": ("instance_enable_ipv6",),
        "pkg/storage.NamedAWSStorageConfig": ("chunk_delimiter",),
        "pkg/storage.NamedGCSConfig": ("endpoint",),
        "pkg/validation.Limits": (
            "block_ingestion_policy_until", "log_level_from_json_max_depth", "policy_enforced_labels",
            "policy_stream_mapping", "simulated_push_latency",
        ),
    },
    (3, 6): {
        "client/alibaba.OssConfig": ("ram_role_name", "region", "signature_version"),
        "dskit/runtimeconfig.Config": (
            "http_client_cluster_validation", "http_client_disable_keep_alives", "http_client_timeout",
        ),
        "dskit/server.Config": (
            "create_new_traces", "grpc_server_read_buffer_size", "grpc_server_write_buffer_size",
        ),
        "kv/memberlist.KVConfig": (
            "abort_if_cluster_fast_join_fails_min_nodes", "rejoin_seed_nodes", "zone_aware_routing",
        ),
        "pkg/compactor.Config": ("horizontal_scaling_mode", "jobs_config", "worker_config"),
        "pkg/distributor.Config": (
            "dataobj_tee", "default_policy_stream_mappings", "max_decompressed_size", "max_recv_msg_size",
        ),
        "pkg/indexgateway.ClientConfig": ("time_based_sharding_buckets",),
        "pkg/ingester.WALConfig": ("disk_full_threshold",),
        "pkg/loki.Config": ("no_auth_tenant", "tenant_limits_allow_publish"),
        "pkg/storage.NamedOssConfig": ("ram_role_name", "region", "signature_version"),
        "pkg/validation.Limits": (
            "debug_engine_streams", "debug_engine_tasks", "max_line_size_truncate_identifier",
            "pattern_persistence_enabled", "pattern_persistence_granularity", "pattern_rate_threshold",
            "policy_override_limits",
        ),
        "shipper/indexshipper.Config": (
            "index_reader_mode", "shadow_index_gateway_client", "streaming_index_max_idle_file_handles",
        ),
    },
    (3, 7): {
        "kv/memberlist.KVConfig": ("propagation_delay_tracker",),
        "pkg/compactor.Config": ("deletion_marker_object_store_prefix",),
        "pkg/distributor.Config": ("otlp_attribute_logging",),
        "pkg/indexgateway.ClientConfig": ("min_shuffle_shard_size",),
        "pkg/ingester.Config": ("delegate_stream_limits_enabled",),
        "pkg/loki.Config": ("query_engine",),
        "pkg/validation.Limits": (
            "dataobj_index_compaction_enabled", "dataobj_log_compaction_enabled",
            "engine_results_cache_time_bucket_interval", "index_gateway_max_capacity",
        ),
    },
    (3, 8): {
        "kv/memberlist.KVConfig": ("processed_messages_queue_size", "received_messages_queue_size"),
        "pkg/distributor.Config": ("circuit_breaker", "max_inflight_bytes"),
        "pkg/loki.Config": ("lbac",),
    },
}  # fmt: skip

_REMOVED: dict[Version, dict[str, tuple[str, ...]]] = {
    (3, 0): {
        "chunk/cache.Config": ("enable_fifocache", "fifocache"),
        "client/aws.S3Config": ("sse_encryption",),
        "pkg/compactor.Config": ("deletion_mode", "shared_store", "shared_store_key_prefix"),
        "pkg/ingester.Config": ("max_transfer_retries",),
        "pkg/logql.EngineOpts": ("timeout",),
        "pkg/loki.Config": ("legacy-read-mode", "query_scheduler_legacy"),
        "pkg/querier.Config": ("query_timeout",),
        "pkg/validation.Limits": ("enforce_metric_name", "ruler_evaluation_delay_duration"),
        "querier/worker.Config": ("match_max_concurrent", "parallelism"),
        "querier/queryrange.Config": ("forward_headers_list", "split_queries_by_interval"),
        "shipper/indexshipper.Config": (
            "build_per_tenant_index", "shared_store", "shared_store_key_prefix", "use_boltdb_shipper_as_backup",
        ),
        "storage/config.ChunkStoreConfig": ("max_look_back_period",),
    },
    (3, 8): {
        "client/aws.S3Config": ("dynamodb",),
        "pkg/loki.Config": ("table_manager",),
        "pkg/ruler.RemoteWriteConfig": ("client",),
        "pkg/storage.Config": (
            "boltdb", "boltdb_shipper", "bigtable", "cassandra", "disable_broad_index_queries", "grpc_store",
            "index_cache_validity", "index_queries_cache_config",
        ),
        "pkg/validation.Limits": (
            "allow_deletes", "per_tenant_override_config", "per_tenant_override_period", "ruler_remote_write_headers",
            "ruler_remote_write_queue_batch_send_deadline", "ruler_remote_write_queue_capacity",
            "ruler_remote_write_queue_max_backoff", "ruler_remote_write_queue_max_samples_per_send",
            "ruler_remote_write_queue_max_shards", "ruler_remote_write_queue_min_backoff",
            "ruler_remote_write_queue_min_shards", "ruler_remote_write_queue_retry_on_ratelimit",
            "ruler_remote_write_relabel_configs", "ruler_remote_write_sigv4_config", "ruler_remote_write_timeout",
            "ruler_remote_write_url", "unordered_writes",
        ),
        "storage/config.ChunkStoreConfig": ("cache_lookups_older_than", "write_dedupe_cache_config"),
        "storage/config.IndexPeriodicTableConfig": ("tags",),
        "storage/config.PeriodConfig": ("chunks", "row_shards"),
    },
}  # fmt: skip

_BETWEEN: dict[tuple[Version, Version], dict[str, tuple[str, ...]]] = {
    ((3, 0), (3, 1)): {"pkg/validation.Limits": ("bloom_gateway_skip_filter_within",)},
    ((3, 0), (3, 2)): {
        "pkg/loki.Config": ("bloom_compactor",),
        "pkg/validation.Limits": ("bloom_compactor_enable_compaction", "bloom_compactor_shard_size"),
    },
    ((3, 0), (3, 3)): {
        "pkg/validation.Limits": (
            "bloom_compactor_max_block_size", "bloom_false_positive_rate", "bloom_ngram_length", "bloom_ngram_skip",
        ),
    },
    ((3, 0), (3, 5)): {"pkg/validation.Limits": ("bloom_gateway_cache_key_interval", "bloom_gateway_shard_size")},
    ((3, 1), (3, 3)): {"pkg/validation.Limits": ("bloom_compactor_max_bloom_size",)},
    ((3, 2), (3, 3)): {"pkg/loki.Config": ("ingester_rf1",)},
    ((3, 2), (3, 4)): {"pkg/loki.Config": ("ingester_rf1_client", "metastore", "metastore_client", "querier_rf1")},
    ((3, 3), (3, 8)): {"pkg/validation.Limits": ("enable_multi_variant_queries", "ruler_enable_wal_replay")},
    ((3, 4), (3, 8)): {"pkg/loki.Config": ("block_builder", "block_scheduler")},
    ((3, 5), (3, 6)): {"pkg/distributor.Config": ("tenant_topic",)},
    ((3, 6), (3, 8)): {
        "pkg/querier.Config": ("engine_v2",),
        "pkg/validation.Limits": ("max_scan_task_parallelism",),
        "querier/queryrange.Config": ("enable_v2_engine_router",),
    },
}  # fmt: skip


def _gates() -> Gates:
    gates: dict[str, dict[str, Gate]] = {}
    tables = [
        *((types, Gate(since=since)) for since, types in _ADDED.items()),
        *((types, Gate(until=until, kind="any")) for until, types in _REMOVED.items()),
        *((types, Gate(since=since, until=until, kind="any")) for (since, until), types in _BETWEEN.items()),
    ]
    for types, gate in tables:
        for type_name, fields in types.items():
            gates.setdefault(type_name, {}).update(dict.fromkeys(fields, gate))
    return gates


GATES: Gates = _gates()


CONFIG = "pkg/loki.Config"
RULES = "model/rulefmt.RuleGroups"

_SIZE = re.compile(r"\s*[0-9]+(?:\.[0-9]+)?\s*(?:[kmgtpe]i?)?b?\s*", re.IGNORECASE | re.ASCII)


def _parse_size(text: str) -> str:
    if not _SIZE.fullmatch(text):
        raise Mismatch("size", f"invalid size: {text[:40]!r}; write it as 4MB or 256KB")
    return text


def _one_of(what: str, *allowed: str) -> Any:
    def parse(text: str) -> str:
        if text not in allowed:
            raise Mismatch.unknown(what, text, allowed)
        return text

    return parse


def _any_text(text: str) -> str:
    return text


def _decode_csv(node: Node, path: Path, context: Context) -> Any:
    """Decode a list of texts, or one text separated by commas."""
    if node.kind == SCALAR:
        return node.text
    if node.kind == SEQUENCE:
        return list_codec(_decode_csv)(node, path, context)
    return wrong_type(node, path, context, "text or a list")


@cache
def config_schema() -> Schema:
    """Return the types of loki.yaml, read with yaml.v4."""
    return Schema(
        load_table("loki"),
        scalars={
            **prometheus_common.SCALARS,
            "dskit/flagext.Bytes": _parse_size,
            "dskit/flagext.Secret": _any_text,
            "dskit/flagext.Time": _any_text,
            "dskit/flagext.URLValue": prometheus_common.parse_common_url,
            "dskit/log.Level": _one_of("level", "debug", "info", "warn", "error"),
            "model/relabel.Action": discovery.parse_action,
            "model/relabel.Regexp": parse_regex,
            "pkg/indexgateway.Mode": _one_of("mode", "simple", "ring"),
            "providers/s3.BucketLookupType": _one_of("bucket lookup type", "auto", "virtual-hosted", "path"),
            "push/otlplabels.Action": _one_of("action", "index_label", "structured_metadata", "drop"),
            "storage/config.DayTime": config.parse_day,
            "time.Duration": parse_go_duration,
            "util/flagext.ByteSize": _parse_size,
        },
        codecs={
            "dskit/flagext.StringSliceCSV": _decode_csv,
            "dskit/flagext.StringSliceCSVMulti": _decode_csv,
            "util/flagext.CSV[github.com/grafana/loki/v3/pkg/util/mempool.Bucket]": _decode_csv,
        },
        hooks={
            **prometheus_common.HOOKS,
            "client/aws.S3Config": (config.check_aws,),
            "client/azure.BlobStorageConfig": (config.check_azure,),
            "pkg/compactor.Config": (config.check_compactor,),
            "pkg/distributor.Config": (config.check_distributor,),
            "pkg/ingester.Config": (config.check_ingester,),
            "pkg/ingester.WALConfig": (config.check_wal,),
            "pkg/loki.Config": (config.check_config,),
            "pkg/querier.Config": (config.check_querier,),
            "pkg/validation.Limits": (config.check_limits,),
            "querier/worker.Config": (config.check_worker,),
        },
        gates=GATES,
        yaml=4,
    )


@cache
def rules_schema() -> Schema:
    """Return the types of rule files for Loki's ruler."""
    return Schema(RULE_TYPES, scalars=prometheus_common.SCALARS, hooks={RULES: (check_rules,)}, yaml=3)
