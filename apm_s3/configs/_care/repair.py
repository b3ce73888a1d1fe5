"""Repairs what fsck finds.

Nothing is guessed: if it is not certain what was committed last, the caller must choose.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Unpack

from apm_s3._hints import Advice
from apm_s3._tasks import finish_within, run_all
from apm_s3._tools import TOOLS
from apm_s3.configs._backups.backups import Backups
from apm_s3.configs._care.fsck import (
    Checker,
    FsckReport,
    Healer,
    LogCare,
    ToolCheck,
    newest_sequence,
)
from apm_s3.configs._care.status import Document, damages, proven_keys, trace
from apm_s3.configs._models import Current, Damage, FileEntry, Note, Origin, Release, ReleaseRef, ToolState
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.archive import Archive
from apm_s3.configs._protocol.changes import PostCommitTasks, check_same, check_write_id, request_hash, used, within
from apm_s3.configs._protocol.commit import CANCEL_GRACE
from apm_s3.configs._protocol.encoding import decode_current, encode_current, encode_release, stamp
from apm_s3.configs._protocol.live import Live
from apm_s3.configs._protocol.objects import ObjectStore, PutOptions, ReadArguments, server_time
from apm_s3.configs._protocol.publish import plan_blobs
from apm_s3.configs._protocol.reader import OTHER_MD5, PARALLEL, Gone, Reader, Snapshot, has_md5
from apm_s3.errors import (
    ApmS3Error,
    ConfigNotFound,
    InvalidOption,
    ObjectNotFound,
    PreconditionFailed,
    StoreDamaged,
)
from apm_s3.models import FileInfo, FileVersion

_TRIES = 5
"""Maximum restarts of a repair if the environment changed meanwhile."""

_TOLD = 500
"""Maximum length of the description in the log."""

_SHOWN = 3
"""Maximum number of candidates per tool."""


def marks(state: ToolState, check: ToolCheck) -> tuple[Damage, ...]:
    """Return the marks of a tool's damage for the reference document."""
    marks = damages(check.history, check.without_files)
    good = state.good
    if good is None or good.revision >= state.oldest or check.release(good) is not None:
        return marks
    # The good release is older than all other kept releases.
    return Damage(good.revision, good.revision, "documents"), *marks


def found_again(state: ToolState | None, chosen: Release, documents: Mapping[str, Document]) -> ToolState:
    """Return the certain part of a tool's state after the reference document has lost its last commits, or all.

    If all are lost, it is not known which revisions were kept, so all releases in the chain of parents are used.
    """
    proven = proven_keys(documents)
    refs = [each.release.ref for key, each in documents.items() if key in proven and each.release is not None]
    refs += [chosen.ref, None if state is None else state.release]
    newest = max((ref for ref in refs if ref is not None), key=lambda ref: (ref.revision, ref == chosen.ref))
    if state is not None:
        state = replace(state, release=newest)
        return replace(state, damaged=damages(trace(state, documents), ()))
    history = trace(ToolState(newest), documents, certain=True)
    return ToolState(newest, oldest=history.oldest, damaged=damages(history, ()))


