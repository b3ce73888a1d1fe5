"""What depends on the release of Prometheus: PromQL's features, functions and durations.

From https://github.com/prometheus/prometheus/blob/main/CHANGELOG.md.

https://prometheus.io/docs/prometheus/latest/querying/functions/, and for releases
https://github.com/prometheus/prometheus/blob/main/CHANGELOG.md from 2.45 on.

https://prometheus.io/docs/prometheus/latest/querying/basics/#time-durations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from apm_s3.validators._checking import Version, did_you_mean, parse_version
from apm_s3.validators._decoding import load_table
from apm_s3.validators._query.kit import (
    DURATION,
    MAX_DEPTH,
    MAX_SECONDS,
    NAME,
    NUMBER,
    POWERS,
    BadLiteral,
    Duration,
    NumberLiteral,
    Parser,
    QueryProblem,
    ValueType,
    parse_duration,
)
from apm_s3.validators._structs import dotted


@dataclass(frozen=True, slots=True)
class Dialect:
    """The PromQL of one release.

    `quoted_names`: `{"a.b"}`; `plain_durations`: durations are numbers and vice versa, with underscores;
    `quoted_groups`: `by ("a.b")`; `any_labels`: label names are any UTF-8; `zero_durations`: a literal may be `0s`, and
    an offset may have a `+`; `trims`: `</` and `>/`; `calculated`: `[5m * 2]`.
    """

    release: Version | None
    quoted_names: bool
    plain_durations: bool
    quoted_groups: bool
    any_labels: bool
    zero_durations: bool
    trims: bool
    calculated: bool

    def function(self, name: str) -> Function | str:
        """Return the function `name`, or why this release does not have it."""
        function = FUNCTIONS.get(name)
        if function is None:
            return f"unknown function {name!r}"
        release = self.release
        if function.since is not None and release is not None and release < function.since:
            return f"function {name!r} was added in {dotted(function.since)}{_other_name(name)}"
        if function.until is not None and (release is None or release >= function.until):
            return f"function {name!r} was removed in {dotted(function.until)}{_other_name(name)}"
        if function.experimental:
            return f"function {name!r} is experimental and needs a feature flag"
        return function

    def hint(self, name: str) -> str | None:
        """Suggest a function with a similar name."""
        if name.lower() in FUNCTIONS and name not in FUNCTIONS:
            return f"did you mean {name.lower()}?"
        return did_you_mean(name, (known for known in FUNCTIONS if isinstance(self.function(known), Function)))


@lru_cache(maxsize=64)
def dialect_of(release: Version | None) -> Dialect:
    """Return the dialect of `release`; None means the newest one."""

    def has(version: Version) -> bool:
        return release is None or release >= version

    return Dialect(
        release, has((2, 51)), has((2, 54)), has((2, 55)), has((3, 0)), has((3, 4)), has((3, 11)), has((3, 14))
    )


def _other_name(name: str) -> str:
    return f"; it is called {RENAMED[name]} there" if name in RENAMED else ""


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
    since: str | None = None,
    until: str | None = None,
) -> Function:
    types = tuple(_LETTERS[letter] for letter in args)
    least = len(types) - (1 if optional or endless else 0)
    most = None if endless else least + optional if optional else len(types)
    return Function(name, types, least, most, returns, experimental, parse_version(since), parse_version(until))


FUNCTIONS = {
    name: _function(name, **(entry if isinstance(entry, dict) else {"args": entry}))
    for name, entry in load_table("functions")["promql"].items()
}
"""By name. In `_data/functions.json`, an entry is the types of the arguments, by letter, or an object with them as
`args`; the last may be `optional` that many times, or `endless`."""
RENAMED = {"holt_winters": "double_exponential_smoothing", "double_exponential_smoothing": "holt_winters"}
"""Functions that were renamed in 3.0, by old and new name."""


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
