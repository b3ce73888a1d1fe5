"""The JSON documents of the routes: what callers send and receive. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from apm_s3._tools import Tool
from apm_s3.configs import (
    Backup,
    BundleDiff,
    DeployPlan,
    EnvironmentSettings,
    LogEntry,
    Origin,
    Release,
    ToolPlan,
    ToolStatus,
)
from apm_s3.reports import Issue, ValidationReport
from apm_s3.validators._context import MatcherMode
from apm_s3.validators._validate import Level


class Given(BaseModel):
    """A document that callers send; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class IssueModel(BaseModel):
    """One problem of a configuration, with its place: the path of the value, the line and the column from 1."""

    severity: Literal["error", "warning", "info"]
    file: str | None
    path: str
    line: int | None
    column: int | None
    rule: str
    message: str
    hint: str | None

    @classmethod
    def of(cls, issue: Issue) -> IssueModel:
        """Return the document of `issue`."""
        return cls(
            severity=issue.severity.value,
            file=issue.file,
            path=issue.path,
            line=issue.line,
            column=issue.column,
            rule=issue.rule,
            message=issue.message,
            hint=issue.hint,
        )


class ReportModel(BaseModel):
    """The result of a validation; `skipped` lists the checks that could not be made."""

    ok: bool
    kind: str
    issues: list[IssueModel]
    skipped: list[str]

    @classmethod
    def of(cls, report: ValidationReport) -> ReportModel:
        """Return the document of `report`."""
        issues = [IssueModel.of(each) for each in report.issues]
        return cls(ok=report.ok, kind=report.kind, issues=issues, skipped=list(report.skipped))


class FileModel(BaseModel):
    """One file of a release. `sha256` is shown to callers that may read secrets."""

    name: str
    size: int
    sha256: str | None = None


class OriginModel(BaseModel):
    """The action that created a release, and where its content came from."""

    action: str
    environment: str | None = None
    revision: int | None = None
    backup: str | None = None
    plan: str | None = None

    @classmethod
    def of(cls, origin: Origin) -> OriginModel:
        """Return the document of `origin`."""
        return cls(
            action=origin.action,
            environment=origin.environment,
            revision=origin.revision,
            backup=origin.backup,
            plan=origin.plan,
        )


class ReleaseModel(BaseModel):
    """One revision of a tool's configuration. `etag` is the value for If-Match in changes of the whole bundle."""

    tool: Tool
    environment: str
    revision: int
    parent: int | None
    etag: str
    write_id: str
    author: str | None
    message: str
    created_at: datetime
    origin: OriginModel
    files: list[FileModel]
    warnings: list[str]
    forced: str | None
    removed: bool
    drifted: bool
    damaged: bool
    live_pending: bool

    @classmethod
    def of(cls, release: Release, *, hashes: bool) -> ReleaseModel:
        """Return the document of `release`, with the hashes of its files if the caller may read secrets."""
        # The hash of a file with a short secret in it gives the secret away to whoever guesses.
        files = [
            FileModel(name=name, size=entry.size, sha256=entry.sha256 if hashes else None)
            for name, entry in release.files.items()
        ]
        return cls(
            tool=release.tool,
            environment=release.environment,
            revision=release.revision,
            parent=None if release.parent is None else release.parent.revision,
            etag=bundle_etag(release),
            write_id=release.write_id,
            author=release.author,
            message=release.message,
            created_at=release.created_at,
            origin=OriginModel.of(release.origin),
            files=files,
            warnings=list(release.warnings),
            forced=release.forced,
            removed=release.removed,
            drifted=release.drifted,
            damaged=release.damaged,
            live_pending=release.live_pending,
        )


def bundle_etag(release: Release, variant: str = "") -> str:
    """Return the ETag of a bundle: its revision, and the id of the write that created it, which nothing else has."""
    return f'"{release.revision}-{release.write_id}{variant}"'


class ChangeModel(BaseModel):
    """One value that differs, with secrets masked."""

    kind: Literal["added", "removed", "changed"]
    path: str
    old: Any = None
    new: Any = None


class FileDiffModel(BaseModel):
    """The differences of one file, as text and by structure, with secrets masked."""

    name: str
    kind: Literal["added", "removed", "changed"]
    text: str
    changes: list[ChangeModel] | None
    note: str | None


class DiffModel(BaseModel):
    """The differences of two bundles."""

    old: str
    new: str
    files: list[FileDiffModel]

    @classmethod
    def of(cls, diff: BundleDiff) -> DiffModel:
        """Return the document of `diff`."""
        return cls.model_validate(diff.to_dict())


class FreezeModel(BaseModel):
    """Why an environment is frozen."""

    reason: str
    by: str | None
    since: datetime


