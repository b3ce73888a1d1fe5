"""Runs a migration: lists, moves, retries, verifies and deletes, and stores each step in the journal.

Invariants: a row is in the journal before its object moves, and is done only after the object was verified; nothing is
deleted before everything has moved and been verified; a run that ends in any way leaves a journal that can be resumed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any

from apm_s3._hints import Advice
from apm_s3._migration.journal import TRUSTED, Journal, Outcome, Row, State, Store, Totals
from apm_s3._migration.listing import Bounds, Source, keep_common, list_target
from apm_s3._migration.models import (
    MigrationFailure,
    MigrationProgress,
    MigrationReport,
    OnMigrationProgress,
    Sameness,
    check_row,
    compare,
    needs_asking,
    patterns_of,
)
from apm_s3._migration.moving import MIB, Moved, Mover, Schedule
from apm_s3._migration.plan import Task
from apm_s3._migration.trees import empty_source
from apm_s3._migration.versions import check_histories, list_histories
from apm_s3._tasks import Line, stop_all
from apm_s3.errors import (
    ApmS3Error,
    Conflict,
    MigrationRefused,
    NotFound,
    ObjectChanged,
    UsageError,
)
from apm_s3.events import report_progress

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

    def __init__(self, task: Task, journal: Journal, bounds: Bounds) -> None:
        self._task = task
        self._journal = journal
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
        keeps = patterns_of(task.rules).keeps
        if not task.rules.delete_extra or not (extra := await journal.do(lambda store: store.count_extra(keeps))):
            return
        totals = await journal.do(lambda store: store.totals())
        if totals.failed:
            self.kept = extra
            return
        # Both sides may have got the same objects since the source was listed.
        if not totals.objects or not await keep_common(journal, task.rules, task.source_side, task.source):
            source, target, late = str(task.source), str(task.target), totals.objects > 0
            raise empty_source(MigrationRefused, "migrate", source, target, late=late)
        while keys := await journal.do(lambda store: store.extra_keys(_AT_ONCE)):
            chosen = [key for key in keys if keeps(key)]
            failed = await task.mover.delete(chosen) if chosen else 0
            self.deleted += len(chosen) - failed
            self.kept += failed
            await journal.do(lambda store, keys=keys: store.drop_target(keys))  # type: ignore[misc]

    async def _read_all(self) -> None:
        """Read and compare both sides of every object."""
        after = 0
        while rows := await self._journal.do(lambda store: store.at_target(after, _AT_ONCE)):  # noqa: B023 - awaited
            after = rows[-1].id
            left = iter(rows)
            workers = [
                asyncio.create_task(self._read_some(left), name="apm_s3 verify")
                for _ in range(self._task.rules.concurrency)
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


MOST_SHOWN = 1000
"""Most failures and skipped names in a report. The journal has all of them."""
_CHANGES = 3
"""How often one attempt looks again at a source object that keeps changing."""
_AHEAD = 2000
"""Most rows that wait in memory to be moved."""
_TICK = 0.25
"""Seconds between two progress reports, and the longest time before outcomes are written."""
_PATIENCE = 0.5
"""Seconds to wait for the target's listing before the first object moves."""


