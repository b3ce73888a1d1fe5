"""Forty realistic mistakes: one error each, on its line and column, and the page of the documentation that shows them."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.validators.mistakes import MISTAKES, PAGE, RELEASES, Mistake, render, said_on_page


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.title)
def test_a_mistake_gives_one_error_at_its_line_and_column(mistake: Mistake) -> None:
    report = mistake.report()

    assert [(issue.line, issue.column) for issue in report.issues] == [mistake.place], str(report)
    assert not report.ok


def test_the_documentation_shows_our_messages() -> None:
    assert len({mistake.title for mistake in MISTAKES}) == 40
    assert PAGE.read_text("utf-8") == render(said_on_page()), "python -m tests.validators.mistakes writes it anew"


@pytest.mark.parametrize("program", RELEASES)
def test_the_documentation_shows_the_messages_of_the_tools(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True)
    if not re.search(rf"version {re.escape(RELEASES[program])}\.", shown.stdout + shown.stderr):
        pytest.skip(f"{program} is another release than that of the page")
    mistakes = [mistake for mistake in MISTAKES if mistake.program == program]

    assert {mistake.title: mistake.ask() for mistake in mistakes} == {
        mistake.title: said_on_page()[mistake.title] for mistake in mistakes
    }
