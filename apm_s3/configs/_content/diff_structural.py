"""What changed between two parsed configurations, path by path. Pure.

The order of keys is no change, nor is the order of things that have names (scrape jobs, receivers, rules, data sources,
panels): they are matched by name. Other lists are aligned like the lines of a text. Values of different types are never
equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal

from apm_s3.configs._content.alignment import changed_blocks
from apm_s3.configs._content.structures import Steps, item_names, render
from apm_s3.validators._secrets.names import is_secret_name
from apm_s3.validators._secrets.shapes import MASK
from apm_s3.validators._secrets.texts import mask_steps
from apm_s3.validators._secrets.values import mask_value

Kind = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Change:
    """One value that came, went or changed.

    Attributes:
        path: leads to it: `scrape_configs[job_name=node].scrape_interval`. An index is that of the new list, of the
            old one for what was removed.
        old, new: the values, secrets masked; None where there was, or is, none.
    """

    kind: Kind
    path: str
    old: Any = None
    new: Any = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: a value that is not there is left out."""
        values = {"old": self.old, "new": self.new}
        absent = {"added": "old", "removed": "new", "changed": ""}[self.kind]
        return {"kind": self.kind, "path": self.path, **{side: each for side, each in values.items() if side != absent}}


@dataclass(frozen=True, slots=True)
class Difference:
    """A change with its real values: for code that applies it, never to be shown."""

    kind: Kind
    steps: Steps
    old: Any = None
    new: Any = None

    def __repr__(self) -> str:
        return f"<{self.kind} {render(self.steps)}>"

    def masked(self, shared: AbstractSet[str] = frozenset()) -> Change:
        """The change as it may be shown; `shared` as in `mask_value`."""
        old, new = (mask_value(value, self.steps, shared) for value in (self.old, self.new))
        steps = mask_steps(self.steps)
        if old is None and new is None and is_secret_name(self.steps[:-1]):
            # `password: {abc}` is a password in braces.
            steps = (*steps[:-1], MASK)
        return Change(self.kind, render(steps), old, new)


def differences(old: Any, new: Any) -> Iterator[Difference]:
    """What has to change in `old` (mappings, lists, scalars) to make it `new`."""
    yield from _Comparison().compare(old, new, ())


class _Comparison:
    """Both documents, with a number for each value: equal numbers mean equal values, however deep."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self._seen: dict[int, int] = {}

    def compare(self, old: Any, new: Any, steps: Steps) -> Iterator[Difference]:
        if self._number(old) == self._number(new):
            return
        if isinstance(old, Mapping) and isinstance(new, Mapping):
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
        blocks = changed_blocks([self._number(item) for item in old], [self._number(item) for item in new])
        for old_start, old_stop, new_start, new_stop in blocks:
            pairs = min(old_stop - old_start, new_stop - new_start)
            for offset in range(pairs):
                yield from self.compare(old[old_start + offset], new[new_start + offset], (*steps, new_start + offset))
            for index in range(old_start + pairs, old_stop):
                yield Difference("removed", (*steps, index), old=old[index])
            for index in range(new_start + pairs, new_stop):
                yield Difference("added", (*steps, index), new=new[index])

    def _number(self, value: Any) -> int:
        if not isinstance(value, Mapping | list):
            # 1, 1.0 and True are one key to a dictionary, and NaN is never its own.
            return self._numbers.setdefault((type(value), repr(value)), len(self._numbers))
        number = self._seen.get(id(value))
        if number is None:
            if isinstance(value, Mapping):
                shape: Any = tuple(sorted((key, self._number(item)) for key, item in value.items()))
                shape = ("mapping", shape)
            else:
                shape = ("list", tuple(self._number(item) for item in value))
            number = self._numbers.setdefault(shape, len(self._numbers))
            self._seen[id(value)] = number
        return number
