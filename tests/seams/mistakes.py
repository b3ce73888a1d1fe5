"""Mistakes to plant in the commit protocol, one broken rule at a time, by what is wrong."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from apm_s3 import errors
from apm_s3._cache import Key
from apm_s3.configs._backups import backups, restore
from apm_s3.configs._care import garbage, status
from apm_s3.configs._models import entry_hash
from apm_s3.configs._protocol import changes, commit, encoding, idempotency, keys, live, publish, reader
from apm_s3.configs._protocol.encoding import encode_current, encode_release, stamp, with_part
from apm_s3.errors import StoreDamaged

kept = garbage._Kept
changes_check_base = changes.check_base
Mistake = Callable[[], AbstractContextManager[Any]]


def _commit_before_its_documents() -> AbstractContextManager[Any]:
    put = publish.Publisher._put

    async def not_waited_for(self: publish.Publisher, *arguments: Any) -> None:
        asyncio.ensure_future(put(self, *arguments))  # noqa: RUF006 - that is the mistake

    return mock.patch.object(publish.Publisher, "_put", not_waited_for)


def _commit_before_its_release_document() -> AbstractContextManager[Any]:
    put_release = publish.Publisher._put_release

    async def not_waited_for(self: publish.Publisher, release: Any, **options: Any) -> Any:
        asyncio.ensure_future(put_release(self, release, **options))  # noqa: RUF006 - that is the mistake
        body = encode_release(release)
        key = publish.keys.release(release.environment, release.tool, release.revision, release.write_id)
        sha256 = hashlib.sha256(body).hexdigest()
        return replace(release, ref=publish.ReleaseRef(release.revision, key, sha256))

    return mock.patch.object(publish.Publisher, "_put_release", not_waited_for)


def _live_before_the_commit() -> AbstractContextManager[Any]:
    put_release = publish.Publisher._put_release

    async def too_early(self: publish.Publisher, release: Any, *, chosen: bool) -> Any:
        named = await put_release(self, release, chosen=chosen)
        await self._live._write(named, {}, frozenset())
        return named

    return mock.patch.object(publish.Publisher, "_put_release", too_early)


def _fails(self: Any, error: Exception) -> None:
    raise error


def _async(value: Any = None) -> Any:
    async def answer(*_: Any, **__: Any) -> Any:
        return value

    return answer


def _stamp_without_id(before: Any, after: Any, **options: Any) -> Any:
    stamped = encoding.stamp(before, after, **options)
    *older, newest = stamped.log.entries
    nameless = {**newest, "id": f"production.{'0' * 20}"}
    return replace(stamped, log=replace(stamped.log, entries=(*older, nameless)))


def _entries_leave_when_they_are_old(entries: Any, stored_up_to: int) -> Any:
    return entries[-encoding.RING :]


def _part_is_named_whatever_was_stored_meanwhile(current: Any, part: Any) -> Any:
    return current if part is None else replace(current, log=replace(current.log, stored=part.ref))


def _hash_as_it_was_written(entry: Any) -> str:
    return hashlib.sha256(json.dumps(entry, separators=(",", ":")).encode()).hexdigest()


def _hash_of_what_is_known(entry: Any) -> str:
    return entry_hash({name: value for name, value in entry.items() if name != "by_later"})


def _unknown_fields_are_dropped() -> AbstractContextManager[Any]:
    return mock.patch.object(commit, "encode_current", lambda current: encode_current(replace(current, extra={})))


def _unknown_fields_of_tools_are_dropped() -> AbstractContextManager[Any]:
    def without(current: Any) -> bytes:
        tools = {tool: replace(state, extra={}) for tool, state in current.tools.items()}
        return encode_current(replace(current, tools=tools))

    return mock.patch.object(commit, "encode_current", without)


def _entry_tells_what_was_wanted() -> AbstractContextManager[Any]:
    def of_the_first_try(self: Any, base: Any) -> Any:
        before = with_part(base.current, self.part)
        change = self.change_of(before)
        return stamp(self.begun.current, change, write_id=self.id, home="sim", note=self.note, at=base.server_time)

    return mock.patch.object(commit.WriteCall, "_changed", of_the_first_try)


def _collector_deletes_every_part() -> AbstractContextManager[Any]:
    return mock.patch.object(
        garbage, "_Kept", lambda documents, blobs, _, lost: kept(documents, blobs, frozenset(), lost)
    )


def _settings_are_not_looked_at_again() -> AbstractContextManager[Any]:
    changed = commit.WriteCall._changed

    def blindly(self: Any, base: Any) -> Any:
        self.begun = replace(self.begun, current=replace(self.begun.current, settings=base.current.settings))
        return changed(self, base)

    return mock.patch.object(commit.WriteCall, "_changed", blindly)


def _drafts_are_used_again() -> AbstractContextManager[Any]:
    async def without_a_look(self: Any, begun: Any, drafts: Any, prepare: Any) -> Any:
        return await self.committer.begin(begun.environment), drafts

    return mock.patch.object(publish.Publisher, "_begin_again", without_a_look)


def _reuse_old_blobs() -> AbstractContextManager[Any]:
    plan = publish.plan_blobs

    def by_name(files: Any, base: Any, write_id: str) -> Any:
        made = plan(files, base, write_id)
        entries = {
            name: (files[name] if not isinstance(files[name], bytes) else entry) for name, entry in made.entries.items()
        }
        return type(made)(entries, made.puts, {})

    return mock.patch.object(publish, "plan_blobs", by_name)


def _tools_one_by_one() -> AbstractContextManager[Any]:
    attempt = publish.Publisher._try

    async def one_by_one(self: publish.Publisher, begun: Any, drafts: Any, call: Any) -> Any:
        return [(await attempt(self, begun, [draft], call))[0] for draft in drafts]

    return mock.patch.object(publish.Publisher, "_try", one_by_one)


def _reader_gives_up() -> AbstractContextManager[Any]:
    async def read_consistently(
        self: reader.Reader, environment: str, read: Any, *, begin: Any = None, first: Any = None
    ) -> Any:
        try:
            return await read(first or await (begin or self.require)(environment))
        except reader.Gone as gone:
            raise StoreDamaged(gone.problem) from gone

    return mock.patch.object(reader.Reader, "read_consistently", read_consistently)


@contextmanager
def _copies_are_not_looked_at() -> Iterator[None]:
    with (
        mock.patch.object(publish.Publisher, "_read", _async()),
        mock.patch.object(reader.Reader, "files", _async({})),
    ):
        yield


@contextmanager
def _nothing_is_unresolved() -> Iterator[None]:
    with ExitStack() as stack:
        for kind in (errors.TransportError, errors.S3Error, errors.IntegrityError):
            stack.enter_context(mock.patch.object(kind, "may_have_happened", new=False))
        yield


def _base_is_told_by_its_revision() -> AbstractContextManager[Any]:
    def by_revision(tool: str, environment: str, state: Any, base: Any, expected: Any) -> None:
        if (0 if state is None else state.release.revision) != (0 if base is None else base.revision):
            changes_check_base(tool, environment, state, base, expected)

    return mock.patch.object(changes, "check_base", by_revision)


def _history_is_told_by_revisions() -> AbstractContextManager[Any]:
    async def by_revision(self: commit.WriteCall, release: Any, fresh: Any) -> bool:
        return await self._reader.committed(fresh, release.tool, release.revision) is not None

    return mock.patch.object(commit.WriteCall, "_in_history", by_revision)


def _history_that_cannot_be_read_is_without_us() -> AbstractContextManager[Any]:
    in_history = commit.WriteCall._in_history

    async def lost(self: commit.WriteCall, release: Any, fresh: Any) -> bool:
        try:
            return await in_history(self, release, fresh)
        except errors.CommitUnknown:
            return False

    return mock.patch.object(commit.WriteCall, "_in_history", lost)


def _ring_of_twice_the_size(base: Any, fresh: Any) -> bool:
    return bool(fresh.sequence - base.sequence > 2 * encoding.RING)


def _main_file_with_the_others() -> AbstractContextManager[Any]:
    return mock.patch.object(live, "MAIN_FILES", dict.fromkeys(live.MAIN_FILES, ""))


def _copies_are_known_whoever_wrote_them() -> AbstractContextManager[Any]:
    mark = live.Live._mark

    async def remembered(self: Any, key: str, listed: Any) -> Any:
        return self._known[key][1] if key in self._known else await mark(self, key, listed)

    return mock.patch.object(live.Live, "_mark", remembered)


def _memory_decides() -> AbstractContextManager[Any]:
    async def remembered(self: Any) -> Any:
        return self.begun

    return mock.patch.object(commit.WriteCall, "_reread", remembered)


def _memory_is_not_confirmed() -> AbstractContextManager[Any]:
    confirmed = reader.Reader._confirmed

    async def as_remembered(self: Any, environment: str, *, recent: bool) -> Any:
        key = Key(self._group(keys.current(environment)), "current")
        entry = None if self._cache is None else self._cache.peek(key)
        if entry is None or recent:
            return await confirmed(self, environment, recent=recent)
        return entry.value.snapshot, entry

    return mock.patch.object(reader.Reader, "_confirmed", as_remembered)


def _second_level_is_trusted() -> AbstractContextManager[Any]:
    async def unchecked(body: bytes, _: Any) -> bytes:
        return body

    return mock.patch.object(reader, "unpack", unchecked)


def _document_of_a_twin_is_not_read() -> AbstractContextManager[Any]:
    def as_wanted(there: Any, wanted: Any) -> Any:
        sha256 = hashlib.sha256(encode_release(wanted)).hexdigest()
        return replace(wanted, ref=replace(there.ref, sha256=sha256))

    return mock.patch.object(publish, "resumed", as_wanted)


def _refresh_ends_with_its_caller() -> AbstractContextManager[Any]:
    async def refreshed(self: Any, refresh: Any, named: Any, call: Any) -> Any:
        return await refresh

    return mock.patch.object(publish.Publisher, "_refreshed", refreshed)


def _nothing_was_before(self: Any, environment: str, write_id: str) -> Any:
    return _async(idempotency.EarlierWrite(write_id))()


def _manifest_first() -> AbstractContextManager[Any]:
    copy = backups.Backups._copy

    async def not_waited_for(self: Any, *args: Any) -> None:
        asyncio.ensure_future(copy(self, *args))  # noqa: RUF006 - that is the mistake

    return mock.patch.object(backups.Backups, "_copy", not_waited_for)


def _without_saving() -> AbstractContextManager[Any]:
    async def nothing(*_: Any, **__: Any) -> None:
        return

    original = restore.Restorer.restore

    async def unsaved(self: Any, *args: Any, **options: Any) -> Any:
        with mock.patch.object(self._own, "back_up", nothing):
            return await original(self, *args, **options)

    return mock.patch.object(restore.Restorer, "restore", unsaved)


def _whatever_is_there_now() -> AbstractContextManager[Any]:
    publish_bundle = restore.Restorer._publish

    async def unexpecting(self: Any, verified: Any, environment: str, revisions: Any, *rest: Any) -> Any:
        return await publish_bundle(self, verified, environment, dict.fromkeys(revisions), *rest)

    return mock.patch.object(restore.Restorer, "_publish", unexpecting)


def _prune_all() -> AbstractContextManager[Any]:
    def everything(found: Any, **_: Any) -> list[Any]:
        return list(found)

    return mock.patch.object(backups, "plan_prune", everything)


def _one_tool_after_the_other() -> AbstractContextManager[Any]:
    original = backups.Backups._releases

    async def apart(self: Any, snapshot: Any, tools: Any) -> Any:
        found = await original(self, snapshot, tools)
        await asyncio.sleep(1)
        again = await self._reader.require(snapshot.environment)
        return [*found[:1], *(await original(self, again, [release.tool for release in found]))[1:]]

    return mock.patch.object(backups.Backups, "_releases", apart)


PLACED: dict[str, Mistake] = {
    "a refresh of live/ does not look again": lambda: mock.patch.object(live.Live, "_newer", _async()),
    "the log is thought to remember twice as many writes": lambda: mock.patch.object(
        commit, "ring_overrun", _ring_of_twice_the_size
    ),
    "a release in the history is told by its revision": _history_is_told_by_revisions,
    "a history that cannot be read is taken for one without the write": _history_that_cannot_be_read_is_without_us,
    "a writer does not look for commits that were lost": lambda: mock.patch.object(
        publish.Publisher, "_check_not_ahead", _async()
    ),
    "outcome rules a write out at once": lambda: mock.patch.object(idempotency, "WINDOW", -1.0),
    "a refresh of live/ ends with its caller": _refresh_ends_with_its_caller,
    "a base is told by its revision, not by its key": _base_is_told_by_its_revision,
    "the main file of live/ is written with the others": _main_file_with_the_others,
    "a live copy is taken for known that someone else wrote": _copies_are_known_whoever_wrote_them,
    "a repair knows nothing before a lost document": lambda: mock.patch.object(status, "_before", return_value=None),
    "a rollback does not look at what it copies": _copies_are_not_looked_at,
    "a reference document may lead anywhere": lambda: mock.patch.object(encoding, "check_current"),
    "a release may say it is another one": lambda: mock.patch.object(encoding, "check_release"),
}
"""Those that need a story of their own to be noticed."""


ANYWHERE: dict[str, Mistake] = {
    "a repeated write id is not looked for": lambda: mock.patch.object(
        idempotency.Earlier, "find", _nothing_was_before
    ),
    "a twin's document is not read": _document_of_a_twin_is_not_read,
    "a rebase does not look at the tool's release": lambda: mock.patch.object(changes, "check_base"),
    "a rebase does not look at the freeze": lambda: mock.patch.object(changes, "check_thawed"),
    "a 412 is taken for a lost race": lambda: mock.patch.object(commit.WriteCall, "_has_won", _async(value=False)),
    "what is remembered decides after a 412": _memory_decides,
    "a remembered current.json is not confirmed": _memory_is_not_confirmed,
    "what the second level gives is not checked": _second_level_is_trusted,
    "an unanswered send is taken for a failed one": lambda: mock.patch.object(commit.WriteCall, "_judge", _fails),
    "a refusal ends it though a send is unresolved": _nothing_is_unresolved,
    "writers leave no id": lambda: mock.patch.object(commit, "stamp", _stamp_without_id),
    "a write goes on after its window": lambda: mock.patch.object(commit.WriteCall, "_check_window"),
    "outcome does not move the document on": lambda: mock.patch.object(idempotency, "_rule_out", _async(value=True)),
    "the commit does not wait for the blobs": _commit_before_its_documents,
    "the commit does not wait for the release documents": _commit_before_its_release_document,
    "live/ is written before the commit": _live_before_the_commit,
    "a deploy commits its tools one by one": _tools_one_by_one,
    "a rollback names old blobs instead of copying them": _reuse_old_blobs,
    "a collector does not move the document first": lambda: mock.patch.object(commit.WriteCall, "change", _async()),
    "a collector deletes what is young": lambda: mock.patch.object(garbage._Old, "is_old", return_value=True),
    "an entry leaves the log before it was stored": lambda: mock.patch.object(
        encoding, "_trimmed", _entries_leave_when_they_are_old
    ),
    "a part of the log is named though another one was stored meanwhile": lambda: mock.patch.object(
        commit, "with_part", _part_is_named_whatever_was_stored_meanwhile
    ),
    "an entry carries a hash of other bytes": lambda: mock.patch.object(
        encoding, "entry_hash", _hash_as_it_was_written
    ),
    "an entry's hash leaves unknown fields out": lambda: mock.patch.object(
        encoding, "entry_hash", _hash_of_what_is_known
    ),
    "an old writer loses an unknown field": _unknown_fields_are_dropped,
    "an old writer loses an unknown field of a tool": _unknown_fields_of_tools_are_dropped,
    "an entry tells what its writer first saw": _entry_tells_what_was_wanted,
    "a collector deletes a part of the log that is kept": _collector_deletes_every_part,
    "a rebase does not look at the settings": _settings_are_not_looked_at_again,
    "drafts made under other settings are used again": _drafts_are_used_again,
    "a reader does not begin again": _reader_gives_up,
}
"""Those that are noticed in some interleaving of any processes."""

OF_BACKUPS: dict[str, Mistake] = {
    "the manifest does not wait for the files": _manifest_first,
    "what is replaced is not saved": _without_saving,
    "a restore takes the place of whatever is there": _whatever_is_there_now,
    "the last backup is pruned": _prune_all,
    "the tools of a backup come from different moments": _one_tool_after_the_other,
}
"""Those that the simulation of backups notices."""
