"""The tokens of Go's text/template, from https://pkg.go.dev/text/template/parse.

A port of the parser of https://pkg.go.dev/text/template/parse; nothing is executed. Fields are not checked: `.Foo` is
always valid, as in Go's parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from typing import NamedTuple

from apm_s3.validators._checking import Version, did_you_mean, parse_version
from apm_s3.validators._decoding import load_table


class Lexeme(NamedTuple):
    """One token. The last one has the `kind` `eof`, or `error` with a message as its text."""

    kind: str
    text: str
    offset: int


class TemplateError(Exception):
    """The text is not a template. Never leaves the grammar."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


NOT_EXECUTABLE = frozenset(("bool", "dot", "number", "string", "raw", "character"))
FIRST_OF_OPERAND = NOT_EXECUTABLE | {"field", "identifier", "variable", "("}

_KEYWORDS = frozenset(("block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with"))
_TERMINATORS = frozenset(" \t\r\n.,|:)(")
_SIGNS = frozenset("+-.")
_IN_ACTION = re.compile(
    r"(?P<space>[ \t\r\n]+)|(?P<declare>:=)|(?P<mark>[=|()])|(?P<string>\"(?:[^\"\\\n]|\\[^\n])*\")|(?P<raw>`[^`]*`)"
    r"|(?P<character>'(?:[^'\\\n]|\\[^\n])*')|(?P<variable>\$\w*)|(?P<field>\.(?!\d)\w+)|(?P<dot>\.(?!\d))"
    r"|(?P<identifier>(?!\d)\w+)"
)
"""Every token in an action but numbers and single characters."""
_NAMES = frozenset(("variable", "field", "dot", "identifier"))
_UNFINISHED = {
    '"': "unterminated quoted string",
    "`": "unterminated raw quoted string",
    "'": "unterminated character constant",
    ":": "expected :=",
    "": "unclosed action",
}
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]+(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]+)?|0[oO][0-7_]+|0[bB][01_]+"
    r"|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]+)?|\.[0-9_]+(?:[eE][+-]?[0-9_]+)?)i?"
)
_ESCAPES = re.compile(
    r"\\(?:[abfnrtv\\]|[0-3][0-7]{2}|x[0-9a-fA-F]{2}|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}"
    r"|U00(?:10|0[0-9a-fA-F])(?<!00)[0-9a-fA-F]{4}|U0000(?![dD][89a-fA-F])[0-9a-fA-F]{4})"
)
_INTEGER = re.compile(
    r"([+-]?)(?:0[xX]((?:_?[0-9a-fA-F])+)|0[bB]((?:_?[01])+)|0[oO]?((?:_?[0-7])+)|(0|[1-9](?:_?[0-9])*))"
)
_DIGITS = r"[0-9](?:_?[0-9])*"
_FLOAT = re.compile(rf"[+-]?(?:{_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?")
_HEX_FLOAT = re.compile(rf"[+-]?0[xX](?:[0-9a-fA-F_]+\.?[0-9a-fA-F_]*)[pP][+-]?{_DIGITS}")
_LONGEST_NUMBER = 400
_TRIM = re.compile(r"-[ \t\r\n]")
_COMMENT = re.compile(r"\{\{(?:-[ \t\r\n])?/\*")
_COMMENT_END = re.compile(r"(?:[ \t\r\n]-)?\}\}")
_RIGHT = re.compile(r"(?:[ \t\r\n]+-)?\}\}")


def lex(text: str) -> list[Lexeme]:
    """Tokenize `text`, stopping at the first invalid character."""
    return _Lexer(text).run()


def unquote_problem(text: str) -> str | None:
    """Return why Go's strconv.Unquote refuses a quoted string or character, or None."""
    quote, inner = text[0], text[1:-1]
    plain = _ESCAPES.sub("x", inner.replace(f"\\{quote}", "x"))
    if "\\" in plain or (quote == "'" and len(plain) != 1):
        return "invalid syntax in " + ("a string" if quote == '"' else "a character constant")
    return None


