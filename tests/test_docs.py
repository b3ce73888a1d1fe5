"""The documentation for contributors names files and names that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
QUESTIONS = re.findall(r"^\| ([^|]+\?) \| `([^`]+)` \| `([^`]+)` \|$", ARCHITECTURE, re.MULTILINE)


def names_of(path: Path) -> set[str]:
    """What a module defines at its top level."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return found


def test_twenty_questions_are_answered() -> None:
    assert len(QUESTIONS) == 20


@pytest.mark.parametrize(("question", "file", "name"), QUESTIONS, ids=[question for question, _, _ in QUESTIONS])
def test_an_answer_names_a_file_and_a_name_that_exist(question: str, file: str, name: str) -> None:
    assert name in names_of(ROOT / file)


def test_a_path_in_the_documentation_exists() -> None:
    places = [ROOT, ROOT / "apm_s3", ROOT / "apm_s3" / "_s3" / "transports"]
    missing = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in PAGES
        for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+/[\w.-]+\.\w+)`", page.read_text())
        if path.startswith(("apm_s3/", "tests/", "docs/", "tools/", "benchmarks/", "_", "lean/", "boto/", "configs/_"))
        and not any((place / path).exists() for place in places)
    ]

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_link_leads_to_a_file(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_glossary_explains_each_word_once() -> None:
    words = re.findall(r"^\| (?!word|---)([^|]+?) \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)

    assert len(words) > 40
    assert len(set(words)) == len(words)


def test_hosted_ci_runs_what_the_script_runs() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    sessions = set(re.findall(r'nox -s "?([a-z_]+)', workflow))

    assert ".ci/run" in workflow
    assert sessions <= names_of(ROOT / "noxfile.py")


def test_what_nox_runs_exists() -> None:
    paths = [
        element.value
        for node in ast.parse((ROOT / "noxfile.py").read_text()).body
        if isinstance(node, ast.Assign) and {"CLIENTS", "SERVERLESS"} & {ast.unparse(target) for target in node.targets}
        for element in ast.walk(node.value)
        if isinstance(element, ast.Constant)
    ]

    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / "tests" / path).exists()] == []
