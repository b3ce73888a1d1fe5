"""An LRU cache with limits on entries and bytes. Pure: no clock, no I/O."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

OVERHEAD = 1024
"""Bytes that an entry counts in addition to its value: its key and other objects, measured with tracemalloc on CPython
3.11."""


class Key(NamedTuple):
    """The key of an entry.

    Attributes:
        group: what is invalidated together: an object, a bucket.
        detail: which reading of it.
    """

    group: tuple[str, str, str]
    detail: Any


class Entry:
    """One cached value. Times are seconds of one monotonic clock.

    Attributes:
        asked_at: when its request started; the value is not older.
        order: the number of that request, in the order of their starts.
        fresh_until: until when it is served without a request.
        kept_until: when it expires.
        retry_at: after a failed request, the time of the next one.
        held: whether it is still in the cache. Code that keeps a reference to an entry must check this.
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
        """Return whether the entry can expire."""
        return self.kept_until != math.inf


class Entries:
    """Entries by group and detail, in the order of their use.

    Attributes:
        bytes: their total size.
        evictions: how many were removed because of the limits.
        ageing: how many of them can expire.
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
        """Mark a held entry as just used. This is the bound method itself, because it is on the hottest path."""

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Entry]:
        """Iterate from the least recently used entry."""
        return iter(self._order)

    def get(self, key: Key) -> Entry | None:
        """Return the entry of `key`; this does not count as a use."""
        group = self._groups.get(key.group)
        return None if group is None else group.get(key.detail)

    def put(self, entry: Entry) -> None:
        """Store `entry`, replace the one with its key, and evict others if needed. It may itself be too large."""
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
        """Count `by` more bytes for an entry, if it is still held."""
        if entry.held:
            entry.cost += by
            self.bytes += by
            self._evict()

    def drop(self, entry: Entry) -> None:
        """Remove a held entry and its value."""
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
        """Remove all entries of a group."""
        for entry in list(self._groups.get(group, {}).values()):
            self.drop(entry)

    def clear(self) -> None:
        """Remove all entries."""
        for entry in list(self._order):
            self.drop(entry)

    def _evict(self) -> None:
        while self.bytes > self.max_bytes or len(self._order) > self.max_entries:
            self.evictions += 1
            self.drop(next(iter(self._order)))
