"""The values that the public methods accept and return: frozen, without I/O."""

from typing import TYPE_CHECKING

from apm_s3._lazy import homes, lazy_names

if TYPE_CHECKING:
    from apm_s3._plans import PlanDocument
    from apm_s3.models._buckets import (
        BucketDetails,
        BucketInfo,
        BucketPlan,
        BucketUsage,
        EmptyReport,
        ReplicationSetup,
        SettingChange,
        Usage,
    )
    from apm_s3.models._objects import (
        CacheStats,
        Credentials,
        DeleteOutcome,
        DeleteReport,
        FileContent,
        FileInfo,
        FileVersion,
        KeyFailure,
        ListPage,
        PoolStats,
        Source,
        UploadInfo,
        VersionPage,
        WarmupPlan,
        WarmupReport,
    )

__all__ = [
    "BucketDetails",
    "BucketInfo",
    "BucketPlan",
    "BucketUsage",
    "CacheStats",
    "Credentials",
    "DeleteOutcome",
    "DeleteReport",
    "EmptyReport",
    "FileContent",
    "FileInfo",
    "FileVersion",
    "KeyFailure",
    "ListPage",
    "PlanDocument",
    "PoolStats",
    "ReplicationSetup",
    "SettingChange",
    "Source",
    "UploadInfo",
    "Usage",
    "VersionPage",
    "WarmupPlan",
    "WarmupReport",
]

_HOMES = homes(
    {
        "apm_s3._plans": "PlanDocument",
        "apm_s3.models._buckets": (
            "BucketDetails BucketInfo BucketPlan BucketUsage EmptyReport ReplicationSetup SettingChange Usage"
        ),
        "apm_s3.models._objects": (
            "CacheStats Credentials DeleteOutcome DeleteReport FileContent FileInfo FileVersion KeyFailure "
            "ListPage PoolStats Source UploadInfo VersionPage WarmupPlan WarmupReport"
        ),
    }
)

if not TYPE_CHECKING:  # A type checker would accept every misspelt name because of this function.
    __getattr__ = lazy_names(__name__, _HOMES)
