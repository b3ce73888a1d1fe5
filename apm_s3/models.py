"""The values that the public methods take and give: frozen, free of I/O."""

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
"""What `upload_file` takes. A `str` is none: it could mean a path or a text."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Static AWS credentials. Its repr shows the key id only."""

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


# A tuple, not a dataclass: as frozen, and made in a quarter of the time, for every request and every listed key.
class FileInfo(NamedTuple):
    """What S3 says of an object.

    Attributes:
        size: bytes of the whole object, also where a range of it was read.
        etag: as S3 sent it, quotes included: opaque, to be compared and nothing else.
        metadata: user metadata, names in lower case; None in a listing that did not ask for it.
        storage_class: "STANDARD" where S3 names none.
        checksums: S3's checksums by algorithm ("crc32", "sha256", ...), base64, where it sent any.
        server_time: the server's clock (its `Date`) at the answer, Unix seconds.
        headers: the content headers that were stored with it ("cache-control", ...), names in lower case.
        stale_since: S3 could not be reached, and this is what it said then (see `CacheSettings.stale_if_error`).
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
    """An object as a whole: what S3 says of it, its content, and its tags (None where they were not asked for)."""

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
        prefixes: the common prefixes, where a delimiter was given.
        next_token: what `list_files(token=)` takes for the next page; None on the last one.
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
    """What a deletion did: the version it removed, or the delete marker it made."""

    key: str
    version_id: str | None = None
    delete_marker: bool = False


@dataclass(frozen=True, slots=True)
class KeyFailure:
    """Why S3 did not do its part for one key of a request about many."""

    key: str
    version_id: str | None
    s3_code: str
    message: str


@dataclass(frozen=True, slots=True)
class DeleteReport:
    """The outcome per key of a deletion of many."""

    deleted: tuple[DeleteOutcome, ...]
    failed: tuple[KeyFailure, ...]

    @property
    def ok(self) -> bool:
        """Whether every key was deleted."""
        return not self.failed


@dataclass(frozen=True, slots=True)
class Stream:
    """A body that is read piece by piece.

    Attributes:
        size: bytes in all; None where it is not known beforehand.
        open: starts it from its beginning.
        replayable: whether `open` may be called again; without it, a failed upload is not repeated.
    """

    open: Callable[[], AsyncIterator[bytes]]
    size: int | None = None
    replayable: bool = False


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One part of a multipart upload, as S3 has it."""

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
class BucketDetails:
    """A bucket with all its settings.

    Attributes:
        created: None where these credentials may not list buckets.
        settings: None for each that is not configured.
        unsupported: the kinds of settings that the server does not know at all.
        stale_since: S3 could not be reached, and this is what it said then (see `CacheSettings.stale_if_error`).
    """

    name: str
    region: str | None
    created: datetime | None
    settings: BucketOptions
    unsupported: tuple[str, ...] = ()
    stale_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class BucketInfo:
    """A bucket as `list_buckets` gives it.

    Attributes:
        details: where they were asked for.
        stale_since: S3 could not be reached, and this is what it said then (see `CacheSettings.stale_if_error`).
    """

    name: str
    created: datetime | None = None
    region: str | None = None
    details: BucketDetails | None = None
    stale_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One setting that a bucket is to get; `before` is None where it has none of the kind."""

    before: BucketSetting | None
    after: BucketSetting

    @property
    def kind(self) -> str:
        """The name of the kind of setting ("Lifecycle")."""
        return type(self.after).__name__

    def __str__(self) -> str:
        before = "not configured" if self.before is None else str(self.before)
        return f"{self.kind}: {before} -> {self.after}"


@dataclass(frozen=True, slots=True)
class BucketPlan:
    """What it takes to give a bucket its options.

    Attributes:
        create: the bucket does not exist yet.
        changes: the settings that differ, in the order in which they are applied.
        unsupported: the kinds of settings, or parts of them, that the server lacks.
        warnings: what was left out, and why.
    """

    bucket: str
    create: bool
    changes: tuple[SettingChange, ...]
    unsupported: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.create and not self.changes

    def to_dict(self) -> dict[str, Any]:
        """The plan as a JSON document: names and hashes, and a hash of all of it. It holds no value of a setting.

        It can be stored, reviewed and approved elsewhere; `from_dict` brings it back.
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
        """A plan that was written down, for `ensure_bucket`, which plans anew and goes on only if nothing is different.

        Raises:
            InvalidOption: it is no plan of a bucket, or was changed.
            FormatTooNew: a later version of this library made it.
        """
        return PlanDocument.read(_BUCKET_PLAN, document)

    @property
    def hash(self) -> str:
        """Names the plan, and everything that it says."""
        name: str = self.to_dict()["hash"]
        return name

    def __str__(self) -> str:
        lines = [f"create bucket '{self.bucket}'" if self.create else f"bucket '{self.bucket}'"]
        lines += [f"  {change}" for change in self.changes] or ["  no differences"]
        return "\n".join(lines + [f"  warning: {warning}" for warning in self.warnings])


