"""Collecting garbage: old revisions, what was never committed, and backups that were cut short.

Safe beside any writer and reader: first the oldest revision that is kept is committed, so that every writer that began
earlier has to look again; what it could still name is younger than the grace period.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from apm_s3.configs._backups.manifest import MANIFEST
from apm_s3.configs._models import Current, Release
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.changes import check_thawed
from apm_s3.configs._protocol.commit import Committer
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reader import Reader, Snapshot
from apm_s3.errors import InvalidOption
from apm_s3.models import FileInfo

GRACE = timedelta(hours=24)
"""Nothing younger is ever deleted: far longer than a write can take."""

_LEAST_KEPT = 2
"""The current release and the one before it: a replica that has not got the current one yet falls back to that."""


@dataclass(frozen=True, slots=True)
class GarbageReport:
    """What a collection deleted in one environment, or would delete.

    Attributes:
        oldest: by tool, the oldest revision that is kept now.
        releases, blobs, backups, others: keys, relative to the store's prefix.
        size: bytes of all of them.
    """

    environment: str
    oldest: Mapping[str, int]
    releases: tuple[str, ...]
    blobs: tuple[str, ...]
    backups: tuple[str, ...]
    others: tuple[str, ...]
    size: int
    dry_run: bool


@dataclass(frozen=True, slots=True)
class RaiseOldest:
    """Give up the revisions before `oldest`, by tool."""

    environment: str
    oldest: Mapping[str, int]

    def __call__(self, current: Current) -> Current:
        """See `Change`.

        Raises:
            EnvironmentFrozen: nothing is given up while it is frozen.
        """
        check_thawed(self.environment, current)
        return self.applied(current)

    def applied(self, current: Current) -> Current:
        """`current` without the revisions before `oldest`, frozen or not."""
        tools = {
            tool: replace(state, oldest=max(state.oldest, self.oldest.get(tool, 1)))
            for tool, state in current.tools.items()
        }
        return replace(current, tools=MappingProxyType(tools))


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the kept releases refer to: keys of documents, and names of blobs by tool."""

    documents: frozenset[str]
    blobs: Mapping[str, frozenset[str]]


class Collector:
    """Collects the garbage of one store."""

    def __init__(self, objects: ObjectStore, reader: Reader, committer: Committer) -> None:
        self._objects = objects
        self._reader = reader
        self._committer = committer

    async def collect(
        self, environment: str, *, keep_revisions: int, older_than: timedelta, dry_run: bool
    ) -> GarbageReport:
        """See `ConfigStore.collect_garbage`."""
        if keep_revisions < 1:
            raise InvalidOption("keep_revisions is at least 1", hint="the current revision always stays")
        if older_than < GRACE:
            raise InvalidOption(
                "older_than is at least 24 hours", hint="writers may still be about to name what is younger"
            )

        async def plan(snapshot: Snapshot) -> tuple[Snapshot, RaiseOldest]:
            if not dry_run:
                check_thawed(environment, snapshot.current)
            return snapshot, await self._plan(snapshot, keep_revisions, older_than)

        began, change = await self._reader.settled(environment, plan)
        if not dry_run:
            await self._committer.change(environment, lambda _: change)

        async def look(snapshot: Snapshot) -> tuple[Current, _Kept]:
            current = change.applied(snapshot.current) if dry_run else snapshot.current
            return current, await self._kept(replace(snapshot, current=current))

        current, kept = await self._reader.settled(environment, look)
        report = await self._report(environment, current, kept, began.server_time - older_than.total_seconds())
        if dry_run:
            return replace(report, dry_run=True)
        gone = [*report.releases, *report.blobs, *report.backups, *report.others]
        if gone:
            await self._objects.delete(gone)
        return report

    async def _plan(self, snapshot: Snapshot, keep: int, older_than: timedelta) -> RaiseOldest:
        oldest = {}
        for tool, state in snapshot.current.tools.items():
            releases = await self._reader.chain(snapshot, tool)
            last = state.release.revision
            for number, release in enumerate(releases):
                if number >= max(keep, _LEAST_KEPT) and _age(snapshot, release.created_at) >= older_than:
                    break
                last = release.revision
            oldest[tool] = last
        return RaiseOldest(snapshot.environment, oldest)

    async def _kept(self, snapshot: Snapshot) -> _Kept:
        """Raises `Gone` where a kept document cannot be read: then nothing is deleted."""
        documents: set[str] = set()
        blobs: dict[str, frozenset[str]] = {}
        for tool, state in snapshot.current.tools.items():
            releases: list[Release] = await self._reader.chain(snapshot, tool)
            if state.good is not None and state.good.revision < state.oldest:
                releases.append(await self._reader.release(state.good))
            documents.update(release.ref.key for release in releases if release.ref is not None)
            blobs[tool] = frozenset(entry.blob for release in releases for entry in release.files.values())
        return _Kept(frozenset(documents), blobs)

    async def _report(self, environment: str, current: Current, kept: _Kept, before: float) -> GarbageReport:
        old = _Old(before)
        releases: list[str] = []
        blobs: list[str] = []
        for tool in current.tools:
            documents, contents = keys.releases(environment, tool), keys.blobs(environment, tool)
            releases += [
                info.key
                async for info in self._list(documents)
                if keys.parse_release(info.key) and info.key not in kept.documents and old.take(info)
            ]
            blobs += [
                info.key
                async for info in self._list(contents)
                if _is_blob_without(kept.blobs[tool], info.key.removeprefix(contents)) and old.take(info)
            ]
        probes = keys.probes(environment)
        others = [info.key async for info in self._list(probes) if old.take(info)]
        backups = await self._abandoned_backups(environment, old)
        oldest = {tool: state.oldest for tool, state in current.tools.items()}
        return GarbageReport(
            environment, oldest, tuple(releases), tuple(blobs), tuple(backups), tuple(others), old.size, dry_run=False
        )

    async def _abandoned_backups(self, environment: str, old: _Old) -> list[str]:
        """The objects of backups that have no manifest, all of them old."""
        folders: dict[str, list[FileInfo]] = {}
        async for info in self._list(keys.backups(environment)):
            folders.setdefault("/".join(info.key.split("/")[:3]), []).append(info)
        found = []
        for folder, infos in folders.items():
            if any(info.key == f"{folder}/{MANIFEST}" for info in infos) or not all(map(old.is_old, infos)):
                continue
            found += [info.key for info in infos if old.take(info)]
        return found

    async def _list(self, prefix: str) -> AsyncGenerator[FileInfo, None]:
        async with aclosing(self._objects.list(prefix)) as listing:
            async for info in listing:
                yield info


class _Old:
    """What was last modified before a moment; sizes of what is taken add up."""

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


def _is_blob_without(kept: frozenset[str], name: str) -> bool:
    return keys.is_blob_name(name) and name not in kept


def _age(snapshot: Snapshot, moment: datetime) -> timedelta:
    return timedelta(seconds=snapshot.server_time - moment.timestamp())
