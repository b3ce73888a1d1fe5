"""Decoded structs, and the types of codecs and hooks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from apm_s3.validators._checking.context import Context
from apm_s3.validators._reading.nodes import Node, Path


class Invalid:
    """The value of something that failed to decode; the problem has been reported."""

    def __repr__(self) -> str:
        return "INVALID"


INVALID: Final = Invalid()

Codec = Callable[[Node, Path, Context], Any]
"""Decodes one node: its value, None for null, or INVALID after reporting the problem."""

Parser = Callable[[str], Any]
"""Decodes the text of a scalar, or raises `Mismatch`."""


class Mismatch(Exception):
    """The text of a scalar does not match its type. Never leaves the decoder.

    `offset` is the position of the problem in the text, None if the whole text is wrong.
    """

    def __init__(self, rule: str, message: str, hint: str | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.hint = hint
        self.offset = offset
        self.allowed: Collection[str] = ()

    @classmethod
    def unknown(cls, what: str, text: str, allowed: Collection[str]) -> Mismatch:
        """Create the mismatch for a `text` that is not one of the `allowed` values."""
        mismatch = cls("enum", _unknown(what, text, allowed))
        mismatch.allowed = allowed
        return mismatch


_OF_KEYS = frozenset(
    ("auth-exclusive", "exclusive-fields", "relabel-action-args", "reserved-header", "reserved-name", "root-route")
)
"""Rules that a field breaks by its presence."""


class Struct:
    """A decoded struct: its values by field name, and their positions."""

    __slots__ = ("failed", "node", "path", "type", "values")

    def __init__(self, type_name: str, node: Node, path: Path, values: dict[str, Any], failed: frozenset[str]) -> None:
        self.type = type_name
        self.node = node
        self.path = path
        self.values = values
        self.failed = failed

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a field; `default` if it is absent or failed to decode."""
        return self.values.get(name, default)

    def has(self, name: str) -> bool:
        """Return whether the field was decoded to something other than null."""
        return self.values.get(name) is not None

    def given(self, name: str) -> bool:
        """Return whether the field is in the document, even if it is null."""
        return name in self.values or name in self.failed

    def empty(self, name: str) -> bool:
        """Return whether the field is absent, null or a zero value, but not whether it is invalid."""
        return name not in self.failed and not self.values.get(name)

    def structs(self, name: str) -> Iterator[tuple[int, Struct]]:
        """Yield the structs in a list with their indices; nulls and failed ones are omitted."""
        for index, item in enumerate(self.values.get(name) or ()):
            if isinstance(item, Struct):
                yield index, item

    def strings(self, name: str) -> Iterator[tuple[int, str]]:
        """Yield the strings in a list with their indices; failed ones are omitted."""
        for index, item in enumerate(self.values.get(name) or ()):
            if isinstance(item, str):
                yield index, item

    def struct(self, name: str) -> Struct | None:
        """Return the struct in a field, None if it is absent or failed to decode."""
        value = self.values.get(name)
        return value if isinstance(value, Struct) else None

    def place(self, *steps: str | int) -> tuple[Node, Path]:
        """Return the node and path at `steps`, or at the longest part of them that the document has."""
        node, path = self.node, self.path
        for step in steps:
            if isinstance(step, str):
                entry = getattr(node, "entries", {}).get(step)
                if entry is None:
                    break
                node = entry[1]
            else:
                items = getattr(node, "items", [])
                if step >= len(items):
                    break
                node = items[step]
            path = (path, step)
        return node, path

    def key(self, *steps: str | int) -> Node | None:
        """Return the key at `steps`; None if the document does not have it."""
        above, _ = self.place(*steps[:-1])
        entry = getattr(above, "entries", {}).get(steps[-1])
        key: Node | None = entry[0] if entry is not None else None
        return key

    def error(
        self,
        context: Context,
        where: str | tuple[str | int, ...],
        rule: str,
        message: str,
        hint: str | None = None,
        *,
        at_key: bool = False,
    ) -> None:
        """Report an error at the value of a field, or at the struct if the field is absent.

        With `at_key`, and for rules that forbid a field, the error is at the key.
        """
        steps = (where,) if isinstance(where, str) else where
        node, path = self.place(*steps)
        if at_key or rule in _OF_KEYS:
            node = self.key(*steps) or node
        context.error(node, path, rule, message, hint)

    def unknown(
        self, context: Context, where: str | tuple[str | int, ...], what: str, value: str, allowed: Collection[str]
    ) -> None:
        """Report a value that is not one of the `allowed` values."""
        self.error(context, where, "enum", _unknown(what, value, allowed), context.hint(value, allowed))

    def warn(self, context: Context, where: str | tuple[str | int, ...], rule: str, message: str) -> None:
        """Report a warning at a field, or at the struct if the field is absent."""
        steps = (where,) if isinstance(where, str) else where
        node, path = self.place(*steps)
        context.warn(node, path, rule, message)


def _unknown(what: str, value: str, allowed: Collection[str]) -> str:
    return f"unknown {what} {value[:40]!r}; allowed values: {', '.join(name or repr(name) for name in allowed)}"


Hook = Callable[[Struct, Context], None]
