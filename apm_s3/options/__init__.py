"""Options: of calls (`calls`), and of buckets (`buckets`, with every kind of setting)."""

from apm_s3.options.bucket_settings import (
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
from apm_s3.options.buckets import BucketOptions
from apm_s3.options.calls import (
    CopyOptions,
    DeleteOptions,
    ListOptions,
    ReadOptions,
    SseAlgorithm,
    UploadOptions,
)
from apm_s3.options.lifecycle import Lifecycle, LifecycleRule, NoncurrentTransition, Transition
from apm_s3.options.replication import Replication, ReplicationDestination, ReplicationRule

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
