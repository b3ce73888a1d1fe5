"""Lists buckets, and reads them with all their settings, cached if the manager's settings say so."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from apm_s3._cache import Cache, Key
from apm_s3._paging import ListingProgress
from apm_s3._s3.buckets.requests import BucketRef, BucketRequests
from apm_s3._s3.buckets.settings import BucketSettings
from apm_s3._s3.caching import BUCKET_LISTS, Policies, bucket_group
from apm_s3._tasks import run_all
from apm_s3._wire.bucket_settings import SETTINGS
from apm_s3.errors import AccessDenied, BucketNotFound, IntegrityError
from apm_s3.models import BucketDetails, BucketInfo
from apm_s3.options._buckets import BucketOptions

_PAGE = 1000


class BucketReads:
    """Lists and reads buckets."""

    def __init__(self, requests: BucketRequests, settings: BucketSettings) -> None:
        self._requests = requests
        self._settings = settings

    async def list_all(self, operation: str, prefix: str, region: str | None) -> list[BucketInfo]:
        """Return the account's buckets, page by page."""
        found: list[BucketInfo] = []
        params: dict[str, Any] = {"MaxBuckets": _PAGE}
        if prefix:
            params["Prefix"] = prefix
        asked = region if region is not None and (await self._requests.endpoint(None)).is_aws else None
        if asked is not None:
            params["BucketRegion"] = asked
        progress = ListingProgress(operation, None)
        while True:
            # S3 accepts the filter only at the endpoint of that region.
            page = await self._requests.send(BucketRef(operation, "", asked), "list_buckets", **params)
            buckets = page.get("Buckets", ())
            if not all(entry.get("Name") for entry in buckets):
                raise IntegrityError("the response is not a document of S3: a bucket has no name", operation=operation)
            found += [
                BucketInfo(entry["Name"], entry.get("CreationDate"), entry.get("BucketRegion"))
                for entry in buckets
                # Servers that do not know the filter return all buckets.
                if entry["Name"].startswith(prefix)
            ]
            token = page.get("ContinuationToken")
            progress.check(token, buckets[0]["Name"] if buckets else None)
            if not token:
                return found
            params["ContinuationToken"] = token

    async def located(self, operation: str, bucket: BucketInfo) -> BucketInfo | None:
        """Add the bucket's region; None if it was deleted meanwhile."""
        if bucket.region is not None:
            return bucket
        ref = BucketRef(operation, bucket.name)
        head = await self._requests.head(ref)
        return None if head is None else replace(bucket, region=await self._region(ref, head))

    async def detailed(self, operation: str, bucket: BucketInfo) -> BucketInfo | None:
        """Add all of the bucket's settings; None if it was deleted meanwhile."""
        try:
            details = await self.get(BucketRef(operation, bucket.name, bucket.region), bucket)
        except BucketNotFound:
            return None
        return replace(bucket, region=details.region, details=details)

    async def _region(self, ref: BucketRef, head: Mapping[str, Any]) -> str:
        """Return the region from HeadBucket, or else from GetBucketLocation."""
        region: str | None = head.get("BucketRegion")
        if region is None:
            response = await self._requests.send(ref, "get_bucket_location")
            region = response.get("LocationConstraint")
        # The two oldest regions have other names there.
        return {None: "us-east-1", "": "us-east-1", "EU": "eu-west-1"}.get(region, region or "")

    async def _created(self, ref: BucketRef) -> datetime | None:
        try:
            found = await self.list_all(ref.operation, ref.name, None)
        except AccessDenied:
            return None
        return next((bucket.created for bucket in found if bucket.name == ref.name), None)

    async def get(self, ref: BucketRef, listed: BucketInfo | None = None) -> BucketDetails:
        """Return all settings of a bucket; `listed` is what a listing has already returned.

        Raises:
            BucketNotFound: it does not exist.
        """
        head = await self._requests.head(ref)
        if head is None:
            raise BucketNotFound(
                f"bucket '{ref.name}' does not exist", operation=ref.operation, bucket=ref.name, status=404
            )
        work: list[Coroutine[Any, Any, Any]] = [
            self._settings.read_many(ref, SETTINGS),
            self._region(ref, head),
        ]
        if listed is None:
            work.append(self._created(ref))
        (settings, missing), region, *dates = await run_all(work)
        return BucketDetails(
            ref.name,
            region,
            dates[0] if listed is None else listed.created,
            BucketOptions.of(setting for setting in settings.values() if setting is not None),
            missing,
        )


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
            return await self._reads.get(ref)
        found = await self._cache.fetch(
            Key(bucket_group(ref.name), (ref.region, ref.expected_bucket_owner)),
            self._policies.details,
            lambda _: self._reads.get(ref),
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
