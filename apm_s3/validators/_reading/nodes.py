"""The tree that every reader builds, with raw text and positions, and the limits of all readers."""

from __future__ import annotations

import json
from collections.abc import Iterable

from apm_s3.reports import Issue, Severity

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

    def __init__(self, rule: str, message: str, line: int | None = None, column: int | None = None) -> None:
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


def problem(severity: Severity, path: Path, node: Node, rule: str, message: str, hint: str | None = None) -> Issue:
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
