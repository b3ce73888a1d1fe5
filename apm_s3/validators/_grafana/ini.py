"""grafana.ini: sections and keys against the documented ones.

The server ignores what it does not know, so an unknown name is a warning: it is mostly a typing error.
https://grafana.com/docs/grafana/latest/setup-grafana/configure-grafana/.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from apm_s3.validators._context import Context
from apm_s3.validators._reading.ini_reader import DEFAULT_SECTION
from apm_s3.validators._reading.nodes import MAPPING, Node

_OPEN_PREFIXES = ("plugin.", "tracing.", "unified_storage.", "log.")
"""Sections that are named after plugins, exporters, resources and log sinks."""


@cache
def known_sections() -> dict[str, frozenset[str] | None]:
    """Section -> its keys; None where any key may stand."""
    text = files("apm_s3.validators").joinpath("_data", "grafana_ini.json").read_text("utf-8")
    return {name: None if keys is None else frozenset(keys) for name, keys in json.loads(text).items()}


def check_ini(root: Node, context: Context) -> None:
    """Report sections and keys that Grafana's documentation does not name."""
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
            context.warn(key, (None, name), "unknown-section", f"Grafana documents no section [{name[:80]}]", hint)


def _check_keys(section: Node, name: str, keys: frozenset[str] | None, context: Context) -> None:
    if keys is None:
        return
    for key_name, (key, value) in section.entries.items():
        path = ((None, name), key_name)
        if value.kind == MAPPING:
            _check_nested(value, f"{name}.{key_name}", context)
        elif key_name not in keys:
            hint = context.hint(key_name, keys)
            context.warn(key, path, "unknown-key", f"Grafana documents no key {key_name[:80]!r} in [{name}]", hint)


def _check_nested(section: Node, name: str, context: Context) -> None:
    """A section of a mapping may hold its sub-sections: `auth: {ldap: {...}}` is `[auth.ldap]`."""
    known = known_sections()
    if name in known:
        _check_keys(section, name, known[name], context)
