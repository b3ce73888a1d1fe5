"""The parser of PromQL, for releases from 2.45.

https://prometheus.io/docs/prometheus/latest/querying/basics/. Where the documentation says nothing, the parser follows
promtool: keywords can be metrics and labels in the same places, and `x @ start()[5m]` is a range.
"""

from __future__ import annotations

from apm_s3.validators._query.nodes import (
    Aggregation,
    Binary,
    Call,
    Expr,
    Grouping,
    Matching,
    NumberLiteral,
    Paren,
    Selector,
    Unary,
    ValueType,
)
from apm_s3.validators._query.parsing import (
    COMPARISONS,
    DURATION,
    NAME,
    NUMBER,
    SETS,
    SIGN_POWER,
    STRING,
    describe_type,
)
from apm_s3.validators._query.problems import QueryProblem
from apm_s3.validators._query.promql.dialect import Dialect, dialect_of
from apm_s3.validators._query.promql.functions import FUNCTIONS, Function, Version
from apm_s3.validators._query.promql.selectors import SelectorParser
from apm_s3.validators._query.promql.tokens import (
    AGGREGATORS,
    EXPERIMENTAL_AGGREGATORS,
    METRIC,
    NO_METRIC,
    WORDS,
    tokenize,
)

_ANY_AGGREGATOR = AGGREGATORS | EXPERIMENTAL_AGGREGATORS
_WITH_PARAM = frozenset(("topk", "bottomk", "quantile", "count_values", "limitk", "limit_ratio"))
_MATCH_OPS = frozenset(("=", "!=", "=~", "!~"))
_AFTER = (
    *("and", "or", "unless", "atan2", "offset", "by", "without", "on", "ignoring", "group_left", "group_right", "bool"),
)
_SIDE_HINTS = {
    "matrix": "wrap it in rate() or another function for ranges",
    "string": 'compare labels in braces: up{job="api"}',
}
_ARGUMENTS = {"scalar": "number", "vector": "vector", "matrix": "vector[range]", "string": "text"}
_OPERATORS = "an operator or the end of the expression"


def parse(text: str, release: Version | None = None) -> Expr:
    """Parse `text` into a syntax tree, as `release` does; None means the newest one.

    Raises:
        QueryProblem: it is not valid PromQL.
    """
    return _Parser(text, dialect_of(release)).whole(_OPERATORS, _AFTER)


