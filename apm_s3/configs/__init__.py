"""Configurations in S3: `ConfigStore`, and everything that its methods return."""

from apm_s3._plans import PlanDocument
from apm_s3.configs._backups.backups import Backup, BackupFile, BackupTool
from apm_s3.configs._backups.restore import RestorePlan
from apm_s3.configs._care.fsck import Finding, FsckReport
from apm_s3.configs._care.garbage import GarbageReport
from apm_s3.configs._care.repair import RepairReport
from apm_s3.configs._care.status import ToolStatus
from apm_s3.configs._content.diff import BundleDiff, FileDiff
from apm_s3.configs._content.overlays import Touched
from apm_s3.configs._content.structure import Change
from apm_s3.configs._deploy import DeployPlan, DeployResult, ToolPlan
from apm_s3.configs._imports.importing import ImportBundle, ImportPlan, ImportRevision
from apm_s3.configs._models import (
    Bundle,
    ConfigFile,
    Damage,
    Deployed,
    EnvironmentSettings,
    FileEntry,
    Freeze,
    LogAction,
    LogEntry,
    Origin,
    Release,
    ReleaseRef,
    changed_files,
)
from apm_s3.configs._progress import OnStoreProgress, StoreProgress
from apm_s3.configs._protocol.idempotency import CommitOutcome
from apm_s3.configs._store import ConfigStore
from apm_s3.configs._uploads import ChangeKeywords, ChangeOptions, ReleaseKeywords, UploadKeywords, UploadOptions
from apm_s3.validators import ValidationOptions

ValidationRules = ValidationOptions
"""The former name of `ValidationOptions`."""

__all__ = [
    "Backup",
    "BackupFile",
    "BackupTool",
    "Bundle",
    "BundleDiff",
    "Change",
    "ChangeKeywords",
    "ChangeOptions",
    "CommitOutcome",
    "ConfigFile",
    "ConfigStore",
    "Damage",
    "DeployPlan",
    "DeployResult",
    "Deployed",
    "EnvironmentSettings",
    "FileDiff",
    "FileEntry",
    "Finding",
    "Freeze",
    "FsckReport",
    "GarbageReport",
    "ImportBundle",
    "ImportPlan",
    "ImportRevision",
    "LogAction",
    "LogEntry",
    "OnStoreProgress",
    "Origin",
    "PlanDocument",
    "Release",
    "ReleaseKeywords",
    "ReleaseRef",
    "RepairReport",
    "RestorePlan",
    "StoreProgress",
    "ToolPlan",
    "ToolStatus",
    "Touched",
    "UploadKeywords",
    "UploadOptions",
    "ValidationOptions",
    "ValidationRules",
    "changed_files",
]
