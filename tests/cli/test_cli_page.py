"""docs/cli.md says what the commands do."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from tests.cli.kit import Shell
from tests.seams.cli import COMMANDS, MEANINGS, VARIABLES
from tools.cli_reference import MARK, reference

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def test_the_page_has_every_exit_status_and_its_meaning() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE)

    assert [(status, meaning.replace("`", "")) for status, meaning in rows] == [
        (str(int(status)), meaning) for status, meaning in MEANINGS.items()
    ]


def test_the_page_names_the_document_of_each_command_and_each_setting() -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", PAGE, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    example = re.findall(r"```toml\n(.+?)```", PAGE, re.DOTALL)[0].replace("# ", "")

    # The script that `completion` prints is no document.
    assert sorted(named) == sorted(set(COMMANDS) - {"completion"})
    assert set(tomllib.loads(example)) == set(VARIABLES)
    assert all(variable in PAGE for variables in VARIABLES.values() for variable in variables)


def test_the_error_in_the_page_is_a_real_one(shell: Shell) -> None:
    (example,) = re.findall(r"```json\n(.+)\n```", PAGE)

    assert shell.json("bucket", "show", "a-b-c", status=1) == json.loads(example)


def test_the_reference_has_the_help_of_every_command() -> None:
    text = reference()

    assert PAGE.count(MARK) == 1
    assert re.findall(r"^### (.+)$", text, re.MULTILINE) == list(COMMANDS)
    assert text.count("Usage: apm-s3 ") == len(COMMANDS)
