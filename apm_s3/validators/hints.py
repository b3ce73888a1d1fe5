"""Did you mean: the known name nearest to a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 80


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """`did you mean scrape_interval?` where a known name is near, else None."""
    if not name or len(name) > _LONGEST:
        return None
    candidates = {candidate.lower().replace("-", "_"): candidate for candidate in known}
    near = get_close_matches(name.lower().replace("-", "_"), candidates, n=1, cutoff=0.75)
    return f"did you mean {candidates[near[0]]}?" if near else None
