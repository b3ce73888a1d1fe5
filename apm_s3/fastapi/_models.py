"""The JSON documents that callers receive, with their examples."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from importlib.resources import files
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from apm_s3._tools import Tool
from apm_s3.configs import Backup, BundleDiff, LogEntry, Origin, Release, ToolStatus
from apm_s3.configs._content.overlays import is_internal, without_hashes


class ProblemModel(BaseModel):
    """RFC 9457. Some kinds have more members, such as `issues`, `write_id` or `current_revision`."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(json_schema_extra={"format": "uri"})
    title: str
    status: int
    detail: str


class Shown(BaseModel):
    """A document of one of the library's values, whose attributes are its fields."""

    model_config = ConfigDict(from_attributes=True)

    @classmethod
    def showing(cls, value: object, **others: Any) -> Self:
        """Return the document of `value`. `others` are the fields that differ from its attributes."""
        same = {name: getattr(value, name) for name in cls.model_fields.keys() - others.keys()}
        return cls.model_validate({**same, **others})


class IssueModel(Shown):
    """One problem of a configuration, with its place: the path of the value, the line and the column from 1."""

    severity: Literal["error", "warning", "info"]
    file: str | None
    path: str
    line: int | None
    column: int | None
    rule: str
    message: str
    hint: str | None


class ReportModel(Shown):
    """The result of a validation; `skipped` lists the checks that could not be made."""

    ok: bool
    kind: str
    issues: list[IssueModel]
    skipped: list[Annotated[str, BeforeValidator(str)]]


class FileModel(Shown):
    """One file of a release. `size`, in bytes, and `sha256` are shown to callers that may read secrets."""

    name: str
    size: int | None = None
    sha256: str | None = None


class OriginModel(Shown):
    """The action that created a release, and where its content came from."""

    action: str
    environment: str | None = None
    revision: int | None = None
    backup: str | None = None
    plan: str | None = None

    @classmethod
    def of(cls, origin: Origin, *, secrets: bool) -> OriginModel:
        """Return the document of `origin`. The hash of a plan depends on `secrets`."""
        return cls.showing(origin) if secrets else cls.showing(origin, plan=None)


class ReleaseModel(Shown):
    """One revision of a tool's configuration. `etag` is the value for If-Match in changes of the whole bundle.

    `drifted`, and the plan in `origin`, are shown to callers that may read secrets.
    """

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
    drifted: bool | None
    damaged: bool
    live_pending: bool

    @classmethod
    def of(cls, release: Release, *, secrets: bool) -> ReleaseModel:
        """Return the document of `release`, with what depends on secrets if the caller may read `secrets`."""
        # The hash of a file with a short secret in it gives the secret away to whoever guesses, as does whether the
        # file is what was deployed. The size, beside that of the masked file, tells the secret's length.
        files = [
            FileModel(name=name, size=entry.size, sha256=entry.sha256) if secrets else FileModel(name=name)
            for name, entry in release.files.items()
            if secrets or not is_internal(name)
        ]
        hidden: dict[str, Any] = {} if secrets else {
            "warnings": [without_hashes(each) for each in release.warnings], "drifted": None,
        }  # fmt: skip
        return cls.showing(
            release,
            parent=None if release.parent is None else release.parent.revision,
            etag=bundle_etag(release),
            origin=OriginModel.of(release.origin, secrets=secrets),
            files=files,
            **hidden,
        )


def bundle_etag(release: Release, variant: str = "") -> str:
    """Return the ETag of a bundle: its revision, and the id of the write that created it, which nothing else has."""
    return f'"{release.revision}-{release.write_id}{variant}"'


class LostReleaseModel(BaseModel):
    """A revision in a history whose release document is damaged: nothing else is known of it."""

    tool: Tool
    environment: str
    revision: int
    damaged: Literal[True] = True


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


class FreezeModel(Shown):
    """Why an environment is frozen."""

    reason: str
    by: str | None
    since: datetime


