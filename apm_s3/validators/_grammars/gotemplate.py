"""Go's text/template: checks whether a text parses, with given functions and variables.

A port of the parser of https://pkg.go.dev/text/template/parse; nothing is executed. Fields are not checked: `.Foo` is
always valid, as in Go's parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from apm_s3.validators._grammars.gotemplate_lexer import (
    FIRST_OF_OPERAND,
    NOT_EXECUTABLE,
    Lexeme,
    TemplateError,
    lex,
    number_problem,
    unquote_problem,
)
from apm_s3.validators._hints import did_you_mean

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
