"""Objects, listings, outcomes and statistics: frozen, without I/O."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, NamedTuple, TypeAlias

from apm_s3.errors import ApmS3Error

_NOTHING: Mapping[str, str] = {}

Source: TypeAlias = bytes | bytearray | memoryview | os.PathLike[str] | BinaryIO | AsyncIterable[bytes]
"""What `upload_file` accepts. A `str` is refused: it could be a path or the content."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Static AWS credentials. The repr shows only the key id."""

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


# A tuple, because it is created for every request and every listed key, in a quarter of the time of a dataclass.
class FileInfo(NamedTuple):
    """Information about an object.

    Attributes:
        size: bytes of the whole object, even if only a range was read.
        etag: as S3 sent it, quotes included; opaque, use it only for comparison.
        metadata: user metadata, names in lower case; None in a listing that did not request it.
        storage_class: "STANDARD" if S3 names none.
        checksums: S3's checksums by algorithm ("crc32", "sha256", ...), in base64, if it sent any.
        server_time: the server's clock (its `Date`) at the response, Unix seconds.
        headers: the content headers stored with the object ("cache-control", ...), names in lower case; also its
            number of tags ("x-amz-tagging-count") and its lock ("x-amz-object-lock-mode", ...) if S3 sent them.
        stale_since: when this cached value was read, if S3 cannot be reached (see `CacheSettings.stale_if_error`).
    """

    bucket: str
    key: str
    size: int
    etag: str | None = None
    version_id: str | None = None
    last_modified: datetime | None = None
    content_type: str | None = None
    metadata: Mapping[str, str] | None = _NOTHING
    storage_class: str = "STANDARD"
    checksums: Mapping[str, str] = _NOTHING
    server_time: float | None = None
    headers: Mapping[str, str] = _NOTHING
    stale_since: datetime | None = None


class FileContent(NamedTuple):
    """A whole object: its information, content and tags (None if they were not requested)."""

    info: FileInfo
    data: bytes
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class FileVersion:
    """One version, or one delete marker, of a key."""

    key: str
    version_id: str
    is_latest: bool
    is_delete_marker: bool
    size: int
    etag: str | None
    last_modified: datetime | None
    storage_class: str | None = None


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a listing.

    Attributes:
        prefixes: the common prefixes, if a delimiter was given.
        next_token: pass it to `list_files(token=)` for the next page; None on the last page.
    """

    files: tuple[FileInfo, ...]
    prefixes: tuple[str, ...] = ()
    next_token: str | None = None


@dataclass(frozen=True, slots=True)
class VersionPage:
    """One page of a listing of versions; `next_key` and `next_version` are the markers of the next page."""

    versions: tuple[FileVersion, ...]
    prefixes: tuple[str, ...] = ()
    next_key: str | None = None
    next_version: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteOutcome:
    """The result of a deletion: the version it removed, or the delete marker it created."""

    key: str
    version_id: str | None = None
    delete_marker: bool = False


@dataclass(frozen=True, slots=True)
class KeyFailure:
    """Why S3 failed on one key of a bulk request."""

    key: str
    version_id: str | None
    s3_code: str
    message: str


@dataclass(frozen=True, slots=True)
class DeleteReport:
    """The result of a bulk deletion, by key."""

    deleted: tuple[DeleteOutcome, ...]
    failed: tuple[KeyFailure, ...]

    @property
    def ok(self) -> bool:
        """Return whether every key was deleted."""
        return not self.failed


@dataclass(frozen=True, slots=True)
class Stream:
    """A body that is read in pieces.

    Attributes:
        size: bytes in total; None if unknown.
        open: starts reading from the beginning.
        replayable: whether `open` may be called again; otherwise, a failed upload is not retried.
        digests: what is claimed of the whole body: "md5" and S3's checksums, in base64, by algorithm.
    """

    open: Callable[[], AsyncIterator[bytes]]
    size: int | None = None
    replayable: bool = False
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One part of a multipart upload, as stored by S3."""

    number: int
    etag: str
    size: int
    checksums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """One open multipart upload."""

    key: str
    upload_id: str
    initiated: datetime | None


@dataclass(frozen=True, slots=True)
class CacheStats:
    """The current state of a cache, and its totals since it was created.

    Attributes:
        entries, bytes: what is cached now; the bytes are an estimate that includes Python's objects.
        ttl_seconds: how long mutable entries are fresh; None if only immutable data is cached.
        hits: calls served without a request to S3.
        misses: calls that needed a request; `coalesced` of them shared the request of another call.
        hit_rate: the fraction of hits, from 0 to 1.
        evictions: entries removed because of the limits.
    """

    entries: int
    max_entries: int
    bytes: int
    max_bytes: int
    ttl_seconds: float | None
    hits: int
    misses: int
    hit_rate: float
    evictions: int
    coalesced: int


@dataclass(frozen=True, slots=True)
class PoolStats:
    """The current state of a pool, and its totals since it was created.

    Attributes:
        max_concurrency: the configured limit.
        limit: the current limit, which is lower while S3 asks to slow down.
        in_use: slots in use; `lent` of them belong to bodies that are not being read.
        waiting: calls that currently wait for a slot.
        acquired: total number of slots granted; `waited` of them after waiting.
        wait_seconds, longest_wait: total and longest wait, in seconds.
        slowdowns: how often the limit was lowered.
    """

    max_concurrency: int
    limit: int
    in_use: int
    lent: int
    waiting: int
    acquired: int
    waited: int
    wait_seconds: float
    longest_wait: float
    slowdowns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmupPlan:
    """What `warm_cache` reads.

    Attributes:
        region: of the buckets.
        buckets: buckets whose details are read; needs `S3Settings.cache`.
        files: objects, by bucket; needs `CacheSettings.objects`.
        configs: the environments whose configurations are read: (bucket, environment), or (bucket, environment, prefix)
            of a store that has a prefix.
    """

    region: str | None = None
    buckets: Sequence[str] = ()
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    configs: Sequence[tuple[str, str] | tuple[str, str, str]] = ()


@dataclass(frozen=True, slots=True)
class WarmupReport:
    """The result of a warm-up. Failures are not cached: the next call sends a request again.

    Attributes:
        warmed: what was read: "bucket", "bucket/key", and "bucket: environment" of configurations, or
            "bucket/prefix: environment".
        failed: what could not be read, and why.
    """

    warmed: tuple[str, ...]
    failed: Mapping[str, ApmS3Error]

    @property
    def ok(self) -> bool:
        """Return whether everything was read."""
        return not self.failed
