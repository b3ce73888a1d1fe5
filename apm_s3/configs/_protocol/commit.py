"""Commits a change: one conditional PUT of current.json, repeated until there is a verdict.

All writers follow these rules, which only work together:

- Everything that the document names is stored before the document is written.
- The write carries the ETag that was read. It has won only after a 200, or if our write id is in a document read later;
  it has lost only after a 412 followed by a document without our write id. Everything else proves nothing: the request
  may still arrive, so the same bytes are sent again until one of the two is seen.
  https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
- After a 412, the change is made again on the fresh document, if that still allows it.
- Every write adds its entry to the log, and removes older entries only if it names a stored part that contains them.
- All attempts with one write id start within `WINDOW` of reading the first document, by the server's clock. After that,
  `outcome` can make sure that the write can never take effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from apm_s3._backoff import Backoff
from apm_s3._hints import Advice
from apm_s3._tasks import finish_within
from apm_s3._tracing import committing
from apm_s3.configs._models import Current, Note, RawEntry, Release
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.archive import Archive
from apm_s3.configs._protocol.changes import Change, PostCommitTasks, check_same, check_write_id, used
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
    InvalidOption,
    NotFound,
    PreconditionFailed,
    S3Error,
    StoreDamaged,
    TransportError,
    UsageError,
)
from apm_s3.settings import SLOWEST_RATE

WINDOW = 15 * 60.0
"""Seconds in which a write id may be sent; after that, a write that was not seen can be ruled out."""

SKEW = 60.0
"""Safety margin at the end of the window: `Date` has whole seconds, and servers' clocks differ."""

