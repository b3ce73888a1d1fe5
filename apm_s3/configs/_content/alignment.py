"""Aligns two sequences, in bounded time. Pure.

difflib is at least quadratic: it only gets the parts between items that are unique on both sides (patience diff,
https://bramcohen.livejournal.com/73318.html), and not even these if they are too large.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from difflib import SequenceMatcher

Block = tuple[int, int, int, int]
"""old[start:stop] and new[start:stop], which differ; either may be empty."""

MAX_PRODUCT = 250_000
"""Maximum product of the lengths that difflib gets."""


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
    if (old_stop - old_start) * (new_stop - new_start) > MAX_PRODUCT:
        yield block
        return
    matcher = SequenceMatcher(None, old[old_start:old_stop], new[new_start:new_stop], autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag != "equal":
            yield old_start + i1, old_start + i2, new_start + j1, new_start + j2
