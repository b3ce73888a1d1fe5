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
    from apm_s3.models._deletions import DeleteOutcome, DeleteReport, KeyFailure
    from apm_s3.models._listings import FileVersion, ListPage, VersionPage
    from apm_s3.models._managers import CacheStats, PoolStats, WarmupPlan, WarmupReport
    from apm_s3.models._objects import Credentials, FileContent, FileInfo, Source
    from apm_s3.models._uploads import UploadInfo

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
    "CacheStats": "apm_s3.models._managers",
    "Credentials": "apm_s3.models._objects",
    "DeleteOutcome": "apm_s3.models._deletions",
    "DeleteReport": "apm_s3.models._deletions",
    "EmptyReport": "apm_s3.models._buckets",
    "FileContent": "apm_s3.models._objects",
    "FileInfo": "apm_s3.models._objects",
    "FileVersion": "apm_s3.models._listings",
    "KeyFailure": "apm_s3.models._deletions",
    "ListPage": "apm_s3.models._listings",
    "PlanDocument": "apm_s3._plans",
    "PoolStats": "apm_s3.models._managers",
    "ReplicationSetup": "apm_s3.models._buckets",
    "SettingChange": "apm_s3.models._buckets",
    "Source": "apm_s3.models._objects",
    "UploadInfo": "apm_s3.models._uploads",
    "Usage": "apm_s3.models._buckets",
    "VersionPage": "apm_s3.models._listings",
    "WarmupPlan": "apm_s3.models._managers",
    "WarmupReport": "apm_s3.models._managers",
}

if not TYPE_CHECKING:  # A type checker would accept every misspelt name because of this function.
    __getattr__ = lazy_names(__name__, _HOMES)
