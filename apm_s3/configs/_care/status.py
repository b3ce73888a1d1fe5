"""The state of each tool of an environment, and the history of its releases.

The chain of parents shows what was committed, newest first. If a document of it is lost, the chain continues at the
previous release, which other documents prove:

- A document that another one names as its parent was committed, because writers build on nothing else.
- So was one whose blobs a committed release still uses, or whose write id is in the reference document.
- So was the only document of a revision between two others.
"""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, cast

from apm_s3._tasks import run_all
from apm_s3._tools import MAIN_FILES, TOOLS, Tool
from apm_s3.configs._backups.backups import Backup, Backups
from apm_s3.configs._content.overlays import is_reserved
from apm_s3.configs._models import Damage, Freeze, Origin, Release, ReleaseRef, ToolState
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.live import HASH_METADATA
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reader import PARALLEL, Gone, Reader, Snapshot
from apm_s3.errors import BackupInvalid, ConfigNotFound, FormatTooNew, InvalidOption, ObjectNotFound, StoreDamaged


@dataclass(frozen=True, slots=True)
class Document:
    """The object under the key of a release document: the release, or why it cannot be read (`problem`).

    Attributes:
        newer: a later version of this library wrote it.
    """

    key: str
    revision: int
    write_id: str
    release: Release | None
    problem: str = ""
    newer: FormatTooNew | None = None


@dataclass(frozen=True, slots=True)
class LostRevision:
    """A committed revision whose document cannot be read.

    Attributes:
        ref: the document, if a newer one names it.
    """

    revision: int
    ref: ReleaseRef | None
    problem: str


@dataclass(frozen=True, slots=True)
class History:
    """The kept committed releases, newest first: readable ones and lost ones."""

    releases: tuple[Release, ...]
    lost: tuple[LostRevision, ...]

    @property
    def keys(self) -> frozenset[str]:
        """Return the keys of all known documents, readable or lost."""
        whole = {release.ref.key for release in self.releases if release.ref is not None}
        return frozenset(whole | {each.ref.key for each in self.lost if each.ref is not None})

    @property
    def oldest(self) -> int:
        """Return the oldest revision."""
        return min([release.revision for release in self.releases] + [each.revision for each in self.lost])


def trace(
    state: ToolState, documents: Mapping[str, Document], *, writers: Collection[str] = (), certain: bool = False
) -> History:
    """Follow the chain of parents from the current release to the oldest one that is kept.

    Args:
        documents: all existing documents, by key.
        writers: write ids that are known to be committed.
        certain: it is not known what was pruned: continue after a lost document only if something older was certainly
            committed.
    """
    releases: list[Release] = []
    lost: list[LostRevision] = []
    proven = proven_keys(documents, writers)
    ref: ReleaseRef | None = state.release
    while ref is not None and (ref.revision >= state.oldest or ref == state.release):
        found = documents.get(ref.key)
        if found is not None and found.release is not None and found.release.ref == ref:
            releases.append(found.release)
            ref = found.release.parent
            continue
        lost.append(LostRevision(ref.revision, ref, _problem(ref, found)))
        known = proven | _still_used(releases, documents)
        below = _before(ref.revision, state.oldest, documents, known, certain=certain)
        damage = state.damage_of(ref.revision)
        if damage is not None and damage.older is not None:
            below = damage.older if below is None else max(below, damage.older, key=lambda each: each.revision)
        stop = state.oldest if below is None else below.revision + 1
        if below is None and certain and releases:
            lost.pop()  # it may have been pruned long ago
        else:
            lost += [_unknown(revision, documents) for revision in range(ref.revision - 1, stop - 1, -1)]
        ref = below
    return History(tuple(releases), tuple(lost))


def proven_keys(documents: Mapping[str, Document], writers: Collection[str] = ()) -> frozenset[str]:
    """Return the documents that were certainly committed: others name them as parents, or their write id proves it."""
    parents = {each.release.parent for each in documents.values() if each.release is not None}
    return frozenset(
        key
        for key, each in documents.items()
        if each.release is not None and (each.release.ref in parents or each.write_id in writers)
    )


def _unknown(revision: int, documents: Mapping[str, Document]) -> LostRevision:
    there = [each for each in documents.values() if each.revision == revision]
    if not there:
        return LostRevision(revision, None, f"the document of revision {revision} is missing")
    return LostRevision(revision, None, f"it is not known any more which document of revision {revision} was committed")


