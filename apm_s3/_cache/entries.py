"""Entries within limits of number and bytes, the least recently used evicted first. Pure: no clock, no I/O."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

OVERHEAD = 512
"""Bytes that an entry is counted with beside its value: about what its objects take in CPython."""


class Key(NamedTuple):
    """What is remembered.

    Attributes:
        group: what is invalidated at once: an object, a bucket.
        detail: which reading of it.
    """

    group: tuple[str, str, str]
    detail: Any


class Entry:
    """One remembered value. Times are those of one monotonic clock, seconds.

    Attributes:
        asked_at: when its request began: what it says is no older.
        order: the number of that request, in the order in which they began.
        fresh_until: from then on it is not given without a request.
        kept_until: from then on it is of no use.
        retry_at: after a failed request for it, no further one is made before then.
        held: whether it is among the entries still. Whoever keeps an entry looks at this.
    """

    __slots__ = ("asked_at", "cost", "fresh_until", "held", "kept_until", "key", "order", "retry_at", "value")

    def __init__(self, key: Key, value: Any, cost: int, kept_until: float = math.inf) -> None:
        self.key: Key = key
        self.value: Any = value
        self.cost: int = cost + OVERHEAD
        self.asked_at: float = 0.0
        self.fresh_until: float = 0.0
        self.retry_at: float = 0.0
        self.kept_until: float = kept_until
        self.order: int = 0
        self.held: bool = False

    @property
    def ages(self) -> bool:
        """Whether it will be of no use one day."""
        return self.kept_until != math.inf


class Entries:
    """Entries by group and detail, in the order of their use.

    Attributes:
        bytes: what they are counted with in all.
        evictions: how many were dropped for the limits' sake so far.
        ageing: how many of them will be of no use one day.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.bytes = 0
        self.evictions = 0
        self.ageing = 0
        self._groups: dict[tuple[str, str, str], dict[Any, Entry]] = {}
        self._order: OrderedDict[Entry, None] = OrderedDict()
        self.touch = self._order.move_to_end
        """Mark a held entry as used just now. The bound method itself: this is the hottest path."""

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Entry]:
        """From the least recently used on."""
        return iter(self._order)

    def get(self, key: Key) -> Entry | None:
        """The entry of `key`; this does not count as its use."""
        group = self._groups.get(key.group)
        return None if group is None else group.get(key.detail)

    def put(self, entry: Entry) -> None:
        """Hold `entry` in place of the one with its key, and evict what is too much. It may be too large to be held."""
        old = self.get(entry.key)
        if old is not None:
            self.drop(old)
        if entry.cost > self.max_bytes or self.max_entries < 1:
            return
        entry.held = True
        self._groups.setdefault(entry.key.group, {})[entry.key.detail] = entry
        self._order[entry] = None
        self.bytes += entry.cost
        self.ageing += entry.ages
        self._evict()

    def grow(self, entry: Entry, by: int) -> None:
        """Count `by` more bytes for an entry, if it is held still."""
        if entry.held:
            entry.cost += by
            self.bytes += by
            self._evict()

    def drop(self, entry: Entry) -> None:
        """Let go of a held entry and of its value."""
        entry.held = False
        entry.value = None
        self.bytes -= entry.cost
        self.ageing -= entry.ages
        del self._order[entry]
        group = self._groups[entry.key.group]
        del group[entry.key.detail]
        if not group:
            del self._groups[entry.key.group]

    def drop_group(self, group: tuple[str, str, str]) -> None:
        """Let go of all entries of a group."""
        for entry in list(self._groups.get(group, {}).values()):
            self.drop(entry)

    def clear(self) -> None:
        """Let go of all of them."""
        for entry in list(self._order):
            self.drop(entry)

    def _evict(self) -> None:
        while self.bytes > self.max_bytes or len(self._order) > self.max_entries:
            self.evictions += 1
            self.drop(next(iter(self._order)))
