"""The parser of PromQL, for releases from 2.45.

https://prometheus.io/docs/prometheus/latest/querying/basics/. Where the documentation says nothing, the parser follows
promtool: keywords can be metrics and labels in the same places, and `x @ start()[5m]` is a range.
"""

from __future__ import annotations

import re

from apm_s3.validators._checking import Version
from apm_s3.validators._query.kit import (
    BAD,
    COMPARISONS,
    DURATION,
    END,
    MAX_SECONDS,
    NAME,
    NUMBER,
    SETS,
    SIGN_POWER,
    STRING,
    Aggregation,
    At,
    Binary,
    Duration,
    Expr,
    FunctionCall,
    Matcher,
    Matching,
    NumberLiteral,
    Paren,
    QueryProblem,
    RangeSelector,
    Selector,
    Subquery,
    Tokens,
    Unary,
    ValueType,
    allows_empty,
    check_regex,
    describe_type,
    is_utf8,
)
from apm_s3.validators._query.promql_dialect import FUNCTIONS, Dialect, DurationParser, Function, dialect_of

AGGREGATORS = frozenset(
    ("sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk", "count_values", "quantile")
)
EXPERIMENTAL_AGGREGATORS = frozenset(("limitk", "limit_ratio"))
METRIC = "<metric>"
"""A name with a colon, which can only be a metric name."""

_KEYWORDS = {
    word: word
    for word in (
        *("and", "or", "unless", "atan2", "offset", "by", "without", "on", "ignoring", "group_left", "group_right"),
        *("bool", "start", "end"),
        *AGGREGATORS,
        *EXPERIMENTAL_AGGREGATORS,
    )
} | {"inf": NUMBER, "nan": NUMBER}
NO_METRIC = frozenset(("atan2", "on", "ignoring", "group_left", "group_right", "bool"))
"""Keywords that cannot be metric names."""
NO_LABEL = frozenset(("without",))
"""Keywords that cannot be label names in a list of labels."""
WORDS = frozenset(_KEYWORDS.values()) - {NUMBER}

# The order of the groups is that of `_KINDS`.
_TOKEN = re.compile(
    r"""(?:[ \t\r\n]++|\#[^\r\n]*+)*+
    (?:([a-zA-Z_:][a-zA-Z0-9_:]*+)
    |(==|!=|=~|!~|<=|>=|</|>/|[(){},=+*/%^@\[\]<>-])
    |("(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+'|`[^`]*+`)
    |([0-9]++(?:ms|[smhdwy])(?:[0-9]++(?:ms|[smhdwy]))*+(?![0-9a-zA-Z_]))
    |((?:0[xX][0-9a-fA-F]++|[0-9]++(?:\.[0-9]*+)?+(?:[eE][+-]?[0-9]++)?+|\.[0-9]++(?:[eE][+-]?[0-9]++)?+)(?![0-9a-zA-Z_.]))
    |(\.?[0-9])
    |(\Z)
    |(.))""",
    re.VERBOSE | re.DOTALL,
)
_NAMES, _SIGNS, _ODD, _END = 1, 2, 6, 7
_KINDS = {3: STRING, 4: DURATION, 5: NUMBER, _END: END, 8: BAD}
_LAST = frozenset((END, BAD))
_BEFORE_UNDERSCORES = re.compile(
    r"(?:0[xX][0-9a-fA-F]*+(?:\.[0-9a-fA-F]*+)?+|[0-9]*+(?:\.[0-9]*+)?+)(?:[eE][+-]?[0-9]*+)?+(?![0-9a-zA-Z_])"
)
_REST = re.compile(r"[0-9a-zA-Z_.]*+")
_DECIMAL, _HEXADECIMAL = "0123456789", "0123456789abcdefABCDEF"


def tokenize(text: str, *, underscores: bool) -> Tokens:
    """Tokenize `text`, up to its end or the first `BAD` token; numbers may have `underscores` since 2.54."""
    kinds: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    match_token, keyword = _TOKEN.match, _KEYWORDS.get
    at, in_bracket, kind = 0, False, ""
    while kind not in _LAST:
        match = match_token(text, at)
        group = (match and match.lastindex) or _END
        start, at = match.span(group) if match else (at, at)
        if group == _NAMES:
            word = text[start:at]
            kind = keyword(word) or keyword(word.lower()) or NAME
            if ":" in word:
                kind, at = _colons(word, start, at, in_bracket)
        elif group == _SIGNS:
            kind = text[start:at]
            if kind in "[]":
                in_bracket = kind == "["
        elif group == _ODD:
            kind, at = _odd_number(text, start, underscores)
        else:
            kind = _KINDS[group]
        kinds.append(kind)
        starts.append(start)
        ends.append(at)
    if kind == END and len(ends) > 1:
        # Do not report errors inside spaces and comments at the end.
        starts[-1] = ends[-1] = ends[-2]
    return Tokens(text, kinds, starts, ends)


