"""The end of a run: verifies everything against the target, then deletes extra objects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from apm_s3._migration.journal import Journal
from apm_s3._migration.listing.finding import Bounds, keep_common, list_target
from apm_s3._migration.moving.movers import Mover
from apm_s3._migration.moving.versions import check_histories
from apm_s3._migration.store import Outcome, Row, State
from apm_s3._migration.task import Task
from apm_s3._s3.bulk.trees import empty_source
from apm_s3._tasks import stop_all
from apm_s3.errors import ApmS3Error, MigrationRefused, NotFound, UsageError

ATTEMPTS = 3
"""Attempts to move an object before it counts as failed. Each attempt also has the usual retries of its requests."""
_AT_ONCE = 1000


class Ending:
    """The last steps of a run, after everything has moved.

    Attributes:
        verified, trusted: objects that were compared with the target and match. What went unsigned over plain HTTP is
            only trusted.
        deleted, kept: extra objects at the target.
    """

    def __init__(self, task: Task, journal: Journal, *, concurrency: int, bounds: Bounds) -> None:
        self._task = task
        self._journal = journal
        self._concurrency = concurrency
        self._bounds = bounds
        self.verified = self.trusted = self.deleted = self.kept = 0

    async def find_wrong(self) -> int:
        """Compare everything with the target and return how many objects have to be moved again."""
        task = self._task
        if task.histories is not None and task.target_side is not None:
            await check_histories(self._journal, task.rules, task.target_side)
            return 0
        await list_target(self._journal, task.target_side, task.target, self._bounds)
        if task.rules.verify == "read":
            await self._read_all()
        await self._journal.do(lambda store: store.suspects())
        return (await self._journal.do(lambda store: store.totals())).pending

    async def count_verified(self) -> None:
        """Count the objects that match."""
        totals = await self._journal.do(lambda store: store.totals())
        self.trusted = totals.trusted
        self.verified = totals.moved + totals.identical - totals.trusted

    async def delete_extra(self) -> None:
        """Delete what the source lacks, if `delete_extra` is set and nothing failed.

        Raises:
            MigrationRefused: the source is empty.
        """
        task, journal = self._task, self._journal
        keeps = task.rules.patterns.keeps
        if not task.rules.delete_extra or not (extra := await journal.do(lambda store: store.count_extra(keeps))):
            return
        totals = await journal.do(lambda store: store.totals())
        if totals.failed:
            self.kept = extra
            return
        # Both sides may have got the same objects since the source was listed.
        if not totals.objects or not await keep_common(journal, task.rules, task.source_side, task.source):
            source, target, late = task.source_name, task.target_name, totals.objects > 0
            raise empty_source(MigrationRefused, "migrate", source, target, late=late)
        while keys := await journal.do(lambda store: store.extra_keys(_AT_ONCE)):
            chosen = [key for key in keys if keeps(key)]
            failed = len(await task.mover.delete(chosen)) if chosen else 0
            self.deleted += len(chosen) - failed
            self.kept += failed
            await journal.do(lambda store, keys=keys: store.drop_target(keys))  # type: ignore[misc]

    async def _read_all(self) -> None:
        """Read and compare both sides of every object."""
        after = 0
        while rows := await self._journal.do(lambda store: store.settled(after, _AT_ONCE)):  # noqa: B023 - awaited
            after = rows[-1].id
            left = iter(rows)
            workers = [
                asyncio.create_task(self._read_some(left), name="apm_s3 verify") for _ in range(self._concurrency)
            ]
            try:
                await asyncio.gather(*workers)
            finally:
                await stop_all(workers)

    async def _read_some(self, rows: Iterable[Row]) -> None:
        for row in rows:
            try:
                wrong = await self._task.mover.check(row)
            except UsageError:
                raise
            except (ApmS3Error, OSError) as error:
                if isinstance(error, NotFound | FileNotFoundError) and await is_gone(self._task.mover, row):
                    continue
                wrong = str(error)
            if wrong is not None:
                state = State.FAILED if row.attempts >= ATTEMPTS else State.PENDING
                self._journal.note(Outcome(state, row.size, row.etag, None, None, wrong, row.attempts + 1, row.id))


async def is_gone(mover: Mover, row: Row) -> bool:
    """Return whether the object is gone from the source, as far as that can be determined."""
    try:
        return await mover.gone(row)
    except (ApmS3Error, OSError):
        return False
