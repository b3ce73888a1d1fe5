"""Replication of a bucket's objects to other buckets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from apm_s3.errors import InvalidOption
from apm_s3.options._bucket_settings import BucketSetting

MAX_RULES = 1000
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
        if not 1 <= len(self.rules) <= MAX_RULES:
            raise InvalidOption(
                f"{len(self.rules)} replication rules, but S3 allows 1 to {MAX_RULES}", hint="remove_setting drops all"
            )
        priorities = [rule.priority for rule in self.rules]
        if len(set(priorities)) < len(priorities):
            raise InvalidOption("two replication rules have the same priority", hint="give each another number")
        for rule in self.rules:
            problem = _rule_problem(rule)
            if problem:
                raise InvalidOption(f"replication rule '{rule.id}': {problem}", hint="S3 would refuse it")

    def matches(self, current: BucketSetting | None) -> bool:
        """Compare without the order of rules."""
        if not isinstance(current, Replication) or self.role != current.role:
            return False
        return sorted(self.rules, key=_rule_id) == sorted(current.rules, key=_rule_id)


def _rule_id(rule: ReplicationRule) -> str:
    return rule.id


def _rule_problem(rule: ReplicationRule) -> str | None:
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
