"""The tree that every reader makes of a document, with positions: scalars, mappings, lists.

It walks through the text and its source together. If they disagree, it returns no position, so that unknown styles cost
precision but never give a wrong position.

The readers fill a `Trace` while they build nodes, so that there is no second reader that could disagree about keys and
values.

Text that matches no rule is a string. There is no base 60. Timestamps stay text, as in Go's decoders.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from apm_s3.reports import Issue, Rule, Severity

_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_PROPERTIES = re.compile(r"(?:[!&][^\s]*[ \t\r\n]+)*")
_BLANKS = re.compile(r"[ \t]+")
_FOLD = re.compile(r"[ \t]*(?:\r\n|[\n\r\x85\u2028\u2029])(?:[ \t]*(?:\r\n|[\n\r\x85\u2028\u2029]))*[ \t]*")
_JOIN = re.compile(r"\\(?:\r\n|[\n\r\x85\u2028\u2029])[ \t]*(?:(?:\r\n|[\n\r\x85\u2028\u2029])[ \t]*)*")
_ESCAPE = re.compile(
    r"\\(?:x[0-9a-fA-F]{2}|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)"
)
_HEADER = re.compile(r"[|>](?:[+-]?([1-9])?[+-]?)[ \t]*(?:#[^\r\n]*)?(?:\r\n|[\n\r\x85\u2028\u2029])")


class Positions:
    """The lines of a source, counted once, on first use."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._starts: list[int] = []

    def in_scalar(self, line: int, column: int, text: str, offset: int) -> tuple[int, int] | None:
        """Return line and column, from 1, of `text[offset]`, for a scalar that begins at `line` and `column`.

        None if they cannot be determined.
        """
        source = self._source
        if not self._starts:
            self._starts = [0, *(found.end() for found in _BREAK.finditer(source))]
        if not 0 < line <= len(self._starts):
            return None
        first = self._starts[line - 1]
        match = _PROPERTIES.match(source, first + column - 1)
        start = match.end() if match else first
        style = source[start : start + 1]
        if style in ("|", ">"):
            at = _in_block(source, first, start, text, offset)
        elif style in ('"', "'"):
            at = _in_flow(source, start + 1, text, offset, style)
        else:
            at = _in_flow(source, start, text, offset, "")
        if at is None:
            return None
        row = bisect_right(self._starts, at)
        return row, at - self._starts[row - 1] + 1


def _in_flow(source: str, at: int, text: str, offset: int, quote: str) -> int | None:
    """Find the position in a plain or quoted scalar."""
    done, unfolded = 0, at
    while done <= offset:
        written, length = _flow_piece(source, at, quote, text[done : done + 1], folds=at >= unfolded)
        if at >= unfolded and length == 1 and (blanks := _BLANKS.match(source, at)):
            # Without a line break behind them, none of them begins a fold: a long run is searched once.
            unfolded = blanks.end()
        if written is None or text[done : done + len(written)] != written:
            return at if done == offset else None
        # The characters of a fold are at the end of the line.
        if done + len(written) > offset and length:
            return at
        done += len(written)
        at += length
        if not length:
            return at if done == offset else None
    return None


def _flow_piece(source: str, at: int, quote: str, expected: str, *, folds: bool) -> tuple[str | None, int]:
    """Return the text at `at`, and its length in the source."""
    char = source[at : at + 1]
    if not char:
        return None, 0
    if quote == "'" and char == "'":
        return ("'", 2) if source[at + 1 : at + 2] == "'" else (None, 0)
    if quote == '"' and char == '"':
        return None, 0
    if quote == '"' and char == "\\":
        joined = _JOIN.match(source, at)
        escape = joined or _ESCAPE.match(source, at)
        return ("", joined.end() - at) if joined else (expected, escape.end() - at if escape else 1)
    if folds and char in " \t\r\n\x85\u2028\u2029" and (fold := _FOLD.match(source, at)):
        breaks = len(_BREAK.findall(fold[0]))
        return ("\n" * (breaks - 1) if breaks > 1 else " ", len(fold[0]))
    return char, 1


