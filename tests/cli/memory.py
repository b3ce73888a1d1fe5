"""An S3 server in memory in a thread of its own, for commands that run in this process with an event loop of theirs."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.server import Exchange, FaultyS3


@contextmanager
def memory_server() -> Iterator[FaultyS3]:
    """Start the server, and stop it at the end."""
    server = FaultyS3()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="memory s3", daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def press_ctrl_c(exchange: Exchange) -> None:
    """Interrupt this process when a request has arrived, and never send a response."""
    os.kill(os.getpid(), signal.SIGINT)
    await exchange.hang()
