"""The structure of documents: steps into it, merging, aligning lists, and differences.

difflib is at least quadratic: it only gets the parts between items that are unique on both sides (patience diff,
https://bramcohen.livejournal.com/73318.html), and not even these if they are too large.

The order of keys does not matter, nor does the order of named items (scrape jobs, receivers, rules, data sources,
panels), which are matched by name. Other lists are aligned like the lines of a text. Values of different types are
never equal.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal, NamedTuple

from apm_s3.validators._checking import did_you_mean
from apm_s3.validators._reading.documents import Tagged
from apm_s3.validators._reading.nodes import MAX_SHOWN, render_step
from apm_s3.validators._secrets.forms import MASK, is_secret_name
from apm_s3.validators._secrets.known import NONE_KNOWN, KnownSecrets, SecretValue, mask_value
from apm_s3.validators._secrets.texts import mask_steps

Step = str | int | tuple[str, str]
"""A key, an index, or (field, name) for the item of a list whose items have names."""
Steps = tuple[Step, ...]

NAME_FIELDS = ("job_name", "name", "uid", "alert", "record", "id", "refId", "title", "from")
"""The fields that name an item of a list, in the order in which they are tried: jobs, receivers, groups, data sources,
rules, panels and their queries, periods of a schema."""

_RULE_FIELDS = ("alert", "record")


def item_names(*lists: Sequence[Any]) -> tuple[list[tuple[str, str]], ...] | None:
    """Return the (field, name) of each item of `lists`, if one field identifies the items of every list.

    Rules may share a name, and a group may mix both kinds: the second `alert: Down` is ("alert", "Down #2"). None if
    the items have no such names.
    """
    items = [item for each in lists for item in each]
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None
    for field in NAME_FIELDS:
        if all(_is_name(item.get(field)) for item in items) and all(_distinct(each, field) for each in lists):
            return tuple([(field, str(item[field])) for item in each] for each in lists)
    if all(sum(_is_name(item.get(field)) for field in _RULE_FIELDS) == 1 for item in items):
        return tuple(_rule_names(each) for each in lists)
    return None


def render(steps: Steps) -> str:
    """Format steps as `scrape_configs[node].job`, `targets[2]`; keys that are not words are quoted: `labels["a.b"]`."""
    return "".join(_rendered(step) for step in steps).removeprefix(".")


def _rendered(step: Step) -> str:
    if isinstance(step, tuple):
        return f"[{step[0]}={json.dumps(step[1][:MAX_SHOWN], ensure_ascii=False)[1:-1]}]"
    return render_step(step)


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _distinct(items: Sequence[Any], field: str) -> bool:
    return len({str(item[field]) for item in items}) == len(items)


def _rule_names(rules: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    seen: Counter[tuple[str, str]] = Counter()
    names = []
    for rule in rules:
        field = "alert" if _is_name(rule.get("alert")) else "record"
        name = (field, str(rule[field]))
        seen[name] += 1
        names.append(name if seen[name] == 1 else (field, f"{name[1]} #{seen[name]}"))
    return names


Block = tuple[int, int, int, int]
"""old[start:stop] and new[start:stop], which differ; either may be empty."""

MAX_PRODUCT = 250_000
"""Maximum product of the lengths that difflib gets."""
MAX_STEPS = 2_000
"""Maximum steps of difflib for each item: 60 blank lines on either side of a change of 500 lines."""


def changed_blocks(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[Block]:
    """Return the blocks where `old` and `new` differ, in order; everything else is equal."""
    return list(_differences(old, new))


def with_unequal(blocks: Iterable[Block], old: Sequence[Hashable], new: Sequence[Hashable]) -> list[Block]:
    """Return `blocks`, extended by pairs between them that are not equal in `old` and `new`, in order."""
    found: list[Block] = []
    at = 0, 0
    for start, stop, new_start, new_stop in (*blocks, (len(old), len(old), len(new), len(new))):
        for one, other in zip(range(at[0], start), range(at[1], new_start), strict=True):
            if old[one] != new[other]:
                _join(found, (one, one + 1, other, other + 1))
        if stop > start or new_stop > new_start:
            _join(found, (start, stop, new_start, new_stop))
        at = stop, new_stop
    return found


def _join(blocks: list[Block], block: Block) -> None:
    if blocks and blocks[-1][1] == block[0] and blocks[-1][3] == block[2]:
        before = blocks.pop()
        block = (before[0], block[1], before[2], block[3])
    blocks.append(block)


def _differences(old: Sequence[Hashable], new: Sequence[Hashable]) -> Iterator[Block]:
    start, old_stop, new_stop = _trim(old, new)
    old_at = new_at = start
    for old_next, new_next in [*_anchors(old, new, start, old_stop, new_stop), (old_stop, new_stop)]:
        if old_next > old_at or new_next > new_at:
            yield from _between(old, new, (old_at, old_next, new_at, new_next))
        old_at, new_at = old_next + 1, new_next + 1


def _trim(old: Sequence[Hashable], new: Sequence[Hashable]) -> tuple[int, int, int]:
    """Return where the first difference begins, and where the last one ends in each."""
    start, shorter = 0, min(len(old), len(new))
    while start < shorter and old[start] == new[start]:
        start += 1
    old_stop, new_stop = len(old), len(new)
    while old_stop > start and new_stop > start and old[old_stop - 1] == new[new_stop - 1]:
        old_stop, new_stop = old_stop - 1, new_stop - 1
    return start, old_stop, new_stop


def _anchors(
    old: Sequence[Hashable], new: Sequence[Hashable], start: int, old_stop: int, new_stop: int
) -> list[tuple[int, int]]:
    """Return pairs of places with the same item, which is unique on both sides: as many as are in the same order."""
    old_counts, new_counts = Counter(old[start:old_stop]), Counter(new[start:new_stop])
    places = {new[at]: at for at in range(start, new_stop)}
    pairs = [
        (at, places[old[at]])
        for at in range(start, old_stop)
        if old_counts[old[at]] == 1 and new_counts.get(old[at]) == 1
    ]
    return _longest_rise(pairs)


def _longest_rise(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest selection of `pairs` in which the second places rise as well."""
    tops: list[int] = []
    piles: list[int] = []
    before: list[int] = []
    for index, (_, place) in enumerate(pairs):
        pile = bisect_left(tops, place)
        before.append(piles[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(place)
            piles.append(index)
        else:
            tops[pile], piles[pile] = place, index
    chain, index = [], piles[-1] if piles else -1
    while index >= 0:
        chain.append(pairs[index])
        index = before[index]
    return chain[::-1]


def _between(old: Sequence[Hashable], new: Sequence[Hashable], block: Block) -> Iterator[Block]:
    old_start, old_stop, new_start, new_stop = block
    before, after = old[old_start:old_stop], new[new_start:new_stop]
    counts = Counter(after)
    # difflib may go through all equal pairs once for each item.
    steps = sum(counts[item] for item in before) * min(len(before), len(after))
    if len(before) * len(after) > MAX_PRODUCT or steps > MAX_STEPS * (len(before) + len(after)):
        yield block
        return
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag != "equal":
            yield old_start + i1, old_start + i2, new_start + j1, new_start + j2


_DIRECTIVE = "$patch"
_MAX_HINTS = 100
"""Surprises with a hint: each is compared with all known names."""


class MergeRefused(Exception):
    """The patch is not valid, with the position."""

    def __init__(self, steps: Steps, problem: str) -> None:
        super().__init__(problem)
        self.steps = steps
        self.problem = problem


class Surprise(NamedTuple):
    """An effect of a patch that may be unintended; `hint` suggests a similar name, if there is one."""

    steps: Steps
    message: str
    hint: str | None


class Merger:
    """Merges patches, and records possible typos.

    Attributes:
        surprises: new items in lists that had others, and removals of missing keys and items.
    """

    def __init__(self) -> None:
        self.surprises: list[Surprise] = []

    def merge(self, base: Any, patch: Any, steps: Steps) -> Any:
        """Merge `patch`, at `steps`, into `base`.

        Raises:
            MergeRefused: a directive is misplaced, or the name of an item is not unique.
        """
        if isinstance(patch, list):
            return self._lists(base if isinstance(base, list) else [], patch, steps)
        if not isinstance(patch, dict):
            return patch
        if _DIRECTIVE in patch:
            raise MergeRefused(steps, f"{_DIRECTIVE} is only allowed in an item of a list of named items")
        merged = dict(base) if isinstance(base, dict) else {}
        for key, value in patch.items():
            if value is None:
                self._remove(merged, key, (*steps, key))
            else:
                merged[key] = self.merge(merged.get(key), value, (*steps, key))
        return merged

    def _lists(self, base: list[Any], patch: list[Any], steps: Steps) -> list[Any]:
        names = item_names(base, patch)
        if names is None:
            if any(isinstance(item, dict) and _DIRECTIVE in item for item in patch):
                raise MergeRefused(steps, f"{_DIRECTIVE} needs a list whose items all have unique names")
            # The items replace the old list, and nulls in them remove keys, as everywhere in a patch.
            return patch if item_names(patch) is None else [self.merge({}, item, steps) for item in patch]
        _check_unique(names[0], names[1], steps)
        merged = dict(zip(names[0], base, strict=True))
        for name, item in zip(names[1], patch, strict=True):
            if _DIRECTIVE not in item:
                if base and name not in merged:
                    self.note((*steps, name), "the overlay adds this item", name[1], (known for _, known in names[0]))
                merged[name] = self.merge(merged.get(name), item, (*steps, name))
            elif item[_DIRECTIVE] == "delete":
                self._remove(merged, name, (*steps, name))
            else:
                raise MergeRefused((*steps, name), f"the only {_DIRECTIVE} is 'delete'")
        return list(merged.values())

    def _remove(self, merged: dict[Any, Any], key: Any, steps: Steps) -> None:
        if key not in merged:
            known = (each[1] if isinstance(each, tuple) else each for each in merged)
            name = key[1] if isinstance(key, tuple) else key
            self.note(steps, "there is nothing to remove", name, known)
        merged.pop(key, None)

    def note(self, steps: Steps, message: str, name: str, known: Iterable[str]) -> None:
        """Record a surprise about `name`; the first ones with a hint of what is similar among the `known`."""
        hint = did_you_mean(name, tuple(known)) if len(self.surprises) < _MAX_HINTS else None
        self.surprises.append(Surprise(steps, message, hint))


def _check_unique(base: Sequence[tuple[str, str]], patch: Sequence[tuple[str, str]], steps: Steps) -> None:
    """Refuse a patch for a name that is not unique, because it could change the wrong item."""
    repeated = {name.rpartition(" #")[0] for _, name in base if " #" in name}
    for step in patch:
        if step[1] in repeated:
            raise MergeRefused((*steps, step), "several items have this name, so a patch cannot distinguish them")


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, including types and the order of lists, but not of keys."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and repr(one) == repr(other)


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
