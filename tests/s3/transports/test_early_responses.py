"""A success that arrives as the last bytes of a body leave, and one that arrives before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from tests.seams.transports import Connection, ConnectionBroken, send_request

STORED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
PIECE = b"x" * 8192


class FullTransport:
    """A transport whose buffer is full after each large write, as asyncio's is until the system has taken the bytes."""

    def __init__(self, connection: Connection, on_full: Callable[[], object]) -> None:
        self.aborted = False
        self.sent = b""
        self._connection = connection
        self._on_full = on_full

    def get_extra_info(self, name: str) -> None:
        return None

    def write(self, data: bytes) -> None:
        self.sent += data
        if len(data) == len(PIECE):
            self._connection.pause_writing()
            asyncio.get_running_loop().call_soon(self._on_full)

    def abort(self) -> None:
        self.aborted = True
        self._connection.connection_lost(None)


async def body(pieces: int, end: bytes = b"") -> AsyncGenerator[bytes, None]:
    for _ in range(pieces):
        yield PIECE
    if end:
        yield end


class ClosesSlowly:
    """A body of one piece whose source takes more turns of the loop to close than a response is waited for."""

    def __init__(self) -> None:
        self._left = 1

    def __aiter__(self) -> ClosesSlowly:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return PIECE

    async def aclose(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)


class Upload:
    """An upload whose response arrives as soon as the transport's buffer is full.

    Args:
        turns: turns of the loop after the response in which the buffer becomes empty; None: never.
    """

    def __init__(self, turns: int | None, response: bytes = STORED) -> None:
        self.released: list[bool] = []
        self._turns = turns
        self._answer = response
        self.connection = Connection(lambda _connection: None)
        self.connection.released = lambda _connection, usable: self.released.append(usable)
        self.transport = FullTransport(self.connection, self._respond)
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]
        self.response = self.connection.begin("PUT", whole=True)

    async def send(self, pieces: int = 1, end: bytes = b"") -> None:
        await self.send_from(body(pieces, end))

    async def send_from(self, source: Any) -> None:
        await send_request(self.connection, self.response, b"PUT", source)

    def _respond(self) -> None:
        answer, self._answer = self._answer, b""
        if answer:
            self.connection.get_buffer(-1)[: len(answer)] = answer
            self.connection.buffer_updated(len(answer))
        self._empty(self._turns)

    def _empty(self, turns: int | None) -> None:
        if turns == 0:
            self.connection.resume_writing()
        elif turns is not None:
            asyncio.get_running_loop().call_soon(self._empty, turns - 1)


@pytest.mark.parametrize("turns", [0, 1, 2, 4])
async def test_a_success_as_the_last_bytes_leave_is_one(turns: int) -> None:
    upload = Upload(turns)
    await upload.send()
    assert (upload.response.status, upload.transport.sent) == (200, b"PUT" + PIECE)
    # The connection is whole and can be used again.
    assert (upload.released, upload.transport.aborted) == ([True], False)


async def test_a_success_before_the_body_was_sent_is_none() -> None:
    upload = Upload(None)
    with pytest.raises(ConnectionBroken, match="before the whole body"):
        await upload.send()
    assert (upload.released, upload.transport.aborted) == ([], True)


async def test_a_success_in_the_middle_of_a_long_body_is_none() -> None:
    upload = Upload(0)
    with pytest.raises(ConnectionBroken, match="before the whole body"):
        await upload.send(pieces=200)
    assert (upload.released, upload.transport.aborted) == ([], True)


async def test_a_success_before_the_last_bytes_are_written_is_none() -> None:
    upload = Upload(0)
    with pytest.raises(ConnectionBroken, match="before the whole body"):
        await upload.send(end=b"end")
    assert (upload.released, upload.transport.aborted) == ([], True)


async def test_a_source_that_closes_slowly_does_not_end_the_connection() -> None:
    """By then, the connection may serve another request."""
    upload = Upload(0)
    await upload.send_from(ClosesSlowly())
    assert upload.response.status == 200
    assert (upload.released, upload.transport.aborted) == ([True], False)


async def test_a_refusal_while_the_body_leaves_ends_the_connection() -> None:
    upload = Upload(None, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    await upload.send()
    assert (upload.response.status, await upload.response.read()) == (403, b"no")
    assert (upload.released, upload.transport.aborted) == ([], True)


@pytest.mark.parametrize("after", range(12))
async def test_a_cancelled_upload_leaves_no_connection_open(after: int) -> None:
    """Unless the connection was released before: it may serve another request by then."""
    upload = Upload(6)
    task: asyncio.Task[Any] = asyncio.create_task(upload.send())
    for _ in range(after):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    if not upload.response.ended:
        # What the caller does with a response that has not ended.
        upload.response.close()
    assert (upload.released, upload.transport.aborted) in [([True], False), ([], True)]
