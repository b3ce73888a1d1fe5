"""Jaeger: the configuration of version 2, sampling strategies, and the configuration of the user interface.

The first is an OpenTelemetry Collector's: components, storage, pipelines. Sources:
https://www.jaegertracing.io/docs/latest/configuration/, https://opentelemetry.io/docs/collector/configuration/, and
the collector components that they name. `_data/jaeger.json` includes the types of all 2.x releases, so that no
release's configuration is refused; `_REMOVED` lists types that current releases do not have.

Jaeger decodes sampling strategies with Go's encoding/json, where only a wrong JSON type is an error. Problems that
Jaeger only logs at startup are warnings: https://www.jaegertracing.io/docs/latest/sampling/.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

from apm_s3.reports import Issue, Severity
from apm_s3.validators._checking import Context, Member, Source, check_top_level, take_issues
from apm_s3.validators._decoding import Codec, Hook, Schema, load_table, wrong_type
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Node, Path, is_null, mapping, resolve_plain
from apm_s3.validators._structs import Struct, check_unique

CONFIG = "collector.Config"

_SECTIONS = ("receivers", "processors", "exporters", "extensions", "connectors")
_REMOVED = {("extensions", "jaeger_mcp"): "it is part of jaeger_query now: write mcp: {} under its ai"}
_ID = re.compile(r"(?P<type>[A-Za-z][0-9A-Za-z_]{0,62})(?:/(?P<name>\S.{0,1023}))?", re.ASCII)
_SIGNALS = ("traces", "metrics", "logs", "profiles")
_BACKENDS = {"backends": "jaegerstorage.Backend", "metric_backends": "jaegerstorage.MetricBackend"}


def is_variable(node: Node) -> bool:
    """Return whether the value is `${env:X}` or `${X}`, which is only known when it is expanded."""
    return node.kind == SCALAR and "$" in node.text


@cache
def config_schema() -> Schema:
    """Return the types of Jaeger's configuration, with variables that are not expanded."""
    return Schema(
        load_table("jaeger"),
        codecs={
            **{f"collector.{section.title()}": _components(section) for section in _SECTIONS},
            "any": _keep,
            "id": _texts("a component id"),
            "reference": _texts("the name of a storage backend"),
            "settings": _decode_settings,
        },
        hooks={
            CONFIG: (_check_ids, _check_references, _check_service),
            "collector.Pipeline": (_check_processors,),
            "jaegerstorage.Config": (_check_storage,),
            "jaegerstorage.Backend": (_check_backend,),
            "jaegerstorage.MetricBackend": (_check_backend,),
            "jaegerquery.AI": (_check_ai,),
            "jaegerquery.Config": (_check_query,),
            "jaegerquery.Storage": (_needs_backend("traces"),),
            "remotesampling.Config": (_check_sampling,),
            "remotesampling.Adaptive": (_needs_backend("sampling_store"),),
            "storageexporter.Config": (_needs_backend("trace_storage"),),
        },
        yaml=4,
        is_unknown=is_variable,
    )


def _components(section: str) -> Codec:
    """Return a codec of a section: component ids with settings, of which the type says what they may have."""

    def decode(node: Node, path: Path, context: Context) -> Any:
        if node.kind != MAPPING:
            return _decode_settings(node, path, context)
        return {
            text: _decode_component(_kind_of(text, section, key, (path, text), context), key, settings, path, context)
            for text, (key, settings) in node.entries.items()
            if _is_id(text, key, (path, text), context)
        }

    return decode


def _is_id(text: str, key: Node, path: Path, context: Context) -> bool:
    if _ID.fullmatch(text) is None:
        context.error(key, path, "component-id", f"{text[:80]!r} is not a valid component id; write type or type/name")
        return False
    return True


