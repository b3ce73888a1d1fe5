"""Results of validation: severities, rules, issues and reports.

Frozen values without behaviour except rendering. Messages never contain the value of a secret field: code that creates
an `Issue` must mask it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

__all__ = [
    "Issue",
    "Severity",
    "Skipped",
    "ValidationReport",
]


class Severity(StrEnum):
    """The severity of an issue. Only errors make a report fail."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


Rule = Literal[
    "access", "alias-cycle", "ambiguous-id", "amtool", "auth-exclusive", "base-path", "complex-key", "component-id",
    "component-type", "connector-cycle", "connector-unused", "cross-section", "date", "duplicate-key",
    "duplicate-name", "duration", "enum", "exclusive-fields", "file-glob", "file-kind", "file-not-in-bundle",
    "format", "host-port", "index-period", "ini-syntax", "invalid-utf8", "json-syntax", "label-name", "label-value",
    "logql", "matcher", "merge-key", "missing-file", "month", "more-documents", "name-validity", "nanoseconds",
    "no-main-file", "no-schema-config", "nul-byte", "null-entry", "null-section", "number", "one-default",
    "out-of-range", "overlay", "password-hash", "period-order", "pipeline-id", "plain-text-secret", "promql",
    "promtool", "provider-type", "query-type", "range", "range-order", "regex", "relabel-action-args",
    "required-field", "reserved-header", "reserved-name", "root-route", "schema-version", "selector", "series", "size",
    "strategy-type", "structured-metadata", "target-address", "template", "time", "time-order", "time-zone",
    "timeout-over-interval", "too-deep", "too-large", "too-many-aliases", "too-many-values", "ui-function", "uid",
    "undeclared-variable", "undefined-reference", "unknown-anchor", "unknown-field", "unknown-key",
    "unknown-object-store", "unknown-section", "unsupported-type", "unused-file", "url", "weekday", "wrong-type",
    "yaml-syntax", "yaml-tag", "yaml-version",
]  # fmt: skip
"""The name of a rule. A type checker refuses any other where an issue is made."""

