"""S3's prices for requests. Pure."""

from __future__ import annotations

from collections.abc import Mapping

SOURCE = "AWS list prices, us-east-1, 2025"
"""https://aws.amazon.com/s3/pricing/."""

PUT_CLASS, GET_CLASS = "PUT, COPY, POST, LIST", "GET, HEAD"

_PUT_PER_1000: Mapping[str, float] = {
    "STANDARD": 0.005,
    "INTELLIGENT_TIERING": 0.005,
    "STANDARD_IA": 0.01,
    "ONEZONE_IA": 0.01,
    "GLACIER_IR": 0.02,
    "GLACIER": 0.03,
    "DEEP_ARCHIVE": 0.05,
}
_GET_PER_1000 = 0.0004


def price(writes: Mapping[str, int], lists: int, reads: int) -> float:
    """Return the price in dollars of writes (by storage class), listings and reads."""
    dear = sum(count * _PUT_PER_1000.get(name, _PUT_PER_1000["STANDARD"]) for name, count in writes.items())
    return (dear + lists * _PUT_PER_1000["STANDARD"] + reads * _GET_PER_1000) / 1000
