"""One side of a migration in S3: its cheapest requests, and what is known about its server."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from apm_s3._migration.trees import S3Place
from apm_s3._naming import EXPRESS
from apm_s3._s3.endpoint import Verbs
from apm_s3._s3.objects.sources import RandomSource, stored_with
from apm_s3._s3.objects.streams import Download
from apm_s3._s3.objects.uploads import MultipartUpload
from apm_s3._wire.http1 import http_time
from apm_s3._wire.parts import Part
from apm_s3.batch import OnProgress, OperationResult, Operations
from apm_s3.errors import NotConfigured, NotFound, RequestRejected, S3Error, UnsupportedByServer
from apm_s3.models import FileInfo
from apm_s3.models._objects import Stream
from apm_s3.options import CopyOptions, ReadOptions, UploadOptions

T = TypeVar("T")

_TAG_COUNT = "x-amz-tagging-count"
_COUNT_TAGS = ("seaweedfs", "minio")
"""Servers, by their Server header, that report the number of tags in every response, as S3 does."""
_LOCK = "get_object_lock_configuration"


class Manager(Protocol):
    """A manager, open or not."""

    def _endpoint(self) -> Endpoint:
        """Return the endpoint of an open manager; otherwise, raise `ManagerClosed`."""


class Endpoint(Protocol):
    """What copying trees needs of an open manager: its public methods, and a few others, which raise `S3Error`.

    Attributes:
        verbs: these methods.
        part_size, parallel_parts: those of the manager's settings.
        slow_downs: asked about each throttled request: bucket, key and the time at which it was sent. One that returns
            True slows down by itself, and the manager does not.
    """

    verbs: Verbs
    part_size: int
    parallel_parts: int
    slow_downs: list[Callable[[str | None, str | None, float], bool]]

    def run(
        self, operations: Operations, on_progress: OnProgress | None, concurrency: int | None
    ) -> AsyncGenerator[OperationResult, None]:
        """Run a batch, and yield the result of each operation."""

    async def identify(self) -> tuple[str, bool]:
        """Return the URL, and whether the server is S3 itself."""

    async def server_name(self, bucket: str) -> str:
        """Return the server's name for itself."""

    async def has_object_lock(self, bucket: str) -> bool:
        """Return whether the bucket has object lock."""

    async def setting(self, method: str, bucket: str) -> Mapping[str, Any]:
        """Return the response to boto3's `method` for a bucket."""

    async def first_part(self, bucket: str, key: str, version: str) -> int:
        """Return the size of an object's first part."""

    async def streams(self, bucket: str) -> bool:
        """Return whether a body is sent while it is read; otherwise, it is held in memory."""

    async def read(self, bucket: str, key: str, options: ReadOptions) -> tuple[FileInfo, bytes]:
        """Read a whole object."""

    async def download(self, bucket: str, key: str, options: ReadOptions) -> Download:
        """Begin to read an object, without verifying checksums."""

    async def put_once(self, bucket: str, key: str, body: bytes | Stream, options: UploadOptions) -> FileInfo:
        """Send an object in one request, without a retry: for the `attempt` of `put`."""

    async def put(
        self,
        bucket: str,
        key: str,
        content: RandomSource,
        attempt: Callable[[], Awaitable[FileInfo]],
        *,
        size: int,
        longest: int,
        storage_class: str | None,
    ) -> FileInfo:
        """Run `attempt`, which sends `content`, with retries; an error of the content replaces that of the request.

        Args:
            size: bytes of the object.
            longest: bytes that an attempt sends at most, which its deadline allows for.
        """

    def open_upload(
        self, bucket: str, key: str, options: UploadOptions
    ) -> AbstractAsyncContextManager[MultipartUpload]:
        """Open a multipart upload that is aborted on anything but success, cancellation included."""

    async def copy_in_parts(
        self, source: FileInfo, bucket: str, key: str, options: CopyOptions, parts: Sequence[Part] | None
    ) -> FileInfo:
        """Copy an object of any size with its metadata and tags: in these parts, or those of the settings."""


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

    s3: Verbs
    place: S3Place
    endpoint: Endpoint
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

    async def lacks(self, key: str, version: str = "") -> bool:
        """Return whether there is no object of this full key."""
        try:
            await self.head(key, version)
        except NotFound:
            return True
        return False

    async def delete(self, keys: Sequence[str]) -> int:
        """Delete relative keys, and return how many could not be deleted."""
        report = await self.s3.delete_files(self.place.bucket, [self.key(key) for key in keys])
        return len(report.failed)

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
        try:
            first = await self.endpoint.first_part(self.place.bucket, key, version)
        except (RequestRejected, UnsupportedByServer):
            return None
        return parts_of(info.size, info.etag, first)

    async def setting(self, method: str, name: str) -> Any:
        """Return a bucket setting; empty if it is not set or may not be read (see `unreadable`)."""
        response = await self.setting_of(method, self.endpoint.setting(method, self.place.bucket))
        return (response or {}).get(name) or {}

    async def setting_of(self, method: str, read: Awaitable[T]) -> T | None:
        """Return what `read` reads; None if it is not set or may not be read."""
        try:
            return await read
        except (NotConfigured, UnsupportedByServer):
            return None
        except NotFound:
            raise
        except S3Error:
            self.unreadable.add(method)
            return None


async def open_side(s3: Manager, place: S3Place) -> Side:
    """Open a side and find out about its server and bucket.

    Raises:
        BucketNotFound: there is no such bucket.
    """
    endpoint = s3._endpoint()  # noqa: SLF001 - a door for this module
    url, is_aws = await endpoint.identify()
    side = Side(endpoint.verbs, place, endpoint, is_aws, url, counts_tags=is_aws)
    if not is_aws:
        # Later calls report its error better.
        with suppress(S3Error):
            side.counts_tags = (await endpoint.server_name(place.bucket)).lower().startswith(_COUNT_TAGS)
    side.locks = bool(await side.setting_of(_LOCK, endpoint.has_object_lock(place.bucket)))
    return side


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


def differences(source: FileInfo, target: FileInfo, *, lock: bool) -> dict[str, str]:
    """Return the properties in which a copy differs from its source, in words without content, by name. Pure."""
    wrong: dict[str, str] = {}
    if source.size != target.size:
        wrong["size"] = f"size ({target.size} instead of {source.size} bytes)"
    if (source.content_type or "") != (target.content_type or "") and source.content_type:
        wrong["content type"] = "content type"
    if dict(source.metadata or {}) != dict(target.metadata or {}):
        wrong["metadata"] = "metadata"
    for name in ("cache-control", "content-disposition", "content-encoding", "content-language", "expires"):
        ours, theirs = source.headers.get(name), target.headers.get(name)
        if ours != theirs and (name != "expires" or not ours or not theirs or http_time(ours) != http_time(theirs)):
            wrong[name] = name
    if lock and source.headers.get("x-amz-object-lock-legal-hold", "OFF") != target.headers.get(
        "x-amz-object-lock-legal-hold", "OFF"
    ):
        wrong["legal hold"] = "legal hold"
    if lock and _retention(source) and _to_the_second(_retention(source)) != _to_the_second(_retention(target)):
        wrong["retention"] = "retention"
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
