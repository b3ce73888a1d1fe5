"""A bucket that is read, and never changed: what is written to it is kept in memory, and read from there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Unpack

from apm_s3.configs._protocol.objects import ObjectStore, PutOptions, ReadOptions
from apm_s3.errors import ObjectNotFound
from apm_s3.models import FileInfo, FileVersion


class DryRun:
    """Lets one call run as it would, and see what it wrote, without writing anything.

    Conditions of writes are not evaluated: the call has read what it replaces, and nobody else writes here.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._written: dict[str, tuple[FileInfo, bytes] | None] = {}
        self.bucket = objects.bucket

    async def read(self, key: str, **options: Unpack[ReadOptions]) -> tuple[FileInfo, bytes]:
        if key not in self._written or options.get("version_id") is not None:
            return await self._objects.read(key, **options)
        there = self._written[key]
        if there is None:
            raise ObjectNotFound(f"'{self.bucket}/{key}' does not exist", operation="read", bucket=self.bucket, key=key)
        return there

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
