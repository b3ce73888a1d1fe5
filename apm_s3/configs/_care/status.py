"""The state of all tools, in a few requests."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from apm_s3._tasks import run_all
from apm_s3._tools import MAIN_FILES, TOOLS, Tool
from apm_s3.configs._backups.backups import Backups
from apm_s3.configs._backups.manifest import Backup
from apm_s3.configs._content.overlays import is_reserved
from apm_s3.configs._models.current import Freeze
from apm_s3.configs._models.releases import Origin, Release
from apm_s3.configs._protocol.documents import keys
from apm_s3.configs._protocol.live import MARK
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reading.reader import PARALLEL, Gone, Reader
from apm_s3.configs._protocol.reading.snapshots import Snapshot
from apm_s3.errors import BackupInvalid, ConfigNotFound, InvalidOption, ObjectNotFound, StoreDamaged

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
            return await self._reader.settled(name, self._environment)
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
        return (info.metadata or {}).get(MARK)

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
