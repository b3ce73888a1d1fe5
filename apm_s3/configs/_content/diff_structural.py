"""Compares two parsed configurations, path by path. Pure.

The order of keys does not matter, nor does the order of named items (scrape jobs, receivers, rules, data sources,
panels), which are matched by name. Other lists are aligned like the lines of a text. Values of different types are
never equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from apm_s3.configs._content.alignment import changed_blocks, with_unequal
from apm_s3.configs._content.structures import Steps, item_names, render
from apm_s3.validators._reading.documents import Tagged
from apm_s3.validators._secrets.forms import MASK, is_secret_name
from apm_s3.validators._secrets.known import NONE_KNOWN, KnownSecrets, SecretValue, mask_value
from apm_s3.validators._secrets.texts import mask_steps

Kind = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Change:
    """One value that was added, removed or changed.

    Attributes:
        path: the path of the value: `scrape_configs[job_name=node].scrape_interval`. Indexes are those of the new list,
            or of the old list for removed values.
        old, new: the values, with secrets masked; None if there is none. What plain data cannot show has its YAML tag
            in a member "(tag)": `{"(tag)": "!!binary", "text": "/w=="}`, `{"(tag)": "!!set", "a": None}`,
            `[{"(tag)": "!!omap"}, 1]`.
    """

    kind: Kind
    path: str
    old: Any = None
    new: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON, without absent ones."""
        values = {"old": self.old, "new": self.new}
        absent = {"added": "old", "removed": "new", "changed": ""}[self.kind]
        return {"kind": self.kind, "path": self.path, **{side: each for side, each in values.items() if side != absent}}


@dataclass(frozen=True, slots=True)
class Difference:
    """A change with its real values, for code that applies it; never show it."""

    kind: Kind
    steps: Steps
    old: Any = None
    new: Any = None

    def __repr__(self) -> str:
        return f"<{self.kind} {render(self.steps)}>"

    def masked(self, known: KnownSecrets = NONE_KNOWN) -> Change:
        """Return the change with its own secrets and the known ones masked."""
        old, new = (mask_value(value, self.steps, known) for value in (self.old, self.new))
        steps = tuple(_masked_step(step, known) for step in mask_steps(self.steps))
        if old is None and new is None and is_secret_name(self.steps[:-1]):
            # `password: {abc}` is a password in braces.
            steps = (*steps[:-1], MASK)
        return Change(self.kind, render(steps), old, new)


def _masked_step(step: Any, known: KnownSecrets) -> Any:
    if isinstance(step, tuple):
        return (step[0], MASK) if known.is_in(step[1]) else step
    return MASK if isinstance(step, str) and known.is_in(step) else step


def differences(old: Any, new: Any) -> Iterator[Difference]:
    """Return the changes from `old` to `new` (mappings, lists, scalars).

    Any `SecretValue` is like any other when items of lists are matched: otherwise, a list of all possible passwords
    would tell which one is stored.
    """
    yield from _Comparison().compare(old, new, ())


class _Comparison:
    """Numbers the values of both documents, so that equal numbers mean deeply equal values."""

    def __init__(self, *, masks: bool = False) -> None:
        self._numbers: dict[Any, int] = {}
        self._seen: dict[int, int] = {}
        self._masks = masks
        self._alike = None if masks else _Comparison(masks=True)
        """Numbers all secrets alike."""

    def compare(self, old: Any, new: Any, steps: Steps) -> Iterator[Difference]:
        if self.number(old) == self.number(new):
            return
        if (
            isinstance(old, Tagged)
            and isinstance(new, Tagged)
            and old.tag == new.tag
            and not isinstance(old.value, str)
        ):
            yield from self.compare(old.value, new.value, steps)
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from self._mappings(old, new, steps)
        elif isinstance(old, list) and isinstance(new, list):
            names = item_names(old, new)
            if names is None:
                yield from self._lists(old, new, steps)
            else:
                yield from self._named(
                    dict(zip(names[0], old, strict=True)), dict(zip(names[1], new, strict=True)), steps
                )
        else:
            yield Difference("changed", steps, old, new)

    def _mappings(self, old: Mapping[str, Any], new: Mapping[str, Any], steps: Steps) -> Iterator[Difference]:
        yield from (Difference("removed", (*steps, key), old=old[key]) for key in old if key not in new)
        for key, value in new.items():
            if key in old:
                yield from self.compare(old[key], value, (*steps, key))
            else:
                yield Difference("added", (*steps, key), new=value)

    def _named(
        self, old: Mapping[tuple[str, str], Any], new: Mapping[tuple[str, str], Any], steps: Steps
    ) -> Iterator[Difference]:
        yield from (Difference("removed", (*steps, name), old=old[name]) for name in old if name not in new)
        for name, value in new.items():
            if name in old:
                yield from self.compare(old[name], value, (*steps, name))
            else:
                yield Difference("added", (*steps, name), new=value)

    def _lists(self, old: Sequence[Any], new: Sequence[Any], steps: Steps) -> Iterator[Difference]:
        numbers = [[self.number(item) for item in side] for side in (old, new)]
        blocks = changed_blocks(*numbers)
        if blocks and self._alike is not None:
            alike = [[self._alike.number(item) for item in side] for side in (old, new)]
            blocks = with_unequal(changed_blocks(*alike), *numbers)
        for old_start, old_stop, new_start, new_stop in blocks:
            pairs = min(old_stop - old_start, new_stop - new_start)
            for offset in range(pairs):
                yield from self.compare(old[old_start + offset], new[new_start + offset], (*steps, new_start + offset))
            for index in range(old_start + pairs, old_stop):
                yield Difference("removed", (*steps, index), old=old[index])
            for index in range(new_start + pairs, new_stop):
                yield Difference("added", (*steps, index), new=new[index])

    def number(self, value: Any) -> int:
        """Return a number that only equal values have."""
        if isinstance(value, Tagged):
            return self._numbers.setdefault((value.tag, self.number(value.value)), len(self._numbers))
        if not isinstance(value, Mapping | list):
            if self._masks and isinstance(value, SecretValue):
                value = MASK
            # 1, 1.0 and True are the same dictionary key, and NaN does not equal itself.
            kind = str if isinstance(value, SecretValue) else type(value)
            return self._numbers.setdefault((kind, repr(value)), len(self._numbers))
        number = self._seen.get(id(value))
        if number is None:
            if isinstance(value, Mapping):
                shape: Any = tuple(sorted((key, self.number(item)) for key, item in value.items()))
                shape = ("mapping", shape)
            else:
                shape = ("list", tuple(self.number(item) for item in value))
            number = self._numbers.setdefault(shape, len(self._numbers))
            self._seen[id(value)] = number
        return number
