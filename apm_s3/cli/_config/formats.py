"""Renders findings for people, programs, GitHub, code scanning (SARIF) and test reports (JUnit). Pure.

Nothing here reads a file or knows a terminal, except that colours are on or off.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from apm_s3._naming import counted
from apm_s3._version import __version__
from apm_s3.cli._statuses import clean
from apm_s3.reports import RULES, Rule, Severity

_HOME = "https://pypi.org/project/apm-s3/"
_WIDTH = 160
"""The part of a long line that is shown around the position, in characters."""
_COLOURS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.INFO: "36"}
_GITHUB = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
_SARIF = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


class Format(StrEnum):
    """How the findings of a validation are printed."""

    text = "text"
    json = "json"
    github = "github"
    sarif = "sarif"
    junit = "junit"


@dataclass(frozen=True, slots=True)
class Found:
    """One issue, with the file as the user knows it.

    Attributes:
        path: leads to the value inside the document.
        source: the source line, with secrets masked; None if there is none to show.
        caret: the column of the issue in `source`; None if it has none there.
    """

    tool: str
    file: str
    line: int | None
    column: int | None
    severity: Severity
    rule: Rule
    message: str
    hint: str | None
    path: str
    source: str | None = None
    caret: int | None = None

    @property
    def told(self) -> str:
        """Return the message with path and hint, in one line."""
        told = f"{self.path}: {self.message}" if self.path else self.message
        return clean(f"{told} ({self.hint})" if self.hint else told, line=True)


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was found.

    Attributes:
        files: every file that was checked, with its tool, in order.
        skipped: checks that could not be made.
    """

    issues: Sequence[Found]
    files: Mapping[str, str]
    skipped: Sequence[str] = ()
    counts: Mapping[Severity, int] = field(init=False)

    def __post_init__(self) -> None:
        counts = {each: sum(issue.severity is each for issue in self.issues) for each in Severity}
        object.__setattr__(self, "counts", counts)

    @property
    def summary(self) -> str:
        """Return one line with the numbers."""
        names = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
        told = [counted(self.counts[each], names[each]) for each in Severity if self.counts[each]]
        return f"{', '.join(told) or 'valid'} in {counted(len(self.files), 'file')}"


def render(findings: Findings, form: Format, *, coloured: bool = False) -> str:
    """Return the findings as a text that ends with a line break, or as an empty one."""
    if form is Format.json:
        return _as_json(findings)
    if form is Format.github:
        return "".join(_as_github(each) for each in findings.issues)
    if form is Format.sarif:
        return _as_sarif(findings)
    if form is Format.junit:
        return _as_junit(findings)
    return "".join(f"{line}\n" for each in findings.issues for line in _as_text(each, coloured=coloured))


# -- for people


def _as_text(found: Found, *, coloured: bool) -> Iterator[str]:
    place = ":".join(str(part) for part in (clean(found.file, line=True), found.line, found.column) if part is not None)
    kind = _painted(found.severity.value, f"1;{_COLOURS[found.severity]}", coloured=coloured)
    told = f"{found.path}: {found.message}" if found.path else found.message
    yield f"{_painted(place, '1', coloured=coloured)}: {kind}: {clean(told, line=True)} [{found.rule}]"
    if found.source is not None and found.line is not None:
        yield from _excerpt(found, coloured=coloured)
    if found.hint:
        yield f"       = {clean(found.hint, line=True)}"


