"""PromQL's functions: their arguments, results and releases.

https://prometheus.io/docs/prometheus/latest/querying/functions/, and for releases
https://github.com/prometheus/prometheus/blob/main/CHANGELOG.md from 2.45 on.
"""

from __future__ import annotations

from dataclasses import dataclass

from apm_s3.validators._query.nodes import ValueType

Version = tuple[int, ...]
_LETTERS: dict[str, ValueType] = {"v": "vector", "m": "matrix", "s": "scalar", "t": "string"}


@dataclass(frozen=True, slots=True)
class Function:
    """A function with `least` to `most` arguments (None: any number); the last type applies to all further ones."""

    name: str
    args: tuple[ValueType, ...]
    least: int
    most: int | None
    returns: ValueType
    experimental: bool = False
    since: Version | None = None
    until: Version | None = None


def _function(
    name: str,
    args: str,
    *,
    optional: int = 0,
    endless: bool = False,
    returns: ValueType = "vector",
    experimental: bool = False,
    since: Version | None = None,
    until: Version | None = None,
) -> Function:
    types = tuple(_LETTERS[letter] for letter in args)
    least = len(types) - (1 if optional or endless else 0)
    most = None if endless else least + optional if optional else len(types)
    return Function(name, types, least, most, returns, experimental, since, until)


_OF_VECTOR = (
    *("abs", "absent", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "deg", "exp", "floor"),
    *("histogram_count", "histogram_sum", "ln", "log10", "log2", "rad", "sgn", "sin", "sinh", "sort", "sort_desc"),
    *("sqrt", "tan", "tanh", "timestamp"),
)
_OF_RANGE = (
    *("absent_over_time", "avg_over_time", "changes", "count_over_time", "delta", "deriv", "idelta", "increase"),
    *("irate", "last_over_time", "max_over_time", "min_over_time", "present_over_time", "rate", "resets"),
    *("stddev_over_time", "stdvar_over_time", "sum_over_time"),
)
_OF_TIME = ("day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year")
_EXPERIMENTAL_OF_RANGE = (
    *("mad_over_time", "ts_of_first_over_time", "ts_of_last_over_time", "ts_of_max_over_time"),
    "ts_of_min_over_time",
)
_ALL = (
    *(_function(name, "v") for name in _OF_VECTOR),
    *(_function(name, "m") for name in _OF_RANGE),
    *(_function(name, "v", optional=1) for name in _OF_TIME),
    *(_function(name, "m", experimental=True) for name in _EXPERIMENTAL_OF_RANGE),
    *(_function(name, "", returns="scalar") for name in ("pi", "time")),
    *(_function(name, "", returns="scalar", experimental=True) for name in ("start", "end", "range", "step")),
    *(_function(name, "ss", returns="scalar", experimental=True) for name in ("max_of", "min_of")),
    *(_function(name, "vt", endless=True, experimental=True) for name in ("sort_by_label", "sort_by_label_desc")),
    _function("clamp", "vss"),
    _function("clamp_max", "vs"),
    _function("clamp_min", "vs"),
    _function("double_exponential_smoothing", "mss", experimental=True, since=(3, 0)),
    _function("first_over_time", "m", since=(3, 14)),
    _function("histogram_avg", "v", since=(2, 51)),
    _function("histogram_fraction", "ssv"),
    _function("histogram_quantile", "sv"),
    _function("histogram_quantiles", "vtss", optional=9, experimental=True),
    _function("histogram_stddev", "v", since=(2, 47)),
    _function("histogram_stdvar", "v", since=(2, 47)),
    _function("holt_winters", "mss", until=(3, 0)),
    _function("info", "vv", optional=1, experimental=True),
    _function("integral", "ms", optional=1, experimental=True),
    _function("label_join", "vttt", endless=True),
    _function("label_replace", "vtttt"),
    _function("predict_linear", "ms"),
    _function("quantile_over_time", "sm"),
    _function("round", "vs", optional=1),
    _function("scalar", "v", returns="scalar"),
    _function("start_timestamp", "v", experimental=True),
    _function("vector", "s"),
)

FUNCTIONS = {function.name: function for function in _ALL}
RENAMED = {"holt_winters": "double_exponential_smoothing", "double_exponential_smoothing": "holt_winters"}
"""Functions that were renamed in 3.0, by old and new name."""
