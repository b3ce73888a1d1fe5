"""Contents that many callers share: parsed once, and given to each as a copy of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from apm_s3.validators import parse_document

Format = Literal["yaml", "json", "ini"]

PARSED_FACTOR = 12
"""How many times its bytes a parsed document is counted with. Measured with tracemalloc on CPython 3.11: 3 to 5 for the
files in `examples/`, 8 for large groups of rules, 11 for a dashboard in compact JSON."""


class Content:
    """The plain bytes of a file, and what they say.

    Args:
        grow: told how many more bytes this takes now; called in the thread that parses.

    Attributes:
        files: the fields of the files that have this content, this included, so that it goes when they go.
    """

    __slots__ = ("_grow", "_parsed", "files", "raw")

    def __init__(self, raw: bytes, grow: Callable[[Content, int], None]) -> None:
        self.raw = raw
        self.files: dict[tuple[str, str, str | None], dict[str, Any]] = {}
        self._grow = grow
        self._parsed: dict[Format, Any] = {}

    def data(self, form: Format) -> Any:
        """The parsed content. Each caller gets its own, to do with as it likes.

        Raises:
            ConfigInvalid: it cannot be parsed.
        """
        if form not in self._parsed:
            self._parsed[form] = parse_document(self.raw, form)
            self._grow(self, len(self.raw) * PARSED_FACTOR)
        return copied(self._parsed[form], {})


def copied(value: Any, seen: dict[int, Any]) -> Any:
    """A copy of parsed data: new mappings and lists, shared where they were shared (YAML's aliases), same scalars."""
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
