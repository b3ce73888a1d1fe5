"""Opens TCP connections to the first address of a host that responds ("happy eyeballs").

https://www.rfc-editor.org/rfc/rfc8305
asyncio's implementation leaks a socket if it is cancelled at the wrong time, and uvloop has none.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress

from aiohappyeyeballs import AddrInfoType, start_connection

from apm_s3._s3.transports.lean.connection import Connection

_DELAY = 0.25
"""Seconds after which the next address is tried as well."""

New = Callable[[], Connection]


async def dial(new: New, host: str, port: int) -> Connection:
    """Open a `new` connection to `host`.

    Raises:
        OSError: the host does not exist, or none of its addresses accepts a connection.
    """
    addresses = await _addresses(host, port)
    if not addresses:
        raise OSError(f"{host} has no address")
    sock = await start_connection(addresses, happy_eyeballs_delay=_DELAY, interleave=1)
    try:
        _, connection = await asyncio.get_running_loop().create_connection(new, sock=sock)
    except BaseException:
        sock.close()
        raise
    return connection


async def _addresses(host: str, port: int) -> list[AddrInfoType]:
    """Resolve the addresses of a host, in the system's order of preference."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.version == 4:
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
        if not address.scope_id:
            return [(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))]
    return list(await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM))
