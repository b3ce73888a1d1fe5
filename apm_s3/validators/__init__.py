"""Offline validators that agree with the loaders of Prometheus, Alertmanager, Loki, Jaeger and Grafana.

How a document is checked: `parsing` turns text into nodes with positions, within budgets, without building objects;
the package of the tool then checks the nodes and reports to a `Context`.

Tools whose loaders are Go structures are checked by a table of fields and small hooks: see `decoding`, and
`prometheus` for an example. `prometheus_common` has the types that Prometheus, Alertmanager and Loki share (HTTP
clients, TLS, durations), `grammars` the small languages.

How a tool is added or deepened: its package (`apm_s3.validators.<tool>`) offers `KINDS` (the first one is the
default), `infer_kind(source)` and `check(kind, source, context)`. A `check` gets its nodes with
`source.document("yaml")` and reports with `context.error(node, path, rule, message, hint)`, `context.warn(...)` and
`context.skip(reason)`; it lets `Unreadable` pass. Its `check_bundle(members)` sees what all files of a bundle gave:
results of files that did not change are remembered, so it gets the nodes only of the kinds in `READ_TOGETHER` cheaply,
and of others what `check` noted with `context.mention(...)`. A path is a chain of `(parent path, key or index)`,
rendered only when there is something to report.

`parse_promql` and `parse_logql` give queries as syntax trees, for checks of your own: `_query.api` shows how.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from apm_s3._tools import MAIN_FILES, TOOLS
from apm_s3.validators._reading.documents import parse_document
from apm_s3.validators._validate import (
    infer_kind,
    validate_bundle,
    validate_bundle_async,
    validate_config,
    validate_config_async,
)

if TYPE_CHECKING:
    from apm_s3.validators._query.api import (
        Aggregation,
        At,
        Binary,
        Call,
        Duration,
        Expr,
        Grouping,
        LabelFilter,
        LineFilter,
        LogRange,
        Matcher,
        Matching,
        Node,
        NumberLiteral,
        Paren,
        RangeAggregation,
        RangeSelector,
        Selector,
        Stage,
        Streams,
        StringLiteral,
        Subquery,
        Unary,
        Unwrap,
        ValueType,
        Variants,
        labels_of,
        matchers_of,
        metrics_of,
        parse_logql,
        parse_promql,
        ranges_of,
        walk,
    )

__all__ = [
    "MAIN_FILES",
    "TOOLS",
    "Aggregation",
    "At",
    "Binary",
    "Call",
    "Duration",
    "Expr",
    "Grouping",
    "LabelFilter",
    "LineFilter",
    "LogRange",
    "Matcher",
    "Matching",
    "Node",
    "NumberLiteral",
    "Paren",
    "RangeAggregation",
    "RangeSelector",
    "Selector",
    "Stage",
    "Streams",
    "StringLiteral",
    "Subquery",
    "Unary",
    "Unwrap",
    "ValueType",
    "Variants",
    "infer_kind",
    "labels_of",
    "matchers_of",
    "metrics_of",
    "parse_document",
    "parse_logql",
    "parse_promql",
    "ranges_of",
    "validate_bundle",
    "validate_bundle_async",
    "validate_config",
    "validate_config_async",
    "walk",
]

if not TYPE_CHECKING:  # For a type checker, this function would make every misspelt name valid.

    def __getattr__(name: str) -> object:
        # The parsers are loaded when they are needed: importing the validators stays cheap.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module("apm_s3.validators._query.api"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return __all__