def number_problem(text: str) -> str | None:
    """Return why text/template refuses a number, or None: it must be a 64-bit integer, a float or a complex number."""
    if text.endswith("i"):
        split = max(text.rfind("+", 1), text.rfind("-", 1))
        exponent = split > 0 and text[split - 1] in "eEpP"
        parts = [text[:-1]] if split < 1 or exponent else [text[:split], text[split:-1]]
        return None if all(map(_is_float, parts)) else f"illegal number syntax: {text[:40]!r}"
    if _is_integer(text):
        return None
    if not _is_float(text):
        return f"illegal number syntax: {text[:40]!r}"
    # Without a point or an exponent, it was meant as an integer.
    return None if any(char in ".eEpP" for char in text) else f"integer overflow: {text[:40]!r}"


def _is_integer(text: str) -> bool:
    match = _INTEGER.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    if match is None or match.lastindex is None:
        return False
    value = int(match[match.lastindex].lstrip("_"), (16, 2, 8, 10)[match.lastindex - 2])
    return value < {"": 2**64, "+": 2**63, "-": 2**63 + 1}[match[1]]


def _is_float(text: str) -> bool:
    if len(text) > _LONGEST_NUMBER:
        return False
    try:
        if _HEX_FLOAT.fullmatch(text):
            return isfinite(float.fromhex(text.replace("_", "")))
        return _FLOAT.fullmatch(text) is not None and isfinite(float(text))
    except (OverflowError, ValueError):
        return False


class _Lexer:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._parens = 0
        self._lexemes: list[Lexeme] = []

    def run(self) -> list[Lexeme]:
        try:
            while self._outside():
                self._inside()
        except TemplateError as exc:
            self._lexemes.append(Lexeme("error", exc.message, exc.offset))
        else:
            self._emit("eof", len(self._text))
        return self._lexemes

    def _emit(self, kind: str, end: int) -> None:
        self._lexemes.append(Lexeme(kind, self._text[self._at : end], self._at))
        self._at = end

    def _outside(self) -> bool:
        """Skip text and comments up to the next action, including its opening; return False at the end."""
        while (start := self._text.find("{{", self._at)) >= 0:
            if start > self._at:
                self._emit("text", start)
            if _COMMENT.match(self._text, start) is None:
                self._emit("left", start + (4 if _TRIM.match(self._text, start + 2) else 2))
                self._parens = 0
                return True
            self._comment()
        if self._at < len(self._text):
            self._emit("text", len(self._text))
        return False

    def _comment(self) -> None:
        end = self._text.find("*/", self._at)
        if end < 0:
            raise TemplateError("unclosed comment", self._at)
        closing = _COMMENT_END.match(self._text, end + 2)
        if closing is None:
            raise TemplateError("comment ends before closing delimiter", self._at)
        self._at = closing.end()

    def _inside(self) -> None:
        """Tokenize an action, including its closing."""
        while not self._close():
            self._lexeme()

    def _close(self) -> bool:
        """Consume the closing of the action, if it is here."""
        match = _RIGHT.match(self._text, self._at)
        if match is None:
            return False
        if self._parens:
            raise TemplateError("unclosed left paren", self._at)
        self._emit("right", match.end())
        return True

    def _lexeme(self) -> None:
        char = self._text[self._at : self._at + 1]
        match = _IN_ACTION.match(self._text, self._at)
        if match is None:
            self._other(char)
            return
        kind, end = match.lastgroup or "", match.end()
        if kind == "mark":
            self._parens += {"(": 1, ")": -1}.get(char, 0)
            if self._parens < 0:
                raise TemplateError("unexpected right paren", self._at)
            kind = "assign" if char == "=" else char
        elif kind in _NAMES:
            if end < len(self._text) and self._text[end] not in _TERMINATORS and not self._text.startswith("}}", end):
                raise TemplateError(f"bad character {self._text[end]!r}", end)
            if kind == "identifier":
                word = match[0]
                kind = "keyword" if word in _KEYWORDS else "bool" if word in ("true", "false") else kind
        self._emit(kind, end)

    def _other(self, char: str) -> None:
        if char in _UNFINISHED:
            raise TemplateError(_UNFINISHED[char], self._at)
        if char in _SIGNS or char.isdigit():
            self._number()
            return
        if not (char.isascii() and char.isprintable()):
            raise TemplateError(f"unrecognized character in action: {char!r}", self._at)
        self._emit("char", self._at + 1)

    def _number(self) -> None:
        match = _NUMBER.match(self._text, self._at)
        end = match.end() if match else self._at + 1
        if match is not None and not match[0].endswith("i") and self._text[end : end + 1] in ("+", "-"):
            # This is a complex number such as 1+2i.
            match = _NUMBER.match(self._text, end)
            end = match.end() if match else end
            match = match if match and match[0].endswith("i") else None
        following = self._text[end : end + 1]
        if match is None or following == "_" or following.isalnum():
            raise TemplateError(f"bad number syntax: {self._text[self._at : end + 1]!r}", self._at)
        self._emit("number", end)


