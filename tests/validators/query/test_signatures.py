"""Each function of PromQL takes the arguments of its documentation, and refuses every other type and number of them.

https://prometheus.io/docs/prometheus/latest/querying/functions/.
"""

from __future__ import annotations

import pytest

from apm_s3.validators._query.kit import QueryProblem
from apm_s3.validators._query.promql import parse
from apm_s3.validators._query.promql_dialect import FUNCTIONS

ARGUMENTS = {"v": "up", "m": "up[5m]", "s": "1", "t": '"a"'}
SIGNATURES = {
    "v": "abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_avg histogram_count "
    "histogram_stddev histogram_stdvar histogram_sum ln log10 log2 rad scalar sgn sin sinh sort sort_desc sqrt tan tanh "
    "timestamp",
    "m": "absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta increase irate "
    "last_over_time max_over_time min_over_time present_over_time rate resets stddev_over_time stdvar_over_time "
    "sum_over_time",
    "": "pi time",
    "[v]": "day_of_month day_of_week day_of_year days_in_month hour minute month year",
    "s": "vector",
    "v[s]": "round",
    "vs": "clamp_max clamp_min",
    "vss": "clamp",
    "sv": "histogram_quantile",
    "ssv": "histogram_fraction",
    "ms": "predict_linear",
    "sm": "quantile_over_time",
    "mss": "holt_winters",
    "vtttt": "label_replace",
    "vtt[ttt]": "label_join",
}
"""The functions by their arguments: a vector, a range, a number or a text; in brackets what may be left out."""

NEWER = frozenset(("first_over_time",))
ENDLESS = frozenset(("label_join",))


AGGREGATIONS = {
    "v": "sum avg min max stddev stdvar count group",
    "sv": "topk bottomk quantile",
    "tv": "count_values",
}
SINCE = {
    "histogram_stddev(up)": (2, 47),
    "histogram_stdvar(up)": (2, 47),
    "histogram_avg(up)": (2, 51),
    "first_over_time(up[5m])": (3, 14),
    '{"up"}': (2, 51),
    "up > 5m": (2, 54),
    'sum by ("a") (up)': (2, 55),
    'sum by ("a.b") (up)': (3, 0),
    "up offset +5m": (3, 4),
    "up </ 5": (3, 11),
    "up[5m * 2]": (3, 14),
}


def takes(name: str, letters: str, release: tuple[int, int] | None = (2, 53)) -> bool:
    text = f"{name}({', '.join(ARGUMENTS[letter] for letter in letters)})" if letters != "whole" else name
    try:
        parse(text, None if name in NEWER else release)
    except QueryProblem:
        return False
    return True


CASES = [(name, letters) for letters, names in SIGNATURES.items() for name in names.split()]


@pytest.mark.parametrize(("name", "letters"), CASES)
def test_a_function_accepts_its_arguments_and_no_others(name: str, letters: str) -> None:
    most, least = letters.replace("[", "").replace("]", ""), letters.partition("[")[0]
    wrong = [most[:at] + other + most[at + 1 :] for at in range(len(most)) for other in "vmst" if other != most[at]]
    numbers = [least[:-1]] if least else []
    if name not in ENDLESS:
        numbers.append(most + (most[-1:] or "s"))

    assert takes(name, most)
    assert takes(name, least)
    assert [other for other in wrong if takes(name, other)] == []
    assert [other for other in numbers if takes(name, other)] == []


@pytest.mark.parametrize(
    ("name", "letters"), [(name, letters) for letters, names in AGGREGATIONS.items() for name in names.split()]
)
def test_an_aggregation_accepts_its_arguments_and_no_others(name: str, letters: str) -> None:
    wrong = [letters[:at] + other + letters[at + 1 :] for at in range(len(letters)) for other in "vmst"]

    assert takes(name, letters)
    assert [
        other for other in (*wrong, letters[1:], letters + "v", "") if takes(name, other) and other != letters
    ] == []


@pytest.mark.parametrize("text", SINCE)
def test_an_expression_is_accepted_from_its_first_release_on(text: str) -> None:
    major, minor = SINCE[text]

    assert takes(text, "whole", (major, minor))
    assert not takes(text, "whole", (major, minor - 1) if minor else (2, 55))


def test_holt_winters_is_accepted_before_3_0() -> None:
    assert takes("holt_winters(up[5m], 1, 1)", "whole", (2, 55))
    assert not takes("holt_winters(up[5m], 1, 1)", "whole", (3, 0))


def test_every_function_is_in_the_table() -> None:
    stable = {function.name for function in FUNCTIONS.values() if not function.experimental}

    assert {name for name, _ in CASES} == stable
