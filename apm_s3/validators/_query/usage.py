"""Metrics, labels, matchers and ranges of a query. Trees may be deep, so there is no recursion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from apm_s3.validators._query.logql.nodes import LabelFilter, LogRange, Stage, Unwrap
from apm_s3.validators._query.nodes import (
    Duration,
    Grouping,
    Matcher,
    Matching,
    Node,
    RangeSelector,
    Selector,
    Subquery,
)

_NAME = "__name__"


def walk(tree: Node) -> Iterator[Node]:
    """Yield `tree` and every node below it, with the parts of each node in the order of the text."""
    waiting: list[Node] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        below: list[Node] = []
        for field in fields(node):
            value = getattr(node, field.name)
            if isinstance(value, Node):
                below.append(value)
            elif isinstance(value, tuple):
                below += [item for item in value if isinstance(item, Node)]
        waiting += reversed(below)


def metrics_of(tree: Node) -> tuple[str, ...]:
    """Return the metrics that a PromQL query selects by exact name, without duplicates."""
    found: dict[str, None] = {}
    for node in walk(tree):
        if isinstance(node, Selector):
            exact = [one.value for one in node.matchers if one.name == _NAME and one.op == "="]
            found |= dict.fromkeys(exact if node.name is None else [node.name])
    return tuple(found)


def matchers_of(tree: Node) -> tuple[Matcher, ...]:
    """Return every label matcher."""
    return tuple(node for node in walk(tree) if isinstance(node, Matcher))


def labels_of(tree: Node) -> tuple[str, ...]:
    """Return the label names in matchers, groupings, matchings, and LogQL filters and stages, without duplicates."""
    found: dict[str, None] = {}
    for node in walk(tree):
        if isinstance(node, Matcher):
            found |= {} if node.name == _NAME else {node.name: None}
        elif isinstance(node, Grouping | Stage):
            found |= dict.fromkeys(node.labels)
        elif isinstance(node, Matching):
            found |= dict.fromkeys((*node.labels, *node.include))
        elif isinstance(node, LabelFilter | Unwrap):
            found |= {node.label: None}
    return tuple(found)


def ranges_of(tree: Node) -> tuple[Duration, ...]:
    """Return the ranges of range vectors, subqueries and log ranges."""
    return tuple(node.range for node in walk(tree) if isinstance(node, RangeSelector | Subquery | LogRange))
