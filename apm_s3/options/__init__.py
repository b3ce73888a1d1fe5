"""Options of calls, and bucket settings."""

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
from apm_s3.options._calls import (
    CopyOptions,
    DeleteOptions,
    ListOptions,
    ReadOptions,
    SseAlgorithm,
    UploadOptions,
)
from apm_s3.options._lifecycle import Lifecycle, LifecycleRule, NoncurrentTransition, Transition
from apm_s3.options._replication import Replication, ReplicationDestination, ReplicationRule

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