def _still_used(releases: Iterable[Release], documents: Mapping[str, Document]) -> frozenset[str]:
    used = {keys.writer_of(entry.blob) for release in releases for entry in release.files.values()}
    return frozenset(key for key, each in documents.items() if each.release is not None and each.write_id in used)


def _before(
    revision: int, oldest: int, documents: Mapping[str, Document], proven: frozenset[str], *, certain: bool
) -> ReleaseRef | None:
    """Return the newest committed release below `revision`; None if none is kept, or none is certain."""
    by_revision: dict[int, list[Release]] = {}
    for each in documents.values():
        if each.release is not None and oldest <= each.revision < revision:
            by_revision.setdefault(each.revision, []).append(each.release)
    for number in sorted(by_revision, reverse=True):
        there = by_revision[number]
        known = [release for release in there if release.ref is not None and release.ref.key in proven]
        if len(known) == 1:
            return known[0].ref
        between = any(release.ref is not None and release.ref.key in proven for release in _below(number, by_revision))
        if len(there) == 1 and (between or not certain):
            return there[0].ref
    return None


def _below(revision: int, by_revision: Mapping[int, list[Release]]) -> list[Release]:
    return [release for number, there in by_revision.items() if number < revision for release in there]


def _problem(ref: ReleaseRef, found: Document | None) -> str:
    if found is None:
        return "the release document is missing"
    return found.problem or f"the release document does not have the SHA-256 {ref.sha256}"


def damages(history: History, without_files: Collection[int]) -> tuple[Damage, ...]:
    """Return the marks of damage for the reference document: lost documents and, by revision, lost files."""
    older: dict[int, ReleaseRef | None] = {}
    whole = [release.ref for release in history.releases if release.ref is not None]
    for each in history.lost:
        older[each.revision] = next((ref for ref in whole if ref.revision < each.revision), None)
    runs = [Damage(first, last, "documents", older[first]) for first, last in _runs(older)]
    runs += [Damage(first, last, "files") for first, last in _runs(without_files)]
    return tuple(sorted(runs, key=lambda run: run.first))


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Group consecutive numbers, as first and last."""
    ordered = sorted(set(numbers))
    if not ordered:
        return []
    ends = [old for old, new in pairwise(ordered) if new != old + 1] + [ordered[-1]]
    starts = [ordered[0]] + [new for old, new in pairwise(ordered) if new != old + 1]
    return list(zip(starts, ends, strict=True))


@dataclass(frozen=True, slots=True)
class Others:
    """The keys of documents that are not part of the history.

    Attributes:
        leftovers: documents that were never committed.
        retired: documents that are no longer kept, committed or not.
        ahead: documents newer than anything committed, because commits were lost.
    """

    leftovers: tuple[str, ...]
    retired: tuple[str, ...]
    ahead: tuple[str, ...]


def sort_others(state: ToolState | None, history: History, documents: Mapping[str, Document]) -> Others:
    """Classify the documents that are not part of a history."""
    newest = 0 if state is None else state.release.revision
    known = {release.revision for release in history.releases}
    known |= {each.revision for each in history.lost if each.ref is not None}
    unclear = {each.revision for each in history.lost if each.ref is None}
    own = history.keys | {ref.key for ref in _refs(state)}
    leftovers, retired, ahead = [], [], []
    for key in sorted(documents.keys() - own):
        revision = documents[key].revision
        if revision in unclear:
            continue
        if revision > newest + 1:
            ahead.append(key)
        elif revision == newest + 1 or revision in known:
            leftovers.append(key)
        else:
            retired.append(key)
    return Others(tuple(leftovers), tuple(retired), tuple(ahead))


def _refs(state: ToolState | None) -> list[ReleaseRef]:
    return [] if state is None else [ref for ref in (state.release, state.parent, state.good) if ref is not None]


_BACKUPS = 5
"""Maximum number of backups of an environment that are read, newest first, to find the last one of each tool."""


@dataclass(frozen=True, slots=True)
class ToolStatus:
    """One tool in one environment.

    Attributes:
        revision: 0 if the reference document of the environment is damaged.
        created_at, origin: None if the release is damaged; its author, files and the like are then not known either.
        age: time since the release was created, by the server's clock; None if it is damaged.
        drifted: whether it was changed by hand since its last deploy; None if it was never deployed.
        behind_source: whether the environment from which it was deployed has changed; None if unknown.
        good: whether the current revision is the one marked good.
        good_revision: the revision marked good, or None.
        last_backup: when the last backup with this tool was made, among the newest few in this store's bucket. For
            backups in another bucket, use that store's `list_backups`.
        live_behind: whether the copies under `live/` differ from the current release: the content of the main file, or
            the existence or size of another. Only `fsck` sees a copy of the right size with other content, and copies
            of removed files.
        damaged: why the current release cannot be read, or that a repair found files of it lost; None if it is intact.
            The contents of files are not read: `fsck` checks them.
    """

    environment: str
    tool: Tool
    revision: int
    author: str | None
    message: str
    created_at: datetime | None
    age: timedelta | None
    origin: Origin | None
    files: int
    warnings: int
    forced: str | None
    drifted: bool | None
    behind_source: bool | None
    good: bool
    good_revision: int | None
    last_backup: datetime | None
    live_behind: bool
    freeze: Freeze | None
    damaged: str | None = None


@dataclass(frozen=True, slots=True)
class _Environment:
    """What was read of one environment: its releases by tool, what is wrong with others, and their live copies."""

    snapshot: Snapshot
    releases: Mapping[str, Release]
    damaged: Mapping[str, str]
    copies: Mapping[str, _Copies]


@dataclass(frozen=True, slots=True)
class _Copies:
    """Live copies: the SHA-256 mark of the main file's (None: there is none of ours), and the size of each by name."""

    mark: str | None
    sizes: Mapping[str, int]

    def are_behind(self, release: Release) -> bool:
        main = release.files.get(MAIN_FILES[release.tool])
        return (main is not None and self.mark != main.sha256) or any(
            self.sizes.get(name) != entry.size for name, entry in release.files.items() if not is_reserved(name)
        )


