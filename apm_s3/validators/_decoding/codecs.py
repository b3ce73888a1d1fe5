"""Codecs of the basic Go types: strings, booleans, numbers, lists, maps and `any`."""

from __future__ import annotations

import sys
from typing import Any

from apm_s3.validators._checking.context import Context
from apm_s3.validators._decoding.struct import INVALID, Codec, Mismatch, Parser
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Node, Path
from apm_s3.validators._reading.scalars import NULLS, decode_binary, is_null, resolve, resolve_plain

_SHAPES = {SCALAR: "a scalar", SEQUENCE: "a list", MAPPING: "a mapping"}
_V3_BOOLS = {**dict.fromkeys(("y", "Y", "yes", "on"), True), **dict.fromkeys(("n", "N", "no", "off"), False)}
_V2_NULLS = frozenset(("", "~", "null"))
_INTEGERS = {
    "int": (-(2**63), 2**63 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint": (0, 2**64 - 1),
    "uint64": (0, 2**64 - 1),
    "uint32": (0, 2**32 - 1),
    "uint16": (0, 2**16 - 1),
}


def wrong_type(node: Node, path: Path, context: Context, expected: str, hint: str | None = None) -> Any:
    """Report that `node` is not what was `expected`, and return INVALID."""
    found = _SHAPES[node.kind]
    if node.kind == SCALAR:
        found = "null" if is_null(node) else "text" if not node.plain else f"{_kind_of(node)}"
    context.error(node, path, "wrong-type", f"expected {expected}, found {found}", hint)
    return INVALID


def _kind_of(node: Node) -> str:
    value = resolve(node)
    return {bool: "a boolean", int: "a whole number", float: "a number"}.get(type(value), "text")


def decode_string(node: Node, path: Path, context: Context) -> Any:
    """Return the raw text of any scalar, `""` for null."""
    if node.kind != SCALAR:
        return wrong_type(node, path, context, "text")
    if node.tag is not None:
        return _tagged_string(node, path, context)
    return "" if node.plain and is_null(node) else node.text


def _tagged_string(node: Node, path: Path, context: Context) -> Any:
    try:
        if node.tag == "!!binary":
            return decode_binary(node.text)
        return "" if resolve(node) is None else node.text
    except ValueError as exc:
        context.error(node, path, "yaml-tag", f"the value {exc}" if node.tag != "!!binary" else f"!!binary: {exc}")
        return INVALID


def decode_bool(node: Node, path: Path, context: Context) -> Any:
    """Decode true, false, and yaml.v2's yes, no, on, off, y, n; quoted values are text."""
    value = _resolved(node, path, context)
    if value is None:
        return False
    return value if isinstance(value, bool) else wrong_type(node, path, context, "true or false")


def decode_bool_v3(node: Node, path: Path, context: Context) -> Any:
    """Decode as yaml.v3 does: true and false, and some old words even in quotes."""
    if node.kind == SCALAR and node.text in _V3_BOOLS and node.tag is None:
        return _V3_BOOLS[node.text]
    return decode_bool(node, path, context)


def integer_codec(kind: str) -> Codec:
    """Return a codec for integers in the range of `kind`; floats are truncated, as in Go."""
    low, high = _INTEGERS[kind]

    def decode(node: Node, path: Path, context: Context) -> Any:
        value = _resolved(node, path, context)
        if value is None:
            return 0
        if isinstance(value, float) and value == value and abs(value) < 2**64:  # noqa: PLR0124 - a NaN is not itself
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            return wrong_type(node, path, context, "a whole number")
        if not low <= value <= high:
            context.error(node, path, "out-of-range", f"expected a whole number from {low} to {high}")
            return INVALID
        return value

    return decode


def decode_float(node: Node, path: Path, context: Context) -> Any:
    """Decode any number."""
    value = _resolved(node, path, context)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return wrong_type(node, path, context, "a number")
    return float(value) if abs(value) < sys.float_info.max else value


def decode_any(node: Node, path: Path, context: Context) -> Any:
    """Return plain data of any type."""
    if node.kind == SCALAR:
        return _resolved(node, path, context)
    if node.kind == MAPPING:
        return {name: decode_any(value, (path, name), context) for name, (_, value) in node.entries.items()}
    return [decode_any(item, (path, index), context) for index, item in enumerate(node.items)]


def _resolved(node: Node, path: Path, context: Context) -> Any:
    """Return the value of a scalar; for anything else the node itself, which no type accepts."""
    if node.kind != SCALAR:
        return node
    try:
        return resolve(node)
    except ValueError as exc:
        context.error(node, path, "yaml-tag", f"the value {exc}")
        return node


def scalar_codec(parse: Parser, *, yaml: int = 2) -> Codec:
    """Return a codec for a named scalar: the parsed text of any scalar; None for null.

    yaml.v2 passes `Null` and `NULL` to the parser as an empty text: there, only `null`, `~` and nothing are null.
    """
    nulls = _V2_NULLS if yaml == 2 else NULLS

    def decode(node: Node, path: Path, context: Context) -> Any:
        if node.kind == SCALAR and node.text in nulls and (node.tag is None and node.plain):
            return None
        if node.kind == SCALAR and node.tag == "!!null" and node.text in NULLS:
            return None
        text = decode_string(node, path, context)
        if text is INVALID:
            return INVALID
        try:
            return parse(text)
        except Mismatch as exc:
            report_mismatch(exc, node, path, context)
            return INVALID

    return decode


def report_mismatch(mismatch: Mismatch, node: Node, path: Path, context: Context) -> None:
    """Report that the text of `node` does not match its type."""
    hint = mismatch.hint or (context.hint(node.text, mismatch.allowed) if mismatch.allowed else None)
    if mismatch.offset is None:
        context.error(node, path, mismatch.rule, mismatch.message, hint)
    else:
        context.add(context.issue_inside(node, path, mismatch.offset, mismatch.rule, mismatch.message, hint))


def nanoseconds_codec(duration: Codec) -> Codec:
    """Return a codec for a Go duration as in yaml.v2: a text for `duration`, or a number of nanoseconds."""

    def decode(node: Node, path: Path, context: Context) -> Any:
        value = resolve_plain(node.text) if node.kind == SCALAR and node.plain else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**63:
            return duration(node, path, context)
        if value:
            message = f"a number without a unit means nanoseconds: {node.text[:40]} is {int(value) / 10**9:g}s"
            context.warn(node, path, "nanoseconds", message, "write a unit, such as 30s")
        return int(value)

    return decode


def list_codec(item: Codec) -> Codec:
    """Return a codec for a list of `item`; None for null."""

    def decode(node: Node, path: Path, context: Context) -> Any:
        if node.kind != SEQUENCE:
            if node.kind == SCALAR and is_null(node):
                return None
            hint = "begin each item with '- '" if node.kind == MAPPING else "put a single value in brackets: [...]"
            return wrong_type(node, path, context, "a list", hint)
        return [item(child, (path, index), context) for index, child in enumerate(node.items)]

    return decode


def map_codec(value: Codec, *, yaml: int) -> Codec:
    """Return a codec for a mapping of text to `value`; None for null. yaml.v2 reads null keys as "", v3 omits them."""

    def decode(node: Node, path: Path, context: Context) -> Any:
        if node.kind != MAPPING:
            if node.kind == SCALAR and is_null(node):
                return None
            return wrong_type(node, path, context, "a mapping")
        for shadowed, _ in node.shadowed:
            message = f"key {shadowed.text[:80]!r} is given twice, by a merge key; Go's yaml.v2 allows that in no map"
            context.error(shadowed, (path, shadowed.text), "duplicate-key", message)
        return {
            "" if is_null(key) else name: value(child, (path, name), context)
            for name, (key, child) in node.entries.items()
            if yaml == 2 or not is_null(key)
        }

    return decode
