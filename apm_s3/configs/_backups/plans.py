"""Plans of restores, and their documents. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apm_s3._plans import PlanDocument, plan_document
from apm_s3._tools import Tool
from apm_s3.configs._backups.manifest import Backup
from apm_s3.configs._content.diff import BundleDiff

KIND = "apm-s3/restore-plan"


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore would do.

    Attributes:
        revisions: the current revision of each tool to restore (0: none).
        diffs: the differences from the current files to the backup, by tool.
        warnings: the results of validating the backup's files, by tool; they do not stop a restore.
        blocked: why it would be refused now; empty if it would not.
        hashes: the SHA-256 of the current files, by tool and name.
    """

    backup: Backup
    bucket: str
    environment: str
    revisions: Mapping[str, int]
    diffs: Mapping[str, BundleDiff]
    warnings: Mapping[str, tuple[str, ...]]
    blocked: tuple[str, ...] = ()
    hashes: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    prefix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as a JSON document, as `DeployPlan.to_dict` does."""
        return plan_document(
            KIND,
            {
                "backup": {"bucket": self.backup.bucket, "key": self.backup.key},
                "target": {"bucket": self.bucket, "prefix": self.prefix, "environment": self.environment},
                "blocked": bool(self.blocked),
                "tools": {tool: self._described(tool) for tool in self.backup.tools if tool in self.revisions},
            },
        )

    def _described(self, tool: Tool) -> dict[str, Any]:
        old = self.hashes.get(tool, {})
        new = {name: file.sha256 for name, file in self.backup.tools[tool].files.items()}
        return {
            "revision": self.revisions[tool],
            "warnings": len(self.warnings.get(tool, ())),
            "files": {
                name: {"before": old.get(name), "after": new.get(name)} for name in sorted(old.keys() | new.keys())
            },
        }

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> PlanDocument:
        """Read a plan's document for `restore_environment`, as `DeployPlan.from_dict` does."""
        return PlanDocument.read(KIND, document)

    @property
    def hash(self) -> str:
        """Return the hash of the plan's whole content, which is stored in the log."""
        name: str = self.to_dict()["hash"]
        return name
