"""Matchers, time intervals and the tree of routes of Alertmanager.

`utf8-strict` uses the UTF-8 grammar, `classic` the older one. `fallback`, the default, tries the UTF-8 grammar first
and then the classic one: https://prometheus.io/docs/alerting/latest/configuration/#utf-8-in-alertmanager.

https://prometheus.io/docs/alerting/latest/configuration/#time_interval-0.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from zoneinfo import available_timezones

from apm_s3.reports import Severity
from apm_s3.validators._checking import Context, did_you_mean
from apm_s3.validators._decoding import INVALID, Mismatch, Parser, decode_string
from apm_s3.validators._query.kit import BadLiteral, source_offset, unquote
from apm_s3.validators._query.values import is_label_name, regex_error, regex_message
from apm_s3.validators._reading.nodes import Node, Path
from apm_s3.validators._structs import Struct, check_unique

UTF8_MATCHERS = (0, 27)
"""The first release with the UTF-8 grammar: https://github.com/prometheus/alertmanager/blob/main/CHANGELOG.md."""

_HINT = 'write it as name="value" or name=~"regex"'
_RESERVED = frozenset("{}!=~,\\\"'`")
_OPERATORS = ("=~", "!~", "!=", "=")
_CLASSIC = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|=|!=|!~)\s*((?s:.*))", re.ASCII)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_UNQUOTED = re.compile(r"[^\s{}!=~,\\\"'`]+")
_LONGEST = 64 * 1024
_WANTED = (("text", "a label name"), ("operator", "an operator: =, !=, =~ or !~"), ("text", "a value"))


@dataclass(frozen=True, slots=True)
class Matcher:
    """One matcher."""

    name: str
    operator: str
    value: str

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.operator}"{escaped}"'


class BadMatcher(Exception):
    """Why a text is not a valid list of matchers; `offset` is the position of the problem."""

    def __init__(self, message: str, offset: int = 0, hint: str | None = _HINT) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


@dataclass(frozen=True, slots=True)
class _MatcherLexeme:
    kind: str
    text: str
    start: int
    raw: str


def is_classic(context: Context) -> bool:
    """Return whether names and matchers are read with the classic grammar."""
    return context.matchers == "classic" or context.is_before(UTF8_MATCHERS)


def decode_matchers(node: Node, path: Path, context: Context) -> Any:
    """Decode the matchers in a text, in Alertmanager's mode."""
    text = decode_string(node, path, context)
    if text is INVALID:
        return INVALID
    problem: BadMatcher | None = None
    found: list[Matcher] | None = None
    if not is_classic(context):
        try:
            found = parse_utf8(text)
        except BadMatcher as exc:
            problem = exc
        if context.matchers == "utf8-strict":
            return _refused(problem, node, path, context) if found is None else found
    try:
        classic = parse_classic(text)
    except BadMatcher as exc:
        return _refused(problem or exc, node, path, context) if found is None else found
    if not is_classic(context) and found != classic:
        _warn_of_fallback(classic, problem, node, path, context)
    return classic


def _refused(problem: BadMatcher | None, node: Node, path: Path, context: Context) -> Any:
    if problem is not None:
        message = f"invalid matcher: {problem.message}"
        context.add(context.issue_inside(node, path, problem.offset, "matcher", message, problem.hint))
    return INVALID


def _warn_of_fallback(
    matchers: list[Matcher], problem: BadMatcher | None, node: Node, path: Path, context: Context
) -> None:
    """Warn as Alertmanager does: without its fallback, it will refuse the text or read it differently."""
    instead = f"write it as {', '.join(map(str, matchers))[:200]}"
    if any(matcher.operator == "=" and matcher.value.startswith("=") for matcher in matchers):
        instead = "the operator for equality is a single ="
    if problem is None:
        message, offset = "the UTF-8 grammar reads this matcher differently; Alertmanager uses the classic reading", 0
    else:
        message = f"only the classic grammar accepts this matcher: {problem.message}"
        offset = problem.offset
    context.add(context.issue_inside(node, path, offset, "matcher", message, instead, severity=Severity.WARNING))