class Run:
    """One run of a migration.

    Args:
        task: what to move, and how.
        journal: an open journal.
        bounds: the range of the source's keys that this run moves.
    """

    def __init__(
        self,
        task: Task,
        journal: Journal,
        *,
        on_progress: OnMigrationProgress | None = None,
        bounds: Bounds = (None, None),
    ) -> None:
        self._task = task
        self._rules = task.rules
        self._mover: Mover = task.mover
        self._journal = journal
        self._concurrency = task.rules.concurrency
        self._on_progress = on_progress
        self._bounds = bounds
        # Transformed names may lie anywhere.
        self._target_bounds: Bounds = (None, None) if task.rules.transform_key else bounds
        self._schedule = Schedule(self._concurrency)
        self._began = time.monotonic()
        self._phase = "moving"
        self._listed = False
        self._target_known = asyncio.Event()
        self._bytes = self._done = self._failed = self._objects = self._all_bytes = self._before = 0
        self._arrived = asyncio.Event()
        self._line = Line()
        self._has_space = asyncio.Event()
        self._ended = False
        self._end = Ending(task, journal, self._target_bounds)

    async def run(self) -> MigrationReport:
        """Move everything, verify it, and delete extra objects if asked to.

        Raises:
            MigrationRefused: `delete_extra` would delete everything.
            ApmS3Error, OSError: a side cannot be listed.
        """
        ticker = asyncio.create_task(self._tick(), name="apm_s3 migration progress")
        sides = [side.endpoint.slow_downs for side in self._task.sides]
        for slow_downs in sides:
            slow_downs.append(self._slowed)
        try:
            await self._check_names()
            await self._journal.do(lambda store: store.retry_all_failed())
            await self._count()
            self._before = self._done
            self._journal.moving = True
            await self._move_all()
            await self._retry()
            await self._verify_target()
            self._phase = "deleting"
            await self._end.delete_extra()
            await self._journal.do(lambda store: store.set(finished=str(time.time())))
            self._phase = "done"
            self._report_progress()
        finally:
            for slow_downs in sides:
                slow_downs.remove(self._slowed)
            await _stopped(ticker)
        return await self.report()

    async def verify(self) -> MigrationReport:
        """Compare everything that the journal lists as moved with the target; move nothing."""
        ticker = asyncio.create_task(self._tick(), name="apm_s3 migration progress")
        try:
            await self._check_names()
            self._listed = True
            await self._count()
            await self._verify_target(repair=False)
            await self._count()
            self._phase = "done"
            self._report_progress()
        finally:
            await _stopped(ticker)
        return await self.report()

    async def report(self) -> MigrationReport:
        """Make the report from the journal."""
        totals = await self._journal.do(lambda store: store.totals())
        failures = await self._journal.do(lambda store: store.failures(MOST_SHOWN))
        skipped = await self._journal.do(lambda store: store.skipped(MOST_SHOWN))
        return MigrationReport(
            source=str(self._task.source),
            target=str(self._task.target),
            objects=totals.objects,
            moved=totals.moved,
            identical=totals.identical,
            vanished=totals.vanished,
            deleted=self._end.deleted,
            kept=self._end.kept,
            verified=self._end.verified,
            trusted=self._end.trusted,
            compare=self._rules.compare,
            not_carried=("acls",) if self._task.source_side and self._task.target_side else (),
            failed=totals.failed + totals.pending,
            bytes=totals.moved_bytes,
            failures=tuple(MigrationFailure(*one) for one in failures),
            skipped=skipped,
            resumed=self._journal.resumed,
            duration=time.monotonic() - self._began,
        )

    # Moving

    async def _check_names(self) -> None:
        """Refuse a journal with names that no listing can have brought: they decide which files are used."""
        patterns, rules, task = patterns_of(self._rules), self._rules, self._task

        def check(store: Store) -> None:
            for row in store.names():
                check_row(rules, row, patterns, from_files=task.source_side is None, to_files=task.to_files)

        if self._journal.resumed:
            await self._journal.do(check)

    async def _move_all(self) -> None:
        """List and move at the same time."""
        await self._together(self._list_source(), self._list_target(), self._feed())

    async def _retry(self) -> None:
        """Move failed objects again, after everything else has moved."""
        self._phase = "retrying"
        while await self._journal.do(lambda store: store.retry_failed(ATTEMPTS)):
            await self._count()
            await self._together(self._feed())

    async def _together(self, *work: Coroutine[Any, Any, None]) -> None:
        """Run `work` while workers move the rows that it adds; the first error ends everything."""
        self._ended = False
        others = [asyncio.create_task(one, name="apm_s3 migration") for one in work]
        workers = [asyncio.create_task(self._work(), name="apm_s3 migration worker") for _ in range(self._concurrency)]
        tasks = {*others, *workers}
        try:
            while tasks:
                done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
                for task in done:
                    task.result()
        finally:
            # The workers have stopped before anybody reads the journal again: a row that is still moving would be
            # handed out a second time. The schedule goes with them: it counts rows as running that were given up.
            await stop_all([*others, *workers])
            self._schedule = Schedule(self._concurrency)

    async def _list_source(self) -> None:
        task = self._task
        if task.histories is not None and task.source_side is not None:
            await list_histories(self._journal, self._rules, task.source_side, as_root=task.has_prefix)
            self._listed = True
            await self._count()
            self._arrived.set()
            return
        source = Source(
            self._journal,
            self._rules,
            task.source,
            as_files=task.to_files,
            as_root=task.has_prefix,
            on_found=self._found,
        )
        await source.run(task.source_side, self._bounds)
        self._listed = True
        totals = await self._journal.do(lambda store: store.totals())
        self._objects, self._all_bytes = totals.objects, totals.bytes
        self._arrived.set()

    def _found(self, objects: int, size: int) -> None:
        self._objects += objects
        self._all_bytes += size
        self._arrived.set()

    async def _list_target(self) -> None:
        if self._rules.if_exists != "overwrite" and self._task.histories is None:
            await list_target(self._journal, self._task.target_side, self._task.target, self._target_bounds)
        self._target_known.set()

    async def _feed(self) -> None:
        """Pass rows from the journal to the workers as room permits."""
        after = 0
        # The target is often small: a short wait for its listing saves a request for each object.
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._target_known.wait()
        while True:
            # The order matters: a page that is stored after `clear` sets `_arrived` again, one that is stored before is
            # among the rows. If the rows were read before `_listed`, the last page could be stored in between: then
            # there would be no rows, the listing would have ended, and the feed would stop with objects left.
            self._arrived.clear()
            ended, known = self._listed, self._target_known.is_set()
            rows = await self._waiting(after) if ended or self._task.histories is None else []
            if rows:
                after = rows[-1].id
                # An unfinished listing of the target does not show what the target lacks.
                self._schedule.add(rows if known else [row._replace(their_size=_unknown(row)) for row in rows])
                self._line.wake_all()
                while self._schedule.waiting > _AHEAD // 2:
                    self._has_space.clear()
                    await self._has_space.wait()
            elif ended:
                break
            else:
                await self._arrived.wait()
        self._ended = True
        self._line.wake_all()

    async def _waiting(self, after: int) -> list[Row]:
        if self._task.histories is not None:
            return await self._journal.do(lambda store: store.pending_keys(after, _AHEAD // 2))
        return await self._journal.do(lambda store: store.pending(after, _AHEAD // 2))

    async def _work(self) -> None:
        schedule = self._schedule
        while True:
            row = schedule.take()
            if row is None:
                if self._ended and not schedule.waiting:
                    return
                await self._line.wait()
                continue
            try:
                outcomes = await self._outcomes(row)
            finally:
                schedule.done(row)
                # Wake a second worker, as the limit of the group may have grown.
                self._line.wake()
                self._line.wake()
            for outcome in outcomes:
                self._done += outcome.state != State.FAILED
                self._failed += outcome.state == State.FAILED
                if self._journal.note(outcome):
                    await self._journal.flush()
            if schedule.waiting <= _AHEAD // 2:
                self._has_space.set()
            if self._ended and not schedule.waiting:
                self._line.wake_all()

    async def _outcomes(self, row: Row) -> list[Outcome]:
        histories = self._task.histories
        if histories is None:
            return [await self._outcome(row)]
        rows = await self._journal.do(lambda store: store.history(row.target_key))
        outcomes = await histories.move(rows)
        self._bytes += sum(one.size for one in outcomes if one.state is State.MOVED)
        return outcomes

    async def _outcome(self, row: Row) -> Outcome:
        """Move one object unless the target has it. Its errors become its outcome."""
        for _ in range(_CHANGES):
            try:
                if await self._is_there(row):
                    # An interrupted run may have sent it.
                    how = TRUSTED if self._task.trusting and row.size > MIB else ""
                    return _done(row, State.IDENTICAL, row.size, row.etag, row.their_etag, how)
                moved = await self._mover.move(row)
            except ObjectChanged as error:
                changed = await self._task.current(row)
                if changed is None:
                    return _done(row, State.VANISHED, row.size, row.etag, None, None)
                failure: Exception = error
                row = changed
                continue
            except UsageError:
                raise
            except (ApmS3Error, OSError) as error:
                if isinstance(error, NotFound | FileNotFoundError) and await is_gone(self._mover, row):
                    return _done(row, State.VANISHED, row.size, row.etag, None, None)
                failure = error
                break
            self._bytes += moved.size
            return _moved(row, moved)
        problem = str(failure) if isinstance(failure, ApmS3Error) else f"{type(failure).__name__}: {failure}"
        # A conflict does not go away by itself, so it is not retried.
        attempts = ATTEMPTS if isinstance(failure, Conflict) else row.attempts + 1
        return Outcome(State.FAILED, row.size, row.etag, None, None, problem, attempts, row.id)

    async def _is_there(self, row: Row) -> bool:
        """Return whether the target already has the object.

        Raises:
            Conflict: the target has a different object, and `if_exists="fail"` forbids replacing it.
        """
        rules = self._rules
        if rules.if_exists == "overwrite" or row.attempts:
            return False
        found = compare(row.size, row.etag, row.their_size, row.their_etag)
        if row.their_size == _UNKNOWN or needs_asking(found, rules, failed=row.failed):
            try:
                found = Sameness.IDENTICAL if await self._mover.is_same(row) else Sameness.CHANGED
            except (NotFound, FileNotFoundError):
                found = Sameness.NEW
        if found is Sameness.CHANGED and rules.if_exists == "fail":
            raise Conflict(
                "the target has a different object with this name (content, metadata, tags or storage class)",
                operation="migrate",
                key=row.target_key,
                hint=Advice.CHOOSE_IF_EXISTS(),
            )
        return found is Sameness.IDENTICAL

    def _slowed(self, bucket: str | None, key: str | None, sent_at: float) -> bool:
        keys = () if key is None else self._task.relative_keys(bucket, key)
        return any(self._schedule.slowed(relative, sent_at) for relative in keys)

    async def _verify_target(self, *, repair: bool = True) -> None:
        """Compare everything with the current target, and move what is wrong again."""
        self._phase = "verifying"
        while await self._end.find_wrong():
            if not repair:
                await self._journal.do(lambda store: store.give_up())
                break
            await self._count()
            await self._together(self._feed())
        await self._end.count_verified()

    # Progress

    async def _count(self) -> None:
        """Take the counts from the journal. Call it only while nothing moves."""
        totals: Totals = await self._journal.do(lambda store: store.totals())
        self._objects, self._all_bytes, self._failed = totals.objects, totals.bytes, totals.failed
        self._done = totals.moved + totals.identical + totals.vanished

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            await self._journal.flush()
            self._report_progress()

    def _report_progress(self) -> None:
        if self._on_progress is None:
            return
        progress = MigrationProgress(
            phase=self._phase,
            done=self._done,
            failed=self._failed,
            bytes=self._bytes,
            listed=self._objects,
            listed_bytes=self._all_bytes,
            listing_complete=self._listed,
            elapsed=time.monotonic() - self._began,
            before=self._before,
        )
        report_progress(self._on_progress, progress)


async def _stopped(ticker: asyncio.Task[None]) -> None:
    """Stop the ticker. Its errors are ignored: it only writes the journal, so others meet the same error."""
    await stop_all([ticker])
    if not ticker.cancelled():
        ticker.exception()


_UNKNOWN = -1
"""Stands for the size of a counterpart that has not been listed."""


def _unknown(row: Row) -> int:
    return _UNKNOWN if row.their_size is None else row.their_size


def _done(
    row: Row, state: State, size: int, etag: str | None, target_etag: str | None, checksum: str | None
) -> Outcome:
    return Outcome(state, size, etag, target_etag, checksum, None, row.attempts, row.id)


def _moved(row: Row, moved: Moved) -> Outcome:
    return Outcome(
        State.MOVED, moved.size, moved.etag, moved.target_etag, moved.checksum, None, row.attempts + 1, row.id
    )
