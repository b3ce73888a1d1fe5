"""The parser of LogQL: https://grafana.com/docs/loki/latest/query/."""

from __future__ import annotations

from apm_s3.validators._checking import Version
from apm_s3.validators._query.kit import (
    COMPARISONS,
    DURATION,
    NAME,
    NUMBER,
    SETS,
    Aggregation,
    Binary,
    Duration,
    Expr,
    FunctionCall,
    Matching,
    NumberLiteral,
    Paren,
    QueryProblem,
    StringLiteral,
    ValueType,
    check_regex,
    describe_type,
)
from apm_s3.validators._query.logql_pipelines import (
    LINE_OPS,
    RANGE_OPS,
    VECTOR_OPS,
    LineFilter,
    LogRange,
    RangeAggregation,
    Stage,
    StageParser,
    Streams,
    Unwrap,
    Variants,
    tokenize,
)

_WITH_UNWRAP = frozenset(
    (
        *("avg_over_time", "sum_over_time", "max_over_time", "min_over_time", "stddev_over_time", "stdvar_over_time"),
        *("quantile_over_time", "rate", "rate_counter", "absent_over_time", "first_over_time", "last_over_time"),
    )
)
_WITHOUT_UNWRAP = frozenset(("bytes_over_time", "bytes_rate", "count_over_time", "rate", "absent_over_time"))
_GROUPED = _WITH_UNWRAP - {"sum_over_time", "rate", "rate_counter", "absent_over_time"}
_COUNTED = frozenset(("topk", "bottomk", "approx_topk"))
_FUNCTIONS = (*RANGE_OPS, *VECTOR_OPS, "label_replace", "vector")
_AFTER = ("and", "or", "unless", "by", "without", "offset", "on", "ignoring", "group_left", "group_right", "bool")


def parse(text: str, release: Version | None = None) -> Expr:
    """Parse `text` into a syntax tree: `Streams` for a log query, else a metric query.

    `release` is that of Loki; None means the newest known one.

    Raises:
        QueryProblem: it is not valid LogQL.
    """
    parser = _Parser(tokenize(text))
    parser.release = release
    return parser.whole("an operator, a stage after '|' or the end of the expression", _AFTER)


