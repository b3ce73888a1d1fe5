"""The narrow object store interface that configurations use, so that everything can be tested in memory.

It must provide read-after-write consistency, and PUT with If-Match and If-None-Match.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Protocol, TypedDict, Unpack

from apm_s3.errors import ApmS3Error, BatchError
from apm_s3.models import FileInfo, FileVersion


class PutOptions(TypedDict, total=False):
    """How an object is stored.

    Attributes:
        if_match: replace only the object with this ETag.
        create: never replace (`If-None-Match: *`).
        hashed: readers verify it by a stored hash, so that this write need not wait until the server's support for
            checksums is known. Its `if_match` is sent with or without quotes, as given.
        retain_until: lock it (object lock, GOVERNANCE) until then.
        timeout: seconds for the whole call.
    """

    if_match: str | None
    create: bool
    hashed: bool
    content_type: str | None
    metadata: Mapping[str, str] | None
    retain_until: datetime | None
    timeout: float | None


class ReadOptions(TypedDict, total=False):
    """Options of a read.

    Attributes:
        if_none_match: return the object only if it has another ETag.
        version_id: read this version of the object.
        limit: maximum size in bytes.
    """

    if_none_match: str | None
    version_id: str | None
    limit: int | None


class ObjectStore(Protocol):
    """One bucket. Every error is one of `apm_s3.errors`; ETags are opaque; times are the server's.

    A call may send a request several times. `may_have_happened` of its error then covers all of them.
    """

    @property
    def bucket(self) -> str:
        """Return the bucket's name."""

    async def read(self, key: str, **options: Unpack[ReadOptions]) -> tuple[FileInfo, bytes]:
        """Read the object, bypassing every cache, with its ETag, metadata and the server's time.

        Raises:
            ObjectNotFound: the key does not exist.
            ObjectTooLarge: it is larger than `limit`; it was not read.
            NotModified: `if_none_match` is still its ETag.
        """

    async def head(self, key: str) -> FileInfo:
        """Read the object's information, without its body.

        Raises:
            ObjectNotFound: the key does not exist.
        """

    async def put(self, key: str, body: bytes, **options: Unpack[PutOptions]) -> FileInfo:
        """Store `body`.

        Raises:
            PreconditionFailed: the condition did not hold.
            ObjectNotFound: `if_match` was given and the key does not exist (some servers return PreconditionFailed).
        """

    async def copy(self, source_key: str, key: str) -> FileInfo:
        """Copy within the bucket, to a key that does not exist yet (`If-None-Match: *`)."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete all `keys`; missing ones count as deleted.

        Raises:
            BatchError: some could not be deleted; the others were.
        """

    def list(self, prefix: str, *, start_after: str | None = None) -> AsyncGenerator[FileInfo, None]:
        """List all objects under `prefix` in key order, with `last_modified`, page by page."""

    def list_folders(self, prefix: str) -> AsyncGenerator[str, None]:
        """List the folders directly under `prefix` (with the delimiter '/')."""

    def versions(self, key: str) -> AsyncGenerator[FileVersion, None]:
        """List the versions of one key, newest first; a single one if the bucket is not versioned."""


def server_time(info: FileInfo) -> float:
    """Return the server's time at the response, Unix seconds; this machine's if the server sent no `Date`."""
    return time.time() if info.server_time is None else info.server_time


async def delete_what_can_be(objects: ObjectStore, keys: Sequence[str]) -> dict[str, str]:
    """Delete `keys`, and return those that object lock or a policy protects, with the reasons.

    Raises:
        ApmS3Error: the whole request was refused, or the error is transient.
    """
    if not keys:
        return {}
    try:
        await objects.delete(keys)
    except BatchError as exc:
        kept = {key: error for key, error in exc.failures.items() if isinstance(error, ApmS3Error)}
        if len(kept) < len(exc.failures) or any(error.retryable for error in kept.values()):
            raise
        return {key: error.problem for key, error in kept.items()}
    return {}


class Prefixed:
    """A store's part of a bucket: its keys are relative to `prefix`."""

    def __init__(self, objects: ObjectStore, prefix: str) -> None:
        self._objects = objects
        self._prefix = prefix
        self.bucket = objects.bucket

    async def read(self, key: str, **options: Unpack[ReadOptions]) -> tuple[FileInfo, bytes]:
        return await self._objects.read(self._prefix + key, **options)

    async def head(self, key: str) -> FileInfo:
        return await self._objects.head(self._prefix + key)

    async def put(self, key: str, body: bytes, **options: Unpack[PutOptions]) -> FileInfo:
        return await self._objects.put(self._prefix + key, body, **options)

    async def copy(self, source_key: str, key: str) -> FileInfo:
        return await self._objects.copy(self._prefix + source_key, self._prefix + key)

    async def delete(self, keys: Sequence[str]) -> None:
        try:
            await self._objects.delete([self._prefix + key for key in keys])
        except BatchError as exc:
            exc.failures = {str(key).removeprefix(self._prefix): error for key, error in exc.failures.items()}
            raise

    async def list(self, prefix: str, *, start_after: str | None = None) -> AsyncGenerator[FileInfo, None]:
        after = None if start_after is None else self._prefix + start_after
        async with aclosing(self._objects.list(self._prefix + prefix, start_after=after)) as listing:
            async for info in listing:
                yield info._replace(key=info.key.removeprefix(self._prefix))

    async def list_folders(self, prefix: str) -> AsyncGenerator[str, None]:
        async with aclosing(self._objects.list_folders(self._prefix + prefix)) as names:
            async for name in names:
                yield name

    async def versions(self, key: str) -> AsyncGenerator[FileVersion, None]:
        async with aclosing(self._objects.versions(self._prefix + key)) as versions:
            async for version in versions:
                yield version
