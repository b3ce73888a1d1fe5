"""Files of file_sd_configs: lists of target groups, in YAML or in JSON with Go's rules.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apm_s3.reports import Issue, Severity
from apm_s3.validators._checking import Context, Source, take_issues
from apm_s3.validators._decoding import INVALID, Struct, wrong_type
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Entry, Node, Path, mapping
from apm_s3.validators._tools.prometheus.schema import TARGETS, config_schema
from apm_s3.validators._tools.prometheus.scrape import check_group

_FIELDS = ("targets", "labels")


def is_json(name: str | None) -> bool:
    """Return whether Prometheus reads a file of this name as JSON."""
    return name is not None and name.lower().endswith(".json")


def check_target_file(source: Source, context: Context) -> None:
    """Report the problems of one file."""
    for group, node, path in _groups(source, context):
        if group is None:
            context.error(node, path, "null-section", "empty or null target group")


def groups_of(source: Source, context: Context) -> list[Struct]:
    """Return the valid target groups in a file."""
    return [group for group, _, _ in _groups(source, context) if isinstance(group, Struct)]


def _groups(source: Source, context: Context) -> Iterator[tuple[Any, Node, Path]]:
    as_json = is_json(source.name)
    if as_json and source.has_mark:
        context.add(Issue(Severity.ERROR, "", 1, 1, "json-syntax", "JSON cannot begin with a byte order mark"))
        return
    document = source.document("json", last_wins=True) if as_json else source.document("yaml", library="v2")
    root = take_issues(document, context)
    if root is None:
        return
    decode = _decode_json if as_json else config_schema().codec(f"[]{TARGETS}")
    for index, group in enumerate(_listed(decode(root, None, context))):
        yield group, root.items[index], (None, index)


def _listed(decoded: Any) -> list[Any]:
    return decoded if isinstance(decoded, list) else []


# -- JSON as Go's encoding/json decodes it: field names in any case, text only from strings, null for anything


def _decode_json(root: Node, path: Path, context: Context) -> Any:
    if _is_null(root):
        return None
    if root.kind != SEQUENCE:
        return wrong_type(root, path, context, "a list of target groups")
    return [_group(node, (path, index), context) for index, node in enumerate(root.items)]


def _group(node: Node, path: Path, context: Context) -> Any:
    if _is_null(node):
        return None
    if node.kind != MAPPING:
        return wrong_type(node, path, context, "an object with targets and labels")
    values: dict[str, Any] = {}
    named = mapping(node.line, node.column)
    for name, (key, value) in node.entries.items():
        field = next((field for field in _FIELDS if name.casefold() == field), None)
        if field is None:
            message = f"unknown field {name[:80]!r}; known fields: {', '.join(_FIELDS)}"
            context.error(key, (path, name), "unknown-field", message, context.hint(name, _FIELDS))
            continue
        named.entries[field] = (key, value)
        decode = _targets if field == "targets" else _labels
        values[field] = decode(value, (path, name), context)
    failed = frozenset(name for name, value in values.items() if value is INVALID)
    kept = {name: value for name, value in values.items() if value is not INVALID}
    group = Struct(TARGETS, named, path, kept, failed)
    check_group(group, context)
    return group


def _targets(node: Node, path: Path, context: Context) -> Any:
    if _is_null(node):
        return None
    if node.kind != SEQUENCE:
        return wrong_type(node, path, context, "a list of targets")
    return [_text(item, (path, index), context) for index, item in enumerate(node.items)]


def _labels(node: Node, path: Path, context: Context) -> Any:
    if _is_null(node):
        return None
    if node.kind != MAPPING:
        return wrong_type(node, path, context, "an object of labels")
    entries: dict[str, Entry] = node.entries
    return {name: _text(value, (path, name), context) for name, (_, value) in entries.items()}


def _text(node: Node, path: Path, context: Context) -> Any:
    if _is_null(node):
        return ""
    if node.kind != SCALAR or node.plain:
        return wrong_type(node, path, context, "text in quotes")
    return node.text


def _is_null(node: Node) -> bool:
    return node.kind == SCALAR and node.plain and node.text == "null"
