"""The values that the public methods accept and return: frozen, without I/O."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple, TypeAlias

from apm_s3._plans import PlanDocument, canonical_hash, plan_document
from apm_s3.errors import ApmS3Error
from apm_s3.options._bucket_settings import BucketSetting
from apm_s3.options._buckets import BucketOptions
from apm_s3.options._replication import Replication

__all__ = [
    "BucketDetails",
    "BucketInfo",
    "BucketPlan",
    "BucketUsage",
    "CacheStats",
    "Credentials",
    "DeleteOutcome",
    "DeleteReport",
    "EmptyReport",
    "FileContent",
    "FileInfo",
    "FileVersion",
    "KeyFailure",
    "ListPage",
    "PlanDocument",
    "PoolStats",
    "ReplicationSetup",
    "SettingChange",
    "Source",
    "UploadInfo",
    "Usage",
    "VersionPage",
    "WarmupPlan",
    "WarmupReport",
]

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


_BUCKET_PLAN = "apm-s3/bucket-plan"


@dataclass(frozen=True, slots=True)
class BucketDetails:
    """A bucket with all its settings.

    Attributes:
        created: None if these credentials may not list buckets.
        settings: those that are not configured are None.
        unsupported: the kinds of settings that the server does not know.
        stale_since: when this cached value was read, if S3 cannot be reached (see `CacheSettings.stale_if_error`).
    """

    name: str
    region: str | None
    created: datetime | None
    settings: BucketOptions
    unsupported: tuple[str, ...] = ()
    stale_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class BucketInfo:
    """A bucket in a list of buckets.

    Attributes:
        details: if they were requested.
        stale_since: when this cached value was read, if S3 cannot be reached (see `CacheSettings.stale_if_error`).
    """

    name: str
    created: datetime | None = None
    region: str | None = None
    details: BucketDetails | None = None
    stale_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One change of a bucket's settings; `before` is None if the setting was not configured."""

    before: BucketSetting | None
    after: BucketSetting

    @property
    def kind(self) -> str:
        """Return the name of the kind of setting ("Lifecycle")."""
        return type(self.after).__name__

    def __str__(self) -> str:
        before = "not configured" if self.before is None else str(self.before)
        return f"{self.kind}: {before} -> {self.after}"


@dataclass(frozen=True, slots=True)
class BucketPlan:
    """The changes that bring a bucket to its options.

    Attributes:
        create: whether the bucket does not exist yet.
        changes: the settings that differ, in the order in which they are applied.
        unsupported: the kinds of settings, or parts of them, that the server lacks.
        warnings: what was omitted, and why.
    """

    bucket: str
    create: bool
    changes: tuple[SettingChange, ...]
    unsupported: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Return whether there is nothing to do."""
        return not self.create and not self.changes

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as a JSON document with names and hashes, and a hash of everything. It has no setting values.

        It can be stored, reviewed and approved elsewhere; `from_dict` reads it.
        """
        return plan_document(
            _BUCKET_PLAN,
            {
                "bucket": self.bucket,
                "create": self.create,
                "changes": [
                    {"setting": change.kind, "before": _hash(change.before), "after": _hash(change.after)}
                    for change in self.changes
                ],
                "unsupported": list(self.unsupported),
            },
        )

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> PlanDocument:
        """Read a plan's document for `ensure_bucket`, which makes the plan again and continues only if it is the same.

        Raises:
            InvalidOption: the document is not a bucket plan, or was modified.
            FormatTooNew: a newer version of this library made it.
        """
        return PlanDocument.read(_BUCKET_PLAN, document)

    @property
    def hash(self) -> str:
        """Return the hash of the plan's whole content."""
        name: str = self.to_dict()["hash"]
        return name

    def __str__(self) -> str:
        lines = [f"create bucket '{self.bucket}'" if self.create else f"bucket '{self.bucket}'"]
        lines += [f"  {change}" for change in self.changes] or ["  no differences"]
        return "\n".join(lines + [f"  warning: {warning}" for warning in self.warnings])


def _hash(setting: BucketSetting | None) -> str | None:
    return None if setting is None else canonical_hash({type(setting).__name__: _plain(setting)})


def _plain(value: Any) -> Any:
    """Convert a setting to JSON values, deterministically."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(each) for each in value), key=str)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


@dataclass(frozen=True, slots=True)
class EmptyReport:
    """What was deleted to empty a bucket: versions, delete markers and open uploads."""

    versions: int = 0
    markers: int = 0
    uploads: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """A number of objects (each version counts) and their bytes."""

    objects: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class BucketUsage:
    """What a bucket contains, including old versions, which S3 bills as well.

    Attributes:
        noncurrent: the old versions among them.
        delete_markers: their number; they have no bytes.
        by_environment, by_tool: the same by environment and tool of configuration stores; "" is everything else.
    """

    bucket: str
    total: Usage
    noncurrent: Usage
    delete_markers: int
    by_storage_class: Mapping[str, Usage]
    by_environment: Mapping[str, Usage]
    by_tool: Mapping[str, Usage]


@dataclass(frozen=True, slots=True)
class ReplicationSetup:
    """What `setup_replication` did, or would do, and the role that S3 needs.

    Attributes:
        applied: whether the rules were set; False if no role was given.
        created_target: whether the target bucket was created.
        trust_policy: JSON policy that lets S3 assume the role.
        permissions_policy: JSON policy with the permissions that the role needs.
        warnings: limitations to know about.
    """

    replication: Replication
    applied: bool
    created_target: bool
    trust_policy: str
    permissions_policy: str
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [
            f"trust policy of the role:\n{self.trust_policy}",
            f"permissions policy of the role:\n{self.permissions_policy}",
            *(f"warning: {warning}" for warning in self.warnings),
        ]
        return "\n\n".join(parts)


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