def _in_block(source: str, first: int, start: int, text: str, offset: int) -> int | None:
    header = _HEADER.match(source, start)
    if header is None:
        return None
    at, done, indent = header.end(), 0, None
    folded = source[start] == ">"
    while done <= offset and at < len(source):
        found = _BREAK.search(source, at)
        end = found.start() if found else len(source)
        line = source[at:end]
        if line.strip(" \t") or (indent is not None and len(line) > indent):
            if indent is None:
                indent = _block_indent(source[first:start], header[1], line)
            content = line[indent:]
            # Two lines are joined by a space or line breaks; the text shows how many.
            while folded and not text.startswith(content, done) and text[done : done + 1] in (" ", "\n"):
                done += 1
            if not text.startswith(content, done):
                return None
            if done <= offset <= done + len(content):
                return at + indent + offset - done
            done += len(content)
            if not folded:
                done += 1
        elif not folded:
            done += 1
        at = found.end() if found else len(source)
    return None


def _block_indent(before: str, explicit: str | None, line: str) -> int:
    """Return the indentation of a block whose first line is `line`; `before` precedes its header on the same line."""
    own = len(line) - len(line.lstrip(" "))
    if explicit is None:
        return own
    # An explicit indicator is relative to the parent, whose indentation is that of the line with the key.
    return min(own, len(before) - len(before.lstrip(" -")) + int(explicit))


Steps = tuple[str | int, ...]
"""The keys and indexes of a value, outermost first."""


class Written(NamedTuple):
    """A value or key, and its steps. Its node has `start` and `stop`, offsets in the text."""

    steps: Steps
    node: Node


class Trace:
    """The contents of a text as written: merge keys are keys named `<<`, and duplicate keys appear twice.

    Attributes:
        tolerant: whether the reader continues where the tool would stop: after the first document, and after another
            YAML version, an undefined alias or an invalid INI line. It raises the same errors, but later.
        scalars: all scalar values, in the order of the text, without aliases.
        keys: all keys, and headers of INI sections; their steps end with the key itself.
        collections: all complete mappings and sequences, and whether they are in brackets or braces.
        repeated: the scalars that an alias repeats, with the steps of the alias and the position of the anchor.
        unknown: aliases without an anchor, which may be values that should have been quoted.
    """

    def __init__(self, *, tolerant: bool = False) -> None:
        self.tolerant = tolerant
        self.scalars: list[Written] = []
        self.keys: list[Written] = []
        self.collections: list[tuple[Written, bool]] = []
        self.repeated: list[Written] = []
        self.unknown: list[Written] = []

    def add(self, steps: Steps, node: Node, start: int, stop: int, *, is_key: bool) -> None:
        """Record a scalar of the text."""
        node.start, node.stop = start, stop
        (self.keys if is_key else self.scalars).append(Written(steps, node))

    def repeat(self, steps: Steps, node: Node) -> None:
        """Record what an alias at `steps` repeats."""
        self.repeated += (Written((*steps, *inner), each) for inner, each in scalars_below(node))


def scalars_below(node: Node, steps: Steps = ()) -> Iterator[Written]:
    """Yield the scalars of a tree of nodes, with their steps."""
    if node.kind == SCALAR:
        yield Written(steps, node)
    elif node.kind == MAPPING:
        for name, (_, value) in node.entries.items():
            yield from scalars_below(value, (*steps, name))
    else:
        for index, item in enumerate(node.items):
            yield from scalars_below(item, (*steps, index))


MAX_BYTES = 16 * 1024**2
"""Far larger than any real configuration file; larger files are refused before they are read."""
MAX_SHOWN = 80
"""Maximum number of characters of a name in a path."""
MAX_DEPTH = 200
"""Deep enough for real documents, and shallow enough for recursion over the tree."""
MAX_NODES = 500_000
MAX_EXPANSION = 100_000
"""Maximum number of nodes that aliases and merge keys may add."""

SCALAR, SEQUENCE, MAPPING = 0, 1, 2

Entry = tuple["Node", "Node"]
"""A key of a mapping and its value."""