def parse_utf8(text: str) -> list[Matcher]:
    """Parse the matchers in `text` with the UTF-8 grammar, or raise `BadMatcher`."""
    _check_length(text)
    lexemes = _lex(text)
    end = _MatcherLexeme("end", "", len(text), "")
    opened = bool(lexemes) and lexemes[0].kind == "{"
    found: list[Matcher] = []
    at = int(opened)
    while at < len(lexemes) and lexemes[at].kind != "}":
        if found:
            if lexemes[at].kind != ",":
                raise BadMatcher(f"expected a comma or '}}' before {lexemes[at].raw[:40]!r}", lexemes[at].start)
            at += 1
            if at == len(lexemes) or lexemes[at].kind == "}":
                break
        found.append(_matcher([*lexemes[at : at + 3], end, end, end][:3]))
        at += 3
    closed = at < len(lexemes)
    if opened and not closed:
        raise BadMatcher("'}' is missing at the end", len(text))
    if closed and not opened:
        raise BadMatcher("'{' is missing at the beginning", 0)
    if at + closed < len(lexemes):
        rest = lexemes[at + closed]
        raise BadMatcher(f"unexpected {rest.raw[:40]!r} after '}}'", rest.start)
    return found


def parse_classic(text: str) -> list[Matcher]:
    """Parse the matchers in `text` with the classic grammar, or raise `BadMatcher`."""
    _check_length(text)
    return [_classic_matcher(start, token) for start, token in _classic_tokens(text)]


def _check_length(text: str) -> None:
    if len(text) > _LONGEST:
        raise BadMatcher(f"longer than {_LONGEST} characters")


# -- the UTF-8 grammar


def _matcher(lexemes: list[_MatcherLexeme]) -> Matcher:
    for lexeme, (kind, wanted) in zip(lexemes, _WANTED, strict=True):
        if lexeme.kind != kind:
            raise BadMatcher(f"expected {wanted}", lexeme.start)
    name, operator, value = (lexeme.text for lexeme in lexemes)
    if "~" in operator and (error := regex_error(value)):
        literal = lexemes[2]
        inside = source_offset(literal.raw, error.offset) if literal.raw.startswith('"') else error.offset
        raise BadMatcher(f"value of {name[:80]!r}: {regex_message(error)}", literal.start + inside, error.hint)
    return Matcher(name, operator, value)


def _lex(text: str) -> list[_MatcherLexeme]:
    lexemes: list[_MatcherLexeme] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        lexemes.append(_lexeme(text, at))
        at += len(lexemes[-1].raw)
    return lexemes


def _lexeme(text: str, at: int) -> _MatcherLexeme:
    char = text[at]
    if char in "{},":
        return _MatcherLexeme(char, char, at, char)
    if char in "=!":
        operator = next((known for known in _OPERATORS if text.startswith(known, at)), None)
        if operator is None:
            raise BadMatcher("expected '!=' or '!~'", at)
        return _MatcherLexeme("operator", operator, at, operator)
    if char == '"':
        return _quoted(text, at)
    if char in _RESERVED:
        raise BadMatcher(f"{char!r} is only allowed inside double quotes", at)
    match = _UNQUOTED.match(text, at)
    raw = match[0] if match else char
    return _MatcherLexeme("text", raw, at, raw)


def _quoted(text: str, at: int) -> _MatcherLexeme:
    match = _QUOTED.match(text, at)
    if match is None:
        raise BadMatcher("a closing double quote is missing", at)
    raw = match[0]
    if "\n" in raw:
        raise BadMatcher("a line break inside double quotes must be written as \\n", at + raw.index("\n"))
    try:
        value = unquote(raw)
    except BadLiteral as exc:
        raise BadMatcher(f"inside double quotes: {exc.message}", at + exc.at) from exc
    if not value.isascii() and any("\udc80" <= char <= "\udcff" for char in value):
        raise BadMatcher("the text inside double quotes is not UTF-8", at)
    return _MatcherLexeme("text", value, at, raw)


# -- the classic grammar


def _classic_tokens(text: str) -> list[tuple[int, str]]:
    begin, end = int(text.startswith("{")), len(text)
    end -= end > begin and text.endswith("}")
    tokens: list[tuple[int, str]] = []
    quoted = escaped = False
    start = begin
    for at in range(begin, end):
        char = text[at]
        if char == "," and not quoted:
            tokens.append((start, text[start:at]))
            start = at + 1
            continue
        if char == '"' and not escaped:
            quoted = not quoted
        escaped = char == "\\" and not escaped
    rest = text[start:end]
    return [*tokens, (start, rest)] if rest.strip() else tokens


