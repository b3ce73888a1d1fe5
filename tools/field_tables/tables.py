"""From Go's declarations to the validators' tables, and what differs between two tables."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

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


def kinds(types: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the kinds of the fields of a written table that its newest release knows."""
    return {
        name: {
            each: entry if isinstance(entry, str) else entry["kind"]
            for each, entry in fields.items()
            if isinstance(entry, str) or "until" not in entry
        }
        for name, fields in types.items()
    }


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


def stubs(changes: Changes, old: Mapping[str, object], release: str) -> dict[str, dict[str, dict[str, str]]]:
    """Return the entries of fields that came or went with `release`. A new type needs none: its owner has one."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for word, fields in (("since", changes.new), ("until", changes.gone)):
        for name, each, kind in fields:
            if name in old:
                found.setdefault(name, {})[each] = {"kind": kind, word: release}
    return found


def merge(old: Mapping[str, Mapping[str, Any]], new: Table, release: str) -> dict[str, dict[str, Any]]:
    """Return the fields of both: what `old` says of a field stays, and what came or went has its `release`."""
    entries = stubs(compare(kinds(old), new), old, release)
    merged: dict[str, dict[str, Any]] = {}
    for name in sorted(old.keys() | new.keys()):
        fields: dict[str, Any] = dict(new.get(name, {}))
        for each, entry in old.get(name, {}).items():
            if isinstance(entry, str):
                fields.setdefault(each, entry)
            else:
                fields[each] = {**entry, "kind": fields.get(each, entry["kind"])}
        for each, entry in entries.get(name, {}).items():
            present = fields.get(each)
            fields[each] = {**(present if isinstance(present, dict) else {}), **entry}
        merged[name] = dict(sorted(fields.items()))
    return merged


def dump(table: Mapping[str, Any]) -> str:
    """The text of a table's file: an entry on one line if it fits, else in lines of 120 characters."""
    parts = [f'  "roots": {json.dumps(table["roots"])}'] if table.get("roots") else []
    for part in ("types", "groups", "words"):
        if entries := table.get(part):
            lines = ",\n".join(f'    "{name}": {_dump_entry(name, entry)}' for name, entry in entries.items())
            parts.append(f'  "{part}": {{\n{lines}\n  }}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _dump_entry(name: str, entry: Any) -> str:
    line = json.dumps(entry)
    if len(line) + len(name) + 9 <= _WIDTH:
        return line
    inner = [json.dumps(each) for each in entry] if isinstance(entry, list) else _pairs(entry)
    wrapped = textwrap.fill(
        ", ".join(map(_whole, inner)),
        _WIDTH,
        initial_indent=" " * 6,
        subsequent_indent=" " * 6,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{line[0]}\n{wrapped}\n    {line[-1]}".replace("\0", " ")


def _pairs(entry: Mapping[str, Any]) -> list[str]:
    return [f'"{each}":\0{json.dumps(value)}' for each, value in entry.items()]


def _whole(text: str) -> str:
    """Keep a short text on one line, and of a long one each string: textwrap does not break at NUL."""
    pattern = ".*" if len(text) <= _WIDTH - 8 else r'"(?:[^"\\]|\\.)*"(?:: )?'
    return re.sub(pattern, lambda part: part[0].replace(" ", "\0"), text)
