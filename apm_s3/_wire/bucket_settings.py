"""Converts bucket settings to S3's documents and back, without loss. Pure.

The documents are boto3's: nested mappings, as in parameters of a Put and results of a Get. A table names the attribute
for each member of a document. What a table does not name is refused when it is read, because it would be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from apm_s3.errors import FormatTooNew
from apm_s3.options._bucket_settings import (
    AccessLogging,
    BucketSetting,
    Cors,
    CorsRule,
    Encryption,
    LogGrant,
    Notification,
    Notifications,
    ObjectLock,
    OwnershipControls,
    Policy,
    PublicAccessBlock,
    Replication,
    ReplicationDestination,
    ReplicationRule,
    Tags,
    Versioning,
)
from apm_s3.options._buckets import Lifecycle, LifecycleRule, MinimumSize, NoncurrentTransition, Transition

Document = Mapping[str, Any]
Fields = Mapping[str, str]
"""The attribute for each member."""


# --------------------------------------------------------------------------------------------------------------
# Parts of documents


def known(document: Document, names: Iterable[str], *, where: str) -> Document:
    """Return `document` if it has only members in `names`.

    Raises:
        FormatTooNew: it has an unknown member, which would be lost.
    """
    unknown = sorted(document.keys() - set(names))
    if unknown:
        raise FormatTooNew(f"{where} has {', '.join(unknown)}, which this version does not support")
    return document


def present(**members: Any) -> dict[str, Any]:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def _members(setting: object, fields: Fields) -> dict[str, Any]:
    """Return the members for the attributes that are set."""
    found = {member: getattr(setting, attribute) for member, attribute in fields.items()}
    return {
        member: list(value) if isinstance(value, tuple) else value
        for member, value in found.items()
        if value is not None and value is not False and value != ()
    }


def _attributes(document: Document | None, fields: Fields, *, where: str) -> dict[str, Any]:
    """Return the attributes for the members that are present.

    Raises:
        FormatTooNew: see `known`.
    """
    found = known(document or {}, fields, where=where)
    return {
        fields[member]: tuple(value) if isinstance(value, list) else value
        for member, value in found.items()
        if value is not None
    }


def _switch(on: bool) -> dict[str, Any]:
    return {"Status": "Enabled" if on else "Disabled"}


def _is_on(document: Document | None) -> bool:
    return document is not None and document.get("Status") == "Enabled"


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _tag_mapping(tags: Iterable[Document]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


_SIZES = {"ObjectSizeGreaterThan": "larger_than", "ObjectSizeLessThan": "smaller_than"}


def _rule_filter(rule: LifecycleRule | ReplicationRule, bounds: dict[str, Any]) -> dict[str, Any]:
    """Return the Filter of a rule: a single condition by itself, several in an And."""
    tags = _tag_list(rule.tags)
    if len(tags) + len(bounds) + bool(rule.prefix) > 1:
        return {"And": present(Prefix=rule.prefix or None, Tags=tags or None) | bounds}
    return {"Tag": tags[0]} if tags else bounds or {"Prefix": rule.prefix}


def _filter_conditions(rule: Document, *, where: str) -> tuple[str, dict[str, str], Document]:
    """Return (prefix, tags, all conditions) of a rule's Filter, or of the Prefix in older documents."""
    where = f"{where}'s filter"
    outer = known(rule.get("Filter") or {}, ("Prefix", "Tag", "And", *_SIZES), where=where)
    inner = known(outer.get("And") or outer, ("Prefix", "Tag", "Tags", *_SIZES), where=where)
    tags = _tag_mapping([*inner.get("Tags", ()), *([inner["Tag"]] if "Tag" in inner else ())])
    return inner.get("Prefix") or rule.get("Prefix") or "", tags, inner


# --------------------------------------------------------------------------------------------------------------
# The lifecycle

