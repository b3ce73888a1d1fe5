"""The narrow object store that configurations stand on, and the one over S3Manager's operations.

It must provide read-after-write consistency, and PUT with If-Match and If-None-Match.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager, suppress
from datetime import datetime
from typing import Any, Protocol, TypedDict, Unpack, cast

from apm_s3._paging import ListingProgress
from apm_s3._s3_responses import s3_error
from apm_s3._tools import TOOLS
from apm_s3.errors import ApmS3Error, BatchError, IntegrityError, ObjectTooLarge
from apm_s3.events import labels
from apm_s3.models import DeleteReport, FileInfo, FileVersion, ListPage
from apm_s3.options import CopyOptions, DeleteOptions, ReadOptions, UploadOptions
from apm_s3.options._writes import HashedUpload, NewNameCopy


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


class ReadArguments(TypedDict, total=False):
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

    async def read(self, key: str, **options: Unpack[ReadArguments]) -> tuple[FileInfo, bytes]:
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

    async def read(self, key: str, **options: Unpack[ReadArguments]) -> tuple[FileInfo, bytes]:
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


_PLACE = re.compile(rf"(?:.*/)?(?:configs|live|backups)/([^/]+)/(?:({'|'.join(TOOLS)})/)?")

_TRIES = 3
"""How often an object is read whose bytes are damaged, or that is replaced while it is read."""


class Manager(Protocol):
    """The methods of `S3Manager` that a store needs."""

    def download_file(self, bucket: str, key: str, options: ReadOptions | None = None) -> Any:
        """Stream an object."""

    async def head_file(
        self, bucket: str, key: str, options: ReadOptions | None = None, *, refresh: bool = False
    ) -> FileInfo:
        """Return information about an object; `refresh` bypasses the cache."""

    async def upload_file(self, bucket: str, key: str, source: bytes, options: UploadOptions | None = None) -> FileInfo:
        """Store an object."""

    async def copy_file(
        self, source_bucket: str, source_key: str, bucket: str, key: str, options: CopyOptions | None = None
    ) -> FileInfo:
        """Copy an object within S3."""

    async def delete_files(
        self, bucket: str, keys: Sequence[str], options: DeleteOptions | None = None
    ) -> DeleteReport:
        """Delete many objects."""

    async def list_files(
        self,
        bucket: str,
        prefix: str = "",
        *,
        delimiter: str | None = None,
        token: str | None = None,
        expected_bucket_owner: str | None = None,
    ) -> ListPage:
        """Return one page of objects."""

    def iter_files(
        self,
        bucket: str,
        prefix: str = "",
        *,
        start_after: str | None = None,
        expected_bucket_owner: str | None = None,
    ) -> AsyncIterator[FileInfo]:
        """Iterate over all objects under a prefix."""

    def iter_versions(
        self, bucket: str, prefix: str = "", *, expected_bucket_owner: str | None = None
    ) -> AsyncIterator[FileVersion]:
        """Iterate over all versions under a prefix."""


class S3Objects:
    """The `ObjectStore` of one bucket of an `S3Manager`.

    Args:
        expected_bucket_owner: the account that must own the bucket; otherwise S3 refuses every request.
    """

    def __init__(self, s3: Manager, bucket: str, expected_bucket_owner: str | None = None) -> None:
        self._s3 = s3
        self._owner = expected_bucket_owner
        self.bucket = bucket

    async def read(self, key: str, **options: Unpack[ReadArguments]) -> tuple[FileInfo, bytes]:
        limit = options.get("limit")
        read = ReadOptions(
            if_none_match=options.get("if_none_match"),
            version_id=options.get("version_id"),
            expected_bucket_owner=self._owner,
        )
        for _ in range(_TRIES - 1):
            # What came is damaged or, after a broken connection, the object was replaced.
            with suppress(IntegrityError):
                return await self._read(key, read, limit)
        return await self._read(key, read, limit)

    async def _read(self, key: str, options: ReadOptions, limit: int | None) -> tuple[FileInfo, bytes]:
        with _labelled(key), _reading():
            async with self._s3.download_file(self.bucket, key, options) as download:
                info: FileInfo = download.info
                if limit is not None and info.size > limit:
                    raise ObjectTooLarge(size=info.size, limit=limit, bucket=self.bucket, key=key)
                body: bytes = await download.read()
        return info, body

    async def head(self, key: str) -> FileInfo:
        with _labelled(key), _reading():
            # With `CacheSettings.objects`, this would be cached, and what is found here decides about writes.
            options = ReadOptions(expected_bucket_owner=self._owner)
            return await self._s3.head_file(self.bucket, key, options, refresh=True)

    async def put(self, key: str, body: bytes, **options: Unpack[PutOptions]) -> FileInfo:
        retain_until = options.get("retain_until")
        upload = (HashedUpload if options.get("hashed") else UploadOptions)(
            if_match=options.get("if_match"),
            if_none_match="*" if options.get("create") else None,
            content_type=options.get("content_type"),
            metadata=options.get("metadata") or {},
            object_lock_mode=None if retain_until is None else "GOVERNANCE",
            retain_until=retain_until,
            timeout=options.get("timeout"),
            expected_bucket_owner=self._owner,
        )
        with _labelled(key):
            return await self._s3.upload_file(self.bucket, key, body, upload)

    async def copy(self, source_key: str, key: str) -> FileInfo:
        options = NewNameCopy(
            if_none_match="*", expected_bucket_owner=self._owner, expected_source_bucket_owner=self._owner
        )
        with _labelled(key):
            return await self._s3.copy_file(self.bucket, source_key, self.bucket, key, options)

    async def delete(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        report = await self._s3.delete_files(self.bucket, keys, DeleteOptions(expected_bucket_owner=self._owner))
        if not report.ok:
            failures = {
                failure.key: s3_error(
                    operation="delete_files",
                    status=0,
                    s3_code=failure.s3_code,
                    message=failure.message,
                    bucket=self.bucket,
                    key=failure.key,
                )
                for failure in report.failed
            }
            raise BatchError(
                f"{len(failures)} of {len(keys)} objects could not be deleted, such as '{report.failed[0].key}'",
                failures=dict(failures),
                operation="delete_files",
                bucket=self.bucket,
                hint="the others are gone; do it again",
            )

    async def list(self, prefix: str, *, start_after: str | None = None) -> AsyncGenerator[FileInfo, None]:
        files = self._s3.iter_files(self.bucket, prefix, start_after=start_after, expected_bucket_owner=self._owner)
        async with aclosing(cast("AsyncGenerator[FileInfo, None]", files)) as listing:
            with _reading():
                async for info in listing:
                    yield info

    async def list_folders(self, prefix: str) -> AsyncGenerator[str, None]:
        token = None
        progress = ListingProgress("list_files", self.bucket)
        while True:
            with _reading():
                page = await self._s3.list_files(
                    self.bucket, prefix, delimiter="/", token=token, expected_bucket_owner=self._owner
                )
            token = page.next_token
            progress.check(token, page.prefixes[0] if page.prefixes else None)
            for folder in page.prefixes:
                yield folder.removeprefix(prefix).rstrip("/")
            if token is None:
                return

    async def versions(self, key: str) -> AsyncGenerator[FileVersion, None]:
        versions = self._s3.iter_versions(self.bucket, key, expected_bucket_owner=self._owner)
        async with aclosing(cast("AsyncGenerator[FileVersion, None]", versions)) as listing:
            with _reading():
                async for version in listing:
                    if version.key == key:
                        yield version


@contextmanager
def _reading() -> Iterator[None]:
    """Say of the errors inside that nothing was changed, whatever else their kinds leave open."""
    try:
        yield
    except ApmS3Error as error:
        error.changed_nothing = True
        raise


def _labelled(key: str) -> AbstractContextManager[None]:
    """Add the environment and the tool of `key` to the events of a request."""
    match = _PLACE.match(key)
    return labels(environment=match[1], tool=match[2]) if match else labels()
