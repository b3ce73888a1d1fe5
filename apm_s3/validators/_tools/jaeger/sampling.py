"""Sampling strategies as JSON, and the configuration of the user interface.

Jaeger decodes strategies with Go's encoding/json, where only a wrong JSON type is an error. Problems that Jaeger only
logs at startup are warnings: https://www.jaegertracing.io/docs/latest/sampling/.
"""

from __future__ import annotations

import re

from apm_s3.reports import Issue, Severity
from apm_s3.validators._checking import Context, Source, check_top_level, take_issues
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Node, Path, resolve_plain

_TYPES = ("probabilistic", "ratelimiting")
_UI_FUNCTION = re.compile(r"^\s*function\s+UIConfig\(\s*\)", re.MULTILINE)


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