def _excerpt(found: Found, *, coloured: bool) -> Iterator[str]:
    line, column = found.source or "", found.caret or 1
    start = max(0, min(column - _WIDTH // 2, len(line) - _WIDTH))
    before, cut = "…" if start else "", line[start : start + _WIDTH]
    after = "…" if start + _WIDTH < len(line) else ""
    yield f"{found.line:>6} | {before}{clean(cut.expandtabs(4), line=True)}{after}"
    if found.caret is not None:
        lead = clean(cut[: column - 1 - start].expandtabs(4), line=True)
        yield f"{'':>6} | {' ' * (len(before) + _cells(lead))}{_painted('^', '1;32', coloured=coloured)}"


def _cells(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.category(char) in ("Mn", "Me") for char in text)


def _painted(text: str, code: str, *, coloured: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if coloured else text


# -- for programs


def _as_json(findings: Findings) -> str:
    issues = [
        {
            "file": each.file, "line": each.line, "column": each.column, "severity": each.severity.value,
            "rule": each.rule, "message": each.message, "hint": each.hint, "path": each.path, "tool": each.tool,
        }
        for each in findings.issues
    ]  # fmt: skip
    document = {
        "ok": not findings.counts[Severity.ERROR],
        "errors": findings.counts[Severity.ERROR],
        "warnings": findings.counts[Severity.WARNING],
        "files": [{"file": name, "tool": tool} for name, tool in findings.files.items()],
        "issues": issues,
        "skipped": list(findings.skipped),
    }
    return f"{json.dumps(document, indent=2)}\n"


def _as_github(found: Found) -> str:
    """Return a workflow command, https://docs.github.com/actions/reference/workflow-commands-for-github-actions."""
    values = {"file": found.file, "line": found.line, "col": found.column, "title": found.rule}
    told = ",".join(f"{name}={_property(clean(str(value)))}" for name, value in values.items() if value is not None)
    return f"::{_GITHUB[found.severity]} {told}::{_data(found.told)}\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _as_sarif(findings: Findings) -> str:
    """Return a log of SARIF 2.1.0, https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html."""
    rules = sorted({each.rule for each in findings.issues})
    driver = {
        "name": "apm-s3",
        "version": __version__,
        "informationUri": _HOME,
        "rules": [_sarif_rule(each) for each in rules],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "artifacts": [{"location": {"uri": _uri(name)}} for name in findings.files],
        "results": [_sarif_result(each, rules.index(each.rule)) for each in findings.issues],
    }
    document = {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}
    return f"{json.dumps(document, indent=2)}\n"


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    """Return a rule with all that GitHub's code scanning requires of one."""
    words = rule.replace("-", " ")
    return {
        "id": rule,
        "shortDescription": {"text": words},
        "fullDescription": {"text": RULES[rule]},
        "help": {"text": "The page on validation rules in the documentation of apm-s3 has an example that breaks it."},
    }


def _sarif_result(found: Found, rule_index: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(found.file)}}
    column = {} if found.column is None else {"startColumn": found.column}
    snippet = {} if found.source is None else {"snippet": {"text": found.source}}
    # GitHub shows no result without a line.
    place["region"] = {"startLine": found.line or 1, **column, **snippet}
    location: dict[str, Any] = {"physicalLocation": place}
    if found.path:
        location["logicalLocations"] = [{"fullyQualifiedName": found.path}]
    return {
        "ruleId": found.rule,
        "ruleIndex": rule_index,
        "level": _SARIF[found.severity],
        "message": {"text": found.told},
        "locations": [location],
    }


def _uri(file: str) -> str:
    from os import fsencode  # noqa: PLC0415 - only SARIF needs it
    from urllib.parse import quote  # noqa: PLC0415 - only SARIF needs it

    path = quote(fsencode(file.replace("\\", "/")))
    return f"file://{path}" if path.startswith("/") else path


def _as_junit(findings: Findings) -> str:
    """Return a test report as Jenkins and GitLab read it: one test per file; errors are failures.

    The format has no standard; this follows https://github.com/testmoapp/junitxml. Warnings are in `system-out`.
    """
    by_file: dict[str, list[Found]] = {name: [] for name in findings.files}
    for each in findings.issues:
        by_file.setdefault(each.file, []).append(each)
    failed = sum(any(each.severity is Severity.ERROR for each in found) for found in by_file.values())
    numbers = f'tests="{len(by_file)}" failures="{failed}" errors="0"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="apm-s3 config validate" {numbers}>',
        f'  <testsuite name="apm-s3 config validate" {numbers} skipped="0">',
    ]
    for name, found in by_file.items():
        lines += _test_case(name, findings.files.get(name, ""), found)
    return "\n".join([*lines, "  </testsuite>", "</testsuites>\n"])


def _test_case(name: str, tool: str, found: Sequence[Found]) -> Iterator[str]:
    begin = f"    <testcase name={_attribute(name)} classname={_attribute(tool)}"
    if not found:
        yield f"{begin}/>"
        return
    yield f"{begin}>"
    errors = [each for each in found if each.severity is Severity.ERROR]
    others = [each for each in found if each.severity is not Severity.ERROR]
    if errors:
        first = f"message={_attribute(errors[0].told)} type={_attribute(errors[0].rule)}"
        yield f"      <failure {first}>{_lines_of(errors)}</failure>"
    if others:
        yield f"      <system-out>{_lines_of(others)}</system-out>"
    yield "    </testcase>"


def _lines_of(found: Sequence[Found]) -> str:
    return _escaped("\n".join(line for each in found for line in _as_text(each, coloured=False)))


def _attribute(text: str) -> str:
    quoted = _escaped(clean(text, line=True)).replace('"', "&quot;")
    return f'"{quoted}"'


def _escaped(text: str) -> str:
    """Escape a text for XML. The function of `xml.sax` would load an HTTP client."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
