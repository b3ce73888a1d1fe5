"""Nodes of LogQL's syntax trees that PromQL does not have: streams, pipelines and ranges of log lines."""

from __future__ import annotations

from dataclasses import dataclass

from apm_s3.validators._query.nodes import Duration, Expr, Grouping, Matcher, Node


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LineFilter(Node):
    """`|= "error" or "fatal"`: `op` is one of |= != |~ !~ |> !>; `function` is `ip` or None."""

    op: str
    function: str | None
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LabelFilter(Node):
    """`level = "error"`, `size > 5MB`, `addr = ip("10.0.0.0/8")`: one comparison of a label."""

    label: str
    op: str
    value: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Stage(Node):
    """A stage after `|`: its `name` (`json`, `line_format`, `filter`, ...), the labels it sets, and its filters."""

    name: str
    labels: tuple[str, ...]
    argument: str | None
    filters: tuple[LabelFilter, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Unwrap(Node):
    """`| unwrap duration(latency)`, and the label filters after it."""

    label: str
    conversion: str | None
    filters: tuple[LabelFilter, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Streams(Expr):
    """Log lines: `{app="api"} |= "error" | json`."""

    matchers: tuple[Matcher, ...]
    stages: tuple[LineFilter | Stage, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LogRange(Node):
    """`{app="api"} | json | unwrap size [5m] offset 1h`."""

    streams: Streams
    range: Duration
    unwrap: Unwrap | None
    offset: Duration | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RangeAggregation(Expr):
    """`quantile_over_time(0.9, ...) by (app)`."""

    op: str
    param: float | None
    log_range: LogRange
    grouping: Grouping | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Variants(Expr):
    """`variants(...) of (...)`: several aggregations of one range."""

    variants: tuple[Expr, ...]
    log_range: LogRange
