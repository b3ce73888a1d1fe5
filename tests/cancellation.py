"""Cancels a piece of work, twice, in each turn of the event loop that it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import TypeVar

W = TypeVar("W")


async def cancelled_everywhere(
    world: Callable[[], AbstractAsyncContextManager[W]], work: Callable[[W], Awaitable[object]]
) -> AsyncIterator[tuple[int, W]]:
    """Yield a world for each turn of the event loop in which `work` was cancelled, until it ends first."""
    turn = 0
    while True:
        async with world() as here:
            task = asyncio.ensure_future(work(here))
            for _ in range(turn):
                await asyncio.sleep(0)
            too_late = task.done()
            task.cancel()
            # Cancel again during the clean-up, as an impatient caller's timeout would.
            await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            yield turn, here
        if too_late:
            return
        turn += 1