class StatusReader:
    """Reads the status of one store."""

    def __init__(self, objects: ObjectStore, reader: Reader, backups: Backups) -> None:
        self._objects = objects
        self._reader = reader
        self._backups = backups

    async def status(self, environments: list[str]) -> list[ToolStatus]:
        reads: list[Coroutine[Any, Any, _Environment | list[ToolStatus] | dict[str, datetime]]] = [
            self._read(name, alone=len(environments) == 1) for name in environments
        ]
        backups = [self._last_backups(name) for name in environments]
        found = await run_all([*reads, *backups], limit=PARALLEL)
        read = cast("list[_Environment | list[ToolStatus]]", found[: len(reads)])
        last = cast("list[dict[str, datetime]]", found[len(reads) :])
        digests = {
            (each.snapshot.environment, tool): release.digest
            for each in read
            if isinstance(each, _Environment)
            for tool, release in each.releases.items()
        }
        return [
            row
            for each, made in zip(read, last, strict=True)
            for row in (each if isinstance(each, list) else _rows(each, digests, made))
        ]

    async def _read(self, name: str, *, alone: bool) -> _Environment | list[ToolStatus]:
        """Read one environment. Beside others, a damaged reference document gives a row for each tool in its folder."""
        try:
            return await self._reader.read_consistently(name, self._environment)
        except StoreDamaged as exc:
            async with aclosing(self._objects.list_folders(keys.environment_prefix(name))) as folders:
                tools = [tool async for tool in folders if tool in TOOLS]
            if alone or not tools:
                raise
            return [_damaged_row(name, tool, 0, exc.problem) for tool in tools]

    async def _environment(self, snapshot: Snapshot) -> _Environment:
        tools = sorted(snapshot.current.tools)
        releases = [self._release(snapshot, tool) for tool in tools]
        copies = [self._copies(snapshot.environment, tool) for tool in tools]
        work: list[Coroutine[Any, Any, Release | Gone | _Copies | None]] = [*releases, *copies]
        found = await run_all(work, limit=PARALLEL)
        read = dict(zip(tools, found[: len(tools)], strict=True))
        damaged = {tool: each.problem for tool, each in read.items() if isinstance(each, Gone)}
        if damaged and (await self._reader.require(snapshot.environment)).etag != snapshot.etag:
            raise Gone("; ".join(damaged.values()))  # perhaps by a collection, after a newer release
        return _Environment(
            snapshot,
            {tool: each for tool, each in read.items() if isinstance(each, Release)},
            damaged,
            dict(zip(tools, cast("list[_Copies]", found[len(tools) :]), strict=True)),
        )

    async def _release(self, snapshot: Snapshot, tool: str) -> Release | Gone | None:
        try:
            return await self._reader.newest(snapshot, tool)
        except Gone as gone:
            return gone

    async def _copies(self, environment: str, tool: str) -> _Copies:
        reads: list[Coroutine[Any, Any, Any]] = [self._live_mark(environment, tool), self._sizes(environment, tool)]
        mark, sizes = await run_all(reads)
        return _Copies(mark, sizes)

    async def _sizes(self, environment: str, tool: str) -> dict[str, int]:
        folder = keys.live(environment, tool)
        async with aclosing(self._objects.list(folder)) as listing:
            return {info.key.removeprefix(folder): info.size async for info in listing}

    async def _live_mark(self, environment: str, tool: str) -> str | None:
        try:
            info = await self._objects.head(keys.live(environment, tool, MAIN_FILES[cast("Tool", tool)]))
        except ObjectNotFound:
            return None
        return (info.metadata or {}).get(HASH_METADATA)

    async def _last_backups(self, environment: str) -> dict[str, datetime]:
        async with aclosing(self._objects.list_folders(keys.backups(environment))) as folders:
            names = sorted([name async for name in folders], reverse=True)
        last: dict[str, datetime] = {}
        newest = [keys.backups(environment) + name for name in names[:_BACKUPS]]
        found = await run_all(self._try_manifest(key) for key in newest)
        for backup in filter(None, found):
            for tool in backup.tools:
                last.setdefault(tool, backup.created_at)
        return last

    async def _try_manifest(self, key: str) -> Backup | None:
        try:
            return await self._backups.manifest(key)
        except (ConfigNotFound, BackupInvalid, InvalidOption):
            return None


