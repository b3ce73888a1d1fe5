"""Buckets, their contents, and the plans to change them: frozen, without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any

from apm_s3._plans import PlanDocument, canonical_hash, plan_document
from apm_s3.options._bucket_settings import BucketSetting, Replication
from apm_s3.options._buckets import BucketOptions

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