def told(damaged: tuple[Damage, ...]) -> str:
    runs = [f"{each.first}" if each.first == each.last else f"{each.first} to {each.last}" for each in damaged]
    return f"marked as damaged: revision {', '.join(runs)}"


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair did, one line each, and the result of a check afterwards."""

    environment: str
    actions: tuple[str, ...]
    after: FsckReport


@dataclass(frozen=True, slots=True)
class _ReferenceState:
    """The expected reference document, as far as it is known, and the actual one.

    Attributes:
        wanted: the newest one that was ever written; None if all are lost.
        now: the server's clock, Unix seconds.
        versions: the intact older ones that the bucket still has.
        doubtful: whether the bytes of the actual one are not those of its ETag.
    """

    wanted: Current | None
    present: Current | None
    etag: str | None
    now: float
    versions: Sequence[Current]
    doubtful: bool


@dataclass(slots=True)
class _Work:
    """One try: the state of the environment, and the decisions so far."""

    environment: str
    write_id: str
    found: _ReferenceState
    checks: Mapping[str, ToolCheck]
    tools: dict[str, ToolState] = field(default_factory=dict)
    actions: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)


class _Changed(Exception):
    """Another writer wrote the reference document meanwhile."""


class Repairer:
    """Repairs one store."""

    def __init__(
        self,
        objects: ObjectStore,
        reader: Reader,
        checker: Checker,
        live: Live,
        backups: Backups,
        afterwards: PostCommitTasks,
    ) -> None:
        self._objects = objects
        self._reader = reader
        self._checker = checker
        self._live = live
        self._backups = backups
        self._afterwards = afterwards
        self._archive = Archive(objects, reader)
        self._log = LogCare(self._archive, reader)
        self._dry = objects if isinstance(objects, DryRun) else None
        self._was, self._were, self._to_be = ("was", "were", "") if self._dry is None else (*["would be"] * 2, "to be ")

    async def repair(
        self,
        environment: str,
        choose: Mapping[str, str | int],
        *,
        author: str | None,
        message: str,
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> RepairReport:
        check_write_id(write_id, environment)
        request = request_hash(write_id, dict(choose))
        note = Note(action="repair", author=author, message=message, request=request)
        async with within(timeout, environment, "repaired"):
            return await self._repair(environment, choose, note, write_id)

    async def _repair(
        self, environment: str, choose: Mapping[str, str | int], note: Note, write_id: str | None
    ) -> RepairReport:
        actions: list[str] = []
        for _ in range(_TRIES):
            found = await self._find(environment)
            work = _Work(environment, write_id or keys.new_write_id(environment), found, {})
            try:
                if write_id is not None and await self._made_before(work, note):
                    actions.append("the reference document was written before, under this write id")
                    actions += await self._refresh(work)
                elif not await self._try(work, choose, note, actions):
                    continue  # apparent damage may be objects that others are writing
            except _Changed:
                continue
            if work.undecided:
                raise await self._question(work, actions)
            return RepairReport(environment, tuple(actions), await self._checker.check(environment))
        raise StoreDamaged(
            f"'{self._reader.where(keys.current(environment))}' changed again and again during the repair",
            environment=environment,
            hint="other writers are active: freeze the environment first",
        )

    async def _try(self, work: _Work, choose: Mapping[str, str | int], note: Note, actions: list[str]) -> bool:
        """Try once to repair; return False if everything must be read again."""
        environment, found = work.environment, work.found
        if found.wanted is not None:
            # Without a message, the log says what was done.
            found.wanted.settings.check_note(environment, note.author, note.message or "repair")
        actions += await self._heal(environment, found.wanted)
        work.checks = await self._check(environment, found.wanted)
        if any(check.findings for check in work.checks.values()) and await self._has_moved(environment, found):
            return False
        await self._decide(work, choose)
        # Cancelled from here on, the caller would not know whether it was written, and `live/` would stay behind.
        await finish_within(self._afterwards.start(self._carry_out(work, note, actions)), CANCEL_GRACE)
        return True

    async def _made_before(self, work: _Work, note: Note) -> bool:
        """Return whether a call with this write id has made the repair before.

        Raises:
            InvalidOption: it has made something else, or what it made was lost again.
            _Changed: it was made just now.
        """
        environment, found = work.environment, work.found
        if found.wanted is None:
            return False
        entry = None
        with suppress(Gone):
            entry = await self._archive.find(Snapshot(environment, found.wanted, "", found.now, 0.0), work.write_id)
        if entry is None and work.write_id not in found.wanted.writers:
            return False
        check_same(entry, note, work.write_id, environment)
        if found.present == found.wanted:
            return True
        if await self._has_moved(environment, found):
            raise _Changed
        raise used(work.write_id, environment)

    async def _carry_out(self, work: _Work, note: Note, actions: list[str]) -> None:
        await self._write(work, note, actions)
        actions += work.actions
        actions += await self._refresh(work)

    async def _has_moved(self, environment: str, found: _ReferenceState) -> bool:
        try:
            return (await self._objects.head(keys.current(environment))).etag != found.etag
        except ObjectNotFound:
            return found.etag is not None

    async def _check(self, environment: str, wanted: Current | None) -> dict[str, ToolCheck]:
        states = {} if wanted is None else wanted.tools
        writers = () if wanted is None else wanted.writers
        checks: dict[str, ToolCheck] = {}
        for tool in TOOLS:
            check = checks[tool] = await self._checker.check_tool(environment, tool, states.get(tool), writers)
            # What a later version wrote is no damage, and what depends on it cannot be judged.
            if newer := next((each.newer for each in check.documents.values() if each.newer is not None), None):
                raise newer
        return checks

    # Decisions --------------------------------------------------------------------------------------------------

    async def _decide(self, work: _Work, choose: Mapping[str, str | int]) -> None:
        """Decide for each tool: mark damage, use the caller's choice, or require one."""
        wanted = work.found.wanted
        for tool, check in work.checks.items():
            state = None if wanted is None else wanted.tools.get(tool)
            needed = state is not None or bool(check.documents if wanted is None else check.others.ahead)
            if state is not None:
                state = work.tools[tool] = replace(state, damaged=marks(state, check))
                needed = not check.is_whole(state.release) or bool(check.others.ahead)
            if needed and tool not in choose:
                work.undecided.append(tool)
            elif needed:
                work.tools[tool] = await self._take_up(work, tool, choose[tool], state)
                work.actions.append(f"{tool}: revision {work.tools[tool].release.revision} uses '{choose[tool]}'")
            elif tool in choose:
                work.actions.append(f"{tool}: no choice was needed; it stays as it is")

    async def _take_up(self, work: _Work, tool: str, choice: str | int, state: ToolState | None) -> ToolState:
        """Create a release above all existing ones, with the files of the chosen one; the history before it is kept."""
        documents = work.checks[tool].documents
        chosen = await self._pick(work, tool, choice)
        if chosen.revision and (state is None or work.checks[tool].others.ahead):
            state = found_again(state, chosen, documents)
        revisions = [0 if state is None else state.release.revision, *(each.revision for each in documents.values())]
        revision = max(revisions) + 1
        plan = plan_blobs(chosen.files, None, work.write_id)
        made = {entry.blob: entry for entry in plan.entries.values()}
        await run_all(
            (self._copy(work.environment, tool, made[blob], source) for blob, source in plan.copies.items()),
            limit=PARALLEL,
        )
        release = replace(
            chosen,
            revision=revision,
            parent=None if state is None else state.release,
            write_id=work.write_id,
            author=None,
            message=f"repaired with revision {chosen.revision}" if chosen.revision else "repaired without files",
            created_at=datetime.fromtimestamp(work.found.now, UTC),
            origin=Origin("repair", work.environment, chosen.revision) if chosen.revision else chosen.origin,
            files=plan.entries,
        )
        document, body = keys.release(work.environment, tool, revision, work.write_id), encode_release(release)
        try:
            await self._objects.put(document, body, create=True, content_type="application/json")
        except PreconditionFailed as exc:
            raise _Changed from exc  # by another call with the same write id
        ref = ReleaseRef(revision, document, hashlib.sha256(body).hexdigest())
        return ToolState(ref, oldest=revision) if state is None else replace(state, release=ref, parent=state.release)

    async def _pick(self, work: _Work, tool: str, choice: str | int) -> Release:
        """Return the chosen release: by its key, by its revision, or without files for revision 0.

        Raises:
            ConfigNotFound: it does not exist.
            InvalidOption: several releases have this revision, or there are intact ones to go on from.
            StoreDamaged: it is damaged itself.
        """
        if isinstance(choice, str):
            return await self._chosen(work.environment, tool, choice)
        check = work.checks[tool]
        there = [key for key, each in check.documents.items() if each.revision == choice]
        found = [key for key in there if key in check.history.keys] or there
        if choice == 0:
            found = await self._offers(check)
            if not found:
                now = datetime.fromtimestamp(work.found.now, UTC)
                return Release(tool, work.environment, 0, None, work.write_id, None, "", now, Origin("repair"), {})  # type: ignore[arg-type]
        if not found:
            problem = f"there is no revision {choice} of {tool} in '{work.environment}'"
            raise ConfigNotFound(problem, tool=tool, environment=work.environment, hint="choose another one")
        if choice == 0 or len(found) > 1:
            what = "no choice while a release is intact" if choice == 0 else "not unique"
            raise InvalidOption(f"{tool}: revision {choice} is {what}", hint=f"choose one of these: {', '.join(found)}")
        return await self._chosen(work.environment, tool, found[0])

    async def _copy(self, environment: str, tool: str, entry: FileEntry, source: str) -> None:
        folder = keys.blobs(environment, tool)
        try:
            await self._objects.copy(folder + source, folder + entry.blob)
        except PreconditionFailed:
            # By an earlier attempt of this request, or by another call with the same write id.
            try:
                await self._reader.blob(environment, tool, entry)
            except Gone as gone:
                raise StoreDamaged(gone.problem, environment=environment) from gone

    async def _chosen(self, environment: str, tool: str, key: str) -> Release:
        parsed = keys.parse_release_key(key)
        if parsed is None or parsed[:2] != (environment, tool):
            raise ConfigNotFound(f"'{key}' is not a release of {tool} in '{environment}'", environment=environment)
        try:
            chosen = await self._reader.document(key)
            await self._reader.files(chosen)
        except (Gone, ObjectNotFound) as exc:
            raise StoreDamaged(f"'{self._reader.where(key)}' is damaged itself", environment=environment) from exc
        return chosen

    async def _question(self, work: _Work, actions: list[str]) -> StoreDamaged:
        lines, choice = [], dict[str, str | int]()
        for tool in work.undecided:
            check = work.checks[tool]
            findings = [each.problem for each in check.findings if each.severity != "behind"]
            problem = findings[0] if findings else "the reference document is lost"
            offers = await self._offers(check)
            choice[tool] = _shortest(offers[0], check.documents) if offers else 0
            told = f"intact releases: {', '.join(offers)}" if offers else "no release is intact, begin anew with 0"
            lines.append(f"{tool}: {problem} ({told})")
        so_far = "done so far" if self._dry is None else "without it, this much would be done"
        done = f"; {so_far}: {'; '.join(actions)}" if actions else ""
        return StoreDamaged(
            f"'{work.environment}' cannot be repaired without a choice: {'; '.join(lines)}{done}",
            environment=work.environment,
            hint=Advice.CHOOSE_RELEASE(environment=work.environment, choice=choice),
        )

    async def _offers(self, check: ToolCheck) -> list[str]:
        """Return the keys of the newest intact releases, known commits first unless newer commits were lost."""
        found: list[str] = []
        known = frozenset() if check.others.ahead else check.history.keys
        order = sorted(check.documents.values(), key=lambda each: (each.key in known, each.key), reverse=True)
        for each in order:
            if each.release is None or len(found) == _SHOWN:
                continue
            with suppress(Gone, ApmS3Error):
                await self._reader.files(each.release)
                found.append(each.key)
        return found

    # The reference document -------------------------------------------------------------------------------------

    async def _find(self, environment: str) -> _ReferenceState:
        key = keys.current(environment)
        etag: str | None = None
        present: Current | None = None
        now = 0.0
        doubtful = False
        try:
            info = await self._objects.head(key)
            etag, now = info.etag, server_time(info)
            snapshot = await self._reader.current(environment)
            if snapshot is not None:
                present, etag, doubtful = snapshot.current, snapshot.etag, snapshot.doubtful
        except (ObjectNotFound, StoreDamaged):
            pass
        older = await self._versions(environment)
        newest = newest_sequence([*older, *([present] if present is not None else [])])
        if newest is None and etag is None and await self._is_empty(environment):
            raise ConfigNotFound(f"there is no environment '{environment}'", environment=environment)
        return _ReferenceState(newest, present, etag, now or datetime.now(UTC).timestamp(), older, doubtful)

    async def _is_empty(self, environment: str) -> bool:
        try:
            await self._reader.check_empty(environment)
        except StoreDamaged:
            return False
        return True

    async def _versions(self, environment: str) -> list[Current]:
        key = keys.current(environment)
        found = []
        async with aclosing(self._objects.versions(key)) as versions:
            async for version in versions:
                if version.is_delete_marker:
                    continue
                with suppress(StoreDamaged, ObjectNotFound):
                    info, body = await self._objects.read(key, version_id=version.version_id)
                    if not self._reader.etags_tell or has_md5(info, body) is not False:
                        found.append(decode_current(body, environment=environment, where=self._reader.where(key)))
        return found

    async def _write(self, work: _Work, note: Note, done: Sequence[str]) -> None:
        """Write the reference document if it has to change.

        Raises:
            _Changed: another writer was faster.
        """
        found, environment = work.found, work.environment
        if found.wanted is None and work.undecided:
            raise await self._question(work, [])
        nothing = Current(-1, (), self._objects.bucket)
        before = found.wanted or await self._log.recover(environment, nothing)
        wanted = replace(before, tools=MappingProxyType({**before.tools, **work.tools}))
        healer = Healer(self._objects, self._backups, environment)
        wanted, healed = await self._log.heal(environment, wanted, healer, found.versions, self._was)
        work.actions += healed
        if wanted == found.present and not found.doubtful:
            return
        if found.doubtful and found.wanted == found.present:
            work.actions.append(f"the reference document {self._was} kept, but cannot be proven: {OTHER_MD5}")
        work.actions += [f"{tool}: {self._to_be}{told(state.damaged)}" for tool, state in _newly_marked(work)]
        said = note.message or "; ".join([*done, *work.actions])[:_TOLD]
        # A higher sequence and a new id give new bytes, so that no ETag that a writer still holds comes back.
        stamped = stamp(
            before,
            wanted,
            write_id=work.write_id,
            home=self._objects.bucket,
            note=replace(note, message=said),
            at=found.now,
        )
        key = keys.current(environment)
        try:
            await self._objects.put(
                key,
                encode_current(stamped),
                if_match=found.etag,
                create=found.etag is None,
                content_type="application/json",
            )
        except (PreconditionFailed, ObjectNotFound) as exc:
            raise _Changed from exc
        work.actions.append(f"'{key}' {self._was} rewritten")

    # Objects and copies -----------------------------------------------------------------------------------------

    async def _heal(self, environment: str, wanted: Current | None) -> list[str]:
        """Recover objects from other copies in the bucket, repeatedly while this reveals more damage."""
        healer = Healer(self._objects, self._backups, environment)
        tried: set[str] = set()
        actions: list[str] = []
        while wanted is not None:
            checks = await self._check(environment, wanted)
            lost = [
                each for check in checks.values() for each in check.findings if each.sha256 and each.key not in tried
            ]
            tried.update(finding.key for finding in lost)
            sources = [(finding.key, await healer.heal(finding)) for finding in lost]
            healed = [f"'{key}' {self._was} restored from {source}" for key, source in sources if source is not None]
            if not healed:
                break
            actions += healed
        return actions

    async def _refresh(self, work: _Work) -> list[str]:
        """Update `live/` for every tool whose current release is intact."""
        snapshot = await self._reader.require(work.environment)
        actions = []
        for tool in snapshot.current.tools:
            if tool in work.undecided:
                continue
            try:
                release = await self._reader.newest(snapshot, tool)
            except Gone:
                continue
            if release is None:
                continue
            clean = await self._live.refresh(release, {})
            if self._dry is not None and not self._dry.changes(keys.live(work.environment, tool)):
                continue
            left = "" if clean else "; those of removed files cannot be deleted"
            actions.append(f"live copies of {tool} {self._were} compared and refreshed{left}")
        return actions


