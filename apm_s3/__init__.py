"""apm_s3: versioned, validated configurations of observability tools in S3, on a fast asyncio S3 client.

The names here are those that most programs need. The other public names are in `apm_s3.errors`, `.options`, `.models`,
`.batch`, `.sync`, `.migration`, `.settings`, `.events`, `.metrics`, `.reports`, `.configs`, `.validators` and
`.testing`. Modules with a leading underscore are private.

Names are imported lazily: `import apm_s3` does not load an S3 client, and `validate_config` never does.
"""

from typing import TYPE_CHECKING

from apm_s3._lazy import lazy_names

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

_HOMES = {
    "ApmS3Error": "apm_s3.errors",
    "BucketNotFound": "apm_s3.errors",
    "BucketOptions": "apm_s3.options",
    "Bundle": "apm_s3.configs",
    "CacheSettings": "apm_s3.settings",
    "CommitUnknown": "apm_s3.errors",
    "ConfigFile": "apm_s3.configs",
    "ConfigInvalid": "apm_s3.errors",
    "ConfigNotFound": "apm_s3.errors",
    "ConfigStore": "apm_s3.configs",
    "CopyOptions": "apm_s3.options",
    "Credentials": "apm_s3.models",
    "DeleteOptions": "apm_s3.options",
    "Download": "apm_s3._s3.objects.streams",
    "FileInfo": "apm_s3.models",
    "InvalidRequest": "apm_s3.errors",
    "ObjectNotFound": "apm_s3.errors",
    "PreconditionFailed": "apm_s3.errors",
    "ReadOptions": "apm_s3.options",
    "Release": "apm_s3.configs",
    "RetrySettings": "apm_s3.settings",
    "RevisionConflict": "apm_s3.errors",
    "S3ConnectionPool": "apm_s3._s3.pool",
    "S3Error": "apm_s3.errors",
    "S3Manager": "apm_s3._manager",
    "S3Settings": "apm_s3.settings",
    "TOOLS": "apm_s3._tools",
    "Timeouts": "apm_s3.settings",
    "Tool": "apm_s3._tools",
    "TransferSettings": "apm_s3.settings",
    "TransportError": "apm_s3.errors",
    "UploadOptions": "apm_s3.options",
    "ValidationReport": "apm_s3.reports",
    "__version__": "apm_s3._version",
    "apm_bucket_name": "apm_s3._s3.buckets.apm_buckets",
    "apm_bucket_options": "apm_s3._s3.buckets.apm_buckets",
    "retry_s3": "apm_s3._s3.retry",
    "validate_bundle": "apm_s3.validators",
    "validate_config": "apm_s3.validators",
}


if not TYPE_CHECKING:  # A type checker would accept every misspelt name because of this function.
    __getattr__ = lazy_names(__name__, _HOMES)

    def __dir__() -> list[str]:
        return __all__