def _colons(word: str, start: int, end: int, in_bracket: bool) -> tuple[str, int]:
    """Return the kind and end of a name with colons; in brackets, a colon separates range and step."""
    if not in_bracket:
        return METRIC, end
    colon = word.index(":")
    return (":", start + 1) if colon == 0 else (NAME, start + colon)


def _odd_number(text: str, start: int, underscores: bool) -> tuple[str, int]:
    """Return the kind and end of the number at `start`, by the rules of Prometheus's lexer."""
    if underscores:
        end = _scan_number(text, start)
    else:
        match = _BEFORE_UNDERSCORES.match(text, start)
        end = match.end() if match else -1
    if end >= 0:
        return NUMBER, end
    rest = _REST.match(text, start)
    return BAD, rest.end() if rest else start + 1


def _scan_number(text: str, start: int) -> int:
    """Return the end of the number at `start`, -1 if there is none. `parse_number` parses it."""
    at, digits = start, _DECIMAL
    if text[at : at + 2] in ("0x", "0X"):
        at, digits = at + 2, _HEXADECIMAL
        at += text[at : at + 1] == "_"
    at += text[at : at + 1] == "."
    at += text[at : at + 1] in digits and at < len(text)
    seen: set[str] = set()
    while (char := text[at : at + 1].lower()) and (char in "._e" or char in digits):
        if char in seen:
            return -1
        at += 1
        if char not in "._e":
            continue
        if char != "_":
            seen.add(char)
        if char == "e":
            at += text[at : at + 1] in ("+", "-")
        if char == "." and digits is _HEXADECIMAL:
            return -1
        following = text[at : at + 1].lower()
        if following in ("_", ".") or (char != "." and following in ("e", "")):
            return -1
    return -1 if at == start or text[at : at + 1].isalnum() or text[at : at + 1] == "_" else at


_MATCH_OPS = frozenset(("=", "!=", "=~", "!~"))


