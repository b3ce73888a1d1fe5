"""Converts replication rules to S3's documents and back."""

from __future__ import annotations

from typing import Any

from apm_s3._wire.documents.members import (
    Document,
    filter_conditions,
    is_on,
    known,
    present,
    rule_filter,
    switch,
)
from apm_s3.options._replication import Replication, ReplicationDestination, ReplicationRule

_RULE = (
    "ID Priority Prefix Filter Status SourceSelectionCriteria ExistingObjectReplication Destination "
    "DeleteMarkerReplication"
)
_DESTINATION = "Bucket Account StorageClass AccessControlTranslation EncryptionConfiguration ReplicationTime Metrics"


def write_replication(setting: Replication) -> dict[str, Any]:
    """Return the parameters of PutBucketReplication."""
    rules = [_write_rule(rule) for rule in setting.rules]
    return {"ReplicationConfiguration": {"Role": setting.role, "Rules": rules}}


def read_replication(response: Document) -> Replication | None:
    """Read the result of GetBucketReplication."""
    document = response.get("ReplicationConfiguration")
    if not document or not document.get("Rules"):
        return None
    known(document, "Role Rules", where="the replication configuration")
    return Replication(role=document["Role"], rules=tuple(_read_rule(rule) for rule in document["Rules"]))


def _write_rule(rule: ReplicationRule) -> dict[str, Any]:
    criteria: dict[str, Any] = {}
    if rule.kms_objects:
        criteria["SseKmsEncryptedObjects"] = switch(on=True)
    if rule.replica_modifications:
        criteria["ReplicaModifications"] = switch(on=True)
    return present(
        ID=rule.id or None,
        # With a Filter, S3 requires a priority and a setting for delete markers.
        Priority=rule.priority if rule.priority is not None else 0,
        Filter=rule_filter(rule.prefix, rule.tags),
        Status="Enabled" if rule.enabled else "Disabled",
        SourceSelectionCriteria=criteria or None,
        ExistingObjectReplication=switch(on=True) if rule.existing_objects else None,
        DeleteMarkerReplication=switch(rule.delete_markers),
        Destination=_write_destination(rule.destination),
    )


def _write_destination(destination: ReplicationDestination) -> dict[str, Any]:
    metrics: dict[str, Any] = switch(on=True)
    if destination.threshold_minutes is not None:
        metrics["EventThreshold"] = {"Minutes": destination.threshold_minutes}
    time: dict[str, Any] = switch(on=True)
    time["Time"] = {"Minutes": destination.deadline_minutes}
    return present(
        Bucket=destination.bucket,
        Account=destination.account,
        StorageClass=destination.storage_class,
        AccessControlTranslation={"Owner": "Destination"} if destination.owner_override else None,
        EncryptionConfiguration=(
            None if destination.kms_key_id is None else {"ReplicaKmsKeyID": destination.kms_key_id}
        ),
        ReplicationTime=None if destination.deadline_minutes is None else time,
        Metrics=metrics if destination.metrics else None,
    )


def _read_rule(document: Document) -> ReplicationRule:
    where = f"replication rule '{document.get('ID', '')}'"
    known(document, _RULE, where=where)
    prefix, tags, _ = filter_conditions(document, where=where)
    criteria = known(
        document.get("SourceSelectionCriteria") or {}, "SseKmsEncryptedObjects ReplicaModifications", where=where
    )
    markers = document.get("DeleteMarkerReplication")
    return ReplicationRule(
        id=document.get("ID", ""),
        destination=_read_destination(document["Destination"], where),
        priority=document.get("Priority", 0),
        prefix=prefix,
        tags=tags,
        enabled=document.get("Status") == "Enabled",
        # A rule in the older form (Prefix without Filter) always replicates delete markers.
        delete_markers=is_on(markers) if markers or "Filter" in document else True,
        kms_objects=is_on(criteria.get("SseKmsEncryptedObjects")),
        replica_modifications=is_on(criteria.get("ReplicaModifications")),
        existing_objects=is_on(document.get("ExistingObjectReplication")),
    )


def _read_destination(document: Document, where: str) -> ReplicationDestination:
    known(document, _DESTINATION, where=where)
    time, metrics = document.get("ReplicationTime"), document.get("Metrics")
    return ReplicationDestination(
        bucket=document["Bucket"],
        account=document.get("Account"),
        storage_class=document.get("StorageClass"),
        owner_override=document.get("AccessControlTranslation", {}).get("Owner") == "Destination",
        kms_key_id=document.get("EncryptionConfiguration", {}).get("ReplicaKmsKeyID"),
        deadline_minutes=time["Time"]["Minutes"] if time and is_on(time) else None,
        metrics=is_on(metrics),
        threshold_minutes=(metrics or {}).get("EventThreshold", {}).get("Minutes") if is_on(metrics) else None,
    )
