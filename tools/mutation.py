"""Mutation testing: change one small thing in a module, and see whether the module's own tests fail.

    nox -s mutation [-- --each 20 --seed 1 [subject ...]]

A sample of the possible changes of each subject is drawn with `--seed`, and tried in a copy of the project. A change
that no test notices is printed; docs/mutation.md explains those that are known. Needs `fork`: Linux or macOS.

Why not a library: mutmut 3 rewrites every function of a module, changed or not. cosmic-ray changes annotations, never
leaves out a statement, and starts Python and loads every library anew for each change, which takes most of the time.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
TIMES_LONGER = 5
"""A change that makes the tests take this many times longer is noticed: an endless loop, for example."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Modules without I/O, as patterns below `apm_s3`, and the tests that must notice changes in them."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


SUBJECTS = {
    "changes": Subject(("configs/_protocol/changes.py",), ("configs/test_changes.py",)),
    "diff": Subject(("configs/_content/diff*.py", "configs/_content/structure.py"), ("configs/test_diff.py",)),
    "documents": Subject(
        ("configs/_protocol/keys.py", "configs/_protocol/encoding.py"),
        ("configs/test_documents.py", "configs/test_log.py", "configs/test_forged.py", "golden"),
    ),
    "bucket documents": Subject(
        ("_wire/bucket_settings.py",), ("s3/buckets/test_documents.py", "s3/buckets/test_lifecycle.py")
    ),
    "signer": Subject(("_wire/sigv4.py",), ("wire/test_sigv4.py",)),
    "http reader": Subject(("_wire/http1.py",), ("wire/test_http1.py", "wire/test_http1_differential.py")),
    "parts": Subject(("_wire/parts.py",), ("wire/test_parts.py",)),
    "cache": Subject(
        ("_cache.py", "_cache.py"),
        ("cache/test_cache.py", "cache/test_entries.py", "cache/test_cache_machine.py", "cache/test_shared.py"),
    ),
    "retry": Subject(("_s3/retry.py", "_backoff.py"), ("s3/test_retry.py",)),
}

