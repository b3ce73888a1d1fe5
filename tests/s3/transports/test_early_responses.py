"""A success that arrives as the last bytes of a body leave, and one that arrives before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from apm_s3._s3.transports.lean.connection import ConnectionBroken
from apm_s3._s3.transports.lean.sender import _send


class Responded:
    """A response that is there at once."""

    status = 200

    async def wait_while(self, sending: asyncio.Task[bool]) -> None:
        await asyncio.sleep(0)


class Sending:
    """A connection whose body has left after `turns` turns of the loop; None: never."""

    def __init__(self, turns: int | None) -> None:
        self._turns = turns

    async def write_body(self, head: bytes, pieces: AsyncGenerator[bytes, None]) -> bool:
        if self._turns is None:
            await asyncio.get_running_loop().create_future()
        for _ in range(self._turns or 0):
            await asyncio.sleep(0)
        return True


async def body() -> AsyncGenerator[bytes, None]:
    yield b"content"


async def send(turns: int | None) -> None:
    connection: Any = Sending(turns)
    response: Any = Responded()
    await _send(connection, response, b"PUT", body())


@pytest.mark.parametrize("turns", [0, 1, 2, 4])
async def test_a_success_as_the_last_bytes_leave_is_one(turns: int) -> None:
    await send(turns)


async def test_a_success_before_the_body_was_sent_is_none() -> None:
    with pytest.raises(ConnectionBroken, match="before the whole body"):
        await send(None)
