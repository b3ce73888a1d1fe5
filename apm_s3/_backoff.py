"""The pauses between attempts, the same for everything that is retried, and between regular requests."""

from __future__ import annotations

from collections.abc import Iterator

_SPREAD = 0.2
"""Part of an interval that is added at random."""


class Backoff(Iterator[float]):
    """Endless pauses in seconds: random between 0 and a ceiling that doubles from `initial` up to `longest`.

    "Full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """

    __slots__ = ("_ceiling", "_longest")

    def __init__(self, initial: float, longest: float) -> None:
        self._ceiling = min(initial, longest)
        self._longest = longest

    def __next__(self) -> float:
        import random  # noqa: PLC0415 - most calls succeed at once

        pause = random.uniform(0, self._ceiling)  # noqa: S311 - spreads requests, no secret
        self._ceiling = min(self._ceiling * 2, self._longest)
        return pause


def spread(interval: float) -> float:
    """Return the interval with up to a fifth added at random, so that many processes do not ask at the same moment."""
    import random  # noqa: PLC0415 - as above

    return interval * (1 + random.uniform(0, _SPREAD))  # noqa: S311 - spreads requests, no secret
