"""Which release of Loki knows which field, from 2.9 on.

From the reference of each release (https://grafana.com/docs/loki/latest/configure/), its upgrade notes
(https://grafana.com/docs/loki/latest/setup/upgrade/) and its changelog. What is new since 2.9 and in none of the
notes of a release counts as known from 3.0 on; what is gone from 3.8 and in none of them, as known until then.
Removed fields are known by name only, so that any value is fine for the releases that had them.
"""

from __future__ import annotations

from apm_s3.validators.context import Version
from apm_s3.validators.decoding.gates import Gate, Gates

_ADDED: dict[Version, dict[str, tuple[str, ...]]] = {
    (3, 0): {
        "dskit/server.Config": (
            "create_new_traces", "grpc_collect_max_streams_by_conn", "grpc_server_read_buffer_size",
            "grpc_server_recv_buffer_pools_enabled", "grpc_server_stats_tracking_enabled",
            "grpc_server_write_buffer_size", "log_source_ips_full", "proxy_protocol_enabled",
            "trace_request_exclude_headers_list", "trace_request_headers",
        ),
        "distributor/shardstreams.Config": ("time_sharding_enabled", "time_sharding_ignore_recent"),
        "dskit/runtimeconfig.Config": ("http_client_disable_keep_alives", "http_client_timeout"),
        "kv/memberlist.KVConfig": (
            "abort_if_cluster_fast_join_fails", "abort_if_cluster_fast_join_fails_min_nodes", "acquire_writer_timeout",
            "broadcast_timeout_for_local_updates_on_shutdown", "max_concurrent_writes", "notify_interval",
            "obsolete_entries_timeout", "processed_messages_queue_size", "propagation_delay_tracker",
            "received_messages_queue_size", "rejoin_seed_nodes", "watch_prefix_buffer_size", "zone_aware_routing",
        ),
        "loki/common.Config": ("scratch_path",),
        "pkg/analytics.Config": ("proxy_url", "tls_config"),
        "pkg/compactor.Config": (
            "backup_delete_request_store_db_type", "delete_request_store_db_type",
            "deletion_marker_object_store_prefix", "horizontal_scaling_mode", "jobs_config", "retention_backoff_config",
            "worker_config",
        ),
        "pkg/distributor.Config": (
            "circuit_breaker", "dataobj_tee", "default_policy_stream_mappings", "max_decompressed_size",
            "max_inflight_bytes", "max_recv_msg_size", "otlp_attribute_logging", "otlp_config", "push_worker_count",
        ),
        "pkg/indexgateway.ClientConfig": ("min_shuffle_shard_size", "time_based_sharding_buckets"),
        "pkg/ingester.Config": ("delegate_stream_limits_enabled", "flush_op_backoff", "owned_streams_check_interval"),
        "pkg/ingester.WALConfig": ("disk_full_threshold",),
        "pkg/logql.EngineOpts": ("max_count_min_sketch_heap_size",),
        "pkg/loki.Config": (
            "bloom_gateway", "metrics_namespace", "no_auth_tenant", "operational_config", "pattern_ingester",
            "profiling", "tenant_limits_allow_publish",
        ),
        "pkg/lokifrontend.Config": ("instance_enable_ipv6", "log_query_request_headers", "support_parquet_encoding"),
        "pkg/ruler.RemoteWriteConfig": ("add_org_id_header",),
        "pkg/storage.Config": ("bloom_shipper", "object_prefix"),
        "pkg/validation.Limits": (
            "block_ingestion_policy_until", "block_ingestion_status_code", "block_ingestion_until",
            "bloom_block_encoding", "bloom_gateway_enable_filtering", "bloom_max_block_size", "bloom_max_bloom_size",
            "debug_engine_streams", "debug_engine_tasks", "discover_generic_fields", "discover_log_levels",
            "discover_service_name", "engine_results_cache_time_bucket_interval", "enforced_labels",
            "index_gateway_max_capacity", "log_level_fields", "log_level_from_json_max_depth",
            "max_line_size_truncate_identifier", "max_metadata_cache_freshness", "max_query_capacity",
            "metric_aggregation_enabled", "otlp_config", "pattern_ingester_tokenizable_json_fields_append",
            "pattern_ingester_tokenizable_json_fields_default", "pattern_ingester_tokenizable_json_fields_delete",
            "pattern_persistence_enabled", "pattern_persistence_granularity", "pattern_rate_threshold",
            "policy_enforced_labels", "policy_override_limits", "policy_stream_mapping", "recent_metadata_query_window",
            "s3_sse_kms_encryption_context", "s3_sse_kms_key_id", "s3_sse_type", "shard_aggregations",
            "simulated_push_latency", "sort_schema", "split_ingester_queries_by_interval",
            "split_instant_metric_queries_by_interval", "split_metadata_queries_by_interval",
            "split_recent_metadata_queries_by_interval", "tsdb_precompute_chunks", "tsdb_sharding_strategy",
            "use_owned_stream_count",
        ),
        "querier/queryrange.Config": (
            "cache_instant_metric_results", "cache_label_results", "cache_series_results",
            "instant_metric_query_split_align", "instant_metric_results_cache", "label_results_cache",
            "series_results_cache",
        ),
        "querier/worker.Config": ("query_frontend_grpc_client", "query_scheduler_grpc_client"),
        "shipper/indexshipper.Config": (
            "index_reader_mode", "shadow_index_gateway_client", "streaming_index_max_idle_file_handles",
        ),
        "storage/config.ChunkStoreConfig": (
            "chunk_cache_config_l2", "l2_chunk_cache_handoff", "skip_query_writeback_cache_older_than",
        ),
        "storage/config.IndexPeriodicTableConfig": ("path_prefix",),
        "util/validation.BlockedQuery": ("query_tags",),
    },
    (3, 2): {
        "client/aws.S3Config": ("disable_dualstack",),
        "loki/common.Storage": ("object_store",),
        "pkg/loki.Config": ("bloom_build", "kafka_config"),
        "pkg/distributor.Config": ("ingester_writes_enabled", "kafka_writes_enabled"),
        "pkg/ingester.Config": ("kafka_ingestion",),
        "pkg/querier.Config": ("query_partition_ingesters",),
        "pkg/storage.Config": ("object_store", "use_thanos_objstore"),
        "pkg/storage.NamedAWSStorageConfig": ("disable_dualstack",),
        "pkg/validation.Limits": (
            "bloom_build_builder_response_timeout", "bloom_build_max_builders", "bloom_build_task_max_retries",
            "bloom_creation_enabled", "bloom_planning_strategy", "bloom_prefetch_blocks",
            "bloom_split_series_keyspace_by", "bloom_task_target_series_chunk_size",
            "ingestion_partitions_tenant_shard_size",
        ),
    },
    (3, 4): {
        "dskit/grpcclient.Config": ("cluster_validation",),
        "dskit/runtimeconfig.Config": ("http_client_cluster_validation",),
        "dskit/server.Config": ("cluster_validation",),
        "pkg/distributor.Config": ("ingest_limits_dry_run_enabled", "ingest_limits_enabled"),
        "pkg/loki.Config": (
            "dataobj", "ingest_limits", "ingest_limits_frontend", "ingest_limits_frontend_client", "ui",
        ),
        "pkg/validation.Limits": ("dataobj_index_compaction_enabled", "dataobj_log_compaction_enabled"),
    },
    (3, 6): {"pkg/loki.Config": ("query_engine",)},
    (3, 8): {"pkg/loki.Config": ("lbac",)},
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
        "storage/config.ChunkStoreConfig": ("max_look_back_period", "write_dedupe_cache_config"),
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
        "storage/config.ChunkStoreConfig": ("cache_lookups_older_than",),
        "storage/config.IndexPeriodicTableConfig": ("tags",),
        "storage/config.PeriodConfig": ("chunks", "row_shards"),
    },
}  # fmt: skip

_BETWEEN: dict[tuple[Version, Version], dict[str, tuple[str, ...]]] = {
    ((3, 0), (3, 3)): {
        "pkg/loki.Config": ("bloom_compactor",),
        "pkg/validation.Limits": (
            "bloom_compactor_enable_compaction", "bloom_compactor_max_block_size", "bloom_compactor_max_bloom_size",
            "bloom_compactor_shard_size", "bloom_false_positive_rate", "bloom_gateway_cache_key_interval",
            "bloom_gateway_shard_size", "bloom_ngram_length", "bloom_ngram_skip",
        ),
    },
    ((3, 1), (3, 3)): {"pkg/loki.Config": ("ingester_rf1", "ingester_rf1_client", "querier_rf1")},
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
