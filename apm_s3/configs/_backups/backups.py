"""Backups: files first, the manifest last; listing, verifying and pruning them.

backups/{environment}/{UTC time}-{write id}/{tool}/{name}     the files, as their tools read them
    backups/{environment}/{UTC time}-{write id}/manifest.json     written last: without it there is no backup

A backup is self-contained: it needs neither the original releases nor this library, only an S3 client.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from apm_s3._hints import Advice
from apm_s3._naming import check_file_name
from apm_s3._tasks import run_all
from apm_s3._tools import TOOLS, Tool
from apm_s3.configs._content.files import MAX_BUNDLE, MAX_FILE
from apm_s3.configs._models import FileEntry, Release
from apm_s3.configs._progress import Steps
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.keys import MAX_DOCUMENT, Fields, decode, encode, format_time, parse_time
from apm_s3.configs._protocol.live import HASH_METADATA
from apm_s3.configs._protocol.objects import ObjectStore, delete_what_can_be, server_time
from apm_s3.configs._protocol.reader import PARALLEL, Reader, Snapshot, sha256, twice
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
    StoreDamaged,
)

MANIFEST = "manifest.json"

_KIND = "apm-s3/backup"
_FOLDER = re.compile(r"(\d{8}T\d{6}Z)-([a-z0-9.-]{1,90})", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class BackupFile:
    """One file of a backup."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BackupTool:
    """One tool's configuration in a backup: its release, and its files by name."""

    revision: int
    author: str | None
    message: str
    created_at: datetime
    files: Mapping[str, BackupFile]


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup.

    Attributes:
        key: its folder, relative to the store's prefix, for `restore`.
        bucket: the bucket that contains it.
        environment, source_bucket: the source of the backup.
        created_at: when it was started, by the server's clock.
        tools: its contents.
        retain_until: until when object lock protects it.
        damage: missing files, as far as a listing shows; None if it is complete. Only `verify_backup` and `restore`
            check the contents.
    """

    key: str
    bucket: str
    environment: str
    source_bucket: str
    created_at: datetime
    author: str | None
    message: str
    tools: Mapping[Tool, BackupTool]
    retain_until: datetime | None = None
    damage: str | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Return the size of each object except the manifest, by key."""
        return {file_key(self.key, tool, name): file.size for tool, name, file in self.files()}

    @property
    def size(self) -> int:
        """Return the total bytes."""
        return sum(self.sizes.values())

    def files(self) -> Iterable[tuple[str, str, BackupFile]]:
        """Yield tool, name and description of each file."""
        return ((tool, name, file) for tool, held in self.tools.items() for name, file in held.files.items())


def folder_key(environment: str, moment: datetime, write_id: str) -> str:
    """Return the folder of a new backup."""
    return f"{keys.backups(environment)}{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}-{write_id}"


def manifest_key(folder: str) -> str:
    """Return the key of the manifest of the backup in `folder`."""
    return f"{folder}/{MANIFEST}"


def file_key(folder: str, tool: str, name: str) -> str:
    """Return the key of a file of the backup in `folder`."""
    return f"{folder}/{tool}/{name}"


def check_folder(key: str) -> str:
    """Return the backup's folder for `key`, without a slash at the end or the manifest's name.

    Raises:
        InvalidOption: it is not the key of a backup.
    """
    folder = key.removesuffix(MANIFEST).rstrip("/")
    parts = folder.split("/")
    if len(parts) != 3 or parts[0] != "backups" or not _FOLDER.fullmatch(parts[2]):
        raise InvalidOption(f"{key[:200]!r} is not the key of a backup", hint=Advice.BACKUP_KEYS())
    keys.backups(parts[1])
    return folder


def encode_manifest(backup: Backup) -> bytes:
    """Encode a backup's manifest."""
    return encode(
        _KIND,
        {
            "environment": backup.environment,
            "bucket": backup.source_bucket,
            "created_at": format_time(backup.created_at),
            "author": backup.author,
            "message": backup.message,
            "retain_until": None if backup.retain_until is None else format_time(backup.retain_until),
            "tools": {
                tool: {
                    "revision": held.revision,
                    "author": held.author,
                    "message": held.message,
                    "created_at": format_time(held.created_at),
                    "files": {
                        name: {"size": file.size, "sha256": file.sha256} for name, file in sorted(held.files.items())
                    },
                }
                for tool, held in sorted(backup.tools.items())
            },
        },
    )


def decode_manifest(body: bytes, *, folder: str, bucket: str) -> Backup:
    """Decode a backup's manifest.

    Raises:
        FormatTooNew: a newer version of this library wrote it.
        BackupInvalid: it is not a valid manifest.
    """
    try:
        return _decode(decode(_KIND, body, where=f"{bucket}/{manifest_key(folder)}"), folder, bucket)
    except StoreDamaged as exc:
        raise BackupInvalid(
            f"the manifest of backup '{folder}' is damaged: {exc.problem}",
            bucket=bucket, key=folder, hint="restore another backup",
        ) from exc  # fmt: skip