def _kind_of(text: str, section: str, key: Node, path: Path, context: Context) -> str:
    """Return the kind of a component's settings, after reporting a component that Jaeger does not have."""
    known = config_schema().table[f"collector.{section.title()}"]
    name = text.partition("/")[0]
    if name not in known:
        hint = _REMOVED.get((section, name)) or context.hint(name, known)
        message = f"unknown type {name!r}; Jaeger's {section}: {', '.join(sorted(known))}"
        context.error(key, path, "component-type", message, hint)
    return known.get(name, "settings")


def _decode_component(kind: str, key: Node, settings: Node, path: Path, context: Context) -> Any:
    if settings.kind == SCALAR and is_null(settings):
        # No settings are an empty mapping, in which something may be missing.
        settings = mapping(key.line, key.column)
    return config_schema().codec(kind)(settings, (path, key.text), context)


def _decode_settings(node: Node, path: Path, context: Context) -> Any:
    """Decode a mapping whose fields are not checked."""
    if node.kind != MAPPING and not (node.kind == SCALAR and is_null(node)):
        return wrong_type(node, path, context, "a mapping of settings")
    return node


def _keep(node: Node, _path: Path, _context: Context) -> Node:
    """Decode nothing: the value is not checked, or by a hook."""
    return node


def _texts(expected: str) -> Codec:
    def decode(node: Node, path: Path, context: Context) -> Any:
        return node.text if node.kind == SCALAR else wrong_type(node, path, context, expected)

    return decode


def _require(struct: Struct, name: str, context: Context, message: str) -> None:
    """Report that the field `name` is missing."""
    context.error(struct.key(name) or struct.node, (struct.path, name), "required-field", message)


def _needs_backend(field: str) -> Hook:
    """Return a hook: the field must name a storage backend."""

    def check(struct: Struct, context: Context) -> None:
        if struct.empty(field):
            _require(struct, field, context, f"{field} must name a storage backend")

    return check


def _check_storage(storage: Struct, context: Context) -> None:
    if storage.empty("backends"):
        _require(storage, "backends", context, "at least one storage backend is required")
    for field in ("backends", "metric_backends"):
        for name, backend in (storage.get(field) or {}).items():
            if backend is None:
                kinds = config_schema().table[_BACKENDS[field]]
                message = f"name one kind of storage: {', '.join(sorted(kinds))}"
                storage.error(context, (field, name), "required-field", message, at_key=True)


def _check_backend(backend: Struct, context: Context) -> None:
    kinds = config_schema().table[backend.type]
    given = [name for name in kinds if backend.given(name)]
    if len(given) != 1 and len([name for name in backend.node.entries if name in kinds]) != 1:
        message = f"a backend has exactly one kind of storage, not {len(given)}: {', '.join(sorted(kinds))}"
        context.error(backend.node, backend.path, "exclusive-fields", message)


def _check_ai(ai: Struct, context: Context) -> None:
    """Refuse an `ai` without chat and without tools for agents."""
    agent, enabled = ai.get("agent_url"), ai.get("enable_mcp") or ai.get("mcp")
    if agent is None or agent.kind != SCALAR or agent.text or ai.failed & {"enable_mcp", "mcp"}:
        return
    if enabled is None or (enabled.kind == SCALAR and resolve_plain(enabled.text) is False):
        ai.error(context, "agent_url", "required-field", "ai needs an agent_url (the chat) or mcp (tools for agents)")


def _check_query(query: Struct, context: Context) -> None:
    if query.empty("storage"):
        path: Path = ((query.path, "storage"), "traces")
        context.error(query.node, path, "required-field", "storage.traces must name a storage backend")
    text = getattr(query.get("base_path"), "text", "")
    if text not in ("", "/") and (not text.startswith("/") or posixpath.normpath(text) != text):
        message = "must begin with / and have no empty, '.' or '..' segments"
        query.error(context, "base_path", "base-path", message)


def _check_sampling(sampling: Struct, context: Context) -> None:
    given = [name for name in ("file", "adaptive") if name in sampling.node.entries]
    if len(given) != 1:
        message = f"needs exactly one of file, adaptive, not {len(given)}"
        context.error(sampling.node, sampling.path, "exclusive-fields", message)


