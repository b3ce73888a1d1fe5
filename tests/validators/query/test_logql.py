"""LogQL, rule by rule of https://grafana.com/docs/loki/latest/query/: a valid and an invalid example each."""

import re

import pytest

from apm_s3.errors import QueryInvalid
from tests.validators.query.trees import MAX_DEPTH, kind, refused
from tests.validators.query.trees import logql as parse

S = '{app="api"}'


def refusal(text):
    token, message, hint = refused(parse, text)
    return token, message, hint or ""


@pytest.mark.parametrize(
    "text",
    [
        S,
        '{app="mysql",name="mysql-backup"}',
        "{name =~ `mysql-\\d+`, env != \"\"}",
        '{name=~".+", env!~"dev|test"}',
        f'({S} |= "x")',
        f'{S} |= "error" != "timeout"',
        f'{S} |~ `error=\\w+` !~ "a|b" |> "<_> error <_>" !> "<_>x"',
        f'{S} |= "error" or "fatal" or `panic`',
        f'{S} != ip("192.168.4.5-192.168.4.20") |= ip("10.0.0.0/8") |= ip("::1")',
        f'{S} | json',
        f'{S} | json first="servers[0]", ua="request.headers[\\"User-Agent\\"]", level',
        f'{S} | logfmt',
        f'{S} | logfmt --strict --keep-empty host, fwd_ip="fwd"',
        f'{S} | pattern `<ip> - - <_> "<method> <uri> <_>" <status>`',
        f'{S} | regexp "(?P<method>\\\\w+) (?P<path>[\\\\w|/]+)"',
        f'{S} | unpack | decolorize',
        f'{S} | line_format "{{{{.ip}}}} {{{{div .duration 1000}}}}"',
        f'{S} | line_format `{{{{ __line__ | lower | trunc 5 }}}} {{{{ __timestamp__ | date "2006" }}}}`',
        f'{S} | label_format a=b, c="{{{{ .d | ToUpper }}}}"',
        f'{S} | drop level, method="GET" | keep a, app=~"some-api.*"',
        f'{S} | duration >= 20ms or size == 20KB and method!~"2.."',
        f'{S} | duration >= 20ms or size == 20KB | method!~"2.."',
        f'{S} | duration >= 20ms or size == 20KB , method!~"2.."',
        f'{S} | duration >= 20ms or size == 20KB  method!~"2.."',
        f'{S} | duration >= 20ms or (method="GET" and size <= 1.5KiB)',
        f'{S} | status >= 400 | ratio != -0.5 | took > 1h30m | took < 1.5h | a = 5 | b > 10B',
        f'{S} | logfmt | addr = ip("192.168.4.5/16") | addr != ip("192.168.4.2")',
        f'{S} | json | count > 5 | bytes > 5MB | rate="x" | ip="a"',
        f'{S} # a comment with ( and "\n| json # another',
        f'count_over_time({S}[5m])',
        f'rate({S} | json [5m] offset 1h)',
        f'rate({S} [5m] offset -1h | json)',
        f'rate(({S} |= "GET" | json | path="/home")[10s])',
        f'rate((({S})[10s] offset 5m))',
        f'bytes_rate({S}[1m]) + bytes_over_time({S}[1m]) + absent_over_time({S}[1d])',
        f'quantile_over_time(0.99, {S} | json | __error__ = "" | unwrap request_time [1m]) by (path)',
        f'sum_over_time({S} | logfmt | unwrap bytes(size) | __error__="" [1m])',
        f'max_over_time({S} | unwrap duration_seconds(took) [1m]) without (pod, app)',
        f'rate_counter({S} | unwrap n [1m]) * first_over_time({S} | unwrap n [1m]) by ()',
        f'avg_over_time({S} [1m] | json | unwrap n)',
        f'sum by (host, level) (rate({S}[1m]))',
        f'sum(rate({S}[1m])) without (pod) > bool 5',
        f'topk(10, sum(rate({S}[5m])) by (name))',
        f'approx_topk(3, sum by (a) (rate({S}[5m])))',
        f'bottomk by (a) (3, rate({S}[5m]))',
        f'sort_desc(sum by (a) (rate({S}[5m])))',
        f'sum(count_over_time({S}[5m])) or vector(0)',
        f'label_replace(rate({S}[1m]), "foo", "$1", "service", "(.*):.*")',
        f'rate({S}[1m]) / on (app) group_left (team) rate({S}[5m]) ^ 2 % 3 - +1 * -2',
        f'rate({S}[1m]) and ignoring (pod) rate({S}[5m]) unless rate({S}[5m])',
        f'SUM(RATE({S}[1m])) BY (app) Or vector(1)',
        "1 + 1 > 0",
    ],
)  # fmt: skip
def test_examples_from_the_documentation_are_accepted(text):
    assert parse(text).end <= len(text)


