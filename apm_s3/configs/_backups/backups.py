"""Makes, lists, verifies and prunes backups. The manifest is written last and deleted first."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from apm_s3._tasks import run_all
from apm_s3._tools import Tool
from apm_s3.configs._backups.manifest import (
    Backup,
    BackupFile,
    BackupTool,
    check_folder,
    decode_manifest,
    encode_manifest,
    file_key,
    folder_key,
    manifest_key,
    missing,
    plan_prune,
)
from apm_s3.configs._models.releases import FileEntry, Release
from apm_s3.configs._progress import Steps
from apm_s3.configs._protocol.documents import keys
from apm_s3.configs._protocol.documents.fields import MAX_DOCUMENT
from apm_s3.configs._protocol.live import MARK
from apm_s3.configs._protocol.objects import ObjectStore, delete_what_can_be, server_time
from apm_s3.configs._protocol.reading.reader import PARALLEL, Reader, sha256, twice
from apm_s3.configs._protocol.reading.snapshots import Snapshot
from apm_s3.errors import (
    ApmS3Error,
    BackupInvalid,
    ConfigNotFound,
    IntegrityError,
    InvalidOption,
    ObjectNotFound,
    ObjectTooLarge,
    PreconditionFailed,
    RequestRejected,
)

log = logging.getLogger(__name__)

_SHOWN = 5
"""Maximum number of problems that an error names; the others are counted."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A backup whose bytes were all read and match the manifest, with its files by tool and name."""

    backup: Backup
    files: Mapping[str, Mapping[str, bytes]]


