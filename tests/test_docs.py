"""The documentation for contributors names files and names that exist."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import apm_s3.settings
from apm_s3 import S3Settings
from tests.seams.content import MAX_BUNDLE, MAX_FILE, MAX_FILES, MAX_NAME_BYTES
from tests.seams.store import chain_breaks, decode_current, read_entry
from tests.seams.validators import MAX_BYTES, MAX_DEPTH, MAX_EXPANSION, MAX_NODES
from tests.seams.wire import MAX_PART, MAX_PARTS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
QUESTIONS = re.findall(r"^\| ([^|]+\?) \| `([^`]+)` \| `([^`]+)` \|$", ARCHITECTURE, re.MULTILINE)


def names_of(path: Path) -> set[str]:
    """The top-level names of a module, or the types of a table."""
    if path.suffix == ".json":
        return set(json.loads(path.read_text())["types"])
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
def test_each_answer_names_a_file_and_a_name_that_exist(question: str, file: str, name: str) -> None:
    assert name in names_of(ROOT / file)


def test_every_path_in_the_documentation_exists() -> None:
    places = [ROOT, ROOT / "apm_s3", ROOT / "apm_s3" / "_s3" / "transports"]
    missing = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in PAGES
        for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+/[\w.-]+\.\w+)`", page.read_text())
        if path.startswith(
            ("apm_s3/", "tests/", "docs/", "tools/", "benchmarks/", "_", "signed/", "boto/", "configs/_")
        )
        and not any((place / path).exists() for place in places)
    ]

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_points_to_a_file(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_page_on_limits_has_those_of_the_code() -> None:
    page = (ROOT / "docs" / "limits.md").read_text()
    mib = 1024**2

    for row in (
        f"| a file's name in a bundle | a relative path of at most {MAX_NAME_BYTES} bytes,",
        f"| a file in a bundle | {MAX_FILE // mib} MiB |",
        f"| a bundle | {MAX_BUNDLE // mib} MiB, {spaced(MAX_FILES)} files |",
        f"| a validated document | {MAX_BYTES // mib} MiB, {MAX_DEPTH} levels of nesting, ",
        f" {spaced(MAX_NODES)} nodes; aliases may add {spaced(MAX_EXPANSION)} more |",
        f"| an object | S3's limits: {spaced(MAX_PARTS)} parts of at most {MAX_PART // mib // 1024} GiB;",
    ):
        assert row in page


def test_the_page_on_settings_has_the_defaults() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]+)`? \|", page, re.MULTILINE))
    settings = S3Settings()

    for name in ("timeouts", "retry", "transfer"):
        shown = re.sub(r"(\d+) MiB", lambda found: str(int(found[1]) * 1024**2), rows[name])
        assert eval(shown, vars(apm_s3.settings)) == getattr(settings, name), name
    for name in ("max_concurrency", "cache", "data_path", "addressing_style"):
        assert rows[name] == str(getattr(settings, name)), name


def spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def test_the_glossary_explains_each_word_once() -> None:
    words = re.findall(r"^\| (?!word|---)([^|]+?) \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)

    assert len(words) > 40
    assert len(set(words)) == len(words)


def test_hosted_ci_runs_what_the_script_runs() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    sessions = set(re.findall(r'nox -s "?([a-z_]+)', workflow))

    assert ".ci/run" in workflow
    assert sessions <= names_of(ROOT / "noxfile.py")


def test_tests_that_nox_runs_exist() -> None:
    paths = [
        element.value
        for node in ast.parse((ROOT / "noxfile.py").read_text()).body
        if isinstance(node, ast.Assign) and {"CLIENTS", "SERVERLESS"} & {ast.unparse(target) for target in node.targets}
        for element in ast.walk(node.value)
        if isinstance(element, ast.Constant)
    ]

    assert len(paths) > 15
    missing = []
    for path in paths:
        file, _, name = path.partition("::")
        place = ROOT / "tests" / file
        if not place.exists() or (name and f"def {name.partition('[')[0]}(" not in place.read_text()):
            missing.append(path)
    assert missing == []


def test_the_example_of_a_reference_document_is_valid() -> None:
    page = (ROOT / "docs" / "stored-format.md").read_text()
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)

    current = decode_current(example.encode(), environment="production", where="docs")

    assert chain_breaks(current.log.entries) == []
    assert [read_entry(entry, "docs").action for entry in current.log.entries] == ["create", "upload", "settings"]


def test_every_field_that_is_stored_is_described() -> None:
    page = (ROOT / "docs" / "stored-format.md").read_text()
    stored = json.loads((ROOT / "tests" / "golden" / "format-2.json").read_text())
    documents = [
        json.loads(found["text"]) for key, found in stored.items() if key.endswith(".json") and "text" in found
    ]

    fields = {name for document in documents for name in fields_of(document)}

    assert len(documents) > 10
    assert sorted(name for name in fields if f"`{name}`" not in page) == []


def fields_of(value: object, within: str = "") -> set[str]:
    """The names of all fields; the keys of `tools`, `files` and such are names of tools and files, not fields."""
    if isinstance(value, list):
        return {name for each in value for name in fields_of(each)}
    if not isinstance(value, dict):
        return set()
    names = set() if within in ("tools", "files", "good", "oldest", "of", "target_versions") else set(value)
    return names.union(*(fields_of(each, name) for name, each in value.items()))
