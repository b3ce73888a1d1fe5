"""The command `config validate`: it checks files offline, as an upload would, and imports no S3 client.

A folder is the bundle of a tool if it has the tool's name, or contains its main file. In a tree such as
`{environment}/{tool}/`, every such folder is a bundle of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from apm_s3._directories import EXCLUDED, read_files
from apm_s3._naming import OVERLAY
from apm_s3._tools import MAIN_FILES, TOOLS, Tool
from apm_s3.cli import _arguments as args
from apm_s3.cli._call import Call, Output, writing
from apm_s3.cli._config.formats import Findings, Format, Found, render
from apm_s3.cli._statuses import Status, UsageFailed, in_colour
from apm_s3.errors import InvalidOption
from apm_s3.reports import Issue, Severity, Skipped, ValidationReport
from apm_s3.validators._checking import Source, read_capped, report_main_file, report_secrets
from apm_s3.validators._validation.validate import infer_kind, validate_bundle, validate_config

if TYPE_CHECKING:
    from apm_s3.cli._settings import Project


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


_LARGE = 1024**2
"""Bytes of a bundle from which starting more processes pays off."""


def check_all(search: Search, targets: Mapping[Tool, str], read_stdin: Callable[[], bytes]) -> Findings:
    """Check everything that `search` finds, each tool for its release in `targets`.

    Raises:
        InvalidOption: see `Search.subjects`, or a release is not valid.
        OSError: a file cannot be read.
    """
    return findings_of((each, _report(each, targets.get(each.tool))) for each in search.subjects(read_stdin))


def findings_of(checked: Iterable[tuple[Subject, ValidationReport]]) -> Findings:
    """Return what reports say, in terms of the files that the user named."""
    issues: list[Found] = []
    files: dict[str, str] = {}
    skipped: dict[str, None] = {}
    for subject, report in checked:
        files.update(dict.fromkeys(map(subject.shown, subject.files), subject.tool))
        issues += _found(subject, report)
        skipped.update(dict.fromkeys(f"{subject.root or subject.tool}: {reason}" for reason in report.skipped))
    return Findings(issues, files, tuple(skipped))


def parse_targets(texts: Iterable[str]) -> dict[Tool, str]:
    """Parse releases such as `prometheus=2.53`.

    Raises:
        InvalidOption: one of them is not valid.
    """
    targets: dict[Tool, str] = {}
    for text in texts:
        tool, equals, version = text.partition("=")
        if not equals or tool not in TOOLS:
            raise InvalidOption(
                f"'{text}' is not a tool and its release", hint=f"write prometheus=2.53; tools are {', '.join(TOOLS)}"
            )
        targets[tool] = version
    return targets


def _report(subject: Subject, target: str | None) -> ValidationReport:
    tool, files = subject.tool, subject.files
    if not subject.whole:
        [(name, raw)] = files.items()
        return report_secrets(_report_file(tool, name, raw, target), files)
    read = {name: raw for name, raw in files.items() if name != OVERLAY}
    report = report_main_file(_report_bundle(tool, read, target), tool, files)
    if OVERLAY in files:
        from dataclasses import replace  # noqa: PLC0415 - overlays are rare, and bring a YAML writer

        from apm_s3.configs._content.overlays import check_overlay  # noqa: PLC0415 - as above

        report = replace(report, issues=(*report.issues, *check_overlay(files[OVERLAY])))
    return report_secrets(report, files)


def _report_file(tool: Tool, name: str, raw: bytes, target: str | None) -> ValidationReport:
    named = None if name.startswith("<") else name
    if named is not None and named != MAIN_FILES[tool] and infer_kind(tool, named, raw) is None:
        return ValidationReport(tool, "other", name, (), (Skipped.other_file(name, tool),))
    return validate_config(tool, raw, name=named, target_version=target)


def _report_bundle(tool: Tool, files: Mapping[str, bytes], target: str | None) -> ValidationReport:
    if sum(map(len, files.values())) < _LARGE:
        return validate_bundle(tool, files, target_version=target)
    import asyncio  # noqa: PLC0415 - only large bundles need it

    from apm_s3.validators import validate_bundle_async  # noqa: PLC0415 - as above

    return asyncio.run(validate_bundle_async(tool, files, target_version=target))


def _found(subject: Subject, report: ValidationReport) -> Iterator[Found]:
    lines = _Lines(subject.files)
    [first, *_] = subject.files
    order = {name: at for at, name in enumerate(subject.files)}
    for issue in sorted(report.issues, key=lambda each: (order.get(each.file or first, -1), each.line or 0)):
        name = issue.file or first
        source, caret = lines.at(name, issue)
        yield Found(
            tool=subject.tool, file=subject.shown(name), line=issue.line, column=issue.column, severity=issue.severity,
            rule=issue.rule, message=issue.message, hint=issue.hint, path=issue.path, source=source, caret=caret,
        )  # fmt: skip


@dataclass(slots=True)
class _Lines:
    """The lines of files, as they may be printed."""

    files: Mapping[str, bytes]
    _split: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)

    def at(self, name: str, issue: Issue) -> tuple[str | None, int | None]:
        """Return the line of an issue with its secrets masked, and the column of the issue in it, if it has one."""
        if issue.line is None or name not in self.files:
            return None, None
        plain, masked = self._of(name)
        if issue.line > len(masked):
            return None, None
        return masked[issue.line - 1].rstrip("\r"), _moved(plain[issue.line - 1], masked[issue.line - 1], issue.column)

    def _of(self, name: str) -> tuple[list[str], list[str]]:
        if name not in self._split:
            # Most documents are valid, and need no masking.
            from apm_s3.validators._secrets.texts import decode, mask_text  # noqa: PLC0415

            text = decode(self.files[name])
            masked = "" if text is None else mask_text(name, text)
            self._split[name] = (text or "").split("\n"), masked.split("\n")
        return self._split[name]


def _moved(plain: str, masked: str, column: int | None) -> int | None:
    """Return where `column` of a line is after masking; None if it is inside a secret, or not in the line."""
    if column is None or not 0 < column <= len(plain) + 1:
        return None
    before, after = plain[: column - 1], plain[column - 1 :]
    if masked.startswith(before):
        return column
    return len(masked) - len(after) + 1 if masked.endswith(after) else None


@args.argument(
    "paths",
    metavar="[PATH]...",
    required=False,
    nargs=-1,
    type=args.PATH,
    help="Files, bundles, trees {environment}/{tool}/, -; default: here.",
)
@args.tool_hint
@args.option("--target-version", metavar="TOOL=VERSION", multiple=True, help="Check for this release. Repeatable.")
@args.option(
    "--fail-on", type=click.Choice(Severity, case_sensitive=False), help="Severity for status 3; default: error."
)
@args.option(
    "--format", "form", default="text", type=click.Choice(Format, case_sensitive=False), help="How to print the issues."
)
@args.flag("--whole-bundle", help="Check the rest of files' bundles too.")
@args.option("--stdin-name", metavar="NAME", help="The name of standard input.")
def validate(
    call: Call,
    *,
    paths: tuple[Path, ...],
    tool: Tool | None,
    target_version: tuple[str, ...],
    fail_on: Severity | None,
    form: Format,
    whole_bundle: bool,
    stdin_name: str | None,
) -> Status:
    """Check configurations offline, as the tools do.

    The table "validate" of the project file can set fail-on and target-version.

    Examples:
        apm-s3 config validate prometheus.yml --target-version prometheus=2.53
        apm-s3 config validate configs/ --format github --fail-on warning
        generate | apm-s3 config validate - --tool loki
    """
    least, targets = _defaults(call.settings.project)
    wanted = Format.json if call.output is Output.json and form is Format.text else form
    search = Search(tuple(paths or (Path(),)), tool=tool, stdin_name=stdin_name, whole=whole_bundle)
    targets |= parse_targets(target_version or ())
    findings = check_all(search, targets, sys.stdin.buffer.read)
    with writing():
        sys.stdout.write(render(findings, wanted, coloured=in_colour(sys.stdout.isatty())))
    for reason in findings.skipped:
        call.note(f"skipped: {reason}")
    if wanted is Format.text:
        call.note(findings.summary)
    failing = list(Severity)[: list(Severity).index(fail_on or least) + 1]
    return Status.INVALID if any(findings.counts[each] for each in failing) else Status.DONE


def _defaults(project: Project) -> tuple[Severity, dict[Tool, str]]:
    """Return the least severity that fails, and the releases to check for, by the project file.

    Raises:
        UsageFailed: its table is not valid.
    """
    table = project.table("validate")
    known = ("fail-on", "target-version")
    for name in table:
        if name not in known:
            raise UsageFailed(f"{project.path}: unknown key 'validate.{name}'", f"known keys: {', '.join(known)}")
    least, versions = table.get("fail-on", "error"), table.get("target-version", {})
    if least not in list(Severity):
        raise UsageFailed(f"{project.path}: validate.fail-on is {least!r}", f"choose from {', '.join(Severity)}")
    if not isinstance(versions, dict) or not all(isinstance(each, str) for each in versions.values()):
        raise UsageFailed(
            f"{project.path}: validate.target-version is not a table of releases", 'write {prometheus = "2.53"}'
        )
    return Severity(least), parse_targets(f"{tool}={version}" for tool, version in versions.items())
