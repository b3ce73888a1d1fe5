"""Trees of regular expressions, which `re2` parses and `re2_match` runs.

Each node has the measures that Go's `regexp/syntax` limits, computed from its children.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import groupby

from apm_s3.validators._query.re2.classes import Group, Ranges


class Op(Enum):
    """Kinds of nodes."""

    EMPTY = auto()
    LITERAL = auto()
    CLASS = auto()
    ANY = auto()
    ANY_NOT_NEWLINE = auto()
    BEGIN_TEXT = auto()
    BEGIN_LINE = auto()
    END_TEXT = auto()
    END_LINE = auto()
    WORD_BOUNDARY = auto()
    NOT_WORD_BOUNDARY = auto()
    CAPTURE = auto()
    REPEAT = auto()
    CONCAT = auto()
    ALTERNATE = auto()


@dataclass(frozen=True, slots=True)
class CharClass:
    """A set of characters: those in `ranges` or in one of `groups`, or all others if `negated`.

    A folded class also has all characters that differ from a member only in case; groups are folded before they are
    inverted.
    """

    ranges: Ranges = ()
    groups: tuple[Group, ...] = ()
    negated: bool = False
    folded: bool = False


@dataclass(slots=True, eq=False)
class Node:
    """One part of a regular expression.

    Go limits `height`, `size` (in instructions) and `copies` (the product of the counted repetitions on the worst
    path, 0 for none). `text` is a literal's characters, or a capture's name. `empty` says whether it matches the empty
    text. Nodes never change after creation; they are not frozen because that would take twice the time.
    """

    op: Op
    subs: tuple[Node, ...] = ()
    text: str = ""
    char_class: CharClass | None = None
    index: int = 0
    low: int = 0
    high: int = 0
    greedy: bool = True
    folded: bool = False
    height: int = 1
    size: int = 1
    copies: int = 0
    empty: bool = False


def literal(text: str, *, folded: bool) -> Node:
    """Create a literal; `folded` ignores case."""
    return Node(Op.LITERAL, text=text, folded=folded, size=len(text))


def anchor(op: Op) -> Node:
    """Create a condition on the position, such as `^` and `\\b`."""
    return Node(op, empty=op is not Op.WORD_BOUNDARY)


def capture(sub: Node, index: int, name: str) -> Node:
    """Create the group with number `index`."""
    return Node(
        Op.CAPTURE,
        (sub,),
        name,
        index=index,
        height=sub.height + 1,
        size=sub.size + 2,
        copies=sub.copies,
        empty=sub.empty,
    )


def simple_repeat(sub: Node, operator: str, *, greedy: bool) -> Node:
    """Repeat `sub` with `*`, `+` or `?`."""
    low, high = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}[operator]
    return _repeat(sub, low, high, greedy, sub.size + (2 if operator == "*" else 1), sub.copies)


def counted_repeat(sub: Node, low: int, high: int, *, greedy: bool) -> Node:
    """Repeat `sub` at least `low` and at most `high` times, -1 for any number."""
    size = max(1, high * sub.size + high - low)
    if high < 0:
        size = 1 + low * sub.size if low else 2 + sub.size
    count = low if high < 0 else high
    copies = 0 if high == 0 else max(count, count * sub.copies) if count else sub.copies
    return _repeat(sub, low, high, greedy, size, copies)


def _repeat(sub: Node, low: int, high: int, greedy: bool, size: int, copies: int) -> Node:
    return Node(
        Op.REPEAT,
        (sub,),
        low=low,
        high=high,
        greedy=greedy,
        height=sub.height + 1,
        size=size,
        copies=copies,
        empty=low == 0 or sub.empty,
    )


def concat(subs: Sequence[Node]) -> Node:
    """Concatenate nodes, joining adjacent literals."""
    joined: list[Node] = []
    for folded, run in groupby(subs, key=lambda node: node.folded if node.op is Op.LITERAL else None):
        nodes = list(run)
        if folded is None or len(nodes) == 1:
            joined.extend(nodes)
        else:
            joined.append(literal("".join(node.text for node in nodes), folded=folded))
    return _group(Op.CONCAT, joined)


def alternate(subs: Sequence[Node]) -> Node:
    """Create alternatives; earlier ones are preferred."""
    if len(subs) > 1 and all(_is_one_character(sub) for sub in subs):
        # Go turns them into one character class.
        return Node(Op.ALTERNATE, tuple(subs))
    return _group(Op.ALTERNATE, subs)


def _is_one_character(node: Node) -> bool:
    return (node.op is Op.LITERAL and len(node.text) == 1) or node.op in (Op.CLASS, Op.ANY, Op.ANY_NOT_NEWLINE)


def _group(op: Op, subs: Sequence[Node]) -> Node:
    if not subs:
        return Node(Op.EMPTY, empty=True)
    if len(subs) == 1:
        return subs[0]
    size = sum(sub.size for sub in subs) + (len(subs) - 1 if op is Op.ALTERNATE else 0)
    # Go merges a group into an enclosing group of the same kind.
    height = 1 + max(sub.height - (sub.op is op and sub.height > 1) for sub in subs)
    empty = all(sub.empty for sub in subs) if op is Op.CONCAT else any(sub.empty for sub in subs)
    copies = max(sub.copies for sub in subs)
    return Node(op, tuple(subs), height=height, size=size, copies=copies, empty=empty)
