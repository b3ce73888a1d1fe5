"""The body of an answer: put together where that does not hold the event loop, or found to be damaged."""

from __future__ import annotations

import asyncio

from aiohttp import ClientResponse

from apm_s3.errors import IntegrityError

# A millisecond a MiB, page faults included; `bytes.join` gives the interpreter lock away meanwhile.
_LARGE = 4 * 1024**2


async def read_whole(response: ClientResponse) -> bytes:
    """All of the body; as with `ClientResponse.read`, the connection is closed when it cannot be read to its end."""
    length = response.content_length
    if length is not None and length < _LARGE:
        return await response.read()
    pieces = []
    try:
        while piece := await response.content.readany():
            pieces.append(piece)
    except BaseException:
        response.close()
        raise
    return await joined(pieces)


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
