"""Runs regular expressions like Go's regexp: leftmost match, earlier alternatives first, in bounded time.

A pattern is compiled to a program for a Pike machine (https://swtch.com/~rsc/regexp/regexp2.html), which follows all
alternatives in parallel, so that the time is at most the size of the program times the length of the text. Patterns
that cannot make Python's backtracking engine slow, nearly all real ones, run on that engine, thirty times as fast.

A pattern is simple if backtracking cannot make it slow: only single characters are repeated, and the product of all
choices is limited. For these, both languages match the same text in the same order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from math import prod
from typing import NamedTuple
from unicodedata import category

from apm_s3.validators._query.re2 import Regex
from apm_s3.validators._query.re2_syntax import CharClass, Node, Op, Ranges

MAX_INSTRUCTIONS = 5_000
"""The maximum size of a program, including the copies made while compiling. Larger patterns are not run."""

_CHAR, _SPLIT, _JUMP, _SAVE, _ASSERT, _MATCH = range(6)

Test = Callable[[str], bool]
Assertion = Callable[[str, int], bool]


class _Instruction(NamedTuple):
    """One step. `first` and `second` are the relative targets of a split or jump, preferred first."""

    kind: int
    first: int = 0
    second: int = 0
    test: Test | None = None
    assertion: Assertion | None = None


class TooCostly(Exception):
    """The pattern is too large to run, or has a class with unknown members (`\\p{Greek}`)."""


class Match:
    """A match: `group(1)` or `group("name")` is the text of a group, None if it did not participate."""

    def __init__(self, text: str, spans: tuple[int, ...], names: tuple[str, ...]) -> None:
        self._text = text
        self._spans = spans
        self._names = names

    def group(self, name: int | str) -> str | None:
        """Return the text of a group.

        Raises:
            IndexError: there is no such group.
        """
        # If several groups have the same name, Go's Expand uses the first one that participated.
        indexes = [name] if isinstance(name, int) else [at for at, known in enumerate(self._names) if known == name]
        if not indexes or not 0 <= indexes[0] < len(self._names):
            raise IndexError(f"no such group: {name!r}")
        for index in indexes:
            start, end = self._spans[2 * index : 2 * index + 2]
            if start >= 0 and end >= 0:
                return self._text[start:end]
        return None


class Program:
    """A compiled pattern.

    Raises:
        TooCostly: it cannot be run.
    """

    def __init__(self, regex: Regex) -> None:
        self._groups = regex.groups
        self._quick = translated(regex.root)
        self._code = [*_compile(regex.root), _Instruction(_MATCH)]

    @property
    def is_quick(self) -> bool:
        """Return whether short texts are matched in about a microsecond."""
        return self._quick is not None

    def search(self, text: str) -> Match | None:
        """Return the leftmost match in `text`, with Go's preferences."""
        if self._quick is None or len(text) > QUICK_LENGTH:
            return self._run(text)
        found = self._quick.search(text)
        return found and Match(text, tuple(end for span in found.regs for end in span), self._groups)

    def _run(self, text: str) -> Match | None:
        unset = (-1,) * (2 * len(self._groups))
        threads: list[tuple[int, tuple[int, ...]]] = []
        best: tuple[int, ...] | None = None
        for at in range(len(text) + 1):
            seen: set[int] = set()
            ready: list[tuple[int, tuple[int, ...]]] = []
            for counter, spans in threads:
                self._follow(counter, spans, text, at, seen, ready)
            if best is None:
                self._follow(0, (at, *unset[1:]), text, at, seen, ready)
            elif not ready:
                break
            threads = []
            for counter, spans in ready:
                instruction = self._code[counter]
                if instruction.test is None:
                    # Everything after this in `ready` has lower priority.
                    best = (spans[0], at, *spans[2:])
                    break
                if at < len(text) and instruction.test(text[at]):
                    threads.append((counter + 1, spans))
        return None if best is None else Match(text, best, self._groups)

    def _follow(
        self,
        counter: int,
        spans: tuple[int, ...],
        text: str,
        at: int,
        seen: set[int],
        ready: list[tuple[int, tuple[int, ...]]],
    ) -> None:
        """Follow `counter` without reading, and add all instructions that wait for a character to `ready`, in order."""
        pending = [(counter, spans)]
        while pending:
            here, spans = pending.pop()
            if here in seen:
                continue
            seen.add(here)
            kind, first, second, _, assertion = self._code[here]
            if kind in (_CHAR, _MATCH):
                ready.append((here, spans))
            elif kind == _SPLIT:
                pending += ((here + second, spans), (here + first, spans))
            elif kind == _JUMP:
                pending.append((here + first, spans))
            elif kind == _SAVE:
                pending.append((here + 1, (*spans[:first], at, *spans[first + 1 :])))
            elif assertion is not None and assertion(text, at):
                pending.append((here + 1, spans))


