"""Documents of any format: converted to nodes, to plain data, and from plain data to nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
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
    Trace,
    Unreadable,
    check_encodable,
    check_nodes,
    mapping,
    resolve,
    scalar,
    sequence,
)
from apm_s3.validators._reading.yaml_reader import GoYaml, read_yaml

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
    # Most documents are YAML: the other readers are imported only when needed.
    if format == "json":
        from apm_s3.validators._reading.json_reader import read_json  # noqa: PLC0415

        return read_json(raw, trace=trace, last_wins=last_wins)
    if format == "ini":
        from apm_s3.validators._reading.ini_reader import read_ini  # noqa: PLC0415

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
