"""Suggestions for mistyped names."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

_LONGEST, _MOST = 80, 300


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return `did you mean scrape_interval?` if a known name is similar, else None."""
    near = nearest(name, known)
    return f"did you mean {near}?" if near is not None else None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` was probably meant to be, or None."""
    if not name or len(name) > _LONGEST:
        return None
    # Only documents with mistakes need it.
    from difflib import get_close_matches  # noqa: PLC0415

    # Names of a very different length cannot be similar; of many, the first ones are enough.
    shortest, longest = len(name) * 0.6, len(name) / 0.6
    fitting = islice((text for text in known if shortest <= len(text) <= longest), _MOST)
    candidates = {candidate.lower().replace("-", "_"): candidate for candidate in fitting}
    plain = name.lower().replace("-", "_")
    near = get_close_matches(plain, candidates, n=1, cutoff=0.75)
    # In a short name, two swapped letters reduce the similarity a lot.
    near = near or [candidate for candidate in candidates if len(plain) > 2 and sorted(candidate) == sorted(plain)]
    return candidates[near[0]] if near else None
