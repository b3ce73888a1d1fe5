"""Checks files offline for `config validate`, as an upload would, and imports no S3 client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from apm_s3._naming import OVERLAY
from apm_s3._tools import MAIN_FILES, TOOLS, Tool
from apm_s3.cli._config.formats import Findings, Found
from apm_s3.cli._subjects import Search, Subject
from apm_s3.errors import InvalidOption
from apm_s3.reports import Issue, ValidationReport, other_file
from apm_s3.validators._checking import report_main_file, report_secrets
from apm_s3.validators._validation.validate import infer_kind, validate_bundle, validate_config

_LARGE = 1024**2
"""Bytes of a bundle from which starting more processes pays off."""


def check_all(search: Search, targets: Mapping[Tool, str], read_stdin: Callable[[], bytes]) -> Findings:
    """Check everything that `search` finds, each tool for its release in `targets`.

    Raises:
        InvalidOption: see `Search.subjects`, or a release is not valid.
        OSError: a file cannot be read.
    """
    issues: list[Found] = []
    files: dict[str, str] = {}
    skipped: dict[str, None] = {}
    for subject in search.subjects(read_stdin):
        report = _report(subject, targets.get(subject.tool))
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
        return ValidationReport(tool, "other", name, (), (other_file(name, tool),))
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
