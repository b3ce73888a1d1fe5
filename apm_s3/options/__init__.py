"""Options of calls, and bucket settings."""

from typing import TYPE_CHECKING

from apm_s3._lazy import homes, lazy_names

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
        Replication,
        ReplicationDestination,
        ReplicationRule,
        Tags,
        Versioning,
    )
    from apm_s3.options._buckets import BucketOptions, Lifecycle, LifecycleRule, NoncurrentTransition, Transition
    from apm_s3.options._reads import ListOptions, ReadOptions
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

_HOMES = homes(
    {
        "apm_s3.options._bucket_settings": (
            "AccessLogging BucketSetting Cors CorsRule Encryption LogGrant Notification Notifications ObjectLock "
            "OwnershipControls Policy PublicAccessBlock Replication ReplicationDestination ReplicationRule Tags "
            "Versioning"
        ),
        "apm_s3.options._buckets": "BucketOptions Lifecycle LifecycleRule NoncurrentTransition Transition",
        "apm_s3.options._reads": "ListOptions ReadOptions",
        "apm_s3.options._writes": "CopyOptions DeleteOptions SseAlgorithm UploadOptions",
    }
)

if not TYPE_CHECKING:  # A type checker would accept every misspelt name because of this function.
    __getattr__ = lazy_names(__name__, _HOMES)
