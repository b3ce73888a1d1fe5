"""PromQL selectors and their modifiers: ranges, subqueries, offsets and `@`."""

from __future__ import annotations

from apm_s3.validators._query.literals import MAX_SECONDS
from apm_s3.validators._query.matchers import allows_empty, check_regex, is_utf8
from apm_s3.validators._query.nodes import At, Duration, Expr, Matcher, NumberLiteral, RangeSelector, Selector, Subquery
from apm_s3.validators._query.parsing import BAD, DURATION, END, NAME, NUMBER, STRING, describe_type
from apm_s3.validators._query.problems import QueryProblem
from apm_s3.validators._query.promql.durations import DurationParser
from apm_s3.validators._query.promql.tokens import METRIC, NO_LABEL, WORDS

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
        if self.kinds[self.at] == BAD and (word := self.text[self.starts[self.at] : self.ends[self.at]])[0].isdigit():
            start, end = self.starts[self.at], self.ends[self.at]
            raise QueryProblem(f"unexpected {word!r}, expected a value in quotes", start, end, f'write "{word}"')
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
