"""The body of an answer: put together where that does not hold the event loop, or found to be damaged."""

from __future__ import annotations

import asyncio

from apm_s3.errors import IntegrityError

MAX_ERROR = 1024**2
"""Bytes of an error that are read; S3's own are a few KiB."""

MAX_DOCUMENT = 32 * 1024**2
"""Bytes of a document that are read. A page of 1000 keys of 1024 bytes each, all percent-encoded, has 4 MiB."""

# A millisecond a MiB, page faults included; `bytes.join` gives the interpreter lock away meanwhile.
_LARGE = 4 * 1024**2


async def joined(pieces: list[bytes]) -> bytes:
    """The pieces as one, in a thread when they are large."""
    if sum(map(len, pieces)) < _LARGE:
        return b"".join(pieces)
    return await asyncio.to_thread(b"".join, pieces)


def corrupted(operation: str, bucket: str, key: str, algorithm: str, actual: str, expected: str) -> IntegrityError:
    """The error for an object whose bytes do not match its checksum."""
    return IntegrityError(
        f"the {algorithm} of what came is {actual}, but S3 says {expected}",
        operation=operation,
        bucket=bucket,
        key=key,
        hint="read it again; if it stays so, the object is damaged where it is stored",
    )
