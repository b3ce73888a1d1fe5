"""S3's clock, if this machine's is wrong: S3 refuses signatures whose time differs by a quarter of an hour."""

from __future__ import annotations

import time

MAX_SKEW = 15 * 60
"""Seconds: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html."""


class Clock:
    """The time for signing requests: this machine's, until S3 corrects it.

    Attributes:
        offset: seconds by which S3's clock is ahead of this machine's.
    """

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        """Return the time in Unix seconds."""
        return time.time() + self.offset

    def correct(self, server_time: float) -> None:
        """Correct the clock after S3 refused a signature and sent its own time (Unix seconds)."""
        self.offset = server_time - time.time()

    def is_off(self, server_time: float | None) -> bool:
        """Return whether S3 would refuse a signature of this clock, given the time that it sent."""
        return server_time is not None and abs(server_time - self.now()) > MAX_SKEW
