"""PromQL and LogQL as syntax trees for your own checks, and what a query uses. Public in `apm_s3.validators`.

```python
tree = parse_promql('sum by (job) (rate(http_requests_total{env="prod"}[5m]))')
metrics_of(tree)    # ("http_requests_total",)
labels_of(tree)     # ("job", "env")
[window.seconds for window in ranges_of(tree)]    # [300.0]
```

Every node has its position in the text: `start` and `end`, in characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields

from apm_s3.errors import QueryInvalid
from apm_s3.validators._checking import Version, parse_version
from apm_s3.validators._query import logql, promql
from apm_s3.validators._query.kit import (
    Duration,
    Expr,
    Grouping,
    Matcher,
    Matching,
    Node,
    QueryProblem,
    RangeSelector,
    Selector,
    Subquery,
)
from apm_s3.validators._query.logql_pipelines import LabelFilter, LogRange, Stage, Unwrap

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


def parse_promql(text: str, *, target_version: str | None = None) -> Expr:
    """Parse a PromQL expression into a syntax tree.

    `target_version` is the release of Prometheus, such as "2.53"; None means the newest known one. Features that need a
    feature flag are refused.

    Raises:
        QueryInvalid: not valid PromQL; `offset` and `end` give the position.
        InvalidOption: `target_version` is not a valid version.
    """
    return _parsed("PromQL", promql.parse, text, target_version)


def parse_logql(text: str, *, target_version: str | None = None) -> Expr:
    """Parse a LogQL query into a syntax tree; its `type` is "streams" for a log query.

    `target_version` is the release of Loki, such as "3.2"; None means the newest known one.

    Raises:
        QueryInvalid: not valid LogQL; `offset` and `end` give the position.
        InvalidOption: `target_version` is not a valid version.
    """
    return _parsed("LogQL", logql.parse, text, target_version)


def _parsed(language: str, parse: Callable[[str, Version | None], Expr], text: str, target_version: str | None) -> Expr:
    try:
        return parse(text, parse_version(target_version))
    except QueryProblem as exc:
        message = f"invalid {language}: {exc.message}, at character {exc.start + 1}"
        raise QueryInvalid(message, offset=exc.start, end=exc.end, hint=exc.hint) from None
