"""S3's prices for requests. Pure."""

from __future__ import annotations

from collections.abc import Mapping

SOURCE = "us-east-1 list prices as third parties quoted them in 2026"
"""https://c3x.dev/blog/s3-request-fees-explained; for DEEP_ARCHIVE
https://gist.github.com/regispires/d3604636ec0e8d0d3ecab41f009f3d1c. They were not confirmed: AWS's own page fills its
prices in by script, https://aws.amazon.com/s3/pricing/."""

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
_GET_PER_1000: Mapping[str, float] = {"STANDARD": 0.0004, "STANDARD_IA": 0.001, "ONEZONE_IA": 0.001, "GLACIER_IR": 0.01}


def price(writes: Mapping[str, int], lists: int, reads: Mapping[str, int]) -> float:
    """Return the price in dollars of writes and reads (by storage class) and listings."""
    standard_put, standard_get = _PUT_PER_1000["STANDARD"], _GET_PER_1000["STANDARD"]
    dear = sum(count * _PUT_PER_1000.get(name, standard_put) for name, count in writes.items())
    cheap = sum(count * _GET_PER_1000.get(name, standard_get) for name, count in reads.items())
    return (dear + lists * standard_put + cheap) / 1000
