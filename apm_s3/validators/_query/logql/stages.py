"""Selectors and pipelines of LogQL: https://grafana.com/docs/loki/latest/query/log_queries/."""

from __future__ import annotations

import re

from apm_s3.validators._checking.context import Version
from apm_s3.validators._decoding.gates import dotted
from apm_s3.validators._hints import did_you_mean
from apm_s3.validators._query.literals import BadLiteral, parse_duration
from apm_s3.validators._query.logql.nodes import LabelFilter, LineFilter, Stage, Streams, Unwrap
from apm_s3.validators._query.logql.templates import check_template
from apm_s3.validators._query.logql.texts import (
    check_addresses,
    check_json_path,
    check_wildcards,
    pattern_labels,
    regexp_labels,
)
from apm_s3.validators._query.logql.tokens import BYTES, CONVERSIONS, FLAG, KEYWORDS, STAGES
from apm_s3.validators._query.matchers import allows_empty, check_regex
from apm_s3.validators._query.nodes import Duration, Matcher
from apm_s3.validators._query.parsing import DURATION, MAX_DEPTH, NAME, NUMBER, STRING, Parser
from apm_s3.validators._query.problems import QueryProblem

_MATCH_OPS = frozenset(("=", "!=", "=~", "!~"))
_COMPARE_OPS = frozenset(("=", "==", "!=", ">", ">=", "<", "<="))
LINE_OPS = frozenset(("|=", "!=", "|~", "!~", "|>", "!>"))
_RELEASES: dict[str, tuple[Version, Version | None]] = {
    "|>": ((3, 0), None),
    "!>": ((3, 0), None),
    "approx_topk": ((3, 3), None),
    "variants": ((3, 5), (3, 8)),
}
"""The release that added a word, and the one that removed it: https://grafana.com/docs/loki/latest/release-notes/ and
https://github.com/grafana/loki/pull/23823."""
_SIGNED = (3, 1)
"""The release that added negative numbers: https://grafana.com/docs/loki/latest/release-notes/v3-1/."""
_ERROR = "__error__"
_LABEL = re.compile(r"[a-zA-Z_]\w*", re.ASCII)
_GO_DURATION = re.compile(r"(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+")


