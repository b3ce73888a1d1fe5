"""Writes the reference of the command line from the commands' own help: `python -m tools.cli_reference`."""

from __future__ import annotations

import os
import sys
from unittest import mock

from apm_s3.cli._app import NAME, make_command
from apm_s3.cli._commands import COMMANDS

MARK = "<!-- docs/conf.py puts the help of every command here -->"
"""The place for the reference in docs/cli.md."""


def reference() -> str:
    """Return a section for each command, with its help."""
    sections = []
    with mock.patch.dict(os.environ, {"COLUMNS": "90"}):
        for name, entry in COMMANDS.items():
            command = make_command(entry)
            context = command.make_context(f"{NAME} {name}", [], resilient_parsing=True)
            sections.append(f"### {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    sys.stdout.write(reference())
