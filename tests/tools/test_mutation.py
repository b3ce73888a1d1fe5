"""Changes are found where they matter, are valid Python, and survive only tests that do not notice them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

from tools.mutation import ROOT, SUBJECTS, Mutations, mutations

SOURCE = b'''\
"""A docstring."""

from apm_s3.errors import NotFound

__all__ = ["plan"]
T = TypeVar("T")


def plan(size: int | None = 4, name: Literal["a"] = "b") -> tuple[int, ...]:
    """Another: 1 + 1."""
    if size < 1 or not name:
        raise ValueError(f"not {size}", size=7)
    self.size = "\xc3\xa9", size + 1
    for _ in ():
        note(hint="text")
        break
    error = NotFound("message", tool=cast("str", "x~"), hint="text")
    return True if name else b"x"


@overload
def plan(size: int = 4) -> int: ...
'''
CHANGES = """\
9 4 → 5
9 "b" → 'b~'
11 size < 1 or not name → ((size < 1) and (not name))
11 size < 1 → (size <= 1)
11 1 → 2
11 not name → (name)
12 raise ValueError(f"not {size}", size=7) → pass
12 7 → 8
13 self.size = "é", size + 1 → pass
13 "é" → 'é~'
13 size + 1 → ((size) - (1))
13 1 → 2
15 note(hint="text") → pass
16 break → continue
17 "x~" → 'x~^'
18 True if name else b"x" → None
18 True if name else b"x" → (b'x' if name else True)
18 True → False
18 b"x" → b'x~'
"""
MODULE = "def small(size):\n    return size < 5\n"
WEAK = "from apm_s3.pure import small\n\n\ndef test_small():\n    assert small(1) and not small(9)\n"
STRONG = WEAK + "    assert small(4) and not small(5)\n"
PROGRAM = """
import sys
from pathlib import Path

import pytest  # once, instead of in each fork

from tools.mutation import Subject, survivors

for tests in ("test_weak.py", "test_strong.py"):
    survivors(tests, Subject(("pure.py",), (tests,)), Path(sys.argv[1]), each=10, seed=1)
"""


def test_every_kind_of_change_is_found_but_none_in_annotations_docstrings_and_messages() -> None:
    found = Mutations("plan.py", SOURCE).found

    assert "".join(f"{each.line} {each.old} → {each.new}\n" for each in found) == CHANGES
    for each in found:
        ast.parse(each.apply(SOURCE))


def test_each_subject_has_modules_and_tests() -> None:
    for subject in SUBJECTS.values():
        assert mutations(subject)
        assert all((ROOT / "tests" / test).exists() for test in subject.tests)


def test_a_change_survives_tests_that_do_not_notice_it(tmp_path: Path) -> None:
    for name, text in {"apm_s3/__init__.py": "", "apm_s3/pure.py": MODULE, "tests/test_weak.py": WEAK}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "tests/test_strong.py").write_text(STRONG)

    quick = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=quick, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "survived: apm_s3/pure.py:2: size < 5  →  (size <= 5)",
        "survived: apm_s3/pure.py:2: 5  →  6",
        "test_weak.py: 3 of 3 changes tried, 1 noticed",
        "test_strong.py: 3 of 3 changes tried, 3 noticed",
    ]
    assert (tmp_path / "apm_s3/pure.py").read_text() == MODULE
