"""What slows requests down: pauses between attempts and between regular requests, and a limit that adapts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import inf

_SPREAD = 0.2
"""Part of an interval that is added at random."""
_DECREASE = 0.5


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


class AdaptiveLimit:
    """How many may be in flight: `most`, until S3 asks to slow down.

    A throttled response halves it, once for all requests that were in flight then; each success adds 1/limit, so that a
    full round of successes adds one (additive increase, multiplicative decrease).
    """

    __slots__ = ("_slowed_at", "most", "value")

    def __init__(self, most: int) -> None:
        self.most = self.value = float(most)
        self._slowed_at = 0.0

    def slowed(self, sent_at: float, in_flight: float = inf) -> bool:
        """Record that S3 throttled a request sent at `sent_at` (`time.monotonic`), and return whether that is news.

        It is none if the request was sent before the last cut. Halving begins at `in_flight`, if that is less.
        """
        # A burst of 503s is one message: all of these requests were sent at the old rate. Halving for each of them
        # would leave one of 64 after six responses, and a full round of successes adds only one. A request that was
        # sent before the last cut says nothing about the rate since, however late its response comes.
        if sent_at < self._slowed_at:
            return False
        self._slowed_at = time.monotonic()
        self.value = max(1.0, min(self.value, in_flight) * _DECREASE)
        return True

    def succeeded(self) -> None:
        """Record that S3 served a request."""
        self.value = min(self.most, self.value + 1 / self.value)