_REFERENCES = (
    ("extensions", "jaeger_query", "storage", ("traces", "traces_archive", "metrics")),
    ("extensions", "remote_sampling", "adaptive", ("sampling_store",)),
    ("extensions", "remote_storage", "", ("storage",)),
    ("exporters", "jaeger_storage_exporter", "", ("trace_storage",)),
)
"""What names a storage backend: a section, a type of component, a field of it, and the fields there."""


def _check_references(config: Struct, context: Context) -> None:
    """Check that components name storage backends that exist."""
    storages = list(_of_type(config, "extensions", "jaeger_storage"))
    backends, metrics = _names(storages, "backends"), _names(storages, "metric_backends")
    for section, name, inner, fields in _REFERENCES:
        for component in _of_type(config, section, name):
            if (owner := component.struct(inner) if inner else component) is not None:
                for field in fields:
                    _check_reference(owner, field, metrics if field == "metrics" else backends, context)


def _of_type(config: Struct, section: str, name: str) -> Iterator[Struct]:
    for text, component in (config.get(section) or {}).items():
        if text.partition("/")[0] == name and isinstance(component, Struct):
            yield component


def _names(storages: list[Struct], field: str) -> set[str] | None:
    """Return the names of the backends; None if they are not known."""
    # A file without jaeger_storage may be merged with another file that has it.
    if not storages or any(field in storage.failed for storage in storages):
        return None
    return {name for storage in storages for name in storage.get(field) or ()}


def _check_reference(owner: Struct, field: str, known: set[str] | None, context: Context) -> None:
    text = owner.get(field)
    if text and known is not None and text not in known:
        message = f"no backend {text[:80]!r} under jaeger_storage; defined: {', '.join(sorted(known)) or 'none'}"
        owner.error(context, field, "undefined-reference", message, context.hint(text, known))


def _check_ids(config: Struct, context: Context) -> None:
    """Check that there are receivers and exporters, and that no connector has the id of one of them."""
    connectors: Mapping[str, Any] = config.get("connectors") or {}
    for section in ("receivers", "exporters"):
        if config.empty(section) and not (section == "receivers" and connectors):
            _require(config, section, context, f"at least one of the {section} must be configured")
        for connector in connectors:
            if connector in (config.get(section) or ()):
                message = f"{connector!r} is in {section} too"
                config.error(context, ("connectors", connector), "ambiguous-id", message, at_key=True)


def _check_processors(pipeline: Struct, context: Context) -> None:
    check_unique(context, pipeline.listed("processors"), "processor {name} is listed twice in this pipeline")


def _check_service(config: Struct, context: Context) -> None:
    service = config.struct("service")
    if service is not None:
        _Service(config, service, context).check()
    elif "service" not in config.failed:
        _require(config, "service", context, "a service section with at least one pipeline is required")


