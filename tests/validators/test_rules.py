"""docs/rules.md has every rule of validation, with an example that breaks it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

import apm_s3.validators
from apm_s3.configs import EnvironmentSettings
from apm_s3.reports import RENAMED, RULES, Issue, Rule, Severity, ValidationReport
from tests.validators.rules import EXAMPLES, PAGE, UNSHOWN, Example, render

DATA = Path(apm_s3.validators.__file__).with_name("_data")


def test_every_rule_of_the_code_has_a_meaning() -> None:
    assert set(get_args(Rule)) == set(RULES)
    assert list(RULES) == sorted(RULES)


def test_every_rule_of_the_tables_of_fields_has_a_meaning() -> None:
    tables = [json.loads(path.read_text("utf-8")) for path in DATA.glob("*.json")]
    named = {
        group["rule"]
        for table in tables
        for groups in table.get("groups", {}).values()
        for group in groups
        if "rule" in group
    }
    assert named <= RULES.keys()


def test_every_rule_is_on_the_page() -> None:
    shown = {example.rule for example in EXAMPLES}
    assert not shown & UNSHOWN
    assert shown | UNSHOWN == RULES.keys()


@pytest.mark.parametrize(("old", "rule"), RENAMED.items())
def test_a_setting_with_the_earlier_name_of_a_rule_goes_on_to_work(old: str, rule: Rule) -> None:
    warning = Issue(Severity.WARNING, "", None, None, rule, "a message")
    report = ValidationReport("grafana", "config", None, (warning,))
    assert not EnvironmentSettings(warnings_as_errors=(old,)).rules("grafana").applied(report).ok
    assert EnvironmentSettings(warnings_as_errors=("access",)).rules("grafana").applied(report).ok


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.rule)
def test_an_example_breaks_its_rule(example: Example) -> None:
    assert example.rule in {issue.rule for issue in example.report().issues}


def test_the_page_is_made_of_the_examples() -> None:
    assert PAGE.read_text("utf-8") == render(), "python -m tests.validators.rules writes it anew"
