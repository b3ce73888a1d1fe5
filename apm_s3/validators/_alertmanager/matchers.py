"""Matchers of routes and inhibition rules: the UTF-8 grammar, and the classic one that it falls back to.

A text is refused only where both refuse it: https://prometheus.io/docs/alerting/latest/configuration/#matcher.
"""

from __future__ import annotations

import re

from apm_s3.validators._grammars.regexes import regex_error, regex_message

_RESERVED = frozenset("{}!=~,\\\"'`")
_OPERATORS = ("=~", "!~", "!=", "=")
_CLASSIC = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|=|!=|!~)\s*((?s:.*?))\s*", re.ASCII)
_ESCAPES = re.compile(r"\\(?:[abfnrtv\\\"]|x[0-9a-fA-F]{2}|[0-7]{3}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})")
_LONGEST = 64 * 1024


class _Bad(Exception):
    """Why a text is not a list of matchers."""


def matchers_problem(text: str) -> str | None:
    """Why `text` is no list of matchers; None when it is one."""
    if len(text) > _LONGEST:
        return f"longer than {_LONGEST} characters"
    try:
        _check_all(_parse(text))
    except _Bad as exc:
        problem = str(exc)
    else:
        return None
    try:
        _check_all(_parse_classic(text))
    except _Bad:
        return problem
    return None


def _check_all(matchers: list[tuple[str, str, str]]) -> None:
    for name, operator, value in matchers:
        if "~" in operator and (error := regex_error(value)):
            raise _Bad(f"the value of {name[:80]!r} is {regex_message(error)}")


# -- the UTF-8 grammar


def _parse(text: str) -> list[tuple[str, str, str]]:
    tokens = _lex(text)
    found: list[tuple[str, str, str]] = []
    at = 0
    opened = bool(tokens) and tokens[0] == ("{", "{")
    at += opened
    while at < len(tokens) and tokens[at][0] != "}":
        if found:
            if tokens[at][0] != ",":
                raise _Bad(f"expected a comma or '}}' before {tokens[at][1][:40]!r}")
            at += 1
            if at == len(tokens) or tokens[at][0] == "}":
                break
        found.append(_matcher(tokens[at : at + 3]))
        at += 3
    closed = at < len(tokens) and tokens[at][0] == "}"
    if opened and not closed:
        raise _Bad("'}' is missing at the end")
    if closed and not opened:
        raise _Bad("'{' is missing at the beginning")
    if at + closed != len(tokens):
        raise _Bad(f"unexpected {tokens[at + closed][1][:40]!r} after '}}'")
    return found


def _matcher(tokens: list[tuple[str, str]]) -> tuple[str, str, str]:
    kinds = [kind for kind, _ in tokens]
    if kinds != ["text", "operator", "text"]:
        wanted = ("a label name", "an operator: =, !=, =~ or !~", "a value")
        missing = next(
            index for index in range(3) if index >= len(kinds) or kinds[index] != ("operator" if index == 1 else "text")
        )
        raise _Bad(f"expected {wanted[missing]}")
    return tokens[0][1], tokens[1][1], tokens[2][1]


def _lex(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char.isspace():
            at += 1
        elif char in "{},":
            tokens.append((char, char))
            at += 1
        elif char in "=!":
            operator = next((known for known in _OPERATORS if text.startswith(known, at)), None)
            if operator is None:
                raise _Bad("expected '!=' or '!~'")
            tokens.append(("operator", operator))
            at += len(operator)
        elif char == '"':
            value, at = _quoted(text, at + 1)
            tokens.append(("text", value))
        elif char in _RESERVED:
            raise _Bad(f"{char!r} may only stand inside double quotes")
        else:
            end = at
            while end < len(text) and text[end] not in _RESERVED and not text[end].isspace():
                end += 1
            tokens.append(("text", text[at:end]))
            at = end
    return tokens


def _quoted(text: str, start: int) -> tuple[str, int]:
    at = start
    while at < len(text) and text[at] != '"':
        if text[at] == "\n":
            raise _Bad("a line break inside double quotes must be written as \\n")
        if text[at] == "\\":
            match = _ESCAPES.match(text, at)
            if match is None:
                raise _Bad("unknown escape inside double quotes")
            at = match.end()
        else:
            at += 1
    if at >= len(text):
        raise _Bad("a closing double quote is missing")
    return _ESCAPES.sub(_unescape, text[start:at]), at + 1


def _unescape(match: re.Match[str]) -> str:
    escape = match[0][1:]
    simple = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
    if escape in simple:
        return simple[escape]
    if escape[0] in "xuU":
        code = int(escape[1:], 16)
        return chr(code) if code < 0x110000 else "\ufffd"
    return chr(int(escape, 8)) if escape[0].isdigit() else escape


# -- the classic grammar


def _parse_classic(text: str) -> list[tuple[str, str, str]]:
    return [_classic_matcher(token) for token in _classic_tokens(text.removeprefix("{").removesuffix("}"))]


def _classic_tokens(text: str) -> list[str]:
    tokens: list[str] = []
    token: list[str] = []
    quoted = escaped = False
    for char in text:
        if char == "," and not quoted:
            tokens.append("".join(token))
            token = []
            continue
        if char == '"' and not escaped:
            quoted = not quoted
        escaped = char == "\\" and not escaped
        token.append(char)
    rest = "".join(token).strip()
    return [*tokens, rest] if rest else tokens


def _classic_matcher(token: str) -> tuple[str, str, str]:
    match = _CLASSIC.fullmatch(token)
    if match is None:
        raise _Bad("bad matcher format")
    raw = match[3]
    trailing = raw.startswith('"')
    raw = raw[1:] if trailing else raw
    value: list[str] = []
    escaped = False
    for index, char in enumerate(raw):
        last = index == len(raw) - 1
        if escaped:
            escaped = False
            value.append({"n": "\n", '"': '"', "\\": "\\"}.get(char, f"\\{char}"))
        elif char == "\\" and not last:
            escaped = True
        elif char == '"':
            if not trailing or not last:
                raise _Bad("unescaped double quote")
            trailing = False
        else:
            value.append(char)
    if trailing:
        raise _Bad("a closing double quote is missing")
    return match[1], match[2], "".join(value)
