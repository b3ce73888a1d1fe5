"""Matchers of routes and inhibition rules, in the three modes that Alertmanager can run in.

`utf8-strict` uses the UTF-8 grammar, `classic` the older one. `fallback`, the default, tries the UTF-8 grammar first
and then the classic one: https://prometheus.io/docs/alerting/latest/configuration/#utf-8-in-alertmanager.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from apm_s3.reports import Severity
from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import INVALID, decode_string
from apm_s3.validators._grammars.values import regex_error, regex_message
from apm_s3.validators._query.kit import BadLiteral, source_offset, unquote
from apm_s3.validators._reading.nodes import Node, Path

UTF8_MATCHERS = (0, 27)
"""The first release with the UTF-8 grammar: https://github.com/prometheus/alertmanager/blob/main/CHANGELOG.md."""

_HINT = 'write it as name="value" or name=~"regex"'
_RESERVED = frozenset("{}!=~,\\\"'`")
_OPERATORS = ("=~", "!~", "!=", "=")
_CLASSIC = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|=|!=|!~)\s*((?s:.*?))\s*", re.ASCII)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_UNQUOTED = re.compile(r"[^\s{}!=~,\\\"'`]+")
_LONGEST = 64 * 1024
_WANTED = (
    ("text", "a label name"),
    ("operator", "an operator: =, !=, =~ or !~"),
    ("text", "a value"),
)


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
class _Lexeme:
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
    """Parse the matchers in `text` with the UTF-8 grammar.

    Raises:
        BadMatcher: it is not valid.
    """
    _check_length(text)
    lexemes = _lex(text)
    end = _Lexeme("end", "", len(text), "")
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
    """Parse the matchers in `text` with the classic grammar.

    Raises:
        BadMatcher: it is not valid.
    """
    _check_length(text)
    return [_classic_matcher(start, token) for start, token in _classic_tokens(text)]


def _check_length(text: str) -> None:
    if len(text) > _LONGEST:
        raise BadMatcher(f"longer than {_LONGEST} characters")


# -- the UTF-8 grammar


def _matcher(lexemes: list[_Lexeme]) -> Matcher:
    for lexeme, (kind, wanted) in zip(lexemes, _WANTED, strict=True):
        if lexeme.kind != kind:
            raise BadMatcher(f"expected {wanted}", lexeme.start)
    name, operator, value = (lexeme.text for lexeme in lexemes)
    if "~" in operator and (error := regex_error(value)):
        literal = lexemes[2]
        inside = source_offset(literal.raw, error.offset) if literal.raw.startswith('"') else error.offset
        raise BadMatcher(f"value of {name[:80]!r}: {regex_message(error)}", literal.start + inside, error.hint)
    return Matcher(name, operator, value)


def _lex(text: str) -> list[_Lexeme]:
    lexemes: list[_Lexeme] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        lexemes.append(_lexeme(text, at))
        at += len(lexemes[-1].raw)
    return lexemes


def _lexeme(text: str, at: int) -> _Lexeme:
    char = text[at]
    if char in "{},":
        return _Lexeme(char, char, at, char)
    if char in "=!":
        operator = next((known for known in _OPERATORS if text.startswith(known, at)), None)
        if operator is None:
            raise BadMatcher("expected '!=' or '!~'", at)
        return _Lexeme("operator", operator, at, operator)
    if char == '"':
        return _quoted(text, at)
    if char in _RESERVED:
        raise BadMatcher(f"{char!r} is only allowed inside double quotes", at)
    match = _UNQUOTED.match(text, at)
    raw = match[0] if match else char
    return _Lexeme("text", raw, at, raw)


def _quoted(text: str, at: int) -> _Lexeme:
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
    return _Lexeme("text", value, at, raw)


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
    match = _CLASSIC.fullmatch(token)
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