def _classic_matcher(start: int, token: str) -> Matcher:
    match = _CLASSIC.fullmatch(token.rstrip(string.whitespace))
    if match is None:
        first = start + len(token) - len(token.lstrip())
        raise BadMatcher("expected a label name of letters, digits and _, an operator and a value", first)
    begin, value = start + match.start(3), _classic_value(match[3], start + match.start(3))
    if "~" in match[2] and (error := regex_error(value)):
        at = begin + match[3].startswith('"') + error.offset
        raise BadMatcher(f"value of {match[1][:80]!r}: {regex_message(error)}", at, error.hint)
    return Matcher(match[1], match[2], value)


def _classic_value(raw: str, start: int) -> str:
    opened = raw.startswith('"')
    value: list[str] = []
    escaped = False
    for index, char in enumerate(raw[opened:], opened):
        last = index == len(raw) - 1
        if escaped:
            escaped = False
            value.append({"n": "\n", '"': '"', "\\": "\\"}.get(char, f"\\{char}"))
        elif char == "\\" and not last:
            escaped = True
        elif char == '"':
            if not opened or not last:
                raise BadMatcher('a double quote inside the value must be written as \\"', start + index)
            opened = False
        else:
            value.append(char)
    if opened:
        raise BadMatcher("a closing double quote is missing", start)
    return "".join(value)


