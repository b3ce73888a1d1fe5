"""Documents of any format: read as nodes, as plain data, and from plain data.

JSON (RFC 8259): the standard library's parser gives no positions, keeps the last of duplicate keys, recurses, and
holds the interpreter lock for a whole document; this one reads token by token.

INI as go-ini, Grafana's reader, reads it (https://ini.unknwon.io/docs): `[section]` lines, `key = value` and `key:
value`, comments with `#` or `;` (also after a value), multi-line values in back quotes or triple double quotes, and
continuation lines with a `\\` at the end. Keys before the first section belong to `DEFAULT`. If a key is repeated,
the last one wins, with a warning.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Literal

from apm_s3.errors import ConfigInvalid, InvalidOption
from apm_s3.reports import Issue, Severity, ValidationReport
from apm_s3.validators._reading.nodes import (
    MAPPING,
    MAX_DEPTH,
    SCALAR,
    SEQUENCE,
    Document,
    Node,
    Steps,
    Trace,
    Unreadable,
    Written,
    check_depth,
    check_encodable,
    check_nodes,
    decode_text,
    mapping,
    position,
    render_path,
    render_steps,
    resolve,
    scalar,
    sequence,
)
from apm_s3.validators._reading.yaml_reader import GoYaml, read_yaml

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


DEFAULT_SECTION = "DEFAULT"


def read_ini(source: bytes | str, *, trace: Trace | None = None) -> Document:
    """Read the sections of `source`: a mapping of mappings of scalars. `trace` records the position of everything.

    Raises:
        Unreadable: not INI, or over a limit.
    """
    return _IniReader(decode_text(source), trace).read()


class _IniReader:
    def __init__(self, text: str, trace: Trace | None) -> None:
        self._lines = text.split("\n")
        self._trace = trace
        self._at = 0
        self._start, self._end = 0, -1
        self._count = 0
        self._issues: list[Issue] = []
        self._root = mapping(1, 1)

    def read(self) -> Document:
        name, section = DEFAULT_SECTION, mapping(1, 1)
        failure: Unreadable | None = None
        while self._at < len(self._lines):
            raw = self._next_line()
            line = raw.strip()
            if not line or line[0] in "#;":
                continue
            try:
                if line[0] == "[":
                    name = self._section_name(line)
                    section = self._section(name, raw)
                else:
                    self._key(name, section, raw)
                    if name not in self._root.entries:
                        self._section(name, raw, section)
            except Unreadable as exc:
                if self._trace is None or not self._trace.tolerant:
                    raise
                failure = failure or exc
        if failure is not None:
            raise failure
        return Document(self._root, self._issues)

    def _next_line(self) -> str:
        line = self._lines[self._at]
        self._at += 1
        self._start, self._end = self._end + 1, self._end + 1 + len(line)
        return line

    def _section_name(self, line: str) -> str:
        end = line.rfind("]")
        if end < 0:
            raise Unreadable("ini-syntax", "the section name is not closed by ']'", self._at, 1)
        name = line[1:end].strip()
        if not name:
            raise Unreadable("ini-syntax", "a section needs a name", self._at, 1)
        return name

    def _section(self, name: str, raw: str, made: Node | None = None) -> Node:
        column = len(raw) - len(raw.lstrip()) + 1
        header = scalar(name, self._at, column, plain=False)
        if self._trace is not None and made is None:
            self._trace.add((name,), header, self._start, self._end, is_key=True)
        if name in self._root.entries:
            return self._root.entries[name][1]
        section = made or mapping(self._at, column)
        self._root.entries[name] = (header, section)
        return section

    def _key(self, name: str, section: Node, raw: str) -> None:
        line_number, column = self._at, len(raw) - len(raw.lstrip()) + 1
        key, rest = self._split(raw)
        self._count += 1
        check_nodes(self._count, line_number, column)
        key_node = scalar(key, line_number, column, plain=False)
        if self._trace is not None:
            self._trace.add((name, key), key_node, self._start + column - 1, self._end - len(rest), is_key=True)
        value = scalar("", line_number, column, plain=True)
        self._fill(value, (name, key), rest)
        if key in section.entries:
            message = f"key {key[:80]!r} is given twice; the last one wins"
            path = render_path(((None, name), key))
            self._issues.append(Issue(Severity.WARNING, path, line_number, column, "duplicate-key", message))
        section.entries[key] = (key_node, value)

    def _fill(self, value: Node, steps: Steps, rest: str) -> None:
        start = self._end - len(rest.lstrip())
        try:
            value.text, stop = self._value(rest)
        except Unreadable:
            # An unclosed value continues to the end of the text.
            value.text, stop = rest, self._end
            raise
        finally:
            if self._trace is not None:
                self._trace.add(steps, value, start, stop, is_key=False)

    def _split(self, raw: str) -> tuple[str, str]:
        """Split a line into the key and the text after the delimiter."""
        line = raw.strip()
        quote = '"""' if line.startswith('"""') else line[0] if line[0] in '"`' else ""
        start = len(quote)
        end = line.find(quote, start) if quote else 0
        if end < 0:
            raise Unreadable("ini-syntax", "the quoted key is not closed", self._at, 1)
        places = [place for mark in "=:" if (place := line.find(mark, end)) >= 0]
        if not places:
            raise Unreadable("ini-syntax", "expected 'key = value', '[section]' or a comment", self._at, 1)
        key = line[start:end] if quote else line[: min(places)].strip()
        if not key:
            raise Unreadable("ini-syntax", "a value needs a key", self._at, 1)
        return key, raw[len(raw) - len(raw.lstrip()) + min(places) + 1 :]

    def _value(self, rest: str) -> tuple[str, int]:
        """Return the value that begins in `rest`, the end of the current line, and the offset of the value's end."""
        text = rest.strip()
        start = self._end - len(rest.lstrip())
        for quote in ('"""', "`"):
            if text.startswith(quote):
                return self._quoted(text[len(quote) :], quote, start + len(quote))
        parts = [text]
        while parts[-1].endswith("\\") and self._at < len(self._lines):
            parts[-1] = parts[-1][:-1]
            parts.append(self._next_line().strip())
        text = "".join(parts)
        ends = [place for mark in "#;" if (place := text.find(mark)) >= 0]
        text = text[: min(ends)].strip() if ends else text
        # A multi-line value ends at the end of its last line, including the comment.
        line = self._lines[self._at - 1]
        stop = start + len(text) if len(parts) == 1 else self._end - len(line) + len(line.rstrip())
        if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
            return text[1:-1], stop
        return text, stop

    def _quoted(self, text: str, quote: str, start: int) -> tuple[str, int]:
        first, parts = self._at, [text]
        while (end := parts[-1].rfind(quote)) < 0:
            if self._at >= len(self._lines):
                raise Unreadable("ini-syntax", f"the value is not closed by {quote}", first, 1)
            parts.append(self._next_line())
            start = self._start
        parts[-1] = parts[-1][:end]
        return "\n".join(parts), start + end + len(quote)