_DEFAULT_SIZE: MinimumSize = "all_storage_classes_128K"
_EXPIRATION = {"Days": "expire_days", "Date": "expire_date", "ExpiredObjectDeleteMarker": "expire_markers"}
_NONCURRENT = {"NoncurrentDays": "noncurrent_days", "NewerNoncurrentVersions": "noncurrent_keep"}
_ABORT = {"DaysAfterInitiation": "abort_uploads_days"}
_TRANSITION = {"StorageClass": "storage_class", "Days": "days", "Date": "date"}
_NONCURRENT_TRANSITION = {"StorageClass": "storage_class", "NoncurrentDays": "days", "NewerNoncurrentVersions": "keep"}
_GROUPS = {
    "Expiration": _EXPIRATION,
    "NoncurrentVersionExpiration": _NONCURRENT,
    "AbortIncompleteMultipartUpload": _ABORT,
}
_LIFECYCLE_RULE = ("ID", "Prefix", "Filter", "Status", "Transitions", "NoncurrentVersionTransitions", *_GROUPS)


def _write_lifecycle(setting: Lifecycle) -> dict[str, Any]:
    params: dict[str, Any] = {"LifecycleConfiguration": {"Rules": [_write_rule(rule) for rule in setting.rules]}}
    # Omitted if it is S3's default, because some servers do not know the header.
    if setting.minimum_size != _DEFAULT_SIZE:
        params["TransitionDefaultMinimumObjectSize"] = setting.minimum_size
    return params


def _read_lifecycle(response: Document) -> Lifecycle | None:
    rules = response.get("Rules") or ()
    if not rules:
        return None
    return Lifecycle(
        rules=tuple(_read_rule(rule) for rule in rules),
        minimum_size=response.get("TransitionDefaultMinimumObjectSize") or _DEFAULT_SIZE,
    )


def _write_rule(rule: LifecycleRule) -> dict[str, Any]:
    moves = [_members(move, _TRANSITION) for move in rule.transitions]
    noncurrent = [_members(move, _NONCURRENT_TRANSITION) for move in rule.noncurrent_transitions]
    return present(
        ID=rule.id or None,
        Filter=_rule_filter(rule, _members(rule, _SIZES)),
        Transitions=moves or None,
        NoncurrentVersionTransitions=noncurrent or None,
        **_switch(rule.enabled),
        **{member: _members(rule, fields) or None for member, fields in _GROUPS.items()},
    )


def _read_rule(document: Document) -> LifecycleRule:
    where = f"lifecycle rule '{document.get('ID', '')}'"
    known(document, _LIFECYCLE_RULE, where=where)
    prefix, tags, conditions = _filter_conditions(document, where=where)
    read: dict[str, Any] = {}
    for member, fields in _GROUPS.items():
        read |= _attributes(document.get(member), fields, where=where)
    return LifecycleRule(
        id=document.get("ID", ""),
        prefix=prefix,
        tags=tags,
        larger_than=conditions.get("ObjectSizeGreaterThan"),
        smaller_than=conditions.get("ObjectSizeLessThan"),
        enabled=_is_on(document),
        transitions=tuple(
            Transition(**_attributes(move, _TRANSITION, where=where)) for move in document.get("Transitions") or ()
        ),
        noncurrent_transitions=tuple(
            NoncurrentTransition(**{"days": 0} | _attributes(move, _NONCURRENT_TRANSITION, where=where))
            for move in document.get("NoncurrentVersionTransitions") or ()
        ),
        **read,
    )


# --------------------------------------------------------------------------------------------------------------
# Replication

_REPLICATION_RULE = (
    "ID", "Priority", "Prefix", "Filter", "Status", "SourceSelectionCriteria", "ExistingObjectReplication",
    "Destination", "DeleteMarkerReplication",
)  # fmt: skip
_CRITERIA = {"SseKmsEncryptedObjects": "kms_objects", "ReplicaModifications": "replica_modifications"}
_DESTINATION = {"Bucket": "bucket", "Account": "account", "StorageClass": "storage_class"}
_DESTINATION_PARTS = ("AccessControlTranslation", "EncryptionConfiguration", "ReplicationTime", "Metrics")


def _write_replication(setting: Replication) -> dict[str, Any]:
    rules = [_write_replication_rule(rule) for rule in setting.rules]
    return {"ReplicationConfiguration": {"Role": setting.role, "Rules": rules}}


