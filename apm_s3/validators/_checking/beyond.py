"""Checks that go beyond what the tools check: a missing main file, and plain-text secrets. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from apm_s3._tools import MAIN_FILES, Tool
from apm_s3.reports import Issue, Severity, ValidationReport
from apm_s3.validators._secrets.texts import find_secrets

PLAIN_SECRET = "plain-text-secret"  # noqa: S105 - the name of a rule
"""The rule against plain-text secrets."""


def report_main_file(report: ValidationReport, tool: Tool, files: Mapping[str, bytes]) -> ValidationReport:
    """Add a warning to `report` if the bundle `files` lacks the tool's main file."""
    main = MAIN_FILES[tool]
    if main in files:
        return report
    hint = f"name it {main}, or download files by name"
    missing = Issue(
        Severity.WARNING, "", None, None, "no-main-file", f"{main} is not in the bundle", hint=hint, file=main
    )
    return replace(report, issues=(*report.issues, missing))


def report_secrets(report: ValidationReport, files: Mapping[str, bytes]) -> ValidationReport:
    """Add a warning to `report` for each plain-text secret in `files`."""
    found = [
        Issue(
            Severity.WARNING,
            secret.path,
            secret.line,
            None,
            PLAIN_SECRET,
            f"{secret.kind} in plain text",
            hint="refer to a file or a variable instead",
            file=secret.file,
        )
        for secret in find_secrets(files)
    ]
    return replace(report, issues=(*report.issues, *found))