Format = Literal["yaml", "json", "ini"]

_FORMATS: Mapping[str, Format] = {"yml": "yaml", "yaml": "yaml", "json": "json", "ini": "ini"}


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value with a tag that its data does not show, so that two documents which differ only in it do not look alike.

    Attributes:
        value: a mapping, a list, or the text of a scalar as it is written: `!!binary` may not be UTF-8.
    """

    tag: str
    value: Any

    def __repr__(self) -> str:
        # Never show the value: it may be a secret.
        return f"<tagged {type(self.value).__name__}>"


def parse_document(raw: bytes | str, format: Format, *, tagged: bool = False) -> Any:  # noqa: A002
    """Parse `raw` into plain data (dict, list, str, int, float, bool, None), within the limits of `nodes`.

    YAML scalars without a tag are typed as in Go's YAML library; keys are always strings. INI gives a dictionary of
    sections, each a dictionary of strings. An empty YAML document is None.

    Args:
        tagged: whether a value that plain data cannot show is a `Tagged` one, also a number that is not finite.

    Raises:
        ConfigInvalid: not a document of the format, a duplicate key, or over a limit.
        InvalidOption: unknown format.
    """
    try:
        document = read_document(raw, format)
    except Unreadable as exc:
        document = Document(None, [unreadable_issue(exc)])
    errors = tuple(issue for issue in document.issues if issue.severity is Severity.ERROR)
    if errors:
        report = ValidationReport("", format, None, errors)
        raise ConfigInvalid(f"invalid {format.upper()}: {errors[0]}", report=report)
    return _tagged_data(document.root) if tagged and format != "ini" else to_data(document.root, typed=format != "ini")


def format_of(name: str) -> Format | None:
    """Return the format of a file by the extension of its name; None for unstructured files."""
    return _FORMATS.get(name.rpartition(".")[2].lower()) if "." in name else None


def read_document(
    raw: bytes | str,
    format: Format,  # noqa: A002
    *,
    library: GoYaml = "v4",
    trace: Trace | None = None,
    last_wins: bool = False,
) -> Document:
    """Read `raw` into nodes; `library` is as in `read_yaml`, `last_wins` as in `read_json`.

    `trace` records the position of everything.

    Raises:
        Unreadable: not a document of the format, or over a limit.
        InvalidOption: unknown format.
    """
    if format == "yaml":
        return read_yaml(raw, library=library, trace=trace)
    if format == "json":
        return read_json(raw, trace=trace, last_wins=last_wins)
    if format == "ini":
        return read_ini(raw, trace=trace)
    raise InvalidOption(f"unknown format: {format!r}", hint="choose from yaml, json, ini")


def to_data(node: Node | None, *, typed: bool = True) -> Any:
    """Convert `node` to plain data; `typed` resolves plain scalars, otherwise they stay text."""
    if node is None:
        return None
    if node.kind == SCALAR:
        return _scalar_data(node) if typed else node.text
    if node.kind == MAPPING:
        return {name: to_data(value, typed=typed) for name, (_, value) in node.entries.items()}
    return [to_data(item, typed=typed) for item in node.items]


_SHOWN_TAGS = {SCALAR: ("!!str", "!!int", "!!float", "!!bool", "!!null"), MAPPING: ("!!map",), SEQUENCE: ("!!seq",)}
"""The tags that the data's own types show."""


