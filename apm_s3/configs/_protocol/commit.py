"""The commit: one conditional write of the reference document, and the certainty of how it ended.

Whoever writes follows these rules, and only together they hold:

- What the document will name is there before the document is written.
- The write carries the ETag that was read. Only a 200, or our write id in a document that was read later, says that
  it won; only a 412 followed by a document without our write id says that it did not. Everything else says nothing:
  the request may still arrive, so the same bytes are sent again until one of the two is seen.
- After a 412 the change is made again on the fresh document, if that still allows it.
- Every write adds its entry to the log, and drops older entries only when it names a stored part that holds them.
- All sends of one write id begin within `WINDOW` of reading the first document, by the server's clock. Whoever asks
  later how the write ended can so make sure that it never will take effect any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from apm_s3._backoff import Backoff
from apm_s3._tasks import outlived
from apm_s3.configs._models import Current, Release
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.archive import Archive
from apm_s3.configs._protocol.calls import Afterwards, Call
from apm_s3.configs._protocol.changes import Change
from apm_s3.configs._protocol.documents import encode_current
from apm_s3.configs._protocol.log import MUST_STORE, LogPart, ring_overrun, stamp, with_part
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.probe import Probe
from apm_s3.configs._protocol.reader import Gone, Reader
from apm_s3.configs._protocol.snapshots import Snapshot
from apm_s3.configs._record import Note
from apm_s3.errors import (
    AccessDenied,
    ApmS3Error,
    BucketNotFound,
    CommitUnknown,
    DeadlineExceeded,
    FormatTooNew,
    NotFound,
    PreconditionFailed,
    S3Error,
    StoreDamaged,
    TransportError,
    UsageError,
)

WINDOW = 15 * 60.0
"""Seconds within which a write id is sent, and after which a write that was not seen can be ruled out."""

SKEW = 60.0
"""Seconds that a writer keeps clear of the end of its window: `Date` has whole seconds, and servers' clocks differ."""

RESTARTS = 3
"""Times that a write which outlasts its window is begun again."""

CANCEL_GRACE = 10.0
"""Seconds that a cancelled caller waits at most until its commit has ended."""

