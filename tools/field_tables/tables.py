"""From Go's declarations to the validators' tables, and what differs between two tables."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tools.field_tables.go_source import GoField, GoPackage, GoType

Table = dict[str, dict[str, str]]

_SCALAR = re.compile(r"string|bool|u?int(8|16|32|64)?|float(32|64)")
_WIDTH = 120
_DISCOVERIES = "discovery.Configs"
"""The field in which Prometheus collects what service discoveries have registered under their names."""


class Tables:
    """Makes tables from packages."""

    def __init__(self, packages: Iterable[GoPackage]) -> None:
        self._packages = {package.path: package for package in packages}
        self._made: Table = {}

    def make(self, roots: Iterable[str]) -> Table:
        """The types that are reachable from `roots`, such as "prometheus/config.Config".

        Raises:
            ValueError: a root is not in the sources.
        """
        for root in roots:
            if self._find(root) is None:
                raise ValueError(f"{root} is not in the given checkouts")
            self._make(root)
        return dict(sorted(self._made.items()))

    def defaults(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """Go's default values of the types `names`, where a variable holds them as a literal."""
        found: dict[str, dict[str, str]] = {}
        for name in names:
            declared = self._find(name)
            if declared is None:
                continue
            for of, entries in declared.package.defaults.values():
                if of == declared.name and entries:
                    found.setdefault(name, {}).update(entries)
        return found

    def _find(self, name: str) -> GoType | None:
        short, _, type_name = name.rpartition(".")
        packages = [package for package in self._packages.values() if package.short == short]
        return next((package.types[type_name] for package in packages if type_name in package.types), None)

    def _make(self, name: str) -> None:
        if name in self._made:
            return
        self._made[name] = {}
        declared = self._find(name)
        if declared is not None:
            self._made[name] = dict(sorted(self._fields(declared).items()))

    def _fields(self, declared: GoType) -> dict[str, str]:
        found: dict[str, str] = {}
        for each in declared.fields or ():
            name, _, options = each.tags.get("yaml", "").partition(",")
            if each.type.strip("*") == _DISCOVERIES or self._is_discoveries(each, declared):
                found |= self._discoveries()
            elif name != "-" and "inline" in options.split(","):
                inner = self._struct(each.type, declared)
                found |= self._fields(inner) if inner is not None else {}
            elif name != "-" and "yaml" in each.tags:
                names = [name] if name else [given.lower() for given in each.names]
                found |= dict.fromkeys(names, self._kind(each.type, declared))
        return found

    def _is_discoveries(self, each: GoField, declared: GoType) -> bool:
        return self._full_name(each.type, declared).endswith("/discovery.Configs")

    def _discoveries(self) -> dict[str, str]:
        found = {}
        for package in self._packages.values():
            for type_name, name in package.discoveries.items():
                if type_name in package.types:
                    full = f"{package.short}.{type_name}"
                    self._make(full)
                    found[f"{name}_sd_configs"] = f"[]{full}"
        return found

    def _struct(self, text: str, declared: GoType) -> GoType | None:
        return self._find(self._full_name(text, declared))

    def _full_name(self, text: str, declared: GoType) -> str:
        """The name in tables of a type as `declared`'s file writes it."""
        package, _, name = text.lstrip("*").rpartition(".")
        if not package:
            return f"{declared.package.short}.{name}"
        path = declared.imports.get(package, package)
        return f"{GoPackage(path).short}.{name}"

    def _kind(self, text: str, declared: GoType) -> str:
        text = text.strip().lstrip("*")
        if text.startswith("[]"):
            return "[]" + self._kind(text[2:], declared)
        if text.startswith("map["):
            return "{}" + self._kind(text[_closing(text, 3) + 1 :], declared)
        if _SCALAR.fullmatch(text):
            return text
        if text in ("any", "error") or text.startswith(("interface", "func", "chan", "struct")):
            return "any"
        name = self._full_name(text, declared)
        if name == "time.Duration":
            return "int64:time.Duration"
        found = self._find(name)
        if found is None or found.fields is not None:
            self._make(name)
            return name
        underlying = self._kind(found.underlying, found)
        return f"{underlying}:{name}" if _SCALAR.fullmatch(underlying) else _last(underlying, name)


def _last(underlying: str, name: str) -> str:
    """The kind of a named type over `underlying`: a scalar keeps the innermost name that it has."""
    base = underlying.partition(":")[0]
    return f"{base}:{name}" if _SCALAR.fullmatch(base) else underlying


def _closing(text: str, start: int) -> int:
    depth = 0
    for index in range(start, len(text)):
        depth += {"[": 1, "]": -1}.get(text[index], 0)
        if depth == 0:
            return index
    return len(text) - 1


@dataclass(frozen=True, slots=True)
class Changes:
    """What is new, gone, or of another kind; each as (type, field, kind)."""

    new: list[tuple[str, str, str]] = field(default_factory=list)
    gone: list[tuple[str, str, str]] = field(default_factory=list)
    changed: list[tuple[str, str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"+ {name}: {each} ({kind})" for name, each, kind in self.new]
        lines += [f"- {name}: {each} ({kind})" for name, each, kind in self.gone]
        lines += [f"~ {name}: {each} ({kind})" for name, each, kind in self.changed]
        return "\n".join(lines) or "nothing has changed"


def compare(old: Mapping[str, Mapping[str, str]], new: Mapping[str, Mapping[str, str]]) -> Changes:
    """From `old` to `new`, over the types of both."""
    changes = Changes()
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name, {}), new.get(name, {})
        changes.new.extend((name, each, after[each]) for each in sorted(after.keys() - before.keys()))
        changes.gone.extend((name, each, before[each]) for each in sorted(before.keys() - after.keys()))
        changes.changed.extend(
            (name, each, f"{before[each]} -> {after[each]}")
            for each in sorted(before.keys() & after.keys())
            if before[each] != after[each]
        )
    return changes


def merge(old: Mapping[str, Mapping[str, str]], new: Mapping[str, Mapping[str, str]]) -> Table:
    """`new`, and the fields that only `old` has: older releases still know them."""
    names = sorted(old.keys() | new.keys())
    return {name: dict(sorted({**old.get(name, {}), **new.get(name, {})}.items())) for name in names}


def gate_stubs(changes: Changes, release: tuple[int, int]) -> str:
    """Lines for the tool's `gates.py`."""
    lines = [f'    "{name}": {{"{each}": Gate(since={release})}},' for name, each, _ in changes.new]
    lines += [f'    "{name}": {{"{each}": Gate(until={release})}},' for name, each, _ in changes.gone]
    return "\n".join(lines)


def dump(roots: Mapping[str, str], types: Mapping[str, Mapping[str, str]]) -> str:
    """The text of a table's file: a type on one line if it fits, else its fields in lines of 120 characters."""
    parts = [f'    "{name}": {_dump_type(name, fields)}' for name, fields in types.items()]
    return f'{{\n  "roots": {json.dumps(dict(roots))},\n  "types": {{\n' + ",\n".join(parts) + "\n  }\n}\n"


def _dump_type(name: str, fields: Mapping[str, str]) -> str:
    line = json.dumps(dict(fields))
    if len(line) + len(name) + 9 <= _WIDTH:
        return line
    # A field and its kind stay on one line: their space does not break.
    pairs = ", ".join(f'"{each}":\0"{kind}"' for each, kind in fields.items())
    wrapped = textwrap.fill(
        pairs, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False
    )
    return "{\n" + wrapped.replace("\0", " ") + "\n    }"
