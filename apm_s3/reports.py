"""What a check of a configuration says: severities, issues and the report that holds them.

Vocabulary only: frozen values without behaviour beyond rendering. Messages never hold the value of a secret field;
who makes an `Issue` masks it.
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
    """How bad an issue is. Only an error makes a report fail."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem, with its place.

    `path` leads to the value (`scrape_configs[2].job_name`; empty for the whole document). `line` and `column` count
    from 1 and are None where the source has no lines (a mapping). `rule` is the stable id of the rule that was
    broken. `file` is the name inside a bundle.
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
        """One line: `file:line:column: severity: path: message (rule)`; `name` stands in for a missing file."""
        place = ":".join(str(part) for part in (self.file or name, self.line, self.column) if part is not None)
        parts = [part for part in (place, self.severity.value, self.path) if part]
        hint = f" ({self.hint})" if self.hint else ""
        return f"{': '.join(parts)}: {self.message}{hint} ({self.rule})"


_OTHER_FILE = "configuration file"


def other_file(name: str, tool: str) -> str:
    """How a report says that a file of a bundle was not checked, since it is none of the tool's."""
    return f"{name}: not a {tool} {_OTHER_FILE}"


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """Everything that was found in one document or one bundle of a tool.

    `kind` is what the document was taken for (`config`, `rules`, ...; `bundle` for several files). `issues` are in
    the order of the document. `skipped` says, one sentence each, which checks could not be made and why.
    """

    tool: str
    kind: str
    name: str | None
    issues: tuple[Issue, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def unchecked(self) -> tuple[str, ...]:
        """The entries of `skipped` that tell of checks; the others name files that are none of the tool's."""
        return tuple(reason for reason in self.skipped if not reason.endswith(_OTHER_FILE))

    @property
    def ok(self) -> bool:
        """True when there is no error; warnings do not count."""
        return not self.errors

    @property
    def errors(self) -> tuple[Issue, ...]:
        """The issues of severity error."""
        return tuple(issue for issue in self.issues if issue.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Issue, ...]:
        """The issues of severity warning."""
        return tuple(issue for issue in self.issues if issue.severity is Severity.WARNING)

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """One line for each problem, then one for each check that was skipped; a valid document says so."""
        name = self.name or f"{self.tool} {self.kind}"
        lines = [issue.render(name) for issue in self.issues]
        lines += [f"{name}: skipped: {reason}" for reason in self.skipped]
        return "\n".join(lines) if self.issues else "\n".join([f"{name}: valid", *lines])
