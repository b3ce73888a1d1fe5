"""S3's clock, where this machine's is off: S3 takes no signature whose time is a quarter of an hour from its own."""

from __future__ import annotations

import time

MAX_SKEW = 15 * 60
"""Seconds: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html."""


class Clock:
    """The time by which requests are signed: this machine's, until S3 corrects it.

    Attributes:
        offset: seconds by which S3's clock is ahead of this machine's.
    """

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        """Unix seconds."""
        return time.time() + self.offset

    def correct(self, server_time: float) -> None:
        """S3 has refused a signature for its time, and told its own (Unix seconds)."""
        self.offset = server_time - time.time()

    def is_off(self, server_time: float | None) -> bool:
        """Whether S3 refuses what is signed now, given the time that it told."""
        return server_time is not None and abs(server_time - self.now()) > MAX_SKEW
