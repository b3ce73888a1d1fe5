"""The lifecycle of a bucket's objects with S3's rules for it, and the options of creating a bucket.

Rules of S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html.

Rules of S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Literal

from apm_s3._hints import Advice
from apm_s3.errors import InvalidOption
from apm_s3.options._bucket_settings import (
    AccessLogging,
    BucketSetting,
    Cors,
    Encryption,
    Notifications,
    ObjectLock,
    OwnershipControls,
    Policy,
    PublicAccessBlock,
    Replication,
    Tags,
    Versioning,
)

StorageClass = Literal["STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"]

CLASS_ORDER = ("STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")
"""Objects only ever move down this list."""

INFREQUENT_ACCESS = ("STANDARD_IA", "ONEZONE_IA")
INFREQUENT_ACCESS_DAYS = 30
"""Days before an object may move to an infrequent access class, and that it must stay there before it moves again."""

MAX_RULES = 1000

MinimumSize = Literal["all_storage_classes_128K", "varies_by_storage_class"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Move current objects to `storage_class` `days` after their creation, or on `date` (midnight UTC)."""

    storage_class: StorageClass
    days: int | None = None
    date: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoncurrentTransition:
    """Move old versions to `storage_class` `days` after they were replaced, except the newest `keep` ones."""

    storage_class: StorageClass
    days: int
    keep: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleRule:
    """What happens over time to objects with a prefix, tags and a size.

    Attributes:
        id: names the rule, at most 255 characters; empty if the server returned a rule without one.
        larger_than, smaller_than: apply only to objects of more, or fewer, bytes.
        expire_days, expire_date: when current objects are deleted; in a versioned bucket they get a delete marker,
            and delete markers without older versions are removed at the same age.
        expire_markers: remove delete markers without older versions; not with expire_days.
        noncurrent_days: days after their replacement when old versions are deleted.
        noncurrent_keep: how many of the newest old versions to keep anyway.
        abort_uploads_days: days after which open multipart uploads are aborted.
    """

    id: str
    prefix: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    larger_than: int | None = None
    smaller_than: int | None = None
    enabled: bool = True
    transitions: tuple[Transition, ...] = ()
    expire_days: int | None = None
    expire_date: datetime | None = None
    expire_markers: bool = False
    noncurrent_transitions: tuple[NoncurrentTransition, ...] = ()
    noncurrent_days: int | None = None
    noncurrent_keep: int | None = None
    abort_uploads_days: int | None = None

    @property
    def does_nothing(self) -> bool:
        """Return whether the rule has no action."""
        ages = (self.expire_days, self.expire_date, self.noncurrent_days, self.abort_uploads_days)
        return not (any(ages) or self.expire_markers or self.transitions or self.noncurrent_transitions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle(BucketSetting):
    """The lifecycle rules of a bucket.

    Attributes:
        minimum_size: which small objects are not moved: all under 128 KiB, or ("varies_by_storage_class") those under
            128 KiB except to GLACIER and DEEP_ARCHIVE. A rule with `larger_than` or `smaller_than` overrides this.
    """

    rules: tuple[LifecycleRule, ...]
    minimum_size: MinimumSize = "all_storage_classes_128K"

    def check(self) -> None:
        """Check all of S3's documented rules: numbers, ids, minimum ages, the order of classes, exclusive fields."""
        if not 1 <= len(self.rules) <= MAX_RULES:
            raise InvalidOption(
                f"{len(self.rules)} lifecycle rules, but S3 allows 1 to {MAX_RULES}", hint="remove_setting drops all"
            )
        ids = [rule.id for rule in self.rules]
        for rule in self.rules:
            problem = _duplicate(rule, ids) or _rule_problem(rule)
            if problem:
                raise InvalidOption(f"lifecycle rule '{rule.id}': {problem}", hint="S3 would refuse it")

    def matches(self, current: BucketSetting | None) -> bool:
        """Compare without the order of rules, and of a rule's transitions."""
        if not isinstance(current, Lifecycle) or self.minimum_size != current.minimum_size:
            return False
        return _sorted(self.rules) == _sorted(current.rules)


def _sorted(rules: Sequence[LifecycleRule]) -> list[LifecycleRule]:
    return [
        replace(rule, transitions=tuple(sorted(rule.transitions, key=lambda move: move.storage_class)))
        for rule in sorted(rules, key=lambda rule: rule.id)
    ]


def _duplicate(rule: LifecycleRule, ids: Sequence[str]) -> str | None:
    return "two rules have this id" if rule.id and ids.count(rule.id) > 1 else None


def _rule_problem(rule: LifecycleRule) -> str | None:
    return (
        _shape_problem(rule)
        or _expiration_problem(rule)
        or _filter_problem(rule)
        or _transitions_problem(rule)
        or _noncurrent_problem(rule)
    )


def _shape_problem(rule: LifecycleRule) -> str | None:
    if len(rule.id) > 255:
        return f"the id has {len(rule.id)} characters, but 255 are allowed"
    ages = (rule.expire_days, rule.noncurrent_days, rule.abort_uploads_days)
    if any(age is not None and age < 1 for age in ages):
        return "expirations and aborts need at least 1 day"
    return "it has no action" if rule.does_nothing else None


def _expiration_problem(rule: LifecycleRule) -> str | None:
    given = (rule.expire_days is not None) + (rule.expire_date is not None) + rule.expire_markers
    if given > 1:
        return "expire_days, expire_date and expire_markers are mutually exclusive: use two rules"
    return _midnight_problem(rule.expire_date)


def _filter_problem(rule: LifecycleRule) -> str | None:
    sized = rule.larger_than is not None or rule.smaller_than is not None
    if rule.abort_uploads_days is not None and (rule.tags or sized):
        return "uploads cannot be aborted by tag or size: an open upload has neither"
    if rule.expire_markers and (rule.tags or sized):
        return "delete markers cannot be removed by tag or size: they have neither"
    if rule.larger_than is not None and rule.smaller_than is not None and rule.larger_than >= rule.smaller_than:
        return "larger_than must be less than smaller_than"
    return None


def _transitions_problem(rule: LifecycleRule) -> str | None:
    moves = rule.transitions
    for move in moves:
        if (move.days is None) == (move.date is None):
            return f"the transition to {move.storage_class} needs either days or date"
        problem = _midnight_problem(move.date)
        if problem:
            return problem
    dated = [move.date is not None for move in moves] + [rule.expire_date is not None] * bool(rule.expire_date)
    counted = [move.days is not None for move in moves] + [True] * (rule.expire_days is not None)
    if any(dated) and any(counted):
        return "one rule cannot have both days and dates"
    if any(dated):
        return _order_problem([move.storage_class for move in sorted(moves, key=_move_date)])
    aged = sorted(((move.days or 0, move.storage_class) for move in moves), key=lambda one: (one[0], _rank(one[1])))
    return _ages_problem(aged, rule.expire_days, "expire_days")


def _noncurrent_problem(rule: LifecycleRule) -> str | None:
    for keep in (rule.noncurrent_keep, *(move.keep for move in rule.noncurrent_transitions)):
        if keep is not None and not 1 <= keep <= 100:
            return "noncurrent_keep must be 1 to 100"
    if rule.noncurrent_keep is not None and rule.noncurrent_days is None:
        return "noncurrent_keep needs noncurrent_days"
    aged = sorted(
        ((move.days, move.storage_class) for move in rule.noncurrent_transitions),
        key=lambda one: (one[0], _rank(one[1])),
    )
    return _ages_problem(aged, rule.noncurrent_days, "noncurrent_days")


def _ages_problem(aged: list[tuple[int, StorageClass]], end: int | None, end_name: str) -> str | None:
    """Return why S3 would refuse these (days, class) and the expiration after them."""
    for days, name in aged:
        if days < 0 or (name in INFREQUENT_ACCESS and days < INFREQUENT_ACCESS_DAYS):
            least = INFREQUENT_ACCESS_DAYS if name in INFREQUENT_ACCESS else 0
            return f"objects can move to {name} after {least} days at the earliest, not after {days}"
        if end is not None and end <= days:
            return f"{end_name}={end} must be after the transition to {name} ({days} days)"
    for (days, name), (next_days, next_name) in pairwise(aged):
        if name in INFREQUENT_ACCESS and next_days - days < INFREQUENT_ACCESS_DAYS:
            return (
                f"objects must stay in {name} for at least {INFREQUENT_ACCESS_DAYS} days, "
                f"but move to {next_name} {next_days - days} days later"
            )
    return _order_problem([name for _, name in aged])


def _order_problem(names: Sequence[StorageClass]) -> str | None:
    for name, later in pairwise(names):
        if _rank(name) >= _rank(later):
            return f"objects cannot move from {name} to {later}"
    return None


def _rank(name: str) -> int:
    return CLASS_ORDER.index(name) if name in CLASS_ORDER else len(CLASS_ORDER)


def _move_date(move: Transition) -> datetime:
    assert move.date is not None  # noqa: S101 - called for dated transitions only
    return move.date


def _midnight_problem(date: datetime | None) -> str | None:
    if date is not None and (date.utcoffset() is None or date.timestamp() % 86400 != 0):
        return f"{date.isoformat()} is not midnight UTC"
    return None


STORE_TAG = {"apm:managed-by": "apm_s3"}
"""The tag of buckets for configurations, whose settings must not keep a server from honouring conditional writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketOptions:
    """The desired or current settings of a bucket; settings that are None are left unchanged.

    S3 creates new buckets private, encrypted (SSE-S3) and without ACLs
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/create-bucket-overview.html); S3-compatible servers may not.
    """

    lifecycle: Lifecycle | None = None
    versioning: Versioning | None = None
    encryption: Encryption | None = None
    ownership: OwnershipControls | None = None
    public_access_block: PublicAccessBlock | None = None
    tags: Tags | None = None
    object_lock: ObjectLock | None = None
    cors: Cors | None = None
    logging: AccessLogging | None = None
    notifications: Notifications | None = None
    replication: Replication | None = None
    policy: Policy | None = None

    @classmethod
    def of(cls, settings: Iterable[BucketSetting]) -> BucketOptions:
        """Create options from settings."""
        return cls(**{_FIELDS[type(setting)]: setting for setting in settings})  # type: ignore[arg-type]

    def settings(self) -> tuple[BucketSetting, ...]:
        """Return the settings that are set, in the order in which they are applied."""
        found = (getattr(self, name) for name in _FIELDS.values())
        return tuple(setting for setting in found if setting is not None)

    def check(self) -> None:
        """Refuse what S3 would refuse.

        Raises:
            InvalidOption: S3 does not accept one of the settings, or a combination of them.
        """
        for setting in self.settings():
            setting.check()
        if self.lifecycle and self.versioning and self.versioning.mfa_delete:
            raise InvalidOption("S3 does not allow lifecycle rules with MFA delete", hint="omit one of them")
        if self.versioning and not self.versioning.enabled and (self.replication or self.object_lock):
            raise InvalidOption("replication and object lock need versioning", hint=Advice.USE_VERSIONING())


# In the order in which they are applied: settings that a server may refuse in part (transitions) come first, the
# policy, which may lock out its own author, comes last, and each setting comes after those that it needs.
_FIELDS: dict[type[BucketSetting], str] = {
    Lifecycle: "lifecycle",
    Versioning: "versioning",
    Encryption: "encryption",
    OwnershipControls: "ownership",
    PublicAccessBlock: "public_access_block",
    Tags: "tags",
    ObjectLock: "object_lock",
    Cors: "cors",
    AccessLogging: "logging",
    Notifications: "notifications",
    Replication: "replication",
    Policy: "policy",
}
