"""Prints the fault matrix at the end of a run."""

from __future__ import annotations

import pytest

from tests.faults.test_matrix import TABLES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    lines = config.stash.get(TABLES, [])
    if lines:
        terminalreporter.section("fault matrix")
        for line in lines:
            terminalreporter.write_line(line)
