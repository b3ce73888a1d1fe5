"""apm_s3: versioned, validated configurations of observability tools in S3, on a fast asyncio S3 client."""

from apm_s3._version import __version__

__all__ = ["__version__"]
