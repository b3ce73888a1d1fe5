"""Results of validation: severities, issues and reports.

Frozen values without behaviour except rendering. Messages never contain the value of a secret field: code that creates
an `Issue` must mask it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "Issue",
    "Severity",
    "ValidationReport",
]


class Severity(StrEnum):
    """The severity of an issue. Only errors make a report fail."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem, with its position.

    `path` leads to the value (`scrape_configs[2].job_name`; empty for the whole document). `line` and `column` count
    from 1 and are None if the source has no lines (a mapping). `rule` is the stable id of the broken rule. `file` is
    the name of the file in a bundle.
    """

    severity: Severity
    path: str
    line: int | None
    column: int | None
    rule: str
    message: str
    hint: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        return self.render()

    def render(self, name: str | None = None) -> str:
        """Format as `file:line:column: severity: path: message (rule)`; `name` replaces a missing file."""
        place = ":".join(str(part) for part in (self.file or name, self.line, self.column) if part is not None)
        parts = [part for part in (place, self.severity.value, self.path) if part]
        hint = f" ({self.hint})" if self.hint else ""
        return f"{': '.join(parts)}: {self.message}{hint} ({self.rule})"


_OTHER_FILE = "configuration file"


def other_file(name: str, tool: str) -> str:
    """Return the reason for skipping a file of a bundle that is not a configuration file of the tool."""
    return f"{name}: not a {tool} {_OTHER_FILE}"


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """All issues of one document or one bundle of a tool.

    `kind` is the kind of document (`config`, `rules`, ...; `bundle` for several files). `issues` are in the order of
    the document. `skipped` lists the checks that could not be made and why, one sentence each.
    """

    tool: str
    kind: str
    name: str | None
    issues: tuple[Issue, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Return the entries of `skipped` about checks; the others name files that do not belong to the tool."""
        return tuple(reason for reason in self.skipped if not reason.endswith(_OTHER_FILE))

    @property
    def ok(self) -> bool:
        """Return whether there are no errors; warnings do not count."""
        return not self.errors

    @property
    def errors(self) -> tuple[Issue, ...]:
        """Return the issues of severity error."""
        return tuple(issue for issue in self.issues if issue.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Issue, ...]:
        """Return the issues of severity warning."""
        return tuple(issue for issue in self.issues if issue.severity is Severity.WARNING)

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """Format one line per problem, then one per skipped check; without problems, the first line says "valid"."""
        name = self.name or f"{self.tool} {self.kind}"
        lines = [issue.render(name) for issue in self.issues]
        lines += [f"{name}: skipped: {reason}" for reason in self.skipped]
        return "\n".join(lines) if self.issues else "\n".join([f"{name}: valid", *lines])
