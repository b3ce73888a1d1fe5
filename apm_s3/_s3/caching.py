"""Connects a manager's cache with its requests: writes that invalidate, and how long reads are cached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from apm_s3._cache import Cache, Group, Policy, object_group
from apm_s3.errors import BucketNotFound, ObjectNotFound

if TYPE_CHECKING:
    from apm_s3._s3.transports.base import ObjectTransport
    from apm_s3.models import BucketDetails, BucketInfo, DeleteOutcome, DeleteReport, FileInfo
    from apm_s3.models._objects import PartInfo, Stream
    from apm_s3.options import CopyOptions, DeleteOptions, UploadOptions
    from apm_s3.settings import CacheSettings

BUCKET_LISTS: Group = ("buckets", "", "")
"""The cache group of all lists of buckets."""

_LISTED_BYTES, _DETAILS_BYTES, _INFO_BYTES = 300, 4000, 700
"""Approximate sizes in CPython of a listed bucket, a bucket's details and a `FileInfo`."""


def bucket_group(bucket: str) -> Group:
    """Return the cache group of a bucket's settings."""
    return "bucket", bucket, ""


class Policies(NamedTuple):
    """How long mutable data is cached, by kind."""

    lists: Policy[tuple[BucketInfo, ...]]
    details: Policy[BucketDetails]
    bodies: Policy[tuple[FileInfo, bytes]]
    infos: Policy[FileInfo]

    @classmethod
    def of(cls, settings: CacheSettings) -> Policies:
        """Return the policies for a manager's settings."""
        stale = settings.stale_if_error
        return cls(
            Policy(cost=_listed, ttl=settings.ttl, stale_if_error=stale),
            Policy(
                cost=lambda _: _DETAILS_BYTES,
                ttl=settings.ttl,
                stale_if_error=stale,
                absent=(BucketNotFound,),
                negative_ttl=settings.negative_ttl,
            ),
            Policy(
                cost=lambda read: _INFO_BYTES + len(read[1]),
                ttl=settings.ttl,
                keep=settings.ttl,  # to be confirmed by its ETag
                absent=(ObjectNotFound,),
                negative_ttl=settings.negative_ttl,
                max_cost=_INFO_BYTES + settings.max_object,
            ),
            Policy(
                cost=lambda _: _INFO_BYTES,
                ttl=settings.ttl,
                stale_if_error=stale,
                absent=(ObjectNotFound,),
                negative_ttl=settings.negative_ttl,
            ),
        )


def _listed(found: tuple[BucketInfo, ...]) -> int:
    return sum(_LISTED_BYTES + (_DETAILS_BYTES if bucket.details else 0) for bucket in found)


class InvalidatingTransport:
    """A transport whose writes invalidate the cache: every verb that can change what a read returns is a method here.

    A write invalidates after it has ended, because a read that starts in between may still get the old object. It does
    so even if it failed or was cancelled: without a response, nobody knows whether S3 has carried it out. Such a
    request may even arrive after its call has ended; then, like a write of another process, it becomes visible after
    the TTL. For this reason stores confirm a reference document by its ETag before they build on it.

    The other verbs are those of the transport itself, so that reads cost nothing here. The parts of an upload are among
    them: nobody sees them before `complete_upload`.
    """

    def __init__(self, inner: ObjectTransport, cache: Cache) -> None:
        self._inner = inner
        self._cache = cache
        self.read = inner.read
        self.open = inner.open
        self.head = inner.head
        self.tags = inner.tags
        self.object_lock = inner.object_lock
        self.server_name = inner.server_name
        self.streams = inner.streams
        self.list_files = inner.list_files
        self.fetch_files = inner.fetch_files
        self.list_versions = inner.list_versions
        self.create_upload = inner.create_upload
        self.upload_part = inner.upload_part
        self.copy_part = inner.copy_part
        self.abort_upload = inner.abort_upload
        self.list_parts = inner.list_parts
        self.list_uploads = inner.list_uploads
        self.presign = inner.presign
        self.recover = inner.recover
        self.aclose = inner.aclose

    async def put(self, bucket: str, key: str, body: bytes | Stream, options: UploadOptions) -> FileInfo:
        try:
            return await self._inner.put(bucket, key, body, options)
        finally:
            self._cache.forget(object_group(bucket, key))

    async def delete(self, bucket: str, key: str, options: DeleteOptions) -> DeleteOutcome:
        try:
            return await self._inner.delete(bucket, key, options)
        finally:
            self._cache.forget(object_group(bucket, key))

    async def delete_many(
        self, bucket: str, keys: Sequence[tuple[str, str | None]], options: DeleteOptions
    ) -> DeleteReport:
        try:
            return await self._inner.delete_many(bucket, keys, options)
        finally:
            for key, _ in keys:
                self._cache.forget(object_group(bucket, key))

    async def copy(self, source_bucket: str, source_key: str, bucket: str, key: str, options: CopyOptions) -> FileInfo:
        try:
            return await self._inner.copy(source_bucket, source_key, bucket, key, options)
        finally:
            self._cache.forget(object_group(bucket, key))

    async def complete_upload(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[PartInfo], options: UploadOptions
    ) -> FileInfo:
        try:
            return await self._inner.complete_upload(bucket, key, upload_id, parts, options)
        finally:
            self._cache.forget(object_group(bucket, key))


def forget_after(cache: Cache, method: str, bucket: str | None) -> None:
    """Remove what a finished call of the control plane may have changed."""
    if method.startswith(("get_", "list_", "head_")):
        return
    cache.forget(BUCKET_LISTS)
    if bucket is not None:
        cache.forget(bucket_group(bucket))
        if method == "delete_bucket":
            cache.forget_bucket(bucket)