class _Service:
    """The service section, which connects components to pipelines."""

    def __init__(self, config: Struct, service: Struct, context: Context) -> None:
        self._config = config
        self._service = service
        self._context = context
        self._feeds: dict[str, list[tuple[str, Struct, tuple[str, int]]]] = {}
        self._drains: dict[str, list[tuple[str, Struct, tuple[str, int]]]] = {}

    def check(self) -> None:
        self._check_references(self._service, "extensions")
        if self._service.empty("pipelines"):
            path: Path = (self._service.path, "pipelines")
            self._context.error(self._service.node, path, "required-field", "at least one pipeline is required")
        for name, pipeline in (self._service.get("pipelines") or {}).items():
            self._check_pipeline(name, pipeline)
        self._check_connectors()

    def _check_pipeline(self, name: str, pipeline: Any) -> None:
        where = ("pipelines", name)
        if name.partition("/")[0] not in _SIGNALS:
            message = f"{name[:80]!r} is not a pipeline id; begin with {', '.join(_SIGNALS)}"
            self._service.error(self._context, where, "pipeline-id", message, at_key=True)
        if pipeline is None:
            message = "a pipeline needs receivers and exporters"
            self._service.error(self._context, where, "required-field", message, at_key=True)
        if not isinstance(pipeline, Struct):
            return
        self._check_references(pipeline, "processors")
        for section, links in (("receivers", self._drains), ("exporters", self._feeds)):
            if pipeline.empty(section):
                _require(pipeline, section, self._context, f"a pipeline needs at least one of {section}")
            for index, text in pipeline.strings(section):
                if text in (self._config.get("connectors") or ()):
                    links.setdefault(text, []).append((name, pipeline, (section, index)))
            self._check_references(pipeline, section, "connectors")

    def _check_references(self, owner: Struct, section: str, *others: str) -> None:
        sections = (section, *others)
        if self._config.failed & set(sections):
            return
        known: Collection[str] = {text for each in sections for text in self._config.get(each) or ()}
        for index, text in owner.strings(section):
            if text not in known:
                defined = ", ".join(sorted(known)) or "none"
                message = f"{text[:80]!r} is not defined under {section}; defined: {defined}"
                hint = self._context.hint(text, known)
                owner.error(self._context, (section, index), "undefined-reference", message, hint)

    def _check_connectors(self) -> None:
        for links, others, missing in (
            (self._feeds, self._drains, "as a receiver"),
            (self._drains, self._feeds, "as an exporter"),
        ):
            for connector, uses in links.items():
                if connector not in others:
                    message = f"connector {connector!r} must also be used {missing}"
                    uses[0][1].error(self._context, uses[0][2], "connector-unused", message)
        reached: dict[str, set[str]] = {}
        for connector, uses in self._feeds.items():
            for source, _, _ in uses:
                reached.setdefault(source, set()).update(name for name, _, _ in self._drains.get(connector, ()))
        for uses in self._feeds.values():
            for source, pipeline, where in uses:
                if _reaches(source, source, reached):
                    message = f"pipeline {source!r} feeds itself through connectors"
                    pipeline.error(self._context, where, "connector-cycle", message)


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


_TYPES = ("probabilistic", "ratelimiting")
_UI_FUNCTION = re.compile(r"^[^\S\n]*function\s+UIConfig\(\s*\)", re.MULTILINE)


def check_sampling(root: Node, context: Context) -> None:
    """Report the problems of a strategies file."""
    if root.kind != MAPPING:
        if not (root.kind == SCALAR and root.plain and root.text == "null"):
            context.error(root, None, "wrong-type", "expected an object with default_strategy and service_strategies")
        return
    for name in root.entries:
        if name.lower() not in ("default_strategy", "service_strategies"):
            context.warn(root.entries[name][0], (None, name), "unknown-field", f"{name[:80]!r} is ignored")
    _check_strategy(root.entries.get("default_strategy"), (None, "default_strategy"), context)
    services = root.entries.get("service_strategies")
    seen: set[str] = set()
    for entry, path in _objects(services, (None, "service_strategies"), context):
        _check_strategy((entry, entry), path, context)
        service = entry.entries.get("service")
        if service is None or service[1].kind != SCALAR:
            continue
        name = service[1].text
        if name in seen:
            context.warn(service[1], (path, "service"), "duplicate-name", f"service {name[:80]!r} is listed twice")
        seen.add(name)


def check_ui(source: Source, context: Context) -> None:
    """Report the problems of a user interface configuration, JSON or JavaScript."""
    if source.name is not None and source.name.endswith(".js"):
        if not _UI_FUNCTION.search(source.readable_text()):
            message = "a JavaScript configuration must define 'function UIConfig() {...}'"
            context.add(Issue(Severity.ERROR, "", 1, 1, "ui-function", message))
        return
    root = take_issues(source.document("json"), context)
    if root is not None:
        check_top_level(root, (), context)