BUILTINS = frozenset(
    (
        *("and", "call", "html", "index", "slice", "js", "len", "not", "or", "print", "printf", "println", "urlquery"),
        *("eq", "ge", "gt", "le", "lt", "ne"),
    )
)
_MAX_DEPTH = 100
_PLAIN = re.compile(
    r"(?<!\{)\{\{(?:- )? *(?P<variable>\$\w*)(?:\.[a-zA-Z_]\w*)* *(?:\| *(?P<function>[a-zA-Z_]\w*) *)?(?: -)?\}\}",
    re.ASCII,
)
"""The form of most actions: a variable and at most one function."""


@lru_cache(maxsize=64)
def template_functions(tool: str, target: Version | None = None) -> frozenset[str]:
    """Return the functions of a tool's templates besides Go's own, in the release `target`; None means the newest."""
    table = load_table("functions")["templates"][tool]
    return frozenset(
        name
        for since, names in table.items()
        if not since or target is None or target >= (parse_version(since) or ())
        for name in names
    )


def template_problem(text: str, functions: Iterable[str], variables: Iterable[str] = ()) -> tuple[str, int] | None:
    """Return why `text` is not a valid template, and the offset; None if it is valid.

    `functions` are known in addition to Go's own; `variables` (`$labels`) are defined outside `text`.
    """
    if "{{" not in text:
        return None
    known = BUILTINS | frozenset(functions)
    if "{{" not in _PLAIN.sub(lambda action: _without(action, known, variables), text):
        return None
    try:
        _Parser(lex(text), known, ["$", *variables]).parse()
    except TemplateError as exc:
        return exc.message, exc.offset
    return None


@dataclass(frozen=True, slots=True)
class TemplateNames:
    """The templates that a text defines and uses, each with the offset of its name."""

    defined: frozenset[str]
    used: tuple[tuple[str, int], ...]


def template_names(text: str, functions: Iterable[str]) -> TemplateNames:
    """Return the names in `text`, up to the first syntax error."""
    if "{{" not in text:
        return TemplateNames(frozenset(), ())
    parser = _Parser(lex(text), BUILTINS | frozenset(functions), ["$"])
    with suppress(TemplateError):
        parser.parse()
    return TemplateNames(frozenset(parser.named), tuple(parser.used))


def _without(action: re.Match[str], functions: frozenset[str], variables: Iterable[str]) -> str:
    """Remove an action that is certainly valid."""
    variable, function = action["variable"], action["function"]
    fine = (variable == "$" or variable in variables) and (function is None or function in functions)
    return "" if fine else action[0]