def _decode(fields: Fields, folder: str, bucket: str) -> Backup:
    retain_until = fields.take_optional("retain_until", str)
    backup = Backup(
        key=folder,
        bucket=bucket,
        environment=fields.take("environment", str),
        source_bucket=fields.take("bucket", str),
        created_at=fields.take_time("created_at"),
        author=fields.take_optional("author", str),
        message=fields.take("message", str),
        retain_until=None if retain_until is None else parse_time(retain_until, fields.where),
        tools=MappingProxyType(
            {_tool(tool, held): _decode_tool(held) for tool, held in fields.take_fields("tools").take_each().items()}
        ),
    )
    if any(sum(file.size for file in held.files.values()) > MAX_BUNDLE for held in backup.tools.values()):
        raise StoreDamaged(f"'{fields.where}' describes more bytes than a bundle can have")
    if backup.environment != folder.split("/")[1]:
        raise StoreDamaged(f"'{fields.where}' is of the environment '{backup.environment[:80]}'")
    return backup


def _tool(name: str, fields: Fields) -> Tool:
    if name not in TOOLS:
        raise StoreDamaged(f"'{fields.where}' names an unknown tool: {name[:80]!r}")
    return name


def _decode_tool(fields: Fields) -> BackupTool:
    return BackupTool(
        revision=fields.take("revision", int),
        author=fields.take_optional("author", str),
        message=fields.take("message", str),
        created_at=fields.take_time("created_at"),
        files=MappingProxyType(
            {name: _decode_file(name, file) for name, file in fields.take_fields("files").take_each().items()}
        ),
    )


def _decode_file(name: str, fields: Fields) -> BackupFile:
    file = BackupFile(fields.take("size", int), fields.take("sha256", str))
    try:
        check_file_name(name)
    except ApmS3Error as exc:
        raise StoreDamaged(f"'{fields.where}' has an invalid file name: {name[:80]!r}") from exc
    if not 0 <= file.size <= MAX_FILE or not _SHA256.fullmatch(file.sha256):
        raise StoreDamaged(f"'{fields.where}' has an invalid description of the file '{name}'")
    return file


def missing(backup: Backup, present: Mapping[str, int]) -> str | None:
    """Return what is missing in `present`, sizes by key; None if the backup is complete."""
    wrong = [key for key, size in backup.sizes.items() if present.get(key) != size]
    if not wrong:
        return None
    return f"{len(wrong)} of {len(backup.sizes)} files are missing or have another size, such as '{wrong[0]}'"


def plan_prune(
    backups: Collection[Backup], *, keep: int | None, older_than: timedelta | None, now: datetime
) -> list[Backup]:
    """Return the backups of one environment that may be deleted, oldest first.

    A backup may be deleted if every tool in it has `keep` newer intact backups, and if it is older than `older_than`; a
    limit of None does not count. The newest intact backup of a tool, backups that object lock protects, and backups
    with an unreadable manifest are never deleted.
    """
    newer: dict[str, int] = {}
    prunable = []
    for backup in sorted(backups, key=lambda each: (each.created_at, each.key), reverse=True):
        spare = bool(backup.tools) and all(newer.get(tool, 0) >= max(keep or 0, 1) for tool in backup.tools)
        old = older_than is None or now - backup.created_at > older_than
        locked = backup.retain_until is not None and backup.retain_until > now
        if spare and old and not locked:
            prunable.append(backup)
        if backup.damage is None:
            for tool in backup.tools:
                newer[tool] = newer.get(tool, 0) + 1
    return prunable[::-1]


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

        backup = await self._reader.read_consistently(environment, copy)
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
                environment=snapshot.environment, hint=Advice.LIST(),
            )  # fmt: skip
        return releases

    async def _copy(
        self, release: Release, entry: FileEntry, key: str, into: ObjectStore, until: datetime | None
    ) -> None:
        # Read and verified instead of copied within S3: the source may be compressed, damaged, or in another region.
        content = await self._reader.blob(release.environment, release.tool, entry)
        try:
            await _put(into, key, content, until, "application/octet-stream")
        except PreconditionFailed:
            await _check_ours(into, key, content)

    async def _put_manifest(self, backup: Backup, into: ObjectStore) -> None:
        key, body = manifest_key(backup.key), encode_manifest(backup)
        try:
            await _put(into, key, body, backup.retain_until, "application/json", {HASH_METADATA: await sha256(body)})
        except PreconditionFailed:
            await _check_ours(into, key, body)
        except ApmS3Error as exc:
            if not exc.may_have_happened:
                raise
            if await _holds(into, key, body):
                return
            exc.hint = Advice.BACKUP_MADE(key=backup.key)
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
                bucket=self._objects.bucket, key=folder, hint=Advice.BACKUPS(),
            ) from exc  # fmt: skip
        mark = (info.metadata or {}).get(HASH_METADATA)
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
        exc.hint = Advice.BACKUP_UNCOMPARED()
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