def _check_strategy(entry: tuple[Node, Node] | None, path: Path, context: Context) -> None:
    if entry is None or _is_json_null(entry[1]):
        return
    node = entry[1]
    if node.kind != MAPPING:
        context.error(node, path, "wrong-type", "expected an object")
        return
    for field in ("service", "operation", "type"):
        _check_text(node, path, field, context)
    kind = node.entries.get("type")
    if kind is not None and kind[1].kind == SCALAR and kind[1].text not in _TYPES:
        context.warn(kind[1], (path, "type"), "strategy-type", f"unknown strategy; Jaeger knows {' and '.join(_TYPES)}")
    _check_parameter(node, path, kind[1].text if kind is not None and kind[1].kind == SCALAR else "", context)
    operations = node.entries.get("operation_strategies")
    for operation, at in _objects(operations, (path, "operation_strategies"), context):
        _check_strategy((operation, operation), at, context)


def _check_parameter(node: Node, path: Path, kind: str, context: Context) -> None:
    entry = node.entries.get("param")
    if entry is None or _is_json_null(entry[1]):
        return
    value = entry[1]
    number = resolve_plain(value.text) if value.kind == SCALAR and value.plain else None
    if isinstance(number, bool) or not isinstance(number, int | float):
        context.error(value, (path, "param"), "wrong-type", "expected a number")
    elif kind == "probabilistic" and not 0 <= number <= 1:
        context.warn(value, (path, "param"), "out-of-range", "a probability must be between 0 and 1")
    elif kind == "ratelimiting" and number < 0:
        context.warn(value, (path, "param"), "out-of-range", "a rate must be at least 0")


def _check_text(node: Node, path: Path, field: str, context: Context) -> None:
    entry = node.entries.get(field)
    if entry is not None and not _is_json_null(entry[1]) and (entry[1].kind != SCALAR or entry[1].plain):
        context.error(entry[1], (path, field), "wrong-type", "expected a string")


def _objects(entry: tuple[Node, Node] | None, path: Path, context: Context) -> list[tuple[Node, Path]]:
    if entry is None or _is_json_null(entry[1]):
        return []
    if entry[1].kind != SEQUENCE:
        context.error(entry[1], path, "wrong-type", "expected an array of objects")
        return []
    found: list[tuple[Node, Path]] = []
    for index, item in enumerate(entry[1].items):
        if item.kind == MAPPING:
            found.append((item, (path, index)))
        elif not _is_json_null(item):
            context.error(item, (path, index), "wrong-type", "expected an object")
    return found


def _is_json_null(node: Node) -> bool:
    return node.kind == SCALAR and node.plain and node.text == "null"


KINDS = ("config", "sampling", "ui")
READ_TOGETHER = ()
_TOP_LEVEL = {
    "config": frozenset(("receivers", "processors", "exporters", "extensions", "connectors", "service")),
    "sampling": frozenset(("default_strategy", "service_strategies")),
    "ui": frozenset[str](),
}


def infer_kind(source: Source) -> str | None:
    """Infer `sampling` for JSON with strategies, `config` if there are collector sections, `ui` for other JSON."""
    keys = source.top_level_keys()
    if keys & _TOP_LEVEL["sampling"]:
        return "sampling"
    name = source.name or ""
    if name.endswith(".js") or (name.endswith(".json") and not keys & _TOP_LEVEL["config"]):
        return "ui"
    return "config" if not name or name.endswith((".yml", ".yaml", ".json")) else None


def check(kind: str, source: Source, context: Context) -> None:
    """Report the problems of one document."""
    if kind == "ui":
        check_ui(source, context)
        return
    root = take_issues(source.document("yaml" if kind == "config" else "json"), context)
    if kind == "sampling":
        if root is not None:
            check_sampling(root, context)
        return
    if root is not None and is_variable(root):
        context.skip("variable", "", "the whole configuration is a variable, which is only known when it is expanded")
        return
    root = check_top_level(root, (), context)
    if root is not None:
        config_schema().decode(CONFIG, root, context)


def check_bundle(members: list[Member]) -> None:
    """Do nothing: the files do not refer to each other."""
