"""Stores in memory for tests: objects, and a bucket with the methods of a manager."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Literal, NamedTuple, TypeVar

from apm_s3._s3_responses import s3_error
from apm_s3.errors import ApmS3Error, ObjectTooLarge, S3Error
from apm_s3.models import FileInfo, FileVersion

Verb = Literal["copy", "delete", "head", "list", "list_folders", "put", "read", "versions"]
"""The requests that a `ConfigStore` makes."""


T = TypeVar("T")


@dataclass(slots=True)
class _Rule:
    verb: str
    error: ApmS3Error
    key: str
    times: int | None
    carried_out: bool

    def applies(self, verb: str, key: str) -> bool:
        return self.times != 0 and verb == self.verb and key.endswith(self.key)


class MemoryObjects:
    """An in-memory bucket with S3's consistency and conditions: only what a `ConfigStore` needs.

        store = ConfigStore(objects := MemoryObjects())
        objects.will_fail("put", Throttled("slow down", status=503), key="current.json")

    Attributes:
        now: the server's clock, Unix seconds; it changes only when a test sets it. None: this machine's clock.
    """

    def __init__(self, bucket: str = "memory", *, now: float | None = None) -> None:
        self.bucket: str = bucket
        self.now: float | None = now
        self._state = MemoryBucket(bucket, lambda: time() if self.now is None else self.now)
        self._rules: list[_Rule] = []

    @property
    def objects(self) -> dict[str, tuple[FileInfo, bytes]]:
        """Return the stored information and bytes by key. Tests may inspect and damage it."""
        return self._state.objects

    @objects.setter
    def objects(self, objects: dict[str, tuple[FileInfo, bytes]]) -> None:
        self._state.objects = objects

    def will_fail(
        self, verb: Verb, error: ApmS3Error, *, key: str = "", times: int | None = 1, carried_out: bool = False
    ) -> None:
        """Make requests fail.

        Args:
            verb: the kind of request.
            key: only requests whose key, or listing prefix, ends with this; for a deletion, its first key counts.
            times: the number of requests; None means all from now on.
            carried_out: whether the request is carried out anyway, as when only the response is lost.
        """
        self._rules.append(_Rule(verb, error, key, times, carried_out))

    async def read(
        self, key: str, *, if_none_match: str | None = None, version_id: str | None = None, limit: int | None = None
    ) -> tuple[FileInfo, bytes]:
        """GET."""
        self._arrive("read", key)
        return self._state.get(key, if_none_match=if_none_match, version_id=version_id, limit=limit)

    async def head(self, key: str) -> FileInfo:
        """HEAD."""
        self._arrive("head", key)
        return self._state.head(key)

    async def put(
        self,
        key: str,
        body: bytes,
        *,
        if_match: str | None = None,
        create: bool = False,
        hashed: bool = False,  # noqa: ARG002 - the interface's
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retain_until: datetime | None = None,  # noqa: ARG002 - the interface's
        timeout: float | None = None,  # noqa: ARG002 - the interface's
    ) -> FileInfo:
        """PUT, with its conditions."""
        lost = self._arrive("put", key)
        info = self._state.put(
            key, body, if_match=if_match, create=create, content_type=content_type, metadata=metadata
        )
        return _answered(info, lost)

    async def copy(self, source_key: str, key: str) -> FileInfo:
        """CopyObject onto a new key."""
        lost = self._arrive("copy", key)
        return _answered(self._state.copy(source_key, key), lost)

    async def delete(self, keys: Sequence[str]) -> None:
        """DeleteObjects."""
        lost = self._arrive("delete", keys[0] if keys else "")
        self._state.delete(keys)
        if lost is not None:
            raise lost

    async def list(self, prefix: str, *, start_after: str | None = None) -> AsyncGenerator[FileInfo, None]:
        """ListObjectsV2, all pages."""
        self._arrive("list", prefix)
        for info in self._state.listed(prefix, start_after):
            if info.key in self._state.objects:
                yield info

    async def list_folders(self, prefix: str) -> AsyncGenerator[str, None]:
        """ListObjectsV2 with the delimiter '/'."""
        self._arrive("list_folders", prefix)
        for name in self._state.folders(prefix):
            yield name

    async def versions(self, key: str) -> AsyncGenerator[FileVersion, None]:
        """ListObjectVersions of one key."""
        self._arrive("versions", key)
        for version in self._state.versions(key):
            yield version

    def _arrive(self, verb: Verb, key: str) -> ApmS3Error | None:
        """Return the error that replaces the response, if any.

        Raises:
            ApmS3Error: a rule says that the request fails without being carried out.
        """
        for rule in self._rules:
            if rule.applies(verb, key):
                rule.times = None if rule.times is None else rule.times - 1
                if not rule.carried_out:
                    raise rule.error
                return rule.error
        return None


def _answered(result: T, lost: ApmS3Error | None) -> T:
    if lost is not None:
        raise lost
    return result


class Stored(NamedTuple):
    """One version of an object."""

    info: FileInfo
    body: bytes


class MemoryBucket:
    """One bucket, with S3's consistency, conditions and versions.

    Args:
        clock: the server's clock, Unix seconds.

    Attributes:
        objects: the stored information and bytes by key. Tests may inspect and damage it.
        history: every version of each key, oldest first.
        observers: called with (key, body) after each PUT that took effect.
    """

    def __init__(self, name: str = "memory", clock: Callable[[], float] = time) -> None:
        self.name: str = name
        self.clock: Callable[[], float] = clock
        self.objects: dict[str, tuple[FileInfo, bytes]] = {}
        self.history: dict[str, list[tuple[FileInfo, bytes]]] = {}
        self.observers: list[Callable[[str, bytes], None]] = []
        self._ids = itertools.count(1)

    def get(
        self, key: str, *, if_none_match: str | None = None, version_id: str | None = None, limit: int | None = None
    ) -> tuple[FileInfo, bytes]:
        """GET."""
        if version_id is None:
            info, body = self._found("read", key)
        else:
            kept = [found for found in self.history.get(key, []) if found[0].version_id == version_id]
            if not kept:
                raise self.error("read", key, 404, "NoSuchVersion")
            info, body = kept[0]
        if if_none_match == info.etag:
            raise self.error("read", key, 304, "NotModified")
        if limit is not None and info.size > limit:
            raise ObjectTooLarge(size=info.size, limit=limit, bucket=self.name, key=key)
        return info._replace(server_time=self.clock()), body

    def head(self, key: str) -> FileInfo:
        """HEAD."""
        return self._found("head", key)[0]._replace(server_time=self.clock())

    def put(
        self,
        key: str,
        body: bytes,
        *,
        if_match: str | None = None,
        create: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        etag: str | None = None,
    ) -> FileInfo:
        """PUT, with its conditions. `etag` is the ETag of a multipart upload."""
        present = self.objects.get(key)
        if create and present is not None:
            raise self.error("put", key, 412, "PreconditionFailed")
        if if_match is not None and present is None:
            raise self.error("put", key, 404, "NoSuchKey")
        if if_match is not None and present is not None and present[0].etag != if_match:
            raise self.error("put", key, 412, "PreconditionFailed")
        now = self.clock()
        info = FileInfo(
            bucket=self.name,
            key=key,
            size=len(body),
            etag=etag or f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"',
            version_id=str(next(self._ids)),
            last_modified=datetime.fromtimestamp(now, UTC),
            content_type=content_type,
            metadata=dict(metadata or {}),
            server_time=now,
        )
        self.objects[key] = stored = Stored(info, body)
        self.history.setdefault(key, []).append(stored)
        for observer in self.observers:
            observer(key, body)
        return info

    def copy(self, source_key: str, key: str) -> FileInfo:
        """CopyObject onto a new key."""
        info, body = self._found("copy", source_key)
        return self.put(key, body, create=True, content_type=info.content_type, metadata=info.metadata)

    def delete(self, keys: Iterable[str]) -> None:
        """DeleteObjects."""
        for key in keys:
            self.objects.pop(key, None)

    def listed(self, prefix: str, start_after: str | None = None) -> list[FileInfo]:
        """ListObjectsV2, all pages."""
        keys = sorted(key for key in self.objects if key.startswith(prefix) and (start_after or "") < key)
        return [self.objects[key][0]._replace(metadata=None) for key in keys]

    def folders(self, prefix: str) -> list[str]:
        """ListObjectsV2 with the delimiter '/': the names directly under `prefix`."""
        rests = (key[len(prefix) :] for key in self.objects if key.startswith(prefix))
        return sorted({rest.partition("/")[0] for rest in rests if "/" in rest})

    def versions(self, key: str) -> list[FileVersion]:
        """ListObjectVersions of one key, newest first."""
        present = self.objects.get(key)
        return [
            FileVersion(
                key=key,
                version_id=info.version_id or "",
                is_latest=present is not None and present[0].version_id == info.version_id,
                is_delete_marker=False,
                size=info.size,
                etag=info.etag,
                last_modified=info.last_modified,
            )
            for info, _ in reversed(self.history.get(key, []))
        ]

    def error(self, operation: str, key: str, status: int, s3_code: str, message: str = "") -> S3Error:
        """Create the error that a caller gets for S3's error response."""
        return s3_error(
            operation=operation,
            status=status,
            s3_code=s3_code,
            message=message,
            bucket=self.name,
            key=key,
            server_time=self.clock(),
        )

    def _found(self, operation: str, key: str) -> tuple[FileInfo, bytes]:
        if key not in self.objects:
            raise self.error(operation, key, 404, "NoSuchKey")
        return self.objects[key]
