"""Options: of calls (`calls`) and of buckets (`buckets`)."""

from apm_s3.options.calls import (
    CopyOptions,
    DeleteOptions,
    ListOptions,
    ReadOptions,
    SseAlgorithm,
    UploadOptions,
)

__all__ = ["CopyOptions", "DeleteOptions", "ListOptions", "ReadOptions", "SseAlgorithm", "UploadOptions"]