_TIME = re.compile(r"(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_SHORTEST_MONTH = 28


def check_times(times: Struct, context: Context) -> None:
    """Check that `start_time` and `end_time` are both set, and in order."""
    values = []
    for name in ("start_time", "end_time"):
        text = times.get(name) or ""
        if name in times.failed:
            return
        if not text:
            times.error(context, name, "required-field", "start_time and end_time must both be set")
            return
        if not _TIME.fullmatch(text):
            times.error(context, name, "time", f"invalid time: {text[:20]!r}; write it as 09:00, up to 24:00")
            return
        values.append(text)
    if values[0] >= values[1]:
        times.error(context, "start_time", "time-order", "the start time must be before the end time")


def _in_order(member: Callable[[str], int], wrong: str) -> Parser:
    """Return a parser of one value, or of a range `first:last` that does not end before it begins."""

    def parse(text: str) -> str:
        begin, end = _range(text, member)
        if begin > end:
            raise Mismatch("range-order", wrong)
        return text

    return parse


def parse_days_of_month(text: str) -> str:
    """Parse `1`, `1:5` or, from the end of the month, `-3:-1`, or raise `Mismatch`."""
    begin, end = _range(text, lambda part: _number(part, "day of the month"))
    for day in (begin, end):
        if day == 0 or not -31 <= day <= 31:
            raise Mismatch("out-of-range", f"{day} is not a day of the month; use 1 to 31 or -31 to -1")
    if begin < 0 < end:
        raise Mismatch("range-order", "the end day must be negative if the start day is")
    first, last = (_SHORTEST_MONTH + day if day < 0 else day for day in (begin, end))
    if first > last:
        raise Mismatch("range-order", f"end day {end} is always before start day {begin}")
    return text


def parse_location(text: str) -> str:
    """Parse a name from the time zone database, `UTC` or `Local`, or raise `Mismatch`."""
    known = _zones()
    if text in ("", "UTC", "Local") or not known or text in known:
        return text
    raise Mismatch("time-zone", f"unknown time zone {text[:40]!r}; write it as Europe/Berlin")


@cache
def _zones() -> frozenset[str]:
    """Return the time zones known on this machine; empty without a time zone database."""
    return frozenset(available_timezones())


def _range(text: str, member: Callable[[str], int]) -> tuple[int, int]:
    parts = text.lower().split(":")
    if len(parts) > 2:
        raise Mismatch("range", f"invalid range: {text[:40]!r}; write it as first:last")
    values = []
    for index, part in enumerate(parts):
        try:
            values.append(member(part))
        except Mismatch as exc:
            exc.offset = len(parts[0]) + 1 if index else 0
            raise
    return values[0], values[-1]


def _weekday(text: str) -> int:
    if text not in _WEEKDAYS:
        raise Mismatch(
            "weekday", f"{text[:40]!r} is not a weekday; write it in full: monday", did_you_mean(text, _WEEKDAYS)
        )
    return _WEEKDAYS.index(text)


def _month(text: str) -> int:
    if text in _MONTHS:
        return _MONTHS.index(text) + 1
    if not _NUMBER.fullmatch(text):
        raise Mismatch("month", f"{text[:40]!r} is not a month; write it as march or 3", did_you_mean(text, _MONTHS))
    # Alertmanager does not require 1 to 12: any other month never matches.
    return int(text)


def _number(text: str, what: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise Mismatch("number", f"{text[:40]!r} is not a {what}")
    return int(text)


parse_weekdays = _in_order(_weekday, "the start day is after the end day; a week begins on sunday")
parse_months = _in_order(_month, "the start month is after the end month")
parse_years = _in_order(partial(_number, what="year"), "the start year is after the end year")

_EVERYTHING = "..."


def check_route(route: Struct, context: Context) -> None:
    """Check the rules of Route.UnmarshalYAML."""
    _check_label_maps(route, ("match", "match_re"), context)
    _check_group_by(route, context)
    for name in ("group_interval", "repeat_interval"):
        if route.get(name) == 0:
            route.error(context, name, "out-of-range", f"{name} cannot be zero")
    for index, child in enumerate(route.get("routes") or ()):
        if child is None:
            route.error(context, ("routes", index), "null-entry", "a route is empty")


def check_inhibit_rule(rule: Struct, context: Context) -> None:
    """Check the rules of InhibitRule.UnmarshalYAML."""
    _check_label_maps(rule, ("source_match", "source_match_re", "target_match", "target_match_re"), context)
    for index, name in rule.strings("equal"):
        if not is_label_name(name, legacy=is_classic(context)):
            rule.error(context, ("equal", index), "label-name", _no_label(name))


def check_root(route: Struct, context: Context) -> None:
    """Check what the root route must and must not have."""
    if route.empty("receiver"):
        route.error(context, "receiver", "root-route", "the root route must name a default receiver")
    for name in ("match", "match_re", "matchers"):
        if route.get(name):
            route.error(context, name, "root-route", "the root route must not have matchers")
    for name in ("mute_time_intervals", "active_time_intervals"):
        if route.get(name):
            route.error(context, name, "root-route", f"the root route must not have {name}")
    if route.get("continue"):
        route.error(context, "continue", "root-route", "the root route must not have continue")


def check_references(route: Struct, receivers: set[str], intervals: set[str], context: Context) -> None:
    """Check that the receivers and time intervals of all routes are defined."""
    for each in _all_routes(route):
        name = each.get("receiver")
        if name and name not in receivers:
            _undefined(each, "receiver", "receiver", name, receivers, context)
        for field in ("mute_time_intervals", "active_time_intervals"):
            for index, interval in each.strings(field):
                if interval not in intervals:
                    _undefined(each, (field, index), "time interval", interval, intervals, context)


def _undefined(
    route: Struct, where: str | tuple[str | int, ...], what: str, name: str, known: set[str], context: Context
) -> None:
    node, path = route.place(*((where,) if isinstance(where, str) else where))
    context.error(node, path, "undefined-reference", f"undefined {what} {name[:80]!r}", context.hint(name, known))


def _all_routes(route: Struct) -> Iterator[Struct]:
    yield route
    for _, child in route.structs("routes"):
        yield from _all_routes(child)


def _check_label_maps(owner: Struct, fields: tuple[str, ...], context: Context) -> None:
    for field in fields:
        for name, value in (owner.get(field) or {}).items():
            if not is_label_name(name, legacy=True):
                message = f"{name[:80]!r} is not a valid label name here; use matchers for UTF-8 names"
                owner.error(context, (field, name), "label-name", message, at_key=True)
            if value is None:
                owner.error(context, (field, name), "regex", f"the regular expression for {name[:80]!r} is missing")


def _no_label(name: str) -> str:
    return f"{name[:80]!r} is not a valid label name ([a-zA-Z_][a-zA-Z0-9_]*)" if name else "a label name is empty"


def _check_group_by(route: Struct, context: Context) -> None:
    labels = [each for each in route.listed("group_by") if each[2] != _EVERYTHING]
    for _, where, name in labels:
        if not is_label_name(name, legacy=is_classic(context)):
            route.error(context, where, "label-name", _no_label(name))
    check_unique(context, labels, "label {name} is listed twice")
    if labels and len(labels) < len(list(route.strings("group_by"))):
        message = f"{_EVERYTHING!r} groups by all labels, so it cannot be combined with other labels"
        route.error(context, "group_by", "exclusive-fields", message)