RULES: Mapping[Rule, str] = {
    "access": "Grafana ignores this form of access to a data source.",
    "alias-cycle": "An alias that contains itself has no end.",
    "ambiguous-id": "A connector has the name of a receiver or an exporter, so that a pipeline could mean either.",
    "amtool": "amtool refuses the file, or was not run because a path leads out of the bundle.",
    "auth-exclusive": "Only one kind of authentication can be used at a time.",
    "base-path": "Jaeger's base path begins with a slash and does not end with one.",
    "complex-key": "A key is a list or a mapping.",
    "component-id": "The name of a component is `type` or `type/name`.",
    "component-type": "Jaeger has no component of this type.",
    "connector-cycle": "Pipelines that feed each other through connectors never end.",
    "connector-unused": "A connector has to end one pipeline and begin another.",
    "cross-section": "The value contradicts a value in another section.",
    "date": "This is not a date as this field takes it.",
    "duplicate-key": "A key stands twice in one mapping.",
    "duplicate-name": "Two entries have the same name or id.",
    "duration": "This is not a duration as Prometheus writes it: `15s`, `1h30m`.",
    "enum": "The value is not one of those that this field takes.",
    "exclusive-fields": "These fields cannot be used together, or exactly one of them has to be given.",
    "file-glob": "The pattern for files is not valid, or cannot match.",
    "file-kind": "The file is not of the kind that its name or place says.",
    "file-not-in-bundle": "The configuration names a file that is not in the bundle but has to be where the tool runs.",
    "format": "The text does not have the format of this field.",
    "host-port": "This is not an address of the form `host:port`.",
    "index-period": "Loki needs an index period of 24 hours for this store.",
    "ini-syntax": "The line is neither a section, a key with a value, nor a comment.",
    "invalid-utf8": "The file is not valid UTF-8.",
    "json-syntax": "The file is not valid JSON.",
    "label-name": "This cannot be the name of a label.",
    "label-value": "This cannot be the value of a label.",
    "logql": "The query is not valid LogQL.",
    "matcher": "The matcher is not valid, or means something else in another mode of Alertmanager.",
    "merge-key": "The merge key `<<` takes a mapping, or a list of mappings.",
    "missing-file": "A file that has to be in the bundle is missing.",
    "month": "This is not a month, by name or number.",
    "more-documents": "Only the first document of the file is read.",
    "name-validity": "The name of a metric or record is not valid.",
    "nanoseconds": "A number without a unit is read as nanoseconds.",
    "no-main-file": "The bundle has no main file of its tool.",
    "no-schema-config": "Loki needs at least one period in `schema_config`.",
    "nul-byte": "The file contains a NUL byte, so it is not text.",
    "null-entry": "An entry of a list is empty.",
    "null-section": "A section is there, but empty.",
    "number": "This is not a number as this field takes it.",
    "one-default": "Only one entry can be the default.",
    "out-of-range": "The value is smaller or larger than this field allows.",
    "overlay": "The overlay, or what it makes of a file, is not valid.",
    "password-hash": "This is not a bcrypt hash.",
    "period-order": "The periods have to be in the order of their dates.",
    "pipeline-id": "The name of a pipeline is `type` or `type/name`, of a type that Jaeger has.",
    "plain-text-secret": "A secret is in plain text.",
    "promql": "The expression is not valid PromQL.",
    "promtool": "promtool refuses the file, or was not run because a path leads out of the bundle.",
    "provider-type": "Grafana has no provider of this type.",
    "query-type": "The expression has a type that is rarely meant here.",
    "range": "The range, or one of its ends, is not valid.",
    "range-order": "The range ends before it begins.",
    "regex": "The regular expression is not valid in RE2's syntax.",
    "relabel-action-args": "This action of a relabelling needs, or does not take, these fields.",
    "required-field": "A field that is needed here is missing.",
    "reserved-header": "The tool sets this header itself.",
    "reserved-name": "This name is reserved by the tool.",
    "root-route": "Alertmanager needs a root route, which matches everything and names a receiver.",
    "schema-version": "The dashboard's schema is older than what current Grafana migrates, or newer than any known.",
    "selector": "The selector is not valid.",
    "series": "The labels or values of a unit test's series are not written as promtool reads them.",
    "size": "This is not a size: `512MB`, `10GiB`.",
    "strategy-type": "Jaeger has no sampling strategy of this type.",
    "structured-metadata": "Loki needs schema v13 and a TSDB index for structured metadata.",
    "target-address": "This is not the address of a target: `host:port`, without a scheme or a path.",
    "template": "The Go template is not valid.",
    "time": "This is not a time of day: `09:00`.",
    "time-order": "The range of times ends before it begins.",
    "time-zone": "There is no such time zone.",
    "timeout-over-interval": "The timeout is longer than the interval.",
    "too-deep": "The document is nested too deeply to be read.",
    "too-large": "The document is too large to be read.",
    "too-many-aliases": "Aliases would make the document many times larger than it is.",
    "too-many-values": "The document has too many values to be read.",
    "ui-function": "Jaeger's UI configuration in JavaScript is a function called `UIConfig`.",
    "uid": "This cannot be a uid: up to 40 letters, digits, `-` and `_`.",
    "undeclared-variable": "A file uses a variable that the overlay does not declare.",
    "undefined-reference": "The name refers to something that is not defined.",
    "unknown-anchor": "The alias names an anchor that is not defined before it.",
    "unknown-field": "The tool does not know this field here.",
    "unknown-key": "Grafana's section has no such key.",
    "unknown-object-store": "Loki has no such object store.",
    "unknown-section": "Grafana's configuration has no such section.",
    "unsupported-type": "Data passed as a mapping contains something that no file can hold.",
    "unused-file": "Nothing in the bundle refers to this file.",
    "url": "This is not a URL as this field takes it.",
    "weekday": "This is not a day of the week, by name.",
    "wrong-type": "The value is of another type than the field.",
    "yaml-syntax": "The file is not valid YAML.",
    "yaml-tag": "The tag is not one that the tool reads.",
    "yaml-version": "The file asks for YAML 1.2 or another version that the tools do not read.",
}
"""What each rule says, in one line."""

RENAMED: Mapping[str, Rule] = {
    "choice": "enum",
    "duplicate": "duplicate-name",
    "exactly-one": "exclusive-fields",
    "range": "out-of-range",
    "required": "required-field",
}
"""Rules by the names that they, or a part of what they say, had in earlier versions. Settings go on naming them so."""


def is_rule_among(rule: str, names: Collection[str]) -> bool:
    """Return whether `names`, which may be older ones, have the rule."""
    return rule in names or any(RENAMED.get(name) == rule for name in names)


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem, with its position.

    `path` leads to the value (`scrape_configs[2].job_name`; empty for the whole document). `line` and `column` count
    from 1 and are None if the source has no lines (a mapping). `rule` is the stable name of the broken rule.
    `file` is the name of the file in a bundle.
    """

    severity: Severity
    path: str
    line: int | None
    column: int | None
    rule: Rule
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


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was not checked, and why; its text is one sentence.

    Attributes:
        kind: a "file" that is not a configuration file of the tool, a "program" that was not run or gave no result, a
            "variable" whose value is not known, or "relabelling" that would take too long.
        name: the file or the program; empty for a part of the configuration.
    """

    kind: Literal["file", "program", "variable", "relabelling"]
    name: str
    reason: str

    @classmethod
    def other_file(cls, name: str, tool: str) -> Skipped:
        """Return the entry for a file of a bundle that is not a configuration file of the tool."""
        return cls("file", name, f"not a {tool} configuration file")

    def __str__(self) -> str:
        return f"{self.name}{': ' if self.kind == 'file' else ' '}{self.reason}" if self.name else self.reason


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """All issues of one document or one bundle of a tool.

    `kind` is the kind of document (`config`, `rules`, ...; `bundle` for several files). `issues` are in the order of
    the document. `skipped` lists the checks that could not be made, and why.
    """

    tool: str
    kind: str
    name: str | None
    issues: tuple[Issue, ...] = ()
    skipped: tuple[Skipped, ...] = ()

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
