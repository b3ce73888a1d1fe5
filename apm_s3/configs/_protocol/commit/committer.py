"""The commit: one conditional write of the reference document, with a certain outcome.

All writers follow these rules, which only work together:

- Everything that the document names is stored before the document is written.
- The write carries the ETag that was read. It has won only after a 200, or if our write id is in a document read later;
  it has lost only after a 412 followed by a document without our write id. Everything else proves nothing: the request
  may still arrive, so the same bytes are sent again until one of the two is seen.
- After a 412, the change is made again on the fresh document, if that still allows it.
- Every write adds its entry to the log, and removes older entries only if it names a stored part that contains them.
- All attempts with one write id start within `WINDOW` of reading the first document, by the server's clock. After that,
  `outcome` can make sure that the write can never take effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from apm_s3._tasks import outlived
from apm_s3._tracing import committing
from apm_s3.configs._models.current import Current
from apm_s3.configs._models.log import Note, RawEntry
from apm_s3.configs._models.releases import Release
from apm_s3.configs._protocol.commit.calls import Afterwards, Call
from apm_s3.configs._protocol.commit.changes import Change
from apm_s3.configs._protocol.commit.probe import Probe
from apm_s3.configs._protocol.commit.repeated import check_same
from apm_s3.configs._protocol.commit.write import WindowClosed, Write, check_sound
from apm_s3.configs._protocol.documents import keys
from apm_s3.configs._protocol.documents.encoding import encode_current
from apm_s3.configs._protocol.documents.log import LogPart, stamp
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reading.archive import Archive
from apm_s3.configs._protocol.reading.reader import Reader
from apm_s3.configs._protocol.reading.snapshots import Snapshot
from apm_s3.errors import (
    DeadlineExceeded,
    PreconditionFailed,
    UsageError,
)

RESTARTS = 3
"""Maximum restarts of a write that takes longer than its window."""

CANCEL_GRACE = 10.0
"""Maximum seconds that a cancelled caller waits for its commit."""


T = TypeVar("T")

MakeChange = Callable[[Snapshot], Awaitable[tuple[Change, Note]]]
"""Makes a change that only affects the document, from the current document."""


class Committer:
    """Writes the reference documents of one store. The writers of one process wait in a queue for each environment."""

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
        self._ended: dict[str, float] = {}

    def call(self, environment: str, timeout: float | None = None, write_id: str | None = None) -> Call:
        """Return a writing call with its deadline (by default the store's) and its write id.

        Raises:
            InvalidOption: the timeout or write id is not valid.
        """
        return Call(
            environment, default=self._deadline, timeout=timeout, write_id=write_id,
            clean_up=lambda seconds: self._probe.gone(environment, seconds),
        )  # fmt: skip

    async def begin(self, environment: str, looked: Snapshot | None = None) -> Snapshot:
        """Read the reference document, or create an empty one.

        Args:
            looked: the result of `look`, if it found none.

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
        """Wait until the endpoint is known to honour conditions, before anything is written.

        Raises:
            ConditionalWritesUnsupported: it does not.
        """
        await self._probe.ensure(environment)

    async def look(self, environment: str) -> Snapshot:
        """Read the reference document; return an empty one without an ETag if it does not exist.

        Raises:
            UsageError: this bucket is a replica.
            StoreDamaged: there are releases, but no reference document, or it is damaged.
        """
        self._probe.begin(environment)
        return await self.peek(environment)

    async def peek(self, environment: str) -> Snapshot:
        """Read what `look` reads, for a change that may be refused: the endpoint is not probed, so nothing is written.

        Raises:
            UsageError, StoreDamaged: see `look`.
        """
        snapshot = await self._reader.current_or_none_yet(environment)
        if not snapshot.etag:
            await self._reader.check_empty(environment)
            return snapshot
        if self._reader.is_replica(snapshot.current) and not self._failover:
            raise UsageError(
                f"'{environment}' in bucket '{self._objects.bucket}' is a replica of bucket '{snapshot.current.home}'",
                bucket=self._objects.bucket,
                hint="write there; or, if that bucket is permanently lost, open this store with failover=True",
            )
        await check_sound(snapshot, self._objects, self._reader)
        return snapshot

    async def _create(self, environment: str, now: float) -> None:
        await self.ready(environment)
        nothing = Current(-1, (), self._objects.bucket)
        # Every document has its own write id, so that no two documents have the same bytes and ETag.
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
        """Make `change`, and return when it has certainly been made.

        If cancelled while it waits for its turn, nothing is changed. Later, a cancelled caller waits at most 10
        seconds; the commit continues until its deadline, and `then` follows it.

        Args:
            begun: the document as it was before anything was written.
            note: the entry for the log.
            releases: those that `change` makes current, to find them in the history.
            part: the log's unstored entries, if they were already stored.
            then: the work after the commit, even if the caller is cancelled; its task is returned.

        Raises:
            WindowClosed: it took too long, and was certainly not made.
            CommitUnknown: the deadline passed before the outcome was known.
            DeadlineExceeded: the deadline passed, and it was certainly not made.
            ApmS3Error: what `change` raises, or a refusal of S3; it was certainly not made.
        """
        await self.ready(begun.environment)
        async with self._turn(begun) as stale:
            call.commit_begins()
            chosen = call.write_id is not None
            write = Write(
                self._objects, self._reader, self._archive, begun, change, write_id, note, releases, call.deadline,
                part, chosen=chosen,
            )  # fmt: skip

            async def run() -> asyncio.Task[T] | None:
                revisions = tuple(f"{release.tool} {release.revision}" for release in releases)
                with committing({"environment": begun.environment, "revisions": revisions}):
                    try:
                        await write.run(stale=stale)
                    finally:
                        call.sent = write.sent
                call.earlier = write.entry
                return None if then is None else self._afterwards.start(then())

            # A cancelled request would leave the caller without a verdict, and `live/` outdated.
            return await outlived(self._afterwards.start(run()), CANCEL_GRACE)

    async def existing(self, environment: str) -> Snapshot:
        """Read the reference document of an existing environment.

        Raises:
            ConfigNotFound: the environment does not exist.
            UsageError, StoreDamaged: see `look`.
        """
        snapshot = await self.look(environment)
        return snapshot if snapshot.etag else await self._reader.require(environment)

    async def change(self, environment: str, make: MakeChange, note: Note, *, call: Call, create: bool = False) -> None:
        """Make a change that only affects the document.

        If it was made before under the write id of `call`, nothing is done, and `call.earlier` has its log entry.

        Args:
            make: returns the change and its note for the log. It may raise `Gone`, and may be called again.
            note: the note as far as it follows from the caller's arguments.
            create: whether the environment may not exist yet.

        Raises:
            InvalidOption: a different write has used this write id.
            CommitUnknown: the deadline passed before it was known whether it was made. Such changes can be repeated.
        """

        async def prepare(begun: Snapshot) -> tuple[Snapshot, tuple[Change, Note] | None]:
            call.earlier = await self._made_before(begun, note, call.write_id)
            if call.earlier is not None:
                return begun, None
            begun.current.settings.check_note(environment, note.author, note.message)
            return begun, await make(begun)

        for _ in range(RESTARTS):
            begin = self.begin if create else self.existing
            begun, made = await self._reader.settled(environment, prepare, begin=begin)
            if made is None:
                return
            write_id = call.write_id or keys.new_write_id(environment)
            try:
                await self.commit(begun, made[0], write_id, made[1], call=call)
            except WindowClosed:
                continue
            return
        raise DeadlineExceeded(
            f"'{environment}' could not be changed within {RESTARTS} x 15 minutes; nothing was changed",
            operation="commit",
            sent=False,
            bucket=self._objects.bucket,
        )

    async def _made_before(self, begun: Snapshot, note: Note, write_id: str | None) -> RawEntry | None:
        """Return the log entry of the change that was made under the caller's own `write_id`."""
        if write_id is None:
            return None
        entry = await self._archive.find(begun, write_id)
        if entry is None and write_id not in begun.current.writers:
            return None
        return check_same(entry, note, write_id, begun.environment)

    @asynccontextmanager
    async def _turn(self, begun: Snapshot) -> AsyncIterator[bool]:
        """Wait for this process's other writers, and return whether one has written since `begun` was read."""
        environment, loop = begun.environment, asyncio.get_running_loop()
        lock = self._locks.setdefault(environment, asyncio.Lock())
        waited = lock.locked()
        async with lock:
            try:
                yield waited or self._ended.get(environment, begun.asked_at) > begun.asked_at
            finally:
                self._ended[environment] = loop.time()
