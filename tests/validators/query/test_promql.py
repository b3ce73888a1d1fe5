"""PromQL: what each release accepts, and that each error names the token, its position and what was expected."""

import pytest

from apm_s3.errors import QueryInvalid
from tests.validators.query.trees import MAX_DEPTH, MAX_LENGTH, kind, refused
from tests.validators.query.trees import promql as parse


def refusal(text, release=None):
    return refused(parse, text, release)


def takes(text, release=None):
    try:
        parse(text, release)
    except QueryInvalid:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "token", "message", "hint"),
    [
        ("sum(up", "", "unexpected end of the expression", "'(' at character 4 is not closed"),
        ("sum(up))", ")", "unexpected ')', expected an operator or the end", None),
        ("rte(up[5m])", "rte", "unknown function 'rte'", "did you mean rate?"),
        ("Rate(up[5m])", "Rate", "unknown function 'Rate'", "did you mean rate?"),
        ("sum bi (job) (up)", "bi", "unexpected 'bi'", "did you mean by?"),
        ("up offest 5m", "offest", "unexpected 'offest'", "did you mean offset?"),
        ("rate(up)", "up", "rate() needs a range vector here, got an instant vector", "add a range: up[5m]"),
        ("abs(up[5m])", "up[5m]", "abs() needs an instant vector here, got a range vector", "remove the range"),
        ("round(up, 1, 2)", "round(up, 1, 2)", "round() takes 1 to 2 arguments, got 3", None),
        ("histogram_quantile(up, 1)", "up", "needs a scalar here", "write histogram_quantile(number, vector)"),
        ("label_join(up, 'a')", "label_join(up, 'a')", "at least 3", "write label_join(vector, text, text, [text])"),
        ("quantile(up, 1)", "1", "quantile() needs an instant vector here", "write quantile(number, vector)"),
        ("time(1)", "time(1)", "time() takes no arguments, got 1", None),
        ("label_join(up)", "label_join(up)", "label_join() takes at least 3 arguments, got 1", None),
        ("sum(up,)", ")", "another argument in sum()", None),
        ("topk(up)", "topk(up)", "topk() takes 2 arguments, such as topk(5, up), got 1", None),
        ("sum(5)", "5", "sum() needs an instant vector here, got a scalar", None),
        ("topk('a', up)", "'a'", "topk() needs a scalar here, got a string", None),
        ("sum by (a.b) (up)", ".", "unexpected character '.'", "quote names that contain a dot"),
        ("sum by (a b) (up)", "b", "',' or ')' in by (...)", None),
        ("sum by (without) (up)", "without", "expected a label name in by (...)", None),
        ("up{job}", "}", "one of = != =~ !~ after the label name", None),
        ("up{job=api}", "api", "a value in quotes", None),
        ('up{job="a" env="b"}', "env", "',' or '}' after a matcher", None),
        ('up{job=~"a|("}', "(", "invalid regular expression: missing closing ): `a|(`", None),
        ('up{job=~"\\n("}', '(', "invalid regular expression: missing closing )", None),
        ('up{job=~"(?!a)b"}', "(?!a)b", "invalid or unsupported Perl syntax: `(?!`", "use a negative matcher"),
        ('up{job="a}', '"a}', "the string that begins here is not closed", None),
        ('up{job="\\d"}', "\\", "unknown escape '\\\\d'", None),
        ("{}", "{}", "needs a matcher that excludes empty values", 'such as {job="api"} or {job=~".+"}'),
        ('{job=~".*"}', '{job=~".*"}', "needs a matcher that excludes empty values", None),
        ('up{__name__="x"}', '__name__="x"', "the metric name is given twice", None),
        ("up[5]", "5", "'5' has no unit", "did you mean 5s?"),
        ("up[]", "]", "unexpected ']', expected a duration such as 5m in brackets", None),
        ("up[0s]", "0s", "a duration must be above 0", None),
        ("up[1m1h]", "1m1h", "not a valid duration", None),
        ("up[293y]", "293y", "'293y' is longer than 292 years", None),
        ("sum(up)[5m]", "[5m]", "a range such as [5m] is only allowed after a metric selector", None),
        ("up offset 5m [5m]", "[5m]", "the offset must come after the range", None),
        ("sum(up) offset 5m", "offset 5m", "an offset is only allowed after a selector", None),
        ("up @ inf", "inf", "the time after @ has more than 64 bits", None),
        ("up @ begin()", "begin", "a Unix time in seconds", None),
        ("up & up", "&", "unexpected character '&'", "did you mean and?"),
        ("up{job=\u201ca\u201d}", "\u201c", "unexpected character", "typographic quotes"),
        ("1 > 2", ">", "a comparison of two scalars needs bool", None),
        ("up + bool up", "+", "bool can only be used with comparisons, not with '+'", None),
        ("up and 1", "and", "'and' needs instant vectors on both sides", None),
        ("up + on (a) 1", "on (a)", "on and ignoring need two instant vectors", None),
        ("up and on (a) group_left up", "on (a) group_left", "'and' cannot be used with group_left", None),
        ("up + on (a) group_left (a) up", "on (a) group_left (a)", "label 'a' is in both on (...) and group_left", None),
        ("up + group_left up", "group_left", "on (...) or ignoring (...) before group_left", None),
        ("up[5m] + 1", "up[5m]", "'+' needs scalars or instant vectors, got a range vector", "wrap it in rate()"),
        ("limitk by (job) (5, up)", "limitk", "is experimental", None),
        ("info(up)", "info", "is experimental", None),
        ("1e400", "1e400", "'1e400' is out of range for a 64-bit float", None),
        ("sum(rate(up[5m]) by (job)", "by", "unexpected 'by'", "close the bracket before by"),
        ("up = 1", "=", "unexpected '='", "did you mean ==?"),
        ("up =~ 1", "=~", "unexpected '=~'", "in braces"),
        ("up > 1 for 5m", "for", "unexpected 'for'", "for is a field of the rule"),
        ("up{code=5xx}", "5xx", "unexpected '5xx', expected a value in quotes", 'write "5xx"'),
        ('up == "a"', '"a"', "got a string", "compare labels in braces"),
        ("increase(up, 5)", "increase(up, 5)", "takes 1 argument, got 2", "write the range in brackets"),
        ('{job="x"} |= "y"', "|", "unexpected character '|'", "line filters are LogQL"),
        ("up[$__interval]", "$", "unexpected character '$'", "Grafana variables"),
        ('up{job=~")("}', ")(", "invalid regular expression: unexpected )", None),
        ("up[5m d]", "d", "':' or ']' after the range", None),
        ("sum(up) by job", "job", "expected '(' after by", "write by (job)"),
        ('up{a="b" and c="d"}', "and", "',' or '}' after a matcher", "separate the matchers with commas"),
        ("up > 5 m", "m", "unexpected 'm'", "write 5m without a space"),
        ("up =! 1", "=", "unexpected '='", "did you mean !=?"),
        ("up <> 1", ">", "unexpected '>'", "did you mean !=?"),
        ("", "", "the expression is empty", None),
        (" # note", " # note", "the expression is empty", None),
    ],
)  # fmt: skip
def test_an_error_names_the_token_and_what_was_expected(text, token, message, hint):
    found = refusal(text, (2, 53))

    assert found[0] == token
    assert message in found[1]
    assert hint is None or hint in (found[2] or "")


