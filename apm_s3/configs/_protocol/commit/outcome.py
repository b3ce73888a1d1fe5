"""Finds out whether a write succeeded when its response was lost."""

from __future__ import annotations

from enum import StrEnum

from apm_s3.configs._models.current import Current
from apm_s3.configs._models.log import Note
from apm_s3.configs._protocol.commit.committer import Committer
from apm_s3.configs._protocol.commit.earlier import Trace, find_traces
from apm_s3.configs._protocol.commit.write import WINDOW, WindowClosed
from apm_s3.configs._protocol.documents import keys
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reading.archive import Archive
from apm_s3.configs._protocol.reading.reader import Reader
from apm_s3.configs._protocol.reading.snapshots import Snapshot
from apm_s3.errors import CommitUnknown


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


async def find_outcome(write_id: str, objects: ObjectStore, reader: Reader, committer: Committer) -> CommitOutcome:
    """Return the outcome of a write, for `ConfigStore.outcome`.

    If there is no release document, only the log can show the outcome: a change that it does not have may still arrive,
    or its entry or the write's documents were collected.
    """
    environment = keys.environment_of(write_id)
    archive = Archive(objects, reader)
    unknown = False
    while True:
        # Read before the document: releases that the document does not show were not committed by then.
        traces = await find_traces(objects, environment, write_id)

        async def read(snapshot: Snapshot, traces: list[Trace] = traces) -> tuple[Snapshot, CommitOutcome | None]:
            return snapshot, await _verdict(write_id, traces, snapshot, reader, archive)

        snapshot, verdict = await reader.settled(environment, read)
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
            await committer.commit(snapshot, move, keys.new_write_id(snapshot.environment), note, call=call)
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
