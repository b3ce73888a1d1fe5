"""One side of a migration in S3: its cheapest requests, and what is known about its server."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from apm_s3._manager import S3Manager
from apm_s3._naming import EXPRESS
from apm_s3._s3.bulk.trees import S3Place
from apm_s3._s3.engine import Engine
from apm_s3._s3.objects.sources import stored_with
from apm_s3._wire.parts import Part
from apm_s3._wire.times import http_time
from apm_s3.errors import NotConfigured, NotFound, RequestRejected, S3Error, UnsupportedByServer
from apm_s3.models import FileInfo
from apm_s3.options import ReadOptions

T = TypeVar("T")

_TAG_COUNT = "x-amz-tagging-count"
_COUNT_TAGS = ("seaweedfs", "minio")
"""Servers, by their Server header, that report the number of tags in every response, as S3 does."""
_LOCK = "get_object_lock_configuration"


@dataclass(slots=True)
class Side:
    """A place in S3 and its manager.

    Attributes:
        is_aws: whether the server is S3 itself.
        url: the endpoint.
        counts_tags: whether responses report the number of tags; learned from the first one that does.
        locks: whether the bucket has object lock.
        unreadable: calls for bucket settings that were denied.
    """

    s3: S3Manager
    place: S3Place
    engine: Engine
    is_aws: bool
    url: str
    counts_tags: bool
    locks: bool = False
    unreadable: set[str] = field(default_factory=set)

    @property
    def ordered(self) -> bool | None:
        """Whether listings are in the order of keys; see `Listing`."""
        if self.place.bucket.endswith(EXPRESS):
            return False
        return True if self.is_aws else None

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("https:")

    def key(self, relative: str) -> str:
        """Return the full key of a relative key."""
        return self.place.prefix + relative

    async def head(self, key: str, version: str = "") -> FileInfo:
        """Send HEAD for a full key."""
        return await self.s3.head_file(self.place.bucket, key, ReadOptions(version_id=version or None), refresh=True)

    async def tags(self, info: FileInfo, version: str = "") -> Mapping[str, str]:
        """Return the tags of an object, with a request only if it may have some."""
        count = info.headers.get(_TAG_COUNT)
        if count is not None:
            self.counts_tags = True
        if count == "0" or (count is None and self.counts_tags):
            return {}
        return await self.s3.get_file_tags(
            info.bucket, info.key, ReadOptions(version_id=version or info.version_id or None)
        )

    async def digest(self, key: str, version: str = "") -> str:
        """Return the SHA-256 of the stored content in hex."""
        digest = hashlib.sha256()
        options = ReadOptions(version_id=version or None)
        async with self.s3.download_file(self.place.bucket, key, options) as download:
            await download.drain(digest.update)
        return digest.hexdigest()

    async def layout(self, key: str, info: FileInfo, version: str = "") -> tuple[Part, ...] | None:
        """Return the parts that an object was uploaded in, if all but the last have one size; None if unknown."""
        asked: dict[str, Any] = {"VersionId": version} if version else {}
        try:
            response = await self.engine.runner.run(
                "head_file",
                self.place.bucket,
                key,
                lambda: self.engine.control.call(
                    "head_object", Bucket=self.place.bucket, Key=key, PartNumber=1, **asked
                ),
            )
        except (RequestRejected, UnsupportedByServer):
            return None
        return parts_of(info.size, info.etag, int(response.get("ContentLength") or 0))

    async def setting(self, method: str, name: str) -> Any:
        """Return a bucket setting; empty if it is not set or may not be read (see `unreadable`)."""
        bucket = self.place.bucket
        response = await self.setting_of(method, lambda: self.engine.control.call(method, Bucket=bucket))
        return (response or {}).get(name) or {}

    async def setting_of(self, method: str, attempt: Callable[[], Awaitable[T]]) -> T | None:
        """Return what `attempt` reads; None if it is not set or may not be read."""
        try:
            return await self.engine.runner.run(method, self.place.bucket, None, attempt)
        except (NotConfigured, UnsupportedByServer):
            return None
        except NotFound:
            raise
        except S3Error:
            self.unreadable.add(method)
            return None


async def open_side(s3: S3Manager, place: S3Place) -> Side:
    """Open a side and find out about its server and bucket.

    Raises:
        BucketNotFound: there is no such bucket.
    """
    engine: Engine = s3._engine()  # noqa: SLF001 - migrations move objects by the verbs' own parts
    endpoint = await engine.control.endpoint()
    side = Side(s3, place, engine, endpoint.is_aws, endpoint.url, counts_tags=endpoint.is_aws)
    if not endpoint.is_aws:
        side.counts_tags = (await _product(engine, place.bucket)).startswith(_COUNT_TAGS)
    side.locks = bool(await side.setting_of(_LOCK, lambda: engine.transport.object_lock(place.bucket)))
    return side


async def _product(engine: Engine, bucket: str) -> str:
    """Return the server's name for itself; empty if the request fails, as later calls report that error better."""
    try:
        # Not by aiobotocore, which takes half a second to load.
        name = await engine.runner.run("head_bucket", bucket, None, lambda: engine.transport.server_name(bucket))
    except S3Error:
        return ""
    return name.lower()


