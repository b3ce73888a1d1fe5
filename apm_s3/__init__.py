"""apm_s3: versioned, validated configurations of observability tools in S3, on a fast asyncio S3 client.

The names here are those that most programs need. The other public names are in `apm_s3.errors`, `.options`, `.models`,
`.batch`, `.sync`, `.migration`, `.settings`, `.events`, `.metrics`, `.reports`, `.configs`, `.validators` and
`.testing`. Modules with a leading underscore are private.

Names are imported lazily: `import apm_s3` does not load an S3 client, and `validate_config` never does.
"""

from typing import TYPE_CHECKING

from apm_s3._lazy import homes, lazy_names

if TYPE_CHECKING:
    from apm_s3._manager import S3Manager
    from apm_s3._s3.buckets.apm_buckets import apm_bucket_name, apm_bucket_options
    from apm_s3._s3.objects.streams import Download
    from apm_s3._s3.pool import S3ConnectionPool
    from apm_s3._s3.retry import retry_s3
    from apm_s3._tools import TOOLS, Tool
    from apm_s3._version import __version__
    from apm_s3.configs import Bundle, ConfigFile, ConfigStore, Release
    from apm_s3.errors import (
        ApmS3Error,
        BucketNotFound,
        CommitUnknown,
        ConfigInvalid,
        ConfigNotFound,
        InvalidRequest,
        ObjectNotFound,
        PreconditionFailed,
        RevisionConflict,
        S3Error,
        TransportError,
    )
    from apm_s3.models import Credentials, FileInfo
    from apm_s3.options import BucketOptions, CopyOptions, DeleteOptions, ReadOptions, UploadOptions
    from apm_s3.reports import ValidationReport
    from apm_s3.settings import CacheSettings, RetrySettings, S3Settings, Timeouts, TransferSettings
    from apm_s3.validators import validate_bundle, validate_config

__all__ = [
    "TOOLS",
    "ApmS3Error",
    "BucketNotFound",
    "BucketOptions",
    "Bundle",
    "CacheSettings",
    "CommitUnknown",
    "ConfigFile",
    "ConfigInvalid",
    "ConfigNotFound",
    "ConfigStore",
    "CopyOptions",
    "Credentials",
    "DeleteOptions",
    "Download",
    "FileInfo",
    "InvalidRequest",
    "ObjectNotFound",
    "PreconditionFailed",
    "ReadOptions",
    "Release",
    "RetrySettings",
    "RevisionConflict",
    "S3ConnectionPool",
    "S3Error",
    "S3Manager",
    "S3Settings",
    "Timeouts",
    "Tool",
    "TransferSettings",
    "TransportError",
    "UploadOptions",
    "ValidationReport",
    "__version__",
    "apm_bucket_name",
    "apm_bucket_options",
    "retry_s3",
    "validate_bundle",
    "validate_config",
]

_HOMES = homes(
    {
        "apm_s3._manager": "S3Manager",
        "apm_s3._s3.buckets.apm_buckets": "apm_bucket_name apm_bucket_options",
        "apm_s3._s3.objects.streams": "Download",
        "apm_s3._s3.pool": "S3ConnectionPool",
        "apm_s3._s3.retry": "retry_s3",
        "apm_s3._tools": "Tool TOOLS",
        "apm_s3._version": "__version__",
        "apm_s3.configs": "Bundle ConfigFile ConfigStore Release",
        "apm_s3.errors": (
            "ApmS3Error BucketNotFound CommitUnknown ConfigInvalid ConfigNotFound InvalidRequest ObjectNotFound "
            "PreconditionFailed RevisionConflict S3Error TransportError"
        ),
        "apm_s3.models": "Credentials FileInfo",
        "apm_s3.options": "BucketOptions CopyOptions DeleteOptions ReadOptions UploadOptions",
        "apm_s3.reports": "ValidationReport",
        "apm_s3.settings": "CacheSettings RetrySettings S3Settings Timeouts TransferSettings",
        "apm_s3.validators": "validate_bundle validate_config",
    }
)


if not TYPE_CHECKING:  # A type checker would accept every misspelt name because of this function.
    __getattr__ = lazy_names(__name__, _HOMES)

    def __dir__() -> list[str]:
        return __all__
