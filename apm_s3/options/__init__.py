"""Options: of calls (`calls`) and of buckets (`buckets`)."""

from apm_s3.options.calls import (
    CopyOptions,
    DeleteOptions,
    Encryption,
    ListOptions,
    ReadOptions,
    UploadOptions,
)

__all__ = ["CopyOptions", "DeleteOptions", "Encryption", "ListOptions", "ReadOptions", "UploadOptions"]
