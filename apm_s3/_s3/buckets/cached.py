"""Bucket lists and details, cached if the manager's settings say so."""

from __future__ import annotations

from dataclasses import replace

from apm_s3._cache import Cache, Key
from apm_s3._s3.buckets.reads import BucketReads
from apm_s3._s3.buckets.requests import BucketRef
from apm_s3._s3.caching import BUCKET_LISTS, Policies, bucket_group
from apm_s3._tasks import run_all
from apm_s3.models import BucketDetails, BucketInfo

_DETAILS_AT_ONCE = 8


class CachedBuckets:
    """Reads buckets for `list_buckets` and `get_bucket`. Code that plans or changes a bucket does not use it."""

    def __init__(self, reads: BucketReads, cache: Cache, policies: Policies | None) -> None:
        self._reads = reads
        self._cache = cache
        self._policies = policies

    async def listed(self, prefix: str, region: str | None, *, details: bool, refresh: bool) -> tuple[BucketInfo, ...]:
        """List buckets, for `S3Manager.list_buckets`."""
        if self._policies is None:
            return await self._list(prefix, region, details)
        found = await self._cache.fetch(
            Key(BUCKET_LISTS, (prefix, region, details)),
            self._policies.lists,
            lambda _: self._list(prefix, region, details),
            refresh=refresh,
        )
        if found.stale_since is None:
            return found.value
        return tuple(replace(bucket, stale_since=found.stale_since) for bucket in found.value)

    async def details(self, ref: BucketRef, *, refresh: bool) -> BucketDetails:
        """Return a bucket with its settings, for `S3Manager.get_bucket`."""
        if self._policies is None:
            return await self._reads.get("get_bucket", ref)
        found = await self._cache.fetch(
            Key(bucket_group(ref.name), (ref.region, ref.owner)),
            self._policies.details,
            lambda _: self._reads.get("get_bucket", ref),
            refresh=refresh,
        )
        return found.value if found.stale_since is None else replace(found.value, stale_since=found.stale_since)

    async def _list(self, prefix: str, region: str | None, details: bool) -> tuple[BucketInfo, ...]:
        reads = self._reads
        found = await reads.list_all("list_buckets", prefix, region)
        if region is not None:
            # Servers that do not know the filter return all buckets, without their regions.
            located = await run_all([reads.located("list_buckets", one) for one in found], limit=_DETAILS_AT_ONCE)
            found = [bucket for bucket in located if bucket is not None and bucket.region == region]
        if details:
            detailed = await run_all([reads.detailed("list_buckets", one) for one in found], limit=_DETAILS_AT_ONCE)
            found = [bucket for bucket in detailed if bucket is not None]
        return tuple(found)