def _hash(setting: BucketSetting | None) -> str | None:
    return None if setting is None else canonical_hash({type(setting).__name__: _plain(setting)})


def _plain(value: Any) -> Any:
    """A setting as JSON has it, the same each time."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(each) for each in value), key=str)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


_BUCKET_PLAN = "apm-s3/bucket-plan"


@dataclass(frozen=True, slots=True)
class EmptyReport:
    """What was deleted from a bucket to empty it: old and current versions, delete markers, open uploads."""

    versions: int = 0
    markers: int = 0
    uploads: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """How much there is of something: objects (every version is one), and their bytes."""

    objects: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class BucketUsage:
    """What lies in a bucket, old versions included, for S3 bills them too.

    Attributes:
        noncurrent: the part that is old versions.
        delete_markers: how many there are; they have no bytes.
        by_environment, by_tool: of configuration stores; "" is what belongs to none.
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
    """What `setup_replication` did, or would do, and the role that S3 needs for it.

    Attributes:
        applied: whether the rules are in force; False where no role was given.
        created_target: whether the target bucket was made.
        trust_policy: who may assume the role: S3. JSON.
        permissions_policy: what the role must allow. JSON.
        warnings: what to know about it.
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
    """A cache at one moment, and since it was made.

    Attributes:
        entries, bytes: what is remembered now; the bytes are an estimate that counts Python's objects too.
        ttl_seconds: how long what ages is fresh; None where only what never changes is remembered.
        hits: answers without a request to S3.
        misses: calls that needed one, or the answer of another's; `coalesced` of them shared another's.
        hit_rate: the part of hits in both, from 0 to 1.
        evictions: entries that were dropped for the limits' sake.
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
    """A pool at one moment, and since it was made.

    Attributes:
        max_concurrency: the bound that was set.
        limit: the bound now, lower while S3 asks to slow down.
        in_use: slots that are out; `lent` of them belong to bodies that are not being read.
        waiting: calls that wait for a slot now.
        acquired: slots given out in all; `waited` of them after waiting.
        wait_seconds, longest_wait: what those waits took, in sum and at most, in seconds.
        slowdowns: how often the bound was lowered.
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
        buckets: names of buckets whose details are read. Needs `S3Settings.cache`.
        files: objects, by bucket. Needs `CacheSettings.objects`.
        configs: pairs of a bucket and an environment, all of whose configurations are read.
    """

    region: str | None = None
    buckets: Sequence[str] = ()
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    configs: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class WarmupReport:
    """What came of a warm-up. A failure is not remembered: the next call asks again.

    Attributes:
        warmed: what was read: "bucket", "bucket/key", and "bucket: environment" of configurations.
        failed: what could not be read, and why.
    """

    warmed: tuple[str, ...]
    failed: Mapping[str, ApmS3Error]

    @property
    def ok(self) -> bool:
        """Whether all of it was read."""
        return not self.failed
