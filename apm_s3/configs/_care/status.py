"""The state of everything, in a handful of requests: the data behind a table."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apm_s3._tasks import run_all
from apm_s3._tools import MAIN_FILES, Tool
from apm_s3.configs._backups.backups import Backups
from apm_s3.configs._models import Freeze, Origin, Release
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.live import MARK
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reader import PARALLEL, Reader
from apm_s3.configs._protocol.snapshots import Snapshot
from apm_s3.errors import BackupInvalid, ConfigNotFound, InvalidOption, ObjectNotFound

_BACKUPS = 5
"""Backups of an environment that are looked at, newest first, for the last one of each tool."""


@dataclass(frozen=True, slots=True)
class ToolStatus:
    """One tool in one environment.

    Attributes:
        age: since the release was made, by the server's clock.
        drifted: changed by hand since its last deploy; None where it never was deployed.
        behind_source: the environment it was deployed from has something else now; None where that is not known.
        good: whether the current revision is the one marked good.
        good_revision: the one that is; None where none is.
        last_backup: when the last backup with this tool was made, of the newest few in this store's bucket. Those in
            another one are in that store's `list_backups`.
        live_behind: the main file's copy under `live/` is not that of the current release.
    """

    environment: str
    tool: Tool
    revision: int
    author: str | None
    message: str
    created_at: datetime
    age: timedelta
    origin: Origin
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


class StatusReader:
    """Reads the status of one store."""

    def __init__(self, objects: ObjectStore, reader: Reader, backups: Backups) -> None:
        self._objects = objects
        self._reader = reader
        self._backups = backups

    async def status(self, environments: list[str]) -> list[ToolStatus]:
        """See `ConfigStore.status`."""
        read = await run_all((self._reader.settled(name, self._releases) for name in environments), limit=PARALLEL)
        digests = {
            (environment, tool): release.digest
            for environment, (_, releases) in zip(environments, read, strict=True)
            for tool, release in releases.items()
        }
        backups = await run_all((self._last_backups(name) for name in environments), limit=PARALLEL)
        rows = [
            self._row(snapshot, release, digests, last.get(tool))
            for (snapshot, releases), last in zip(read, backups, strict=True)
            for tool, release in releases.items()
            if not release.removed
        ]
        return await run_all(rows, limit=PARALLEL)

    async def _releases(self, snapshot: Snapshot) -> tuple[Snapshot, dict[str, Release]]:
        tools = sorted(snapshot.current.tools)
        found = await run_all(self._reader.newest(snapshot, tool) for tool in tools)
        return snapshot, {release.tool: release for release in found if release is not None}

    async def _last_backups(self, environment: str) -> dict[str, datetime]:
        async with aclosing(self._objects.list_folders(keys.backups(environment))) as folders:
            names = sorted([name async for name in folders], reverse=True)
        last: dict[str, datetime] = {}
        for name in names[:_BACKUPS]:
            try:
                backup = await self._backups.manifest(keys.backups(environment) + name)
            except (ConfigNotFound, BackupInvalid, InvalidOption):
                continue
            for tool in backup.tools:
                last.setdefault(tool, backup.created_at)
        return last

    async def _row(
        self,
        snapshot: Snapshot,
        release: Release,
        digests: Mapping[tuple[str, str], str],
        last_backup: datetime | None,
    ) -> ToolStatus:
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
            live_behind=await self._is_live_behind(release),
            freeze=snapshot.current.freeze,
        )

    async def _is_live_behind(self, release: Release) -> bool:
        name = MAIN_FILES[release.tool]
        if name not in release.files:
            return False
        try:
            info = await self._objects.head(keys.live(release.environment, release.tool, name))
        except ObjectNotFound:
            return True
        return (info.metadata or {}).get(MARK) != release.files[name].sha256


def _is_behind_source(release: Release, digests: Mapping[tuple[str, str], str]) -> bool | None:
    deployed = release.deployed
    if deployed is None or deployed.source_bucket is not None:
        return None
    digest = digests.get((deployed.source_environment, release.tool))
    return None if digest is None else digest != deployed.source_digest