class _Parser(StageParser):
    max_length = 128 * 1024
    trailing_comma = False

    def operand(self) -> Expr:
        """Parse a log query, an aggregation, a number, or one of them in parentheses."""
        kind = self.kinds[self.at]
        if kind == "{":
            return self.streams()
        if kind in RANGE_OPS:
            return self._range_aggregation()
        if kind in VECTOR_OPS:
            self.check_release()
            return self._vector_aggregation()
        if kind in ("+", "-", NUMBER):
            return self._literal()
        if kind == "(":
            return self._paren()
        if kind in ("label_replace", "vector"):
            return self._label_replace() if kind == "label_replace" else self._vector()
        if kind == "variants":
            self.check_release()
            return self._variants()
        raise self._no_operand()

    def _no_operand(self) -> QueryProblem:
        problem = self.unexpected('a selector such as {app="api"}, an aggregation or a number', words=_FUNCTIONS)
        if self.kinds[self.at] == NAME and problem.hint is None:
            problem.hint = 'LogQL selects streams with labels in braces, such as {app="api"}'
        return problem

    def _paren(self) -> Paren:
        start = self.starts[self.at]
        self.at += 1
        inner = self.expression(0)
        self.expect(")", "after the expression in parentheses", "an operator or ')'")
        return Paren(start, self.ends[self.at - 1], inner.type, inner)

    def _literal(self) -> NumberLiteral:
        start, sign = self.starts[self.at], self.kinds[self.at]
        if sign in ("+", "-"):
            self.at += 1
        if self.kinds[self.at] != NUMBER:
            raise self.unexpected(f"a number after {sign}")
        value = self.number(self.at)
        self.at += 1
        return NumberLiteral(start, self.ends[self.at - 1], "scalar", -value if sign == "-" else value)

    def _param(self, op: str) -> float | None:
        """Parse the number before the comma."""
        if self.kinds[self.at] != NUMBER or self.kinds[self.at + 1] != ",":
            return None
        at = self.at
        value = self.number(at)
        if op in _COUNTED and (value != int(value) or value <= 0):
            raise self.problem(at, f"{op} needs a whole number above 0")
        if op != "quantile_over_time" and op not in _COUNTED:
            raise self.problem(at, f"{op} does not accept a number")
        self.at += 2
        return value

    def _range_aggregation(self) -> RangeAggregation:
        at = self.at
        op, start = self.kinds[at], self.starts[at]
        self.at += 1
        if self.kinds[self.at] in ("by", "without"):
            raise self.unexpected(f"'(' after {op}; the grouping of {op} comes after the parentheses")
        self.expect("(", f"after {op}")
        param = self._param(op)
        if op == "quantile_over_time" and param is None:
            raise self.unexpected(f"the quantile and a comma, such as {op}(0.9, ...)")
        log_range = self.log_range(op)
        self.expect(")", f"after the range in {op}()")
        grouping = self.grouping()
        if grouping is not None and op not in _GROUPED:
            raise QueryProblem(
                f"{op} does not accept a grouping; aggregate it: sum by (...) ({op}(...))", grouping.start, grouping.end
            )
        self._check_unwrap(op, log_range, start)
        return RangeAggregation(start, self.ends[self.at - 1], "vector", op, param, log_range, grouping)

    def _check_unwrap(self, op: str, log_range: LogRange, start: int) -> None:
        unwrap = log_range.unwrap
        if unwrap is not None and op not in _WITH_UNWRAP:
            raise QueryProblem(f"{op} counts lines, so it cannot be used with unwrap", unwrap.start, unwrap.end)
        if unwrap is None and op not in _WITHOUT_UNWRAP:
            message = f"{op} needs a number from a label, such as | unwrap size"
            raise QueryProblem(message, start, start + len(op))

    def log_range(self, op: str) -> LogRange:
        """Parse `{app="api"} | json | unwrap size [5m] offset 1h`; the range may also come before the stages."""
        start, opened = self.starts[self.at], 0
        while self.kinds[self.at] == "(":
            self.at += 1
            opened += 1
        if self.kinds[self.at] != "{":
            raise self._no_range(op)
        at = self.at
        matchers = self.selector()
        stages, unwrap = self._piped()
        window: Duration | None = None
        offset: Duration | None = None
        while True:
            if opened and self.kinds[self.at] == ")":
                self.at += 1
                opened -= 1
            elif self.kinds[self.at] == "[" and window is None:
                window = self.window()
                offset = self._offset()
                if not stages and unwrap is None:
                    stages, unwrap = self._piped()
            else:
                break
        if opened:
            raise self.unexpected(f"')' in {op}()")
        if window is None:
            raise self.unexpected(f"a range such as [5m] in {op}()")
        streams = Streams(self.starts[at], self.ends[self.at - 1], "streams", matchers, stages)
        return LogRange(start, self.ends[self.at - 1], streams, window, unwrap, offset)

    def _no_range(self, op: str) -> QueryProblem:
        problem = self.unexpected(f'a selector such as {{app="api"}} in {op}()')
        if self.kinds[self.at] in RANGE_OPS | VECTOR_OPS:
            problem.hint = f"{op}() needs log lines, not metrics"
        return problem

    def _piped(self) -> tuple[tuple[LineFilter | Stage, ...], Unwrap | None]:
        stages = self.stages()
        unwrap = self.unwrap() if self.kinds[self.at] == "|" else None
        if self.kinds[self.at] in LINE_OPS and unwrap is not None:
            raise self.unexpected("a label filter or the range after unwrap")
        return stages, unwrap

    def _offset(self) -> Duration | None:
        if self.kinds[self.at] != "offset":
            return None
        start = self.starts[self.at]
        self.at += 1
        negative = self.kinds[self.at] == "-"
        if negative:
            self.at += 1
        if self.kinds[self.at] != DURATION:
            raise self.unexpected("a duration such as 5m after offset")
        seconds = self.duration(self.at)
        self.at += 1
        return Duration(start, self.ends[self.at - 1], -seconds if negative else seconds)

    def _vector_aggregation(self) -> Aggregation:
        at = self.at
        op, start = self.kinds[at], self.starts[at]
        self.at += 1
        grouping = self.grouping()
        self.expect("(", f"after {op}")
        param_at = self.at
        count = self._param(op)
        if op in _COUNTED and count is None:
            raise self.unexpected(f"a number and a comma, such as {op}(10, ...)")
        expr = self.expression(0)
        self._expect_metric(expr, op)
        self.expect(")", f"in {op}()", "an operator or ')'")
        if grouping is None:
            grouping = self.grouping()
        if grouping is not None and (op == "approx_topk" or (op in ("sort", "sort_desc") and grouping.labels)):
            raise QueryProblem(f"{op} does not accept a grouping", grouping.start, grouping.end)
        param = None
        if count is not None:
            param = NumberLiteral(self.starts[param_at], self.ends[param_at], "scalar", count)
        return Aggregation(start, self.ends[self.at - 1], "vector", op, grouping, param, expr)

    def _expect_metric(self, expr: Expr, op: str) -> None:
        if expr.type == "streams":
            message = f"{op}() needs metrics, got log lines"
            raise QueryProblem(message, expr.start, expr.end, "count them: count_over_time(... [5m])")

    def label(self, context: str) -> str:
        """Parse a label name in a list."""
        return self.label_name(f"a label name {context}")

    def _label_replace(self) -> FunctionCall:
        start = self.starts[self.at]
        self.at += 1
        self.expect("(", "after label_replace")
        metric = self.expression(0)
        self._expect_metric(metric, "label_replace")
        texts: list[StringLiteral] = []
        for name in ("the new label", "the replacement", "the source label", "the regular expression"):
            self.expect(",", f"before {name} in label_replace()")
            texts.append(self.string(f"for {name}"))
        self.expect(")", "in label_replace()")
        check_regex(texts[-1], self.text)
        return FunctionCall(start, self.ends[self.at - 1], "vector", "label_replace", (metric, *texts))

    def _vector(self) -> FunctionCall:
        start = self.starts[self.at]
        self.at += 1
        self.expect("(", "after vector")
        if self.kinds[self.at] != NUMBER:
            raise self.unexpected("a number in vector()")
        number = self._literal()
        self.expect(")", "in vector()")
        return FunctionCall(start, self.ends[self.at - 1], "vector", "vector", (number,))

    def _variants(self) -> Variants:
        start = self.starts[self.at]
        self.at += 1
        self.expect("(", "after variants")
        found: list[Expr] = []
        while True:
            found.append(self.expression(0))
            self._expect_metric(found[-1], "variants")
            if self.kinds[self.at] != ",":
                break
            self.at += 1
        self.expect(")", "in variants()", "',' or ')'")
        self.expect("of", "after variants(...)", "of (...)")
        self.expect("(", "after of")
        log_range = self.log_range("of")
        self.expect(")", "after the range of variants")
        return Variants(start, self.ends[self.at - 1], "vector", tuple(found), log_range)

    def binary(self, op: int, left: Expr, right: Expr, returns_bool: bool, matching: Matching | None) -> Binary:
        """Join `left` and `right`, which must be metrics."""
        name = self.kinds[op]
        for side in (left, right):
            if side.type == "streams":
                message = f"{name!r} needs metrics or numbers, got {describe_type(side.type)}"
                raise QueryProblem(message, side.start, side.end)
            if name in SETS and side.type == "scalar":
                message = f"{name!r} needs metrics on both sides, not numbers"
                raise self.problem(op, message)
        if returns_bool:
            self._check_bool(op, left.type == right.type == "scalar")
        if matching is not None and matching.group is not None and name in SETS:
            message = f"{name!r} cannot be used with group_{matching.group}"
            raise QueryProblem(message, matching.start, matching.end)
        kind: ValueType = "scalar" if left.type == right.type == "scalar" else "vector"
        return Binary(left.start, right.end, kind, name, left, right, returns_bool, matching)

    def _check_bool(self, op: int, scalars: bool) -> None:
        if self.kinds[op] not in COMPARISONS:
            message = f"bool can only be used with comparisons, not with {self.kinds[op]!r}"
            raise self.problem(op, message)
        if scalars:
            message = "bool cannot be used between two numbers"
            raise QueryProblem(message, self.starts[op + 1], self.ends[op + 1])
