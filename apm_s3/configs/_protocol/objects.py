"""The narrow object store on which configurations rest, so that all of it can be tested on memory.

What it must give: read-after-write consistency, and PUT that honours If-Match and If-None-Match.
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
        hashed: its readers check it against a hash that is stored with it or elsewhere, so that this write need not
            wait until it is known which checksums the server keeps.
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
    """What is read.

    Attributes:
        if_none_match: only an object with another ETag.
        version_id: that version of the object.
        limit: bytes that it may have.
    """

    if_none_match: str | None
    version_id: str | None
    limit: int | None


class ObjectStore(Protocol):
    """One bucket. Every error is one of `apm_s3.errors`; ETags are opaque; times are the server's.

    A call may send a request several times. Its error then tells by `may_have_happened` of all of them.
    """

    @property
    def bucket(self) -> str:
        """The bucket's name."""

    async def read(self, key: str, **options: Unpack[ReadOptions]) -> tuple[FileInfo, bytes]:
        """The object, past every cache, with its ETag, metadata and the server's time.

        Raises:
            ObjectNotFound: there is no such key.
            ObjectTooLarge: it has more bytes than `limit`; they were not read.
            NotModified: `if_none_match` is still its ETag.
        """

    async def head(self, key: str) -> FileInfo:
        """The object without its body.

        Raises:
            ObjectNotFound: there is no such key.
        """

    async def put(self, key: str, body: bytes, **options: Unpack[PutOptions]) -> FileInfo:
        """Store `body`.

        Raises:
            PreconditionFailed: the condition did not hold.
            ObjectNotFound: `if_match` was given and there is no such key (some servers say PreconditionFailed).
        """

    async def copy(self, source_key: str, key: str) -> FileInfo:
        """Copy inside the bucket, onto a key that does not exist yet (`If-None-Match: *`)."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete all of `keys`; those that are not there count as deleted.

        Raises:
            BatchError: some could not be deleted; the others are.
        """

    def list(self, prefix: str, *, start_after: str | None = None) -> AsyncGenerator[FileInfo, None]:
        """All objects under `prefix` in the order of their keys, with `last_modified`, page by page."""

    def list_folders(self, prefix: str) -> AsyncGenerator[str, None]:
        """The names right under `prefix` that have something below them (a listing by '/')."""

    def versions(self, key: str) -> AsyncGenerator[FileVersion, None]:
        """The versions of one key, newest first; a single one where the bucket keeps none."""


def server_time(info: FileInfo) -> float:
    """The server's clock at an answer, Unix seconds; this machine's where the server sent no `Date`."""
    return time.time() if info.server_time is None else info.server_time


async def delete_what_can_be(objects: ObjectStore, keys: Sequence[str]) -> dict[str, str]:
    """Delete `keys`; those that cannot be deleted, and why: object lock keeps them, or a policy forbids it.

    Raises:
        ApmS3Error: the whole request was refused, or something that may pass.
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
    """A store's part of a bucket: keys are relative to `prefix` on this side, whole on the other."""

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
