"""grafana.ini: checks that sections and keys are documented.

The server ignores unknown names, so they are warnings: usually they are typos.
https://grafana.com/docs/grafana/latest/setup-grafana/configure-grafana/.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from apm_s3.validators._checking import Context
from apm_s3.validators._reading.ini_reader import DEFAULT_SECTION
from apm_s3.validators._reading.nodes import MAPPING, Node

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