@pytest.mark.parametrize(
    ("text", "token", "message", "hint"),
    [
        ("up", "up", "expected a selector", "LogQL selects streams with labels in braces"),
        ("{}", "{}", "excludes empty values", 'such as {app="api"}'),
        ('{app=~".*"}', '{app=~".*"}', "excludes empty values", ""),
        ('{app!="a"}', '{app!="a"}', "excludes empty values", ""),
        ("{app=x}", "x", "expected a string in quotes after =", ""),
        ("{app='x'}", "'x'}", "the string that begins here is not closed", ""),
        ('{app="x",}', "}", "a label and its value", ""),
        ('{app="x" env="y"}', "env", "',' or '}' after a matcher", ""),
        ('{app=="x"}', "==", "one of = != =~ !~", ""),
        ('{by="x"}', "by", "a label and its value", "by is a keyword of LogQL"),
        ('{app=~"("}', "(", "invalid regular expression", ""),
        ('{app="x"', "", "unexpected end of the expression", "'{' at character 1 is not closed"),
        (f"{S} |= error", "error", "expected a string in quotes or ip(...) after |=", ""),
        (f'{S} |~ "("', "(", "invalid regular expression", ""),
        (f'{S} |~ ip("::1")', "|~", "ip() can only be used with |= and !=", ""),
        (f'{S} |= ip("10.0.0.0/99")', '"10.0.0.0/99"', "ip() needs an address", ""),
        (f'{S} |= "a" or', "", "expected a string in quotes", ""),
        (f"{S} |", "", "a parser, a label filter", ""),
        (f"{S} | jsn", "", "a comparison after the label name", "did you mean json?"),
        (f"{S} | xml", "", "a comparison after the label name", ""),
        (f"sum by a (rate({S}[5m]))", "a", "'(' after by", "write by (a)"),
        (f"rate({S}[5m]) =! 1", "=", "an operator", "did you mean !=?"),
        (f"{S} | jsn | x", "|", "a comparison after the label name", ""),
        (f"{S} | json a=b", "b", "a string in quotes after json a=", ""),
        (f"{S} | json a,", "", "a label name after json", ""),
        (f"{S} | logfmt --loose", "-", "--strict, --keep-empty or a label name", ""),
        (f'{S} | pattern "no capture"', '"no capture"', "pattern needs a named capture", ""),
        (f'{S} | pattern "<a><b>"', '"<a><b>"', "need text between them", ""),
        (f'{S} | pattern "<a> <a>"', '"<a> <a>"', "label 'a' is captured twice", ""),
        (f'{S} | regexp "a(b)"', '"a(b)"', "regexp needs a named group", ""),
        (f'{S} | regexp "(?P<a>"', "(?P<a>", "invalid regular expression", ""),
        (f"{S} | regexp", "", "a string in quotes after regexp", ""),
        (f'{S} | line_format "{{{{ .a "', '"', "invalid Go template", ""),
        (f'{S} | line_format "{{{{ foo .a }}}}"', "foo .a }}", "invalid Go template", ""),
        (f"{S} | line_format x", "x", "a string in quotes after line_format", ""),
        (f"{S} | label_format a=b, a=c", "a", "given twice", ""),
        (f"{S} | label_format a", "", "'=' after the label name", ""),
        (f"{S} | label_format a=b,", "", "a label name after label_format", ""),
        (f"{S} | drop", "", "a label name after drop", ""),
        (f'{S} | a > "b"', '"b"', "a number, a duration", "text can only be compared with = != =~ !~"),
        (f"{S} | a =~ 5", "5", "a regular expression in quotes", ""),
        (f'{S} | a == "b"', '"b"', "a number, a duration", ""),
        (f"{S} | a > 5 and", "", "a label name in a filter", ""),
        (f"{S} | (a > 5", "", "'and', 'or' or ')'", "is not closed"),
        (f"{S} | a > 5XB", "5XB", "neither a number nor a duration", ""),
        (f"sum(rate({S}))", ")", "a range such as [5m] in rate()", ""),
        (f"rate({S}[5])", "5", "a duration such as 5m in brackets", "did you mean 5s?"),
        (f"rate({S}[ 5m ])", "[ 5m ]", "without spaces", ""),
        (f"rate({S}[5m][5m])", "[", "expected ')'", ""),
        (f"rate({S}[5m]) offset 5m", "offset", "an operator", ""),
        (f"rate({S}[5m] offset 5)", "5", "a duration such as 5m after offset", ""),
        ("rate(up[5m])", "up", "a selector such as", ""),
        (f"rate(rate({S}[5m]))", "rate", "a selector such as", "rate() needs log lines, not metrics"),
        (f"rte({S}[5m])", "rte", "expected a selector", "did you mean rate?"),
        (f"rate by (a) ({S}[5m])", "by", "the grouping of rate comes after", ""),
        (f"rate({S}[5m]) by (a)", "by (a)", "rate does not accept a grouping", ""),
        (f"sum_over_time({S}[5m])", "sum_over_time", "needs a number from a label", ""),
        (f"count_over_time({S} | unwrap n [5m])", "| unwrap n", "cannot be used with unwrap", ""),
        (f"quantile_over_time({S} | unwrap n [5m])", "{", "the quantile and a comma", ""),
        (f"rate(5, {S}[5m])", "5", "rate does not accept a number", ""),
        (f"{S} | unwrap n", "| unwrap", "unwrap is only allowed in an aggregation over time", ""),
        (f"sum_over_time({S} | unwrap n | json [5m])", "json", "a label name in a filter", ""),
        (f"sum_over_time({S} | unwrap foo(n) [5m])", "foo", "unknown conversion foo", ""),
        (f"sum({S})", S, "sum() needs metrics, got log lines", "count_over_time"),
        (f"sum by a (rate({S}[5m]))", "a", "'(' after by", ""),
        (f"sum by (a,) (rate({S}[5m]))", ")", "a label name in by (...)", ""),
        (f"topk(rate({S}[5m]))", "rate", "a number and a comma, such as topk(10, ...)", ""),
        (f"topk(0, rate({S}[5m]))", "0", "topk needs a whole number above 0", ""),
        (f"sum(5, rate({S}[5m]))", "5", "sum does not accept a number", ""),
        (f"sort(rate({S}[5m])) by (a)", "by (a)", "sort does not accept a grouping", ""),
        ("vector(x)", "x", "a number in vector()", ""),
        (f'label_replace(rate({S}[1m]), "a", "b", "c")', ")", "',' before the regular expression", ""),
        (f'label_replace(rate({S}[1m]), "a", "b", "c", "(")', "(", "invalid regular expression", ""),
        (f"{S} + 1", S, "'+' needs metrics or numbers, got log lines", ""),
        (f"rate({S}[1m]) and 1", "and", "'and' needs metrics on both sides", ""),
        (f"rate({S}[1m]) + bool 1", "+", "bool can only be used with comparisons", ""),
        (f"rate({S}[1m]) + group_left rate({S}[1m])", "group_left", "on (...) or ignoring (...)", ""),
        (f"-rate({S}[1m])", "rate", "a number after -", ""),
        (f"rate({S}[1m]) & 1", "&", "unexpected character", "did you mean and?"),
        ("", "", "the expression is empty", ""),
    ],
)
def test_an_error_names_the_token_and_what_was_expected(text, token, message, hint):
    found = refusal(text)

    assert found[0] == token
    assert message in found[1]
    assert hint in found[2]


