"""Protects aiohttp, which aiobotocore uses, against servers that lie.

Bodies that it reads completely are limited in size, and a connection with unread data is not used for the next request,
because the data would be read as the response.
"""

from __future__ import annotations

import select
from typing import Any
from weakref import WeakSet

from aiohttp import BaseConnector, ClientResponse
from aiohttp.connector import Connection

from apm_s3._s3.transports.bodies import MAX_DOCUMENT, MAX_ERROR
from apm_s3._s3.transports.lean.connection import ConnectionBroken


class BoundedResponse(ClientResponse):
    """A response whose `read` has a limit, for errors or documents. Objects are read as streams."""

    async def read(self) -> bytes:
        """Return the body; only the beginning of an error that is too long.

        Raises:
            ConnectionBroken: it is longer than any document of S3.
        """
        if self._body is None:
            try:
                self._body = await self._bounded(MAX_ERROR if self.status >= 300 else MAX_DOCUMENT)
            except BaseException:
                self.close()
                raise
        return self._body

    async def _bounded(self, limit: int) -> bytes:
        pieces = bytearray()
        while len(pieces) <= limit:
            piece = await self.content.readany()
            if not piece:
                return bytes(pieces)
            pieces += piece
        self.close()
        if self.status < 300:
            raise ConnectionBroken(f"the response is longer than {limit} bytes")
        return bytes(pieces)


def look_before_reuse(connector: BaseConnector | None) -> None:
    """Make `connector` drop connections on which data has arrived since their last response."""
    if connector is None or getattr(connector, "_apm_s3_looks", False):
        return
    connect = connector.connect
    used: WeakSet[Any] = WeakSet()

    async def connect_quiet(*arguments: Any, **named: Any) -> Connection:
        while True:
            connection = await connect(*arguments, **named)
            protocol = connection.protocol
            if protocol not in used:
                # A new connection: data that TLS sends after the handshake is not a response.
                used.add(protocol)
                return connection
            if protocol is not None and not protocol.should_close and not _has_arrivals(connection):
                return connection
            connection.close()

    connector.connect = connect_quiet  # type: ignore[method-assign]
    connector._apm_s3_looks = True  # type: ignore[attr-defined] # noqa: SLF001 - a mark of our own


def _has_arrivals(connection: Connection) -> bool:
    sock = connection.transport.get_extra_info("socket") if connection.transport is not None else None
    if sock is None:
        return False
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([sock.fileno()], [], [], 0)[0])
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLIN)
    return bool(poller.poll(0))
