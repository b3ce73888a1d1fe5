"""Commits one write id to the reference document, until the outcome is certain. See `committer`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from apm_s3._backoff import Backoff
from apm_s3.configs._models.current import Current
from apm_s3.configs._models.log import Note, RawEntry
from apm_s3.configs._models.releases import Release
from apm_s3.configs._protocol.commit.changes import Change
from apm_s3.configs._protocol.commit.repeated import check_same, used
from apm_s3.configs._protocol.documents import keys
from apm_s3.configs._protocol.documents.encoding import encode_current
from apm_s3.configs._protocol.documents.log import (
    MUST_STORE,
    LogPart,
    chain_breaks,
    ring_overrun,
    stamp,
    with_part,
)
from apm_s3.configs._protocol.objects import ObjectStore, delete_what_can_be
from apm_s3.configs._protocol.reading.archive import Archive
from apm_s3.configs._protocol.reading.reader import OTHER_MD5, Gone, Reader, has_md5
from apm_s3.configs._protocol.reading.snapshots import Snapshot
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
            hint=f"call outcome({self.write_id!r}) before you repeat the change",
        )

    def _too_late(self, problem: str) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{problem}; nothing was changed", operation="commit", bucket=self.objects.bucket,
            key=keys.current(self.begun.environment), sent=False,
        )  # fmt: skip

    def _failed(self, error: ApmS3Error) -> ApmS3Error:
        return error if not isinstance(error, TransportError) else self._too_late("S3 could not be reached")