def _tagged_data(node: Node | None) -> Any:
    """Convert `node` like `to_data`, with `Tagged` values."""
    if node is None:
        return None
    if node.kind == MAPPING:
        data: Any = {}
        for name, (key, value) in node.entries.items():
            each = _tagged_data(value)
            data[name] = each if key.tag in (None, *_SHOWN_TAGS[SCALAR]) else Tagged(f"key {key.tag}", each)
    elif node.kind == SEQUENCE:
        data = [_tagged_data(item) for item in node.items]
    else:
        return _tagged_scalar(node)
    return data if node.tag is None or node.tag in _SHOWN_TAGS[node.kind] else Tagged(node.tag, data)


def _tagged_scalar(node: Node) -> Any:
    tag = node.tag
    if tag is None or tag in _SHOWN_TAGS[SCALAR]:
        try:
            value = resolve(node)
        except ValueError:
            pass
        else:
            # JSON has no such numbers.
            return Tagged("!!float", node.text) if isinstance(value, float) and not math.isfinite(value) else value
    return Tagged(tag or "!!str", node.text)


def unreadable_issue(exc: Unreadable) -> Issue:
    """Return the issue for a text that could not be read."""
    return Issue(Severity.ERROR, "", exc.line, exc.column, exc.rule, exc.message)


def from_data(data: Any) -> Document:
    """Convert Python data to nodes, as if it had been serialized and read again, but without lines.

    Raises:
        Unreadable: a value that no format supports, or over a limit.
    """
    return Document(_Builder().build(data, 1))


def _scalar_data(node: Node) -> Any:
    try:
        return resolve(node)
    except ValueError:
        return node.text


class _Builder:
    def __init__(self) -> None:
        self._count = 0

    def build(self, data: Any, depth: int) -> Node:
        self._count += 1
        check_nodes(self._count, 0, 0)
        if depth > MAX_DEPTH:
            raise Unreadable("too-deep", f"nested deeper than {MAX_DEPTH} levels, or contains itself")
        if isinstance(data, Mapping):
            node = mapping(0, 0)
            for key, value in data.items():
                name = _plain_scalar(key)
                node.entries[name.text] = (name, self.build(value, depth + 1))
            return node
        if isinstance(data, list | tuple):
            node = sequence(0, 0)
            node.items = [self.build(item, depth + 1) for item in data]
            return node
        return _plain_scalar(data)


def _plain_scalar(value: Any) -> Node:
    if isinstance(value, str):
        check_encodable(value)
        return scalar(value, 0, 0, plain=False)
    if value is None or isinstance(value, bool):
        return scalar({None: "null", True: "true", False: "false"}[value], 0, 0, plain=True)
    if isinstance(value, int):
        return scalar(_integer(value), 0, 0, plain=True)
    if isinstance(value, float):
        text = repr(value)
        return scalar({"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(text, text), 0, 0, plain=True)
    if isinstance(value, datetime | date):
        return scalar(value.isoformat(), 0, 0, plain=True)
    raise Unreadable("unsupported-type", f"a {type(value).__name__} cannot be written to a configuration file")


def _integer(value: int) -> str:
    if value.bit_length() > 1024:
        raise Unreadable("unsupported-type", "integers of more than 1024 bits are not supported")
    return str(int(value))