class StatusModel(BaseModel):
    """The state of one tool in one environment."""

    environment: str
    tool: Tool
    revision: int
    author: str | None
    message: str
    created_at: datetime
    age_seconds: float
    origin: OriginModel
    files: int
    warnings: int
    forced: str | None
    drifted: bool | None
    behind_source: bool | None
    good: bool
    good_revision: int | None
    last_backup: datetime | None
    live_behind: bool
    freeze: FreezeModel | None

    @classmethod
    def of(cls, status: ToolStatus) -> StatusModel:
        """Return the document of `status`."""
        freeze = status.freeze
        return cls(
            environment=status.environment,
            tool=status.tool,
            revision=status.revision,
            author=status.author,
            message=status.message,
            created_at=status.created_at,
            age_seconds=status.age.total_seconds(),
            origin=OriginModel.of(status.origin),
            files=status.files,
            warnings=status.warnings,
            forced=status.forced,
            drifted=status.drifted,
            behind_source=status.behind_source,
            good=status.good,
            good_revision=status.good_revision,
            last_backup=status.last_backup,
            live_behind=status.live_behind,
            freeze=None if freeze is None else FreezeModel(reason=freeze.reason, by=freeze.by, since=freeze.since),
        )


class MoveModel(BaseModel):
    """A revision before and after a commit; 0 means none."""

    before: int
    after: int


class LogEntryModel(BaseModel):
    """One commit: who changed what, when and why."""

    sequence: int
    write_id: str
    at: datetime
    action: str
    author: str | None
    message: str
    forced: str | None
    tools: dict[str, MoveModel]
    good: dict[str, MoveModel]
    oldest: dict[str, MoveModel]
    settings: list[str]
    source_environment: str | None
    sources: dict[str, int]
    backup: str | None
    plan: str | None
    previous: str | None
    hash: str

    @classmethod
    def of(cls, entry: LogEntry) -> LogEntryModel:
        """Return the document of `entry`."""
        return cls(
            sequence=entry.sequence,
            write_id=entry.write_id,
            at=entry.at,
            action=entry.action,
            author=entry.author,
            message=entry.message,
            forced=entry.forced,
            tools=_moves(entry.tools),
            good=_moves(entry.good),
            oldest=_moves(entry.oldest),
            settings=list(entry.settings),
            source_environment=entry.source_environment,
            sources=dict(entry.sources),
            backup=entry.backup,
            plan=entry.plan,
            previous=entry.previous,
            hash=entry.hash,
        )


def _moves(moves: Any) -> dict[str, MoveModel]:
    return {tool: MoveModel(before=before, after=after) for tool, (before, after) in moves.items()}


class SettingsModel(Given):
    """An environment's rules for changes. Times are in seconds; null means the default."""

    target_versions: dict[str, str] = Field(default_factory=dict, examples=[{"prometheus": "3.5"}])
    level: Level = "full"
    matchers: MatcherMode = "fallback"
    warnings_as_errors: list[str] = Field(default_factory=list, max_length=50)
    require_author: bool = False
    require_message: bool = False
    deploy_from: list[str] | None = Field(default=None, max_length=50)
    keep_revisions: int | None = Field(default=None, ge=1, le=99_999_999)
    keep_for_seconds: int | None = Field(default=None, ge=86_400, le=10**10)
    keep_log_seconds: int | None = Field(default=None, ge=86_400, le=10**10)

    @classmethod
    def of(cls, settings: EnvironmentSettings) -> SettingsModel:
        """Return the document of `settings`."""
        return cls.model_validate(
            {
                "target_versions": dict(settings.target_versions),
                "level": settings.level,
                "matchers": settings.matchers,
                "warnings_as_errors": list(settings.warnings_as_errors),
                "require_author": settings.require_author,
                "require_message": settings.require_message,
                "deploy_from": None if settings.deploy_from is None else list(settings.deploy_from),
                "keep_revisions": settings.keep_revisions,
                "keep_for_seconds": _seconds(settings.keep_for),
                "keep_log_seconds": _seconds(settings.keep_log),
            }
        )

    def applied(self, old: EnvironmentSettings) -> EnvironmentSettings:
        """Return the settings; those of newer versions are kept."""
        return EnvironmentSettings(
            target_versions=self.target_versions,
            level=self.level,
            matchers=self.matchers,
            warnings_as_errors=tuple(self.warnings_as_errors),
            require_author=self.require_author,
            require_message=self.require_message,
            deploy_from=None if self.deploy_from is None else tuple(self.deploy_from),
            keep_revisions=self.keep_revisions,
            keep_for=_period(self.keep_for_seconds),
            keep_log=_period(self.keep_log_seconds),
            extra=old.extra,
        )


def _seconds(period: timedelta | None) -> int | None:
    return None if period is None else int(period.total_seconds())


