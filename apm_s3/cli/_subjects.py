"""Finds what `config validate` checks: bundles and single files in paths, and the tool of each.

A folder is the bundle of a tool if it has the tool's name, or contains its main file. In a tree such as
`{environment}/{tool}/`, every such folder is a bundle of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from apm_s3._directories import EXCLUDED, read_files
from apm_s3._tools import MAIN_FILES, TOOLS, Tool
from apm_s3.errors import InvalidOption
from apm_s3.validators._checking import Source, read_capped

_MAIN_NAMES: Mapping[str, Tool] = {
    **{MAIN_FILES[tool]: tool for tool in TOOLS if tool != "jaeger"},
    "prometheus.yaml": "prometheus", "alertmanager.yaml": "alertmanager", "loki.yml": "loki",
    "jaeger.yml": "jaeger", "jaeger.yaml": "jaeger",
}  # fmt: skip
"""The names of main files that belong to one tool only. Any program may have a `config.yaml`."""

_SIGNS: tuple[tuple[Tool, frozenset[str], int], ...] = (
    ("loki", frozenset(("schema_config", "limits_config", "ingester")), 1),
    ("prometheus", frozenset(("scrape_configs", "rule_files", "scrape_config_files")), 1),
    ("jaeger", frozenset(("service", "exporters", "extensions", "processors")), 2),
    ("jaeger", frozenset(("default_strategy", "service_strategies")), 1),
    ("alertmanager", frozenset(("route", "receivers", "inhibit_rules", "templates")), 2),
    ("grafana", frozenset(("panels", "schemaVersion")), 2),
    ("prometheus", frozenset(("groups",)), 1),
)
"""Top-level keys of one tool, and how many of them are needed. Rule files are taken for those of Prometheus."""

_MAX_UP = 3
"""How many folders above a file are searched for a main file."""

_STDIN = Path("-")


@dataclass(frozen=True, slots=True)
class Subject:
    """One bundle, or one file.

    Attributes:
        root: what precedes the names of its files when they are printed; empty for none.
        files: by their names in the bundle.
        whole: whether it is a bundle.
    """

    tool: Tool
    root: str
    files: Mapping[str, bytes] = field(repr=False)
    whole: bool

    def shown(self, name: str) -> str:
        """Return the path of a file as the user knows it."""
        return f"{self.root}/{name}" if self.root else name


@dataclass(frozen=True, slots=True)
class Search:
    """What to check.

    Attributes:
        tool: the tool of everything; None to find out.
        stdin_name: the name of what is on the standard input.
        whole: also check the other files of each file's bundle.
    """

    paths: Sequence[Path]
    tool: Tool | None = None
    stdin_name: str | None = None
    whole: bool = False

    def subjects(self, read_stdin: Callable[[], bytes]) -> Iterator[Subject]:
        """Find and read what is to be checked; the path `-` is the standard input.

        Raises:
            InvalidOption: a path does not exist, the tool of a file is unknown, or a directory has nothing to check.
            OSError: a file cannot be read.
        """
        seen: set[Path] = set()
        for path in self.paths:
            if path == _STDIN:
                yield self._from_stdin(read_stdin())
            elif path.is_dir():
                yield from self._in_directory(path, seen)
            elif path.exists():
                yield from self._of_file(path, seen)
            else:
                raise InvalidOption(f"'{path}' does not exist", hint="pass files, directories, or - for standard input")

    def _from_stdin(self, raw: bytes) -> Subject:
        name = self.stdin_name
        tool = self.tool or (None if name is None else tool_of_path(Path(name))) or tool_of_content(name or "", raw)
        if tool is None:
            raise InvalidOption("the tool of the standard input is not known", hint="pass --tool")
        return Subject(tool, "", {name or "<stdin>": raw}, whole=False)

    def _in_directory(self, path: Path, seen: set[Path]) -> Iterator[Subject]:
        found = [(folder, tool) for folder, tool in bundles_below(path) if self.tool in (None, tool)]
        if not found and self.tool is not None:
            found = [(path, self.tool)]
        loose = [] if found else _loose_files(path)
        if not found and not loose:
            raise InvalidOption(
                f"'{path}' contains no configuration of {', '.join(TOOLS)}",
                hint="pass --tool, or name its folders after the tools",
            )
        for folder, tool in found:
            yield from _whole(folder, tool, seen)
        for file, tool in loose:
            yield Subject(tool, _text(file.parent), {file.name: read_capped(file)}, whole=False)

    def _of_file(self, path: Path, seen: set[Path]) -> Iterator[Subject]:
        home = bundle_of(path, self.tool) if self.whole else None
        if home is not None:
            yield from _whole(*home, seen)
            return
        raw = read_capped(path)
        tool = self.tool or tool_of_path(path) or tool_of_content(path.name, raw)
        if tool is None:
            raise InvalidOption(f"the tool that reads '{path}' is not known", hint="pass --tool")
        yield Subject(tool, _text(path.parent), {path.name: raw}, whole=False)


def _whole(folder: Path, tool: Tool, seen: set[Path]) -> Iterator[Subject]:
    real = folder.resolve()
    if real not in seen:
        seen.add(real)
        yield Subject(tool, _text(folder), read_files(folder).files, whole=True)


def bundles_below(folder: Path) -> list[tuple[Path, Tool]]:
    """Return the bundles in `folder`, or `folder` itself if it is one, with their tools."""
    mains = _mains(folder)
    named = _tool_named(folder.absolute().name)
    if len(mains) == 1 or (named in mains):
        return [(folder, named if named in mains else next(iter(mains)))]
    if mains:
        return []
    below = [bundle for child in _folders(folder) for bundle in bundles_below(child)]
    return below or ([(folder, named)] if named and any(folder.iterdir()) else [])


def tool_of_folder(folder: Path) -> Tool | None:
    """Return the tool if `folder` is a bundle; None if it is not one, or its name and main file do not tell."""
    if not folder.is_dir():
        return _tool_named(folder.absolute().name)
    return next((tool for found, tool in bundles_below(folder) if found == folder), None)


def bundle_of(path: Path, tool: Tool | None) -> tuple[Path, Tool] | None:
    """Return the bundle that a file belongs to, with its tool; None if it is not in a bundle."""
    above = list(path.parents)[: -1 if path.is_absolute() else None]
    for folder in above:
        named = _tool_named(folder.absolute().name)
        if named is not None and tool in (None, named):
            return folder, named
    for folder in above[:_MAX_UP]:
        mains = _mains(folder)
        if len(mains) == 1 and tool in (None, *mains):
            return folder, next(iter(mains))
    return None


def tool_of_path(path: Path) -> Tool | None:
    """Return the tool that a file belongs to, by the names of the file and its folders; None if they do not say."""
    if main := _MAIN_NAMES.get(path.name):
        return main
    home = bundle_of(path, None)
    return _tool_named(path.name.partition(".")[0].partition("-")[0]) if home is None else home[1]


def tool_of_content(name: str, raw: bytes) -> Tool | None:
    """Return the tool that a file belongs to, by its content; None if that is ambiguous."""
    ending = Path(name).suffix.lower()
    if ending == ".ini":
        return "grafana"
    if ending == ".tmpl":
        return "alertmanager"
    if ending not in ("", ".yml", ".yaml", ".json"):
        return None
    keys = Source(raw).top_level_keys()
    if "apiVersion" in keys:
        # Manifests of Kubernetes have a kind as well.
        return None if "kind" in keys else "grafana"
    return next((tool for tool, signs, needed in _SIGNS if len(signs & keys) >= needed), None)


def _loose_files(folder: Path) -> list[tuple[Path, Tool]]:
    """Return the files in `folder`, and below it, whose content says which tool reads them."""
    found = []
    for name, raw in read_files(folder).files.items():
        path = folder / name
        if tool := _MAIN_NAMES.get(path.name) or tool_of_content(path.name, raw):
            found.append((path, tool))
    return found


def _folders(folder: Path) -> list[Path]:
    skipped = {pattern for pattern in EXCLUDED if "*" not in pattern}
    return [
        child
        for child in sorted(folder.iterdir())
        if child.is_dir() and not child.is_symlink() and child.name[:1] != "." and child.name not in skipped
    ]


def _mains(folder: Path) -> frozenset[Tool]:
    return frozenset(tool for name, tool in _MAIN_NAMES.items() if (folder / name).is_file())


def _tool_named(name: str) -> Tool | None:
    return name if name in TOOLS else None


def _text(folder: Path) -> str:
    text = folder.as_posix()
    return "" if text == "." else text
