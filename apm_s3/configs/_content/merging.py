"""Applies a merge patch: RFC 7396, except that items of lists with names are matched by name. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from apm_s3.configs._content.structures import Steps, item_names
from apm_s3.validators._checking import did_you_mean

_DIRECTIVE = "$patch"


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
                    self._note((*steps, name), "the overlay adds this item", name[1], [known for _, known in names[0]])
                merged[name] = self.merge(merged.get(name), item, (*steps, name))
            elif item[_DIRECTIVE] == "delete":
                self._remove(merged, name, (*steps, name))
            else:
                raise MergeRefused((*steps, name), f"the only {_DIRECTIVE} is 'delete'")
        return list(merged.values())

    def _remove(self, merged: dict[Any, Any], key: Any, steps: Steps) -> None:
        if key not in merged:
            known = [each[1] if isinstance(each, tuple) else each for each in merged]
            name = key[1] if isinstance(key, tuple) else key
            self._note(steps, "there is nothing to remove", name, known)
        merged.pop(key, None)

    def _note(self, steps: Steps, message: str, name: str, known: Sequence[str]) -> None:
        self.surprises.append(Surprise(steps, message, did_you_mean(name, known)))


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