@pytest.mark.parametrize("number", ["1.2.3", "1__0", "1_", "0x1p3", "5m5", "1e5m"])
def test_an_invalid_number_is_refused_as_a_whole(number):
    assert refusal(number)[0] == number


@pytest.mark.parametrize(
    ("text", "releases"),
    [
        ("up > 5m", "-+++"),
        ("up > 1_000", "-+++"),
        ("up[300]", "-+++"),
        ("up[5m:30]", "-+++"),
        ("up offset 300", "-+++"),
        ("up offset 0s", "--++"),
        ('sum by ("a") (up)', "--++"),
        ('sum by ("a.b") (up)', "--++"),
        ("sum by (a:b) (up)", "--++"),
        ('{"up"}', "++++"),
        ('up{"a.b"="c"}', "++++"),
        ("holt_winters(up[5m], 1, 1)", "++--"),
        ("double_exponential_smoothing(up[5m], 1, 1)", "----"),
        ("first_over_time(up[5m])", "---+"),
        ("up </ 5", "---+"),
        ("up[5m * 2]", "---+"),
        ("up[5m:step()]", "---+"),
        ("up[(5m + 1h) / 2]", "---+"),
        ("up[max_of(5m, range())]", "---+"),
        ("up offset (1m * 2)", "---+"),
        ("up offset -step()", "---+"),
        ("up offset +5m", "--++"),
        ("up[5m / 0]", "----"),
        ("up[-5m]", "----"),
        ("up[5m*]", "----"),
        ("up[(5m]", "----"),
        ("up[foo()]", "----"),
        ("up[min_of(5m)]", "----"),
        ("up[293y]", "----"),
        ("up offset inf", "----"),
        ("up[1e30]", "----"),
        ("start()", "----"),
        ("up + on (a) fill (0) up", "----"),
        ("up[5m] smoothed", "----"),
        ("up @ start()[5m]", "++++"),
        ("-up[5m]", "----"),
        ('+"s"', "----"),
        ("0e0", "++++"),
        ("sum by ( # why\n job # so\n) (up)", "++++"),
        ("rate(up[5m # why\n])", "++++"),
        ("up[5m: # why\n1m]", "++++"),
        ("rate(up[ # why\n5m])", "----"),
        ("by + without * start / end % sum ^ limitk", "++++"),
        ("fill + range - step", "++++"),
        ("SUM BY (job) (up) AND up Offset 5m", "++++"),
        ('up{or="a", on="b", sum="c", inf="d"}', "++++"),
    ],
)
def test_each_release_accepts_its_own_syntax(text, releases):
    versions = ((2, 53), (2, 54), (3, 5), None)

    assert "".join("+" if takes(text, version) else "-" for version in versions) == releases