def _read_replication(response: Document) -> Replication | None:
    document = response.get("ReplicationConfiguration")
    if not document or not document.get("Rules"):
        return None
    known(document, ("Role", "Rules"), where="the replication configuration")
    return Replication(role=document["Role"], rules=tuple(_read_replication_rule(rule) for rule in document["Rules"]))


def _write_replication_rule(rule: ReplicationRule) -> dict[str, Any]:
    criteria = {member: _switch(on=True) for member in _members(rule, _CRITERIA)}
    return present(
        ID=rule.id or None,
        # With a Filter, S3 requires a priority and a setting for delete markers.
        Priority=rule.priority if rule.priority is not None else 0,
        Filter=_rule_filter(rule, {}),
        SourceSelectionCriteria=criteria or None,
        ExistingObjectReplication=_switch(on=True) if rule.existing_objects else None,
        DeleteMarkerReplication=_switch(rule.delete_markers),
        Destination=_write_destination(rule.destination),
        **_switch(rule.enabled),
    )


def _write_destination(destination: ReplicationDestination) -> dict[str, Any]:
    metrics = _switch(on=True)
    if destination.threshold_minutes is not None:
        metrics["EventThreshold"] = {"Minutes": destination.threshold_minutes}
    time = _switch(on=True) | {"Time": {"Minutes": destination.deadline_minutes}}
    key = destination.kms_key_id
    return _members(destination, _DESTINATION) | present(
        AccessControlTranslation={"Owner": "Destination"} if destination.owner_override else None,
        EncryptionConfiguration=None if key is None else {"ReplicaKmsKeyID": key},
        ReplicationTime=None if destination.deadline_minutes is None else time,
        Metrics=metrics if destination.metrics else None,
    )


def _read_replication_rule(document: Document) -> ReplicationRule:
    where = f"replication rule '{document.get('ID', '')}'"
    known(document, _REPLICATION_RULE, where=where)
    prefix, tags, _ = _filter_conditions(document, where=where)
    criteria = _attributes(document.get("SourceSelectionCriteria"), _CRITERIA, where=where)
    markers = document.get("DeleteMarkerReplication")
    return ReplicationRule(
        id=document.get("ID", ""),
        destination=_read_destination(document["Destination"], where),
        priority=document.get("Priority", 0),
        prefix=prefix,
        tags=tags,
        enabled=_is_on(document),
        # A rule in the older form (Prefix without Filter) always replicates delete markers.
        delete_markers=_is_on(markers) if markers or "Filter" in document else True,
        existing_objects=_is_on(document.get("ExistingObjectReplication")),
        **{attribute: _is_on(switch) for attribute, switch in criteria.items()},
    )


def _read_destination(document: Document, where: str) -> ReplicationDestination:
    known(document, (*_DESTINATION, *_DESTINATION_PARTS), where=where)
    time, metrics = document.get("ReplicationTime"), document.get("Metrics")
    plain = {member: value for member, value in document.items() if member in _DESTINATION}
    return ReplicationDestination(
        owner_override=document.get("AccessControlTranslation", {}).get("Owner") == "Destination",
        kms_key_id=document.get("EncryptionConfiguration", {}).get("ReplicaKmsKeyID"),
        deadline_minutes=time["Time"]["Minutes"] if time and _is_on(time) else None,
        metrics=_is_on(metrics),
        threshold_minutes=(metrics or {}).get("EventThreshold", {}).get("Minutes") if _is_on(metrics) else None,
        **_attributes(plain, _DESTINATION, where=where),
    )


# --------------------------------------------------------------------------------------------------------------
# Notifications

_LISTS = {
    "topics": ("TopicConfigurations", "TopicArn"),
    "queues": ("QueueConfigurations", "QueueArn"),
    "functions": ("LambdaFunctionConfigurations", "LambdaFunctionArn"),
}


def _write_notifications(setting: Notifications) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, (member, arn) in _LISTS.items():
        entries = [_write_notification(one, arn) for one in getattr(setting, name)]
        if entries:
            document[member] = entries
    if setting.eventbridge:
        document["EventBridgeConfiguration"] = {}
    return {"NotificationConfiguration": document}


