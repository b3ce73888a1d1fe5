"""Processes of their own, forked from one that has imported the library: each starts in milliseconds."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.managers", "apm_s3.configs"])


class Child:
    """A process that runs `work(connection, *arguments)`, and says through the connection what comes of it."""

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self._connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=work, args=(theirs, *arguments))
        self._process.start()
        theirs.close()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative after a signal."""
        return self._process.exitcode

    def tell(self, message: Any) -> None:
        """Send `message`."""
        self._connection.send(message)

    async def hear(self) -> Any:
        """The next thing that it says.

        Raises:
            EOFError: it ended.
        """
        return await asyncio.to_thread(self._connection.recv)

    async def hear_all(self) -> list[Any]:
        """All that it says until it ends by itself, which has to go well."""
        said = []
        with suppress(EOFError):
            while True:
                said.append(await self.hear())
        await asyncio.to_thread(self._process.join)
        assert self.exit_code == 0
        return said

    def end(self) -> None:
        """Kill it if it still runs."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._connection.close()


def unmeasured() -> dict[str, str]:
    """The environment for a process that shows what it imported: coverage would import much into it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


__all__ = ["Child", "Connection", "unmeasured"]
