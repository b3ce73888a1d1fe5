"""Dashboards: problems that make Grafana refuse or misdisplay them.

https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from apm_s3.validators._checking import Context
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Node, Path, resolve_plain
from apm_s3.validators._tools.grafana.ini import field, is_absent, objects

_UID = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_UID_LENGTH = 40
_NEWEST_SCHEMA = 42
_VARIABLE = re.compile(r"\$\{?(?P<name>\w+)|\[\[(?P<old>\w+)\]\]", re.ASCII)
_RESOURCE = "dashboard.grafana.app/"

BUILT_IN_SOURCES = frozenset(
    ("-- Grafana --", "-- Mixed --", "-- Dashboard --", "grafana", "__expr__", "-100", "default")
)


def check_dashboard(root: Node, context: Context) -> None:
    """Report the problems of one dashboard."""
    if root.kind != MAPPING:
        context.error(root, None, "wrong-type", "a dashboard must be a JSON object")
        return
    model, path = _model(root)
    title = field(model, "title")
    if is_absent(title):
        hint = (
            "the dashboard is inside 'dashboard': provision only that object" if "dashboard" in root.entries else None
        )
        context.error(title or root, (path, "title"), "required-field", "a dashboard needs a title", hint)
    elif title is not None and not _is_json_text(title):
        context.error(title, (path, "title"), "wrong-type", "expected a string")
    _check_uid(model, path, context)
    if _is_v2(root):
        return
    _check_schema_version(model, path, context)
    variables = _check_variables(model, path, context)
    _check_panels(model, path, variables, context)


def data_source_references(root: Node) -> Iterator[tuple[str, Node, Path]]:
    """Yield the uid or name of each data source in panels, except variables and built-in ones."""
    model, path = _model(root)
    for panel, at in _all_panels(model, path):
        source, where = _source_of(panel, at)
        if source is None or not _is_json_text(source) or _VARIABLE.search(source.text):
            continue
        if source.text and source.text not in BUILT_IN_SOURCES:
            yield source.text, source, where


def dashboard_uid(root: Node) -> Node | None:
    """Return the dashboard's uid, if it has one."""
    uid = field(_model(root)[0], "uid")
    return None if is_absent(uid) else uid


def _model(root: Node) -> tuple[Node, Path]:
    """Return the dashboard itself; for a resource, its `spec`."""
    spec = field(root, "spec")
    if spec is not None and spec.kind == MAPPING and _api_version(root).startswith(_RESOURCE):
        return spec, (None, "spec")
    return root, None


def _api_version(root: Node) -> str:
    version = field(root, "apiVersion")
    return version.text if version is not None and version.kind == SCALAR else ""


def _is_v2(root: Node) -> bool:
    return _api_version(root).startswith(f"{_RESOURCE}v2")


def _is_json_text(node: Node) -> bool:
    return node.kind == SCALAR and not node.plain


def _check_uid(model: Node, path: Path, context: Context) -> None:
    uid = field(model, "uid")
    if uid is None or is_absent(uid):
        return
    if not _is_json_text(uid):
        context.error(uid, (path, "uid"), "wrong-type", "expected a string")
    elif len(uid.text) > _UID_LENGTH or not _UID.fullmatch(uid.text):
        context.error(uid, (path, "uid"), "uid", "use at most 40 characters of A-Z, a-z, 0-9, '-' and '_'")


def _check_schema_version(model: Node, path: Path, context: Context) -> None:
    node = field(model, "schemaVersion")
    if node is None:
        return
    version = resolve_plain(node.text) if node.kind == SCALAR and node.plain else None
    if not isinstance(version, int) or isinstance(version, bool):
        if not is_absent(node):
            context.warn(node, (path, "schemaVersion"), "schema-version", "expected a number")
    elif version > _NEWEST_SCHEMA:
        message = f"schema version {version} is newer than the newest known one, {_NEWEST_SCHEMA}"
        context.warn(node, (path, "schemaVersion"), "schema-version", message)


def _check_variables(model: Node, path: Path, context: Context) -> set[str]:
    templating = field(model, "templating")
    names: set[str] = set()
    at: Path = (path, "templating")
    if templating is None or is_absent(templating):
        return names
    if templating.kind != MAPPING:
        context.error(templating, at, "wrong-type", "expected an object with a list of variables")
        return names
    for variable, where in objects(templating, at, "list", context):
        name = field(variable, "name")
        if name is None or is_absent(name):
            context.warn(variable, (where, "name"), "required-field", "a variable needs a name")
            continue
        if name.kind != SCALAR:
            context.error(name, (where, "name"), "wrong-type", "expected a string")
            continue
        if name.text in names:
            context.warn(name, (where, "name"), "duplicate-name", f"variable {name.text[:80]!r} is defined twice")
        names.add(name.text)
    return names


def _check_panels(model: Node, path: Path, variables: set[str], context: Context) -> None:
    seen: set[str] = set()
    for panel, at in _all_panels(model, path, context):
        identity = field(panel, "id")
        if identity is not None and identity.kind == SCALAR and not is_absent(identity):
            if identity.text in seen:
                context.warn(identity, (at, "id"), "duplicate-name", f"panel id {identity.text[:20]} is used twice")
            seen.add(identity.text)
        if is_absent(field(panel, "type")) and field(panel, "libraryPanel") is None:
            context.warn(panel, (at, "type"), "required-field", "a panel needs a type")
        _check_panel_source(panel, at, variables, context)


def _check_panel_source(panel: Node, path: Path, variables: set[str], context: Context) -> None:
    source, at = _source_of(panel, path)
    if source is None or source.kind != SCALAR:
        return
    match = _VARIABLE.fullmatch(source.text.rstrip("}"))
    name = (match["name"] or match["old"]) if match else None
    if name and name not in variables and not name.startswith("DS_"):
        message = f"variable {name[:80]!r} is not defined in the dashboard"
        context.warn(source, at, "undefined-reference", message)


def _source_of(panel: Node, path: Path) -> tuple[Node | None, Path]:
    """Return the uid or, in older dashboards, the name of a panel's data source."""
    source = field(panel, "datasource")
    if source is not None and source.kind == MAPPING:
        return field(source, "uid"), ((path, "datasource"), "uid")
    return source, (path, "datasource")


def _all_panels(model: Node, path: Path, context: Context | None = None) -> Iterator[tuple[Node, Path]]:
    """Yield every panel: at the top level, in old-style rows, and in collapsed rows."""
    for holder in ("rows", "panels"):
        entries = field(model, holder)
        at: Path = (path, holder)
        if entries is None or is_absent(entries):
            continue
        if entries.kind != SEQUENCE:
            if context is not None:
                context.error(entries, at, "wrong-type", "expected a list")
            continue
        for index, item in enumerate(entries.items):
            if item.kind != MAPPING:
                if context is not None and not is_absent(item):
                    context.error(item, (at, index), "wrong-type", "expected an object")
                continue
            if holder == "panels":
                yield item, (at, index)
            yield from _all_panels(item, (at, index), context)
