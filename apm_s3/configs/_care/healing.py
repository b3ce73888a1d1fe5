"""Recovers lost objects from other copies of the same bytes; every source is verified by its SHA-256."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace

from apm_s3.configs._backups.backups import Backups
from apm_s3.configs._backups.manifest import file_key
from apm_s3.configs._care.findings import Finding
from apm_s3.configs._models.releases import FileEntry
from apm_s3.configs._protocol.documents import keys
from apm_s3.configs._protocol.documents.fields import MAX_DOCUMENT
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reading.reader import unpack
from apm_s3.errors import ObjectNotFound, ObjectTooLarge
from apm_s3.models import FileInfo


class Healer:
    """Recovers objects of one environment, for a single repair: it caches listings."""

    def __init__(self, objects: ObjectStore, backups: Backups, environment: str) -> None:
        self._objects = objects
        self._backups = backups
        self._environment = environment
        self._copies: dict[str, list[FileInfo]] = {}
        self._saved: dict[str, list[str]] | None = None

    async def heal(self, finding: Finding) -> str | None:
        """Restore a lost object, and return the source, or None if there is no copy of its bytes."""
        if finding.sha256 is None:
            return None
        if await self._from_versions(finding):
            return "an older version"
        if finding.entry is None or finding.tool is None:
            return None
        for source, candidates in (
            ("another blob", self._blobs(finding.tool, finding.entry)),
            ("a live copy", self._live_copies(finding.tool, finding.entry)),
            ("a backup", self._saved_files(finding.entry)),
        ):
            async with aclosing(candidates) as found:
                async for key in found:
                    if await self._take(key, finding.key, finding.entry):
                        return f"{source}, '{key}'"
        return None

    async def _from_versions(self, finding: Finding) -> bool:
        async with aclosing(self._objects.versions(finding.key)) as versions:
            async for version in versions:
                if version.is_delete_marker:
                    continue
                with suppress(ObjectNotFound, ObjectTooLarge):
                    _, body = await self._objects.read(
                        finding.key, version_id=version.version_id, limit=_largest(finding)
                    )
                    if await _is_it(body, finding):
                        await self._objects.put(finding.key, body)
                        return True
        return False

    async def _blobs(self, tool: str, entry: FileEntry) -> AsyncGenerator[str, None]:
        """Yield blobs of other writes with the same content."""
        prefix = keys.blobs(self._environment, tool) + keys.blob_name(entry.sha256, "")
        async with aclosing(self._objects.list(prefix)) as listing:
            async for info in listing:
                yield info.key

    async def _live_copies(self, tool: str, entry: FileEntry) -> AsyncGenerator[str, None]:
        if tool not in self._copies:
            async with aclosing(self._objects.list(keys.live(self._environment, tool))) as listing:
                self._copies[tool] = [info async for info in listing]
        for info in self._copies[tool]:
            if info.size == entry.size:
                yield info.key

    async def _saved_files(self, entry: FileEntry) -> AsyncGenerator[str, None]:
        if self._saved is None:
            self._saved = {}
            for backup in await self._backups.found(self._environment):
                for tool, name, file in backup.files():
                    self._saved.setdefault(file.sha256, []).append(file_key(backup.key, tool, name))
        for key in self._saved.get(entry.sha256, []):
            yield key

    async def _take(self, source: str, key: str, entry: FileEntry) -> bool:
        """Store the object `source` as the blob `key`, if it has the expected content."""
        try:
            _, body = await self._objects.read(source, limit=entry.size)
        except (ObjectNotFound, ObjectTooLarge):
            return False
        for encoding in ("identity", "gzip"):
            plain = await unpack(body, replace(entry, encoding=encoding))
            if plain is not None:
                packed = gzip.compress(plain, mtime=0) if entry.encoding == "gzip" else plain
                await self._objects.put(key, packed)
                return True
        return False


def _largest(finding: Finding) -> int:
    return MAX_DOCUMENT if finding.entry is None else finding.entry.size


async def _is_it(body: bytes, finding: Finding) -> bool:
    if finding.entry is not None:
        return await unpack(body, finding.entry) is not None
    return hashlib.sha256(body).hexdigest() == finding.sha256
