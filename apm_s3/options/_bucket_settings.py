"""The settings of a bucket: frozen, free of I/O.

Every kind of setting is a `BucketSetting`. What S3 would refuse is found by `check()` before anything is sent; a
setting that was read back is not checked, since S3-compatible servers allow more. Lifecycle and replication, the two
large ones, have modules of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from apm_s3.errors import InvalidOption
from apm_s3.options._calls import SseAlgorithm

MAX_TAGS = 50
"""Of a bucket, https://docs.aws.amazon.com/AmazonS3/latest/userguide/CostAllocTagging.html."""

MAX_POLICY_BYTES = 20 * 1024
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html."""

SYSTEM_TAGS = "aws:"
"""The prefix of the tags that AWS itself keeps: they are read, never written."""


class BucketSetting:
    """The root of all kinds of settings."""

    __slots__ = ()

    def check(self) -> None:
        """Refuse what S3 would refuse.

        Raises:
            InvalidOption: S3 does not take this setting; the message says why.
        """

    def matches(self, current: BucketSetting | None) -> bool:
        """Whether a bucket that has `current` needs no change to have this setting."""
        return self == current


S = TypeVar("S", bound=BucketSetting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Versioning(BucketSetting):
    """Whether a bucket keeps old versions.

    Attributes:
        enabled: False is S3's "Suspended"; a bucket that never had versioning has no such setting.
        mfa_delete: whether deleting a version, and changing this setting, takes an MFA code. Only the root user of
            the account can turn it on or off, and S3 takes no lifecycle rules beside it
            (https://docs.aws.amazon.com/AmazonS3/latest/userguide/MultiFactorAuthenticationDelete.html).
    """

    enabled: bool = True
    mfa_delete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption(BucketSetting):
    """How objects are encrypted that name no encryption themselves.

    Attributes:
        kms_key_id: id, ARN or alias; with "aws:kms" and no key, S3 uses the AWS managed one.
        bucket_key: one data key for many objects: far fewer requests to KMS.
        blocked_types: kinds of encryption that uploads may not use ("SSE-C"); None leaves S3's default.
    """

    algorithm: SseAlgorithm = "AES256"
    kms_key_id: str | None = None
    bucket_key: bool = False
    blocked_types: tuple[str, ...] | None = None

    def check(self) -> None:
        """A KMS key needs a KMS algorithm."""
        if self.kms_key_id is not None and self.algorithm == "AES256":
            raise InvalidOption("kms_key_id needs algorithm='aws:kms'", hint="set algorithm='aws:kms' too")

    def matches(self, current: BucketSetting | None) -> bool:
        """Equal, `blocked_types` left aside where it is None."""
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
    """Who owns uploaded objects; "BucketOwnerEnforced" also turns ACLs off."""

    object_ownership: Literal["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"] = "BucketOwnerEnforced"


@dataclass(frozen=True, slots=True, eq=False)
class Policy(BucketSetting):
    """A bucket policy: its JSON text, kept as it is. Equal policies mean the same, however they are written."""

    text: str

    @classmethod
    def of(cls, statements: Iterable[Mapping[str, Any]]) -> Policy:
        """A policy of these statements."""
        return cls(json.dumps({"Version": "2012-10-17", "Statement": [dict(one) for one in statements]}, indent=2))

    @property
    def document(self) -> dict[str, Any]:
        """The parsed text."""
        parsed: dict[str, Any] = json.loads(self.text)
        return parsed

    def check(self) -> None:
        """It is a JSON object with statements, not too large for S3."""
        size = len(self.text.encode())
        if size > MAX_POLICY_BYTES:
            raise InvalidOption(
                f"a policy of {size} bytes is more than the {MAX_POLICY_BYTES} that S3 allows",
                hint="merge statements, or move some into IAM",
            )
        try:
            document = json.loads(self.text)
        except ValueError as exc:
            raise InvalidOption(f"the policy is no JSON: {exc}", hint="Policy.of(statements) builds one") from exc
        if not isinstance(document, dict) or not document.get("Statement"):
            raise InvalidOption("the policy has no Statement", hint="Policy.of(statements) builds one")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Policy) and _canonical(self.text) == _canonical(other.text)

    def __hash__(self) -> int:
        return hash(_canonical(self.text))


@dataclass(frozen=True, slots=True)
class Tags(BucketSetting):
    """The tags of a bucket. System tags ("aws:...") are read, never written."""

    values: Mapping[str, str]

    def check(self) -> None:
        """At most 50, names of 1 to 128 characters, values of at most 256."""
        own = self.own()
        if len(own) > MAX_TAGS:
            raise InvalidOption(f"{len(own)} tags are more than the {MAX_TAGS} that S3 allows", hint="drop some")
        for name, value in own.items():
            if not 1 <= len(name) <= 128 or len(value) > 256:
                raise InvalidOption(
                    f"tag '{name[:40]}' is too long: names have 1 to 128 characters, values at most 256",
                    hint="shorten it",
                )

    def own(self) -> dict[str, str]:
        """Without the system tags."""
        return {name: value for name, value in self.values.items() if not name.startswith(SYSTEM_TAGS)}

    def matches(self, current: BucketSetting | None) -> bool:
        """Equal, system tags left aside; no tags are no setting."""
        found = current.own() if isinstance(current, Tags) else {}
        return self.own() == found


@dataclass(frozen=True, slots=True, kw_only=True)
class LogGrant:
    """Who may do what with the access logs, where the target bucket still has ACLs.

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
    """Server access logs, written into another bucket.

    Attributes:
        partitioned_by: the date in the keys of the logs; None is S3's simple key format.
    """

    target_bucket: str
    target_prefix: str = ""
    partitioned_by: Literal["EventTime", "DeliveryTime"] | None = None
    grants: tuple[LogGrant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectLock(BucketSetting):
    """Object lock, which cannot be turned off again, and the retention that new versions get, if any.

    Attributes:
        days, years: how long; one of them.
        hold_days, hold_years: the default event hold; one of them.
    """

    mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = None
    days: int | None = None
    years: int | None = None
    hold_days: int | None = None
    hold_years: int | None = None

    def check(self) -> None:
        """A mode comes with either days or years, of at least 1."""
        periods = [period for period in (self.days, self.years) if period is not None]
        if len(periods) != (0 if self.mode is None else 1):
            raise InvalidOption("a lock mode comes with either days or years", hint="give mode and days, or neither")
        if any(period < 1 for period in periods):
            raise InvalidOption("a retention is at least 1 day", hint="leave mode and days out for none")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsRule:
    """What a browser page of another origin may do; `max_age` is in seconds."""

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
        """1 to 100 rules, of methods that S3 knows (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CORSRule.html)."""
        if not 1 <= len(self.rules) <= 100:
            raise InvalidOption(f"{len(self.rules)} CORS rules, but S3 takes 1 to 100", hint="remove_setting drops all")
        for rule in self.rules:
            if not rule.origins or not rule.methods or set(rule.methods) - {"GET", "PUT", "HEAD", "POST", "DELETE"}:
                raise InvalidOption(
                    "a CORS rule needs origins, and methods out of GET, PUT, HEAD, POST and DELETE",
                    hint="name them in capitals",
                )

    def matches(self, current: BucketSetting | None) -> bool:
        """Equal in order, ids left aside where this one has none; some servers write 0 for no `max_age`."""
        if not isinstance(current, Cors) or len(self.rules) != len(current.rules):
            return False
        return all(
            replace(mine, id=mine.id or other.id, max_age=mine.max_age or 0)
            == replace(other, max_age=other.max_age or 0)
            for mine, other in zip(self.rules, current.rules, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """Where events of keys with this prefix and suffix are sent to.

    Attributes:
        id: S3 makes one up where it is None.
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
        """Each names a destination and at least one event."""
        for one in (*self.topics, *self.queues, *self.functions):
            if not one.arn or not one.events:
                raise InvalidOption("a notification needs an ARN and events", hint="events=('s3:ObjectCreated:*',)")

    def matches(self, current: BucketSetting | None) -> bool:
        """Equal, ids left aside where this one has none; S3 keeps no order, and none are no setting."""
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
    """The meaning of a policy as text: S3 gives back lists of one as strings, and accounts as ARNs."""
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
