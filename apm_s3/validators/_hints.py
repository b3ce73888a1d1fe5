"""Did you mean: the known name nearest to a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

_LONGEST, _MOST = 80, 300


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """`did you mean scrape_interval?` where a known name is near, else None."""
    if not name or len(name) > _LONGEST:
        return None
    # Others are too far off by their length alone; of many the first ones will do.
    shortest, longest = len(name) * 0.6, len(name) / 0.6
    fitting = islice((text for text in known if shortest <= len(text) <= longest), _MOST)
    candidates = {candidate.lower().replace("-", "_"): candidate for candidate in fitting}
    near = get_close_matches(name.lower().replace("-", "_"), candidates, n=1, cutoff=0.75)
    return f"did you mean {candidates[near[0]]}?" if near else None
