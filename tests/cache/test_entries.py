"""Entries against a model: a plain list in the order of use."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.profiles import examples
from tests.seams.cache import OVERHEAD, Entries, Entry, Key

MAX_ENTRIES, MAX_BYTES = 4, 3 * (OVERHEAD + 100)
KEYS = st.builds(
    Key, st.sampled_from([("object", "b", "k"), ("object", "b", "l"), ("bucket", "b", "")]), st.integers(0, 2)
)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.entries = Entries(MAX_ENTRIES, MAX_BYTES)
        self.model: list[Entry] = []
        self.evicted = 0

    def forget(self, wanted) -> None:
        for entry in [entry for entry in self.model if wanted(entry)]:
            self.model.remove(entry)
            assert not entry.held
            assert entry.value is None

    def evict(self) -> None:
        while len(self.model) > MAX_ENTRIES or sum(entry.cost for entry in self.model) > MAX_BYTES:
            assert not self.model.pop(0).held
            self.evicted += 1

    @rule(key=KEYS, cost=st.integers(0, MAX_BYTES), ages=st.booleans())
    def put(self, key: Key, cost: int, ages: bool) -> None:
        entry = Entry(key, object(), cost, 2.0 if ages else float("inf"))
        self.entries.put(entry)
        self.forget(lambda old: old.key == key)
        if entry.cost <= MAX_BYTES:
            self.model.append(entry)
            self.evict()
        assert entry.held == (entry.cost <= MAX_BYTES)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def touch(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.model))
        self.entries.touch(entry)
        self.model.remove(entry)
        self.model.append(entry)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), by=st.integers(0, MAX_BYTES))
    def grow(self, data: st.DataObject, by: int) -> None:
        self.entries.grow(data.draw(st.sampled_from(self.model)), by)
        self.evict()

    @rule(key=KEYS)
    def drop_group(self, key: Key) -> None:
        self.entries.drop_group(key.group)
        self.forget(lambda entry: entry.key.group == key.group)

    @rule()
    def clear(self) -> None:
        self.entries.clear()
        self.forget(lambda entry: True)

    @invariant()
    def agrees(self) -> None:
        assert list(self.entries) == self.model
        assert len(self.entries) == len(self.model) <= MAX_ENTRIES
        assert self.entries.bytes == sum(entry.cost for entry in self.model) <= MAX_BYTES
        assert self.entries.evictions == self.evicted
        assert self.entries.ageing == sum(entry.ages for entry in self.model)
        assert all(self.entries.get(entry.key) is entry for entry in self.model)
        assert self.entries._groups.keys() == {entry.key.group for entry in self.model}


TestEntries = Machine.TestCase
TestEntries.settings = examples(60)


def test_a_cache_without_room_for_entries_stays_empty() -> None:
    entries = Entries(0, MAX_BYTES)
    entries.put(Entry(Key(("object", "b", "k"), "body"), b"", 0))
    assert not len(entries)


def test_a_dropped_entry_does_not_grow() -> None:
    entries = Entries(MAX_ENTRIES, MAX_BYTES)
    entry = Entry(Key(("object", "b", "k"), "body"), b"", 0)
    entries.put(entry)
    entries.clear()
    entries.grow(entry, 100)
    assert entries.bytes == 0


def test_a_cache_with_room_for_one_entry_holds_the_last_one() -> None:
    first, second = (Entry(Key(("object", "b", "k"), number), number, 0, 1.0) for number in (1, 2))
    one = Entries(1, MAX_BYTES)

    one.put(first)
    one.put(second)

    assert list(one) == [second]
    assert (first.held, second.held) == (False, True)


def test_entries_that_fill_a_cache_exactly_are_all_held() -> None:
    entries = Entries(MAX_ENTRIES, 2 * (OVERHEAD + 100))
    exact = [Entry(Key(("object", "b", "k"), number), number, 100) for number in (1, 2)]
    for entry in exact:
        entries.put(entry)
    assert list(entries) == exact

    entries.grow(exact[1], 1)
    assert list(entries) == exact[1:]
