"""Decoded structures, and what codecs and hooks are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from apm_s3.validators._context import Context
from apm_s3.validators._reading.nodes import Node, Path


class Invalid:
    """The value of what did not decode; the problem has been reported."""

    def __repr__(self) -> str:
        return "INVALID"


INVALID: Final = Invalid()

Codec = Callable[[Node, Path, Context], Any]
"""Decodes one node: its value, None for null, or INVALID after reporting why not."""

Parser = Callable[[str], Any]
"""Decodes the text of a scalar, or raises `Mismatch`."""


class Mismatch(Exception):
    """The text of a scalar does not fit its type. Never leaves the decoder.

    `offset` is where in the text, None where the text as a whole is wrong.
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
        """`text` is none of the values that are `allowed`."""
        mismatch = cls("enum", _unknown(what, text, allowed))
        mismatch.allowed = allowed
        return mismatch


_OF_KEYS = frozenset(
    ("auth-exclusive", "exclusive-fields", "relabel-action-args", "reserved-header", "reserved-name", "root-route")
)
"""Rules that a field breaks by being there."""


class Struct:
    """A structure that was decoded: its values by the names of their fields, and the places of all of them."""

    __slots__ = ("failed", "node", "path", "type", "values")

    def __init__(self, type_name: str, node: Node, path: Path, values: dict[str, Any], failed: frozenset[str]) -> None:
        self.type = type_name
        self.node = node
        self.path = path
        self.values = values
        self.failed = failed

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a field; `default` where it is absent or did not decode."""
        return self.values.get(name, default)

    def has(self, name: str) -> bool:
        """Whether the field decoded to something other than null."""
        return self.values.get(name) is not None

    def given(self, name: str) -> bool:
        """Whether the field is in the document at all, null included."""
        return name in self.values or name in self.failed

    def empty(self, name: str) -> bool:
        """Whether the field is absent, null or a zero value (and not: present, but wrong)."""
        return name not in self.failed and not self.values.get(name)

    def structs(self, name: str) -> Iterator[tuple[int, Struct]]:
        """The structures in a list, with their indices; nulls and failed ones are left out."""
        for index, item in enumerate(self.values.get(name) or ()):
            if isinstance(item, Struct):
                yield index, item

    def strings(self, name: str) -> Iterator[tuple[int, str]]:
        """The strings in a list, with their indices; failed ones are left out."""
        for index, item in enumerate(self.values.get(name) or ()):
            if isinstance(item, str):
                yield index, item

    def struct(self, name: str) -> Struct | None:
        """The structure in a field, None where it is absent or failed."""
        value = self.values.get(name)
        return value if isinstance(value, Struct) else None

    def place(self, *steps: str | int) -> tuple[Node, Path]:
        """The node and the path at the end of `steps`, or of as many of them as the document has."""
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
        """The key at the end of `steps`; None where the document has no such field."""
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
        """Report an error at the value of a field, or at the structure where it has no such field.

        With `at_key`, and for the rules that say that a field may not be there, it is the key that is wrong.
        """
        steps = (where,) if isinstance(where, str) else where
        node, path = self.place(*steps)
        if at_key or rule in _OF_KEYS:
            node = self.key(*steps) or node
        context.error(node, path, rule, message, hint)

    def unknown(
        self, context: Context, where: str | tuple[str | int, ...], what: str, value: str, allowed: Collection[str]
    ) -> None:
        """Report a value that is none of those that are `allowed`."""
        self.error(context, where, "enum", _unknown(what, value, allowed), context.hint(value, allowed))

    def warn(self, context: Context, where: str | tuple[str | int, ...], rule: str, message: str) -> None:
        """Report a warning at a field, or at the structure where it has no such field."""
        steps = (where,) if isinstance(where, str) else where
        node, path = self.place(*steps)
        context.warn(node, path, rule, message)


def _unknown(what: str, value: str, allowed: Collection[str]) -> str:
    return f"unknown {what} {value[:40]!r}; allowed are {', '.join(name or repr(name) for name in allowed)}"


Hook = Callable[[Struct, Context], None]
