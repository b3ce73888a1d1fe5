"""Translates simple regular expressions from Go to Python, where they run in C.

A pattern is simple if backtracking cannot make it slow: only single characters are repeated, and the product of all
choices is limited. For these, both languages match the same text in the same order.
"""

from __future__ import annotations

import re
from math import prod

from apm_s3.validators._query.re2.tree import CharClass, Node, Op

QUICK_LENGTH = 256
"""The longest text for which a translated pattern is used, in characters."""
_MAX_PATHS = 2 * (QUICK_LENGTH + 1) ** 2
_MAX_DEPTH = 20
_ONE_CHARACTER = (Op.CLASS, Op.ANY, Op.ANY_NOT_NEWLINE)
_PLAIN = {
    Op.EMPTY: "",
    Op.ANY: "(?s:.)",
    Op.ANY_NOT_NEWLINE: "[^\\n]",
    Op.BEGIN_TEXT: "\\A",
    Op.END_TEXT: "\\Z",
}


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
