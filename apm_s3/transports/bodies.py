"""The whole body of an answer, put together where that does not hold the event loop."""

from __future__ import annotations

import asyncio

from aiohttp import ClientResponse

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