@lru_cache(maxsize=256)
def program_of(regex: Regex) -> Program | None:
    """Compile `regex`; None if it cannot be run."""
    try:
        return Program(regex)
    except TooCostly:
        return None


# -- from a tree to a program


def _compile(root: Node) -> list[_Instruction]:
    """Compile `root` to instructions. Jumps are relative, so that parts can be copied unchanged."""
    # No recursion, because a tree can be deeper than Python's stack.
    results: list[list[_Instruction]] = []
    pending: list[tuple[Node, bool]] = [(root, False)]
    spent = 0
    while pending:
        node, ready = pending.pop()
        if not ready and node.subs:
            pending.append((node, True))
            pending.extend((sub, False) for sub in reversed(node.subs))
            continue
        parts = [results.pop() for _ in node.subs][::-1]
        copies = max(node.low, node.high, 1) if node.op is Op.REPEAT else 1
        spent += copies * (sum(map(len, parts)) + 2) + len(node.text)
        if spent > MAX_INSTRUCTIONS:
            raise TooCostly
        results.append(_assemble(node, parts))
    return results[0]


def _assemble(node: Node, parts: list[list[_Instruction]]) -> list[_Instruction]:
    match node.op:
        case Op.EMPTY:
            return []
        case Op.LITERAL:
            return [_Instruction(_CHAR, test=_character_test(char, folded=node.folded)) for char in node.text]
        case Op.CLASS | Op.ANY | Op.ANY_NOT_NEWLINE:
            return [_Instruction(_CHAR, test=_class_test(node))]
        case Op.CAPTURE:
            slot = 2 * node.index
            return [_Instruction(_SAVE, slot), *parts[0], _Instruction(_SAVE, slot + 1)]
        case Op.CONCAT:
            return [instruction for part in parts for instruction in part]
        case Op.ALTERNATE:
            return _alternatives(parts)
        case Op.REPEAT:
            return _repetition(node, parts[0])
        case _:
            return [_Instruction(_ASSERT, assertion=_ASSERTIONS[node.op])]


def _alternatives(parts: list[list[_Instruction]]) -> list[_Instruction]:
    code = parts[-1]
    for part in reversed(parts[:-1]):
        code = [_Instruction(_SPLIT, 1, len(part) + 2), *part, _Instruction(_JUMP, len(code) + 1), *code]
    return code


def _repetition(node: Node, part: list[_Instruction]) -> list[_Instruction]:
    optional = [_split(1, len(part) + 1, greedy=node.greedy), *part]
    loop = [*part, _split(-len(part), 1, greedy=node.greedy)]
    if node.high < 0:
        if node.low:
            return part * (node.low - 1) + loop
        return [_split(1, len(loop) + 1, greedy=node.greedy), *loop]
    # x{0,2} is (x(x)?)?: skipping one repetition skips the rest.
    rest: list[_Instruction] = []
    for _ in range(node.high - node.low):
        rest = [_split(1, len(optional) + len(rest), greedy=node.greedy), *part, *rest]
    return part * node.low + rest


def _split(inner: int, outer: int, *, greedy: bool) -> _Instruction:
    return _Instruction(_SPLIT, inner, outer) if greedy else _Instruction(_SPLIT, outer, inner)


# -- characters


def _character_test(char: str, *, folded: bool) -> Test:
    return same_but_for_case(char).__contains__ if folded else char.__eq__


def _class_test(node: Node) -> Test:
    if node.char_class is None:
        return (lambda char: char != "\n") if node.op is Op.ANY_NOT_NEWLINE else (lambda char: True)  # noqa: ARG005
    described = node.char_class
    if any(isinstance(named, str) and len(named) > 2 and named not in _SPECIAL for named, _ in described.groups):
        raise TooCostly
    known: dict[str, bool] = {}

    def test(char: str) -> bool:
        if (found := known.get(char)) is None:
            found = known[char] = _is_member(char, described)
        return found

    return test


def _is_member(char: str, described: CharClass) -> bool:
    forms = same_but_for_case(char) if described.folded else frozenset(char)
    inside = _in_ranges(forms, described.ranges) or any(
        _in_group(forms, named) != inverse for named, inverse in described.groups
    )
    return inside != described.negated


def _in_group(forms: frozenset[str], named: str | Ranges) -> bool:
    if not isinstance(named, str):
        return _in_ranges(forms, named)
    if named in _SPECIAL:
        return any(map(_SPECIAL[named], forms))
    return any(category(form).startswith(named) for form in forms)


def _in_ranges(forms: frozenset[str], ranges: Ranges) -> bool:
    return any(low <= ord(form) <= high for form in forms for low, high in ranges)


_SPECIAL: dict[str, Callable[[str], bool]] = {
    "Any": lambda char: True,  # noqa: ARG005
    "ASCII": str.isascii,
    "Assigned": lambda char: category(char) != "Cn",
    "LC": lambda char: category(char) in ("Lu", "Ll", "Lt"),
}


