"""Commits a change: one conditional PUT of current.json, repeated until there is a verdict.

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
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from apm_s3._backoff import Backoff
from apm_s3._hints import Advice
from apm_s3._tasks import finish_within
from apm_s3._tracing import committing
from apm_s3.configs._models import Current, Note, RawEntry, Release
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.archive import Archive
from apm_s3.configs._protocol.changes import Change, PostCommitTasks, WriteCall, check_same, used
from apm_s3.configs._protocol.encoding import (
    MUST_STORE,
    LogPart,
    chain_breaks,
    encode_current,
    ring_overrun,
    stamp,
    with_part,
)
from apm_s3.configs._protocol.objects import ObjectStore, delete_what_can_be
from apm_s3.configs._protocol.probe import Probe
from apm_s3.configs._protocol.reader import OTHER_MD5, Gone, Reader, Snapshot, has_md5
from apm_s3.errors import (
    AccessDenied,
    ApmS3Error,
    BucketNotFound,
    CommitUnknown,
    DeadlineExceeded,
    FormatTooNew,
    IntegrityError,
    NotFound,
    PreconditionFailed,
    S3Error,
    StoreDamaged,
    TransportError,
    UsageError,
)

WINDOW = 15 * 60.0
"""Seconds in which a write id may be sent; after that, a write that was not seen can be ruled out."""

SKEW = 60.0
"""Safety margin at the end of the window: `Date` has whole seconds, and servers' clocks differ."""

_LAST_CHANCE = 0.5
"""Minimum seconds for a request if an earlier one got no response, because it may bring the verdict."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
"""Seconds. These are not the retries of a request, which the object store makes: see `Write`."""


class WindowClosed(Exception):
    """The write took too long. Nothing of it is in flight, so it can start again with a new write id."""


class SettingsMoved(WindowClosed):
    """The environment's settings have changed, and the change may violate them. Nothing of it is in flight."""


async def check_sound(snapshot: Snapshot, objects: ObjectStore, reader: Reader) -> None:
    """Refuse to build on a damaged reference document: what is committed on top of damage makes it permanent.

    Raises:
        StoreDamaged: its log contradicts itself, or its bytes are not those of its ETag, which is an MD5 here.
    """
    environment, key = snapshot.environment, keys.current(snapshot.environment)
    broken = chain_breaks(snapshot.current.log.entries, snapshot.current.log.unproven)
    if snapshot.doubtful and not broken:
        # Only a doubtful document costs these requests: which ETag has an object whose bytes are known?
        probe, body = keys.probes(environment) + keys.new_write_id(environment), b"apm-s3 asks what ETags are here\n"
        reader.etags_tell = has_md5(await objects.put(probe, body, create=True, hashed=True), body) is True
        with suppress(AccessDenied):  # a collection deletes it
            await delete_what_can_be(objects, [probe])
        if reader.etags_tell:
            broken = [OTHER_MD5]
    if broken:
        raise StoreDamaged(f"'{reader.where(key)}' is damaged: {broken[0]}", environment=environment)


