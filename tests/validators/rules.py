"""The page of the validation's rules: `python -m tests.validators.rules` writes it anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from apm_s3.reports import RENAMED, RULES, Rule, ValidationReport
from apm_s3.validators import validate_bundle, validate_config

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
LANGUAGES = {".json": "json", ".ini": "ini", ".tmpl": "text", ".js": "text"}
UNSHOWN: frozenset[Rule] = frozenset((
    "amtool", "invalid-utf8", "label-value", "no-main-file", "nul-byte", "overlay", "plain-text-secret", "promtool", "too-deep",
    "too-large", "too-many-values", "undeclared-variable", "unsupported-type", "yaml-tag",
))  # fmt: skip
"""Rules without an example, because it would be long, no text, or more than a validator."""
HEAD = """\
# Validation rules

Each problem in a report has the name of a rule, the last word in its line. These are the rules, each with an example and what
the report says about it. `apm-s3 config validate` prints the same lines; `--fail-on warning` also refuses warnings. An
environment's `warnings_as_errors` takes the names of rules, also those of earlier versions.
"""


@dataclass(frozen=True)
class Example:
    """One rule."""

    rule: Rule
    tool: Any
    text: str = ""
    files: dict[str, str] | None = None
    kind: str | None = None
    name: str | None = None

    def report(self) -> ValidationReport:
        if self.files is not None:
            return validate_bundle(self.tool, {name: text.encode() for name, text in self.files.items()})
        return validate_config(self.tool, self.text, kind=self.kind, name=self.name)

    def render(self) -> str:
        report = self.report()
        found = "\n".join(str(issue) for issue in report.issues if issue.rule == self.rule)
        shown = "\n".join(
            f"`{name}`:\n\n{self._block(name, text)}" if self.files else self._block(name, text)
            for name, text in (self.files or {self._name(): self.text}).items()
        )
        return f"## {self.rule}\n\n{RULES[self.rule]}\n\n{shown}\n```text\n{found}\n```\n"

    def _name(self) -> str:
        if self.name is not None:
            return self.name
        return "x.json" if self.text.startswith("{") else "x.ini" if self.text.startswith(("[", "any_key")) else "x.yml"

    def _block(self, name: str, text: str) -> str:
        if not text:
            return "An empty file.\n"
        return f"```{LANGUAGES.get(Path(name).suffix, 'yaml')}\n{text.rstrip()}\n```\n"


EXAMPLES = [Example(**entry) for entry in yaml.safe_load(Path(__file__).with_name("rules.yml").read_text("utf-8"))]


def render() -> str:
    """The page, as it should be."""
    entries = {example.rule: example.render() for example in EXAMPLES}
    entries |= {rule: f"## {rule}\n\n{RULES[rule]}\n" for rule in UNSHOWN}
    renamed = ", ".join(f"`{old}` (now `{rule}`)" for old, rule in RENAMED.items())
    return "\n".join([HEAD, f"Earlier names are {renamed}.\n", *(entries[rule] for rule in sorted(entries))])


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