def parts_of(size: int, etag: str | None, first: int) -> tuple[Part, ...] | None:
    """Return parts of `first` bytes if their number matches the ETag, otherwise None. Pure."""
    count = (etag or "").strip('"').rpartition("-")[2]
    if not count.isdigit() or first <= 0 or -(-size // first) != int(count):
        return None
    return tuple(
        Part(number, start, min(start + first, size)) for number, start in enumerate(range(0, size, first), start=1)
    )


def kept_options(info: FileInfo, tags: Mapping[str, str], *, storage_class: bool, lock: bool) -> dict[str, Any]:
    """Return the fields of `UploadOptions` that give a copy the source's properties. Pure.

    An expired retention is left out, as S3 accepts no date in the past.
    """
    options = stored_with(info)
    if tags:
        options["tags"] = dict(tags)
    if storage_class and info.storage_class != "STANDARD":
        options["storage_class"] = info.storage_class
    if lock:
        if retention := _retention(info):
            options |= dict(zip(("object_lock_mode", "retain_until"), retention, strict=True))
        if info.headers.get("x-amz-object-lock-legal-hold") == "ON":
            options["legal_hold"] = True
    return options


def differences(source: FileInfo, target: FileInfo, *, lock: bool) -> list[str]:
    """Return the names of the properties in which a copy differs from its source, without content. Pure."""
    wrong: list[str] = []
    if source.size != target.size:
        wrong.append(f"size ({target.size} instead of {source.size} bytes)")
    if (source.content_type or "") != (target.content_type or "") and source.content_type:
        wrong.append("content type")
    if dict(source.metadata or {}) != dict(target.metadata or {}):
        wrong.append("metadata")
    for name in ("cache-control", "content-disposition", "content-encoding", "content-language", "expires"):
        ours, theirs = source.headers.get(name), target.headers.get(name)
        if ours != theirs and (name != "expires" or not ours or not theirs or http_time(ours) != http_time(theirs)):
            wrong.append(name)
    if lock and source.headers.get("x-amz-object-lock-legal-hold", "OFF") != target.headers.get(
        "x-amz-object-lock-legal-hold", "OFF"
    ):
        wrong.append("legal hold")
    if lock and _retention(source) and _to_the_second(_retention(source)) != _to_the_second(_retention(target)):
        wrong.append("retention")
    return wrong


def _retention(info: FileInfo) -> tuple[str, datetime] | None:
    """Return mode and end of a retention; None if there is none, or it has passed."""
    mode, until = info.headers.get("x-amz-object-lock-mode"), info.headers.get("x-amz-object-lock-retain-until-date")
    at = _iso_time(until)
    return (mode, at) if mode and at is not None and at > datetime.now(UTC) else None


def _to_the_second(retention: tuple[str, datetime] | None) -> tuple[str, int] | None:
    return None if retention is None else (retention[0], int(retention[1].timestamp()))


def _iso_time(text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)