class Backups:
    """The backups of one store, and backups that it makes in other stores.

    Args:
        objects: the store's part of the bucket.
    """

    def __init__(self, objects: ObjectStore, reader: Reader) -> None:
        self._objects = objects
        self._reader = reader

    async def back_up(
        self,
        environment: str,
        tools: Sequence[str] | None,
        *,
        into: ObjectStore,
        author: str | None,
        message: str,
        retain: timedelta | None,
        steps: Steps,
    ) -> Backup:
        """Copy the current configurations of an environment, from the same state, and write the manifest.

        If interrupted, it leaves objects without a manifest, which a collection removes like other garbage.

        Raises:
            ConfigNotFound: the environment does not exist, or has nothing to back up.
            InvalidOption: `retain` is set, but the bucket has no object lock.
            StoreDamaged: the content differs from what was stored; no backup was made.
        """

        async def copy(snapshot: Snapshot) -> Backup:
            # Each try uses a new folder, because objects of an earlier try may belong to another revision.
            moment = datetime.fromtimestamp(snapshot.server_time, UTC)
            folder = folder_key(environment, moment, keys.new_write_id(environment))
            releases = await self._releases(snapshot, tools)
            until = None if retain is None else moment + retain
            steps.begin(environment, "copying files", sum(len(release.files) for release in releases))
            copies = [
                steps.count(self._copy, release, entry, file_key(folder, release.tool, name), into, until)
                for release in releases
                for name, entry in release.files.items()
            ]
            await run_all(copies, limit=PARALLEL)
            held: dict[Tool, BackupTool] = {release.tool: _described(release) for release in releases}
            home = snapshot.current.home
            return Backup(
                folder, into.bucket, environment, home, moment, author, message, MappingProxyType(held), until
            )

        backup = await self._reader.settled(environment, copy)
        await self._put_manifest(backup, into)
        return backup

    async def _releases(self, snapshot: Snapshot, tools: Sequence[str] | None) -> list[Release]:
        names = sorted(snapshot.current.tools) if tools is None else sorted(set(tools))
        found = await run_all(self._reader.newest(snapshot, tool) for tool in names)
        releases = [release for release in found if release is not None and not release.removed]
        absent = set(names) - {release.tool for release in releases}
        if not releases or (tools is not None and absent):
            what = ", ".join(sorted(absent)) or "a configuration"
            raise ConfigNotFound(
                f"there is no {what} in '{snapshot.environment}' to back up",
                environment=snapshot.environment, hint="see list() for what exists",
            )  # fmt: skip
        return releases

    async def _copy(
        self, release: Release, entry: FileEntry, key: str, into: ObjectStore, until: datetime | None
    ) -> None:
        # Read and verified instead of copied within S3: the source may be compressed, damaged, or in another region.
        content = await self._reader.content(release, entry)
        try:
            await _put(into, key, content, until, "application/octet-stream")
        except PreconditionFailed:
            await _check_ours(into, key, content)

    async def _put_manifest(self, backup: Backup, into: ObjectStore) -> None:
        key, body = manifest_key(backup.key), encode_manifest(backup)
        try:
            await _put(into, key, body, backup.retain_until, "application/json", {MARK: await sha256(body)})
        except PreconditionFailed:
            await _check_ours(into, key, body)
        except ApmS3Error as exc:
            if not exc.may_have_happened:
                raise
            if await _holds(into, key, body):
                return
            exc.hint = f"it is not known whether the backup was completed; if it was, list_backups shows '{backup.key}'"
            raise

    async def found(self, environment: str) -> list[Backup]:
        """Return the backups of an environment in this bucket, newest first. Folders without a manifest are not
        backups.

        Raises:
            FormatTooNew: a newer version of this library made one of them.
        """
        present: dict[str, dict[str, int]] = {}
        async with aclosing(self._objects.list(keys.backups(environment))) as listing:
            async for info in listing:
                folder = "/".join(info.key.split("/")[:3])
                present.setdefault(folder, {})[info.key] = info.size
        folders = [folder for folder, found in present.items() if manifest_key(folder) in found and _is_folder(folder)]
        found = await run_all((self._try_manifest(folder) for folder in folders), limit=PARALLEL)
        backups = [
            replace(backup, damage=missing(backup, present[backup.key])) if backup.damage is None else backup
            for backup in found
            if backup is not None
        ]
        return sorted(backups, key=lambda each: (each.created_at, each.key), reverse=True)

    async def environments(self) -> list[str]:
        """Return the environments that have, or had, backups in this bucket."""
        async with aclosing(self._objects.list_folders("backups/")) as folders:
            return [name async for name in folders]

    async def _try_manifest(self, folder: str) -> Backup | None:
        try:
            return await self.manifest(folder)
        except ConfigNotFound:
            return None
        except BackupInvalid as exc:
            # It exists and must be visible, if only to be replaced.
            moment = datetime.strptime(folder.split("/")[2].partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            bucket = self._objects.bucket
            return Backup(folder, bucket, folder.split("/")[1], "", moment, None, "", {}, damage=exc.problem)

    async def manifest(self, key: str) -> Backup:
        """Read the manifest of a backup.

        Raises:
            InvalidOption: `key` is not the key of a backup.
            ConfigNotFound: the backup does not exist.
            BackupInvalid: its manifest is damaged.
        """
        folder = check_folder(key)
        return await twice(lambda: self._manifest(folder))

    async def _manifest(self, folder: str) -> Backup:
        try:
            info, body = await self._objects.read(manifest_key(folder), limit=MAX_DOCUMENT)
        except ObjectTooLarge as exc:
            raise self._damaged(folder, exc.problem) from exc
        except ObjectNotFound as exc:
            raise ConfigNotFound(
                f"there is no backup '{folder}' in bucket '{self._objects.bucket}'",
                bucket=self._objects.bucket, key=folder, hint="see list_backups for the existing ones",
            ) from exc  # fmt: skip
        mark = (info.metadata or {}).get(MARK)
        if mark is not None and mark != await sha256(body):
            raise self._damaged(folder, "its bytes differ from those that were stored")
        return decode_manifest(body, folder=folder, bucket=self._objects.bucket)

    def _damaged(self, folder: str, problem: str) -> BackupInvalid:
        return BackupInvalid(
            f"the manifest of backup '{folder}' is damaged: {problem}",
            bucket=self._objects.bucket,
            key=folder,
            hint="restore another backup",
        )

    async def verify(self, key: str, steps: Steps) -> Verified:
        """Read every file of a backup and verify it by the manifest.

        Raises:
            InvalidOption, ConfigNotFound: see `manifest`.
            BackupInvalid: files are missing, or differ from what was backed up; all of them are counted.
        """
        backup = await self.manifest(key)
        described = list(backup.files())
        steps.begin(backup.environment, "verifying files", len(described))
        contents = await run_all((steps.count(self._verified, backup, *each) for each in described), limit=PARALLEL)
        wrong = [
            f"{tool}/{name}" for (tool, name, _), content in zip(described, contents, strict=True) if content is None
        ]
        if wrong:
            more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            raise BackupInvalid(
                f"backup '{backup.key}' is damaged: {', '.join(wrong[:_SHOWN])}{more} missing or changed",
                environment=backup.environment, bucket=backup.bucket, key=backup.key,
                hint="restore another backup; a versioned bucket may still have the original files",
            )  # fmt: skip
        files: dict[str, dict[str, bytes]] = {tool: {} for tool in backup.tools}
        for (tool, name, _), content in zip(described, contents, strict=True):
            files[tool][name] = content or b""
        return Verified(backup, MappingProxyType({tool: MappingProxyType(held) for tool, held in files.items()}))

    async def _verified(self, backup: Backup, tool: str, name: str, file: BackupFile) -> bytes | None:
        async def read() -> bytes:
            _, content = await self._objects.read(file_key(backup.key, tool, name), limit=file.size)
            if len(content) != file.size or await sha256(content) != file.sha256:
                raise self._damaged(backup.key, f"{tool}/{name} is not what was stored")
            return content

        try:
            return await twice(read)
        except (ObjectNotFound, ObjectTooLarge, BackupInvalid):
            return None

    async def prune(
        self, environment: str, *, keep: int | None, older_than: timedelta | None, dry_run: bool
    ) -> list[Backup]:
        """Delete the backups selected by `plan_prune`, the manifest of each first, and return them, oldest first.

        Raises:
            InvalidOption: there is no limit, or it is not valid.
        """
        if keep is None and older_than is None:
            raise InvalidOption("keep and older_than are both missing", hint="pass at least one of them")
        if (keep is not None and keep < 1) or (older_than is not None and older_than < timedelta(0)):
            raise InvalidOption("keep must be at least 1, and older_than not negative", hint="one backup always stays")
        backups = await self.found(environment)
        if not backups:
            return []
        now = datetime.fromtimestamp(server_time(await self._objects.head(manifest_key(backups[0].key))), UTC)
        gone = plan_prune(backups, keep=keep, older_than=older_than, now=now)
        return gone if dry_run else [backup for backup in gone if await self._delete(backup)]

    async def _delete(self, backup: Backup) -> bool:
        """Delete a backup, and return whether it was deleted. If its manifest cannot be deleted, it stays intact."""
        kept = await delete_what_can_be(self._objects, [manifest_key(backup.key)])
        for reason in kept.values():
            log.warning("backup '%s' cannot be deleted: %s", backup.key, reason)
            return False
        async with aclosing(self._objects.list(f"{backup.key}/")) as listing:
            rest = [info.key async for info in listing]
        for key, reason in (await delete_what_can_be(self._objects, rest)).items():
            log.warning("'%s' cannot be deleted before a collection: %s", key, reason)
        return True


def _described(release: Release) -> BackupTool:
    files = {name: BackupFile(entry.size, entry.sha256) for name, entry in release.files.items()}
    return BackupTool(release.revision, release.author, release.message, release.created_at, MappingProxyType(files))


async def _put(
    into: ObjectStore,
    key: str,
    body: bytes,
    until: datetime | None,
    content_type: str,
    metadata: Mapping[str, str] | None = None,
) -> None:
    try:
        await into.put(
            key,
            body,
            create=True,
            hashed=True,
            content_type=content_type,
            metadata=metadata,
            retain_until=until,
        )
    except RequestRejected as exc:
        if until is None:
            raise
        raise InvalidOption(
            f"bucket '{into.bucket}' does not accept objects with a retention: {exc.problem}",
            bucket=into.bucket, key=key, hint="create the bucket with object lock, or omit retain",
        ) from exc  # fmt: skip


async def _check_ours(objects: ObjectStore, key: str, body: bytes) -> None:
    """Check an object that exists already: no other write has our write id, so an earlier attempt has stored it.

    Raises:
        IntegrityError: it does not have our content.
        ApmS3Error: it could not be read.
    """
    try:
        _, found = await objects.read(key)
    except ObjectNotFound:
        found = None
    except ApmS3Error as exc:
        exc.hint = "it could not be compared with what was sent; list_backups shows whether the backup was completed"
        raise
    if found != body:
        raise IntegrityError(
            f"the server refuses to create '{key}', and does not have it as it was sent", operation="backup",
            bucket=objects.bucket, key=key, hint="suspect the server, or a proxy in front of it; no backup was made",
        )  # fmt: skip


async def _holds(objects: ObjectStore, key: str, body: bytes) -> bool:
    """Return whether the object exists after a lost response; if it does not, that proves nothing."""
    try:
        _, found = await objects.read(key)
    except ApmS3Error:
        return False
    return found == body


def _is_folder(folder: str) -> bool:
    try:
        check_folder(folder)
    except ApmS3Error:
        return False
    return True
