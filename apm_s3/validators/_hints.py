"""Did you mean: the known name nearest to a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

_LONGEST, _MOST = 80, 300


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """`did you mean scrape_interval?` where a known name is near, else None."""
    near = nearest(name, known)
    return f"did you mean {near}?" if near is not None else None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be, None where none is near."""
    if not name or len(name) > _LONGEST:
        return None
    # Others are too far off by their length alone; of many the first ones will do.
    shortest, longest = len(name) * 0.6, len(name) / 0.6
    fitting = islice((text for text in known if shortest <= len(text) <= longest), _MOST)
    candidates = {candidate.lower().replace("-", "_"): candidate for candidate in fitting}
    plain = name.lower().replace("-", "_")
    near = get_close_matches(plain, candidates, n=1, cutoff=0.75)
    # Two letters that changed places make much of a short name.
    near = near or [candidate for candidate in candidates if len(plain) > 2 and sorted(candidate) == sorted(plain)]
    return candidates[near[0]] if near else None
