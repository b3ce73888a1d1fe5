"""Collects garbage: old revisions, objects that were never committed, and interrupted backups.

It is safe to run concurrently with writers and readers: first, the oldest kept revision is committed, so that every
earlier writer must read the document again; objects that a writer could still name are younger than the grace period.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from apm_s3._hints import Advice
from apm_s3.configs._backups.backups import MANIFEST
from apm_s3.configs._models import KEEP_LOG, LEAST_KEPT, Current, Damage, EnvironmentSettings, Note, Release, ToolState
from apm_s3.configs._progress import Steps
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.archive import Archive
from apm_s3.configs._protocol.changes import check_thawed, within
from apm_s3.configs._protocol.commit import Committer, WriteCall
from apm_s3.configs._protocol.encoding import read_entry
from apm_s3.configs._protocol.objects import ObjectStore, delete_what_can_be
from apm_s3.configs._protocol.reader import Reader, Snapshot
from apm_s3.errors import InvalidOption
from apm_s3.models import FileInfo

GRACE = LEAST_KEPT
"""Nothing younger is ever deleted; this is much longer than any write."""

_LEAST_KEPT = 2
"""The current and the previous release: a replica that does not have the current one yet uses the previous one."""


@dataclass(frozen=True, slots=True)
class GarbageReport:
    """What a collection deleted in one environment, or would delete.

    Attributes:
        oldest: the oldest kept revision, by tool.
        oldest_entry: the sequence of the oldest kept log entry.
        releases, blobs, log_parts, backups, others: keys, relative to the store's prefix.
        size: their total bytes.
        undeleted: keys that S3 did not delete because of object lock or a policy, with the reasons. The next collection
            tries again.
    """

    environment: str
    oldest: Mapping[str, int]
    oldest_entry: int
    releases: tuple[str, ...]
    blobs: tuple[str, ...]
    log_parts: tuple[str, ...]
    backups: tuple[str, ...]
    others: tuple[str, ...]
    size: int
    dry_run: bool
    undeleted: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Retention:
    """What a collection keeps: a number of revisions, everything younger than an age, and younger log entries."""

    revisions: int
    younger_than: timedelta
    log: timedelta


@dataclass(frozen=True, slots=True)
class WantedRetention:
    """What the caller wants to keep; None means the environment's settings."""

    revisions: int | None
    younger_than: timedelta | None
    log: timedelta | None

    def check(self) -> None:
        """Refuse limits that would delete too much.

        Raises:
            InvalidOption: less than one revision, or less than 24 hours.
        """
        if self.revisions is not None and self.revisions < 1:
            raise InvalidOption("keep_revisions must be at least 1", hint="the current revision is always kept")
        if self.younger_than is not None and self.younger_than < GRACE:
            raise InvalidOption(
                "older_than must be at least 24 hours", hint="writers may still refer to younger objects"
            )
        if self.log is not None and self.log < GRACE:
            raise InvalidOption("keep_log must be at least 24 hours", hint="most audits require a year")

    def to_dict(self) -> dict[str, float | None]:
        """Return the requested limits as numbers."""
        times = {"older_than": self.younger_than, "keep_log": self.log}
        seconds = {name: None if value is None else value.total_seconds() for name, value in times.items()}
        return {"keep_revisions": self.revisions, **seconds}

    def under(self, settings: EnvironmentSettings) -> Retention:
        """Return what is kept with `settings`.

        Raises:
            InvalidOption: it is less than the settings require, or the number of revisions is missing.
        """
        revisions = settings.keep_revisions if self.revisions is None else self.revisions
        if revisions is None:
            raise InvalidOption("keep_revisions is missing", hint=Advice.KEEP_REVISIONS())
        kept = Retention(
            revisions,
            self.younger_than or settings.keep_for or GRACE,
            self.log or settings.keep_log or KEEP_LOG,
        )
        least = Retention(settings.keep_revisions or 1, settings.keep_for or GRACE, settings.keep_log or GRACE)
        for name, given, wanted in (
            ("keep_revisions", kept.revisions, least.revisions),
            ("older_than", kept.younger_than, least.younger_than),
            ("keep_log", kept.log, least.log),
        ):
            # Both are numbers, or both are periods.
            if given < wanted:  # type: ignore[operator]
                raise InvalidOption(f"{name} is {given}, less than the environment keeps: {wanted}", hint="keep more")
        return kept


@dataclass(frozen=True, slots=True)
class RaiseOldest:
    """Drop the revisions before `oldest`, by tool, and the log entries before `entry`."""

    environment: str
    oldest: Mapping[str, int]
    entry: int = 0

    def __call__(self, current: Current) -> Current:
        """Return the document without them.

        Raises:
            EnvironmentFrozen: nothing is dropped while it is frozen.
        """
        check_thawed(self.environment, current)
        return self.applied(current)

    def applied(self, current: Current) -> Current:
        """Return `current` without the revisions before `oldest`, even if frozen."""
        tools = {
            tool: _without_older(state, max(state.oldest, self.oldest.get(tool, 1)))
            for tool, state in current.tools.items()
        }
        log = replace(current.log, oldest=max(current.log.oldest, self.entry))
        return replace(current, tools=MappingProxyType(tools), log=log)


