"""Component types in Jaeger 2's build of the OpenTelemetry collector, and the fields of its own extensions.

Sources: https://www.jaegertracing.io/docs/latest/configuration/ and the collector components that it names. This
includes the types of all 2.x releases, so that no release's configuration is refused; `REMOVED` lists types that
current releases do not have.
"""

from __future__ import annotations

SECTIONS = ("receivers", "processors", "exporters", "extensions", "connectors")

TYPES: dict[str, frozenset[str]] = {
    "receivers": frozenset(("otlp", "nop", "jaeger", "kafka", "zipkin")),
    "processors": frozenset(
        (
            "batch", "memory_limiter", "adaptive_sampling", "attributes", "filter", "probabilistic_sampler",
            "resource", "resourcedetection", "span", "tail_sampling", "transform", "nop",
        )
    ),
    "exporters": frozenset(
        (
            "debug", "otlp", "otlphttp", "otlp_grpc", "otlp_http", "nop", "jaeger_storage_exporter", "kafka",
            "prometheus", "prometheusremotewrite",
        )
    ),
    "extensions": frozenset(
        (
            "zpages", "basicauth", "bearertokenauth", "sigv4auth", "oauth2client", "healthcheckv2", "health_check",
            "pprof", "expvar", "jaeger_query", "jaeger_storage", "remote_sampling", "remote_storage",
            "storage_cleaner", "memory_limiter", "file_storage", "nop",
        )
    ),
    "connectors": frozenset(
        (
            "forward", "spanmetrics", "routing", "nop", "jaeger_storage_writer", "jaeger_storage_dead_letter",
            "storage_writer", "storage_dead_letter",
        )
    ),
}  # fmt: skip

REMOVED = {("extensions", "jaeger_mcp"): "it is part of jaeger_query now: write mcp: {} under its ai"}

TELEMETRY = frozenset(("logs", "metrics", "traces", "resource"))

BACKENDS = frozenset(("memory", "badger", "cassandra", "clickhouse", "elasticsearch", "grpc", "opensearch"))
METRIC_BACKENDS = frozenset(("prometheus", "elasticsearch", "opensearch", "clickhouse"))

_CLIENT = frozenset(
    (
        "endpoint", "compression", "tls", "keepalive", "read_buffer_size", "write_buffer_size", "wait_for_ready",
        "headers", "balancer_name", "authority", "auth", "middlewares", "timeout", "writer", "multi_tenancy",
        "tenancy", "user_agent", "retry_on_failure", "sending_queue",
    )
)  # fmt: skip
"""A gRPC client of the collector: https://pkg.go.dev/go.opentelemetry.io/collector/config/configgrpc."""

BACKEND_FIELDS: dict[str, frozenset[str]] = {"memory": frozenset(("max_traces",)), "grpc": _CLIENT}
"""The fields of backends with few fields; the storage itself reads the others."""

QUERY = frozenset(
    (
        "storage", "http", "grpc", "base_path", "ui", "bearer_token_propagation", "additional_headers",
        "header_forwarding", "max_clock_skew_adjust", "max_trace_size", "enable_tracing", "multi_tenancy", "tenancy",
        "ai", "otlp_proxy", "query_interceptors",
    )
)  # fmt: skip
AI = frozenset(
    ("agent_url", "enabled", "enable_mcp", "mcp", "mcp_base_url", "max_request_body_size", "health_check_interval",
     "health_check_timeout")
)  # fmt: skip
QUERY_STORAGE = frozenset(("traces", "traces_archive", "metrics"))
STORAGE = frozenset(("backends", "metric_backends"))
SAMPLING = frozenset(("file", "adaptive", "http", "grpc"))
RENAMED = {
    "trace_storage": "storage.traces",
    "trace_storage_archive": "storage.traces_archive",
    "metrics_storage": "storage.metrics",
    "ui_config": "ui.config_file",
    "memory": "backends.<name>.memory",
    "badger": "backends.<name>.badger",
    "cassandra": "backends.<name>.cassandra",
    "elasticsearch": "backends.<name>.elasticsearch",
    "opensearch": "backends.<name>.opensearch",
    "grpc": "backends.<name>.grpc",
    "prometheus": "metric_backends.<name>.prometheus",
}
"""Fields of Jaeger 2's previews, and their replacements."""