class StageParser(Parser):
    """The part of the parser for log queries."""

    release: Version | None = None
    """The release of Loki; None means the newest one."""
    _filter_depth = 0

    def check_release(self) -> None:
        """Check that the release has the next token."""
        word = self.kinds[self.at]
        if word not in _RELEASES:
            return
        since, until = _RELEASES[word]
        message = None
        if self.release is not None and self.release < since:
            message = f"{word} was added in {dotted(since)}"
        elif until is not None and (self.release is None or self.release >= until):
            message = f"{word} was removed in {dotted(until)}"
        if message:
            raise QueryProblem(message, self.starts[self.at], self.ends[self.at])

    def streams(self) -> Streams:
        """Parse `{app="api"}` and its stages."""
        start = self.starts[self.at]
        matchers = self.selector()
        stages = self.stages()
        if (kind := self.kinds[self.at]) in ("|", "["):
            what, example = (
                ("unwrap", "sum_over_time(... | unwrap size [5m])") if kind == "|" else ("a range", "rate(... [5m])")
            )
            message = f"{what} is only allowed in an aggregation over time, such as {example}"
            raise QueryProblem(message, self.starts[self.at], self.ends[self.at + (kind == "|")])
        return Streams(start, self.ends[self.at - 1], "streams", matchers, stages)

    def selector(self) -> tuple[Matcher, ...]:
        """Parse `{app="api"}`, which needs at least one matcher that excludes empty values."""
        start = self.starts[self.at]
        self.expect("{", 'such as {app="api"}', "a selector")
        found: list[Matcher] = []
        while self.kinds[self.at] != "}" or found:
            found.append(self._matcher('a label and its value, such as app="api"'))
            if self.kinds[self.at] != ",":
                break
            self.at += 1
        self.expect("}", "after a matcher", "',' or '}'")
        if all(map(allows_empty, found)):
            message = "a selector needs a matcher that excludes empty values"
            raise QueryProblem(message, start, self.ends[self.at - 1], 'such as {app="api"} or {app=~".+"}')
        return tuple(found)

    def label_name(self, expected: str) -> str:
        """Parse a label name."""
        at = self.at
        word = self.text[self.starts[at] : self.ends[at]]
        if self.kinds[at] != NAME:
            problem = self.unexpected(expected)
            if self.kinds[at] in KEYWORDS:
                problem.hint = f"{word} is a keyword of LogQL and cannot be a label name here"
            raise problem
        if not _LABEL.fullmatch(word):
            raise QueryProblem(f"{self.shown(at)} is not a valid label name", self.starts[at], self.ends[at])
        self.at = at + 1
        return word

    def _matcher(self, expected: str) -> Matcher:
        at = self.at
        name = self.label_name(expected)
        op = self.kinds[self.at]
        if op not in _MATCH_OPS:
            raise self.unexpected("one of = != =~ !~ after the label name")
        self.at += 1
        value = self.string("after " + op)
        if op in ("=~", "!~"):
            check_regex(value, self.text)
        return Matcher(self.starts[at], value.end, name, op, value.value)

    def stages(self) -> tuple[LineFilter | Stage, ...]:
        """Parse line filters and stages, up to an `unwrap`."""
        found: list[LineFilter | Stage] = []
        while True:
            kind = self.kinds[self.at]
            if kind in LINE_OPS:
                found.append(self._line_filter())
            elif kind == "|" and self.kinds[self.at + 1] != "unwrap":
                found.append(self._stage())
            else:
                return tuple(found)

    def _line_filter(self) -> LineFilter:
        at = self.at
        op = self.kinds[at]
        self.check_release()
        self.at += 1
        if self.kinds[self.at] == "ip":
            if op not in ("|=", "!="):
                raise QueryProblem(
                    f"ip() can only be used with |= and !=, not with {op}", self.starts[at], self.ends[at]
                )
            values = [self._ip()]
            function = "ip"
        else:
            values, function = [self._line_value(op)], None
        while self.kinds[self.at] == "or":
            self.at += 1
            values.append(self._ip() if self.kinds[self.at] == "ip" else self._line_value(op))
        return LineFilter(self.starts[at], self.ends[self.at - 1], op, function, tuple(values))

    def _line_value(self, op: str) -> str:
        value = self.string(f"or ip(...) after {op}")
        if op in ("|~", "!~"):
            check_regex(value, self.text)
        elif op in ("|>", "!>"):
            check_wildcards(value, self.text, op)
        return value.value

    def _ip(self) -> str:
        self.at += 1
        self.expect("(", "after ip")
        value = self.string("in ip()")
        self.expect(")", "in ip()")
        check_addresses(value)
        return value.value

    def _stage(self) -> Stage:
        start = self.starts[self.at]
        self.at += 1
        at, kind = self.at, self.kinds[self.at]
        word = self.text[self.starts[at] : self.ends[at]].lower()
        labels: tuple[str, ...] = ()
        argument = None
        filters: tuple[LabelFilter, ...] = ()
        if kind in ("(", NAME):
            word, filters = "filter", self.label_filters()
        elif word in STAGES and kind != STRING:
            self.at += 1
            labels, argument, filters = self._known_stage(word)
        else:
            raise self.unexpected("a parser, a label filter, line_format or another stage", words=STAGES)
        return Stage(start, self.ends[self.at - 1], word, labels, argument, filters)

    def _known_stage(self, name: str) -> tuple[tuple[str, ...], str | None, tuple[LabelFilter, ...]]:
        if name in ("json", "logfmt"):
            return self._extractions(name), None, ()
        if name in ("regexp", "pattern"):
            return *self._expression_parser(name), ()
        if name == "line_format":
            return (), self._template(name), ()
        if name == "label_format":
            return self._label_formats(), None, ()
        if name in ("drop", "keep"):
            labels, filters = self._label_list(name)
            return labels, None, filters
        return (), None, ()

    def _extractions(self, name: str) -> tuple[str, ...]:
        """Parse `a, b="c.d"` after a parser, and the flags of logfmt before it."""
        while name == "logfmt" and self.kinds[self.at] == FLAG:
            self.at += 1
        if name == "logfmt" and self.kinds[self.at : self.at + 2] == ["-", "-"]:
            raise self.unexpected("--strict, --keep-empty or a label name after logfmt")
        found: list[str] = []
        while self.kinds[self.at] == NAME or found:
            found.append(self.label_name(f"a label name after {name}"))
            if self.kinds[self.at] == "=":
                self.at += 1
                value = self.string(f"after {name} {found[-1]}=")
                if name == "json":
                    check_json_path(value, self.text)
            if self.kinds[self.at] != ",":
                break
            self.at += 1
        return tuple(found)

    def _expression_parser(self, name: str) -> tuple[tuple[str, ...], str]:
        value = self.string(f"after {name}")
        labels = regexp_labels(value, self.text) if name == "regexp" else pattern_labels(value)
        return labels, value.value

    def _template(self, name: str) -> str:
        value = self.string(f"after {name}")
        check_template(value, self.text)
        return value.value

    def _label_formats(self) -> tuple[str, ...]:
        found: dict[str, None] = {}
        while True:
            at = self.at
            name = self._renamed("a label name after label_format")
            if name in found:
                message = f"label {name[:40]!r} is given twice in one label_format"
                raise QueryProblem(message, self.starts[at], self.ends[at])
            found[name] = None
            self.expect("=", "after the label name")
            if self.kinds[self.at] == STRING:
                self._template("=")
            else:
                self._renamed("a template in quotes or a label name")
            if self.kinds[self.at] != ",":
                return tuple(found)
            self.at += 1

    def _renamed(self, expected: str) -> str:
        at = self.at
        name = self.label_name(expected)
        if name == _ERROR:
            message, hint = f"label_format cannot set or rename {_ERROR}", f'filter it: | {_ERROR}=""'
            raise QueryProblem(message, self.starts[at], self.ends[at], hint)
        return name

    def _label_list(self, name: str) -> tuple[tuple[str, ...], tuple[LabelFilter, ...]]:
        """Parse `a, b="c"` after drop and keep."""
        labels: list[str] = []
        filters: list[LabelFilter] = []
        while True:
            if self.kinds[self.at] == NAME and self.kinds[self.at + 1] in _MATCH_OPS:
                matcher = self._matcher("")
                filters.append(LabelFilter(matcher.start, matcher.end, matcher.name, matcher.op, matcher.value))
            else:
                labels.append(self.label_name(f"a label name after {name}"))
            if self.kinds[self.at] != ",":
                return tuple(labels), tuple(filters)
            self.at += 1

    def label_filters(self) -> tuple[LabelFilter, ...]:
        """Parse label comparisons, joined by `and`, `or`, commas or spaces."""
        self._filter_depth += 1
        if self._filter_depth > MAX_DEPTH:
            raise QueryProblem(f"nested deeper than {MAX_DEPTH} levels", self.starts[self.at], self.ends[self.at])
        found: list[LabelFilter] = []
        while True:
            if self.kinds[self.at] == "(":
                self.at += 1
                found += self.label_filters()
                self.expect(")", "after a label filter", "'and', 'or' or ')'")
            else:
                found.append(self._label_filter())
            if self.kinds[self.at] in ("and", "or", ","):
                self.at += 1
            elif self.kinds[self.at] not in ("(", NAME):
                break
        self._filter_depth -= 1
        return tuple(found)

    def _label_filter(self) -> LabelFilter:
        at = self.at
        name = self.label_name("a label name in a filter")
        op = self.kinds[self.at]
        if op not in _MATCH_OPS | _COMPARE_OPS:
            problem = self.unexpected('a comparison after the label name, such as = "error" or >= 400', words=STAGES)
            problem.hint = problem.hint or did_you_mean(name, STAGES)
            raise problem
        self.at += 1
        kind, start = self.kinds[self.at], self.starts[self.at]
        if kind == STRING and op in _MATCH_OPS:
            value = self.string("")
            if op in ("=~", "!~"):
                check_regex(value, self.text)
            return LabelFilter(self.starts[at], value.end, name, op, value.value)
        if kind == "ip" and op in ("=", "!="):
            return LabelFilter(self.starts[at], self.ends[self.at - 1], name, op, self._ip())
        if op not in _COMPARE_OPS:
            raise self.unexpected(f"a regular expression in quotes after {op}")
        self._quantity(op)
        return LabelFilter(self.starts[at], self.ends[self.at - 1], name, op, self.text[start : self.ends[self.at - 1]])

    def _quantity(self, op: str) -> None:
        sign = self.at
        signed = self.kinds[sign] in ("+", "-")
        if signed:
            self.at += 1
        kind = self.kinds[self.at]
        if signed and kind == NUMBER and self.release is not None and self.release < _SIGNED:
            message = f"{self.shown(sign)} before a number in a label filter was added in {dotted(_SIGNED)}"
            raise QueryProblem(message, self.starts[sign], self.ends[self.at])
        if kind == NUMBER:
            self.number(self.at)
        elif kind == DURATION:
            self.duration(self.at)
        elif kind != BYTES or signed:
            text = "" if op not in _MATCH_OPS else "text in quotes, "
            problem = self.unexpected(f"{text}a number, a duration such as 10s or a size such as 5MB after {op}")
            if kind == STRING:
                problem.hint = "text can only be compared with = != =~ !~"
            raise problem
        self.at += 1

    def duration(self, at: int) -> float:
        """Return the seconds of the duration at index `at`, in the syntax of Prometheus or Go."""
        text = self.text[self.starts[at] : self.ends[at]]
        try:
            return parse_duration(text)
        except BadLiteral as exc:
            if _GO_DURATION.fullmatch(text):
                return 0.0
            raise QueryProblem(f"{self.shown(at)} is {exc.message}", self.starts[at], self.ends[at]) from None

    def unwrap(self) -> Unwrap:
        """Parse `| unwrap size` or `| unwrap bytes(size)`, and the filters after it."""
        start = self.starts[self.at]
        self.at += 2
        conversion = None
        if self.kinds[self.at] in CONVERSIONS:
            conversion = self.kinds[self.at]
            self.at += 1
            self.expect("(", f"after {conversion}")
        label = self.label_name("a label name after unwrap")
        if conversion:
            self.expect(")", "after the label to unwrap")
        elif self.kinds[self.at] == "(":
            known = ", ".join(CONVERSIONS)
            raise QueryProblem(
                f"unknown conversion {label}; known conversions: {known}",
                self.starts[self.at - 1],
                self.ends[self.at - 1],
            )
        filters: list[LabelFilter] = []
        while self.kinds[self.at] == "|":
            self.at += 1
            filters += self.label_filters()
        return Unwrap(start, self.ends[self.at - 1], label, conversion, tuple(filters))

    def window(self) -> Duration:
        """Parse `[5m]`."""
        start = self.starts[self.at]
        self.at += 1
        if self.kinds[self.at] != DURATION:
            problem = self.unexpected("a duration such as 5m in brackets")
            if self.kinds[self.at] == NUMBER:
                problem.hint = f"did you mean {self.text[self.starts[self.at] : self.ends[self.at]]}s?"
            raise problem
        seconds = self.duration(self.at)
        self.at += 1
        self.expect("]", "after the range")
        end = self.ends[self.at - 1]
        if end - start != self.ends[self.at - 2] - self.starts[self.at - 2] + 2:
            raise QueryProblem("a range contains only the duration, without spaces", start, end)
        return Duration(start, end, seconds)
