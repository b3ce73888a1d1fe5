"""Helpers for tests, of this library and of programs that use it: a bucket in memory."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from time import time

from apm_s3._s3_answers import s3_error
from apm_s3.errors import ObjectTooLarge, S3Error
from apm_s3.models import FileInfo, FileVersion


class MemoryObjects:
    """A bucket in memory with S3's consistency and conditions: what a `ConfigStore` needs, and nothing else.

    Attributes:
        objects: what is stored: information and bytes by key. Tests may look at it and damage it.
        now: the server's clock, Unix seconds; it stands still unless a test sets it. None: this machine's.
    """

    def __init__(self, bucket: str = "memory", *, now: float | None = None) -> None:
        self.bucket = bucket
        self.now = now
        self.objects: dict[str, tuple[FileInfo, bytes]] = {}
        self._history: dict[str, list[tuple[FileInfo, bytes]]] = {}
        self._ids = itertools.count(1)

    async def read(
        self,
        key: str,
        *,
        if_none_match: str | None = None,
        version_id: str | None = None,
        limit: int | None = None,
    ) -> tuple[FileInfo, bytes]:
        """GET."""
        if version_id is None:
            info, body = self._get("read", key)
        else:
            kept = [found for found in self._history.get(key, []) if found[0].version_id == version_id]
            if not kept:
                raise self._error("read", key, 404, "NoSuchVersion")
            info, body = kept[0]
        if if_none_match == info.etag:
            raise self._error("read", key, 304, "NotModified")
        if limit is not None and info.size > limit:
            raise ObjectTooLarge(size=info.size, limit=limit, bucket=self.bucket, key=key)
        return info._replace(server_time=self._time()), body

    async def head(self, key: str) -> FileInfo:
        """HEAD."""
        info, _ = self._get("head", key)
        return info._replace(server_time=self._time())

    async def put(
        self,
        key: str,
        body: bytes,
        *,
        if_match: str | None = None,
        create: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retain_until: datetime | None = None,  # noqa: ARG002 - the interface's
        timeout: float | None = None,  # noqa: ARG002 - the interface's
    ) -> FileInfo:
        """PUT, with its conditions."""
        present = self.objects.get(key)
        if create and present is not None:
            raise self._error("put", key, 412, "PreconditionFailed")
        if if_match is not None and present is None:
            raise self._error("put", key, 404, "NoSuchKey")
        if if_match is not None and present is not None and present[0].etag != if_match:
            raise self._error("put", key, 412, "PreconditionFailed")
        now = self._time()
        info = FileInfo(
            bucket=self.bucket,
            key=key,
            size=len(body),
            etag=f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"',
            version_id=str(next(self._ids)),
            last_modified=datetime.fromtimestamp(now, UTC),
            content_type=content_type,
            metadata=dict(metadata or {}),
            server_time=now,
        )
        self.objects[key] = info, body
        self._history.setdefault(key, []).append((info, body))
        return info

    async def copy(self, source_key: str, key: str) -> FileInfo:
        """CopyObject onto a new key."""
        info, body = self._get("copy", source_key)
        return await self.put(key, body, create=True, content_type=info.content_type, metadata=info.metadata)

    async def delete(self, keys: Sequence[str]) -> None:
        """DeleteObjects."""
        for key in keys:
            self.objects.pop(key, None)

    async def list(self, prefix: str, *, start_after: str | None = None) -> AsyncGenerator[FileInfo, None]:
        """ListObjectsV2, all pages."""
        for key in sorted(self.objects):
            if key.startswith(prefix) and (start_after is None or key > start_after) and key in self.objects:
                yield self.objects[key][0]._replace(metadata=None)

    async def list_folders(self, prefix: str) -> AsyncGenerator[str, None]:
        """ListObjectsV2 with the delimiter '/'."""
        rests = (key[len(prefix) :] for key in self.objects if key.startswith(prefix))
        for name in sorted({rest.partition("/")[0] for rest in rests if "/" in rest}):
            yield name

    async def versions(self, key: str) -> AsyncGenerator[FileVersion, None]:
        """ListObjectVersions of one key."""
        present = self.objects.get(key)
        for info, _ in reversed(self._history.get(key, [])):
            yield FileVersion(
                key=key,
                version_id=info.version_id or "",
                is_latest=present is not None and present[0].version_id == info.version_id,
                is_delete_marker=False,
                size=info.size,
                etag=info.etag,
                last_modified=info.last_modified,
            )

    def _get(self, operation: str, key: str) -> tuple[FileInfo, bytes]:
        if key not in self.objects:
            raise self._error(operation, key, 404, "NoSuchKey")
        return self.objects[key]

    def _time(self) -> float:
        return time() if self.now is None else self.now

    def _error(self, operation: str, key: str, status: int, s3_code: str) -> S3Error:
        return s3_error(
            operation=operation,
            status=status,
            s3_code=s3_code,
            bucket=self.bucket,
            key=key,
            server_time=self._time(),
        )