def _period(seconds: int | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


class BackupFileModel(BaseModel):
    """One file of a backup."""

    tool: str
    name: str
    size: int


class BackupModel(BaseModel):
    """One backup. `name` names it within its environment; `damage` says what a listing shows to be missing."""

    name: str
    environment: str
    created_at: datetime
    author: str | None
    message: str
    revisions: dict[str, int]
    files: list[BackupFileModel]
    size: int
    retain_until: datetime | None
    damage: str | None

    @classmethod
    def of(cls, backup: Backup) -> BackupModel:
        """Return the document of `backup`."""
        return cls(
            name=backup.key.rpartition("/")[2],
            environment=backup.environment,
            created_at=backup.created_at,
            author=backup.author,
            message=backup.message,
            revisions={tool: held.revision for tool, held in backup.tools.items()},
            files=[BackupFileModel(tool=tool, name=name, size=file.size) for tool, name, file in backup.files()],
            size=backup.size,
            retain_until=backup.retain_until,
            damage=backup.damage,
        )


class ToolPlanModel(BaseModel):
    """What a deploy would do for one tool."""

    tool: Tool
    source_revision: int
    target_revision: int
    changes: bool
    drifted: bool
    blocked: list[str]
    files: list[str]
    report: ReportModel
    diff: DiffModel

    @classmethod
    def of(cls, plan: ToolPlan) -> ToolPlanModel:
        """Return the document of `plan`."""
        return cls(
            tool=plan.tool,
            source_revision=plan.source_revision,
            target_revision=plan.target_revision,
            changes=plan.changes,
            drifted=plan.drifted,
            blocked=list(plan.blocked),
            files=list(plan.files),
            report=ReportModel.of(plan.report),
            diff=DiffModel.of(plan.diff),
        )


class PlanModel(BaseModel):
    """A planned deploy. `hash` covers both sides' releases, every file and the target's settings; `id` begins it."""

    id: str
    hash: str
    source: str
    target: str
    changes: bool
    blocked: list[str]
    tools: list[ToolPlanModel]

    @classmethod
    def of(cls, plan: DeployPlan) -> PlanModel:
        """Return the document of `plan`."""
        digest = plan.hash
        return cls(
            id=plan_id(digest),
            hash=digest,
            source=plan.source_environment,
            target=plan.target_environment,
            changes=plan.changes,
            blocked=list(plan.blocked),
            tools=[ToolPlanModel.of(each) for each in plan.tools],
        )


def plan_id(digest: str) -> str:
    """Return the id of the plan with this hash. Any worker makes the same plan again, so nobody stores it."""
    return digest[:16]


class DeployedModel(BaseModel):
    """A committed deploy: the new releases; none if nothing had changed."""

    plan: str
    releases: list[ReleaseModel]


class OutcomeModel(BaseModel):
    """The outcome of a write: "won", "lost", "pending" or "expired"."""

    write_id: str
    outcome: Literal["won", "lost", "pending", "expired"]


class WriteIdModel(BaseModel):
    """An id for a write, to be stored before the write, so that it can be repeated safely."""

    write_id: str


class Noted(Given):
    """Why a change is made."""

    message: str = Field(default="", max_length=10_000, examples=["lower the scrape interval"])
    write_id: str | None = Field(default=None, max_length=100, description="From `POST .../writes`: repeat safely.")


class BundleGiven(Noted):
    """A whole bundle: each file's text by name. Other files are removed."""

    files: dict[str, str] = Field(
        min_length=1, max_length=10_000, examples=[{"prometheus.yml": "global:\n  scrape_interval: 15s\n"}]
    )
    force: str | None = Field(default=None, max_length=1_000, description="The reason for storing despite errors.")


class FilesGiven(Given):
    """The files of a bundle to validate: each file's text by name."""

    files: dict[str, str] = Field(
        min_length=1, max_length=10_000, examples=[{"prometheus.yml": "global:\n  scrape_interval: 15s\n"}]
    )


class RollbackGiven(Noted):
    """Where to roll back to: by default the revision marked good."""

    to_revision: int | None = Field(default=None, ge=1, le=99_999_999)
    expect_revision: int | None = Field(default=None, ge=0, le=99_999_999)


class MarkGiven(Noted):
    """The revision to mark: by default the current one."""

    revision: int | None = Field(default=None, ge=1, le=99_999_999)


class FreezeGiven(Given):
    """Why the environment is frozen."""

    reason: str = Field(min_length=1, max_length=1_000, examples=["the migration of the metrics cluster"])
    write_id: str | None = Field(default=None, max_length=100)


class BackupGiven(Given):
    """Why the backup is made, and for how long object lock protects it."""

    message: str = Field(default="", max_length=10_000)
    retain_seconds: int | None = Field(default=None, ge=1, le=10**10)


class RestoreGiven(Noted):
    """What is expected to be replaced: the current revisions by tool."""

    expect_revisions: dict[str, int] = Field(default_factory=dict)


class PlanGiven(Given):
    """What a deploy plan depends on, beyond its environments and tools."""

    variables: dict[str, str] | None = Field(default=None, max_length=1_000)
    create: bool = Field(default=False, description="Allow a target environment that does not exist yet.")


class DeployGiven(PlanGiven, Noted):
    """The plan to carry out: its hash, and what it was made with."""

    hash: str = Field(pattern="^[0-9a-f]{64}$", examples=["0" * 64])
    allow_drift: bool = Field(default=False, description="Overwrite manual changes of the target.")
    force: str | None = Field(default=None, max_length=1_000, description="The reason for deploying despite errors.")
