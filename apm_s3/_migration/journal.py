"""The journal: runs `Store` in one thread and writes outcomes in batches.

Invariants: only that thread writes to the file; closing the journal writes all pending outcomes.
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
"""Most outcomes in one transaction."""


class Journal:
    """A journal, open inside `async with`.

    Args:
        path: the file; None for a temporary one that is deleted with the process.
        identity: the source, target and rules that the journal must belong to.

    Attributes:
        resumed: whether an earlier run began this journal.
        moving: whether something may have moved, so that an error is no refusal.

    Raises (when it is opened):
        JournalRefused: the file belongs to another migration, is in use, or is not a journal.
    """

    def __init__(self, path: Path | None, identity: dict[str, str]) -> None:
        self._path = path
        self._identity = identity
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="apm_s3 journal")
        self._store: Store | None = None
        self._outcomes: list[Outcome] = []
        self.resumed = self.moving = False

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
        """Run `work` in the journal's thread, after writing all noted outcomes, and return its result.

        Raises:
            JournalRefused: the file can no longer be read or written.
        """
        outcomes, self._outcomes = self._outcomes, []

        def worked() -> T:
            store = self._opened()
            if outcomes:
                store.note(outcomes)
            return work(store)

        return await self._in_thread(worked)

    def note(self, outcome: Outcome) -> bool:
        """Add an outcome to the next batch. Return whether the batch is full and `flush` is due."""
        self._outcomes.append(outcome)
        return len(self._outcomes) >= _BATCH

    async def flush(self) -> None:
        """Write all noted outcomes."""
        if self._outcomes:
            await self.do(lambda _store: None)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # Shielded: a transaction that has begun finishes before a cancelled caller continues.
        try:
            return await shielded(_awaited(asyncio.get_running_loop().run_in_executor(self._thread, work)))
        except sqlite3.Error as exc:
            refused = JournalRefused(
                f"the journal '{self._path}' cannot be read or written: {exc}",
                operation="migrate",
                hint="free space on its disk or check its permissions, then resume with the same journal",
            )
            refused.unresolved = self.moving
            raise refused from exc

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
