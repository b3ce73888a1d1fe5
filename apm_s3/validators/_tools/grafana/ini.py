"""grafana.ini, and the values that Grafana's files share.

The server ignores unknown names, so they are warnings: usually they are typos.
https://grafana.com/docs/grafana/latest/setup-grafana/configure-grafana/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from apm_s3.validators._checking import Context
from apm_s3.validators._reading.ini_reader import DEFAULT_SECTION
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Node, Path, is_null, resolve_plain


def field(node: Node, name: str) -> Node | None:
    """Return the value of a mapping's key, or None."""
    entry = node.entries.get(name) if node.kind == MAPPING else None
    return None if entry is None else entry[1]


def is_absent(node: Node | None) -> bool:
    """Return whether the value is missing, null, or blank."""
    return node is None or (node.kind == SCALAR and (is_null(node) or not node.text.strip()))


def is_variable(node: Node) -> bool:
    """Return whether only the server knows the value."""
    return node.kind == SCALAR and "$" in node.text


def expect_mapping(node: Node, path: Path, context: Context) -> bool:
    """Return whether `node` is a mapping; report it if it is neither that nor null."""
    if node.kind == MAPPING:
        return True
    if not (node.kind == SCALAR and is_null(node)):
        context.error(node, path, "wrong-type", "expected a mapping")
    return False


def expect_text(node: Node, path: Path, name: str, context: Context) -> None:
    """Report a list or mapping instead of text."""
    value = field(node, name)
    if value is not None and value.kind != SCALAR:
        context.error(value, (path, name), "wrong-type", "expected text")


def expect_integer(node: Node, path: Path, name: str, context: Context) -> None:
    """Report a value that is not an integer, quoted or not."""
    value = field(node, name)
    if value is None or is_absent(value) or is_variable(value):
        return
    number = resolve_plain(value.text) if value.kind == SCALAR else None
    if isinstance(number, bool) or not isinstance(number, int):
        context.error(value, (path, name), "wrong-type", "expected an integer")


def expect_bool(node: Node, path: Path, name: str, context: Context) -> None:
    """Report a value that is neither true nor false."""
    value = field(node, name)
    if value is None or is_absent(value) or is_variable(value):
        return
    if value.kind != SCALAR or (
        not isinstance(resolve_plain(value.text), bool) and value.text not in ("1", "0", "t", "f", "T", "F")
    ):
        context.error(value, (path, name), "wrong-type", "expected true or false")


def objects(root: Node, path: Path, name: str, context: Context) -> Iterator[tuple[Node, Path]]:
    """Yield the mappings in the list `name`, and report other entries."""
    value = field(root, name)
    at: Path = (path, name)
    if value is None or (value.kind == SCALAR and is_null(value)):
        return
    if value.kind != SEQUENCE:
        context.error(value, at, "wrong-type", "expected a list")
        return
    for index, item in enumerate(value.items):
        if expect_mapping(item, (at, index), context):
            yield item, (at, index)


_OPEN_PREFIXES = ("plugin.", "tracing.", "unified_storage.", "log.")
"""Sections named after plugins, exporters, resources and log sinks."""


@cache
def known_sections() -> dict[str, frozenset[str] | None]:
    """Return the keys of each section; None if any key is allowed."""
    text = files("apm_s3.validators").joinpath("_data", "grafana_ini.json").read_text("utf-8")
    return {name: None if keys is None else frozenset(keys) for name, keys in json.loads(text).items()}


def check_ini(root: Node, context: Context) -> None:
    """Report sections and keys that Grafana does not document."""
    known = known_sections()
    for name, (key, section) in root.entries.items():
        if section.kind != MAPPING:
            if name in (known[DEFAULT_SECTION] or ()):
                continue
            context.error(key, (None, name), "wrong-type", "a section of grafana.ini is a mapping of keys to values")
        elif name in known:
            _check_keys(section, name, known[name], context)
        elif not name.startswith(_OPEN_PREFIXES):
            hint = context.hint(name, known)
            context.warn(key, (None, name), "unknown-section", f"[{name[:80]}] is not a documented section", hint)


def _check_keys(section: Node, name: str, keys: frozenset[str] | None, context: Context) -> None:
    if keys is None:
        return
    for key_name, (key, value) in section.entries.items():
        path = ((None, name), key_name)
        if value.kind == MAPPING:
            _check_nested(value, f"{name}.{key_name}", context)
        elif key_name not in keys:
            hint = context.hint(key_name, keys)
            context.warn(key, path, "unknown-key", f"{key_name[:80]!r} is not a documented key of [{name}]", hint)


def _check_nested(section: Node, name: str, context: Context) -> None:
    """Check sub-sections of a mapping: `auth: {ldap: {...}}` is `[auth.ldap]`."""
    known = known_sections()
    if name in known:
        _check_keys(section, name, known[name], context)
