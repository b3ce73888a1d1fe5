"""The settings of a bucket: frozen, without I/O.

Every kind of setting is a `BucketSetting`. `check()` finds what S3 would refuse before anything is sent; settings read
from S3 are not checked, because S3-compatible servers allow more. The lifecycle is in `_buckets`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

from apm_s3.errors import InvalidOption
from apm_s3.options._writes import SseAlgorithm

MAX_TAGS = 50
"""Of a bucket, https://docs.aws.amazon.com/AmazonS3/latest/userguide/CostAllocTagging.html."""

MAX_POLICY_BYTES = 20 * 1024
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html."""

SYSTEM_TAGS = "aws:"
"""The prefix of the tags that AWS manages: they are read, never written."""


class BucketSetting:
    """Base class of all bucket settings."""

    __slots__ = ()

    def check(self) -> None:
        """Refuse what S3 would refuse.

        Raises:
            InvalidOption: S3 does not accept this setting; the message says why.
        """

    def matches(self, current: BucketSetting | None) -> bool:
        """Return whether `current` is equivalent to this setting, so that no change is needed."""
        return self == current


S = TypeVar("S", bound=BucketSetting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Versioning(BucketSetting):
    """Whether a bucket keeps old versions.

    Attributes:
        enabled: False means S3's "Suspended"; a bucket that never had versioning does not have this setting.
        mfa_delete: whether deleting a version, and changing this setting, requires an MFA code. Only the root user of
            the account can turn it on or off, and S3 does not allow it together with lifecycle rules
            (https://docs.aws.amazon.com/AmazonS3/latest/userguide/MultiFactorAuthenticationDelete.html).
    """

    enabled: bool = True
    mfa_delete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption(BucketSetting):
    """The encryption of objects that do not specify one themselves.

    Attributes:
        kms_key_id: id, ARN or alias; with "aws:kms" and no key, S3 uses the AWS managed key.
        bucket_key: use one data key for many objects, which needs far fewer KMS requests.
        blocked_types: kinds of encryption that uploads may not use ("SSE-C"); None keeps S3's default.
    """

    algorithm: SseAlgorithm = "AES256"
    kms_key_id: str | None = None
    bucket_key: bool = False
    blocked_types: tuple[str, ...] | None = None

    def check(self) -> None:
        """Refuse a KMS key without a KMS algorithm."""
        if self.kms_key_id is not None and self.algorithm == "AES256":
            raise InvalidOption("kms_key_id needs algorithm='aws:kms'", hint="set algorithm='aws:kms' too")

    def matches(self, current: BucketSetting | None) -> bool:
        """Compare all fields, ignoring `blocked_types` if it is None."""
        if not isinstance(current, Encryption):
            return False
        blocked = self.blocked_types is None or self.blocked_types == current.blocked_types
        mine = (self.algorithm, self.kms_key_id, self.bucket_key)
        return blocked and mine == (current.algorithm, current.kms_key_id, current.bucket_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicAccessBlock(BucketSetting):
    """The four switches against public access; all of them on by default."""

    block_public_acls: bool = True
    ignore_public_acls: bool = True
    block_public_policy: bool = True
    restrict_public_buckets: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnershipControls(BucketSetting):
    """The owner of uploaded objects; "BucketOwnerEnforced" also turns ACLs off."""

    object_ownership: Literal["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"] = "BucketOwnerEnforced"


@dataclass(frozen=True, slots=True, eq=False)
class Policy(BucketSetting):
    """A bucket policy as unmodified JSON text. Policies are equal if they mean the same, however they are written."""

    text: str

    @classmethod
    def of(cls, statements: Iterable[Mapping[str, Any]]) -> Policy:
        """Create a policy from statements."""
        return cls(json.dumps({"Version": "2012-10-17", "Statement": [dict(one) for one in statements]}, indent=2))

    @property
    def document(self) -> dict[str, Any]:
        """Return the parsed JSON."""
        parsed: dict[str, Any] = json.loads(self.text)
        return parsed

    def check(self) -> None:
        """Refuse anything but a JSON object with statements that is within S3's size limit."""
        size = len(self.text.encode())
        if size > MAX_POLICY_BYTES:
            raise InvalidOption(
                f"the policy has {size} bytes, but S3 allows {MAX_POLICY_BYTES}",
                hint="merge statements, or move some into IAM",
            )
        try:
            document = json.loads(self.text)
        except ValueError as exc:
            raise InvalidOption(f"the policy is not valid JSON: {exc}", hint="use Policy.of(statements)") from exc
        if not isinstance(document, dict) or not document.get("Statement"):
            raise InvalidOption("the policy has no Statement", hint="use Policy.of(statements)")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Policy) and _canonical(self.text) == _canonical(other.text)

    def __hash__(self) -> int:
        return hash(_canonical(self.text))


