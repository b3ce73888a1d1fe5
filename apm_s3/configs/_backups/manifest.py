"""Backups as values: manifests, keys of files, and which backups may be pruned. Pure.

    backups/{environment}/{UTC time}-{write id}/{tool}/{name}     the files, as their tools read them
    backups/{environment}/{UTC time}-{write id}/manifest.json     written last: without it there is no backup

A backup is self-contained: it needs neither the original releases nor this library, only an S3 client.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from apm_s3._naming import check_file_name
from apm_s3._tools import TOOLS, Tool
from apm_s3.configs._content.sources import MAX_BUNDLE, MAX_FILE
from apm_s3.configs._protocol.documents import keys
from apm_s3.configs._protocol.documents.fields import Fields, decode, encode, format_time, parse_time
from apm_s3.errors import ApmS3Error, BackupInvalid, InvalidOption, StoreDamaged

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
        raise InvalidOption(f"{key[:200]!r} is not the key of a backup", hint="use a key from list_backups")
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