def _shortest(key: str, documents: Mapping[str, Document]) -> str | int:
    """Return the revision of a release, or its key if others have the same revision."""
    revision = documents[key].revision
    return revision if [each.revision for each in documents.values()].count(revision) == 1 else key


def _newly_marked(work: _Work) -> list[tuple[str, ToolState]]:
    before = {} if work.found.present is None else work.found.present.tools
    return [
        (tool, state)
        for tool, state in work.tools.items()
        if state.damaged and (tool not in before or before[tool].damaged != state.damaged)
    ]


class DryRun:
    """Lets one call run as it would, and see what it wrote, without writing anything.

    Conditions of writes are not evaluated: the call has read what it replaces, and nobody else writes here.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._written: dict[str, tuple[FileInfo, bytes] | None] = {}
        self.bucket = objects.bucket

    async def read(self, key: str, **options: Unpack[ReadArguments]) -> tuple[FileInfo, bytes]:
        if key not in self._written or options.get("version_id") is not None:
            return await self._objects.read(key, **options)
        there = self._written[key]
        if there is None:
            raise ObjectNotFound(f"'{self.bucket}/{key}' does not exist", operation="read", bucket=self.bucket, key=key)
        return there

    def changes(self, prefix: str) -> bool:
        """Return whether an object below `prefix` would be written or deleted."""
        return any(key.startswith(prefix) for key in self._written)

    async def head(self, key: str) -> FileInfo:
        return await self._objects.head(key) if key not in self._written else (await self.read(key))[0]

    async def put(self, key: str, body: bytes, **options: Unpack[PutOptions]) -> FileInfo:
        now = datetime.now(UTC)
        metadata = options.get("metadata")
        info = FileInfo(
            self.bucket, key, len(body), f'"dry-run-{len(self._written)}"', last_modified=now, metadata=metadata,
            server_time=now.timestamp(),
        )  # fmt: skip
        self._written[key] = info, body
        return info

    async def copy(self, source_key: str, key: str) -> FileInfo:
        info, body = await self.read(source_key)
        return await self.put(key, body, metadata=info.metadata)

    async def delete(self, keys: Sequence[str]) -> None:
        self._written.update(dict.fromkeys(keys))

    async def list(self, prefix: str, *, start_after: str | None = None) -> AsyncGenerator[FileInfo, None]:
        async with aclosing(self._objects.list(prefix, start_after=start_after)) as listing:
            found = [info async for info in listing if info.key not in self._written]
        new = [there[0] for there in self._written.values() if there is not None]
        found += [info for info in new if info.key.startswith(prefix) and info.key > (start_after or "")]
        for info in sorted(found, key=lambda info: info.key):
            yield info

    async def list_folders(self, prefix: str) -> AsyncGenerator[str, None]:
        async with aclosing(self._objects.list_folders(prefix)) as names:
            async for name in names:
                yield name

    async def versions(self, key: str) -> AsyncGenerator[FileVersion, None]:
        async with aclosing(self._objects.versions(key)) as versions:
            async for version in versions:
                yield version
