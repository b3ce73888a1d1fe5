"""Examples of the documents that callers receive, for OpenAPI. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from apm_s3.fastapi._models import (
    BackupFileModel,
    BackupModel,
    ChangeModel,
    DiffModel,
    FileDiffModel,
    FileModel,
    IssueModel,
    LogEntryModel,
    MoveModel,
    OriginModel,
    OutcomeModel,
    ReleaseModel,
    ReportModel,
    StatusModel,
    WriteIdModel,
)

_MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
OTHER_SHA256 = "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"
PLAN_HASH = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"

WRITE_ID = WriteIdModel(write_id="production.0123456789abcdef0123")
OUTCOME = OutcomeModel(write_id=WRITE_ID.write_id, outcome="won")
RELEASE = ReleaseModel(
    tool="prometheus",
    environment="production",
    revision=4,
    parent=3,
    etag=f'"4-{WRITE_ID.write_id}"',
    write_id=WRITE_ID.write_id,
    author="ada",
    message="lower the scrape interval",
    created_at=_MOMENT,
    origin=OriginModel(action="upload"),
    files=[
        FileModel(name="prometheus.yml", size=1520, sha256=SHA256),
        FileModel(name="rules/api.yml", size=310, sha256=OTHER_SHA256),
    ],
    warnings=[],
    forced=None,
    removed=False,
    drifted=False,
    damaged=False,
    live_pending=False,
)
REMOVED = RELEASE.model_copy(
    update={"message": "not used any more", "origin": OriginModel(action="remove"), "files": [], "removed": True}
)
DEPLOYED = RELEASE.model_copy(
    update={"message": "go", "origin": OriginModel(action="deploy", environment="staging", revision=7, plan=PLAN_HASH)}
)
ROLLED_BACK = RELEASE.model_copy(
    update={"message": "too many timeouts", "origin": OriginModel(action="rollback", revision=2)}
)
RESTORED = RELEASE.model_copy(
    update={
        "message": "undo",
        "origin": OriginModel(
            action="restore",
            environment="production",
            revision=2,
            backup="backups/production/20260101T000000Z-production.abcdef0123456789abcd",
        ),
    }
)
STATUS = StatusModel(
    environment="production",
    tool="prometheus",
    revision=4,
    author="ada",
    message="lower the scrape interval",
    created_at=_MOMENT,
    age_seconds=timedelta(days=2).total_seconds(),
    origin=OriginModel(action="deploy", environment="staging", revision=7, plan=PLAN_HASH),
    files=2,
    warnings=0,
    forced=None,
    drifted=False,
    behind_source=True,
    good=False,
    good_revision=3,
    last_backup=_MOMENT - timedelta(hours=3),
    live_behind=False,
    freeze=None,
    damaged=False,
)
LOG_ENTRY = LogEntryModel(
    sequence=42,
    write_id=WRITE_ID.write_id,
    at=_MOMENT,
    action="deploy",
    author="ada",
    message="lower the scrape interval",
    forced=None,
    tools={"prometheus": MoveModel(before=3, after=4)},
    good={},
    oldest={},
    settings=[],
    source_environment="staging",
    sources={"prometheus": 7},
    backup=None,
    plan=PLAN_HASH,
    previous="2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    hash=OTHER_SHA256,
)
DIFF = DiffModel(
    old="production#3",
    new="production#4",
    files=[
        FileDiffModel(
            name="prometheus.yml",
            kind="changed",
            text="--- production#3/prometheus.yml\n+++ production#4/prometheus.yml\n"
            "@@ -1,2 +1,2 @@\n global:\n-  scrape_interval: 30s\n+  scrape_interval: 15s\n",
            changes=[ChangeModel(kind="changed", path="global.scrape_interval", old="30s", new="15s")],
            note=None,
        )
    ],
)
REPORT = ReportModel(
    ok=False,
    kind="config",
    issues=[
        IssueModel(
            severity="error",
            file=None,
            path="global.scrape_interval",
            line=2,
            column=20,
            rule="duration",
            message="invalid duration: '5 parsecs'; write it as 30s, 5m or 1h30m (y, w, d, h, m, s, ms)",
            hint=None,
        )
    ],
    skipped=[],
)
BACKUP = BackupModel(
    name="20260102T030405Z-production.0123456789abcdef0123",
    environment="production",
    created_at=_MOMENT,
    author="ada",
    message="before the change",
    revisions={"prometheus": 4},
    files=[BackupFileModel(tool="prometheus", name="prometheus.yml", size=1520)],
    size=1520,
    retain_until=None,
    damage=None,
)
