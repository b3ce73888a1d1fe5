"""Configurations in S3: `ConfigStore`, and everything that its methods return."""

from apm_s3._plans import PlanDocument
from apm_s3.configs._backups.manifest import Backup, BackupFile, BackupTool
from apm_s3.configs._backups.plans import RestorePlan
from apm_s3.configs._care.findings import Finding
from apm_s3.configs._care.fsck import FsckReport
from apm_s3.configs._care.garbage import GarbageReport
from apm_s3.configs._care.repair import RepairReport
from apm_s3.configs._care.status import ToolStatus
from apm_s3.configs._content.diff import BundleDiff, FileDiff
from apm_s3.configs._content.diff_structural import Change
from apm_s3.configs._content.overlays import Touched
from apm_s3.configs._deploy.plans import DeployPlan, DeployResult, ToolPlan
from apm_s3.configs._imports.plans import ImportBundle, ImportPlan, ImportRevision
from apm_s3.configs._models.current import Damage, Freeze
from apm_s3.configs._models.log import LogAction, LogEntry
from apm_s3.configs._models.releases import (
    Bundle,
    ConfigFile,
    Deployed,
    FileEntry,
    Origin,
    Release,
    ReleaseRef,
    changed_files,
)
from apm_s3.configs._models.settings import EnvironmentSettings, ValidationRules
from apm_s3.configs._progress import OnStoreProgress, StoreProgress
from apm_s3.configs._protocol.commit.outcome import CommitOutcome
from apm_s3.configs._store import ConfigStore

__all__ = [
    "Backup",
    "BackupFile",
    "BackupTool",
    "Bundle",
    "BundleDiff",
    "Change",
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
    "ReleaseRef",
    "RepairReport",
    "RestorePlan",
    "StoreProgress",
    "ToolPlan",
    "ToolStatus",
    "Touched",
    "ValidationRules",
    "changed_files",
]