class _Parser(SelectorParser):
    def __init__(self, text: str, dialect: Dialect) -> None:
        super().__init__(tokenize(text, underscores=dialect.plain_durations))
        self.dialect = dialect

    def operand(self) -> Expr:
        """Parse a sign and an operand, or an operand with ranges, offsets and `@`."""
        kind = self.kinds[self.at]
        if kind in ("+", "-"):
            return self._signed_operand(kind)
        operand = self._primary(kind)
        while (kind := self.kinds[self.at]) in ("[", "offset", "@"):
            if kind == "[":
                operand = self.range(operand)
            elif kind == "offset":
                operand = self.offset(operand)
            else:
                operand = self.at_time(operand)
        return operand

    def _primary(self, kind: str) -> Expr:
        if kind == NAME:
            return self._call() if self.kinds[self.at + 1] == "(" else self.selector()
        if kind == NUMBER:
            return self.literal()
        if kind == "(":
            return self._paren()
        if kind in _ANY_AGGREGATOR and self.kinds[self.at + 1] in ("(", "by", "without"):
            return self._aggregation()
        if kind == STRING:
            return self.string("")
        if kind == DURATION:
            return self.plain_duration()
        if kind in ("{", METRIC) or (kind in WORDS and kind not in NO_METRIC):
            return self.selector()
        raise self.unexpected("a metric, a number, a function or '('", words=(*FUNCTIONS, *AGGREGATORS))

    def _signed_operand(self, sign: str) -> Expr:
        start = self.starts[self.at]
        self.at += 1
        inner = self.expression(SIGN_POWER)
        if inner.type not in ("scalar", "vector"):
            message = f"a sign needs a scalar or an instant vector, got {describe_type(inner.type)}"
            raise QueryProblem(message, inner.start, inner.end)
        if isinstance(inner, NumberLiteral):
            return NumberLiteral(start, inner.end, "scalar", -inner.value if sign == "-" else inner.value)
        return Unary(start, inner.end, inner.type, sign, inner)

    def _paren(self) -> Paren:
        start = self.starts[self.at]
        self.at += 1
        inner = self.expression(0)
        if self.kinds[self.at] != ")":
            raise self.unexpected("an operator or ')'", words=_AFTER)
        end = self.ends[self.at]
        self.at += 1
        return Paren(start, end, inner.type, inner)

    def _call(self) -> Call:
        at = self.at
        start, name_end = self.starts[at], self.ends[at]
        name = self.text[start:name_end]
        function = self.dialect.function(name)
        if isinstance(function, str):
            raise QueryProblem(function, start, name_end, None if name in FUNCTIONS else self.dialect.hint(name))
        self.at = at + 1
        args = self._arguments(f"{name}()")
        end = self.ends[self.at - 1]
        self._check_arguments(function, args, start, end)
        return Call(start, end, function.returns, name, args)

    def _arguments(self, where: str) -> tuple[Expr, ...]:
        """Parse `(a, b)`; the next token must be the parenthesis."""
        self.at += 1
        kinds = self.kinds
        if kinds[self.at] == ")":
            self.at += 1
            return ()
        args = [self.expression(0)]
        while kinds[self.at] == ",":
            self.at += 1
            if kinds[self.at] == ")":
                raise self.unexpected(f"another argument in {where}")
            args.append(self.expression(0))
        if kinds[self.at] != ")":
            raise self.unexpected(f"an operator, ',' or ')' in {where}", words=_AFTER)
        self.at += 1
        return tuple(args)

    def _check_arguments(self, function: Function, args: tuple[Expr, ...], start: int, end: int) -> None:
        types = function.args
        count = len(args)
        if count < function.least or (function.most is not None and count > function.most):
            hint = "write the range in brackets: up[5m]" if types == ("matrix",) and count > 1 else _signature(function)
            raise QueryProblem(f"{function.name}() takes {_count(function)}, got {count}", start, end, hint)
        for index, arg in enumerate(args):
            wanted = types[index] if index < len(types) else types[-1]
            if arg.type != wanted:
                hint = _range_hint(wanted, arg, self.text) or _signature(function)
                message = f"{function.name}() needs {describe_type(wanted)} here, got {describe_type(arg.type)}"
                raise QueryProblem(message, arg.start, arg.end, hint)

    def _aggregation(self) -> Aggregation:
        at = self.at
        op, start = self.kinds[at], self.starts[at]
        if op in EXPERIMENTAL_AGGREGATORS:
            message = f"aggregation {op!r} is experimental and needs a feature flag"
            raise QueryProblem(message, start, self.ends[at])
        self.at = at + 1
        grouping = self._grouping()
        if self.kinds[self.at] != "(":
            raise self.unexpected(f"'(' after {op}")
        args = self._arguments(f"{op}()")
        end = self.ends[self.at - 1]
        if grouping is None and (grouping := self._grouping()) is not None:
            end = grouping.end
        needed = 2 if op in _WITH_PARAM else 1
        if len(args) != needed:
            param = {"count_values": '"version"', "quantile": "0.9"}.get(op, "5")
            example = f", such as {op}({param}, up)" if needed == 2 else ""
            message = f"{op}() takes {needed} argument{'s' * (needed - 1)}{example}, got {len(args)}"
            raise QueryProblem(message, start, end)
        self._expect_type(args[-1], "vector", op)
        if needed == 2:
            self._expect_type(args[0], "string" if op == "count_values" else "scalar", op)
        return Aggregation(start, end, "vector", op, grouping, args[0] if needed == 2 else None, args[-1])

    def _expect_type(self, expr: Expr, wanted: str, op: str) -> None:
        if expr.type != wanted:
            message = f"{op}() needs {describe_type(wanted)} here, got {describe_type(expr.type)}"
            hint = _SIDE_HINTS.get(expr.type) if wanted == "vector" else None
            if op in _WITH_PARAM and hint is None:
                hint = f"write {op}({'text' if op == 'count_values' else 'number'}, vector)"
            raise QueryProblem(message, expr.start, expr.end, hint)

    def _grouping(self) -> Grouping | None:
        kind = self.kinds[self.at]
        if kind not in ("by", "without"):
            return None
        start = self.starts[self.at]
        self.at += 1
        labels = self.labels(kind)
        return Grouping(start, self.ends[self.at - 1], kind == "without", labels)

    def binary(self, op: int, left: Expr, right: Expr, returns_bool: bool, matching: Matching | None) -> Binary:
        """Join `left` and `right`, by Prometheus's rules for types and matching."""
        name, types = self.kinds[op], (left.type, right.type)
        if name in ("</", ">/") and not self.dialect.trims:
            raise QueryProblem(f"operator {name!r} was added in 3.11", self.starts[op], self.ends[op])
        for side in (left, right):
            if side.type not in ("scalar", "vector"):
                message = f"{name!r} needs scalars or instant vectors, got {describe_type(side.type)}"
                raise QueryProblem(message, side.start, side.end, _SIDE_HINTS.get(side.type))
        if returns_bool and name not in COMPARISONS:
            raise self._wrong_operator(op, f"bool can only be used with comparisons, not with {name!r}")
        if types == ("scalar", "scalar") and name in COMPARISONS and not returns_bool:
            message = f"a comparison of two scalars needs bool: {name} bool"
            raise self._wrong_operator(op, message)
        if name in SETS and "scalar" in types:
            raise self._wrong_operator(op, f"{name!r} needs instant vectors on both sides, not scalars")
        if matching is not None:
            self._check_matching(name, types == ("vector", "vector"), matching)
        kind: ValueType = "scalar" if types == ("scalar", "scalar") else "vector"
        return Binary(left.start, right.end, kind, name, left, right, returns_bool, matching)

    def _wrong_operator(self, op: int, message: str) -> QueryProblem:
        return QueryProblem(message, self.starts[op], self.ends[op])

    def _check_matching(self, op: str, vectors: bool, matching: Matching) -> None:
        where = matching.start, matching.end
        if not vectors:
            if matching.labels:
                raise QueryProblem("on and ignoring need two instant vectors", *where)
            return
        if op in SETS and matching.group is not None:
            raise QueryProblem(f"{op!r} cannot be used with group_{matching.group}", *where)
        twice = set(matching.labels) & set(matching.include) if matching.on else ()
        if twice:
            message = f"label {min(twice)[:80]!r} is in both on (...) and group_{matching.group} (...)"
            raise QueryProblem(message, *where)


def _count(function: Function) -> str:
    """Describe the number of arguments of a function."""
    least, most = function.least, function.most
    if most is None:
        return f"at least {least} arguments"
    if least == most:
        return f"{least or 'no'} argument{'' if least == 1 else 's'}"
    return f"{least} to {most} arguments"


def _signature(function: Function) -> str:
    """Describe the arguments of a function."""
    names = [_ARGUMENTS[kind] for kind in function.args]
    if function.most is None or function.least < len(names):
        names[-1] = f"[{names[-1]}]"
    return f"write {function.name}({', '.join(names)})"


def _range_hint(wanted: str, arg: Expr, text: str) -> str | None:
    if wanted == "matrix" and isinstance(arg, Selector):
        return f"add a range: {text[arg.start : arg.end][:60]}[5m]"
    if wanted == "matrix" and arg.type == "vector":
        return "make it a subquery: [5m:]"
    if wanted == "vector" and arg.type == "matrix":
        return "remove the range"
    return None