class SelectorParser(DurationParser):
    """The part of the parser for selectors and their modifiers."""

    def label(self, context: str) -> str:
        """Parse a label name: a word, except a few keywords, or since 2.55 a quoted name."""
        at, kind = self.at, self.kinds[self.at]
        if kind == STRING:
            return self._quoted_label(context)
        word = self.text[self.starts[at] : self.ends[at]]
        fits = kind == NAME or (kind in WORDS and kind not in NO_LABEL) or (kind == METRIC and self.dialect.any_labels)
        if not fits:
            raise self.unexpected(f"a label name {context}")
        self.at = at + 1
        return word

    def _quoted_label(self, context: str) -> str:
        at = self.at
        start, end = self.starts[at], self.ends[at]
        if not self.dialect.quoted_groups:
            raise QueryProblem("quoted label names are supported since 2.55", start, end, "write it without quotes")
        name = self.string(context).value
        legacy = name.isascii() and name.isidentifier()
        if not name or not (legacy or (self.dialect.any_labels and is_utf8(name))):
            raise QueryProblem(f"{self.shown(at)} is not a valid label name", start, end)
        return name

    def selector(self) -> Selector:
        """Parse `up`, `up{job="a"}` or `{job="a"}`."""
        at = self.at
        start, end = self.starts[at], self.ends[at]
        if self.kinds[at] == "{":
            matchers = self._matchers()
            end = self.ends[self.at - 1]
            if all(map(allows_empty, matchers)):
                message = "a selector without a name needs a matcher that excludes empty values"
                raise QueryProblem(message, start, end, 'such as {job="api"} or {job=~".+"}')
            return Selector(start, end, "vector", None, matchers)
        name = self.text[start:end]
        self.at = at + 1
        if self.kinds[at + 1] != "{":
            return Selector(start, end, "vector", name, ())
        matchers = self._matchers()
        for matcher in matchers:
            if matcher.name == "__name__":
                message = f"the metric name is given twice: {name[:80]!r} and {matcher.value[:80]!r}"
                raise QueryProblem(message, matcher.start, matcher.end)
        return Selector(start, self.ends[self.at - 1], "vector", name, matchers)

    def _matchers(self) -> tuple[Matcher, ...]:
        kinds = self.kinds
        self.at += 1
        found: list[Matcher] = []
        while kinds[self.at] != "}":
            found.append(self._matcher())
            if kinds[self.at] != ",":
                break
            self.at += 1
        if kinds[self.at] != "}":
            problem = self.unexpected("',' or '}' after a matcher" if found else "a label name or '}'")
            if found and kinds[self.at] in ("and", "or"):
                problem.hint = "separate the matchers with commas"
            raise problem
        self.at += 1
        return tuple(found)

    def _matcher(self) -> Matcher:
        at, kind = self.at, self.kinds[self.at]
        start, end = self.starts[at], self.ends[at]
        if kind == STRING:
            if not self.dialect.quoted_names:
                raise QueryProblem("quoted names are supported since 2.51", start, end)
            name = self.unquoted(at)
            if self.kinds[at + 1] not in _MATCH_OPS:
                self.at = at + 1
                return Matcher(start, end, "__name__", "=", name)
        else:
            name = self.text[start:end]
            # Inside braces, keywords are names, and there are no numbers.
            if kind in (METRIC, BAD, END) or not (name[0].isalpha() or name[0] == "_"):
                raise self.unexpected("a label name or '}'")
        op = self.kinds[at + 1]
        self.at = at + 1
        if op not in _MATCH_OPS:
            raise self.unexpected("one of = != =~ !~ after the label name")
        self.at = at + 2
        if self.kinds[at + 2] != STRING:
            raise self._no_value()
        value = self.string("")
        if op in ("=~", "!~"):
            check_regex(value, self.text)
        return Matcher(start, value.end, name, op, value.value)

    def _no_value(self) -> QueryProblem:
        start, end = self.starts[self.at], self.ends[self.at]
        word = self.text[start:end]
        if not word[:1].isalnum():
            return self.unexpected("a value in quotes")
        hint = f'write "{word[:40]}"'
        return QueryProblem(f"unexpected {self.shown(self.at)}, expected a value in quotes", start, end, hint)

    def range(self, operand: Expr) -> Expr:
        """Parse `[5m]` or `[1h:5m]` after `operand`."""
        opening = self.at
        self.at = opening + 1
        gap = self.text[self.ends[opening] : self.starts[self.at]]
        if "#" in gap:
            start = self.ends[opening] + gap.index("#")
            raise QueryProblem("a comment is not allowed before the range", start, start + 1)
        duration = self.positive_duration()
        if self.kinds[self.at] == ":":
            return self._subquery(operand, duration)
        if self.kinds[self.at] != "]":
            raise self.unexpected("':' or ']' after the range")
        end = self.ends[self.at]
        self.at += 1
        if not isinstance(operand, Selector):
            message = "a range such as [5m] is only allowed after a metric selector"
            hint = "a subquery has a colon: [5m:]" if operand.type == "vector" else None
            raise QueryProblem(message, self.starts[opening], end, hint)
        if operand.offset is not None and operand.offset.seconds != 0:
            raise QueryProblem("the offset must come after the range", self.starts[opening], end)
        if operand.at is not None and operand.at.timestamp is not None:
            raise QueryProblem("@ must come after the range", self.starts[opening], end)
        return RangeSelector(operand.start, end, "matrix", operand, duration, operand.offset, operand.at)

    def _subquery(self, operand: Expr, duration: Duration) -> Subquery:
        self.at += 1
        step = None if self.kinds[self.at] == "]" else self.positive_duration()
        if self.kinds[self.at] != "]":
            raise self.unexpected("']' after the step")
        end = self.ends[self.at]
        self.at += 1
        if operand.type != "vector":
            message = f"a subquery needs an instant vector, got {describe_type(operand.type)}"
            raise QueryProblem(message, operand.start, operand.end)
        return Subquery(operand.start, end, "matrix", operand, duration, step)

    def offset(self, operand: Expr) -> Expr:
        """Parse an offset after `operand`."""
        start = self.starts[self.at]
        self.at += 1
        offset = self.offset_duration()
        if not isinstance(operand, Selector | RangeSelector | Subquery):
            message = "an offset is only allowed after a selector, a range or a subquery"
            raise QueryProblem(message, start, offset.end)
        if operand.offset is not None and operand.offset.seconds != 0:
            raise QueryProblem("there are two offsets", start, offset.end)
        return _modified(operand, offset.end, offset, operand.at)

    def at_time(self, operand: Expr) -> Expr:
        """Parse an `@` after `operand`."""
        start = self.starts[self.at]
        self.at += 1
        kind = self.kinds[self.at]
        timestamp, boundary = None, None
        if kind in ("start", "end"):
            boundary = kind
            self.at += 1
            self.expect("(", f"after @ {kind}")
            self.expect(")", f"after @ {kind}(")
        else:
            timestamp = self._timestamp()
        end = self.ends[self.at - 1]
        if not isinstance(operand, Selector | RangeSelector | Subquery):
            raise QueryProblem("@ is only allowed after a selector, a range or a subquery", start, end)
        if operand.at is not None:
            raise QueryProblem("there are two @", start, end)
        return _modified(operand, end, operand.offset, At(start, end, timestamp, boundary))

    def _timestamp(self) -> float:
        start = self.starts[self.at]
        negative = self.kinds[self.at] == "-"
        if self.kinds[self.at] in ("+", "-"):
            self.at += 1
        if self.kinds[self.at] == DURATION:
            value = self.plain_duration().value
        elif self.kinds[self.at] == NUMBER:
            value = self.literal().value
        else:
            raise self.unexpected("a Unix time in seconds, start() or end() after @", words=("start", "end"))
        if not abs(value) < MAX_SECONDS * 10**9:
            raise QueryProblem("the time after @ has more than 64 bits", start, self.ends[self.at - 1])
        return -value if negative else value

    def plain_duration(self) -> NumberLiteral:
        """Parse a duration in place of a number."""
        if not self.dialect.plain_durations:
            start, end = self.starts[self.at], self.ends[self.at]
            message = f"unexpected duration {self.shown(self.at)}: Prometheus accepts it as a number since 2.54"
            raise QueryProblem(message, start, end)
        return self.literal()