@pytest.mark.parametrize(
    ("text", "releases"),
    [
        (f'{S} |> "<_>"', "-+++++"),
        (f'{S} !> "<_>"', "-+++++"),
        (f"approx_topk(3, rate({S}[5m]))", "---+++"),
        (f"variants(rate({S}[1m]), count_over_time({S}[1m])) of ({S}[1m])", "----+-"),
        (f"topk(3, rate({S}[5m]))", "++++++"),
        (f"{S} | approx_topk = 5", "++++++"),
    ],
)
def test_each_release_accepts_its_own_syntax(text, releases):
    def takes(release):
        try:
            return parse(text, release) is not None
        except QueryInvalid as exc:
            return not re.search("was (added|removed) in", str(exc))

    versions = ((2, 9), (3, 0), (3, 2), (3, 3), (3, 7), None)
    assert "".join("+" if takes(version) else "-" for version in versions) == releases


def test_the_tree_contains_every_part_of_a_query():
    text = f'sum by (a) (quantile_over_time(0.9, {S} |= "x" | json | unwrap duration(t) | t > 5 [5m] offset 1h) by (b)) > 2'

    tree = parse(text)

    assert kind(tree) == "Binary"
    assert kind(tree.left) == "Aggregation"
    window = tree.left.expr
    assert kind(window) == "RangeAggregation"
    assert (window.op, window.param, window.grouping.labels) == ("quantile_over_time", 0.9, ("b",))
    log_range = window.log_range
    assert (log_range.range.seconds, log_range.offset.seconds) == (300, 3600)
    assert (log_range.unwrap.label, log_range.unwrap.conversion) == ("t", "duration")
    assert [stage.op if kind(stage) == "LineFilter" else stage.name for stage in log_range.streams.stages] == [
        "|=",
        "json",
    ]
    assert [(m.name, m.value) for m in log_range.streams.matchers] == [("app", "api")]


def test_a_log_query_returns_streams_with_the_labels_it_adds():
    tree = parse(f'{S} | logfmt a, b="c" | level="error" or size > 5MB | label_format d=a')

    assert kind(tree) == "Streams"
    assert all(kind(stage) == "Stage" for stage in tree.stages)
    assert [stage.labels for stage in tree.stages] == [("a", "b"), (), ("d",)]
    assert [(one.label, one.op, one.value) for one in tree.stages[1].filters] == [
        ("level", "=", "error"),
        ("size", ">", "5MB"),
    ]


@pytest.mark.parametrize("unit", ["(", "sum(", "1 ^ ", f"{S} | ("])
def test_excessive_nesting_is_a_clear_error(unit):
    repeated = unit if not unit.startswith("{") else "("
    prefix = "" if repeated == unit else unit

    assert f"nested deeper than {MAX_DEPTH} levels" in refusal(prefix + repeated * 5000 + "a")[1]


def test_long_chains_do_not_count_as_nesting():
    assert parse("1 + " * 5000 + "1")
    assert parse(S + ' |= "x"' * 5000)
    assert parse(S + ' | a="x"' * 5000)
    assert parse(S + ' | a="x"' + ' or a="x"' * 5000)
