"""Bodies of responses: joined without blocking the event loop, and checked for damage."""

from __future__ import annotations

import asyncio

from apm_s3.errors import IntegrityError

MAX_ERROR = 1024**2
"""Maximum bytes of an error response; S3's are a few KiB."""

MAX_DOCUMENT = 32 * 1024**2
"""Maximum bytes of a document. A page of 1000 keys of 1024 bytes each, all percent-encoded, has 4 MiB."""

# A millisecond per MiB, including page faults; `bytes.join` releases the interpreter lock meanwhile.
_LARGE = 4 * 1024**2


async def joined(pieces: list[bytes]) -> bytes:
    """Join the pieces, in a thread if they are large."""
    if sum(map(len, pieces)) < _LARGE:
        return b"".join(pieces)
    return await asyncio.to_thread(b"".join, pieces)


def corrupted(operation: str, bucket: str, key: str, algorithm: str, actual: str, expected: str) -> IntegrityError:
    """Return the error for an object whose bytes do not match its checksum."""
    return IntegrityError(
        f"the {algorithm} of the received bytes is {actual}, but S3 sent {expected}",
        operation=operation,
        bucket=bucket,
        key=key,
        hint="read it again; if this repeats, the stored object is damaged",
    )
