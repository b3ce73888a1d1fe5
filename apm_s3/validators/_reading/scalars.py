"""Resolves the type of plain scalars, by the rules of Go's YAML libraries (yaml.v2's `resolve.go`).

Text that matches no rule is a string. There is no base 60. Timestamps stay text, as in Go's decoders.
"""

from __future__ import annotations

import base64
import binascii
import re

from apm_s3.validators._reading.nodes import Node

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
    """Decode a `!!binary` scalar; bytes that are not UTF-8 become lone surrogates.

    Raises:
        ValueError: not base64 with strict padding.
    """
    try:
        return base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True).decode("utf-8", "surrogateescape")
    except binascii.Error as exc:
        raise ValueError("invalid base64") from exc
