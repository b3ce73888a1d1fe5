"""Routes of releases and of backups."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from operator import attrgetter
from typing import Annotated

from fastapi import Path, Query, Response

from apm_s3._tools import Tool
from apm_s3.configs import Backup
from apm_s3.errors import ConfigNotFound, StoreDamaged
from apm_s3.fastapi._authorisation import Action, HttpCall, Permission
from apm_s3.fastapi._bodies import BackupGiven, MarkGiven, RestoreGiven, RollbackGiven
from apm_s3.fastapi._models import EXAMPLES, BackupModel, DiffModel, LostReleaseModel, ReleaseModel
from apm_s3.fastapi._parameters import (
    CreateQuery,
    EnvironmentPath,
    LimitQuery,
    ToolPath,
    ToolsQuery,
    intact_history,
    revision_header,
    tagged,
)
from apm_s3.fastapi._problems import ProblemError, scrubbed
from apm_s3.fastapi._routes import MAX_JSON, Endpoint

_TOOL = "/environments/{environment}/tools/{tool}"


async def list_releases(call: HttpCall, environment: EnvironmentPath) -> list[ReleaseModel | LostReleaseModel]:
    """Return the current release of each tool in an environment. A damaged one has only its revision."""
    try:
        releases = await call.configs.list(environment)
    except StoreDamaged:
        rows = await call.configs.status(environment)
        return [row for each in rows for row in await _history(call, environment, each.tool, 1)]
    return [await call.shown(each) for each in releases]


async def get_release(
    response: Response,
    call: HttpCall,
    environment: EnvironmentPath,
    tool: ToolPath,
) -> ReleaseModel:
    """Return the current release of a tool. Its ETag is the value for If-Match in changes of the bundle."""
    release = (await call.configs.history(tool, environment, limit=1))[0]
    if release.removed:
        raise ConfigNotFound(f"{tool} in {environment} was removed", hint="see its history")
    model = await call.shown(release)
    response.headers.update(tagged(call.known, model.etag, revision_header(release)))
    return model


async def get_history(
    call: HttpCall, environment: EnvironmentPath, tool: ToolPath, limit: LimitQuery = 100
) -> list[ReleaseModel | LostReleaseModel]:
    """Return the kept releases of a tool, newest first. One whose document is damaged has only its revision."""
    return await _history(call, environment, tool, limit)


async def _history(call: HttpCall, environment: str, tool: Tool, limit: int) -> list[ReleaseModel | LostReleaseModel]:
    releases, lost = await intact_history(call.configs, tool, environment, limit)
    rows: list[ReleaseModel | LostReleaseModel] = [await call.shown(each) for each in releases]
    rows += [LostReleaseModel(tool=tool, environment=environment, revision=each) for each in lost]
    return sorted(rows, key=attrgetter("revision"), reverse=True)


RevisionOf = Annotated[
    int | None, Query(ge=0, le=99_999_999, description="A revision; 0 is an empty bundle.", examples=[3])
]


async def get_diff(
    call: HttpCall,
    environment: EnvironmentPath,
    tool: ToolPath,
    old: RevisionOf = None,
    new: RevisionOf = None,
    to_environment: Annotated[
        str | None, Query(max_length=63, description="Compare with this environment.", examples=["staging"])
    ] = None,
) -> DiffModel:
    """Compare two revisions, by default the current one with the one before, or two environments.

    Secrets are masked.
    """
    if to_environment is not None:
        await call.require(Permission(Action.READ, to_environment, tool))
    return DiffModel.of(await call.configs.diff(tool, environment, old, new, to_environment=to_environment))


async def roll_back(call: HttpCall, environment: EnvironmentPath, tool: ToolPath, given: RollbackGiven) -> ReleaseModel:
    """Create a new revision with the files of an old one, by default of the one marked good."""
    release = await call.configs.rollback(
        tool,
        environment,
        to_revision=given.to_revision,
        expect_revision=given.expect_revision,
        force=given.force,
        **call.change(given.message, given.write_id),
    )
    return await call.shown(release)


async def mark_good(call: HttpCall, environment: EnvironmentPath, tool: ToolPath, given: MarkGiven) -> ReleaseModel:
    """Mark a revision as good, by default the current one: a rollback returns to it."""
    release = await call.configs.mark_good(
        tool,
        environment,
        given.revision,
        **call.change(given.message, given.write_id),
    )
    return await call.shown(release)


_BACKUPS = "/environments/{environment}/backups"
_BACKUP = f"{_BACKUPS}/{{backup}}"

BackupPath = Annotated[
    str,
    Path(
        pattern=r"^[0-9]{8}T[0-9]{6}Z-[a-z0-9.-]{1,90}$",
        description="The name of a backup.",
        examples=["20260102T030405Z-production.0123456789abcdef0123"],
    ),
]


async def list_backups(call: HttpCall, environment: EnvironmentPath) -> list[BackupModel]:
    """Return the backups of the environment, newest first."""
    return await _shown(call, await call.configs.list_backups(environment))


async def list_all_backups(call: HttpCall) -> list[BackupModel]:
    """Return the backups of all environments, newest first."""
    return await _shown(call, await call.configs.list_backups())


async def back_up(
    call: HttpCall, environment: EnvironmentPath, given: BackupGiven, tool: ToolsQuery = None
) -> BackupModel:
    """Make a self-contained copy of the current state, of one tool or of all."""
    if tool is not None and len(tool) > 1:
        raise ProblemError(422, "request-invalid", "A backup is of one tool, or of all.")
    backup = await call.configs.backup(
        tool[0] if tool else None,
        environment,
        author=call.author,
        message=given.message,
        retain=None if given.retain_seconds is None else timedelta(seconds=given.retain_seconds),
    )
    return (await _shown(call, [backup]))[0]


async def verify_backup(call: HttpCall, environment: EnvironmentPath, backup: BackupPath) -> BackupModel:
    """Verify every file of a backup by its hash."""
    return (await _shown(call, [await call.configs.verify_backup(_key(environment, backup))]))[0]


async def drill_backup(
    call: HttpCall, environment: EnvironmentPath, backup: BackupPath, tool: ToolsQuery = None
) -> list[ReleaseModel]:
    """Restore a backup to a scratch environment, read it back, compare every byte, and remove it again."""
    releases = await call.configs.restore_environment(
        _key(environment, backup), tools=tool, author=call.author, drill=True
    )
    return [ReleaseModel.of(each, secrets=False) for each in releases]


async def restore_backup(
    call: HttpCall,
    environment: EnvironmentPath,
    backup: BackupPath,
    given: RestoreGiven,
    tool: ToolsQuery = None,
    into: Annotated[
        str | None, Query(max_length=63, description="By default the backup's environment.", examples=["staging"])
    ] = None,
    create: CreateQuery = False,
) -> list[ReleaseModel]:
    """Restore a backup as new revisions of all its tools, or of some, in one commit."""
    target = into or environment
    tools: list[str | None] = [*tool] if tool else [None]
    if target != environment:
        await call.require(*(Permission(Action.WRITE, target, each) for each in tools))
        await call.require_to_copy(environment, target, tools)
    # The environment of the backup itself is no typing error.
    if into is not None and not create and (known := await call.configs.environments()) and target not in known:
        raise await call.unknown_environment(target)
    releases = await call.configs.restore_environment(
        _key(environment, backup),
        environment=into,
        tools=tool,
        expect_revisions=given.expect_revisions,
        **call.change(given.message, given.write_id),
    )
    return [await call.shown(each) for each in releases]


async def _shown(call: HttpCall, backups: Collection[Backup]) -> list[BackupModel]:
    places = {(each.environment, tool) for each in backups for tool in each.tools}
    seen = {place for place in places if await call.sees_secrets(*place)}
    hidden = call.hidden_names
    return [
        BackupModel.of(
            each, [tool for tool in each.tools if (each.environment, tool) in seen], scrubbed(each.damage, hidden)
        )
        for each in backups
    ]


def _key(environment: str, name: str) -> str:
    return f"backups/{environment}/{name}"


ENDPOINTS = (
    Endpoint(
        "GET", "/environments/{environment}/tools", list_releases, "List the current releases", Action.READ,
        errors=(404,), example=[EXAMPLES["release"]],
    ),
    Endpoint(
        "GET", _TOOL, get_release, "Get the current release", Action.READ,
        errors=(404,), example=EXAMPLES["release"],
        options={"responses": {304: {"description": "The client has it."}}},
    ),
    Endpoint(
        "GET", f"{_TOOL}/history", get_history, "Get the history", Action.READ,
        errors=(404,), example=[EXAMPLES["release"]],
    ),
    Endpoint("GET", f"{_TOOL}/diff", get_diff, "Compare", Action.READ, errors=(404,), example=EXAMPLES["diff"]),
    Endpoint(
        "POST", f"{_TOOL}/rollback", roll_back, "Roll back", Action.WRITE,
        errors=(404, 409, 413, 423), limit=MAX_JSON, example=EXAMPLES["rolled_back"],
    ),
    Endpoint(
        "POST", f"{_TOOL}/good", mark_good, "Mark a revision good", Action.WRITE,
        errors=(404, 409, 413, 423), limit=MAX_JSON, example=EXAMPLES["release"],
    ),
    Endpoint("GET", "/backups", list_all_backups, "List all backups", Action.READ, example=[EXAMPLES["backup"]]),
    Endpoint(
        "GET", _BACKUPS, list_backups, "List the backups", Action.READ,
        errors=(404,), example=[EXAMPLES["backup"]],
    ),
    Endpoint(
        "POST", _BACKUPS, back_up, "Back up", Action.WRITE, by_tools=True,
        errors=(404, 409, 413), limit=MAX_JSON, options={"status_code": 201},
        example=EXAMPLES["backup"],
    ),
    Endpoint(
        "POST", f"{_BACKUP}/verify", verify_backup, "Verify a backup", Action.READ,
        errors=(404, 409), example=EXAMPLES["backup"],
    ),
    Endpoint(
        "POST", f"{_BACKUP}/drill", drill_backup, "Drill a backup", Action.WRITE, by_tools=True,
        errors=(404, 409, 423), example=[EXAMPLES["restored"]],
    ),
    Endpoint(
        "POST", f"{_BACKUP}/restore", restore_backup, "Restore a backup", Action.WRITE, by_tools=True,
        errors=(404, 409, 413, 423), limit=MAX_JSON,
        example=[EXAMPLES["restored"]],
    ),
)  # fmt: skip
