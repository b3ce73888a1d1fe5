"""Selectors and pipelines of LogQL: https://grafana.com/docs/loki/latest/query/log_queries/.

https://grafana.com/docs/loki/latest/query/template_functions/.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from apm_s3.validators._checking import Version, did_you_mean
from apm_s3.validators._query.gotemplate import template_functions, template_problem
from apm_s3.validators._query.kit import (
    BAD,
    DURATION,
    END,
    MAX_DEPTH,
    NAME,
    NUMBER,
    STRING,
    BadLiteral,
    Duration,
    Expr,
    Grouping,
    Matcher,
    Node,
    Parser,
    QueryProblem,
    StringLiteral,
    Tokens,
    allows_empty,
    check_regex,
    parse_duration,
    source_offset,
)
from apm_s3.validators._structs import dotted


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LineFilter(Node):
    """`|= "error" or "fatal"`: `op` is one of |= != |~ !~ |> !>; `function` is `ip` or None."""

    op: str
    function: str | None
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LabelFilter(Node):
    """`level = "error"`, `size > 5MB`, `addr = ip("10.0.0.0/8")`: one comparison of a label."""

    label: str
    op: str
    value: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Stage(Node):
    """A stage after `|`: its `name` (`json`, `line_format`, `filter`, ...), the labels it sets, and its filters."""

    name: str
    labels: tuple[str, ...]
    argument: str | None
    filters: tuple[LabelFilter, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Unwrap(Node):
    """`| unwrap duration(latency)`, and the label filters after it."""

    label: str
    conversion: str | None
    filters: tuple[LabelFilter, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Streams(Expr):
    """Log lines: `{app="api"} |= "error" | json`."""

    matchers: tuple[Matcher, ...]
    stages: tuple[LineFilter | Stage, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LogRange(Node):
    """`{app="api"} | json | unwrap size [5m] offset 1h`."""

    streams: Streams
    range: Duration
    unwrap: Unwrap | None
    offset: Duration | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RangeAggregation(Expr):
    """`quantile_over_time(0.9, ...) by (app)`."""

    op: str
    param: float | None
    log_range: LogRange
    grouping: Grouping | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Variants(Expr):
    """`variants(...) of (...)`: several aggregations of one range."""

    variants: tuple[Expr, ...]
    log_range: LogRange


BYTES, FLAG = "<bytes>", "<flag>"
RANGE_OPS = frozenset(
    (
        *("rate", "rate_counter", "count_over_time", "bytes_rate", "bytes_over_time", "avg_over_time", "sum_over_time"),
        *("min_over_time", "max_over_time", "stdvar_over_time", "stddev_over_time", "quantile_over_time"),
        *("first_over_time", "last_over_time", "absent_over_time"),
    )
)
VECTOR_OPS = frozenset(
    (*("sum", "avg", "max", "min", "count", "stddev", "stdvar", "bottomk", "topk", "approx_topk", "sort"), "sort_desc")
)
CONVERSIONS = ("bytes", "duration", "duration_seconds")
PARSERS = ("json", "logfmt", "regexp", "unpack", "pattern")
STAGES = (*PARSERS, "line_format", "label_format", "decolorize", "drop", "keep")
_FUNCTIONS = frozenset((*RANGE_OPS, *VECTOR_OPS, *CONVERSIONS, "label_replace", "vector", "ip"))
_KEYWORDS = frozenset(
    (
        *("by", "without", "bool", "offset", "on", "ignoring", "group_left", "group_right", "or", "and", "unless"),
        *("json", "logfmt", "regexp", "unpack", "pattern", "line_format", "label_format", "decolorize", "drop", "keep"),
        *("unwrap", "variants", "of", "label_replace"),
    )
)
KEYWORDS = _KEYWORDS | _FUNCTIONS

_TOKEN = re.compile(
    r"""(?:\s++|\#[^\n]*+)*+
    (?:([^\W\d]\w*+)
    |("(?:[^"\\\n]|\\.)*+"|`[^`]*+`)
    |(\|=|\|~|\|>|!=|!~|!>|==|=~|<=|>=|[(){},=+*/%^@\[\]<>|-])
    |((?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:ns|us|\u00b5s|\u03bcs|ms|[smhdwy])
        (?:(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:ns|us|\u00b5s|\u03bcs|ms|[smhdwy]))*+(?!\w))
    |((?:[0-9]++(?:\.[0-9]*+)?+)(?:B|[kKMGTP](?:iB|i|B)?)(?!\w))
    |((?:0[xX][0-9a-fA-F_]++|[0-9][0-9_]*+(?:\.[0-9_]*+)?+(?:[eE][+-]?[0-9]++)?+|\.[0-9]++(?:[eE][+-]?[0-9]++)?+)(?![\w.]))
    |(\.?[0-9][\w.]*+)
    |(\Z)
    |(.))""",
    re.VERBOSE | re.DOTALL,
)
_NAMES, _STRINGS, _SIGNS, _DURATIONS, _BYTES, _NUMBERS, _ODD, _END = 1, 2, 3, 4, 5, 6, 7, 8
_KINDS = {_STRINGS: STRING, _DURATIONS: DURATION, _BYTES: BYTES, _NUMBERS: NUMBER, _ODD: BAD, _END: END, 9: BAD}
_LAST = frozenset((END, BAD))
_CALLED = re.compile(r"\s*(?:\(|(?:by|without)\b)", re.IGNORECASE)
_FLAG = re.compile(r"--(?:strict|keep-empty)(?![a-zA-Z-])")


def tokenize(text: str) -> Tokens:
    """Tokenize `text`, up to its end or the first `BAD` token."""
    kinds: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at, kind = 0, ""
    while kind not in _LAST:
        match = _TOKEN.match(text, at)
        group = (match and match.lastindex) or _END
        start, at = match.span(group) if match else (at, at)
        if group == _NAMES:
            kind = _word(text, text[start:at].lower(), at)
        elif group == _SIGNS:
            kind = text[start:at]
            if kind == "-" and (flag := _FLAG.match(text, start)):
                kind, at = FLAG, flag.end()
        else:
            kind = _KINDS[group]
        kinds.append(kind)
        starts.append(start)
        ends.append(at)
    if kind == END and len(ends) > 1:
        # Do not report errors inside spaces and comments at the end.
        starts[-1] = ends[-1] = ends[-2]
    return Tokens(text, kinds, starts, ends)


def _word(text: str, word: str, end: int) -> str:
    if word in _FUNCTIONS:
        return word if _CALLED.match(text, end) else NAME
    return word if word in _KEYWORDS else NAME


_NAMED_GROUP = re.compile(r"\(\?P?<([^<>]*)>")
_CAPTURE = re.compile(r"<([a-zA-Z_]\w*)>", re.ASCII)
_TOUCHING = re.compile(r"<[a-zA-Z_]\w*><[a-zA-Z_]\w*>", re.ASCII)
_FIELD, _INDEX = r"[^\W\d]\w*+", r"\[\s*+(?:[0-9]++|\"(?:[^\"\\]|\\.)*+\")\s*+\]"
_JSON_PATH = re.compile(rf"\s*+(?:(?:{_FIELD}|{_INDEX})\s*+(?:\.\s*+{_FIELD}\s*+|{_INDEX}\s*+)*+)?", re.DOTALL)


def regexp_labels(value: StringLiteral, text: str) -> tuple[str, ...]:
    r"""Return the labels of `regexp "(?P<status>\\d+)"`.

    Raises:
        QueryProblem: the expression is not valid, none of its groups has a name, or two have the same name.
    """
    check_regex(value, text)
    return _labels(value, _NAMED_GROUP.findall(value.value), "regexp needs a named group, such as (?P<status>\\d+)")


def pattern_labels(value: StringLiteral) -> tuple[str, ...]:
    """Return the labels of `pattern "<ip> <_>"`.

    Raises:
        QueryProblem: two captures touch, none has a name, or two have the same name.
    """
    _check_distance(value)
    found = [label for label in _CAPTURE.findall(value.value) if label != "_"]
    return _labels(value, found, "pattern needs a named capture, such as <status>")


def check_wildcards(value: StringLiteral, text: str, op: str) -> None:
    """Check the pattern of `|>` or `!>`: https://github.com/grafana/loki/pull/12398.

    Raises:
        QueryProblem: two captures touch, or one has a name.
    """
    _check_distance(value)
    for match in _CAPTURE.finditer(value.value):
        if match[1] != "_":
            message = f"{op} sets no labels, so {match[0][:40]!r} cannot have a name; write <_>"
            raise QueryProblem(message, *_range(value, text, *match.span()))


def check_json_path(value: StringLiteral, text: str) -> None:
    """Check `request.headers["Agent"]` or `servers[0]` after `json label=`.

    A field outside brackets is a word: https://github.com/grafana/loki/issues/6716.

    Raises:
        QueryProblem: it is anything but fields, keys and indexes.
    """
    path = value.value
    match = _JSON_PATH.match(path)
    end = match.end() if match else 0
    if end < len(path) or not path.strip():
        found = repr(path[end]) if end < len(path) else "the end"
        message = f'unexpected {found} in the JSON path, expected fields and indexes such as a.b[0] or a["b"]'
        raise QueryProblem(message, *_range(value, text, end, end + 1))


def check_addresses(value: StringLiteral) -> None:
    """Check the address, range or network of `ip("10.0.0.0/8")`, or raise `QueryProblem`."""
    try:
        _read_addresses(value.value)
    except ValueError:
        message = f"ip() needs an address, a range or a network, not {value.value[:40]!r}"
        raise QueryProblem(message, value.start, value.end, 'such as "10.0.0.0/8"') from None


def _read_addresses(text: str) -> None:
    first, dash, last = text.partition("-")
    if dash:
        start, end = ip_address(first.strip()), ip_address(last.strip())
        if start.version != end.version or int(start) > int(end):
            raise ValueError(text)
    elif "/" in text:
        if not re.fullmatch("[0-9]+", text.partition("/")[2]):
            # Python also takes a netmask; Go does not.
            raise ValueError(text)
        ip_network(text, strict=False)
    else:
        ip_address(text)


def _check_distance(value: StringLiteral) -> None:
    if _TOUCHING.search(value.value):
        raise QueryProblem("two captures of a pattern need text between them", value.start, value.end)


def _labels(value: StringLiteral, found: Sequence[str], missing: str) -> tuple[str, ...]:
    message = missing if not found else None
    if len(set(found)) < len(found):
        message = f"label {Counter(found).most_common(1)[0][0][:40]!r} is captured twice"
    if message:
        raise QueryProblem(message, value.start, value.end)
    return tuple(found)


def _range(value: StringLiteral, text: str, start: int, end: int) -> tuple[int, int]:
    """Return where the characters from `start` to `end` of a string are in the query `text`."""
    literal = text[value.start : value.end]
    first = value.start + source_offset(literal, start)
    return first, max(first + 1, value.start + source_offset(literal, end))


def check_template(value: StringLiteral, text: str) -> None:
    """Check that `value`, a string of the query `text`, is a valid template in Loki, or raise `QueryProblem`."""
    if found := template_problem(value.value, template_functions("loki")):
        message, offset = found
        start = value.start + source_offset(text[value.start : value.end], offset)
        raise QueryProblem(f"invalid Go template: {message}", start, max(start + 1, value.end - 1))


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
            raise self.problem(self.at, message)

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
            raise self.problem(at, f"{self.shown(at)} is not a valid label name")
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
                raise self.problem(at, message)
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
            raise self.problem(at, message, hint)
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
            raise self.problem(self.at, f"nested deeper than {MAX_DEPTH} levels")
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
            raise self.problem(at, f"{self.shown(at)} is {exc.message}") from None

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
