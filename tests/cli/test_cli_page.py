"""docs/cli.md says what the commands do."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.cli.kit import Shell
from tests.seams.cli import COMMANDS, GROUPS, MEANINGS, VARIABLES, make_command
from tools.cli_reference import MARK, reference

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"apm-s3 ((?:[^\s`'\";,:()<>|&]+ ?)+)")
PROSE = {"has", "is", "from"}
"""Words that follow the name of the program in sentences about it."""

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


def texts() -> Iterator[tuple[str, str]]:
    """The texts of the package, with an X for each field, and the pages: everything that may name a command."""
    for path in sorted((ROOT / "apm_s3").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            values = [part.value if isinstance(part, ast.Constant) else "X" for part in parts]
            if isinstance(node, ast.JoinedStr | ast.Constant) and isinstance(values[0], str):
                yield path.name, "".join(map(str, values))
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        yield path.name, path.read_text(encoding="utf-8").replace("\\\n", "")


def test_each_command_that_a_text_names_exists_and_takes_the_options() -> None:
    wrong = set()
    for where, text in texts():
        for named in NAMED.findall(text):
            words = [word.rstrip(".") for word in named.split()]
            name = next((each for each in (" ".join(words[:2]), words[0]) if each in COMMANDS), None)
            if name is not None:
                command = make_command(COMMANDS[name])
                takes = {"--help", "-h", *(each for param in command.params for each in param.opts)}
                given = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
                wrong |= {(where, name, option) for option in given - takes}
            elif words[0].isalpha() and words[0].islower() and words[0] not in PROSE:
                group = words[0] in GROUPS and words[1:] in ([], ["X"], ["--help"])
                wrong |= set() if group else {(where, named, "")}

    assert wrong == set()