def _read_notifications(response: Document) -> Notifications | None:
    lists = {
        name: tuple(_read_notification(entry, arn) for entry in response.get(member) or ())
        for name, (member, arn) in _LISTS.items()
    }
    eventbridge = response.get("EventBridgeConfiguration") is not None
    if not eventbridge and not any(lists.values()):
        return None
    return Notifications(**lists, eventbridge=eventbridge)


def _write_notification(one: Notification, arn: str) -> dict[str, Any]:
    rules = [
        {"Name": name, "Value": value} for name, value in (("prefix", one.prefix), ("suffix", one.suffix)) if value
    ]
    return {arn: one.arn, "Events": list(one.events)} | present(
        Id=one.id, Filter={"Key": {"FilterRules": rules}} if rules else None
    )


def _read_notification(entry: Document, arn: str) -> Notification:
    known(entry, ("Id", arn, "Events", "Filter"), where=f"notification '{entry.get('Id', '')}'")
    rules = (entry.get("Filter") or {}).get("Key", {}).get("FilterRules") or ()
    # S3 returns "Prefix" for "prefix".
    conditions = {rule["Name"].lower(): rule.get("Value", "") for rule in rules}
    return Notification(
        arn=entry[arn],
        events=tuple(entry.get("Events") or ()),
        prefix=conditions.get("prefix", ""),
        suffix=conditions.get("suffix", ""),
        id=entry.get("Id"),
    )


# --------------------------------------------------------------------------------------------------------------
# The small settings

_BLOCK = {
    "BlockPublicAcls": "block_public_acls",
    "IgnorePublicAcls": "ignore_public_acls",
    "BlockPublicPolicy": "block_public_policy",
    "RestrictPublicBuckets": "restrict_public_buckets",
}
_ENCRYPTION_RULE = ("ApplyServerSideEncryptionByDefault", "BucketKeyEnabled", "BlockedEncryptionTypes")
_ENCRYPTION = {"SSEAlgorithm": "algorithm", "KMSMasterKeyID": "kms_key_id"}
_LOGGING = ("TargetBucket", "TargetPrefix", "TargetObjectKeyFormat", "TargetGrants")
_GRANTEE = {
    "Type": "type", "ID": "id", "EmailAddress": "email", "URI": "uri", "DisplayName": "display_name"
}  # fmt: skip
_RETENTION = {"Mode": "mode", "Days": "days", "Years": "years"}
_HOLD = {"Days": "hold_days", "Years": "hold_years"}
_CORS_RULE = {
    "ID": "id",
    "AllowedMethods": "methods",
    "AllowedOrigins": "origins",
    "AllowedHeaders": "headers",
    "ExposeHeaders": "expose_headers",
    "MaxAgeSeconds": "max_age",
}


def _write_versioning(setting: Versioning) -> dict[str, Any]:
    document = {"Status": "Enabled" if setting.enabled else "Suspended"}
    if setting.mfa_delete:
        document["MFADelete"] = "Enabled"
    return {"VersioningConfiguration": document}


def _read_versioning(response: Document) -> Versioning | None:
    """Read the result of GetBucketVersioning, which is empty if versioning was never on."""
    status = response.get("Status")
    if status not in ("Enabled", "Suspended"):
        return None
    # boto3 names the member MFADelete, the XML MfaDelete.
    return Versioning(enabled=status == "Enabled", mfa_delete=response.get("MFADelete") == "Enabled")


def _write_encryption(setting: Encryption) -> dict[str, Any]:
    rule: dict[str, Any] = {"ApplyServerSideEncryptionByDefault": _members(setting, _ENCRYPTION)}
    if setting.bucket_key:
        rule["BucketKeyEnabled"] = True
    if setting.blocked_types is not None:
        rule["BlockedEncryptionTypes"] = {"EncryptionType": list(setting.blocked_types)}
    return {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}


