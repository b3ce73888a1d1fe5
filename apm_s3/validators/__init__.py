"""Offline validators that agree with the loaders of Prometheus, Alertmanager, Loki, Jaeger and Grafana.

How a document is checked: `_reading` turns text into nodes with positions, within limits and without building objects;
the tool's package then checks the nodes and reports to a `Context`.

Tools that decode their configuration into Go structs are checked with a table of fields and small hooks: see
`_decoding`, and `_tools.prometheus` for an example. `_tools.prometheus_common` has the types that several tools share
(HTTP clients, TLS, durations), `_query.values` and `_query.gotemplate` the small languages.

A tool's package provides `KINDS` (the first one is the default), `infer_kind(source)` and `check(kind, source,
context)`. A `check` gets its nodes with `source.document("yaml")` and reports with `context.error(node, path, rule,
message, hint)`, `context.warn(...)` and `context.skip(kind, name, reason)`; it does not catch `Unreadable`.
`check_bundle(members)` sees the results of all files of a bundle. Results of unchanged files are cached, so it should
read the nodes only of the kinds in `READ_TOGETHER`, and use what `check` recorded with `context.mention(...)` for the
others. A path is a chain of `(parent path, key or index)`, rendered only for reports.

`parse_promql` and `parse_logql` return queries as syntax trees for your own checks; see `_query.api`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from apm_s3._tools import MAIN_FILES, TOOLS
from apm_s3.validators._reading.documents import parse_document
from apm_s3.validators._validation.validate import ValidationOptions, infer_kind, validate_bundle, validate_config

if TYPE_CHECKING:
    from apm_s3.validators._query.api import (
        labels_of,
        matchers_of,
        metrics_of,
        parse_logql,
        parse_promql,
        ranges_of,
        walk,
    )
    from apm_s3.validators._query.kit import Duration, Expr, Matcher, Node
    from apm_s3.validators._validation.validate_async import validate_bundle_async, validate_config_async

__all__ = [
    "MAIN_FILES",
    "TOOLS",
    "Duration",
    "Expr",
    "Matcher",
    "Node",
    "ValidationOptions",
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

if not TYPE_CHECKING:  # A type checker would accept every misspelt name because of this function.

    def __getattr__(name: str) -> object:
        # Load the parsers and asyncio only when needed, so that importing the validators stays cheap.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        modules = ("_query.api", "_query.kit")
        for module in ("_validation.validate_async",) if name.endswith("_async") else modules:
            loaded = import_module(f"apm_s3.validators.{module}")
            globals().update({public: getattr(loaded, public) for public in __all__ if hasattr(loaded, public)})
        return globals()[name]

    def __dir__() -> list[str]:
        return __all__