_LAST_CHANCE = 0.5
"""Seconds that a request gets at least when an earlier one has not been answered: it may bring the verdict."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
"""Seconds. These are no retries of a request, which the store beneath has made already: see `_Write`."""


T = TypeVar("T")


class WindowClosed(Exception):
    """The write took too long. Nothing of it is under way: it can begin again under a new write id."""


class SettingsMoved(WindowClosed):
    """The environment has other settings now, which the change may not meet. Nothing of it is under way."""


class Committer:
    """Writes the reference documents of one store. The writers of one process queue for each environment."""

    def __init__(
        self,
        objects: ObjectStore,
        reader: Reader,
        probe: Probe,
        afterwards: Afterwards,
        *,
        failover: bool,
        deadline: float,
    ) -> None:
        self._objects = objects
        self._reader = reader
        self._archive = Archive(objects, reader)
        self._probe = probe
        self._failover = failover
        self._afterwards = afterwards
        self._deadline = deadline
        self._locks: dict[str, asyncio.Lock] = {}

    def call(self, environment: str, timeout: float | None = None, write_id: str | None = None) -> Call:
        """One call that writes: its deadline, by default the store's, and its write id.

        Raises:
            InvalidOption: a timeout or a write id that cannot be.
        """
        return Call(
            environment, default=self._deadline, timeout=timeout, write_id=write_id,
            clean_up=lambda seconds: self._probe.gone(environment, seconds),
        )  # fmt: skip

    async def begin(self, environment: str, looked: Snapshot | None = None) -> Snapshot:
        """Read the reference document, made anew and empty where there is none.

        Args:
            looked: what `look` has just given, where that found none.

        Raises:
            ConditionalWritesUnsupported: the endpoint ignores conditions.
            UsageError, StoreDamaged: see `look`.
        """
        snapshot = looked or await self.look(environment)
        if not snapshot.etag:
            await self._create(environment, snapshot.server_time)
            snapshot = await self._reader.require(environment)
        return snapshot

    async def ready(self, environment: str) -> None:
        """Wait until it is known that the endpoint honours conditions: before anything is written.

        Raises:
            ConditionalWritesUnsupported: it does not.
        """
        await self._probe.ensure(environment)

    async def look(self, environment: str) -> Snapshot:
        """Read the reference document; an empty one without an ETag where there is none.

        Raises:
            UsageError: this bucket is a replica.
            StoreDamaged: there are releases, but no reference document.
        """
        self._probe.begin(environment)
        snapshot = await self._reader.current_or_none_yet(environment)
        if not snapshot.etag:
            await self._reader.check_empty(environment)
            return snapshot
        if self._reader.is_replica(snapshot.current) and not self._failover:
            raise UsageError(
                f"'{environment}' in bucket '{self._objects.bucket}' is a replica of bucket '{snapshot.current.home}'",
                bucket=self._objects.bucket,
                hint="write there; or, once that is lost for good, open this store with failover=True",
            )
        return snapshot

    async def _create(self, environment: str, now: float) -> None:
        await self.ready(environment)
        nothing = Current(-1, (), self._objects.bucket)
        # A write id of its own, so that no two documents ever have the same bytes and, with them, the same ETag.
        write_id = keys.new_write_id(environment)
        note = Note(action="create")
        empty = stamp(nothing, nothing, write_id=write_id, home=self._objects.bucket, note=note, at=now)
        try:
            await self._objects.put(
                keys.current(environment), encode_current(empty), create=True, content_type="application/json"
            )
        except PreconditionFailed:
            return

    async def commit(
        self,
        begun: Snapshot,
        change: Change,
        write_id: str,
        note: Note,
        *,
        call: Call,
        releases: tuple[Release, ...] = (),
        part: LogPart | None = None,
        then: Callable[[], Coroutine[Any, Any, T]] | None = None,
    ) -> asyncio.Task[T] | None:
        """Make `change`, and come back when it is certain to have been made.

        Cancelled while it waits for its turn, nothing is changed. Cancelled later, the caller waits 10 seconds at most;
        the commit goes on until its deadline, and `then` follows it.

        Args:
            begun: the document as it was before anything was written.
            note: what the log is to say about it.
            releases: those that `change` makes current, to find them in the history.
            part: the log's unstored entries, where they were stored already.
            then: what follows the commit, whatever becomes of the caller; its task is returned.

        Raises:
            WindowClosed: it took too long, and was certainly not made.
            CommitUnknown: the deadline passed before it was known.
            DeadlineExceeded: the deadline passed, and it was certainly not made.
            ApmS3Error: what `change` raises, or a refusal of S3; it was certainly not made.
        """
        await self.ready(begun.environment)
        async with self._turn(begun.environment) as waited:
            call.commit_begins()
            chosen = call.write_id is not None
            write = _Write(
                self._objects, self._reader, self._archive, begun, change, write_id, note, releases, call.deadline,
                part, chosen=chosen,
            )  # fmt: skip

            async def run() -> asyncio.Task[T] | None:
                await write.run(stale=waited)
                return None if then is None else self._afterwards.start(then())

            # Cancelled, a request on its way would leave the caller without a verdict and `live/` behind.
            return await outlived(self._afterwards.start(run()), CANCEL_GRACE)

    async def change(self, environment: str, make: Callable[[Snapshot], Change], note: Note, *, call: Call) -> None:
        """Make a change of the document alone, which needs nothing else to be stored.

        Raises:
            CommitUnknown: the deadline passed before it was known whether it was made. Such changes can be repeated.
        """
        for _ in range(RESTARTS):
            begun = await self.begin(environment)
            begun.current.settings.check_note(environment, note.author, note.message)
            try:
                await self.commit(begun, make(begun), keys.new_write_id(environment), note, call=call)
            except WindowClosed:
                continue
            return
        raise DeadlineExceeded(
            f"'{environment}' could not be changed within {RESTARTS} x 15 minutes; nothing was changed",
            operation="commit",
            bucket=self._objects.bucket,
        )

    @asynccontextmanager
    async def _turn(self, environment: str) -> AsyncIterator[bool]:
        """One writer of this process at a time; whether there was one before us."""
        lock = self._locks.setdefault(environment, asyncio.Lock())
        waited = lock.locked()
        async with lock:
            yield waited


@dataclass(slots=True)
class _Write:
    """One write id on its way into the reference document.

    The one exception from "only the runner retries": an answer that says nothing of a commit is no end of it. The same
    bytes go out again, and the document is read again, until there is a verdict or the deadline is over.
    """

    objects: ObjectStore
    reader: Reader
    archive: Archive
    begun: Snapshot
    change: Change
    write_id: str
    note: Note
    releases: tuple[Release, ...]
    deadline: float
    part: LogPart | None = None
    sent: bool = False
    unresolved: bool = False
    chosen: bool = field(default=False, kw_only=True)
    """The caller made the write id: another call may have the same one."""

    async def run(self, *, stale: bool) -> None:
        """Send, and rebase, until there is a verdict."""
        base = self.begun
        if stale:
            base = await self._reread()
            self._check_window(base)
            if self.chosen and await self._is_in(base):
                return
        while True:
            # Not asked for before there is a verdict on what was sent: nothing is under way here.
            await self._make_room(base.current)
            if await self._send(base, encode_current(self._changed(base))):
                return
            fresh = await self._reread()
            if await self._has_won(base, fresh):
                return
            self.unresolved = self.sent = False
            self._check_window(fresh)
            if asyncio.get_running_loop().time() >= self.deadline:
                raise self._too_late("others were faster until the deadline passed")
            base = fresh

    async def _make_room(self, current: Current) -> None:
        """Store the older entries of the log where nobody has for long: no entry leaves before it is stored."""
        if len(with_part(current, self.part).log.unstored) < MUST_STORE:
            return
        try:
            async with asyncio.timeout_at(self.deadline):
                self.part = await self.archive.store(self.begun.environment, current, self.write_id)
        except TimeoutError as exc:
            raise self._too_late("the log could not be stored in time") from exc

    def _changed(self, base: Snapshot) -> Current:
        # What was checked against other settings is checked again, from the start.
        if base.current.settings != self.begun.current.settings:
            raise SettingsMoved
        before = with_part(base.current, self.part)
        return stamp(
            before,
            self.change(before),
            write_id=self.write_id,
            home=self.objects.bucket,
            note=self.note,
            at=base.server_time,
        )

    async def _send(self, base: Snapshot, body: bytes) -> bool:
        """Send until it is certain that it took effect, or that the ETag is stale (False)."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            left = self.deadline - loop.time()
            if left <= 0 and not self.unresolved:
                raise self._too_late("there was no time left")
            self.sent = True
            try:
                await self.objects.put(
                    keys.current(base.environment),
                    body,
                    if_match=base.etag,
                    content_type="application/json",
                    timeout=max(left, _LAST_CHANCE),
                )
            except PreconditionFailed:
                return False
            except ApmS3Error as error:
                self._judge(error)
                if await self._seen():
                    return True
                pause = next(backoff)
                if loop.time() + pause >= self.deadline or self._window_is_closed():
                    raise (self._unknown() if self.unresolved else self._failed(error)) from error
                await asyncio.sleep(pause)
            else:
                return True

    def _judge(self, error: ApmS3Error) -> None:
        """Take in what an error says of the request: certainly refused (raised), not sent, or nothing."""
        if isinstance(error, NotFound) and not isinstance(error, BucketNotFound):
            key = self.reader.where(keys.current(self.begun.environment))
            raise StoreDamaged(f"'{key}' has vanished", environment=self.begun.environment) from error
        self.unresolved = self.unresolved or error.may_have_happened
        # Refused credentials were refreshed and tried again beneath us already.
        if not self.unresolved and (isinstance(error, AccessDenied) or not error.retryable):
            raise error

    async def _seen(self) -> bool:
        """Whether the document shows our write id. That it does not proves nothing."""
        if not self.unresolved:
            return False
        try:
            async with asyncio.timeout_at(self.deadline):
                snapshot = await self.reader.current(self.begun.environment)
        except (ApmS3Error, TimeoutError):
            return False
        return snapshot is not None and self.write_id in snapshot.current.writers

    async def _has_won(self, base: Snapshot, fresh: Snapshot) -> bool:
        """After a 412 on the ETag of `base`: whether it was our own write that had made it stale."""
        if self.write_id in fresh.current.writers:
            return not self.chosen or await self._is_in(fresh)
        if not ring_overrun(base.current, fresh.current):
            return False
        if not self.releases:
            raise self._unknown()
        return await self._in_history(self.releases[0], fresh)

    async def _is_in(self, fresh: Snapshot) -> bool:
        """Whether these very releases were committed under a write id that the caller made, by whichever call."""
        if self.write_id not in fresh.current.writers:
            return False
        found = [await self._in_history(release, fresh) for release in self.releases]
        return all(found)

    async def _in_history(self, release: Release, fresh: Snapshot) -> bool:
        state = fresh.current.tools.get(release.tool)
        if state is None or release.ref is None or state.release.revision < release.revision:
            return False
        if state.release == release.ref:
            return True
        try:
            async with asyncio.timeout_at(self.deadline):
                found = await self.reader.committed(fresh, release.tool, release.revision)
        except TimeoutError as exc:
            raise self._unknown() from exc
        except (Gone, ApmS3Error) as exc:
            raise self._unknown() from exc
        if found is None:
            raise self._unknown()
        return found.ref is not None and found.ref.key == release.ref.key

    async def _reread(self) -> Snapshot:
        """The document as it is now; asked again until the deadline, for without it nothing is known."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                async with asyncio.timeout_at(self.deadline):
                    return await self.reader.require(self.begun.environment)
            except TimeoutError as exc:
                raise (self._unknown() if self.sent else self._too_late("S3 did not answer in time")) from exc
            except (S3Error, TransportError) as error:
                pause = next(backoff)
                if loop.time() + pause >= self.deadline:
                    raise (self._unknown() if self.sent else error) from error
                await asyncio.sleep(pause)
            except (FormatTooNew, StoreDamaged) as error:
                # A later version has written meanwhile, or it was damaged: our own write may have won before.
                raise (self._unknown() if self.sent else error) from error

    def _check_window(self, fresh: Snapshot) -> None:
        if fresh.server_time - self.begun.server_time > WINDOW - SKEW or self._window_is_closed():
            raise WindowClosed

    def _window_is_closed(self) -> bool:
        return asyncio.get_running_loop().time() - self.begun.asked_at > WINDOW - SKEW

    def _unknown(self) -> CommitUnknown:
        return CommitUnknown(
            f"it is not known whether the change of '{self.begun.environment}' took effect",
            write_id=self.write_id,
            environment=self.begun.environment,
            tool=self.releases[0].tool if len(self.releases) == 1 else None,
            operation="commit",
            bucket=self.objects.bucket,
            key=keys.current(self.begun.environment),
            hint=f"ask outcome({self.write_id!r}) before you make the change again",
        )

    def _too_late(self, problem: str) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{problem}; nothing was changed", operation="commit", bucket=self.objects.bucket,
            key=keys.current(self.begun.environment),
        )  # fmt: skip

    def _failed(self, error: ApmS3Error) -> ApmS3Error:
        return error if not isinstance(error, TransportError) else self._too_late("S3 could not be reached")