def test_quoted_names_are_accepted_from_2_51_on():
    assert (takes('{"up"}', (2, 50)), takes('{"up"}', (2, 51))) == (False, True)


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", 8), ("08", 8), ("0x1F", 31), ("0x_1f", 31), ("1_000", 1000), (".5", 0.5), ("5.", 5), ("1.e2", 100),
     ("1h30m", 5400), ("-0x10", -16), ("9223372036854775808", 2**63)],
)  # fmt: skip
def test_numbers_have_the_same_value_as_in_go(text, value):
    tree = parse(text)

    assert kind(tree) == "NumberLiteral"
    assert tree.value == value


def test_the_tree_contains_every_part_of_an_expression():
    text = 'sum by (job) (rate(up{job=~"a|b"}[5m] offset 1h @ end())) / on (job) group_left (team) max(x)[1h:1m] > 2'
    text = text.replace("max(x)[1h:1m]", "max_over_time(max(x)[1h:1m])")

    tree = parse(text)

    assert kind(tree) == "Binary"
    assert (tree.op, tree.type, tree.right.value) == (">", "vector", 2)
    division = tree.left
    assert (division.op, division.matching.group, division.matching.labels) == ("/", "left", ("job",))
    assert division.matching.include == ("team",)
    total = division.left
    assert kind(total) == "Aggregation"
    assert (total.op, total.grouping.labels, total.grouping.without) == ("sum", ("job",), False)
    window = total.expr.args[0]
    assert kind(window) == "RangeSelector"
    assert (window.range.seconds, window.offset.seconds, window.at.boundary) == (300, 3600, "end")
    assert [(m.name, m.op, m.value) for m in window.selector.matchers] == [("job", "=~", "a|b")]
    subquery = division.right.args[0]
    assert kind(subquery) == "Subquery"
    assert (subquery.range.seconds, subquery.step.seconds, subquery.expr.op) == (3600, 60, "max")
    assert text[window.selector.start : window.selector.end] == 'up{job=~"a|b"}'


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("a + b * c", "(a+(b*c))"),
        ("a * b + c", "((a*b)+c)"),
        ("a ^ b ^ c", "(a^(b^c))"),
        ("-a ^ b", "-(a^b)"),
        ("-a * b", "(-a*b)"),
        ("a ^ -b * c", "((a^-b)*c)"),
        ("a or b and c unless d", "(aor((bandc)unlessd))"),
        ("a == b + c > d", "((a==(b+c))>d)"),
        ("a - b - c", "((a-b)-c)"),
    ],
)
def test_operators_bind_as_documented(text, shape):
    def show(tree):
        if kind(tree) == "Binary":
            return f"({show(tree.left)}{tree.op}{show(tree.right)})"
        return tree.name if kind(tree) == "Selector" else f"{tree.op}{show(tree.expr)}"

    assert show(parse(text)) == shape


@pytest.mark.parametrize("unit", ["(", "-", "abs(", "sum(", "up ^ ", "up + ("])
def test_excessive_nesting_is_a_clear_error(unit):
    for times in (MAX_DEPTH + 1, 5000):
        assert f"nested deeper than {MAX_DEPTH} levels" in refusal(unit * times + "up")[1]
    assert takes("(" * 80 + "up" + ")" * 80)


def test_excessive_nesting_of_calculated_durations_is_an_error():
    assert "nested deeper" in refusal(f"up[{'(' * 5000}5m{')' * 5000}]")[1]


def test_long_chains_of_operators_do_not_count_as_nesting():
    assert takes("up or " * 5000 + "up")
    assert takes("sum(up) by (job) / 2 + " * 1000 + "1")


def test_an_overlong_expression_is_refused():
    assert "longer than" in refusal(" " * MAX_LENGTH + "up")[1]


def test_a_deep_call_stack_gives_the_same_clear_error():
    def deeper(levels):
        return deeper(levels - 1) if levels else refusal("(" * 90 + "up" + ")" * 90)

    import sys

    limit = sys.getrecursionlimit()
    frame, used = sys._getframe(), 0
    while frame is not None:
        frame, used = frame.f_back, used + 1

    assert "nested deeper" in deeper(limit - used - 150)[1]


def test_the_repr_of_a_node_shows_its_position_but_not_its_content():
    tree = parse('label_replace(up, "a", "secret", "b", "c")')

    assert kind(tree) == "FunctionCall"
    assert repr(tree) == "<FunctionCall at 0-42>"
