"""Reads the declarations of Go packages: types, struct tags, defaults and names of service discoveries.

This is no Go parser. It knows what configuration packages are written in: struct types with tags, named types, and
variables that are composite literals. What it does not understand, it leaves out.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_COMMENT = re.compile(r"(`[^`]*`|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)+')|//[^\n]*|/\*.*?\*/", re.DOTALL)
_IMPORT_BLOCK = re.compile(r"^import\s*\((.*?)^\)", re.DOTALL | re.MULTILINE)
_IMPORT = re.compile(r"^(?:import\s+)?([\w.]+\s+)?\"([^\"]+)\"", re.MULTILINE)
_TYPE = re.compile(r"^(?:type[ \t]+)?(\w+)(?:\[[^\]\n]*\])?[ \t]+(=[ \t]*)?(\S[^\n]*)", re.MULTILINE)
_TYPE_BLOCK = re.compile(r"^type\s*\(\n(.*?)^\)", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"^((?:\w+\s*,\s*)*\w+)\s+(\S.*)$")
_TAG = re.compile(r"`([^`]*)`\s*$")
_DEFAULT = re.compile(r"^\s*(?:var\s+)?(\w+)\s*=\s*&?([\w.]+)\{$", re.MULTILINE)
_ENTRY = re.compile(r"^\s*(\w+):\s*(.+?),?$", re.MULTILINE)
_DISCOVERY = re.compile(r"^func \((?:\w+ )?\*?(\w+)\) Name\(\) string\s*\{\s*return \"(\w+)\"\s*\}", re.MULTILINE)
_MAJOR = re.compile(r"v\d+$")


@dataclass(frozen=True, slots=True)
class GoField:
    """One field of a struct.

    Attributes:
        names: as declared; empty where the type is embedded.
        type: Go's text of it.
        tags: by key, such as "yaml".
    """

    names: tuple[str, ...]
    type: str
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class GoType:
    """A named type: a struct with fields, or another name for `underlying`."""

    name: str
    package: GoPackage
    fields: tuple[GoField, ...] | None = None
    underlying: str = ""
    imports: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class GoPackage:
    """The declarations of one folder."""

    path: str
    types: dict[str, GoType] = field(default_factory=dict)
    defaults: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    discoveries: dict[str, str] = field(default_factory=dict)

    @property
    def short(self) -> str:
        """The last two parts of its import path, without a major version: how the tables name it."""
        return short_path(self.path)


def short_path(path: str) -> str:
    """`github.com/prometheus/common/config` as `common/config`."""
    parts = [part for part in path.split("/") if not _MAJOR.fullmatch(part)]
    return "/".join(parts[-2:])


def read_checkout(root: Path) -> Iterator[GoPackage]:
    """The packages below `root`, a checkout with a `go.mod`; those that it vendors count under their own paths."""
    module = re.search(r"^module\s+(\S+)", (root / "go.mod").read_text(), re.MULTILINE)
    if module is None:
        raise ValueError(f"{root / 'go.mod'} names no module")
    for folder in sorted({path.parent for path in root.rglob("*.go")}):
        parts = folder.relative_to(root).parts
        if {"testdata", "test", "tests"} & set(parts):
            continue
        vendored = "vendor" in parts
        yield read_package(folder, "/".join(parts[parts.index("vendor") + 1 :] if vendored else [module[1], *parts]))


def read_package(folder: Path, path: str) -> GoPackage:
    """The package of the Go files in `folder`, tests left out."""
    package = GoPackage(path)
    for file in sorted(folder.glob("*.go")):
        if not file.name.endswith("_test.go"):
            _read_file(file.read_text(encoding="utf-8", errors="replace"), package)
    return package


def _read_file(text: str, package: GoPackage) -> None:
    text = _COMMENT.sub(lambda match: match[1] or "", text)
    imports = _imports(text)
    for block in [text, *(match[1] for match in _TYPE_BLOCK.finditer(text))]:
        for name, body in _declarations(block, grouped=block is not text):
            if body.startswith("struct"):
                declared = GoType(name, package, tuple(_fields(_braces(body))), imports=imports)
            else:
                declared = GoType(name, package, underlying=body.splitlines()[0].strip(), imports=imports)
            package.types.setdefault(name, declared)
    for match in _DEFAULT.finditer(text):
        entries = dict(_ENTRY.findall(_braces(text[match.end() - 1 :])))
        package.defaults[match[1]] = (match[2], entries)
    package.discoveries.update(_DISCOVERY.findall(text))


def _imports(text: str) -> dict[str, str]:
    """Import paths by the name that the file uses."""
    blocks = [match[1] for match in _IMPORT_BLOCK.finditer(text)]
    blocks += re.findall(r"^import\s+[^(\n]+$", text, re.MULTILINE)
    found = {}
    for block in blocks:
        for alias, path in _IMPORT.findall("\n".join(line.strip() for line in block.splitlines())):
            last = [part for part in path.split("/") if not _MAJOR.fullmatch(part)][-1]
            found[alias.strip() or last.removeprefix("go-")] = path
    return found


def _declarations(text: str, *, grouped: bool) -> Iterator[tuple[str, str]]:
    for match in _TYPE.finditer(textwrap.dedent(text) if grouped else text):
        if grouped or match[0].startswith("type"):
            yield match[1], match.string[match.start(3) :]


def _braces(text: str) -> str:
    """What stands in the first pair of braces of `text`."""
    start = text.index("{")
    depth = 0
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[start + 1 : index]
    return text[start + 1 :]


def _fields(body: str) -> Iterator[GoField]:
    depth = 0
    for raw in body.splitlines():
        line, before = raw.strip(), depth
        depth += raw.count("{") - raw.count("}")
        # Fields of structs within are a type without a name, which the tables do not have.
        if not line or before or depth:
            continue
        tag = _TAG.search(line)
        tags = dict(re.findall(r"(\w+):\"([^\"]*)\"", tag[1])) if tag else {}
        declared = _TAG.sub("", line).strip()
        named = _FIELD.match(declared)
        if named:
            yield GoField(tuple(name.strip() for name in named[1].split(",")), named[2].strip(), tags)
        else:
            yield GoField((), declared, tags)
