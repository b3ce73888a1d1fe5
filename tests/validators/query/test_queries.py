"""The public side: trees, and what a query uses."""

import subprocess
import sys

import pytest

from apm_s3 import validators
from apm_s3.errors import InvalidOption, QueryInvalid
from apm_s3.validators import labels_of, matchers_of, metrics_of, parse_logql, parse_promql, ranges_of, walk


def test_parts_of_a_promql_query_can_be_listed():
    tree = parse_promql(
        'sum by (job) (rate(a{env="prod",x=~"y"}[5m])) / on (team) group_left (owner) max_over_time({__name__="b"}[1h:1m])'
    )

    assert metrics_of(tree) == ("a", "b")
    assert labels_of(tree) == ("job", "env", "x", "team", "owner")
    assert [window.seconds for window in ranges_of(tree)] == [300, 3600]
    assert [(one.name, one.op, one.value) for one in matchers_of(tree)] == [
        ("env", "=", "prod"),
        ("x", "=~", "y"),
        ("__name__", "=", "b"),
    ]


def test_parts_of_a_logql_query_can_be_listed():
    tree = parse_logql('sum by (a) (rate({app="x"} | json b | c > 5 | unwrap d [5m]))')

    assert set(labels_of(tree)) == {"a", "app", "b", "c", "d"}
    assert [window.seconds for window in ranges_of(tree)] == [300]
    assert metrics_of(tree) == ()


def test_walking_a_deep_tree_needs_no_recursion():
    tree = parse_promql("a + " * 20_000 + "b")

    assert sum(type(node).__name__ == "Selector" for node in walk(tree)) == 20_001
    assert metrics_of(tree) == ("a", "b")


def test_the_error_for_an_invalid_query_has_a_position_and_a_hint():
    with pytest.raises(QueryInvalid) as caught:
        parse_promql("sum(rte(up[5m]))")

    assert (caught.value.offset, caught.value.end) == (4, 7)
    assert str(caught.value) == "invalid PromQL: unknown function 'rte', at character 5. Did you mean rate?"
    with pytest.raises(QueryInvalid, match="invalid LogQL: unexpected 'up'"):
        parse_logql("up")


def test_a_query_is_parsed_as_in_its_release():
    assert parse_promql("holt_winters(up[5m], 1, 1)", target_version="2.53").type == "vector"
    with pytest.raises(QueryInvalid, match="called double_exponential_smoothing there"):
        parse_promql("holt_winters(up[5m], 1, 1)")
    with pytest.raises(InvalidOption):
        parse_promql("up", target_version="new")


def test_the_parsers_are_loaded_on_first_use():
    code = "import sys, apm_s3.validators; print(any('_query' in name for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "False\n"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="parse_sql"):
        _ = validators.parse_sql
