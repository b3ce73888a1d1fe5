"""Configurations in S3: releases, and the one atomic write by which they become visible."""

from apm_s3.configs._models import (
    Bundle,
    CommitOutcome,
    ConfigFile,
    Deployed,
    FileEntry,
    Freeze,
    Origin,
    Release,
    ReleaseRef,
    changed_files,
)
from apm_s3.configs._store import (
    ConfigStore,
)

__all__ = [
    "Bundle",
    "CommitOutcome",
    "ConfigFile",
    "ConfigStore",
    "Deployed",
    "FileEntry",
    "Freeze",
    "Origin",
    "Release",
    "ReleaseRef",
    "changed_files",
]