class Node:
    """One value of a document. A sequence has `items`, a mapping has `entries` by the text of their keys.

    `text` is the raw text of a scalar after unescaping. `plain` is true for a scalar without quotes and tag, whose type
    depends on its text. `tag` is an explicit tag. `line` and `column` count from 1; 0 means that the source had no
    lines. `shadowed` are the entries of a mapping that were replaced by merge keys. `start` and `stop` are the offsets
    of the value, including quotes, tag and anchor; only readers with a `Trace` set them.
    """

    __slots__ = ("column", "entries", "items", "kind", "line", "plain", "shadowed", "start", "stop", "tag", "text")

    kind: int
    text: str
    plain: bool
    tag: str | None
    items: list[Node]
    entries: dict[str, Entry]
    shadowed: list[Entry] | tuple[()]
    line: int
    column: int
    start: int
    stop: int

    def __repr__(self) -> str:
        # Never show the text: it may be a secret.
        return f"<{('scalar', 'sequence', 'mapping')[self.kind]} at {self.line}:{self.column}>"


def scalar(text: str, line: int, column: int, plain: bool, tag: str | None = None) -> Node:
    """Create a scalar node."""
    node = Node()
    node.kind = SCALAR
    node.text = text
    node.plain = plain
    node.tag = tag
    node.line = line
    node.column = column
    return node


def sequence(line: int, column: int, tag: str | None = None) -> Node:
    """Create an empty sequence node."""
    node = Node()
    node.kind = SEQUENCE
    node.items = []
    node.tag = tag
    node.line = line
    node.column = column
    return node


def mapping(line: int, column: int, tag: str | None = None) -> Node:
    """Create an empty mapping node."""
    node = Node()
    node.kind = MAPPING
    node.entries = {}
    node.shadowed = ()
    node.tag = tag
    node.line = line
    node.column = column
    return node


Path = tuple["Path | None", "str | int"] | None
"""The path of a value: (path of the parent, key or index); None is the document. Rendered only for reports."""


def steps_of(path: Path) -> list[str | int]:
    """Return the keys and indexes of `path`, outermost first."""
    steps: list[str | int] = []
    while path is not None:
        path, step = path
        steps.append(step)
    return steps[::-1]


def render_path(path: Path) -> str:
    """Format as `scrape_configs[2].job_name`; keys that are not words are quoted: `labels["a.b"]`."""
    return render_steps(steps_of(path))


def render_steps(steps: Iterable[str | int]) -> str:
    """Format keys and indexes, outermost first, as `render_path` does."""
    return "".join(map(render_step, steps)).removeprefix(".")


def render_step(step: str | int) -> str:
    """Format one key or index as part of a path: `.job_name`, `[2]`, `["a.b"]`."""
    if isinstance(step, int):
        return f"[{step}]"
    if len(step) <= MAX_SHOWN and step.replace("_", "").replace("-", "").isalnum():
        return f".{step}"
    return f"[{json.dumps(step[:MAX_SHOWN], ensure_ascii=False)}]"


