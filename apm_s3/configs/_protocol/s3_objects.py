"""Adapts a bucket of an `S3Manager` to the object store interface that configurations use."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager, suppress
from typing import Any, Protocol, Unpack, cast

from apm_s3._paging import ListingProgress
from apm_s3._s3_responses import s3_error
from apm_s3._tools import TOOLS
from apm_s3.configs._protocol import objects
from apm_s3.configs._protocol.objects import PutOptions
from apm_s3.errors import ApmS3Error, BatchError, IntegrityError, ObjectTooLarge
from apm_s3.events import labels
from apm_s3.models import DeleteReport, FileInfo, FileVersion, ListPage
from apm_s3.options import CopyOptions, DeleteOptions, ReadOptions, UploadOptions
from apm_s3.options._writes import HashedUpload, NewNameCopy

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

    async def read(self, key: str, **options: Unpack[objects.ReadOptions]) -> tuple[FileInfo, bytes]:
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
