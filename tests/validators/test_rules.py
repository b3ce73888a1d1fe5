"""docs/rules.md has every rule of validation, with an example that breaks it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import apm_s3.validators
from tests.validators.rules import EXAMPLES, PAGE, UNSHOWN, Example, render

FUNCTIONS = {"error", "warn", "report", "Mismatch", "Unreadable", "Issue", "_error"}
NO_RULES = {"virtual-hosted", "utf-8"}


def rules_in_the_code() -> set[str]:
    """The names with a hyphen that functions which report problems get: a rule of one word looks like a field."""
    found = set()
    for path in Path(apm_s3.validators.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                values = [*node.args, *(keyword.value for keyword in node.keywords)]
                if name in FUNCTIONS:
                    found |= {value.value for value in values if isinstance(value, ast.Constant)}
    return {rule for rule in found if isinstance(rule, str) and re.fullmatch("[a-z0-9]+(-[a-z0-9]+)+", rule)}


def test_every_rule_is_on_the_page() -> None:
    shown = {example.rule for example in EXAMPLES}
    assert not shown & UNSHOWN.keys()
    assert rules_in_the_code() - NO_RULES <= shown | UNSHOWN.keys()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.rule)
def test_an_example_breaks_its_rule(example: Example) -> None:
    assert example.rule in {issue.rule for issue in example.report().issues}


def test_the_page_is_made_of_the_examples() -> None:
    assert PAGE.read_text("utf-8") == render(), "python -m tests.validators.rules writes it anew"