class Unreadable(Exception):
    """The text is not a document of its format, or is over a limit. Never leaves the validators."""

    def __init__(self, rule: Rule, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.line = line
        self.column = column


class Document:
    """The result of a reader: the root (None for an empty document) and the issues found."""

    __slots__ = ("issues", "root")

    def __init__(self, root: Node | None, issues: Iterable[Issue] = ()) -> None:
        self.root = root
        self.issues = list(issues)


def problem(severity: Severity, path: Path, node: Node, rule: Rule, message: str, hint: str | None = None) -> Issue:
    """Create an issue at `node`."""
    return Issue(severity, render_path(path), node.line or None, node.column or None, rule, message, hint)


def check_depth(depth: int, line: int, column: int) -> None:
    """Raise `Unreadable` if `depth` is over the limit."""
    if depth > MAX_DEPTH:
        raise Unreadable("too-deep", f"nested deeper than {MAX_DEPTH} levels", line, column)


def check_nodes(count: int, line: int, column: int) -> None:
    """Raise `Unreadable` if `count` values are over the limit."""
    if count > MAX_NODES:
        raise Unreadable("too-many-values", f"more than {MAX_NODES} values in one document", line, column)


def decode_text(source: bytes | str) -> str:
    """Decode `source`: UTF-8, or UTF-16 with a byte order mark, of at most `MAX_BYTES` and without NUL bytes.

    Raises:
        Unreadable: with the line and column of the first invalid byte.
    """
    if len(source) > MAX_BYTES:
        raise Unreadable("too-large", f"{len(source)} bytes; the limit for one file is {MAX_BYTES // 1024**2} MiB")
    text = _decode(source) if isinstance(source, bytes) else source
    if (at := text.find("\0")) >= 0:
        raise Unreadable("nul-byte", "NUL bytes are not allowed; is this a binary file?", *position(text, at))
    if isinstance(source, str):
        check_encodable(text)
    return text.removeprefix("\ufeff")


def position(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, from 1, of `offset` in `text`."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _decode(source: bytes) -> str:
    encoding = "utf-16" if source.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    try:
        return source.decode(encoding)
    except UnicodeDecodeError as exc:
        before = source[: exc.start].decode(encoding, "replace")
        message = f"invalid {encoding.upper()}: byte 0x{source[exc.start]:02x}"
        raise Unreadable("invalid-utf8", message, *position(before, len(before))) from exc


def check_encodable(text: str) -> None:
    """Check that the text can be encoded as UTF-8 and is not too large.

    Raises:
        Unreadable: it cannot be encoded, or is too large.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise Unreadable(
            "invalid-utf8", "a lone surrogate cannot be written as UTF-8", *position(text, exc.start)
        ) from exc
    if size > MAX_BYTES:
        raise Unreadable("too-large", f"{size} bytes; the limit for one file is {MAX_BYTES // 1024**2} MiB")


Value = str | bool | int | float | None

NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLS = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_SPECIAL: dict[str, float] = {
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_NUMBER_START = frozenset("+-0123456789.")
_INTEGER = re.compile(
    r"[+-]?(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)|0[oO]?(?P<oct>[0-7]+)|(?P<dec>0|[1-9][0-9]*))"
)
_FLOAT = re.compile(r"[-+]?(?:[0-9]*\.?[0-9]+|[0-9]+\.?)(?:[eE][-+]?[0-9]+)?")
_BASES = {"hex": 16, "bin": 2, "oct": 8, "dec": 10}
_LONGEST_NUMBER = 400


def is_null(node: Node) -> bool:
    """Return whether the scalar `node` is null."""
    return (node.plain and node.text in NULLS) or node.tag == "!!null"


def resolve(node: Node) -> Value:
    """Return the value of a scalar node, by its text and tag.

    Raises:
        ValueError: the text does not match an explicit tag.
    """
    if node.tag is not None:
        return _resolve_tagged(node.tag, node.text)
    return resolve_plain(node.text) if node.plain else node.text


def resolve_plain(text: str) -> Value:
    """Return the value of the plain scalar `text`."""
    if text in NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text in _SPECIAL:
        return _SPECIAL[text]
    if text[0] in _NUMBER_START and len(text) <= _LONGEST_NUMBER:
        number = _number(text.replace("_", ""))
        if number is not None:
            return number
    return text


def _number(text: str) -> int | float | None:
    match = _INTEGER.fullmatch(text)
    if match and match.lastgroup:
        digits = match[match.lastgroup]
        value = int(digits, _BASES[match.lastgroup])
        value = -value if text[0] == "-" else value
        if -(2**63) <= value < 2**64:
            return value
    if _FLOAT.fullmatch(text):
        return float(text)
    return None


def _resolve_tagged(tag: str, text: str) -> Value:
    if tag == "!!binary":
        return decode_binary(text)
    if tag not in ("!!int", "!!float", "!!bool", "!!null"):
        return text
    value = resolve_plain(text)
    fits = {
        "!!int": isinstance(value, int) and not isinstance(value, bool),
        "!!float": isinstance(value, int | float) and not isinstance(value, bool),
        "!!bool": isinstance(value, bool),
        "!!null": value is None,
    }
    if not fits[tag]:
        raise ValueError(f"cannot be read as {tag}")
    return float(value) if tag == "!!float" and isinstance(value, int) else value


def decode_binary(text: str) -> str:
    """Decode a `!!binary` scalar, with bytes that are not UTF-8 as lone surrogates, or raise `ValueError`."""
    try:
        return base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True).decode("utf-8", "surrogateescape")
    except binascii.Error as exc:
        raise ValueError("invalid base64") from exc
