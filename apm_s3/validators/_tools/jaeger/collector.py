"""Jaeger v2's configuration, which is an OpenTelemetry Collector's: components, storage, pipelines.

Sources: https://www.jaegertracing.io/docs/latest/configuration/ and the collector components that it names. This
includes the types of all 2.x releases, so that no release's configuration is refused; `REMOVED` lists types that
current releases do not have.

Rules: https://www.jaegertracing.io/docs/latest/configuration/.

Rules: https://opentelemetry.io/docs/collector/configuration/.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from apm_s3.validators._checking import Context
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Node, Path, is_null, resolve_plain

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


_MOVED_QUERY = {name: RENAMED[name] for name in RENAMED if name not in QUERY}


def check_jaeger(ids: Ids, root: Node, context: Context) -> None:
    """Report the problems of `jaeger_storage`, `jaeger_query`, `remote_sampling` and the storage exporter."""
    checker = _Checker(context)
    for section, kind, check in (
        ("extensions", "jaeger_storage", checker.check_storage),
        ("extensions", "jaeger_query", checker.check_query),
        ("extensions", "remote_sampling", checker.check_sampling),
        ("extensions", "remote_storage", checker.check_remote_storage),
        ("exporters", "jaeger_storage_exporter", checker.check_exporter),
    ):
        for text, settings in ids[section].items():
            if text.split("/", 1)[0] == kind:
                key = root.entries[section][1].entries[text][0]
                check(key, settings, ((None, section), text))


class _Checker:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._backends: set[str] | None = None
        self._metric_backends: set[str] = set()

    def check_storage(self, key: Node, settings: Node, path: Path) -> None:
        self._backends = self._backends or set()
        if not expect_mapping(settings, path, self._context):
            self._context.error(key, path, "required", "at least one storage backend is required")
            return
        check_fields(settings, path, STORAGE, self._context, RENAMED)
        self._backends |= self._check_backends(settings, path, "backends", BACKENDS)
        self._metric_backends |= self._check_backends(settings, path, "metric_backends", METRIC_BACKENDS)
        if not self._backends and not is_variable(settings):
            self._context.error(key, (path, "backends"), "required", "at least one storage backend is required")

    def _check_backends(self, settings: Node, path: Path, field: str, kinds: frozenset[str]) -> set[str]:
        entry = settings.entries.get(field)
        at: Path = (path, field)
        if entry is None or not expect_mapping(entry[1], at, self._context):
            return set()
        for name, (key, backend) in entry[1].entries.items():
            self._check_backend(key, backend, (at, name), kinds)
        return set(entry[1].entries)

    def _check_backend(self, key: Node, backend: Node, path: Path, kinds: frozenset[str]) -> None:
        if is_variable(backend):
            return
        if not expect_mapping(backend, path, self._context):
            self._context.error(key, path, "required", f"name one kind of storage: {', '.join(sorted(kinds))}")
            return
        check_fields(backend, path, kinds, self._context, {})
        given = [name for name, (_, value) in backend.entries.items() if name in kinds and not is_null_or_absent(value)]
        if len(given) != 1 and len([name for name in backend.entries if name in kinds]) != 1:
            message = f"a backend has exactly one kind of storage, not {len(given)}: {', '.join(sorted(kinds))}"
            self._context.error(key, path, "exactly-one", message)
        for kind in given:
            value, at = backend.entries[kind][1], (path, kind)
            if expect_mapping(value, at, self._context) and kind in BACKEND_FIELDS:
                check_fields(value, at, BACKEND_FIELDS[kind], self._context, {})

    def check_query(self, key: Node, settings: Node, path: Path) -> None:
        storage = None
        if expect_mapping(settings, path, self._context):
            check_fields(settings, path, QUERY, self._context, _MOVED_QUERY)
            self._check_base_path(settings, path)
            self._check_ai(settings, path)
            self._check_interceptors(settings, path)
            storage = settings.entries.get("storage")
        at: Path = (path, "storage")
        if storage is None or not expect_mapping(storage[1], at, self._context):
            self._context.error(key, (at, "traces"), "required", "storage.traces must name a storage backend")
            return
        check_fields(storage[1], at, QUERY_STORAGE, self._context, {})
        self._check_reference(key, storage[1], at, "traces", required=True)
        self._check_reference(key, storage[1], at, "traces_archive")
        self._check_reference(key, storage[1], at, "metrics", self._metric_backends)

    def _check_ai(self, settings: Node, path: Path) -> None:
        """Refuse an `ai` without chat and without tools for agents."""
        entry, at = settings.entries.get("ai"), (path, "ai")
        if entry is None or not expect_mapping(entry[1], at, self._context):
            return
        check_fields(entry[1], at, AI, self._context, {})
        agent = entry[1].entries.get("agent_url")
        enabled = entry[1].entries.get("enable_mcp") or entry[1].entries.get("mcp")
        if agent is None or agent[1].kind != SCALAR or agent[1].text or is_null_or_absent(agent[1]):
            return
        if enabled is None or (enabled[1].kind == SCALAR and resolve_plain(enabled[1].text) is False):
            message = "ai needs an agent_url (the chat) or mcp (tools for agents)"
            self._context.error(agent[1], (at, "agent_url"), "required", message)

    def _check_interceptors(self, settings: Node, path: Path) -> None:
        entry, at = settings.entries.get("query_interceptors"), (path, "query_interceptors")
        if entry is None or is_null_or_absent(entry[1]) or is_variable(entry[1]):
            return
        if entry[1].kind != SEQUENCE:
            self._context.error(entry[1], at, "wrong-type", "expected a list of extensions")

    def _check_base_path(self, settings: Node, path: Path) -> None:
        entry = settings.entries.get("base_path")
        if entry is None or entry[1].kind != SCALAR or is_variable(entry[1]) or entry[1].text in ("", "/"):
            return
        text = entry[1].text
        if not text.startswith("/") or posixpath.normpath(text) != text:
            self._context.error(
                entry[1], (path, "base_path"), "base-path", "must begin with / and have no empty, '.' or '..' segments"
            )

    def check_sampling(self, key: Node, settings: Node, path: Path) -> None:
        if not expect_mapping(settings, path, self._context):
            self._context.error(key, path, "exactly-one", "needs exactly one of file, adaptive")
            return
        check_fields(settings, path, SAMPLING, self._context, {})
        given = [name for name in ("file", "adaptive") if name in settings.entries]
        if len(given) != 1:
            self._context.error(key, path, "exactly-one", f"needs exactly one of file, adaptive, not {len(given)}")
        adaptive = settings.entries.get("adaptive")
        if adaptive is not None and adaptive[1].kind == MAPPING:
            at: Path = (path, "adaptive")
            self._check_reference(adaptive[0], adaptive[1], at, "sampling_store", required=True)

    def check_remote_storage(self, key: Node, settings: Node, path: Path) -> None:
        if settings.kind == MAPPING:
            self._check_reference(key, settings, path, "storage")

    def check_exporter(self, key: Node, settings: Node, path: Path) -> None:
        if not expect_mapping(settings, path, self._context):
            self._context.error(key, (path, "trace_storage"), "required", "trace_storage must name a storage backend")
            return
        self._check_reference(key, settings, path, "trace_storage", required=True)

    def _check_reference(
        self,
        key: Node,
        settings: Node,
        path: Path,
        field: str,
        known: set[str] | None = None,
        *,
        required: bool = False,
    ) -> None:
        entry = settings.entries.get(field)
        at: Path = (path, field)
        if entry is None or is_null_or_absent(entry[1]) or (entry[1].kind == SCALAR and not entry[1].text):
            if required:
                self._context.error(key, at, "required", f"{field} must name a storage backend")
            return
        node = entry[1]
        if node.kind != SCALAR:
            self._context.error(node, at, "wrong-type", "expected the name of a storage backend")
            return
        known = self._backends if known is None else known
        # A file without jaeger_storage may be merged with another file that has it.
        if self._backends is None or is_variable(node) or known is None or node.text in known:
            return
        message = f"no backend {node.text[:80]!r} under jaeger_storage; defined: {', '.join(sorted(known)) or 'none'}"
        self._context.error(node, at, "undefined-reference", message, self._context.hint(node.text, known))


_ID = re.compile(r"(?P<type>[A-Za-z][0-9A-Za-z_]{0,62})(?:/(?P<name>\S.{0,1023}))?", re.ASCII)
_SIGNALS = ("traces", "metrics", "logs", "profiles")

Ids = dict[str, dict[str, Node]]
"""The settings by section and component id."""


def check_collector(root: Node, context: Context) -> Ids:
    """Report what the collector would refuse, and return the components that are defined."""
    ids = {section: _components(section, root, context) for section in SECTIONS}
    expanded = frozenset(name for name in SECTIONS if name in root.entries and is_variable(root.entries[name][1]))
    for section in ("receivers", "exporters"):
        if not ids[section] and section not in expanded and not (section == "receivers" and ids["connectors"]):
            node = root.entries.get(section, (root, root))[0]
            context.error(node, (None, section), "required", f"at least one of the {section} must be configured")
    for connector in ids["connectors"]:
        for section in ("receivers", "exporters"):
            if connector in ids[section]:
                node = root.entries["connectors"][1].entries[connector][0]
                context.error(
                    node, ((None, "connectors"), connector), "ambiguous-id", f"{connector!r} is in {section} too"
                )
    service = root.entries.get("service")
    if service is None or is_null_or_absent(service[1]):
        context.error(root, (None, "service"), "required", "a service section with at least one pipeline is required")
    elif expect_mapping(service[1], (None, "service"), context):
        _Service(ids, expanded, context).check(service[1])
    return ids


def is_null_or_absent(node: Node) -> bool:
    """Return whether there is no value."""
    return node.kind == SCALAR and is_null(node)


def is_variable(node: Node) -> bool:
    """Return whether the value is `${env:X}` or `${X}`, which is only known when it is expanded."""
    return node.kind == SCALAR and "$" in node.text


def expect_mapping(node: Node, path: Path, context: Context) -> bool:
    """Return whether `node` is a mapping; report anything else except null (which means all defaults)."""
    if node.kind == MAPPING:
        return True
    if not is_null_or_absent(node) and not is_variable(node):
        context.error(node, path, "wrong-type", "expected a mapping of settings")
    return False


def check_fields(node: Node, path: Path, known: frozenset[str], context: Context, moved: dict[str, str]) -> None:
    """Report the keys of `node` that are not in `known`."""
    for name, (key, _) in node.entries.items():
        if name not in known:
            hint = f"use {moved[name]}" if name in moved else context.hint(name, known)
            context.error(
                key, (path, name), "unknown-field", f"unknown field {name[:80]!r}; known fields: {_listed(known)}", hint
            )


def _listed(known: frozenset[str]) -> str:
    return ", ".join(sorted(known))


def _components(section: str, root: Node, context: Context) -> dict[str, Node]:
    entry = root.entries.get(section)
    path: Path = (None, section)
    if entry is None or not expect_mapping(entry[1], path, context):
        return {}
    found = {}
    for text, (key, settings) in entry[1].entries.items():
        if _is_id(text, section, key, (path, text), context):
            found[text] = settings
            expect_mapping(settings, (path, text), context)
    return found


def _is_id(text: str, section: str, key: Node, path: Path, context: Context) -> bool:
    match = _ID.fullmatch(text)
    if match is None:
        context.error(key, path, "component-id", f"{text[:80]!r} is not a valid component id; write type or type/name")
        return False
    kind = match["type"]
    if kind not in TYPES[section]:
        hint = REMOVED.get((section, kind)) or context.hint(kind, TYPES[section])
        message = f"unknown type {kind!r}; Jaeger's {section}: {_listed(TYPES[section])}"
        context.error(key, path, "component-type", message, hint)
    return True


class _Service:
    """The service section, which connects components to pipelines."""

    def __init__(self, ids: Ids, expanded: frozenset[str], context: Context) -> None:
        self._ids = ids
        self._expanded = expanded
        self._context = context
        self._feeds: dict[str, list[tuple[str, Node, Path]]] = {}
        self._drains: dict[str, list[tuple[str, Node, Path]]] = {}

    def check(self, service: Node) -> None:
        path: Path = (None, "service")
        check_fields(service, path, frozenset(("extensions", "pipelines", "telemetry")), self._context, {})
        self._check_extensions(service, path)
        telemetry = service.entries.get("telemetry")
        if telemetry is not None and expect_mapping(telemetry[1], (path, "telemetry"), self._context):
            check_fields(telemetry[1], (path, "telemetry"), TELEMETRY, self._context, {})
        pipelines = service.entries.get("pipelines")
        if pipelines is None or is_null_or_absent(pipelines[1]) or not getattr(pipelines[1], "entries", True):
            self._context.error(service, (path, "pipelines"), "required", "at least one pipeline is required")
        elif expect_mapping(pipelines[1], (path, "pipelines"), self._context):
            for name, (key, pipeline) in pipelines[1].entries.items():
                self._check_pipeline(name, key, pipeline, ((path, "pipelines"), name))
        self._check_connectors()

    def _check_extensions(self, service: Node, path: Path) -> None:
        entry = service.entries.get("extensions")
        if entry is None:
            return
        for text, node, at in self._references(entry[1], (path, "extensions")):
            if text not in self._ids["extensions"]:
                self._unknown(text, node, at, "extensions", self._ids["extensions"])

    def _check_pipeline(self, name: str, key: Node, pipeline: Node, path: Path) -> None:
        signal = name.split("/", 1)[0]
        if signal not in _SIGNALS:
            self._context.error(
                key, path, "pipeline-id", f"{name[:80]!r} is not a pipeline id; begin with {', '.join(_SIGNALS)}"
            )
        if not expect_mapping(pipeline, path, self._context):
            self._context.error(key, path, "required", "a pipeline needs receivers and exporters")
            return
        check_fields(pipeline, path, frozenset(("receivers", "processors", "exporters")), self._context, {})
        for section in ("receivers", "exporters"):
            self._check_ends(name, section, key, pipeline, path)
        self._check_processors(pipeline, path)

    def _check_ends(self, pipeline_name: str, section: str, key: Node, pipeline: Node, path: Path) -> None:
        entry = pipeline.entries.get(section)
        found = list(self._references(entry[1], (path, section))) if entry is not None else []
        if not found and not (entry is not None and is_variable(entry[1])):
            self._context.error(key, (path, section), "required", f"a pipeline needs at least one of {section}")
        links = self._drains if section == "receivers" else self._feeds
        for text, node, at in found:
            if text in self._ids["connectors"]:
                links.setdefault(text, []).append((pipeline_name, node, at))
            elif text not in self._ids[section]:
                self._unknown(text, node, at, section, {**self._ids[section], **self._ids["connectors"]})

    def _check_processors(self, pipeline: Node, path: Path) -> None:
        entry = pipeline.entries.get("processors")
        if entry is None:
            return
        seen: set[str] = set()
        for text, node, at in self._references(entry[1], (path, "processors")):
            if text not in self._ids["processors"]:
                self._unknown(text, node, at, "processors", self._ids["processors"])
            if text in seen:
                self._context.error(node, at, "duplicate", f"processor {text!r} is listed twice in this pipeline")
            seen.add(text)

    def _references(self, node: Node, path: Path) -> Iterator[tuple[str, Node, Path]]:
        if is_null_or_absent(node) or is_variable(node):
            return
        if node.kind != SEQUENCE:
            self._context.error(node, path, "wrong-type", "expected a list of component ids")
            return
        for index, item in enumerate(node.items):
            if item.kind != SCALAR:
                self._context.error(item, (path, index), "wrong-type", "expected a component id")
            elif not is_variable(item):
                yield item.text, item, (path, index)

    def _unknown(self, text: str, node: Node, path: Path, section: str, known: dict[str, Node]) -> None:
        if section in self._expanded or (section in ("receivers", "exporters") and "connectors" in self._expanded):
            return
        message = f"{text[:80]!r} is not defined under {section}; defined: {', '.join(sorted(known)) or 'none'}"
        self._context.error(node, path, "undefined-reference", message, self._context.hint(text, known))

    def _check_connectors(self) -> None:
        for links, others, missing in (
            (self._feeds, self._drains, "as a receiver"),
            (self._drains, self._feeds, "as an exporter"),
        ):
            for connector, uses in links.items():
                if connector not in others:
                    _, node, path = uses[0]
                    self._context.error(
                        node, path, "connector-unused", f"connector {connector!r} must also be used {missing}"
                    )
        self._check_cycles()

    def _check_cycles(self) -> None:
        reached: dict[str, set[str]] = {}
        for connector, uses in self._feeds.items():
            for source, _, _ in uses:
                reached.setdefault(source, set()).update(name for name, _, _ in self._drains.get(connector, ()))
        for uses in self._feeds.values():
            for source, node, path in uses:
                if _reaches(source, source, reached):
                    self._context.error(
                        node, path, "connector-cycle", f"pipeline {source!r} feeds itself through connectors"
                    )


def _reaches(start: str, goal: str, edges: dict[str, set[str]]) -> bool:
    seen: set[str] = set()
    waiting = list(edges.get(start, ()))
    while waiting:
        at = waiting.pop()
        if at == goal:
            return True
        if at not in seen:
            seen.add(at)
            waiting += edges.get(at, ())
    return False