OPPOSITES: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
SWAPPED: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "//", ast.FloorDiv: "*", ast.Div: "*", ast.Mod: "+", ast.BitAnd: "|",
    ast.LShift: ">>", ast.RShift: "<<",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change: `new` instead of what stands between two offsets, in bytes, of a file."""

    file: str
    line: int
    start: int
    stop: int
    old: str
    new: str

    def apply(self, source: bytes) -> bytes:
        """Return the changed source."""
        return source[: self.start] + self.new.encode() + source[self.stop :]

    def __str__(self) -> str:
        old, new = (" ".join(text.split())[:100] for text in (self.old, self.new))
        return f"{self.file}:{self.line}: {old}  →  {new}"


class Mutations(ast.NodeVisitor):
    """Collects the possible changes of a module.

    There are none in annotations, docstrings, `__all__`, names of type variables, or messages and hints of errors.
    """

    def __init__(self, file: str, source: bytes) -> None:
        self.found: list[Mutation] = []
        self._file = file
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        tree = ast.parse(source)
        imported = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "apm_s3.errors"]
        self._errors = {alias.name for node in imported for alias in node.names}
        self.visit(tree)

    def visit(self, node: ast.AST) -> None:
        """Note the changes of `node`, then those inside it."""
        if isinstance(node, ast.stmt):
            self._left_out(node)
        if isinstance(node, ast.expr):
            for new in changed(node):
                self._add(node, new)
        if not isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
            super().visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Leave out annotations and decorators, and what is only there for type checkers."""
        if any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list):
            return
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(default)
        for statement in node.body:
            self.visit(statement)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - a name of ast's

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Leave out bases and decorators."""
        for statement in node.body:
            self.visit(statement)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Leave out the annotation."""
        if node.value is not None:
            self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Leave out the error's class and message."""
        if isinstance(node.exc, ast.Call):
            self._after_the_first(node.exc)

    def visit_Call(self, node: ast.Call) -> None:
        """Leave out types, and the message of an error that is made here and raised elsewhere."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "cast" or name in self._errors:
            self._after_the_first(node)
        elif name not in ("TypeVar", "ParamSpec"):
            self.generic_visit(node)

    def _after_the_first(self, node: ast.Call) -> None:
        for argument in [*node.args[1:], *node.keywords]:
            self.visit(argument)

    def visit_keyword(self, node: ast.keyword) -> None:
        """Leave out hints of errors."""
        if node.arg != "hint":
            self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Leave out types that have a name."""
        if not (isinstance(node.value, ast.Name) and node.value.id in ("Literal", "Callable")):
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """Leave out `__all__`."""
        if not (isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"):
            self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        """Leave out docstrings."""
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def _left_out(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr(value=ast.Constant()):
                return
            case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Delete():
                self._add(node, "pass")
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                self._add(node, "pass")
            case ast.Return(value=ast.expr() as value) if not is_constant(value, None):
                self._add(value, "None")
            case ast.Break():
                self._add(node, "continue")
            case ast.Continue():
                self._add(node, "break")

    def _add(self, node: ast.expr | ast.stmt, new: str) -> None:
        start = self._starts[node.lineno - 1] + node.col_offset
        stop = self._starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        old = self._source[start:stop].decode()
        self.found.append(Mutation(self._file, node.lineno, start, stop, old, new))


def is_constant(node: ast.expr, value: object) -> bool:
    """Whether `node` is just this literal."""
    return isinstance(node, ast.Constant) and node.value is value


def changed(node: ast.expr) -> Iterator[str]:
    """What may stand in the place of an expression, in brackets where a neighbour could take it apart."""
    match node:
        case ast.Compare(ops=[op]):
            left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
            yield f"({left} {OPPOSITES[type(op)]} {right})"
        case ast.BoolOp():
            word = " or " if isinstance(node.op, ast.And) else " and "
            yield "(" + word.join(f"({ast.unparse(value)})" for value in node.values) + ")"
        case ast.UnaryOp(op=ast.Not()):
            yield f"({ast.unparse(node.operand)})"
        case ast.BinOp(op=op) if type(op) in SWAPPED:
            yield f"(({ast.unparse(node.left)}) {SWAPPED[type(op)]} ({ast.unparse(node.right)}))"
        case ast.IfExp():
            yield f"({ast.unparse(ast.IfExp(node.test, node.orelse, node.body))})"
        case ast.Constant(value=bool() as value):
            yield str(not value)
        case ast.Constant(value=int() as value):
            yield str(value + 1)
        case ast.Constant(value=str() as text):
            yield repr(text + _mark_for(text))
        case ast.Constant(value=bytes() as text):
            yield repr(text + _mark_for(text.decode("latin-1")).encode())


def _mark_for(text: str) -> str:
    """A character that changes a text, even one that lists characters."""
    return next(mark for mark in "~^@" if mark not in text)


def mutations(subject: Subject, root: Path = ROOT) -> list[Mutation]:
    """Return all possible changes of the modules of `subject`, in their order."""
    files = sorted(file for pattern in subject.modules for file in (root / "apm_s3").glob(pattern))
    return [mutation for file in files for mutation in Mutations(str(file.relative_to(root)), file.read_bytes()).found]


def copied(root: Path, target: Path) -> Path:
    """Copy what git tracks or would track, and return the copy's path."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=root, check=True, stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    for name in filter(None, listed.decode().split("\0")):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)
    return target


def tests_pass(copy: Path, tests: tuple[str, ...], seconds: float) -> bool:
    """Run the tests of `copy` in a fork of this process, which has imported what they need from elsewhere."""
    quietly = ("-x", "-q", "-p", "no:apm_s3", "-W", "ignore::pytest.PytestAssertRewriteWarning")
    arguments = [*quietly, *(f"tests/{test}" for test in tests)]
    pid = os.fork()
    if pid == 0:
        _run_tests(copy, arguments)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def _run_tests(copy: Path, arguments: list[str]) -> NoReturn:
    os.setsid()
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    sys.dont_write_bytecode = True
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "apm_s3", "tools")]:
        del sys.modules[name]
    import pytest  # noqa: PLC0415 - loaded by the parent

    os._exit(int(pytest.main(arguments)))


def survivors(
    name: str, subject: Subject, copy: Path, each: int, seed: int, tell: Callable[[str], object] = print
) -> list[Mutation]:
    """Try a sample of the changes of `subject`, and return those that no test notices.

    Raises:
        RuntimeError: the tests fail without any change.
    """
    possible = mutations(subject, copy)
    began = time.monotonic()
    if not tests_pass(copy, subject.tests, 600):
        raise RuntimeError(f"{name}: the tests fail without any change: {' '.join(subject.tests)}")
    seconds = 10 + TIMES_LONGER * (time.monotonic() - began)
    sample = random.Random(seed).sample(possible, min(each, len(possible)))  # noqa: S311 - the same for everybody
    unnoticed = []
    for mutation in sorted(sample, key=lambda one: (one.file, one.start)):
        file = copy / mutation.file
        original = file.read_bytes()
        file.write_bytes(mutation.apply(original))
        try:
            if tests_pass(copy, subject.tests, seconds):
                unnoticed.append(mutation)
                tell(f"survived: {mutation}")
        finally:
            file.write_bytes(original)
    tell(f"{name}: {len(sample)} of {len(possible)} changes tried, {len(sample) - len(unnoticed)} noticed")
    return unnoticed


def main(arguments: list[str] | None = None) -> None:
    """Try a sample of each subject."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", metavar="subject", help=", ".join(SUBJECTS))
    parser.add_argument("--each", type=int, default=20, help="changes of each subject")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    for module in ("aiobotocore.session", "hypothesis", "pytest", "yaml"):
        __import__(module)
    with tempfile.TemporaryDirectory(prefix="apm-s3-mutation-") as folder:
        copy = copied(ROOT, Path(folder))
        for name in options.subjects or SUBJECTS:
            survivors(name, SUBJECTS[name], copy, options.each, options.seed, lambda line: print(line, flush=True))  # noqa: T201


if __name__ == "__main__":
    main()
