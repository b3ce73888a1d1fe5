"""TCP connections to whichever address of a host answers first: "happy eyeballs".

https://www.rfc-editor.org/rfc/rfc8305
asyncio's own way to do so forgets a socket when it is cancelled at the wrong moment, and uvloop has none.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain, zip_longest

from apm_s3._s3.transports.lean.connection import Connection

_DELAY = 0.25
"""Seconds after which the next address is tried, too."""

New = Callable[[], Connection]


async def dial(new: New, host: str, port: int) -> Connection:
    """A `new` connection to `host`.

    Raises:
        OSError: there is no such host, or none of its addresses takes a connection.
    """
    addresses = await _addresses(host, port)
    if len(addresses) == 1:
        return await _attempt(new, addresses[0], port)
    attempts: set[asyncio.Task[Connection]] = set()
    failure: OSError | None = None
    left = iter(addresses)
    try:
        while True:
            address = next(left, None)
            if address is not None:
                attempts.add(asyncio.create_task(_attempt(new, address, port), name=f"apm_s3 connects to {address}"))
            elif not attempts:
                break
            delay = _DELAY if address is not None else None
            done, attempts = await asyncio.wait(attempts, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            attempts |= done
            for attempt in done:
                attempts.discard(attempt)
                try:
                    connection = attempt.result()
                except OSError as exc:
                    failure = failure or exc
                else:
                    return connection
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(_give_up)
    raise failure or OSError(f"{host} has no address")


async def _attempt(new: New, address: str, port: int) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(new, address, port)
    return connection


def _give_up(attempt: asyncio.Task[Connection]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().abort()


async def _addresses(host: str, port: int) -> Sequence[str]:
    """Those of a host, families in turn, the one that the system prefers first."""
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return [host]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families: dict[int, list[str]] = {}
    for family, _, _, _, address in found:
        families.setdefault(family, []).append(str(address[0]))
    return [address for address in chain(*zip_longest(*families.values())) if address is not None]