def _without_older(state: ToolState, oldest: int) -> ToolState:
    """Drop the revisions before `oldest`, and their marks of damage."""
    good = 0 if state.good is None else state.good.revision
    damaged = [
        each if each.first <= good <= each.last and good < oldest else replace(each, first=max(each.first, oldest))
        for each in state.damaged
        if each.last >= oldest or each.first <= good <= each.last
    ]
    return replace(state, oldest=oldest, damaged=tuple(damaged))


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept: keys of release documents and log parts, and names of blobs by tool.

    Attributes:
        damaged: damage by tool: the documents of these revisions are kept, and everything that their writes stored.
    """

    documents: frozenset[str]
    blobs: Mapping[str, frozenset[str]]
    log_parts: frozenset[str]
    damaged: Mapping[str, tuple[Damage, ...]]

    def keeps(self, tool: str, key: str) -> bool:
        """Return whether a release document is kept."""
        parsed = keys.parse_release(key)
        if parsed is None or key in self.documents:
            return True
        return self._is_damaged(tool, parsed[0])

    def writes(self, tool: str, documents: Sequence[str]) -> frozenset[str]:
        """Return the write ids of damaged revisions, because what they stored may be all that is left."""
        parsed = [found for key in documents if (found := keys.parse_release(key))]
        return frozenset(write_id for revision, write_id in parsed if self._is_damaged(tool, revision))

    def _is_damaged(self, tool: str, revision: int) -> bool:
        return any(each.first <= revision <= each.last for each in self.damaged[tool])


class Collector:
    """Collects the garbage of one store."""

    def __init__(self, objects: ObjectStore, reader: Reader, committer: Committer) -> None:
        self._objects = objects
        self._reader = reader
        self._committer = committer
        self._archive = Archive(objects, reader)

    async def collect(
        self,
        environment: str,
        wanted: WantedRetention,
        note: Note,
        *,
        dry_run: bool,
        timeout: float | None,
        write_id: str | None,
        steps: Steps,
    ) -> GarbageReport:
        wanted.check()
        if dry_run and write_id is not None:
            raise InvalidOption("a dry run commits nothing: it takes no write_id", hint="leave it out")
        call = self._committer.call(environment, write_id=write_id)
        async with within(timeout, environment, "collected"):
            return await self._collect(environment, wanted, note, call, steps, dry_run=dry_run)

    async def _collect(
        self, environment: str, wanted: WantedRetention, note: Note, call: WriteCall, steps: Steps, *, dry_run: bool
    ) -> GarbageReport:

        async def plan(snapshot: Snapshot) -> tuple[Snapshot, Retention, RaiseOldest]:
            if not dry_run:
                check_thawed(environment, snapshot.current)
            kept = wanted.under(snapshot.current.settings)
            return snapshot, kept, await self._plan(snapshot, kept, steps)

        async def raise_oldest(begun: Snapshot) -> tuple[RaiseOldest, Note]:
            if begun.current.settings != began.current.settings:
                raise InvalidOption(f"the settings of '{environment}' have just changed", hint="repeat the collection")
            return change, note

        began, retention, change = await self._reader.read_consistently(environment, plan)
        if not dry_run:
            # If an earlier call with this write id has committed this, its deletions are continued.
            async with call:
                await call.change(raise_oldest, note)

        async def look(snapshot: Snapshot) -> tuple[Current, _Kept]:
            current = change.applied(snapshot.current) if dry_run else snapshot.current
            return current, await self._kept(replace(snapshot, current=current), steps)

        current, kept = await self._reader.read_consistently(environment, look)
        before = began.server_time - retention.younger_than.total_seconds()
        steps.begin(environment, "listing objects")
        report = await self._report(environment, current, kept, before, steps)
        if dry_run:
            return replace(report, dry_run=True)
        gone = [*report.releases, *report.blobs, *report.log_parts, *report.backups, *report.others]
        steps.begin(environment, "deleting objects", len(gone))
        kept_by_lock = await delete_what_can_be(self._objects, gone)
        steps.step(len(gone) - len(kept_by_lock))
        return replace(report, undeleted=MappingProxyType(kept_by_lock))

    async def _plan(self, snapshot: Snapshot, wanted: Retention, steps: Steps) -> RaiseOldest:
        oldest = {}
        steps.begin(snapshot.environment, "reading the history of tools", len(snapshot.current.tools))
        for tool, state in snapshot.current.tools.items():
            releases = await steps.count(self._reader.chain, snapshot, tool)
            last = state.release.revision
            for number, release in enumerate(releases):
                old = _age(snapshot, release.created_at) >= wanted.younger_than
                if old and number >= max(wanted.revisions, _LEAST_KEPT):
                    break
                last = release.revision
            oldest[tool] = last
        return RaiseOldest(snapshot.environment, oldest, await self._oldest_entry(snapshot, wanted.log))

    async def _oldest_entry(self, snapshot: Snapshot, keep: timedelta) -> int:
        """Return the first entry of the oldest part with a young enough entry. Only whole parts are deleted."""
        oldest = snapshot.current.log.stored_up_to + 1
        async with aclosing(self._archive.parts(snapshot)) as parts:
            async for part in parts:
                youngest = read_entry(part.entries[-1], self._reader.where(part.ref.key))
                if _age(snapshot, youngest.at) >= keep:
                    break
                oldest = part.ref.first
        return oldest

    async def _kept(self, snapshot: Snapshot, steps: Steps) -> _Kept:
        """Return what is kept; raise `Gone` if a kept document cannot be read, so that nothing is deleted."""
        documents: set[str] = set()
        blobs: dict[str, frozenset[str]] = {}
        steps.begin(snapshot.environment, "reading the history of tools", len(snapshot.current.tools))
        for tool, state in snapshot.current.tools.items():
            releases: list[Release] = await steps.count(self._reader.chain, snapshot, tool)
            good = state.good
            if good is not None and good.revision < state.oldest and not state.damage_of(good.revision):
                releases.append(await self._reader.release(good))
            documents.update(release.ref.key for release in releases if release.ref is not None)
            blobs[tool] = frozenset(entry.blob for release in releases for entry in release.files.values())
        async with aclosing(self._archive.parts(snapshot)) as parts:
            log_parts = frozenset([part.ref.key async for part in parts])
        damaged = {tool: state.damaged for tool, state in snapshot.current.tools.items()}
        return _Kept(frozenset(documents), blobs, log_parts, damaged)

    async def _report(
        self, environment: str, current: Current, kept: _Kept, before: float, steps: Steps
    ) -> GarbageReport:
        old = _Old(before)
        releases: list[str] = []
        blobs: list[str] = []
        for tool in current.tools:
            documents, contents = keys.releases(environment, tool), keys.blobs(environment, tool)
            listed = [info async for info in self._list(documents, steps)]
            releases += [info.key for info in listed if not kept.keeps(tool, info.key) and old.take(info)]
            spared = kept.writes(tool, [info.key for info in listed])
            blobs += [
                info.key
                async for info in self._list(contents, steps)
                if _is_blob_without(kept.blobs[tool], spared, info.key.removeprefix(contents)) and old.take(info)
            ]
        log_parts = [
            info.key
            async for info in self._list(keys.log_parts(environment), steps)
            if keys.parse_log_part(info.key) and info.key not in kept.log_parts and old.take(info)
        ]
        probes = keys.probes(environment)
        others = [info.key async for info in self._list(probes, steps) if old.take(info)]
        backups = await self._abandoned_backups(environment, old, steps)
        oldest = {tool: state.oldest for tool, state in current.tools.items()}
        return GarbageReport(
            environment,
            oldest,
            current.log.oldest,
            tuple(releases),
            tuple(blobs),
            tuple(log_parts),
            tuple(backups),
            tuple(others),
            old.size,
            dry_run=False,
        )

    async def _abandoned_backups(self, environment: str, old: _Old, steps: Steps) -> list[str]:
        """Return the objects of old backups without a manifest."""
        folders: dict[str, list[FileInfo]] = {}
        async for info in self._list(keys.backups(environment), steps):
            folders.setdefault("/".join(info.key.split("/")[:3]), []).append(info)
        found = []
        for folder, infos in folders.items():
            if any(info.key == f"{folder}/{MANIFEST}" for info in infos) or not all(map(old.is_old, infos)):
                continue
            found += [info.key for info in infos if old.take(info)]
        return found

    async def _list(self, prefix: str, steps: Steps) -> AsyncGenerator[FileInfo, None]:
        async with aclosing(self._objects.list(prefix)) as listing:
            async for info in listing:
                steps.step()
                yield info


class _Old:
    """Selects objects last modified before a time, and adds up their sizes."""

    def __init__(self, before: float) -> None:
        self._before = before
        self.size = 0

    def is_old(self, info: FileInfo) -> bool:
        return info.last_modified is not None and info.last_modified.timestamp() < self._before

    def take(self, info: FileInfo) -> bool:
        if not self.is_old(info):
            return False
        self.size += info.size
        return True


def _is_blob_without(kept: frozenset[str], writes: frozenset[str], name: str) -> bool:
    return keys.is_blob_name(name) and name not in kept and keys.writer_of(name) not in writes


def _age(snapshot: Snapshot, moment: datetime) -> timedelta:
    return timedelta(seconds=snapshot.server_time - moment.timestamp())