@dataclass(frozen=True, slots=True)
class Tags(BucketSetting):
    """The tags of a bucket. System tags ("aws:...") are read, never written."""

    values: Mapping[str, str]

    def check(self) -> None:
        """Refuse more than 50 tags, names not of 1 to 128 characters, and values of more than 256."""
        own = self.own()
        if len(own) > MAX_TAGS:
            raise InvalidOption(f"there are {len(own)} tags, but S3 allows {MAX_TAGS}", hint="remove some")
        for name, value in own.items():
            if not 1 <= len(name) <= 128 or len(value) > 256:
                raise InvalidOption(
                    f"tag '{name[:40]}' is too long: names have 1 to 128 characters, values at most 256",
                    hint="shorten it",
                )

    def own(self) -> dict[str, str]:
        """Return the tags without the system tags."""
        return {name: value for name, value in self.values.items() if not name.startswith(SYSTEM_TAGS)}

    def matches(self, current: BucketSetting | None) -> bool:
        """Compare without system tags; an empty set of tags equals no setting."""
        found = current.own() if isinstance(current, Tags) else {}
        return self.own() == found


@dataclass(frozen=True, slots=True, kw_only=True)
class LogGrant:
    """A grant on the access logs, for target buckets that still use ACLs.

    Attributes:
        type: "CanonicalUser" (with `id`), "AmazonCustomerByEmail" (with `email`) or "Group" (with `uri`).
    """

    permission: Literal["FULL_CONTROL", "READ", "WRITE"]
    type: Literal["CanonicalUser", "AmazonCustomerByEmail", "Group"]
    id: str | None = None
    email: str | None = None
    uri: str | None = None
    display_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLogging(BucketSetting):
    """Server access logs, written to another bucket.

    Attributes:
        partitioned_by: the date to use in the keys of the logs; None means S3's simple key format.
    """

    target_bucket: str
    target_prefix: str = ""
    partitioned_by: Literal["EventTime", "DeliveryTime"] | None = None
    grants: tuple[LogGrant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectLock(BucketSetting):
    """Object lock, which cannot be turned off again, and the default retention of new versions, if any.

    Attributes:
        days, years: the retention; set only one of them.
        hold_days, hold_years: the default event hold; set only one of them.
    """

    mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = None
    days: int | None = None
    years: int | None = None
    hold_days: int | None = None
    hold_years: int | None = None

    def check(self) -> None:
        """Refuse a mode without exactly one of days and years, of at least 1."""
        periods = [period for period in (self.days, self.years) if period is not None]
        if len(periods) != (0 if self.mode is None else 1):
            raise InvalidOption("a lock mode needs either days or years", hint="set mode and days, or neither")
        if any(period < 1 for period in periods):
            raise InvalidOption("a retention must be at least 1 day", hint="omit mode and days for no retention")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsRule:
    """What pages from another origin may do; `max_age` is in seconds."""

    methods: tuple[str, ...]
    origins: tuple[str, ...]
    headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: int | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Cors(BucketSetting):
    """Cross-origin resource sharing."""

    rules: tuple[CorsRule, ...]

    def check(self) -> None:
        """Check the rules (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CORSRule.html)."""
        if not 1 <= len(self.rules) <= 100:
            raise InvalidOption(f"{len(self.rules)} CORS rules; S3 allows 1 to 100", hint="remove_setting removes all")
        for rule in self.rules:
            if not rule.origins or not rule.methods or set(rule.methods) - {"GET", "PUT", "HEAD", "POST", "DELETE"}:
                raise InvalidOption(
                    "a CORS rule needs origins and methods: GET, PUT, HEAD, POST or DELETE",
                    hint="write methods in upper case",
                )

    def matches(self, current: BucketSetting | None) -> bool:
        """Compare in order, ignoring ids if this rule has none; some servers return 0 for no `max_age`."""
        if not isinstance(current, Cors) or len(self.rules) != len(current.rules):
            return False
        return all(
            replace(mine, id=mine.id or other.id, max_age=mine.max_age or 0)
            == replace(other, max_age=other.max_age or 0)
            for mine, other in zip(self.rules, current.rules, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """The destination of events of keys with this prefix and suffix.

    Attributes:
        id: S3 generates one if it is None.
    """

    arn: str
    events: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifications(BucketSetting):
    """Events to SNS topics, SQS queues, Lambda functions and EventBridge."""

    topics: tuple[Notification, ...] = ()
    queues: tuple[Notification, ...] = ()
    functions: tuple[Notification, ...] = ()
    eventbridge: bool = False

    def check(self) -> None:
        """Refuse a notification without a destination or an event."""
        for one in (*self.topics, *self.queues, *self.functions):
            if not one.arn or not one.events:
                raise InvalidOption(
                    "a notification needs an ARN and events", hint="use events such as ('s3:ObjectCreated:*',)"
                )

    def matches(self, current: BucketSetting | None) -> bool:
        """Compare without order, ignoring ids if this one has none; no notifications equal no setting."""
        current = current or Notifications()
        if not isinstance(current, Notifications) or self.eventbridge != current.eventbridge:
            return False
        return all(
            _same_notifications(getattr(self, name), getattr(current, name))
            for name in ("topics", "queues", "functions")
        )


def _same_notifications(wanted: tuple[Notification, ...], current: tuple[Notification, ...]) -> bool:
    left = list(current)
    for one in wanted:
        same = next((other for other in left if _same_notification(one, other)), None)
        if same is None:
            return False
        left.remove(same)
    return not left


def _same_notification(wanted: Notification, current: Notification) -> bool:
    names = [field.name for field in fields(wanted) if field.name not in ("id", "events")]
    same = all(getattr(wanted, name) == getattr(current, name) for name in names)
    return same and set(wanted.events) == set(current.events) and wanted.id in (None, current.id)


def _canonical(text: str) -> str:
    """Normalize a policy: S3 returns single-item lists as strings, and accounts as ARNs."""
    try:
        return json.dumps(_normal(json.loads(text)), sort_keys=True)
    except ValueError:
        return text


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _principals(one) if key == "AWS" else _normal(one) for key, one in value.items()}
    if isinstance(value, list):
        items = [_normal(one) for one in value]
        return items[0] if len(items) == 1 else sorted(items, key=lambda one: json.dumps(one, sort_keys=True))
    return str(value).lower() if isinstance(value, bool) else value


def _principals(value: Any) -> Any:
    named = value if isinstance(value, list) else [value]
    return _normal([f"arn:aws:iam::{one}:root" if str(one).isdigit() else one for one in named])


MAX_REPLICATION_RULES = 1000
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-add-config.html."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationDestination:
    """The destination of replicas.

    Attributes:
        bucket: the ARN of the bucket.
        account: the account that owns the bucket, if it is another one.
        storage_class: of the replicas; None keeps the source's.
        owner_override: make the destination's account the owner of the replicas; needs `account`.
        kms_key_id: the key for replicas of objects that are encrypted with KMS.
        deadline_minutes: replication time control: the time within which S3 promises to replicate (15).
        metrics: publish replication metrics.
        threshold_minutes: the time after which a missed-threshold event is published (15).
    """

    bucket: str
    account: str | None = None
    storage_class: str | None = None
    owner_override: bool = False
    kms_key_id: str | None = None
    deadline_minutes: int | None = None
    metrics: bool = False
    threshold_minutes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationRule:
    """Which objects are replicated, and to which destination.

    Attributes:
        id: names the rule, at most 255 characters.
        priority: if two rules with the same destination match, the higher priority wins.
        delete_markers: replicate delete markers as well; not with `tags`.
        kms_objects: replicate objects that are encrypted with KMS; needs the destination's `kms_key_id`.
        replica_modifications: replicate metadata changes made on replicas.
        existing_objects: replicate objects that existed before the rule.
    """

    id: str
    destination: ReplicationDestination
    priority: int | None = None
    prefix: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True
    delete_markers: bool = False
    kms_objects: bool = False
    replica_modifications: bool = False
    existing_objects: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication(BucketSetting):
    """The replication rules of a bucket; `role` is the ARN of the IAM role that S3 assumes."""

    role: str
    rules: tuple[ReplicationRule, ...]

    def check(self) -> None:
        """Check S3's documented rules (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ReplicationRule.html)."""
        if not 1 <= len(self.rules) <= MAX_REPLICATION_RULES:
            raise InvalidOption(
                f"{len(self.rules)} replication rules, but S3 allows 1 to {MAX_REPLICATION_RULES}",
                hint="remove_setting drops all",
            )
        priorities = [rule.priority for rule in self.rules]
        if len(set(priorities)) < len(priorities):
            raise InvalidOption("two replication rules have the same priority", hint="give each another number")
        for rule in self.rules:
            problem = _replication_problem(rule)
            if problem:
                raise InvalidOption(f"replication rule '{rule.id}': {problem}", hint="S3 would refuse it")

    def matches(self, current: BucketSetting | None) -> bool:
        """Compare without the order of rules."""
        if not isinstance(current, Replication) or self.role != current.role:
            return False
        return sorted(self.rules, key=_rule_id) == sorted(current.rules, key=_rule_id)


def _rule_id(rule: ReplicationRule) -> str:
    return rule.id


def _replication_problem(rule: ReplicationRule) -> str | None:
    destination = rule.destination
    if len(rule.id) > 255:
        return f"the id has {len(rule.id)} characters, but 255 are allowed"
    if ":s3:::" not in destination.bucket:
        return f"its destination '{destination.bucket}' is not a bucket ARN such as 'arn:aws:s3:::name'"
    if destination.owner_override and destination.account is None:
        return "owner_override needs the destination's account"
    if rule.delete_markers and rule.tags:
        return "delete_markers cannot be used with tags: delete markers have none"
    if rule.kms_objects != (destination.kms_key_id is not None):
        return "kms_objects and the destination's kms_key_id need each other"
    if destination.deadline_minutes is not None and not destination.metrics:
        return "replication time control needs metrics"
    return None