def _read_encryption(response: Document) -> Encryption | None:
    rules = (response.get("ServerSideEncryptionConfiguration") or {}).get("Rules") or ()
    if not rules:
        return None
    if len(rules) > 1:
        raise FormatTooNew(f"the bucket has {len(rules)} encryption rules, but this version supports only one")
    rule = known(rules[0], _ENCRYPTION_RULE, where="the encryption")
    blocked = rule.get("BlockedEncryptionTypes")
    return Encryption(
        bucket_key=bool(rule.get("BucketKeyEnabled")),
        blocked_types=None if blocked is None else tuple(blocked.get("EncryptionType") or ()),
        **_attributes(rule.get("ApplyServerSideEncryptionByDefault"), _ENCRYPTION, where="the encryption"),
    )


def _write_public_access_block(setting: PublicAccessBlock) -> dict[str, Any]:
    return {"PublicAccessBlockConfiguration": {member: getattr(setting, name) for member, name in _BLOCK.items()}}


def _read_public_access_block(response: Document) -> PublicAccessBlock | None:
    """Read the result of GetPublicAccessBlock; missing switches are off."""
    document = response.get("PublicAccessBlockConfiguration")
    if document is None:
        return None
    known(document, _BLOCK, where="the public access block")
    return PublicAccessBlock(**{name: bool(document.get(member)) for member, name in _BLOCK.items()})


def _write_ownership(setting: OwnershipControls) -> dict[str, Any]:
    return {"OwnershipControls": {"Rules": [{"ObjectOwnership": setting.object_ownership}]}}


def _read_ownership(response: Document) -> OwnershipControls | None:
    rules = (response.get("OwnershipControls") or {}).get("Rules") or ()
    if not rules:
        return None
    rule = known(rules[0], ("ObjectOwnership",), where="ownership")
    return OwnershipControls(object_ownership=rule["ObjectOwnership"])


def _read_policy(response: Document) -> Policy | None:
    text = response.get("Policy")
    return Policy(text) if text else None


def _write_tags(setting: Tags) -> dict[str, Any]:
    return {"Tagging": {"TagSet": _tag_list(setting.own())}}


def _read_tags(response: Document) -> Tags | None:
    tags = _tag_mapping(response.get("TagSet") or ())
    return Tags(tags) if tags else None


def _write_logging(setting: AccessLogging) -> dict[str, Any]:
    document: dict[str, Any] = {"TargetBucket": setting.target_bucket, "TargetPrefix": setting.target_prefix}
    if setting.partitioned_by is not None:
        document["TargetObjectKeyFormat"] = {"PartitionedPrefix": {"PartitionDateSource": setting.partitioned_by}}
    if setting.grants:
        document["TargetGrants"] = [
            {"Permission": grant.permission, "Grantee": _members(grant, _GRANTEE)} for grant in setting.grants
        ]
    return {"BucketLoggingStatus": {"LoggingEnabled": document}}


def _read_logging(response: Document) -> AccessLogging | None:
    """Read the result of GetBucketLogging, which is empty if logging is off."""
    document = response.get("LoggingEnabled")
    if not document:
        return None
    known(document, _LOGGING, where="access logging")
    partitioned = (document.get("TargetObjectKeyFormat") or {}).get("PartitionedPrefix") or {}
    return AccessLogging(
        target_bucket=document["TargetBucket"],
        target_prefix=document.get("TargetPrefix", ""),
        partitioned_by=partitioned.get("PartitionDateSource"),
        grants=tuple(_read_grant(grant) for grant in document.get("TargetGrants") or ()),
    )


def _read_grant(document: Document) -> LogGrant:
    known(document, ("Permission", "Grantee"), where="a log grant")
    grantee = _attributes(document["Grantee"], _GRANTEE, where="a log grant")
    return LogGrant(permission=document["Permission"], **grantee)


def _write_object_lock(setting: ObjectLock) -> dict[str, Any]:
    retention = _members(setting, _RETENTION)
    if hold := _members(setting, _HOLD):
        retention["DefaultEventHold"] = hold
    document: dict[str, Any] = {"ObjectLockEnabled": "Enabled"}
    if retention:
        document["Rule"] = {"DefaultRetention": retention}
    return {"ObjectLockConfiguration": document}


