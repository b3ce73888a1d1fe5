"""The values that the public methods accept and return: frozen, without I/O."""

from typing import TYPE_CHECKING

from apm_s3._lazy import lazy_names

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

_HOMES = {
    "BucketDetails": "apm_s3.models._buckets",
    "BucketInfo": "apm_s3.models._buckets",
    "BucketPlan": "apm_s3.models._buckets",
    "BucketUsage": "apm_s3.models._buckets",
    "CacheStats": "apm_s3.models._objects",
    "Credentials": "apm_s3.models._objects",
    "DeleteOutcome": "apm_s3.models._objects",
    "DeleteReport": "apm_s3.models._objects",
    "EmptyReport": "apm_s3.models._buckets",
    "FileContent": "apm_s3.models._objects",
    "FileInfo": "apm_s3.models._objects",
    "FileVersion": "apm_s3.models._objects",
    "KeyFailure": "apm_s3.models._objects",
    "ListPage": "apm_s3.models._objects",
    "PlanDocument": "apm_s3._plans",
    "PoolStats": "apm_s3.models._objects",
    "ReplicationSetup": "apm_s3.models._buckets",
    "SettingChange": "apm_s3.models._buckets",
    "Source": "apm_s3.models._objects",
    "UploadInfo": "apm_s3.models._objects",
    "Usage": "apm_s3.models._buckets",
    "VersionPage": "apm_s3.models._objects",
    "WarmupPlan": "apm_s3.models._objects",
    "WarmupReport": "apm_s3.models._objects",
}

if not TYPE_CHECKING:  # A type checker would accept every misspelt name because of this function.
    __getattr__ = lazy_names(__name__, _HOMES)