class StatusModel(Shown):
    """The state of one tool in one environment."""

    environment: str
    tool: Tool
    revision: int
    author: str | None
    message: str
    created_at: datetime | None
    age_seconds: float | None
    origin: OriginModel | None
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
    damaged: bool

    @classmethod
    def of(cls, status: ToolStatus, *, secrets: bool) -> StatusModel:
        """Return the document of `status`, with what depends on secrets if the caller may read `secrets`."""
        hidden = {} if secrets else dict.fromkeys(("drifted", "behind_source"))
        return cls.showing(
            status,
            age_seconds=None if status.age is None else status.age.total_seconds(),
            origin=None if status.origin is None else OriginModel.of(status.origin, secrets=secrets),
            damaged=status.damaged is not None,
            **hidden,
        )


class MoveModel(BaseModel):
    """A revision before and after a commit; 0 means none."""

    before: int
    after: int


class LogEntryModel(Shown):
    """One commit: who changed what, when and why.

    `plan`, `previous` and `hash` depend on contents, and are shown to callers that may read all secrets.
    """

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
    hash: str | None

    @classmethod
    def of(cls, entry: LogEntry, tools: Collection[str] = (), *, secrets: bool) -> LogEntryModel:
        """Return the document of `entry`, with these tools only; by default with all of them.

        Args:
            secrets: whether the caller may read the secrets of the whole environment.
        """
        hidden = {} if secrets else dict.fromkeys(("plan", "previous", "hash"))
        return cls.showing(
            entry,
            tools=_moves(entry.tools, tools),
            good=_moves(entry.good, tools),
            oldest=_moves(entry.oldest, tools),
            sources={tool: revision for tool, revision in entry.sources.items() if not tools or tool in tools},
            **hidden,
        )


def _moves(moves: Any, tools: Collection[str]) -> dict[str, MoveModel]:
    return {
        tool: MoveModel(before=before, after=after)
        for tool, (before, after) in moves.items()
        if not tools or tool in tools
    }


class BackupFileModel(BaseModel):
    """One file of a backup. `size`, in bytes, is shown to callers that may read secrets."""

    tool: str
    name: str
    size: int | None = None


class BackupModel(Shown):
    """One backup. `name` names it within its environment; `damage` says what a listing shows to be missing.

    `size`, in bytes, is shown to callers that may read the secrets of all its tools.
    """

    name: str
    environment: str
    created_at: datetime
    author: str | None
    message: str
    revisions: dict[str, int]
    files: list[BackupFileModel]
    size: int | None = None
    retain_until: datetime | None
    damage: str | None

    @classmethod
    def of(cls, backup: Backup, secrets_of: Collection[str], damage: str | None) -> BackupModel:
        """Return the document of `backup`, with the sizes of the files of tools whose secrets the caller may read.

        Args:
            damage: that of the backup, as the caller may read it.
        """
        return cls.showing(
            backup,
            name=backup.key.rpartition("/")[2],
            revisions={tool: held.revision for tool, held in backup.tools.items()},
            files=[
                BackupFileModel(tool=tool, name=name, size=file.size if tool in secrets_of else None)
                for tool, name, file in backup.files()
                if tool in secrets_of or not is_internal(name)
            ],
            size=backup.size if backup.tools.keys() <= set(secrets_of) else None,
            damage=damage,
        )


class OutcomeModel(BaseModel):
    """The outcome of a write: "won", "lost", "pending" or "expired"."""

    write_id: str
    outcome: Literal["won", "lost", "pending", "expired"]


class WriteIdModel(BaseModel):
    """An id for a write, to be stored before the write, so that it can be repeated safely."""

    write_id: str


def _load() -> dict[str, Any]:
    text = files("apm_s3.fastapi").joinpath("_examples.json").read_text("utf-8")
    return {**json.loads(text)}


EXAMPLES: Mapping[str, Any] = _load()
"""Documents for OpenAPI, by name."""
