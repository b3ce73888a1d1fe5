"""The structure that the OpenTelemetry collector requires: sections, ids, and the pipelines that connect them.

Rules: https://opentelemetry.io/docs/collector/configuration/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from apm_s3.validators._checking import Context
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Node, Path, is_null
from apm_s3.validators._tools.jaeger.components import REMOVED, SECTIONS, TELEMETRY, TYPES

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