def _rows(
    read: _Environment, digests: Mapping[tuple[str, str], str], backups: Mapping[str, datetime]
) -> list[ToolStatus]:
    current = read.snapshot.current
    rows = [
        _row(read, release, digests, backups.get(tool))
        for tool, release in read.releases.items()
        if not release.removed
    ]
    for tool, problem in read.damaged.items():
        state = current.tools[tool]
        row = _damaged_row(read.snapshot.environment, tool, state.release.revision, problem)
        good = None if state.good is None else state.good.revision
        rows.append(replace(row, good_revision=good, last_backup=backups.get(tool), freeze=current.freeze))
    return sorted(rows, key=lambda row: row.tool)


def _damaged_row(environment: str, tool: str, revision: int, problem: str) -> ToolStatus:
    return ToolStatus(
        environment, cast("Tool", tool), revision, author=None, message="", created_at=None, age=None, origin=None,
        files=0, warnings=0, forced=None, drifted=None, behind_source=None, good=False, good_revision=None,
        last_backup=None, live_behind=False, freeze=None, damaged=problem,
    )  # fmt: skip


def _row(
    read: _Environment, release: Release, digests: Mapping[tuple[str, str], str], last_backup: datetime | None
) -> ToolStatus:
    snapshot = read.snapshot
    good = snapshot.current.tools[release.tool].good
    now = datetime.fromtimestamp(snapshot.server_time, UTC)
    return ToolStatus(
        environment=release.environment,
        tool=release.tool,
        revision=release.revision,
        author=release.author,
        message=release.message,
        created_at=release.created_at,
        age=max(now - release.created_at, timedelta(0)),
        origin=release.origin,
        files=len(release.files),
        warnings=len(release.warnings),
        forced=release.forced,
        drifted=None if release.deployed is None else release.drifted,
        behind_source=_is_behind_source(release, digests),
        good=good is not None and release.ref == good,
        good_revision=None if good is None else good.revision,
        last_backup=last_backup,
        live_behind=read.copies[release.tool].are_behind(release),
        freeze=snapshot.current.freeze,
        damaged="files of it are lost" if release.damaged else None,
    )


def _is_behind_source(release: Release, digests: Mapping[tuple[str, str], str]) -> bool | None:
    deployed = release.deployed
    if deployed is None or deployed.source_bucket is not None:
        return None
    digest = digests.get((deployed.source_environment, release.tool))
    return None if digest is None else digest != deployed.source_digest
