"""Decoded structs, and the rules about their fields that the tables state beside the kinds of the fields.

A field's entry in `_data/<tool>.json` is its kind, or an object with the kind and what else is known of the field:

    "summary": {"kind": "string", "since": "0.27"},
    "role": {"kind": "string", "required": "hetzner service discovery needs role", "values": ["robot", "hcloud"]},
    "environment": {"kind": "string", "values": ["AzureGlobal", "AzureChinaCloud"], "default": "AzureGlobal"},

`FieldRules` has the meaning of each word. Rules about several fields of a type are in its list under `groups`:

    "notify/discord.DiscordConfig": [{"exactly_one": ["webhook_url", "webhook_url_file"]}],
    "pkg/limits.Config": [{"all_of": ["topic"], "when": {"enabled": [true]}, "message": "topic is missing"}],

A type with a field `*` has any other field as well, of that kind.

What depends on more than that is a hook in Python.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from apm_s3.reports import Rule
from apm_s3.validators._checking import Context, Version, parse_version
from apm_s3.validators._reading.nodes import Node, Path

Where = str | tuple[str | int, ...]
"""A field of a struct, or the steps to something below it."""

_release = lru_cache(maxsize=256)(parse_version)


def dotted(version: Version) -> str:
    """Format (3, 8) as `3.8`."""
    return ".".join(str(part) for part in version)


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

    def listed(self, name: str) -> Iterator[tuple[Struct, Where, str]]:
        """Yield the strings in a list with their places, for `check_unique`; failed ones are omitted."""
        for index, item in self.strings(name):
            yield self, (name, index), item

    def named(self, name: str) -> Iterator[tuple[Struct, Where, str | None]]:
        """Yield the structs in a list with their names, for `check_unique`."""
        for _, item in self.structs(name):
            yield item, "name", item.get("name")

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
        self, context: Context, where: Where, rule: Rule, message: str, hint: str | None = None, *, at_key: bool = False
    ) -> None:
        """Report an error at the value of a field, or at the struct if the field is absent.

        With `at_key`, and for rules that forbid a field, the error is at the key.
        """
        steps = (where,) if isinstance(where, str) else where
        node, path = self.place(*steps)
        if at_key or rule in _OF_KEYS:
            node = self.key(*steps) or node
        context.error(node, path, rule, message, hint)

    def unknown(self, context: Context, where: Where, what: str, value: str, allowed: Collection[str]) -> None:
        """Report a value that is not one of the `allowed` values."""
        self.error(context, where, "enum", unknown_message(what, value, allowed), context.hint(value, allowed))

    def warn(self, context: Context, where: Where, rule: Rule, message: str) -> None:
        """Report a warning at a field, or at the struct if the field is absent."""
        steps = (where,) if isinstance(where, str) else where
        node, path = self.place(*steps)
        context.warn(node, path, rule, message)


def unknown_message(what: str, value: str, allowed: Collection[str]) -> str:
    """Say that `value` is not one of the `allowed` values."""
    return f"unknown {what} {value[:40]!r}; allowed values: {', '.join(name or repr(name) for name in allowed)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRules:
    """What a table says of one field.

    Attributes:
        kind: as in `_decoding`.
        since: the first release that knows the field, as "3.8".
        until: the first release that no longer knows it. Such a field is not suggested for a misspelt one.
        instead: what to write in place of a field that is gone.
        required: the message if the field is absent, null or a zero value.
        required_until: the first release that does not need it.
        default: what the tool uses if the field is absent: then a required field may be absent, but not empty, and
            any other field may be empty.
        values: what the tool accepts; for a list, in each item, which is text.
        what: what the values are, for messages; by default the field's name.
        values_since: values that only later releases accept, in lower case, with the release.
        pattern: what a text, or each text in a list, must match unless it is empty; `expected` is the message if not.
        above, at_least, at_most: the limits of a number.
        no_nulls: what an item of the list is, for the message if one is null.
    """

    kind: str
    since: str | None = None
    until: str | None = None
    required: str | None = None
    required_until: str | None = None
    default: str | None = None
    instead: str | None = None
    values: tuple[str, ...] | list[str] | None = None
    what: str | None = None
    values_since: Mapping[str, str] = field(default_factory=dict)
    pattern: str | None = None
    expected: str = ""
    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    no_nulls: str | None = None

    def absence(self, target: Version | None) -> str | None:
        """Return why the release `target` does not know the field, None if it does."""
        since, until = _release(self.since), _release(self.until)
        if since is not None and target is not None and target < since:
            return f"was added in {dotted(since)}, but the target version is {dotted(target)}"
        if until is not None and (target is None or target >= until):
            return f"was removed in {dotted(until)}"
        return None

    @property
    def is_gated(self) -> bool:
        """Return whether only some releases know the field."""
        return self.since is not None or self.until is not None

    @property
    def restricts_values(self) -> bool:
        """Return whether there is more to check of a value than its kind."""
        limits = (self.above, self.at_least, self.at_most)
        return limits != (None, None, None) or any((self.values, self.values_since, self.no_nulls, self.pattern))

    def is_lacking(self, struct: Struct, name: str, context: Context) -> bool:
        """Return whether `struct` lacks the required field `name`, after reporting that."""
        if not (self.required and struct.empty(name) and (self.default is None or struct.given(name))):
            return False
        if self.required_until is not None and not context.is_before(_release(self.required_until) or ()):
            return False
        struct.error(context, name, "required-field", self.required)
        return True

    def check_value(self, struct: Struct, name: str, value: Any, context: Context) -> None:
        """Report what is wrong with the value of the field `name`, whose kind has been checked."""
        places: list[tuple[Where, Any]] = [(name, value)]
        if isinstance(value, list):
            places = [(where, item) for _, where, item in struct.listed(name)]
        for where, item in places:
            if self.values is not None or self.values_since:
                self._check_choice(struct, where, name, item, context)
            if self.pattern is not None and item and not re.fullmatch(self.pattern, item):
                struct.error(context, where, "format", self.expected)
        if self.no_nulls is not None:
            check_no_nulls(struct, name, self.no_nulls, context)
        for limit, is_broken, words in (
            (self.above, operator.le, "above"),
            (self.at_least, operator.lt, "at least"),
            (self.at_most, operator.gt, "at most"),
        ):
            if limit is not None and value is not None and is_broken(value, limit):
                struct.error(context, name, "out-of-range", f"{name} must be {words} {limit}")

    def _check_choice(self, struct: Struct, where: Where, name: str, value: Any, context: Context) -> None:
        since = _release(self.values_since.get(str(value).lower()))
        if since is not None and context.is_before(since) and context.target is not None:
            message = f"{value!r} was added in {dotted(since)}, but the target version is {dotted(context.target)}"
            struct.error(context, where, "enum", message)
        if self.values is None or (not value and self.default is not None):
            return
        if (text := "" if value is None else str(value)) not in self.values:
            struct.unknown(context, where, self.what or name, text, self.values)


def check_unique(context: Context, named: Iterable[tuple[Struct, Where, str | None]], message: str) -> set[str]:
    """Report each name that is not the first of its kind, and return all. `{name}` in `message` stands for it."""
    seen: set[str] = set()
    for owner, where, name in named:
        if name and name in seen:
            text = message.replace("{name}", repr(name[:80]))
            owner.error(context, where, "duplicate-name", text)
        seen.add(name or "")
    return seen


def check_no_nulls(owner: Struct, field: str, what: str, context: Context) -> None:
    """Report null entries in a list."""
    for index, item in enumerate(owner.get(field) or ()):
        if item is None:
            owner.error(context, (field, index), "null-section", f"empty or null {what}")


def at_most_one(
    struct: Struct,
    context: Context,
    names: Collection[str],
    rule: Rule = "exclusive-fields",
    message: str | None = None,
) -> bool:
    """Report if more than one of `names` is set, and return whether this is the case."""
    used = [name for name in names if struct.values.get(name)]
    if len(used) > 1:
        struct.error(context, used[1], rule, message or f"at most one of {', '.join(names)} may be set")
    return len(used) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRule:
    """A rule about several fields of a type: one of the lists is set. If none of the fields is set, the first is named.

    Attributes:
        when: the rule applies if each of these fields has one of its values; an absent field counts as "", and "*" is
            any value but that.
        rule: the rule's name if a field must not be set.
        message: what to say in place of naming the fields; `{name}` stands for the field at fault.
    """

    at_most_one: tuple[str, ...] | list[str] = ()
    exactly_one: tuple[str, ...] | list[str] = ()
    at_least_one: tuple[str, ...] | list[str] = ()
    all_of: tuple[str, ...] | list[str] = ()
    none_of: tuple[str, ...] | list[str] = ()
    when: Mapping[str, Collection[Any]] = field(default_factory=dict)
    rule: Rule = "exclusive-fields"
    message: str | None = None

    def check(self, struct: Struct, context: Context) -> None:
        """Report a `struct` that breaks the rule."""
        for name, values in self.when.items():
            value = struct.get(name) or ""
            if value not in values and not (value and "*" in values):
                return
        for name in self.all_of:
            if struct.empty(name):
                message = (self.message or "{name} is missing").replace("{name}", name)
                struct.error(context, name, "required-field", message)
        for name in self.none_of:
            if struct.get(name):
                struct.error(context, name, self.rule, (self.message or "{name} cannot be set").replace("{name}", name))
        needed = self.exactly_one or self.at_least_one
        if needed and all(struct.empty(name) for name in needed):
            message = self.message or f"one of {' and '.join(needed)} must be set"
            struct.error(context, needed[0], "required-field", message)
        if exclusive := self.at_most_one or self.exactly_one:
            at_most_one(struct, context, exclusive, self.rule, self.message if self.at_most_one else None)
