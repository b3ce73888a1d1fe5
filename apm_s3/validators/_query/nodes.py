"""The syntax trees of PromQL and LogQL. Each node has its position: offsets in characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ValueType = Literal["scalar", "vector", "matrix", "string", "streams"]
"""Types of expressions: PromQL has the first four; LogQL has scalars, vectors and streams of log lines."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Node:
    """A part of a query, from `start` to before `end`."""

    start: int
    end: int

    def __repr__(self) -> str:
        # Do not show the children: a tree can be as deep as its text is long.
        return f"<{type(self).__name__} at {self.start}-{self.end}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Expr(Node):
    """An expression, with the type of its value."""

    type: ValueType


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NumberLiteral(Expr):
    """`1.5`, `0x1F`, `Inf`, `5m`."""

    value: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StringLiteral(Expr):
    """A string; `value` has no quotes."""

    value: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Matcher(Node):
    """`job=~"a|b"`: `name`, `op` (one of = != =~ !~) and `value`."""

    name: str
    op: str
    value: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Duration(Node):
    """A duration in seconds; None if Prometheus calculates it."""

    seconds: float | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class At(Node):
    """`@ 1609746000`, in Unix seconds, or `@ start()` and `@ end()`, named in `boundary`."""

    timestamp: float | None
    boundary: str | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Selector(Expr):
    """A PromQL selector: `up{job="a"} offset 5m @ 0`. `name` is the name before the braces."""

    name: str | None
    matchers: tuple[Matcher, ...]
    offset: Duration | None = None
    at: At | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RangeSelector(Expr):
    """`up[5m]`; an offset and `@` after the range are here, those before it in `selector`."""

    selector: Selector
    range: Duration
    offset: Duration | None = None
    at: At | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Subquery(Expr):
    """`rate(up[5m])[1h:1m]`."""

    expr: Expr
    range: Duration
    step: Duration | None
    offset: Duration | None = None
    at: At | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Call(Expr):
    """`rate(up[5m])`."""

    function: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Grouping(Node):
    """`by (job)` or `without (pod)`."""

    without: bool
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Aggregation(Expr):
    """`topk by (job) (5, up)`: `op`, `param` (the 5) and `expr`."""

    op: str
    grouping: Grouping | None
    param: Expr | None
    expr: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Matching(Node):
    """`on (job) group_left (team)`: `group` is `left`, `right` or None."""

    on: bool
    labels: tuple[str, ...]
    group: str | None
    include: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Binary(Expr):
    """`left op right`."""

    op: str
    left: Expr
    right: Expr
    returns_bool: bool
    matching: Matching | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Unary(Expr):
    """`-expr` and `+expr`."""

    op: str
    expr: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Paren(Expr):
    """`(expr)`."""

    expr: Expr