def _modified(operand: Selector | RangeSelector | Subquery, end: int, offset: Duration | None, at: At | None) -> Expr:
    """Return `operand` with an offset and an `@`."""
    if isinstance(operand, Selector):
        return Selector(operand.start, end, "vector", operand.name, operand.matchers, offset, at)
    if isinstance(operand, RangeSelector):
        return RangeSelector(operand.start, end, "matrix", operand.selector, operand.range, offset, at)
    return Subquery(operand.start, end, "matrix", operand.expr, operand.range, operand.step, offset, at)


_ANY_AGGREGATOR = AGGREGATORS | EXPERIMENTAL_AGGREGATORS
_WITH_PARAM = frozenset(("topk", "bottomk", "quantile", "count_values", "limitk", "limit_ratio"))
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
    """Parse `text` into a syntax tree as `release` (None: the newest one) does, or raise `QueryProblem`."""
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

    def _call(self) -> FunctionCall:
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
        return FunctionCall(start, end, function.returns, name, args)

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
        grouping = self.grouping()
        if self.kinds[self.at] != "(":
            raise self.unexpected(f"'(' after {op}")
        args = self._arguments(f"{op}()")
        end = self.ends[self.at - 1]
        if grouping is None and (grouping := self.grouping()) is not None:
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

    def binary(self, op: int, left: Expr, right: Expr, returns_bool: bool, matching: Matching | None) -> Binary:
        """Join `left` and `right`, by Prometheus's rules for types and matching."""
        name, types = self.kinds[op], (left.type, right.type)
        if name in ("</", ">/") and not self.dialect.trims:
            raise self.problem(op, f"operator {name!r} was added in 3.11")
        for side in (left, right):
            if side.type not in ("scalar", "vector"):
                message = f"{name!r} needs scalars or instant vectors, got {describe_type(side.type)}"
                raise QueryProblem(message, side.start, side.end, _SIDE_HINTS.get(side.type))
        if returns_bool and name not in COMPARISONS:
            raise self.problem(op, f"bool can only be used with comparisons, not with {name!r}")
        if types == ("scalar", "scalar") and name in COMPARISONS and not returns_bool:
            message = f"a comparison of two scalars needs bool: {name} bool"
            raise self.problem(op, message)
        if name in SETS and "scalar" in types:
            raise self.problem(op, f"{name!r} needs instant vectors on both sides, not scalars")
        if matching is not None:
            self._check_matching(name, types == ("vector", "vector"), matching)
        kind: ValueType = "scalar" if types == ("scalar", "scalar") else "vector"
        return Binary(left.start, right.end, kind, name, left, right, returns_bool, matching)

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
