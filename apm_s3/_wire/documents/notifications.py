"""Converts notifications to S3's documents and back."""

from __future__ import annotations

from typing import Any

from apm_s3._wire.documents.members import Document, known, present
from apm_s3.options._bucket_settings import Notification, Notifications

_LISTS = {
    "topics": ("TopicConfigurations", "TopicArn"),
    "queues": ("QueueConfigurations", "QueueArn"),
    "functions": ("LambdaFunctionConfigurations", "LambdaFunctionArn"),
}


def write_notifications(setting: Notifications) -> dict[str, Any]:
    """Return the parameters of PutBucketNotificationConfiguration."""
    document: dict[str, Any] = {}
    for name, (member, arn) in _LISTS.items():
        entries = [_write_one(one, arn) for one in getattr(setting, name)]
        if entries:
            document[member] = entries
    if setting.eventbridge:
        document["EventBridgeConfiguration"] = {}
    return {"NotificationConfiguration": document}


def read_notifications(response: Document) -> Notifications | None:
    """Read the result of GetBucketNotificationConfiguration."""
    lists = {
        name: tuple(_read_one(entry, arn) for entry in response.get(member) or ())
        for name, (member, arn) in _LISTS.items()
    }
    eventbridge = response.get("EventBridgeConfiguration") is not None
    if not eventbridge and not any(lists.values()):
        return None
    return Notifications(**lists, eventbridge=eventbridge)


def _write_one(one: Notification, arn: str) -> dict[str, Any]:
    rules = [
        {"Name": name, "Value": value} for name, value in (("prefix", one.prefix), ("suffix", one.suffix)) if value
    ]
    return {arn: one.arn, "Events": list(one.events)} | present(
        Id=one.id, Filter={"Key": {"FilterRules": rules}} if rules else None
    )


def _read_one(entry: Document, arn: str) -> Notification:
    known(entry, f"Id {arn} Events Filter", where=f"notification '{entry.get('Id', '')}'")
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
