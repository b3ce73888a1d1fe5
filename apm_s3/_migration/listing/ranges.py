"""Finds places at which to cut a range of keys in two without knowing the keys in it. Pure.

S3 lists in the order of UTF-8 bytes, which is also the order of Python's strings. A cut needs no key at its place: it
only has to lie between two keys, which a request for the first key after it shows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

LAST = "\x7f"
"""Sorts after every printable ASCII character."""

_FIRST, _END, _SURROGATES = 0x20, 0x110000, range(0xD800, 0xE000)
_DEPTH = 12
"""Leading characters of a key that are used to estimate the width of a range."""


def alphabet_of(keys: Iterable[str]) -> str:
    """Return the characters of some keys in order, as a guess at the characters of the others."""
    return "".join(sorted(set("".join(keys))))


def ends(first: str, last: str) -> list[str]:
    """Return likely ends of the keys, nearest first, from the first and last key of a page."""
    common = 0
    while common < min(len(first), len(last)) and first[common] == last[common]:
        common += 1
    return [first[:length] + LAST for length in range(common, -1, -1)]


def middle(after: str, upto: str, alphabet: str) -> str | None:
    """Return a place about halfway between `after` and `upto`, or None if there is none."""
    at = 0
    while at < min(len(after), len(upto)) and after[at] == upto[at]:
        at += 1
    high = ord(upto[at]) if at < len(upto) else _END
    found = _between(after, at, high, alphabet)
    return found if found is not None and after < found < upto else None


def _between(after: str, at: int, high: int, alphabet: str) -> str | None:
    """Return a place that shares the first `at` characters of `after` and stays below `high` at the next."""
    while at <= len(after):
        low = ord(after[at]) if at < len(after) else _FIRST - 1
        known = [char for char in alphabet if low < ord(char) < high]
        if known:
            return after[:at] + known[len(known) // 2]
        if high - low > 1 and (code := (low + high) // 2) not in _SURROGATES and low < code:
            return after[:at] + chr(code)
        # No character lies between: look one character deeper, where any may follow.
        at, high = at + 1, ord(LAST)
    return None


def width(after: str | None, upto: str | None, alphabet: Sequence[str]) -> float:
    """Estimate the share of all keys between two places, from 0 to 1, as if all characters were equally frequent."""
    return (1.0 if upto is None else _place(upto, alphabet)) - (0.0 if after is None else _place(after, alphabet))


def _place(key: str, alphabet: Sequence[str]) -> float:
    place, step = 0.0, 1.0
    for char in key[:_DEPTH]:
        step /= len(alphabet) + 1
        place += bisect_left(alphabet, char) * step
    return place