def _read_object_lock(response: Document) -> ObjectLock | None:
    document = response.get("ObjectLockConfiguration")
    if not document or document.get("ObjectLockEnabled") != "Enabled":
        return None
    where = "the object lock"
    rule = known(document.get("Rule") or {}, ("DefaultRetention",), where=where)
    retention = dict(known(rule.get("DefaultRetention") or {}, (*_RETENTION, "DefaultEventHold"), where=where))
    hold = retention.pop("DefaultEventHold", None)
    # Some servers return 0 for the missing one of days and years, which S3 does not accept.
    retention = {member: value or None for member, value in retention.items()}
    return ObjectLock(**_attributes(retention, _RETENTION, where=where), **_attributes(hold, _HOLD, where=where))


def _write_cors(setting: Cors) -> dict[str, Any]:
    return {"CORSConfiguration": {"CORSRules": [_members(rule, _CORS_RULE) for rule in setting.rules]}}


def _read_cors(response: Document) -> Cors | None:
    rules = response.get("CORSRules") or ()
    if not rules:
        return None
    return Cors(tuple(CorsRule(**_attributes(rule, _CORS_RULE, where="a CORS rule")) for rule in rules))


# --------------------------------------------------------------------------------------------------------------
# All settings


@dataclass(frozen=True, slots=True)
class SettingApi:
    """How one kind of setting is read, written and removed.

    Attributes:
        get, put, remove: methods of the client.
        read: returns the setting in the result of `get`, or None.
        write: returns the parameters of `put`, without the bucket's name.
        removal: the parameters of `remove`, without the bucket's name, if the setting is removed by an empty Put.
        subresource: the query parameter that names the setting in the URL.
    """

    get: str
    put: str
    remove: str
    read: Callable[[Mapping[str, Any]], BucketSetting | None]
    write: Callable[[Any], dict[str, Any]]
    subresource: str
    removal: Mapping[str, Any]


def _api(
    name: str,
    read: Callable[[Mapping[str, Any]], BucketSetting | None],
    write: Callable[[Any], dict[str, Any]],
    subresource: str,
    *,
    stored_as: str | None = None,
    removal: Mapping[str, Any] | None = None,
) -> SettingApi:
    full = stored_as or name
    remove = f"delete_{name}" if removal is None else f"put_{full}"
    return SettingApi(f"get_{full}", f"put_{full}", remove, read, write, subresource, removal or {})


SETTINGS: Mapping[type[BucketSetting], SettingApi] = {
    Lifecycle: _api(
        "bucket_lifecycle",
        _read_lifecycle,
        _write_lifecycle,
        "lifecycle",
        stored_as="bucket_lifecycle_configuration",
    ),
    Versioning: _api(
        "bucket_versioning",
        _read_versioning,
        _write_versioning,
        "versioning",
        removal={"VersioningConfiguration": {"Status": "Suspended"}},
    ),
    Encryption: _api("bucket_encryption", _read_encryption, _write_encryption, "encryption"),
    OwnershipControls: _api(
        "bucket_ownership_controls",
        _read_ownership,
        _write_ownership,
        "ownershipControls",
    ),
    PublicAccessBlock: _api(
        "public_access_block",
        _read_public_access_block,
        _write_public_access_block,
        "publicAccessBlock",
    ),
    Tags: _api("bucket_tagging", _read_tags, _write_tags, "tagging"),
    ObjectLock: _api(
        "object_lock_configuration",
        _read_object_lock,
        _write_object_lock,
        "object-lock",
        removal={"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}},
    ),
    Cors: _api("bucket_cors", _read_cors, _write_cors, "cors"),
    AccessLogging: _api(
        "bucket_logging", _read_logging, _write_logging, "logging", removal={"BucketLoggingStatus": {}}
    ),
    Notifications: _api(
        "bucket_notification_configuration",
        _read_notifications,
        _write_notifications,
        "notification",
        removal={"NotificationConfiguration": {}},
    ),
    Replication: _api("bucket_replication", _read_replication, _write_replication, "replication"),
    Policy: _api("bucket_policy", _read_policy, lambda setting: {"Policy": setting.text}, "policy"),
}
