"""Reads JSON (RFC 8259) into nodes with positions.

The standard library's parser gives no positions, keeps the last of duplicate keys, recurses, and holds the interpreter
lock for a whole document; this one reads token by token.
"""

from __future__ import annotations

import re
from itertools import pairwise
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]

from apm_s3.reports import Issue, Severity
from apm_s3.validators._reading.nodes import (
    MAPPING,
    SCALAR,
    Document,
    Node,
    Steps,
    Trace,
    Unreadable,
    Written,
    check_depth,
    check_nodes,
    decode_text,
    mapping,
    position,
    render_steps,
    scalar,
    sequence,
)

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]*)(?:(?P<mark>[{}\[\],:])|(?P<quote>\")"
    r"|(?P<atom>true\b|false\b|null\b|-?(?:0|[1-9][0-9]{0,400})(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,6})?(?![\w.+-])))"
)
_PLAIN_STRING = re.compile(r'[^"\\\x00-\x1f]{0,65536}"')
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_END = re.compile(r"[ \t\r\n]*\Z")


def read_json(source: bytes | str, *, trace: Trace | None = None, last_wins: bool = False) -> Document:
    """Read the document in `source`; `trace` records the position of everything.

    With `last_wins`, a duplicate key is a warning and its last value wins, as in Go.

    Raises:
        Unreadable: not JSON, or over a limit.
    """
    text = decode_text(source)
    if _END.match(text):
        raise Unreadable("json-syntax", "the document is empty", 1, 1)
    return _JsonReader(text, trace, last_wins=last_wins).read()


class _JsonReader:
    def __init__(self, text: str, trace: Trace | None, *, last_wins: bool) -> None:
        self._text = text
        self._last_wins = last_wins
        self._trace = trace
        self._at = 0
        self._line = 1
        self._line_start = 0
        self._count = 0
        self._stack: list[tuple[Node, Node | None]] = []
        self._issues: list[Issue] = []

    def read(self) -> Document:
        root = self._value(self._token())
        while self._stack:
            self._step()
        if _END.match(self._text, self._at) is None:
            raise self._failure("text after the end of the document")
        return Document(root, self._issues)

    def _step(self) -> None:
        """Read one member of the innermost open collection, or its end."""
        node, _ = self._stack[-1]
        lexeme = self._token()
        closing = "}" if node.kind == MAPPING else "]"
        filled = bool(node.entries if node.kind == MAPPING else node.items)
        if lexeme == closing:
            if self._trace is not None:
                node.stop = self._at
                self._trace.collections.append((Written(self._steps(), node), True))
            self._stack.pop()
            return
        if filled:
            if lexeme != ",":
                raise self._unexpected(lexeme, f"expected ',' or '{closing}'")
            lexeme = self._token()
        if node.kind == MAPPING:
            self._member(node, lexeme)
        else:
            value = self._value(lexeme)
            node.items.append(value)

    def _member(self, node: Node, lexeme: str) -> None:
        if lexeme != '"':
            extra = ", and no comma before '}'" if lexeme == "}" else ""
            raise self._unexpected(lexeme, f"expected a key in double quotes{extra}")
        start, key = self._at - 1, self._string()
        if self._trace is not None:
            self._trace.add((*self._steps(), key.text), key, start, self._at, is_key=True)
        if self._token() != ":":
            raise self._failure("expected ':' after the key")
        value = self._value(self._token(), key)
        if key.text in node.entries:
            line = node.entries[key.text][0].line
            message = f"duplicate key {key.text[:80]!r}; it is first defined on line {line}"
            severity = Severity.WARNING if self._last_wins else Severity.ERROR
            self._issues.append(Issue(severity, self._path(key), key.line, key.column, "duplicate-key", message))
            if not self._last_wins:
                return
        node.entries[key.text] = (key, value)

    def _path(self, key: Node) -> str:
        return render_steps((*self._steps(), key.text))

    def _steps(self) -> Steps:
        """Return the steps to the innermost open collection."""
        return tuple(key.text if key else len(parent.items) - 1 for (parent, _), (_, key) in pairwise(self._stack))

    def _value(self, lexeme: str, key: Node | None = None) -> Node:
        start = self._at - len(lexeme)
        node = self._string() if lexeme == '"' else self._unquoted(lexeme, key)
        if self._trace is not None and node.kind == SCALAR:
            steps = self._steps()
            if self._stack:
                steps = (*steps, key.text if key else len(self._stack[-1][0].items))
            self._trace.add(steps, node, start, self._at, is_key=False)
        return node

    def _unquoted(self, lexeme: str, key: Node | None) -> Node:
        column = self._at - len(lexeme) - self._line_start + 1
        if lexeme in "{[":
            node = mapping(self._line, column) if lexeme == "{" else sequence(self._line, column)
            node.start = self._at - 1
            self._stack.append((node, key))
            check_depth(len(self._stack), self._line, column)
            return node
        if lexeme in "}],:":
            raise self._unexpected(lexeme, "expected a value")
        return scalar(lexeme, self._line, column, plain=True)

    def _string(self) -> Node:
        """Read the string whose opening quote was just read."""
        start = self._at
        node = scalar("", self._line, start - self._line_start, plain=False)
        if match := _PLAIN_STRING.match(self._text, start):
            self._at = match.end()
            node.text = self._text[start : self._at - 1]
            return node
        try:
            node.text, self._at = scanstring(self._text, start)
        except JSONDecodeError as exc:
            raise Unreadable("json-syntax", exc.msg[0].lower() + exc.msg[1:], *position(self._text, exc.pos)) from exc
        # Go also replaces half of a surrogate pair.
        node.text = _LONE_SURROGATE.sub("\ufffd", node.text)
        return node

    def _token(self) -> str:
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            raise self._failure(
                "unexpected end of the document" if _END.match(self._text, self._at) else "expected a JSON value"
            )
        space = match["space"]
        if "\n" in space:
            self._line += space.count("\n")
            self._line_start = self._at + space.rindex("\n") + 1
        self._at = match.end()
        self._count += 1
        check_nodes(self._count // 2, self._line, self._at - self._line_start)
        return match["mark"] or match["quote"] or match["atom"]

    def _unexpected(self, lexeme: str, message: str) -> Unreadable:
        self._at -= len(lexeme)
        return self._failure(message)

    def _failure(self, message: str) -> Unreadable:
        space = re.compile(r"[ \t\r\n]*").match(self._text, self._at)
        return Unreadable("json-syntax", message, *position(self._text, space.end() if space else self._at))
