"""Converts lifecycle rules to S3's documents and back."""

from __future__ import annotations

from typing import Any

from apm_s3._wire.documents.members import Document, filter_conditions, known, present, rule_filter
from apm_s3.options._lifecycle import Lifecycle, LifecycleRule, MinimumSize, NoncurrentTransition, Transition

_DEFAULT_SIZE: MinimumSize = "all_storage_classes_128K"
_RULE = (
    "ID Prefix Filter Status Expiration Transitions NoncurrentVersionTransitions NoncurrentVersionExpiration "
    "AbortIncompleteMultipartUpload"
)


def write_lifecycle(setting: Lifecycle) -> dict[str, Any]:
    """Return the parameters of PutBucketLifecycleConfiguration."""
    params: dict[str, Any] = {"LifecycleConfiguration": {"Rules": [_write_rule(rule) for rule in setting.rules]}}
    # Omitted if it is S3's default, because some servers do not know the header.
    if setting.minimum_size != _DEFAULT_SIZE:
        params["TransitionDefaultMinimumObjectSize"] = setting.minimum_size
    return params


def read_lifecycle(response: Document) -> Lifecycle | None:
    """Read the result of GetBucketLifecycleConfiguration."""
    rules = response.get("Rules") or ()
    if not rules:
        return None
    return Lifecycle(
        rules=tuple(_read_rule(rule) for rule in rules),
        minimum_size=response.get("TransitionDefaultMinimumObjectSize") or _DEFAULT_SIZE,
    )


def _write_rule(rule: LifecycleRule) -> dict[str, Any]:
    expiration = present(
        Days=rule.expire_days, Date=rule.expire_date, ExpiredObjectDeleteMarker=rule.expire_markers or None
    )
    noncurrent = present(NoncurrentDays=rule.noncurrent_days, NewerNoncurrentVersions=rule.noncurrent_keep)
    return present(
        ID=rule.id or None,
        Status="Enabled" if rule.enabled else "Disabled",
        Filter=rule_filter(
            rule.prefix, rule.tags, ObjectSizeGreaterThan=rule.larger_than, ObjectSizeLessThan=rule.smaller_than
        ),
        Expiration=expiration or None,
        Transitions=[
            present(StorageClass=move.storage_class, Days=move.days, Date=move.date) for move in rule.transitions
        ]
        or None,
        NoncurrentVersionTransitions=[
            present(StorageClass=move.storage_class, NoncurrentDays=move.days, NewerNoncurrentVersions=move.keep)
            for move in rule.noncurrent_transitions
        ]
        or None,
        NoncurrentVersionExpiration=noncurrent or None,
        AbortIncompleteMultipartUpload=(
            None if rule.abort_uploads_days is None else {"DaysAfterInitiation": rule.abort_uploads_days}
        ),
    )


def _read_rule(document: Document) -> LifecycleRule:
    where = f"lifecycle rule '{document.get('ID', '')}'"
    known(document, _RULE, where=where)
    prefix, tags, conditions = filter_conditions(document, where=where)
    expiration = known(document.get("Expiration") or {}, "Days Date ExpiredObjectDeleteMarker", where=where)
    noncurrent = known(
        document.get("NoncurrentVersionExpiration") or {}, "NoncurrentDays NewerNoncurrentVersions", where=where
    )
    abort = known(document.get("AbortIncompleteMultipartUpload") or {}, "DaysAfterInitiation", where=where)
    return LifecycleRule(
        id=document.get("ID", ""),
        prefix=prefix,
        tags=tags,
        larger_than=conditions.get("ObjectSizeGreaterThan"),
        smaller_than=conditions.get("ObjectSizeLessThan"),
        enabled=document.get("Status") == "Enabled",
        transitions=tuple(_read_transition(move, where) for move in document.get("Transitions") or ()),
        expire_days=expiration.get("Days"),
        expire_date=expiration.get("Date"),
        expire_markers=bool(expiration.get("ExpiredObjectDeleteMarker")),
        noncurrent_transitions=tuple(
            _read_noncurrent(move, where) for move in document.get("NoncurrentVersionTransitions") or ()
        ),
        noncurrent_days=noncurrent.get("NoncurrentDays"),
        noncurrent_keep=noncurrent.get("NewerNoncurrentVersions"),
        abort_uploads_days=abort.get("DaysAfterInitiation"),
    )


def _read_transition(move: Document, where: str) -> Transition:
    known(move, "StorageClass Days Date", where=where)
    return Transition(storage_class=move["StorageClass"], days=move.get("Days"), date=move.get("Date"))


def _read_noncurrent(move: Document, where: str) -> NoncurrentTransition:
    known(move, "StorageClass NoncurrentDays NewerNoncurrentVersions", where=where)
    return NoncurrentTransition(
        storage_class=move["StorageClass"],
        days=move.get("NoncurrentDays", 0),
        keep=move.get("NewerNoncurrentVersions"),
    )
