"""Part planning for transfers of large objects. Pure: sizes in, ranges out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from apm_s3.errors import ObjectTooLarge

MIB = 1024**2
MIN_PART, MAX_PART, MAX_PARTS = 5 * MIB, 5 * 1024 * MIB, 10_000
"""Limits of a multipart upload, https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html."""

_PARTS_OF_ONE_SIZE = 1_000


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes [start, stop) of an object, sent as part `number`."""

    number: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Return the number of bytes in the part."""
        return self.stop - self.start


def plan_parts(size: int, preferred: int) -> tuple[Part, ...]:
    """Split `size` bytes into parts of `preferred` bytes, or larger parts if 10 000 of those are not enough.

    Raises:
        ObjectTooLarge: `size` does not fit into 10 000 parts of 5 GiB.
    """
    part_size = max(preferred, MIN_PART, -(-size // MAX_PARTS))
    if part_size > MAX_PART:
        raise ObjectTooLarge(size=size, limit=MAX_PART * MAX_PARTS)
    starts = range(0, size, part_size)
    return tuple(Part(number, start, min(start + part_size, size)) for number, start in enumerate(starts, start=1))


def stream_part_size(number: int, preferred: int) -> int:
    """Return the size of part `number` of a stream of unknown size: it doubles every 1000 parts, up to 5 GiB.

    This allows 4.8 TiB in 10 000 parts even with the smallest parts, and small streams never need large buffers.
    """
    return min(max(preferred, MIN_PART) << ((number - 1) // _PARTS_OF_ONE_SIZE), MAX_PART)


def cut_range(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Split [start, stop) into consecutive ranges of `step` bytes; the last one may be shorter."""
    for first in range(start, stop, step):
        yield first, min(first + step, stop)


def composite_etag(etags: Sequence[str]) -> str | None:
    """Return the ETag that most servers give an object of parts with `etags`; None if these are not MD5 sums.

    It can only confirm what was just sent: an object with another ETag may still be the same.
    """
    try:
        digests = [bytes.fromhex(etag.strip('"')) for etag in etags]
    except ValueError:
        return None
    return f'"{hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"'
