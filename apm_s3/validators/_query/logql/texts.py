"""Texts inside LogQL that have a syntax of their own: patterns, regular expressions, JSON paths and addresses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from apm_s3.validators._query.literals import source_offset
from apm_s3.validators._query.matchers import check_regex
from apm_s3.validators._query.nodes import StringLiteral
from apm_s3.validators._query.problems import QueryProblem

_NAMED_GROUP = re.compile(r"\(\?P?<([^>]*)>")
_CAPTURE = re.compile(r"<([a-zA-Z_]\w*)>", re.ASCII)
_TOUCHING = re.compile(r"<[a-zA-Z_]\w*><[a-zA-Z_]\w*>", re.ASCII)
_FIELD, _INDEX = r"[^\W\d]\w*+", r"\[\s*+(?:[0-9]++|\"(?:[^\"\\]|\\.)*+\")\s*+\]"
_JSON_PATH = re.compile(rf"\s*+(?:(?:{_FIELD}|{_INDEX})\s*+(?:\.\s*+{_FIELD}\s*+|{_INDEX}\s*+)*+)?", re.DOTALL)


def regexp_labels(value: StringLiteral, text: str) -> tuple[str, ...]:
    r"""Return the labels of `regexp "(?P<status>\\d+)"`.

    Raises:
        QueryProblem: the expression is not valid, none of its groups has a name, or two have the same name.
    """
    check_regex(value, text)
    return _labels(value, _NAMED_GROUP.findall(value.value), "regexp needs a named group, such as (?P<status>\\d+)")


def pattern_labels(value: StringLiteral) -> tuple[str, ...]:
    """Return the labels of `pattern "<ip> <_>"`.

    Raises:
        QueryProblem: two captures touch, none has a name, or two have the same name.
    """
    _check_distance(value)
    found = [label for label in _CAPTURE.findall(value.value) if label != "_"]
    return _labels(value, found, "pattern needs a named capture, such as <status>")


def check_wildcards(value: StringLiteral, text: str, op: str) -> None:
    """Check the pattern of `|>` or `!>`: https://github.com/grafana/loki/pull/12398.

    Raises:
        QueryProblem: two captures touch, or one has a name.
    """
    _check_distance(value)
    for match in _CAPTURE.finditer(value.value):
        if match[1] != "_":
            message = f"{op} sets no labels, so {match[0][:40]!r} cannot have a name; write <_>"
            raise QueryProblem(message, *_range(value, text, *match.span()))


def check_json_path(value: StringLiteral, text: str) -> None:
    """Check `request.headers["Agent"]` or `servers[0]` after `json label=`.

    A field outside brackets is a word: https://github.com/grafana/loki/issues/6716.

    Raises:
        QueryProblem: it is anything but fields, keys and indexes.
    """
    path = value.value
    match = _JSON_PATH.match(path)
    end = match.end() if match else 0
    if end < len(path) or not path.strip():
        found = repr(path[end]) if end < len(path) else "the end"
        message = f'unexpected {found} in the JSON path, expected fields and indexes such as a.b[0] or a["b"]'
        raise QueryProblem(message, *_range(value, text, end, end + 1))


def check_addresses(value: StringLiteral) -> None:
    """Check the address, range or network of `ip("10.0.0.0/8")`.

    Raises:
        QueryProblem: it is none of them, or its range ends before it starts.
    """
    try:
        _read_addresses(value.value)
    except ValueError:
        message = f"ip() needs an address, a range or a network, not {value.value[:40]!r}"
        raise QueryProblem(message, value.start, value.end, 'such as "10.0.0.0/8"') from None


def _read_addresses(text: str) -> None:
    first, dash, last = text.partition("-")
    if dash:
        start, end = ip_address(first.strip()), ip_address(last.strip())
        if start.version != end.version or int(start) > int(end):
            raise ValueError(text)
    elif "/" in text:
        if not re.fullmatch("[0-9]+", text.partition("/")[2]):
            # Python also takes a netmask; Go does not.
            raise ValueError(text)
        ip_network(text, strict=False)
    else:
        ip_address(text)


def _check_distance(value: StringLiteral) -> None:
    if _TOUCHING.search(value.value):
        raise QueryProblem("two captures of a pattern need text between them", value.start, value.end)


def _labels(value: StringLiteral, found: Sequence[str], missing: str) -> tuple[str, ...]:
    message = missing if not found else None
    if len(set(found)) < len(found):
        message = f"label {Counter(found).most_common(1)[0][0][:40]!r} is captured twice"
    if message:
        raise QueryProblem(message, value.start, value.end)
    return tuple(found)


def _range(value: StringLiteral, text: str, start: int, end: int) -> tuple[int, int]:
    """Return where the characters from `start` to `end` of a string are in the query `text`."""
    literal = text[value.start : value.end]
    first = value.start + source_offset(literal, start)
    return first, max(first + 1, value.start + source_offset(literal, end))
