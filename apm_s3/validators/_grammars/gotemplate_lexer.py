"""The tokens of Go's text/template, from https://pkg.go.dev/text/template/parse."""

from __future__ import annotations

import re
from math import isfinite
from typing import NamedTuple


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
_PUNCTUATION, _QUOTES, _SIGNS = frozenset("=|()"), frozenset("\"`'"), frozenset("+-.")
_SPACE = re.compile(r"[ \t\r\n]+")
_WORD = re.compile(r"\w+")
_STRING = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"')
_RAW = re.compile(r"`[^`]*`")
_CHARACTER = re.compile(r"'(?:[^'\\\n]|\\[^\n])*'")
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
        if match := _SPACE.match(self._text, self._at):
            self._emit("space", match.end())
        elif char in _PUNCTUATION:
            self._punctuation(char)
        elif char == ":":
            if not self._text.startswith(":=", self._at):
                raise TemplateError("expected :=", self._at)
            self._emit("declare", self._at + 2)
        elif char in _QUOTES:
            self._quoted(char)
        elif char == "$" or (char == "." and not self._text[self._at + 1 : self._at + 2].isdigit()):
            self._name(char)
        elif char in _SIGNS or char.isdigit():
            self._number()
        elif char == "_" or char.isalnum():
            self._word()
        else:
            self._other(char)

    def _other(self, char: str) -> None:
        if not char:
            raise TemplateError("unclosed action", self._at)
        if not (char.isascii() and char.isprintable()):
            raise TemplateError(f"unrecognized character in action: {char!r}", self._at)
        self._emit("char", self._at + 1)

    def _punctuation(self, char: str) -> None:
        self._parens += {"(": 1, ")": -1}.get(char, 0)
        if self._parens < 0:
            raise TemplateError("unexpected right paren", self._at)
        self._emit("assign" if char == "=" else char, self._at + 1)

    def _quoted(self, quote: str) -> None:
        pattern, kind, what = {
            '"': (_STRING, "string", "quoted string"),
            "`": (_RAW, "raw", "raw quoted string"),
            "'": (_CHARACTER, "character", "character constant"),
        }[quote]
        match = pattern.match(self._text, self._at)
        if match is None:
            raise TemplateError(f"unterminated {what}", self._at)
        self._emit(kind, match.end())

    def _name(self, char: str) -> None:
        """Tokenize `.`, `.Field`, `$` or `$variable`."""
        match = _WORD.match(self._text, self._at + 1)
        end = match.end() if match else self._at + 1
        self._check_terminated(end)
        kind = "variable" if char == "$" else "field" if match else "dot"
        self._emit(kind, end)

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

    def _word(self) -> None:
        match = _WORD.match(self._text, self._at)
        end = match.end() if match else self._at + 1
        word = self._text[self._at : end]
        self._check_terminated(end)
        kind = "keyword" if word in _KEYWORDS else "bool" if word in ("true", "false") else "identifier"
        self._emit(kind, end)

    def _check_terminated(self, end: int) -> None:
        if end < len(self._text) and self._text[end] not in _TERMINATORS and not self._text.startswith("}}", end):
            raise TemplateError(f"bad character {self._text[end]!r}", end)
