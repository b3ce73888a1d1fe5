"""Each aggregation of LogQL takes what its documentation says, and nothing else.

https://grafana.com/docs/loki/latest/query/metric_queries/.
"""

from __future__ import annotations

import pytest

from apm_s3.validators._query.kit import QueryProblem
from apm_s3.validators._query.logql import parse
from apm_s3.validators._query.logql_pipelines import CONVERSIONS, RANGE_OPS, STAGES, VECTOR_OPS

S = '{app="api"}'
RANGE = {
    "rate": "lines numbers",
    "absent_over_time": "lines numbers",
    "count_over_time": "lines",
    "bytes_rate": "lines",
    "bytes_over_time": "lines",
    "rate_counter": "numbers",
    "sum_over_time": "numbers",
    "avg_over_time": "numbers groups",
    "max_over_time": "numbers groups",
    "min_over_time": "numbers groups",
    "first_over_time": "numbers groups",
    "last_over_time": "numbers groups",
    "stdvar_over_time": "numbers groups",
    "stddev_over_time": "numbers groups",
    "quantile_over_time": "numbers groups",
}
"""Whether an aggregation takes log lines, the numbers of unwrap, and a grouping behind it."""

VECTOR = {
    **dict.fromkeys(("sum", "avg", "min", "max", "stddev", "stdvar", "count"), "groups"),
    **dict.fromkeys(("topk", "bottomk"), "groups number"),
    **dict.fromkeys(("sort", "sort_desc"), ""),
    "approx_topk": "number",
}
"""Whether an aggregation takes a grouping, and whether it needs a number."""


def takes(text: str) -> bool:
    try:
        parse(text)
    except QueryProblem:
        return False
    return True


@pytest.mark.parametrize("op", RANGE)
def test_an_aggregation_over_time_accepts_what_is_documented(op: str) -> None:
    first = "0.5, " if op == "quantile_over_time" else ""
    lines, numbers = f"{op}({first}{S}[5m])", f"{op}({first}{S} | unwrap n [5m])"

    assert takes(lines) == ("lines" in RANGE[op])
    assert takes(numbers) == ("numbers" in RANGE[op])
    assert takes(f"{numbers} by (a)") == takes(f"{numbers} without (a)") == ("groups" in RANGE[op])


@pytest.mark.parametrize("op", VECTOR)
def test_an_aggregation_accepts_what_is_documented(op: str) -> None:
    number = "number" in VECTOR[op]
    call = f"{op}({'5, ' if number else ''}rate({S}[5m]))"

    assert takes(call)
    assert takes(f"{call} by (a)") == ("groups" in VECTOR[op])
    assert not takes(f"{op}({'' if number else '5, '}rate({S}[5m]))")
    assert not takes(f"{op}({'5, ' if number else ''}{S})")


def test_the_documentation_lists_the_same_words() -> None:
    assert set(RANGE_OPS) == set(RANGE)
    assert set(VECTOR_OPS) == set(VECTOR)
    assert set(CONVERSIONS) == {"bytes", "duration", "duration_seconds"}
    assert set(STAGES) == {
        *("json", "logfmt", "regexp", "unpack", "pattern", "line_format", "label_format", "decolorize", "drop", "keep"),
    }
