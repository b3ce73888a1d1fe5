"""Converts bucket settings to S3's documents and back, without loss. Pure.

The documents are boto3's: nested mappings, as in parameters of a Put and results of a Get.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from apm_s3._wire.documents import simple
from apm_s3._wire.documents.lifecycle import read_lifecycle, write_lifecycle
from apm_s3._wire.documents.notifications import read_notifications, write_notifications
from apm_s3._wire.documents.replication import read_replication, write_replication
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
    Tags,
    Versioning,
)
from apm_s3.options._lifecycle import Lifecycle
from apm_s3.options._replication import Replication


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
        read_lifecycle,
        write_lifecycle,
        "lifecycle",
        stored_as="bucket_lifecycle_configuration",
    ),
    Versioning: _api(
        "bucket_versioning",
        simple.read_versioning,
        simple.write_versioning,
        "versioning",
        removal={"VersioningConfiguration": {"Status": "Suspended"}},
    ),
    Encryption: _api("bucket_encryption", simple.read_encryption, simple.write_encryption, "encryption"),
    OwnershipControls: _api(
        "bucket_ownership_controls", simple.read_ownership, simple.write_ownership, "ownershipControls"
    ),
    PublicAccessBlock: _api(
        "public_access_block",
        simple.read_public_access_block,
        simple.write_public_access_block,
        "publicAccessBlock",
    ),
    Tags: _api("bucket_tagging", simple.read_tags, simple.write_tags, "tagging"),
    ObjectLock: _api(
        "object_lock_configuration",
        simple.read_object_lock,
        simple.write_object_lock,
        "object-lock",
        removal={"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}},
    ),
    Cors: _api("bucket_cors", simple.read_cors, simple.write_cors, "cors"),
    AccessLogging: _api(
        "bucket_logging", simple.read_logging, simple.write_logging, "logging", removal={"BucketLoggingStatus": {}}
    ),
    Notifications: _api(
        "bucket_notification_configuration",
        read_notifications,
        write_notifications,
        "notification",
        removal={"NotificationConfiguration": {}},
    ),
    Replication: _api("bucket_replication", read_replication, write_replication, "replication"),
    Policy: _api("bucket_policy", simple.read_policy, simple.write_policy, "policy"),
}
