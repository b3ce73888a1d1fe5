"""Records the position of each value in a text, for masking, small edits and other work on the text itself.

The readers fill a `Trace` while they build nodes, so that there is no second reader that could disagree about keys and
values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from apm_s3.validators._reading.nodes import MAPPING, SCALAR, Node

Steps = tuple[str | int, ...]
"""The keys and indexes of a value, outermost first."""


class Written(NamedTuple):
    """A value or key, and its steps. Its node has `start` and `stop`, offsets in the text."""

    steps: Steps
    node: Node


class Trace:
    """The contents of a text as written: merge keys are keys named `<<`, and duplicate keys appear twice.

    Attributes:
        tolerant: whether the reader continues where the tool would stop: after the first document, and after another
            YAML version, an undefined alias or an invalid INI line. It raises the same errors, but later.
        scalars: all scalar values, in the order of the text, without aliases.
        keys: all keys, and headers of INI sections; their steps end with the key itself.
        collections: all complete mappings and sequences, and whether they are in brackets or braces.
        repeated: the scalars that an alias repeats, with the steps of the alias and the position of the anchor.
        unknown: aliases without an anchor, which may be values that should have been quoted.
    """

    def __init__(self, *, tolerant: bool = False) -> None:
        self.tolerant = tolerant
        self.scalars: list[Written] = []
        self.keys: list[Written] = []
        self.collections: list[tuple[Written, bool]] = []
        self.repeated: list[Written] = []
        self.unknown: list[Written] = []

    def add(self, steps: Steps, node: Node, start: int, stop: int, *, is_key: bool) -> None:
        """Record a scalar of the text."""
        node.start, node.stop = start, stop
        (self.keys if is_key else self.scalars).append(Written(steps, node))

    def repeat(self, steps: Steps, node: Node) -> None:
        """Record what an alias at `steps` repeats."""
        self.repeated += (Written((*steps, *inner), each) for inner, each in scalars_below(node))


def scalars_below(node: Node, steps: Steps = ()) -> Iterator[Written]:
    """Yield the scalars of a tree of nodes, with their steps."""
    if node.kind == SCALAR:
        yield Written(steps, node)
    elif node.kind == MAPPING:
        for name, (_, value) in node.entries.items():
            yield from scalars_below(value, (*steps, name))
    else:
        for index, item in enumerate(node.items):
            yield from scalars_below(item, (*steps, index))