@dataclass(slots=True)
class Write:
    """One write id and its commit to the reference document.

    This is the one exception to "only the runner retries": if a response does not show the outcome of a commit, the
    same bytes are sent again, and the document is read again, until there is a verdict or the deadline passes.
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
    """Whether the caller provided the write id, so that another call may have the same one."""
    entry: RawEntry | None = field(default=None, kw_only=True)
    """The log entry of a change without a release under the caller's write id, if it was seen."""

    async def run(self, *, stale: bool) -> None:
        """Send and rebase until there is a verdict."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        base = self.begun
        if stale:
            base = await self._reread()
            self._check_window(base)
            if self.chosen and await self._is_in(base):
                return
        while True:
            # This is only checked when there is a verdict on earlier attempts, so nothing is in flight.
            await check_sound(base, self.objects, self.reader)
            await self._make_room(base.current)
            if await self._send(base, encode_current(self._changed(base))):
                return
            fresh = await self._reread()
            if await self._has_won(base, fresh):
                return
            self.unresolved = self.sent = False
            self._check_window(fresh)
            # Nobody else has written: the server contradicts itself, or has answered the read from an old copy.
            refused = fresh.current.sequence == base.current.sequence
            pause = next(backoff) if refused else 0.0
            if loop.time() + pause >= self.deadline:
                raise self._too_late(
                    "the server refuses the ETag of the document that it has" if refused
                    else "other writers were faster until the deadline passed"
                )  # fmt: skip
            if refused:
                await asyncio.sleep(pause)
            base = fresh

    async def _make_room(self, current: Current) -> None:
        """Store the older entries of the log if this is overdue: an entry is removed only after it was stored."""
        if len(with_part(current, self.part).log.unstored) < MUST_STORE:
            return
        try:
            async with asyncio.timeout_at(self.deadline):
                self.part = await self.archive.store(self.begun.environment, current, self.write_id)
        except TimeoutError as exc:
            raise self._too_late("the log could not be stored in time") from exc

    def _changed(self, base: Snapshot) -> Current:
        # If the settings changed, the write must be checked again from the start.
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
        """Send until it has certainly taken effect (True), or the ETag is stale (False)."""
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
        """Handle an error of the request: raise it if the request was certainly refused."""
        if isinstance(error, NotFound) and not isinstance(error, BucketNotFound):
            key = self.reader.where(keys.current(self.begun.environment))
            raise StoreDamaged(f"'{key}' has vanished", environment=self.begun.environment) from error
        self.unresolved = self.unresolved or error.may_have_happened
        # Refused credentials were already refreshed and retried by the layer below.
        if not self.unresolved and (isinstance(error, AccessDenied) or not error.retryable):
            raise error

    async def _seen(self) -> bool:
        """Return whether the document has our write id; if it does not, that proves nothing."""
        if not self.unresolved:
            return False
        try:
            async with asyncio.timeout_at(self.deadline):
                snapshot = await self.reader.current(self.begun.environment)
                if snapshot is None or self.write_id not in snapshot.current.writers:
                    return False
                return not self.chosen or await self._is_in(snapshot)
        except (ApmS3Error, TimeoutError):
            return False

    async def _has_won(self, base: Snapshot, fresh: Snapshot) -> bool:
        """Return, after a 412 on the ETag of `base`, whether our own write had made it stale."""
        if self.write_id in fresh.current.writers:
            return not self.chosen or await self._is_in(fresh)
        if not ring_overrun(base.current, fresh.current):
            return False
        if not self.releases:
            return await self._in_log(base, fresh)
        return await self._in_history(self.releases[0], fresh)

    async def _in_log(self, base: Snapshot, fresh: Snapshot) -> bool:
        """Return whether our entry is in the log after `base`, wherever it is stored."""
        after = base.current.sequence
        try:
            async with asyncio.timeout_at(self.deadline):
                found = await self.archive.newest(
                    fresh, wanted=lambda entry: entry["id"] == self.write_id, is_older=lambda _: False, limit=1,
                    after=after,
                )  # fmt: skip
        except (TimeoutError, Gone, ApmS3Error) as exc:
            raise self._unknown() from exc
        if not found:
            # A collector may have removed our entry together with others that are as old.
            if fresh.current.log.oldest > after + 1:
                raise self._unknown()
            return False
        if self.chosen:
            self.entry = check_same(found[0], self.note, self.write_id, self.begun.environment)
        return True

    async def _is_in(self, fresh: Snapshot) -> bool:
        """Return whether this change was committed under the caller's write id, by this or another call.

        Raises:
            InvalidOption: a different change was committed under it.
        """
        if self.write_id not in fresh.current.writers:
            return False
        if not self.releases:
            entry = await self.archive.find(fresh, self.write_id)
            self.entry = check_same(entry, self.note, self.write_id, self.begun.environment)
            return True
        if not all([await self._in_history(release, fresh) for release in self.releases]):
            raise used(self.write_id, self.begun.environment)
        return True

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
        """Read the current document, retrying until the deadline, because nothing is known without it."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                async with asyncio.timeout_at(self.deadline):
                    return await self.reader.require(self.begun.environment)
            except TimeoutError as exc:
                raise (self._unknown() if self.sent else self._too_late("S3 did not respond in time")) from exc
            except (IntegrityError, S3Error, TransportError) as error:
                pause = next(backoff)
                if loop.time() + pause >= self.deadline:
                    raise (self._unknown() if self.sent else error) from error
                await asyncio.sleep(pause)
            except (FormatTooNew, StoreDamaged) as error:
                # A newer version has written meanwhile, or the document is damaged: our own write may have won before
                # that.
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
            hint=Advice.NO_CHANGE_YET(write_id=self.write_id),
        )

    def _too_late(self, problem: str) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{problem}; nothing was changed", operation="commit", bucket=self.objects.bucket,
            key=keys.current(self.begun.environment), sent=False,
        )  # fmt: skip

    def _failed(self, error: ApmS3Error) -> ApmS3Error:
        return error if not isinstance(error, TransportError) else self._too_late("S3 could not be reached")


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
        afterwards: PostCommitTasks,
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

    def call(self, environment: str, timeout: float | None = None, write_id: str | None = None) -> WriteCall:
        """Return a writing call with its deadline (by default the store's) and its write id.

        Raises:
            InvalidOption: the timeout or write id is not valid.
        """
        return WriteCall(
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
        snapshot = await self._reader.current_or_none(environment)
        if not snapshot.etag:
            await self._reader.check_empty(environment)
            return snapshot
        if self._reader.is_replica(snapshot.current) and not self._failover:
            raise UsageError(
                f"'{environment}' in bucket '{self._objects.bucket}' is a replica of bucket '{snapshot.current.home}'",
                bucket=self._objects.bucket,
                hint=Advice.OPEN_REPLICA(),
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
        call: WriteCall,
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
            return await finish_within(self._afterwards.start(run()), CANCEL_GRACE)

    async def existing(self, environment: str) -> Snapshot:
        """Read the reference document of an existing environment.

        Raises:
            ConfigNotFound: the environment does not exist.
            UsageError, StoreDamaged: see `look`.
        """
        snapshot = await self.look(environment)
        return snapshot if snapshot.etag else await self._reader.require(environment)

    async def change(
        self, environment: str, make: MakeChange, note: Note, *, call: WriteCall, create: bool = False
    ) -> None:
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
            begun, made = await self._reader.read_consistently(environment, prepare, begin=begin)
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
