"""The rest of a large body, received past aiohttp into one buffer.

aiohttp makes two objects of every 256 KiB that come. A buffered protocol of asyncio makes none, which saves a fifth of
the CPU of a large download. The price is the connection: aiohttp never sees the end of the body, so it cannot be used
for another request.
https://docs.python.org/3/library/asyncio-protocol.html#buffered-streaming-protocols
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import ClientResponse

WORTHWHILE = 8 * 1024**2
"""Bytes left of a body from which a new connection for the next request is the smaller cost."""

_BUFFER = 1024**2
_UNHELD = 256 * 1024
"""Bytes of a body up to which aiohttp, which holds back from twice its `read_bufsize` on, certainly holds none."""

Take = Callable[[memoryview], object]


class Receiver(asyncio.BufferedProtocol):
    """Takes a connection over in the middle of a body.

    Attributes:
        ended: done once all has come, or nothing more will; fails with what broke the connection.
        failure: what `take` raised. Nothing is taken any more then.
        left: bytes that are still to come.
        total_bytes: bytes that have come. See `stalls.Counter`.
    """

    def __init__(self, transport: asyncio.Transport, left: int, take: Take) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failure: Exception | None = None
        self.left = left
        self.total_bytes = 0
        self._transport = transport
        self._before = transport.get_protocol()
        self._take = take
        self._view = memoryview(bytearray(min(_BUFFER, left)))
        self._filled = 0
        transport.set_protocol(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Where the next bytes go."""
        return self._view[self._filled : self._filled + self.left]

    def buffer_updated(self, nbytes: int) -> None:
        """So many have come."""
        self._filled += nbytes
        self.left -= nbytes
        self.total_bytes += nbytes
        if self._filled == len(self._view) or not self.left:
            self._hand_over()
        if not self.left:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits, and aiohttp, which waits for it when it closes."""
        self._hand_over()
        self._end(exc)
        self._before.connection_lost(exc)

    def _hand_over(self) -> None:
        filled, self._filled = self._filled, 0
        if not filled or self.ended.done():
            return
        try:
            self._take(self._view[:filled])
        except Exception as exc:  # noqa: BLE001 - for `pour` to raise
            self.failure = exc
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)


def takeable(response: ClientResponse, left: int) -> asyncio.Transport | None:
    """The connection of `response`, if all that aiohttp has received of the body is in `response.content`."""
    if left < WORTHWHILE or response.connection is None or "Transfer-Encoding" in response.headers:
        return None
    content = response.content
    transport = response.connection.transport
    if transport is None or not transport.is_reading() or transport.is_closing() or content.exception() is not None:
        return None
    return transport if content.total_bytes <= _UNHELD else None
