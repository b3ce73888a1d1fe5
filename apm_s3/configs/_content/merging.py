"""A merge patch into data: RFC 7396, but for lists of things that have names, which are matched by name. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from apm_s3.configs._content.structures import Steps, item_names
from apm_s3.validators._hints import did_you_mean

_DIRECTIVE = "$patch"


class MergeRefused(Exception):
    """A patch that makes no sense, and where in it."""

    def __init__(self, steps: Steps, problem: str) -> None:
        super().__init__(problem)
        self.steps = steps
        self.problem = problem


class Surprise(NamedTuple):
    """What a patch does that its author may not have meant; `hint` names what is near, if anything is."""

    steps: Steps
    message: str
    hint: str | None


class Merger:
    """Merges patches, and notes what may be a typing error.

    Attributes:
        surprises: new items in lists that had others, and removals of what is not there.
    """

    def __init__(self) -> None:
        self.surprises: list[Surprise] = []

    def merge(self, base: Any, patch: Any, steps: Steps) -> Any:
        """`base` with `patch`, which stands at `steps`.

        Raises:
            MergeRefused: a directive where there can be none, or an item whose name is not its own.
        """
        if isinstance(patch, list):
            return self._lists(base if isinstance(base, list) else [], patch, steps)
        if not isinstance(patch, dict):
            return patch
        if _DIRECTIVE in patch:
            raise MergeRefused(steps, f"{_DIRECTIVE} belongs into an item of a list of named things")
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
                raise MergeRefused(steps, f"{_DIRECTIVE} needs a list of which all items have names of their own")
            # Named things in place of others: null means in them what it means elsewhere, so that once is enough.
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
    """A patch for one of several rules of a name would meet the wrong one some day."""
    repeated = {name.rpartition(" #")[0] for _, name in base if " #" in name}
    for step in patch:
        if step[1] in repeated:
            raise MergeRefused((*steps, step), "more than one has this name: a patch cannot tell them apart")


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same: types count, and the order of lists, but not that of keys."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and repr(one) == repr(other)
