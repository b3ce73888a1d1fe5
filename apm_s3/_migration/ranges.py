"""Where a range of keys is best cut in two, without knowing what is in it. Pure.

S3 lists in the order of UTF-8 bytes, which is that of Python's strings. A cut needs no key at its place: it only has to
lie between two keys, which a request for the first key behind it tells.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

LAST = "\x7f"
"""Behind every ASCII character that can be seen."""

_FIRST, _END, _SURROGATES = 0x20, 0x110000, range(0xD800, 0xE000)
_DEPTH = 12
"""Characters of a key by which the width of a range is judged."""


def alphabet_of(keys: Iterable[str]) -> str:
    """The characters of some keys, in order: those of others are likely among them."""
    return "".join(sorted(set("".join(keys))))


def ends(first: str, last: str) -> list[str]:
    """Places behind which there may be no keys any more, nearest first, given the first and last key of a page."""
    common = 0
    while common < min(len(first), len(last)) and first[common] == last[common]:
        common += 1
    return [first[:length] + LAST for length in range(common, -1, -1)]


def middle(after: str, upto: str, alphabet: str) -> str | None:
    """A place between `after` and `upto`, about in the middle; None where there is none."""
    at = 0
    while at < min(len(after), len(upto)) and after[at] == upto[at]:
        at += 1
    high = ord(upto[at]) if at < len(upto) else _END
    found = _between(after, at, high, alphabet)
    return found if found is not None and after < found < upto else None


def _between(after: str, at: int, high: int, alphabet: str) -> str | None:
    """A place that begins as `after` does up to `at`, and goes on below `high` there."""
    while at <= len(after):
        low = ord(after[at]) if at < len(after) else _FIRST - 1
        known = [char for char in alphabet if low < ord(char) < high]
        if known:
            return after[:at] + known[len(known) // 2]
        if high - low > 1 and (code := (low + high) // 2) not in _SURROGATES and low < code:
            return after[:at] + chr(code)
        # Neighbours: the place is deeper, where any character may follow.
        at, high = at + 1, ord(LAST)
    return None


def width(after: str | None, upto: str | None, alphabet: Sequence[str]) -> float:
    """How much of all keys lies between, from 0 to 1, if every character is as frequent."""
    return (1.0 if upto is None else _place(upto, alphabet)) - (0.0 if after is None else _place(after, alphabet))


def _place(key: str, alphabet: Sequence[str]) -> float:
    place, step = 0.0, 1.0
    for char in key[:_DEPTH]:
        step /= len(alphabet) + 1
        place += bisect_left(alphabet, char) * step
    return place
