"""Where each value of a text is written: for masking, small edits, and whatever else works on the text itself.

The readers that build nodes fill a `Trace` on the way when they are given one, so that no second reader can disagree
with them about what is a key and what is a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from apm_s3.validators._reading.nodes import MAPPING, SCALAR, Node

Steps = tuple[str | int, ...]
"""The keys and indexes that lead to a value, the outermost first."""


class Written(NamedTuple):
    """A value, or a key, and the steps that lead to it. Its node has `start` and `stop`, offsets in the text."""

    steps: Steps
    node: Node


class Trace:
    """What a text holds, as it is written: merge keys are keys called `<<`, and a key given twice is there twice.

    Attributes:
        tolerant: whether the reader goes on where the document's tool would not: behind the first document, past the
            version of another YAML, past an alias of nothing, past a line of INI that is none. It raises the same
            errors, but later.
        scalars: every scalar that is a value, in the order of the text. Aliases are not among them.
        keys: every key, and every header of an INI section; their steps end with the key itself.
        collections: every mapping and sequence that ends, and whether it is written in brackets or braces.
        repeated: the scalars that an alias repeats, with the steps of the alias and the place of the anchor.
        unknown: aliases without an anchor. What stands there may be a value that should have been in quotes.
    """

    def __init__(self, *, tolerant: bool = False) -> None:
        self.tolerant = tolerant
        self.scalars: list[Written] = []
        self.keys: list[Written] = []
        self.collections: list[tuple[Written, bool]] = []
        self.repeated: list[Written] = []
        self.unknown: list[Written] = []

    def add(self, steps: Steps, node: Node, start: int, stop: int, *, is_key: bool) -> None:
        """Note a scalar of the text."""
        node.start, node.stop = start, stop
        (self.keys if is_key else self.scalars).append(Written(steps, node))

    def repeat(self, steps: Steps, node: Node) -> None:
        """Note what an alias at `steps` repeats."""
        self.repeated += (Written((*steps, *inner), each) for inner, each in scalars_below(node))


def scalars_below(node: Node, steps: Steps = ()) -> Iterator[Written]:
    """The scalars of a tree of nodes with the steps that lead to them."""
    if node.kind == SCALAR:
        yield Written(steps, node)
    elif node.kind == MAPPING:
        for name, (_, value) in node.entries.items():
            yield from scalars_below(value, (*steps, name))
    else:
        for index, item in enumerate(node.items):
            yield from scalars_below(item, (*steps, index))
