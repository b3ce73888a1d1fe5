"""Options of calls, and bucket settings."""

from typing import TYPE_CHECKING

from apm_s3._lazy import lazy_names

if TYPE_CHECKING:
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
        Tags,
        Versioning,
    )
    from apm_s3.options._buckets import BucketOptions
    from apm_s3.options._lifecycle import Lifecycle, LifecycleRule, NoncurrentTransition, Transition
    from apm_s3.options._reads import ListOptions, ReadOptions
    from apm_s3.options._replication import Replication, ReplicationDestination, ReplicationRule
    from apm_s3.options._writes import CopyOptions, DeleteOptions, SseAlgorithm, UploadOptions

__all__ = [
    "AccessLogging",
    "BucketOptions",
    "BucketSetting",
    "CopyOptions",
    "Cors",
    "CorsRule",
    "DeleteOptions",
    "Encryption",
    "Lifecycle",
    "LifecycleRule",
    "ListOptions",
    "LogGrant",
    "NoncurrentTransition",
    "Notification",
    "Notifications",
    "ObjectLock",
    "OwnershipControls",
    "Policy",
    "PublicAccessBlock",
    "ReadOptions",
    "Replication",
    "ReplicationDestination",
    "ReplicationRule",
    "SseAlgorithm",
    "Tags",
    "Transition",
    "UploadOptions",
    "Versioning",
]

_HOMES = {
    "AccessLogging": "apm_s3.options._bucket_settings",
    "BucketOptions": "apm_s3.options._buckets",
    "BucketSetting": "apm_s3.options._bucket_settings",
    "CopyOptions": "apm_s3.options._writes",
    "Cors": "apm_s3.options._bucket_settings",
    "CorsRule": "apm_s3.options._bucket_settings",
    "DeleteOptions": "apm_s3.options._writes",
    "Encryption": "apm_s3.options._bucket_settings",
    "Lifecycle": "apm_s3.options._lifecycle",
    "LifecycleRule": "apm_s3.options._lifecycle",
    "ListOptions": "apm_s3.options._reads",
    "LogGrant": "apm_s3.options._bucket_settings",
    "NoncurrentTransition": "apm_s3.options._lifecycle",
    "Notification": "apm_s3.options._bucket_settings",
    "Notifications": "apm_s3.options._bucket_settings",
    "ObjectLock": "apm_s3.options._bucket_settings",
    "OwnershipControls": "apm_s3.options._bucket_settings",
    "Policy": "apm_s3.options._bucket_settings",
    "PublicAccessBlock": "apm_s3.options._bucket_settings",
    "ReadOptions": "apm_s3.options._reads",
    "Replication": "apm_s3.options._replication",
    "ReplicationDestination": "apm_s3.options._replication",
    "ReplicationRule": "apm_s3.options._replication",
    "SseAlgorithm": "apm_s3.options._writes",
    "Tags": "apm_s3.options._bucket_settings",
    "Transition": "apm_s3.options._lifecycle",
    "UploadOptions": "apm_s3.options._writes",
    "Versioning": "apm_s3.options._bucket_settings",
}

if not TYPE_CHECKING:  # A type checker would accept every misspelt name because of this function.
    __getattr__ = lazy_names(__name__, _HOMES)
