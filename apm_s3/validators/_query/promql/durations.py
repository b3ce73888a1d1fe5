"""Durations in brackets and after `offset`: literals, and calculations since 3.14.

https://prometheus.io/docs/prometheus/latest/querying/basics/#time-durations.
"""

from __future__ import annotations

from apm_s3.validators._query.literals import MAX_SECONDS, BadLiteral, parse_duration
from apm_s3.validators._query.nodes import Duration, NumberLiteral
from apm_s3.validators._query.parsing import DURATION, MAX_DEPTH, NAME, NUMBER, POWERS, Parser
from apm_s3.validators._query.problems import QueryProblem
from apm_s3.validators._query.promql.dialect import Dialect

_FUNCTIONS = {"step": 0, "range": 0, "min_of": 2, "max_of": 2}
_OPERATORS = frozenset(("+", "-", "*", "/", "%", "^"))
_IN_BRACKETS = "in brackets"


class DurationParser(Parser):
    """The part of the parser for durations."""

    dialect: Dialect
    _duration_depth = 0

    def literal(self) -> NumberLiteral:
        """Parse the next token, which must be a number or duration."""
        at = self.at
        start, end = self.starts[at], self.ends[at]
        self.at = at + 1
        if self.kinds[at] == NUMBER:
            return NumberLiteral(start, end, "scalar", self.number(at))
        try:
            seconds = parse_duration(self.text[start:end])
        except BadLiteral as exc:
            raise QueryProblem(f"{self.shown(at)} is {exc.message}", start, end) from None
        if seconds == 0 and not self.dialect.zero_durations:
            raise QueryProblem("a duration must be above 0", start, end)
        return NumberLiteral(start, end, "scalar", seconds)

    def positive_duration(self) -> Duration:
        """Parse a range or a step, which stand in brackets."""
        duration = self._sum(0, _IN_BRACKETS)
        if duration.seconds is not None and duration.seconds <= 0:
            raise QueryProblem(f"a duration must be above 0 {_IN_BRACKETS}", duration.start, duration.end)
        return duration

    def offset_duration(self) -> Duration:
        """Parse the duration after `offset`: one literal with a sign, or one operand of a calculation."""
        kind, start = self.kinds[self.at], self.starts[self.at]
        where = "after offset"
        if kind == "+" and not self.dialect.zero_durations:
            raise self.unexpected(f"a duration such as 5m {where}")
        negative = kind == "-"
        if kind in ("+", "-"):
            self.at += 1
        duration = self._duration(where)
        seconds = -duration.seconds if negative and duration.seconds is not None else duration.seconds
        return Duration(start, duration.end, seconds)

    def _sum(self, minimum: int, where: str) -> Duration:
        self._duration_depth += 1
        if self._duration_depth > MAX_DEPTH:
            raise QueryProblem(
                f"nested deeper than {MAX_DEPTH} levels {where}", self.starts[self.at], self.ends[self.at]
            )
        left = self._signed(where)
        while (op := self.kinds[self.at]) in _OPERATORS and (power := POWERS[op]) > minimum:
            self._check_calculated(f"':' or ']' {where}")
            self.at += 1
            right = self._sum(power - 1 if op == "^" else power, where)
            if op in "/%" and right.seconds == 0:
                raise QueryProblem("division by 0", right.start, right.end)
            left = Duration(left.start, right.end, None)
        self._duration_depth -= 1
        return left

    def _signed(self, where: str) -> Duration:
        kind, start = self.kinds[self.at], self.starts[self.at]
        if kind not in ("+", "-"):
            return self._duration(where)
        self._check_calculated(f"a duration such as 5m {where}")
        self.at += 1
        inner = self._sum(POWERS["*"], where)
        seconds = -inner.seconds if inner.seconds is not None and kind == "-" else inner.seconds
        return Duration(start, inner.end, seconds)

    def _duration(self, where: str) -> Duration:
        kind, start = self.kinds[self.at], self.starts[self.at]
        if kind == DURATION:
            literal = self.literal()
            return Duration(start, literal.end, literal.value)
        if kind == NUMBER and self.text[start].isalpha():
            raise self.unexpected(f"a duration such as 5m {where}")
        if kind == NUMBER:
            return self._bare_number(where)
        if kind == "(" or (kind == NAME and self.text[start : self.ends[self.at]].lower() in _FUNCTIONS):
            self._check_calculated(f"a duration such as 5m {where}")
            return self._duration_call(where) if kind == NAME else self._bracketed(where)
        raise self.unexpected(f"a duration such as 5m {where}", words=_FUNCTIONS if self.dialect.calculated else ())

    def _bare_number(self, where: str) -> Duration:
        at = self.at
        start, end = self.starts[at], self.ends[at]
        if not self.dialect.plain_durations:
            message = f"{self.shown(at)} has no unit {where}; Prometheus allows this since 2.54"
            raise QueryProblem(message, start, end, f"did you mean {self.text[start:end]}s?")
        value = self.literal().value
        if value > MAX_SECONDS:
            raise QueryProblem("the duration is longer than 292 years", start, end)
        return Duration(start, end, value)

    def _bracketed(self, where: str) -> Duration:
        start = self.starts[self.at]
        self.at += 1
        inner = self._sum(0, where)
        self.expect(")", where)
        return Duration(start, self.ends[self.at - 1], inner.seconds)

    def _duration_call(self, where: str) -> Duration:
        start = self.starts[self.at]
        name = self.text[start : self.ends[self.at]].lower()
        self.at += 1
        self.expect("(", f"after {name}")
        for index in range(_FUNCTIONS[name]):
            if index:
                self.expect(",", f"in {name}()")
            self._sum(0, where)
        self.expect(")", f"in {name}()")
        return Duration(start, self.ends[self.at - 1], None)

    def _check_calculated(self, expected: str) -> None:
        if not self.dialect.calculated:
            raise self.unexpected(expected)
