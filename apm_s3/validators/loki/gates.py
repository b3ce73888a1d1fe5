"""Which release of Loki knows which field: https://grafana.com/docs/loki/latest/setup/upgrade/.

Removed fields are known by name only, so that any value is fine for the releases that had them.
"""

from __future__ import annotations

from apm_s3.validators.decoding.gates import Gate, Gates

_V3 = (3, 0)
_V3_8 = (3, 8)

_REMOVED_IN_3 = {
    "pkg/loki.Config": ("legacy-read-mode", "query_scheduler_legacy"),
    "pkg/compactor.Config": ("shared_store", "shared_store_key_prefix", "deletion_mode"),
    "shipper/indexshipper.Config": ("shared_store", "shared_store_key_prefix", "build_per_tenant_index"),
    "pkg/ingester.Config": ("max_transfer_retries",),
    "pkg/validation.Limits": ("enforce_metric_name", "ruler_remote_write_url"),
    "chunk/cache.Config": ("enable_fifocache", "fifocache"),
    "querier/queryrange.Config": ("split_queries_by_interval", "forward_headers_list"),
    "pkg/querier.Config": ("query_timeout",),
    "storage/config.ChunkStoreConfig": ("max_look_back_period", "write_dedupe_cache_config"),
    "client/aws.S3Config": ("sse_encryption",),
    "pkg/ruler.RemoteWriteConfig": (),
}
_REMOVED_IN_3_8 = {
    "pkg/loki.Config": ("table_manager",),
    "pkg/storage.Config": (
        "boltdb", "boltdb_shipper", "bigtable", "cassandra", "grpc_store", "index_queries_cache_config",
        "index_cache_validity", "disable_broad_index_queries",
    ),
    "client/aws.S3Config": ("dynamodb",),
    "storage/config.PeriodConfig": ("row_shards", "chunks"),
}  # fmt: skip
_ADDED_IN_3 = {
    "pkg/loki.Config": (
        "bloom_build", "bloom_gateway", "dataobj", "ingest_limits", "ingest_limits_frontend",
        "ingest_limits_frontend_client", "kafka_config", "lbac", "metrics_namespace", "pattern_ingester",
        "profiling", "query_engine", "tenant_limits_allow_publish", "ui",
    ),
    "pkg/storage.Config": ("object_store", "use_thanos_objstore", "bloom_shipper"),
}  # fmt: skip


def _gates() -> Gates:
    gates: dict[str, dict[str, Gate]] = {}
    for table, gate in (
        (_REMOVED_IN_3, Gate(until=_V3, kind="any")),
        (_REMOVED_IN_3_8, Gate(until=_V3_8, kind="any")),
        (_ADDED_IN_3, Gate(since=_V3)),
    ):
        for type_name, fields in table.items():
            gates.setdefault(type_name, {}).update(dict.fromkeys(fields, gate))
    return gates


GATES: Gates = _gates()
