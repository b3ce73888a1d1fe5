"""The tree that every reader builds: raw text with the place of each value. And the budgets of all readers."""

from __future__ import annotations

import json
from collections.abc import Iterable

from apm_s3.reports import Issue, Severity

MAX_BYTES = 16 * 1024**2
"""No configuration file of these tools is near it; a 50 MB one is refused unread."""
MAX_SHOWN = 80
"""Characters of a name that a path shows."""
MAX_DEPTH = 200
"""Deep enough for any real document, shallow enough for recursion over the tree."""
MAX_NODES = 500_000
MAX_EXPANSION = 100_000
"""Nodes that aliases and merge keys may add to those written out."""

SCALAR, SEQUENCE, MAPPING = 0, 1, 2

Entry = tuple["Node", "Node"]
"""The key of a mapping and its value."""


class Node:
    """One value of a document. A sequence has `items`, a mapping has `entries` by the text of their keys.

    `text` is the raw text of a scalar after unescaping. `plain` is true for a scalar that was written without quotes
    and without a tag, whose type its text decides. `tag` is an explicit tag. `line` and `column` count from 1; 0
    means that the source had no lines. `shadowed` are the entries of a mapping that merge keys put others in place of.
    `start` and `stop` say where the value is written, quotes, tag and anchor included; only readers that keep a
    `Trace` set them.
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
        # Never the text: it may be a secret.
        return f"<{('scalar', 'sequence', 'mapping')[self.kind]} at {self.line}:{self.column}>"


def scalar(text: str, line: int, column: int, plain: bool, tag: str | None = None) -> Node:
    """A scalar node."""
    node = Node()
    node.kind = SCALAR
    node.text = text
    node.plain = plain
    node.tag = tag
    node.line = line
    node.column = column
    return node


def sequence(line: int, column: int, tag: str | None = None) -> Node:
    """An empty sequence node."""
    node = Node()
    node.kind = SEQUENCE
    node.items = []
    node.tag = tag
    node.line = line
    node.column = column
    return node


def mapping(line: int, column: int, tag: str | None = None) -> Node:
    """An empty mapping node."""
    node = Node()
    node.kind = MAPPING
    node.entries = {}
    node.shadowed = ()
    node.tag = tag
    node.line = line
    node.column = column
    return node


Path = tuple["Path | None", "str | int"] | None
"""Where a value is: (path of the parent, key or index); None is the document. Rendered only for a problem."""


def steps_of(path: Path) -> list[str | int]:
    """The keys and indexes of `path`, the outermost first."""
    steps: list[str | int] = []
    while path is not None:
        path, step = path
        steps.append(step)
    return steps[::-1]


def render_path(path: Path) -> str:
    """`scrape_configs[2].job_name`; keys that are not words are quoted: `labels["a.b"]`."""
    return render_steps(steps_of(path))


def render_steps(steps: Iterable[str | int]) -> str:
    """The same of keys and indexes, the outermost first."""
    return "".join(map(render_step, steps)).removeprefix(".")


def render_step(step: str | int) -> str:
    """One key or index as a part of a path: `.job_name`, `[2]`, `["a.b"]`."""
    if isinstance(step, int):
        return f"[{step}]"
    if len(step) <= MAX_SHOWN and step.replace("_", "").replace("-", "").isalnum():
        return f".{step}"
    return f"[{json.dumps(step[:MAX_SHOWN], ensure_ascii=False)}]"


class Unreadable(Exception):
    """The text is not a document of its format, or is beyond a budget. Never leaves the validators."""

    def __init__(self, rule: str, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.line = line
        self.column = column


class Document:
    """What a reader made of a text: the root (None for an empty document) and the problems met on the way."""

    __slots__ = ("issues", "root")

    def __init__(self, root: Node | None, issues: Iterable[Issue] = ()) -> None:
        self.root = root
        self.issues = list(issues)


def problem(severity: Severity, path: Path, node: Node, rule: str, message: str, hint: str | None = None) -> Issue:
    """An issue at `node`."""
    return Issue(severity, render_path(path), node.line or None, node.column or None, rule, message, hint)


def check_depth(depth: int, line: int, column: int) -> None:
    """Raise `Unreadable` where `depth` levels are beyond the budget."""
    if depth > MAX_DEPTH:
        raise Unreadable("too-deep", f"nested deeper than {MAX_DEPTH} levels", line, column)


def check_nodes(count: int, line: int, column: int) -> None:
    """Raise `Unreadable` where `count` values are beyond the budget."""
    if count > MAX_NODES:
        raise Unreadable("too-many-values", f"more than {MAX_NODES} values in one document", line, column)


def decode_text(source: bytes | str) -> str:
    """The text of `source`: UTF-8, or UTF-16 with its byte order mark, of at most `MAX_BYTES` and without NUL.

    Raises:
        Unreadable: with the line and column of the first byte that does not fit.
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
    """Line and column, from 1, of `offset` in `text`."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _decode(source: bytes) -> str:
    encoding = "utf-16" if source.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    try:
        return source.decode(encoding)
    except UnicodeDecodeError as exc:
        before = source[: exc.start].decode(encoding, "replace")
        message = f"not valid {encoding.upper()}: byte 0x{source[exc.start]:02x}"
        raise Unreadable("invalid-utf8", message, *position(before, len(before))) from exc


def check_encodable(text: str) -> None:
    """Refuse what cannot be written as UTF-8, or is too large then.

    Raises:
        Unreadable: so it is.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise Unreadable(
            "invalid-utf8", "a lone surrogate cannot be written as UTF-8", *position(text, exc.start)
        ) from exc
    if size > MAX_BYTES:
        raise Unreadable("too-large", f"{size} bytes; the limit for one file is {MAX_BYTES // 1024**2} MiB")
