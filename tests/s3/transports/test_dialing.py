"""Hosts with several addresses."""

from __future__ import annotations

import asyncio
import gc
import socket
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from tests.seams.transports import Connection, dial

DEAD, ALIVE, SLOW = "127.0.0.2", "127.0.0.1", "127.0.0.3"
Dialed = list[str]


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Of a server on `ALIVE` alone."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hold, ALIVE, 0) as server:
        yield int(server.sockets[0].getsockname()[1])


@pytest.fixture
def dialed(monkeypatch: pytest.MonkeyPatch) -> Dialed:
    """The addresses that are tried. `SLOW` never responds. The name of a host lists its addresses."""
    tried: Dialed = []
    connect = BaseSelectorEventLoop.sock_connect

    async def resolve(self: Any, host: str, port: int, **_: Any) -> list[Any]:
        families = [(socket.AF_INET6 if ":" in address else socket.AF_INET, address) for address in host.split(",")]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port, 0, 0)[: 4 if family == socket.AF_INET6 else 2])
            for family, address in families
            if address
        ]

    async def sock_connect(self: Any, sock: socket.socket, address: Any) -> None:
        tried.append(address[0])
        if address[0] == SLOW:
            await asyncio.sleep(3600)
        await connect(self, sock, address)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    monkeypatch.setattr(BaseSelectorEventLoop, "sock_connect", sock_connect)
    return tried


def new() -> Connection:
    return Connection(lambda _connection: None)


async def connected(host: str, port: int) -> bool:
    connection = await dial(new, host, port)
    usable = connection.usable
    connection.abort()
    await asyncio.sleep(0.01)
    return usable


async def test_the_next_address_is_tried_after_a_refusal(port: int, dialed: Dialed) -> None:
    assert await connected(f"{DEAD},{ALIVE},{SLOW}", port)
    assert dialed == [DEAD, ALIVE]


async def test_the_next_address_is_tried_while_one_stays_silent(port: int, dialed: Dialed) -> None:
    assert await connected(f"{SLOW},{ALIVE}", port)
    assert dialed == [SLOW, ALIVE]


async def test_address_families_alternate(port: int, dialed: Dialed) -> None:
    assert await connected(f"{DEAD},{ALIVE},::1", port)
    assert dialed == [DEAD, "::1", ALIVE]


async def test_if_all_addresses_fail_every_failure_is_reported(port: int, dialed: Dialed) -> None:
    with pytest.raises(OSError, match=rf"{DEAD}.*127\.0\.0\.4"):
        await dial(new, f"{DEAD},127.0.0.4", port)
    assert dialed == [DEAD, "127.0.0.4"]


async def test_a_host_without_addresses_is_an_error(dialed: Dialed) -> None:
    with pytest.raises(OSError, match="has no address"):
        await dial(new, ",", 1)


async def test_a_cancellation_ends_every_attempt(dialed: Dialed) -> None:
    dialing = asyncio.create_task(dial(new, f"{SLOW},{SLOW}", 1))
    while len(dialed) < 2:  # noqa: ASYNC110 - nothing tells when the second one begins
        await asyncio.sleep(0.01)
    dialing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialing
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("host", [ALIVE, f"{ALIVE},{ALIVE}", f"{DEAD},{ALIVE}"])
async def test_no_socket_stays_open_whenever_a_connect_is_cancelled(port: int, dialed: Dialed, host: str) -> None:
    # Sockets that nobody closes warn when they are collected, which fails the test.
    for turns in range(20):
        dialing = asyncio.create_task(dial(new, host, port))
        for _ in range(turns):
            await asyncio.sleep(0)
        dialing.cancel()
        with suppress(asyncio.CancelledError):
            (await dialing).abort()
        await asyncio.sleep(0)
        gc.collect()
