"""The journal: `Store` in one thread, outcomes written in batches.

Invariants: all that the file gets comes from one thread; closing writes what is left.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from apm_s3._migration.store import Outcome, Store
from apm_s3._tasks import shielded
from apm_s3.errors import JournalRefused

T = TypeVar("T")

_BATCH = 500
"""Outcomes of one transaction at most."""


class Journal:
    """An open journal, from `async with` to its end.

    Args:
        path: the file; None for one that is deleted with the process.
        identity: what the journal has to be of: source, target and rules.

    Attributes:
        resumed: whether it was begun before.

    Raises (when it is opened):
        JournalRefused: it is another migration's, is in use, or is not a journal.
    """

    def __init__(self, path: Path | None, identity: dict[str, str]) -> None:
        self._path = path
        self._identity = identity
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="apm_s3 journal")
        self._store: Store | None = None
        self._outcomes: list[Outcome] = []
        self.resumed = False

    async def __aenter__(self) -> Self:
        try:
            await self._in_thread(self._open)
        except BaseException:
            await shielded(self._end())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await shielded(self._end())

    async def do(self, work: Callable[[Store], T]) -> T:
        """The result of `work`, done in the journal's thread, after all that was noted before.

        Raises:
            JournalRefused: the file cannot be read or written any more.
        """
        outcomes, self._outcomes = self._outcomes, []

        def worked() -> T:
            store = self._opened()
            if outcomes:
                store.note(outcomes)
            return work(store)

        return await self._in_thread(worked)

    def note(self, outcome: Outcome) -> bool:
        """Take in what became of a row, to be written with others: whether there are enough of them for `flush`."""
        self._outcomes.append(outcome)
        return len(self._outcomes) >= _BATCH

    async def flush(self) -> None:
        """Write what was noted."""
        if self._outcomes:
            await self.do(lambda _store: None)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # Shielded: a transaction that has begun ends before its caller goes on.
        try:
            return await shielded(_awaited(asyncio.get_running_loop().run_in_executor(self._thread, work)))
        except sqlite3.Error as exc:
            raise JournalRefused(
                f"the journal '{self._path}' cannot be read or written: {exc}",
                operation="migrate",
                hint="make room on its disk, or look at its permissions; then resume with the same journal",
            ) from exc

    def _open(self) -> None:
        self._store = Store(self._path)
        self.resumed = self._store.prepare(self._identity)

    def _opened(self) -> Store:
        if self._store is None:
            raise RuntimeError("the journal is not open")
        return self._store

    async def _end(self) -> None:
        try:
            if self._store is not None:
                await self.flush()
        finally:
            if self._store is not None:
                await self._in_thread(self._store.close)
            self._thread.shutdown(wait=False)


async def _awaited(future: asyncio.Future[T]) -> T:
    return await future
