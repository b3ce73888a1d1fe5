"""Connects a manager's cache with its requests: writes that invalidate, and how long reads are cached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from apm_s3._cache import Cache, Policy
from apm_s3.errors import BucketNotFound, ObjectNotFound

if TYPE_CHECKING:
    from apm_s3._s3.transports.base import ObjectTransport
    from apm_s3.models import BucketDetails, BucketInfo, DeleteOutcome, DeleteReport, FileInfo
    from apm_s3.models._objects import PartInfo, Stream
    from apm_s3.options import CopyOptions, DeleteOptions, UploadOptions
    from apm_s3.settings import CacheSettings

BUCKET_LISTS = ("buckets", "", "")
"""The cache group of all lists of buckets."""

_LISTED_BYTES, _DETAILS_BYTES, _INFO_BYTES = 300, 4000, 700
"""Approximate sizes in CPython of a listed bucket, a bucket's details and a `FileInfo`."""


def object_group(bucket: str, key: str) -> tuple[str, str, str]:
    """Return the cache group of an object."""
    return "object", bucket, key


def bucket_group(bucket: str) -> tuple[str, str, str]:
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
    """A transport whose writes invalidate the cache, whether they succeed or not.

    A request that is still in flight after its call has ended may arrive later: like a write of another process, it
    becomes visible after the TTL.
    """

    def __init__(self, inner: ObjectTransport, cache: Cache) -> None:
        self._inner = inner
        self._forget = cache.forget

    def __getattr__(self, name: str) -> Any:
        # Resolved once per verb that does not write.
        verb = getattr(self._inner, name)
        setattr(self, name, verb)
        return verb

    async def put(self, bucket: str, key: str, body: bytes | Stream, options: UploadOptions) -> FileInfo:
        try:
            return await self._inner.put(bucket, key, body, options)
        finally:
            self._forget(("object", bucket, key))

    async def delete(self, bucket: str, key: str, options: DeleteOptions) -> DeleteOutcome:
        try:
            return await self._inner.delete(bucket, key, options)
        finally:
            self._forget(("object", bucket, key))

    async def delete_many(
        self, bucket: str, keys: Sequence[tuple[str, str | None]], options: DeleteOptions
    ) -> DeleteReport:
        try:
            return await self._inner.delete_many(bucket, keys, options)
        finally:
            for key, _ in keys:
                self._forget(("object", bucket, key))

    async def copy(self, source_bucket: str, source_key: str, bucket: str, key: str, options: CopyOptions) -> FileInfo:
        try:
            return await self._inner.copy(source_bucket, source_key, bucket, key, options)
        finally:
            self._forget(("object", bucket, key))

    async def complete_upload(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[PartInfo], options: UploadOptions
    ) -> FileInfo:
        try:
            return await self._inner.complete_upload(bucket, key, upload_id, parts, options)
        finally:
            self._forget(("object", bucket, key))


def invalidating(inner: ObjectTransport, cache: Cache) -> ObjectTransport:
    """Wrap `inner`, so that its writes invalidate the cache."""
    return cast("ObjectTransport", InvalidatingTransport(inner, cache))


def forget_after(cache: Cache, method: str, bucket: str | None) -> None:
    """Remove what a finished call of the control plane may have changed."""
    if method.startswith(("get_", "list_", "head_")):
        return
    cache.forget(BUCKET_LISTS)
    if bucket is not None:
        cache.forget(bucket_group(bucket))
        if method == "delete_bucket":
            cache.forget_bucket(bucket)
