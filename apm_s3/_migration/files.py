"""Moves files into S3 and objects into files."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import secrets
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from apm_s3._beneath import Below
from apm_s3._migration.journal import Row
from apm_s3._migration.models import MigrationOptions, is_md5
from apm_s3._migration.moving import Bandwidth, Moved
from apm_s3._migration.sides import Side
from apm_s3._migration.trees import has_content, is_same_time, remove_files
from apm_s3.errors import IntegrityError, ObjectChanged, PreconditionFailed
from apm_s3.models import FileInfo
from apm_s3.options import ReadOptions, UploadOptions

MIB = 1024**2
_WHOLE = 8 * MIB
"""Files up to this many bytes are read into memory whole."""
_AT_ONCE = 3
"""Whole files above 1 MiB that are in memory at the same time, whatever the concurrency: 24 MiB at most."""


@dataclass(slots=True)
class UploadMover:
    """Moves files from a directory to a prefix."""

    root: Path
    target: Side
    rules: MigrationOptions
    bandwidth: Bandwidth
    large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def move(self, row: Row) -> Moved:
        await self.bandwidth.take(row.size)
        to, bucket, s3 = self.target.key(row.target_key), self.target.place.bucket, self.target.s3
        path = Below(self.root, row.key)
        options = UploadOptions(if_none_match="*") if self.rules.if_exists == "fail" else None
        try:
            if row.size > _WHOLE:
                stored = await s3.upload_file(bucket, to, path, options)
                ok = await self._holds(path, stored)
                return self._moved(row, stored, "parts" if ok else "")
            async with self.large if row.size > MIB else nullcontext():
                data, digest = await asyncio.to_thread(_read, path, row)
                stored = await s3.upload_file(bucket, to, data, options)
        except PreconditionFailed:
            # Another writer created it, perhaps an earlier run of this migration.
            if not await self.is_same(row):
                raise
            stored = await self.target.head(to)
            return self._moved(row, stored, "etag")
        if is_md5(stored.etag) and (stored.etag or "").strip('"') == digest:
            return self._moved(row, stored, "etag")
        return self._moved(row, stored, "sha256" if await self._same_bytes(path, to) else "")

    def _moved(self, row: Row, stored: FileInfo, how: str) -> Moved:
        if not how:
            raise IntegrityError("the target has stored different content", operation="migrate", key=row.target_key)
        return Moved(row.size, row.etag, stored.etag, how, row.size)

    async def _holds(self, path: Below, stored: FileInfo) -> bool:
        size = stored.size
        part = self.target.endpoint.part_size
        if await asyncio.to_thread(has_content, path, size, stored.etag, part):
            return True
        return await self._same_bytes(path, stored.key)

    async def _same_bytes(self, path: Below, to: str) -> bool:
        ours, theirs = await asyncio.gather(asyncio.to_thread(_digest, path), self.target.digest(to))
        return ours == theirs

    async def is_same(self, row: Row) -> bool:
        size, etag = row.their_size, row.their_etag
        if size is None or size < 0:
            theirs = await self.target.head(self.target.key(row.target_key))
            size, etag = theirs.size, theirs.etag
        part = self.target.endpoint.part_size
        path = Below(self.root, row.key)
        return size == row.size and await asyncio.to_thread(has_content, path, size, etag, part)

    async def check(self, row: Row) -> str | None:
        same = await self._same_bytes(Below(self.root, row.key), self.target.key(row.target_key))
        return None if same else "the content differs"

    async def gone(self, row: Row) -> bool:
        try:
            await asyncio.to_thread(Below(self.root, row.key).stat)
        except FileNotFoundError:
            return True
        return False

    async def delete(self, keys: list[str]) -> int:
        return await self.target.delete(keys)


@dataclass(slots=True)
class FetchMover:
    """Moves objects from a prefix to a directory. Files get the times of their objects, for the next migration."""

    source: Side
    root: Path
    rules: MigrationOptions
    bandwidth: Bandwidth

    async def move(self, row: Row) -> Moved:
        await self.bandwidth.take(row.size)
        key, path, s3 = self.source.key(row.key), Below(self.root, row.target_key), self.source.s3
        options = ReadOptions(if_match=row.etag, version_id=row.version or None)
        bucket = self.source.place.bucket
        try:
            if row.size <= MIB:
                info, data = await self.source.endpoint.read(bucket, key, options)
                how = _checked(info, data) or await self._read_again(key, row, hashlib.sha256(data).hexdigest())
                await asyncio.to_thread(_write, path, data, info)
                return Moved(info.size, info.etag, None, how, len(data))
            info = await s3.download_to(bucket, key, path, options)
        except PreconditionFailed as exc:
            raise ObjectChanged("the source was replaced after it was listed", operation="migrate", key=key) from exc
        how = await self._verified(row, info, key, path)
        await asyncio.to_thread(_touch, path, info)
        return Moved(info.size, info.etag, None, how, info.size)

    async def _verified(self, row: Row, info: FileInfo, key: str, path: Below) -> str:
        part = self.source.endpoint.part_size
        if info.checksums:
            # `download_to` has compared the content with the checksum.
            return "checksum"
        if await asyncio.to_thread(has_content, path, info.size, info.etag, part):
            return "etag"
        return await self._read_again(key, row, await asyncio.to_thread(_digest, path))

    async def _read_again(self, key: str, row: Row, digest: str) -> str:
        if await self.source.digest(key, row.version) != digest:
            raise IntegrityError(
                "the content of the file differs from the object", operation="migrate", key=row.target_key
            )
        return "sha256"

    async def is_same(self, row: Row) -> bool:
        path = Below(self.root, row.target_key)
        told = await asyncio.to_thread(path.stat)
        if told.st_size != row.size:
            return False
        if is_same_time(told.st_mtime, row.modified):
            return True
        part = self.source.endpoint.part_size
        return await asyncio.to_thread(has_content, path, row.size, row.etag, part)

    async def check(self, row: Row) -> str | None:
        path = Below(self.root, row.target_key)
        try:
            ours, theirs = await asyncio.gather(
                self.source.digest(self.source.key(row.key), row.version), asyncio.to_thread(_digest, path)
            )
        except OSError as exc:
            return f"the file cannot be read: {exc}"
        return None if ours == theirs else "the content differs"

    async def gone(self, row: Row) -> bool:
        return await self.source.lacks(self.source.key(row.key), row.version)

    async def delete(self, keys: list[str]) -> int:
        outcomes = await asyncio.to_thread(remove_files, self.root, keys)
        return sum(error is not None for _, error in outcomes)


def _read(path: Below, row: Row) -> tuple[bytes, str]:
    """Return the content of a file and its MD5.

    Raises:
        ObjectChanged: its size differs from the listed one.
    """
    with path.read() as file:
        data = file.read(row.size + 1)
        while len(data) <= row.size and (more := file.read(row.size + 1 - len(data))):
            data += more
    if len(data) != row.size:
        raise ObjectChanged("the file changed after it was listed", operation="migrate", key=row.key)
    return data, hashlib.md5(data, usedforsecurity=False).hexdigest()


def _write(path: Below, data: bytes, info: FileInfo) -> None:
    """Write a file atomically: it appears whole or not at all."""
    with path.entered(create=True) as (final, folder):
        held = os.path.join(os.path.dirname(final), f".{secrets.token_hex(8)}.part")  # noqa: PTH118, PTH120 - relative
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with io.FileIO(os.open(held, flags, 0o666, dir_fd=folder), "wb") as file:
                left = memoryview(data)
                while left:
                    left = left[file.write(left) :]
                if info.last_modified is not None:
                    at = int(info.last_modified.timestamp() * 1e9)
                    os.utime(file.fileno() if os.utime in os.supports_fd else held, ns=(at, at))
            os.replace(held, final, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(held, dir_fd=folder)
            raise


def _touch(path: Below, info: FileInfo) -> None:
    if info.last_modified is not None:
        path.touch(info.last_modified.timestamp())


def _checked(info: FileInfo, data: bytes) -> str:
    """Return what verified the downloaded content; "" if the ETag is not the MD5 of the content."""
    if info.checksums:
        return "checksum"
    return (
        "etag" if is_md5(info.etag) and hashlib.md5(data, usedforsecurity=False).hexdigest() in str(info.etag) else ""
    )


def _digest(path: Below) -> str:
    with path.read() as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