_LAST_CHANCE = 0.5
"""Minimum seconds for a request if an earlier one got no response, because it may bring the verdict."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
"""Seconds. These are not the retries of a request, which the object store makes: see `Write`."""


T = TypeVar("T")

RESTARTS = 3
"""Maximum restarts of a write that takes longer than its window."""

CANCEL_GRACE = 10.0
"""Maximum seconds that a cancelled caller waits for its commit."""


CLEAN_UP = 10.0
"""Maximum seconds that a write without a commit waits for its clean-up."""

MakeChange = Callable[[Snapshot], Awaitable[tuple[Change, Note]]]
"""Makes a change that only affects the document, from the current document."""


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


class WriteCall:
    """One writing call: its deadline, its write id, and the commits that it tries: `async with committer.call(...)`.

    Until a commit begins, the deadline cancels the call, and nothing was changed. After that, the commit itself
    observes the deadline, because only it knows whether something was changed: a cancelled PUT may still arrive.

    This is the one exception to "only the runner retries": if a response does not show the outcome of a commit, the
    same bytes are sent again, and the document is read again, until there is a verdict or the deadline passes.

    Args:
        timeout: seconds for the whole call; None means those of the store, plus a second per 64 KiB passed to `allow`.
        write_id: the caller's id; None means a new one for every try.

    Attributes:
        deadline: by the event loop's clock.
        earlier: the log entry of a change without a release, if this or another call has made it under the call's
            write id.
        sent: whether a commit was sent, and may have been carried out. Until then, what was stored is seen by nobody.
    """

    # Of the commit that is tried, set by `commit`: nothing reads them before.
    begun: Snapshot
    change_of: Change
    id: str
    note: Note
    releases: tuple[Release, ...]
    part: LogPart | None

    def __init__(self, committer: Committer, environment: str, timeout: float | None, write_id: str | None) -> None:
        check_write_id(write_id, environment)
        if timeout is not None and not timeout > 0:
            raise InvalidOption("timeout must be more than 0 seconds", hint="omit it to use the store's deadline")
        self.environment: str = environment
        self.write_id: str | None = write_id
        self.deadline: float = 0.0
        self.earlier: RawEntry | None = None
        self.sent: bool = False
        self._unresolved = False
        self._committer = committer
        self._objects, self._reader, self._archive = committer.objects, committer.reader, committer.archive
        self._seconds = committer.deadline if timeout is None else timeout
        self._grows = timeout is None
        self._timeout: asyncio.Timeout | None = None

    async def __aenter__(self) -> Self:
        self.deadline = asyncio.get_running_loop().time() + self._seconds
        self._timeout = asyncio.timeout_at(self.deadline)
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timeout is None:
            return
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as exc:
            raise DeadlineExceeded(
                f"'{self.environment}' was not written within {self._seconds:g} s; nothing was changed",
                operation="commit",
                sent=False,
                hint=Advice.MORE_TIME(),
            ) from exc
        if isinstance(error, ApmS3Error) and not self.sent:
            error.changed_nothing = True
        if isinstance(error, Exception) or (error is None and not self.sent):
            # A probe that this call began and nobody needed: it leaves no objects behind when the program ends now.
            await self._committer.probe.gone(self.environment, min(self.left, CLEAN_UP))

    def allow(self, size: int) -> None:
        """Extend the deadline of a call without a timeout by the time for transferring `size` bytes."""
        if self._grows and self._timeout is not None and self._timeout.when() is not None:
            self._seconds += size / SLOWEST_RATE
            self.deadline += size / SLOWEST_RATE
            self._timeout.reschedule(self.deadline)

    def commit_begins(self) -> None:
        """From now on, do not cancel the call at its deadline."""
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(None)

    @property
    def left(self) -> float:
        """Return the seconds until the deadline; 0 if it has passed."""
        return max(0.0, self.deadline - asyncio.get_running_loop().time())

    async def change(self, make: MakeChange, note: Note, *, create: bool = False) -> None:
        """Make a change that only affects the document.

        If it was made before under the caller's write id, nothing is done, and `earlier` has its log entry.

        Args:
            make: returns the change and its note for the log. It may raise `Gone`, and may be called again.
            note: the note as far as it follows from the caller's arguments.
            create: whether the environment may not exist yet.

        Raises:
            InvalidOption: a different write has used this write id.
            CommitUnknown: the deadline passed before it was known whether it was made. Such changes can be repeated.
        """
        environment, committer = self.environment, self._committer

        async def prepare(begun: Snapshot) -> tuple[Snapshot, tuple[Change, Note] | None]:
            self.earlier = await self._made_before(begun, note)
            if self.earlier is not None:
                return begun, None
            begun.current.settings.check_note(environment, note.author, note.message)
            return begun, await make(begun)

        for _ in range(RESTARTS):
            begin = committer.begin if create else committer.existing
            begun, made = await self._reader.read_consistently(environment, prepare, begin=begin)
            if made is None:
                return
            try:
                await self.commit(begun, made[0], self.write_id or keys.new_write_id(environment), made[1])
            except WindowClosed:
                continue
            return
        raise DeadlineExceeded(
            f"'{environment}' could not be changed within {RESTARTS} x 15 minutes; nothing was changed",
            operation="commit",
            sent=False,
            bucket=self._objects.bucket,
        )

    async def _made_before(self, begun: Snapshot, note: Note) -> RawEntry | None:
        """Return the log entry of the change that was made under the caller's own write id."""
        if self.write_id is None:
            return None
        entry = await self._archive.find(begun, self.write_id)
        if entry is None and self.write_id not in begun.current.writers:
            return None
        return check_same(entry, note, self.write_id, begun.environment)

    async def commit(
        self,
        begun: Snapshot,
        change: Change,
        write_id: str,
        note: Note,
        *,
        releases: tuple[Release, ...] = (),
        part: LogPart | None = None,
        then: Callable[[], Coroutine[Any, Any, T]] | None = None,
    ) -> asyncio.Task[T] | None:
        """Make `change`, and return when it has certainly been made.

        If cancelled while it waits for its turn, nothing is changed. Later, a cancelled caller waits at most 10
        seconds; the commit continues until its deadline, and `then` follows it.

        Args:
            begun: the document as it was before anything was written.
            write_id: the caller's, or a new one.
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
        committer = self._committer
        await committer.probe.ensure(begun.environment)
        async with committer.turn(begun) as stale:
            self.commit_begins()
            self.begun, self.change_of, self.id, self.note = begun, change, write_id, note
            self.releases, self.part = releases, part
            self.sent = self._unresolved = False

            async def run() -> asyncio.Task[T] | None:
                revisions = tuple(f"{release.tool} {release.revision}" for release in releases)
                with committing({"environment": begun.environment, "revisions": revisions}):
                    await self._run(stale=stale)
                return None if then is None else committer.afterwards.start(then())

            # In a task of its own. A caller that is cancelled in the middle of the PUT would otherwise leave it without
            # a verdict: a revision that nobody was told of, and `live/` outdated until the next write.
            return await finish_within(committer.afterwards.start(run()), CANCEL_GRACE)

    async def _run(self, *, stale: bool) -> None:
        """Send and rebase until there is a verdict."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        base = self.begun
        if stale:
            base = await self._reread()
            self._check_window(base)
            if self.write_id is not None and await self._is_in(base):
                return
        while True:
            # This is only checked when there is a verdict on earlier attempts, so nothing is in flight.
            await check_sound(base, self._objects, self._reader)
            await self._make_room(base.current)
            if await self._send(base, encode_current(self._changed(base))):
                return
            fresh = await self._reread()
            if await self._has_won(base, fresh):
                return
            self._unresolved = self.sent = False
            self._check_window(fresh)
            # Nobody else has written: the server contradicts itself, or has answered the read from an old copy.
            refused = fresh.current.sequence == base.current.sequence
            pause = next(backoff) if refused else 0.0
            if loop.time() + pause >= self.deadline:
                raise self._too_late(
                    "the server rejected If-Match with the ETag that it had just returned" if refused
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
                self.part = await self._archive.store(self.begun.environment, current, self.id)
        except TimeoutError as exc:
            raise self._too_late("the log could not be stored in time") from exc

    def _changed(self, base: Snapshot) -> Current:
        # If the settings changed, the write must be checked again from the start.
        if base.current.settings != self.begun.current.settings:
            raise SettingsMoved
        before = with_part(base.current, self.part)
        return stamp(
            before,
            self.change_of(before),
            write_id=self.id,
            home=self._objects.bucket,
            note=self.note,
            at=base.server_time,
        )

    async def _send(self, base: Snapshot, body: bytes) -> bool:
        """Send until it has certainly taken effect (True), or the ETag is stale (False)."""
        # The same bytes with the same ETag, however often. A request without a response may still arrive, and in any
        # order. The first one to arrive makes the ETag stale for the others, so the change takes effect at most once. A
        # change that is built anew while one is on its way could take effect beside it: so that waits for a 412, after
        # which everything that was sent with this ETag fails.
        loop = asyncio.get_running_loop()
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            left = self.deadline - loop.time()
            if left <= 0 and not self._unresolved:
                raise self._too_late("there was no time left")
            self.sent = True
            try:
                await self._objects.put(
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
                    raise (self._unknown() if self._unresolved else self._failed(error)) from error
                await asyncio.sleep(pause)
            else:
                return True

    def _judge(self, error: ApmS3Error) -> None:
        """Handle an error of the request: raise it if the request was certainly refused."""
        if isinstance(error, NotFound) and not isinstance(error, BucketNotFound):
            key = self._reader.where(keys.current(self.begun.environment))
            raise StoreDamaged(
                f"'{key}' was deleted while it was being replaced", environment=self.begun.environment
            ) from error
        self._unresolved = self._unresolved or error.may_have_happened
        # A refusal is the verdict on this attempt only. While an earlier one may still arrive, "access denied" would
        # tell the caller that nothing was changed, and be wrong a second later. Without an earlier one, it ends the
        # call: refused credentials were already refreshed and retried by the layer below.
        if not self._unresolved and (isinstance(error, AccessDenied) or not error.retryable):
            raise error

    async def _seen(self) -> bool:
        """Return whether the document has our write id; if it does not, that proves nothing."""
        if not self._unresolved:
            return False
        try:
            async with asyncio.timeout_at(self.deadline):
                snapshot = await self._reader.current(self.begun.environment)
                if snapshot is None or self.id not in snapshot.current.writers:
                    return False
                return self.write_id is None or await self._is_in(snapshot)
        except (ApmS3Error, TimeoutError):
            return False

    async def _has_won(self, base: Snapshot, fresh: Snapshot) -> bool:
        """Return, after a 412 on the ETag of `base`, whether our own write had made it stale."""
        # A 412 is no proof that another writer was faster: if the response of the first attempt got lost, here or in
        # the layer below, that attempt makes the second one fail. Taken for a lost race, the change would be made a
        # second time, or its caller would be told of a conflict with itself. Our id in the document decides. After more
        # commits than the document has room for, the log does, or the chain of releases: an id that fell off is not one
        # that never was there.
        if self.id in fresh.current.writers:
            return self.write_id is None or await self._is_in(fresh)
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
                found = await self._archive.newest(
                    fresh, wanted=lambda entry: entry["id"] == self.id, is_older=lambda _: False, limit=1,
                    after=after,
                )  # fmt: skip
        except (TimeoutError, Gone, ApmS3Error) as exc:
            raise self._unknown() from exc
        if not found:
            # A collector may have removed our entry together with others that are as old.
            if fresh.current.log.oldest > after + 1:
                raise self._unknown()
            return False
        if self.write_id is not None:
            self.earlier = check_same(found[0], self.note, self.id, self.begun.environment)
        return True

    async def _is_in(self, fresh: Snapshot) -> bool:
        """Return whether this change was committed under the caller's write id, by this or another call.

        Raises:
            InvalidOption: a different change was committed under it.
        """
        if self.id not in fresh.current.writers:
            return False
        if not self.releases:
            entry = await self._archive.find(fresh, self.id)
            self.earlier = check_same(entry, self.note, self.id, self.begun.environment)
            return True
        if not all([await self._in_history(release, fresh) for release in self.releases]):
            raise used(self.id, self.begun.environment)
        return True

    async def _in_history(self, release: Release, fresh: Snapshot) -> bool:
        state = fresh.current.tools.get(release.tool)
        if state is None or release.ref is None or state.release.revision < release.revision:
            return False
        if state.release == release.ref:
            return True
        try:
            async with asyncio.timeout_at(self.deadline):
                found = await self._reader.committed(fresh, release.tool, release.revision)
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
                    return await self._reader.require(self.begun.environment)
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
        # `outcome` says LOST only after the window has passed, and after it has replaced the document, so that what is
        # still on its way fails its condition. But this loop would read the replacement, build on it and win, after the
        # caller was told that it had lost. So it ends first: by the server's clock, and by our own as well, because
        # without a response the server's clock stands still.
        if fresh.server_time - self.begun.server_time > WINDOW - SKEW or self._window_is_closed():
            raise WindowClosed

    def _window_is_closed(self) -> bool:
        return asyncio.get_running_loop().time() - self.begun.asked_at > WINDOW - SKEW

    def _unknown(self) -> CommitUnknown:
        return CommitUnknown(
            f"it is not known whether the change of '{self.begun.environment}' took effect",
            write_id=self.id,
            environment=self.begun.environment,
            tool=self.releases[0].tool if len(self.releases) == 1 else None,
            operation="commit",
            bucket=self._objects.bucket,
            key=keys.current(self.begun.environment),
            hint=Advice.NO_CHANGE_YET(write_id=self.id),
        )

    def _too_late(self, problem: str) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{problem}; nothing was changed", operation="commit", bucket=self._objects.bucket,
            key=keys.current(self.begun.environment), sent=False,
        )  # fmt: skip

    def _failed(self, error: ApmS3Error) -> ApmS3Error:
        return error if not isinstance(error, TransportError) else self._too_late("S3 could not be reached")


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
        self.objects = objects
        self.reader = reader
        self.archive = Archive(objects, reader)
        self.probe = probe
        self.afterwards = afterwards
        self.deadline = deadline
        self._failover = failover
        self._locks: dict[str, asyncio.Lock] = {}
        self._ended: dict[str, float] = {}

    def call(self, environment: str, timeout: float | None = None, write_id: str | None = None) -> WriteCall:
        """Return a writing call with its deadline (by default the store's) and its write id.

        Raises:
            InvalidOption: the timeout or write id is not valid.
        """
        return WriteCall(self, environment, timeout, write_id)

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
            snapshot = await self.reader.require(environment)
        return snapshot

    async def look(self, environment: str) -> Snapshot:
        """Read the reference document; return an empty one without an ETag if it does not exist.

        Raises:
            UsageError: this bucket is a replica.
            StoreDamaged: there are releases, but no reference document, or it is damaged.
        """
        self.probe.begin(environment)
        return await self.peek(environment)

    async def peek(self, environment: str) -> Snapshot:
        """Read what `look` reads, for a change that may be refused: the endpoint is not probed, so nothing is written.

        Raises:
            UsageError, StoreDamaged: see `look`.
        """
        snapshot = await self.reader.current_or_none(environment)
        if not snapshot.etag:
            await self.reader.check_empty(environment)
            return snapshot
        if self.reader.is_replica(snapshot.current) and not self._failover:
            raise UsageError(
                f"'{environment}' in bucket '{self.objects.bucket}' is a replica of bucket '{snapshot.current.home}'",
                bucket=self.objects.bucket,
                hint=Advice.OPEN_REPLICA(),
            )
        await check_sound(snapshot, self.objects, self.reader)
        return snapshot

    async def _create(self, environment: str, now: float) -> None:
        await self.probe.ensure(environment)
        nothing = Current(-1, (), self.objects.bucket)
        # Every document has its own write id, so that no two documents have the same bytes and ETag.
        write_id = keys.new_write_id(environment)
        note = Note(action="create")
        empty = stamp(nothing, nothing, write_id=write_id, home=self.objects.bucket, note=note, at=now)
        try:
            await self.objects.put(
                keys.current(environment), encode_current(empty), create=True, content_type="application/json"
            )
        except PreconditionFailed:
            return

    async def existing(self, environment: str) -> Snapshot:
        """Read the reference document of an existing environment.

        Raises:
            ConfigNotFound: the environment does not exist.
            UsageError, StoreDamaged: see `look`.
        """
        snapshot = await self.look(environment)
        return snapshot if snapshot.etag else await self.reader.require(environment)

    @asynccontextmanager
    async def turn(self, begun: Snapshot) -> AsyncIterator[bool]:
        """Wait for this process's other writers, and return whether one has written since `begun` was read."""
        # Without the queue, n writers of one process would all send, n - 1 would get a 412, and all of these would read
        # and send again. One that has waited, or whose document was read before another one wrote, knows without asking
        # that its ETag is stale, and reads first.
        environment, loop = begun.environment, asyncio.get_running_loop()
        lock = self._locks.setdefault(environment, asyncio.Lock())
        waited = lock.locked()
        async with lock:
            try:
                yield waited or self._ended.get(environment, begun.asked_at) > begun.asked_at
            finally:
                self._ended[environment] = loop.time()