@cache
def _orbits() -> dict[str, frozenset[str]]:
    """Return for each character the set of characters with the same simple case folding."""
    found: dict[str, set[str]] = {}
    for code in range(0x41, 0x1E944):
        char = chr(code)
        found.setdefault(_fold(char), set()).add(char)
    return {char: frozenset(orbit) for orbit in found.values() if len(orbit) > 1 for char in orbit}


def _fold(char: str) -> str:
    folded = char.casefold()
    if len(folded) == 1:
        return folded
    lower = char.lower()
    return lower if len(lower) == 1 else char


def same_but_for_case(char: str) -> frozenset[str]:
    """Return `char` and all characters that differ from it only in case."""
    return _orbits().get(char) or frozenset(char)


# -- assertions


def _is_word(text: str, at: int) -> bool:
    return 0 <= at < len(text) and text[at].isascii() and (text[at].isalnum() or text[at] == "_")


def _at_boundary(text: str, at: int) -> bool:
    return _is_word(text, at - 1) != _is_word(text, at)


_ASSERTIONS: dict[Op, Assertion] = {
    Op.BEGIN_TEXT: lambda _, at: at == 0,
    Op.END_TEXT: lambda text, at: at == len(text),
    Op.BEGIN_LINE: lambda text, at: at == 0 or text[at - 1] == "\n",
    Op.END_LINE: lambda text, at: at == len(text) or text[at] == "\n",
    Op.WORD_BOUNDARY: _at_boundary,
    Op.NOT_WORD_BOUNDARY: lambda text, at: not _at_boundary(text, at),
}


QUICK_LENGTH = 256
"""The longest text for which a translated pattern is used, in characters."""
_MAX_PATHS = 2 * (QUICK_LENGTH + 1) ** 2
_MAX_DEPTH = 20
_ONE_CHARACTER = (Op.CLASS, Op.ANY, Op.ANY_NOT_NEWLINE)
_PLAIN = {Op.EMPTY: "", Op.ANY: "(?s:.)", Op.ANY_NOT_NEWLINE: "[^\\n]", Op.BEGIN_TEXT: "\\A", Op.END_TEXT: "\\Z"}


def translated(root: Node) -> re.Pattern[str] | None:
    """Translate `root` to a Python pattern; None if it is not simple."""
    if root.height > _MAX_DEPTH or root.size > QUICK_LENGTH:
        return None
    source, paths = _translate(root, _MAX_DEPTH)
    return re.compile(source) if paths <= _MAX_PATHS else None


_IMPOSSIBLE = ("", _MAX_PATHS + 1)


def _translate(node: Node, depth: int) -> tuple[str, int]:
    """Return the translation of `node`, and the number of ways in which it can match at one position."""
    if node.op in _PLAIN:
        return _PLAIN[node.op], 1
    if node.folded or depth == 0:
        return _IMPOSSIBLE
    if node.op is Op.LITERAL:
        return re.escape(node.text), 1
    if node.char_class is not None:
        return _class(node.char_class)
    if node.op is Op.REPEAT:
        return _repeat(node, depth)
    parts = [_translate(sub, depth - 1) for sub in node.subs]
    sources, paths = [source for source, _ in parts], [count for _, count in parts]
    match node.op:
        case Op.CAPTURE:
            return f"({sources[0]})", paths[0]
        case Op.CONCAT:
            return "".join(sources), prod(paths)
        case Op.ALTERNATE:
            return f"(?:{'|'.join(sources)})", sum(paths)
        case _:
            return _IMPOSSIBLE


def _class(described: CharClass) -> tuple[str, int]:
    if described.folded:
        return _IMPOSSIBLE
    ranges = list(described.ranges)
    for named, inverse in described.groups:
        if inverse or isinstance(named, str):
            return _IMPOSSIBLE
        ranges.extend(named)
    members = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
    return f"[{'^' if described.negated else ''}{members}]", 1


def _repeat(node: Node, depth: int) -> tuple[str, int]:
    sub = node.subs[0]
    if node.high == 1 and node.low == 0:
        source, paths = _translate(sub, depth - 1)
        return f"(?:{source})?{'' if node.greedy else '?'}", paths + 1
    inner = sub.subs[0] if sub.op is Op.CAPTURE else sub
    if not (inner.op in _ONE_CHARACTER or (inner.op is Op.LITERAL and len(inner.text) == 1)):
        return _IMPOSSIBLE
    source, paths = _translate(sub, 2)
    count = f"{{{node.low},{'' if node.high < 0 else node.high}}}"
    ways = QUICK_LENGTH + 1 if node.high < 0 else min(node.high, QUICK_LENGTH) - node.low + 1
    return f"{source}{count}{'' if node.greedy else '?'}", paths * max(ways, 1)
