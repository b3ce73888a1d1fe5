"""A pytest plugin (`-p tests.in_debug_mode`): asyncio's debug mode, whose warnings fail the test.

https://docs.python.org/3/library/asyncio-dev.html#debug-mode. Slow callbacks are left to `tests.faults.watchdog`: by the
time of day, a busy machine has many.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

_OF_TEST_SERVERS = ("Error on transport creation for incoming connection", "Fatal error on SSL protocol")
"""What asyncio says where a client refuses a certificate: to the server, and for want of TLS within TLS in 3.11."""


class _Collecting(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not record.getMessage().startswith(_OF_TEST_SERVERS):
            self.lines.append(self.format(record))


@pytest.fixture(autouse=True)
async def _asyncio_has_nothing_to_say() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 3600.0
    logger, collecting = logging.getLogger("asyncio"), _Collecting()
    logger.addHandler(collecting)
    try:
        yield
    finally:
        logger.removeHandler(collecting)
    assert collecting.lines == []
