"""Shared contents, parsed once; each caller gets a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from apm_s3.validators import parse_document

Format = Literal["yaml", "json", "ini"]

PARSED_FACTOR = 12
"""The size of a parsed document, as a multiple of its bytes. Measured with tracemalloc on CPython 3.11: 3 to 5 for the
files in `examples/`, 8 for large groups of rules, 11 for a dashboard in compact JSON."""


class Content:
    """The plain bytes of a file, and the parsed content.

    Args:
        grow: called with the additional bytes that this needs, in the thread that parses.

    Attributes:
        files: the fields of the files with this content, which keep it alive.
    """

    __slots__ = ("_grow", "_parsed", "files", "raw")

    def __init__(self, raw: bytes, grow: Callable[[Content, int], None]) -> None:
        self.raw = raw
        self.files: dict[tuple[str, str, str | None], dict[str, Any]] = {}
        self._grow = grow
        self._parsed: dict[Format, Any] = {}

    def data(self, form: Format) -> Any:
        """Return the parsed content. Each caller gets its own copy, which it may modify.

        Raises:
            ConfigInvalid: it cannot be parsed.
        """
        if form not in self._parsed:
            self._parsed[form] = parse_document(self.raw, form)
            self._grow(self, len(self.raw) * PARSED_FACTOR)
        return copied(self._parsed[form], {})


def copied(value: Any, seen: dict[int, Any]) -> Any:
    """Copy parsed data: new mappings and lists, still shared where they were (YAML aliases), and the same scalars."""
    if type(value) is not dict and type(value) is not list:
        return value
    known = seen.get(id(value))
    if known is not None:
        return known
    if type(value) is dict:
        mapping: dict[Any, Any] = {}
        seen[id(value)] = mapping
        for key, each in value.items():
            mapping[key] = copied(each, seen) if type(each) in _CONTAINERS else each
        return mapping
    items: list[Any] = []
    seen[id(value)] = items
    for each in value:
        items.append(copied(each, seen) if type(each) in _CONTAINERS else each)  # noqa: PERF401 - it may hold itself
    return items


_CONTAINERS = frozenset({dict, list})