class _Parser:
    def __init__(self, lexemes: list[Lexeme], functions: frozenset[str], variables: list[str]) -> None:
        self._lexemes = lexemes
        self._at = 0
        self._functions = functions
        self._variables = variables
        self._ranges = 0
        self._depth = 0
        self._end = 0
        self._defined: set[str] = set()
        self.named: set[str] = set()
        self.used: list[tuple[str, int]] = []

    def parse(self) -> None:
        while self._peek().kind != "eof":
            if self._peek().kind == "left" and self._word_after_left() == "define":
                self._next()
                self._next_non_space()
                self._define()
                continue
            end = self._text_or_action()
            if end is not None:
                raise self._failure(end, f"unexpected {{{{{end.text}}}}}")

    # -- the stream of lexemes

    def _peek(self) -> Lexeme:
        return self._lexemes[self._at]

    def _next(self) -> Lexeme:
        lexeme = self._lexemes[self._at]
        if lexeme.kind == "error":
            raise TemplateError(lexeme.text, lexeme.offset)
        self._at = min(self._at + 1, len(self._lexemes) - 1)
        return lexeme

    def _peek_non_space(self) -> Lexeme:
        while self._lexemes[self._at].kind == "space":
            self._at += 1
        return self._lexemes[self._at]

    def _next_non_space(self) -> Lexeme:
        self._peek_non_space()
        return self._next()

    def _word_after_left(self) -> str:
        at = self._at + 1
        while self._lexemes[at].kind == "space":
            at += 1
        return self._lexemes[at].text if self._lexemes[at].kind == "keyword" else ""

    def _failure(self, lexeme: Lexeme, message: str) -> TemplateError:
        if lexeme.kind == "error":
            return TemplateError(lexeme.text, lexeme.offset)
        return TemplateError(message, lexeme.offset)

    def _expect_right(self, where: str) -> None:
        lexeme = self._next_non_space()
        if lexeme.kind != "right":
            raise self._unexpected(lexeme, where)

    def _unexpected(self, lexeme: Lexeme, where: str) -> TemplateError:
        what = "the end of the template" if lexeme.kind == "eof" else repr(lexeme.text[:40])
        return self._failure(lexeme, f"unexpected {what} in {where}")

    # -- the grammar

    def _define(self) -> None:
        name = self._name("define clause")
        self._expect_right("define clause")
        self._body_of_own(name)

    def _body_of_own(self, name: str) -> None:
        """Parse the body of a definition, which cannot use outer variables."""
        self.named.add(name)
        outer, self._variables = self._variables, ["$"]
        ranges, self._ranges = self._ranges, 0
        start = self._at
        end = self._list()
        body = self._lexemes[start : self._end]
        if end.text != "end":
            raise self._failure(end, f"unexpected {{{{{end.text}}}}} in definition of {name}")
        self._variables, self._ranges = outer, ranges
        # A definition with only white space does not count: a later one may replace it.
        filled = any(lexeme.kind != "text" or lexeme.text.strip() for lexeme in body)
        if filled and name in self._defined:
            raise self._failure(end, f"template {name[:40]!r} is defined twice")
        if filled:
            self._defined.add(name)

    def _name(self, where: str) -> str:
        lexeme = self._next_non_space()
        if lexeme.kind not in ("string", "raw"):
            raise self._unexpected(lexeme, where)
        self._check_literal(lexeme)
        return lexeme.text[1:-1]

    def _list(self) -> Lexeme:
        """Parse everything up to an `end` or `else`, and return that."""
        self._enter()
        while self._peek().kind != "eof":
            start = self._at
            end = self._text_or_action()
            if end is not None:
                self._end = start
                self._depth -= 1
                return end
        raise self._failure(self._peek(), "unexpected end of the template; is an {{end}} missing?")

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._failure(self._peek(), f"nested deeper than {_MAX_DEPTH} levels")

    def _text_or_action(self) -> Lexeme | None:
        lexeme = self._next_non_space()
        if lexeme.kind == "text":
            return None
        if lexeme.kind == "left":
            return self._action()
        raise self._unexpected(lexeme, "input")

    def _action(self) -> Lexeme | None:
        word = self._peek_non_space()
        if word.kind != "keyword" or word.text in ("nil", "define"):
            self._pipeline("command", "right")
            return None
        self._next()
        return self._keyword(word)

    def _keyword(self, word: Lexeme) -> Lexeme | None:
        if word.text == "end":
            self._expect_right("end")
            return word
        if word.text == "else":
            follower = self._peek_non_space()
            if not (follower.kind == "keyword" and follower.text in ("if", "with")):
                self._expect_right("else")
            return word
        if word.text in ("break", "continue"):
            self._expect_right(f"{{{{{word.text}}}}}")
            if not self._ranges:
                raise self._failure(word, f"{{{{{word.text}}}}} outside {{{{range}}}}")
        elif word.text == "template":
            at = self._peek_non_space().offset
            self.used.append((self._name("template clause"), at))
            if self._peek_non_space().kind == "right":
                self._next()
            else:
                self._pipeline("template clause", "right")
        elif word.text == "block":
            name = self._name("block clause")
            self._pipeline("block clause", "right")
            self._body_of_own(name)
        else:
            self._control(word.text)
        return None

    def _control(self, context: str) -> None:
        """Parse if, range or with, up to its end."""
        known = len(self._variables)
        self._pipeline(context, "right")
        self._ranges += context == "range"
        end = self._list()
        self._ranges -= context == "range"
        if end.text == "else":
            follower = self._peek_non_space()
            if follower.kind == "keyword":
                self._next()
                if follower.text != context:
                    raise self._unexpected(follower, f"{context} clause")
                self._enter()
                self._control(context)
                self._depth -= 1
            else:
                end = self._list()
                if end.text != "end":
                    raise self._failure(end, f"expected end; found {{{{{end.text}}}}}")
        del self._variables[known:]

    def _pipeline(self, context: str, closing: str) -> None:
        start = self._peek_non_space()
        self._declarations(context)
        stages = 0
        while True:
            lexeme = self._peek_non_space()
            if lexeme.kind == closing:
                self._next()
                if not stages:
                    raise self._failure(start, f"missing value for {context}")
                return
            if lexeme.kind not in FIRST_OF_OPERAND and not (lexeme.kind == "keyword" and lexeme.text == "nil"):
                self._next()
                raise self._unexpected(lexeme, context)
            if stages and (lexeme.kind in NOT_EXECUTABLE or lexeme.kind == "keyword"):
                raise self._failure(lexeme, f"non executable command in pipeline stage {stages + 1}")
            self._command()
            stages += 1

    def _declarations(self, context: str) -> None:
        count = 0
        while self._peek_non_space().kind == "variable":
            mark = self._at
            variable = self._next()
            follower = self._peek_non_space()
            if follower.kind in ("declare", "assign"):
                self._next()
                self._variables.append(variable.text)
                return
            if follower.kind != "char" or follower.text != ",":
                self._at = mark
                return
            self._next()
            self._variables.append(variable.text)
            count += 1
            if context != "range" or count > 1:
                raise self._failure(variable, f"too many declarations in {context}")
            if self._peek_non_space().kind not in ("variable", "right", ")"):
                raise self._failure(variable, "range can only initialize variables")

    def _command(self) -> None:
        operands = 0
        while True:
            operands += self._operand()
            lexeme = self._peek()
            if lexeme.kind == "space":
                self._next()
                continue
            if lexeme.kind == "|":
                self._next()
            elif lexeme.kind not in ("right", ")"):
                raise self._unexpected(lexeme, "operand")
            if not operands:
                raise self._failure(lexeme, "empty command")
            return

    def _operand(self) -> bool:
        lexeme = self._peek_non_space()
        if not self._term(lexeme):
            return False
        chained = self._peek().kind == "field"
        while self._peek().kind == "field":
            self._next()
        if chained and (lexeme.kind in NOT_EXECUTABLE or lexeme.kind == "keyword"):
            raise self._failure(lexeme, f"unexpected . after term {lexeme.text[:40]!r}")
        return True

    def _term(self, lexeme: Lexeme) -> bool:
        if lexeme.kind == "(":
            self._next()
            self._enter()
            self._pipeline("parenthesized pipeline", ")")
            self._depth -= 1
            return True
        if lexeme.kind not in FIRST_OF_OPERAND and not (lexeme.kind == "keyword" and lexeme.text == "nil"):
            return False
        self._next()
        if lexeme.kind == "identifier" and lexeme.text not in self._functions:
            hint = did_you_mean(lexeme.text, self._functions)
            raise self._failure(lexeme, f"function {lexeme.text[:40]!r} not defined{f'; {hint}' if hint else ''}")
        if lexeme.kind == "variable" and lexeme.text not in self._variables:
            hint = did_you_mean(lexeme.text, self._variables)
            raise self._failure(lexeme, f"undefined variable {lexeme.text[:40]!r}{f'; {hint}' if hint else ''}")
        self._check_literal(lexeme)
        return True

    def _check_literal(self, lexeme: Lexeme) -> None:
        check = {"string": unquote_problem, "character": unquote_problem, "number": number_problem}.get(lexeme.kind)
        if check is not None and (problem := check(lexeme.text)):
            raise self._failure(lexeme, problem)
