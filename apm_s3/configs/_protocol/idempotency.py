"""Finds out whether an earlier write with the same id succeeded: in a repeated call, and in `outcome`.

A write id belongs to one write. The keys of its release documents contain the id, so an earlier call has left them,
whether it was committed, is still running or was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import StrEnum

from apm_s3._tasks import run_all
from apm_s3._tools import TOOLS
from apm_s3.configs._models import Current, Note, Release
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.archive import Archive
from apm_s3.configs._protocol.changes import used
from apm_s3.configs._protocol.commit import SKEW, WINDOW, Committer, WindowClosed
from apm_s3.configs._protocol.encoding import RING
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reader import Reader, Snapshot
from apm_s3.errors import CommitUnknown, ConfigNotFound, InvalidOption, RevisionConflict


@dataclass(frozen=True, slots=True)
class Trace:
    """A release document of a write: its tool, its key, and when it was stored (Unix seconds)."""

    tool: str
    revision: int
    key: str
    stored_at: float


class Overtaken(Exception):
    """Another call with the same write id may have been committed since the look-up."""


@dataclass(frozen=True, slots=True)
class EarlierWrite:
    """What was found about a write id.

    Attributes:
        releases: the releases that it committed.
        began_at: when it began, in Unix seconds: when its first document was stored, or the time of the look-up.
        sequence: the sequence of the reference document that was read; -1 if there was none.
    """

    write_id: str
    releases: tuple[Release, ...] = ()
    began_at: float | None = None
    sequence: int = -1

    def check_open(self, begun: Snapshot) -> None:
        """Refuse to build on `begun` if another call with this write id may have committed meanwhile.

        Raises:
            Overtaken: it has, or there were too many other commits to tell.
        """
        # The look-up and this document are two reads. A commit between them shows in the document, but only while it is
        # among the last `RING`. After more, the id may have come and gone, so the answer is not "no" but "look again".
        if self.write_id in begun.current.writers or begun.current.sequence - self.sequence > RING:
            raise Overtaken(f"the write id {self.write_id!r} must be looked up again")

    def check(self, environment: str, tools: Collection[str] | None, same: Callable[[Release], bool]) -> None:
        """Refuse a write that differs from the committed one with this id.

        Raises:
            InvalidOption: the tools or the content differ.
        """
        others = tools is not None and {release.tool for release in self.releases} != set(tools)
        if others or not all(map(same, self.releases)):
            raise used(self.write_id, environment)

    def since(self, begun: Snapshot) -> Snapshot:
        """Return `begun` as of the start of the write, which must be committed within its window.

        Raises:
            InvalidOption: the window has passed.
        """
        # If each repetition began a window of its own, a write could be committed at any time after its first call, and
        # `outcome`, which counts from the documents that were stored, could not rule it out.
        if self.began_at is None or self.began_at >= begun.server_time:
            return begun
        age = begun.server_time - self.began_at
        if age > WINDOW - SKEW:
            raise InvalidOption(
                f"the write {self.write_id!r} was started {age / 60:.0f} minutes ago and never committed",
                hint="it cannot be committed any more: repeat the call with a new write id",
            )
        return replace(begun, server_time=self.began_at, asked_at=begun.asked_at - age)


class Earlier:
    """Looks for earlier calls with the same write id."""

    def __init__(self, objects: ObjectStore, reader: Reader) -> None:
        self._objects = objects
        self._reader = reader

    async def find(self, environment: str, write_id: str) -> EarlierWrite:
        """Find out what `write_id` has done, with one listing per tool.

        Raises:
            RevisionConflict: it lost against another write.
            InvalidOption: it was used for a different write, or too long ago.
        """
        try:
            return await self._find(environment, write_id)
        except Overtaken:
            # Another call has committed them, and they were collected before they were listed.
            try:
                return await self._find(environment, write_id)
            except Overtaken as exc:
                raise used(write_id, environment) from exc

    async def _find(self, environment: str, write_id: str) -> EarlierWrite:
        # The document is read first, because the window counts from its time: another call with this write id can be
        # ruled out 15 minutes after its documents were stored, which may happen right after the listing.
        looked = await self._reader.current_or_none(environment)
        nothing = EarlierWrite(write_id, began_at=looked.server_time)
        if not looked.etag:
            return nothing

        async def read(snapshot: Snapshot) -> EarlierWrite:
            traces = await find_traces(self._objects, environment, write_id)
            return await self._judge(snapshot, write_id, traces)

        try:
            return await self._reader.read_consistently(environment, read, first=looked)
        except ConfigNotFound:
            return nothing

    async def _judge(self, snapshot: Snapshot, write_id: str, traces: list[Trace]) -> EarlierWrite:
        releases = []
        for trace in traces:
            state = snapshot.current.tools.get(trace.tool)
            if state is None or state.release.revision < trace.revision:
                continue
            committed = await self._reader.committed(snapshot, trace.tool, trace.revision)
            if committed is None or committed.ref is None:
                raise used(write_id, snapshot.environment)
            if committed.ref.key != trace.key:
                raise RevisionConflict(
                    f"{trace.tool} in '{snapshot.environment}' is at revision {state.release.revision} now: "
                    f"the write {write_id!r} has lost to another one",
                    expected_revision=trace.revision - 1,
                    current_revision=state.release.revision,
                    tool=trace.tool,
                    environment=snapshot.environment,
                )
            releases.append(committed)
        if releases and len(releases) == len(traces):
            return EarlierWrite(write_id, tuple(releases))
        if write_id in snapshot.current.writers:
            raise Overtaken
        began_at = min((trace.stored_at for trace in traces), default=snapshot.server_time)
        return EarlierWrite(write_id, began_at=began_at, sequence=snapshot.current.sequence)


async def find_traces(objects: ObjectStore, environment: str, write_id: str) -> list[Trace]:
    """Find the release documents that a write has stored, committed or not."""

    async def find(tool: str) -> list[Trace]:
        found = []
        async with aclosing(objects.list(keys.releases(environment, tool))) as listing:
            async for info in listing:
                parsed = keys.parse_release(info.key)
                if parsed is not None and parsed[1] == write_id and info.last_modified is not None:
                    found.append(Trace(tool, parsed[0], info.key, info.last_modified.timestamp()))
        return found

    return [trace for traces in await run_all(find(tool) for tool in TOOLS) for trace in traces]


def resumed(there: Release, wanted: Release) -> Release:
    """Return the document stored by another call with the same write id, if it equals the one of this call.

    Raises:
        InvalidOption: it differs.
    """
    if _content(there) != _content(wanted):
        raise used(wanted.write_id, wanted.environment)
    return there


def _content(release: Release) -> tuple[object, ...]:
    hashes = {name: entry.sha256 for name, entry in release.files.items()}
    return release.tool, release.revision, release.parent, release.origin, release.deployed, hashes


class CommitOutcome(StrEnum):
    """The outcome of a write.

    WON: it was committed. LOST: it was not, and never will be. PENDING: not known yet, ask again.
    EXPIRED: it cannot be determined: the history was pruned; or the write creates no release, like `mark_good` and
    `freeze`, and has not been committed yet. Such a call can be repeated with the same write id: it is committed at
    most once.
    """

    WON = "won"
    LOST = "lost"
    PENDING = "pending"
    EXPIRED = "expired"


class _Moved(Exception):
    """The document has changed in a way that may decide the outcome."""


async def find_outcome(write_id: str, committer: Committer) -> CommitOutcome:
    """Return the outcome of a write, for `ConfigStore.outcome`.

    If there is no release document, only the log can show the outcome: a change that it does not have may still arrive,
    or its entry or the write's documents were collected.
    """
    environment = keys.environment_of(write_id)
    reader, archive = committer.reader, committer.archive
    unknown = False
    while True:
        # Read before the document: releases that the document does not show were not committed by then.
        traces = await find_traces(committer.objects, environment, write_id)

        async def read(snapshot: Snapshot, traces: list[Trace] = traces) -> tuple[Snapshot, CommitOutcome | None]:
            return snapshot, await _verdict(write_id, traces, snapshot, reader, archive)

        snapshot, verdict = await reader.read_consistently(environment, read)
        if verdict is not None:
            return verdict
        if unknown or snapshot.server_time - max(trace.stored_at for trace in traces) < WINDOW:
            return CommitOutcome.PENDING
        try:
            if await _rule_out(write_id, traces, snapshot, committer):
                return CommitOutcome.LOST
        except CommitUnknown:
            # It names the write of `_rule_out`, unknown to the caller. The write in question may be decided by now.
            unknown = True


async def _rule_out(write_id: str, traces: list[Trace], snapshot: Snapshot, committer: Committer) -> bool:
    """Replace the document, so that the write can no longer take effect; return False if it may already have."""

    def move(current: Current) -> Current:
        if write_id in current.writers or any(_is_decided(current, trace) for trace in traces):
            raise _Moved
        return current

    note = Note(action="rule_out", message=f"{write_id} can no longer take effect")
    try:
        async with committer.call(snapshot.environment) as call:
            await call.commit(snapshot, move, keys.new_write_id(snapshot.environment), note)
    except (_Moved, WindowClosed):
        return False
    return True


async def _verdict(
    write_id: str, traces: list[Trace], snapshot: Snapshot, reader: Reader, archive: Archive
) -> CommitOutcome | None:
    """Return the outcome from the document and the chains of parents; None if it is not known yet."""
    if write_id in snapshot.current.writers:
        return CommitOutcome.WON
    decided = [trace for trace in traces if _is_decided(snapshot.current, trace)]
    lost = False
    for trace in decided:
        committed = await reader.committed(snapshot, trace.tool, trace.revision)
        if committed is not None and committed.ref is not None:
            if committed.ref.key == trace.key:
                return CommitOutcome.WON
            # Repairs that were begun again have left a document for each try.
            lost = True
    if lost:
        return CommitOutcome.LOST
    if traces and not decided:
        return None
    return CommitOutcome.EXPIRED if await archive.find(snapshot, write_id) is None else CommitOutcome.WON


def _is_decided(current: Current, trace: Trace) -> bool:
    """Return whether the revision that the write would have created exists, from any write."""
    state = current.tools.get(trace.tool)
    return state is not None and state.release.revision >= trace.revision
