"""Private modules are named by the seams alone, and all that a seam offers is used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = sorted(TESTS.rglob("*.py"))
SEAMS = sorted(path for path in (TESTS / "seams").glob("*.py") if not path.name.startswith(("_", "test_")))
MOST = 40
"""Files that may name the inside, seams and the tests of single validators among them."""


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


@cache
def imports(path: Path) -> list[tuple[str, str]]:
    """What a file imports: modules and the names from them."""
    found = [
        (node.module or "", alias.name)
        for node in nodes_of(path)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    return found + [(alias.name, "") for node in nodes_of(path) if isinstance(node, ast.Import) for alias in node.names]


def names_the_inside(path: Path) -> bool:
    """Whether a file imports a private module or name of the package, or names one to patch it."""
    calls = [node for node in nodes_of(path) if isinstance(node, ast.Call) and node.args]
    patched = [each.args[0].value for each in calls if isinstance(each.args[0], ast.Constant)]
    dotted = [f"{module}.{name}" for module, name in imports(path)]
    dotted += [each for each in patched if isinstance(each, str) and each.startswith("apm_s3.") and " " not in each]
    parts = [each.split(".") for each in dotted if each.startswith("apm_s3.")]
    return any(part.startswith("_") and not part.startswith("__") for each in parts for part in each)


def test_only_seams_and_tests_of_single_validators_name_private_modules() -> None:
    found = {path.relative_to(TESTS) for path in FILES if names_the_inside(path)}

    assert {path for path in found if path.parts[0] not in ("seams", "validators")} == set()
    assert len(found) <= MOST


@pytest.mark.parametrize("seam", SEAMS, ids=lambda path: path.stem)
def test_all_that_a_seam_offers_is_used(seam: Path) -> None:
    here = {node.id for node in nodes_of(seam) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    offered = {name for node in ast.parse(seam.read_text()).body for name in _offered_by(node)}
    taken = {name for path in FILES for module, name in imports(path) if module == f"tests.seams.{seam.stem}"}

    assert offered - taken - here == set()


def _offered_by(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("apm_s3."):
        yield from (alias.asname or alias.name for alias in node.names)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name))
