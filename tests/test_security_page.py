"""The table in docs/security.md: everything that starts a process, opens a file, masks, or allocates what input asks for.

A new one needs a row: what it is, and what holds an attacker off. The failure shows the beginning of the row.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "apm_s3"

STARTS = re.compile(
    r"(\w+\.)*(create_subprocess_\w+|Popen|ProcessPoolExecutor|subprocess_exec|subprocess_shell)"
    r"|subprocess\.\w+|multiprocessing\.\w+|pty\.\w+|runpy\.\w+|webbrowser\.\w+"
    r"|os\.(system|popen|startfile|fork\w*|exec[lv]\w*|spawn\w*|posix_spawn\w*)"
    r"|exec|eval|click\.(launch|edit)"
)
OPENS = re.compile(
    r"open|os\.(open|fdopen)|io\.open|.*\.(read_text|read_bytes)|read_capped|(pickle|marshal|tomllib)\.loads?|sqlite3\.connect"
)
NO_FILES = {"self", "transport", "_boto", "body", "content", "stream", "repository"}
"""What has a method `open` and is no path."""
MASKERS = re.compile(r"apm_s3\.(_redaction|validators\._secrets(\.\w+)?|fastapi\._masking)")
ALLOCATES = re.compile(
    r"bytearray|mmap\.mmap|(\w+\.)*(Semaphore|readexactly|f?truncate|posix_fallocate|ljust|rjust|zfill|decompress|decompressobj)"
)
BODIES = {"request.body", "request.json", "request.form", "request.stream"}
READERS = {"file", "reader", "stream", "_stream", "buffer", "stdin", "stdout", "stderr"}

Found = tuple[str, str]
"""A kind of row, and where it is: a module, and a function in it."""


def in_tree(tree: ast.AST, module: str, scope: str = "") -> Iterator[Found]:
    """Everything in a module that needs a row."""
    for node in ast.iter_child_nodes(tree):
        within = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else scope
        kind = kind_of(node)
        if kind == "mask" and "_secrets/" not in module:
            yield kind, module
        elif kind and kind != "mask":
            yield kind, f"{module}:{within}"
        yield from in_tree(node, module, within)


def kind_of(node: ast.AST) -> str | None:
    if isinstance(node, ast.ImportFrom) and MASKERS.fullmatch(node.module or ""):
        return "mask"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return "number" if is_repeated(node.left, node.right) or is_repeated(node.right, node.left) else None
    if not isinstance(node, ast.Call):
        return None
    called, given = ast.unparse(node.func), node.args
    if STARTS.fullmatch(called):
        return "process"
    if OPENS.fullmatch(called) or opens_path(node):
        return "file"
    sized = ALLOCATES.fullmatch(called) and given and not is_constant(given[0])
    return "number" if sized or called in BODIES or reads_counted(node) else None


def is_repeated(what: ast.expr, times: ast.expr) -> bool:
    """Whether this makes a text or a list as long as `times` says."""
    one = what.elts[0] if isinstance(what, ast.List) and len(what.elts) == 1 else what
    is_text = isinstance(what, ast.Constant) and isinstance(what.value, str | bytes)
    is_list = what is not one and isinstance(one, ast.Constant) and not isinstance(one.value, str | bool)
    return (is_text or is_list) and not is_constant(times)


def is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id.isupper())


def opens_path(call: ast.Call) -> bool:
    """Whether this is a `path.open()`."""
    if not (isinstance(call.func, ast.Attribute) and call.func.attr == "open"):
        return False
    of = call.func.value
    name = of.attr if isinstance(of, ast.Attribute) else of.id if isinstance(of, ast.Name) else ""
    return name not in NO_FILES


def reads_counted(call: ast.Call) -> bool:
    """Whether this is a `file.read(count)` or an `objects.read(key, limit=size)`."""
    if not (isinstance(call.func, ast.Attribute) and call.func.attr in {"read", "readinto"}):
        return False
    of = call.func.value
    name = of.attr if isinstance(of, ast.Attribute) else of.id if isinstance(of, ast.Name) else ""
    counted = name in READERS and bool(call.args) and not is_constant(call.args[0])
    return counted or any(each.arg == "limit" for each in call.keywords)


def in_package() -> set[Found]:
    paths = PACKAGE.rglob("*.py")
    return {
        each for path in paths for each in in_tree(ast.parse(path.read_text()), path.relative_to(PACKAGE).as_posix())
    }


def in_page() -> set[Found]:
    found = set()
    for line in (ROOT / "docs/security.md").read_text().splitlines():
        row = re.match(r"\| (process|file|mask|number) \| `([\w/]+\.py)`(?:: ([^|]+))? \|", line)
        if row is not None:
            kind, module, functions = row.groups()
            found |= {(kind, f"{module}:{each}") for each in re.findall(r"`(\w+)`", functions or "")} or {
                (kind, module)
            }
    return found


def test_the_table_has_a_row_for_everything_in_the_package() -> None:
    missing = [
        f"| {kind} | `{where.replace(':', '`: `')}` | ... | ... |" for kind, where in sorted(in_package() - in_page())
    ]

    assert not missing, (
        "docs/security.md lacks rows; add these, with what they are and what holds an attacker off:\n"
        + "\n".join(missing)
    )


def test_every_row_of_the_table_is_about_something_in_the_package() -> None:
    assert in_page() <= in_package()


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("subprocess.run(command)", "process"),
        ("asyncio.create_subprocess_exec(*command)", "process"),
        ("os.execvp(program, arguments)", "process"),
        ("ProcessPoolExecutor()", "process"),
        ("path.open('rb')", "file"),
        ("Path(name).open()", "file"),
        ("pickle.load(stream)", "file"),
        ("folder.joinpath(name).read_text()", "file"),
        ("from apm_s3.validators._secrets.texts import mask_text", "mask"),
        ("bytearray(size)", "number"),
        ("b'\\0' * length", "number"),
        ("file.read(length)", "number"),
        ("objects.read(key, limit=entry.size)", "number"),
    ],
)
def test_a_new_one_is_found(line: str, kind: str) -> None:
    assert [each for each, _ in in_tree(ast.parse(f"def work():\n    {line}"), "new.py")] == [kind]


def test_every_process_has_an_environment_of_its_own_and_a_command_from_the_helper() -> None:
    for kind, where in in_package():
        if kind == "process":
            module, _, _ = where.partition(":")
            tree = ast.parse((PACKAGE / module).read_text())
            calls = [each for each in ast.walk(tree) if isinstance(each, ast.Call) and kind_of(each) == "process"]
            assert all("env" in {keyword.arg for keyword in call.keywords} for call in calls), where
            imported = {
                name.name
                for each in ast.walk(tree)
                if isinstance(each, ast.ImportFrom) and each.module == "apm_s3._processes"
                for name in each.names
            }
            assert imported & {"find_program", "isolated_python"}, where
