"""Routes of backups: make, list, verify, drill, restore."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Annotated

from fastapi import Path, Query

from apm_s3.configs import Backup
from apm_s3.fastapi import _examples
from apm_s3.fastapi._bodies import BackupBody, RestoreBody
from apm_s3.fastapi._calls import Call, CallDep
from apm_s3.fastapi._models import BackupModel, ReleaseModel
from apm_s3.fastapi._parameters import EnvironmentPath, ToolsQuery
from apm_s3.fastapi._permissions import Action, Permission
from apm_s3.fastapi._problems import ProblemError, scrubbed
from apm_s3.fastapi._routes import MAX_JSON, Endpoint

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


async def list_backups(call: CallDep, environment: EnvironmentPath) -> list[BackupModel]:
    """Return the backups of the environment, newest first."""
    return await _shown(call, await call.configs.list_backups(environment))


async def list_all_backups(call: CallDep) -> list[BackupModel]:
    """Return the backups of all environments, newest first."""
    return await _shown(call, await call.configs.list_backups())


async def back_up(
    call: CallDep, environment: EnvironmentPath, given: BackupBody, tool: ToolsQuery = None
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


async def verify_backup(call: CallDep, environment: EnvironmentPath, backup: BackupPath) -> BackupModel:
    """Verify every file of a backup by its hash."""
    return (await _shown(call, [await call.configs.verify_backup(_key(environment, backup))]))[0]


async def drill_backup(
    call: CallDep, environment: EnvironmentPath, backup: BackupPath, tool: ToolsQuery = None
) -> list[ReleaseModel]:
    """Restore a backup to a scratch environment, read it back, compare every byte, and remove it again."""
    releases = await call.configs.restore_environment(
        _key(environment, backup), tools=tool, author=call.author, drill=True
    )
    return [ReleaseModel.of(each, secrets=False) for each in releases]


async def restore_backup(
    call: CallDep,
    environment: EnvironmentPath,
    backup: BackupPath,
    given: RestoreBody,
    tool: ToolsQuery = None,
    into: Annotated[
        str | None, Query(max_length=63, description="By default the backup's environment.", examples=["staging"])
    ] = None,
) -> list[ReleaseModel]:
    """Restore a backup as new revisions of all its tools, or of some, in one commit."""
    target = into or environment
    tools: list[str | None] = [*tool] if tool else [None]
    if target != environment:
        await call.require(*(Permission(Action.WRITE, target, each) for each in tools))
        await call.require_to_copy(environment, target, tools)
    releases = await call.configs.restore_environment(
        _key(environment, backup),
        environment=into,
        tools=tool,
        expect_revisions=given.expect_revisions,
        author=call.author,
        message=given.message,
        timeout=call.timeout,
        write_id=given.write_id,
    )
    return [ReleaseModel.of(each, secrets=await call.sees_secrets(target, each.tool)) for each in releases]


async def _shown(call: Call, backups: Collection[Backup]) -> list[BackupModel]:
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
    Endpoint("GET", "/backups", list_all_backups, "List all backups", Action.READ, example=[_examples.BACKUP]),
    Endpoint(
        "GET", _BACKUPS, list_backups, "List the backups", Action.READ,
        errors=(404,), example=[_examples.BACKUP],
    ),
    Endpoint(
        "POST", _BACKUPS, back_up, "Back up", Action.WRITE, by_tools=True,
        errors=(404, 409, 413), body=BackupBody, limit=MAX_JSON, options={"status_code": 201},
        example=_examples.BACKUP,
    ),
    Endpoint(
        "POST", f"{_BACKUP}/verify", verify_backup, "Verify a backup", Action.READ,
        errors=(404, 409), example=_examples.BACKUP,
    ),
    Endpoint(
        "POST", f"{_BACKUP}/drill", drill_backup, "Drill a backup", Action.WRITE, by_tools=True,
        errors=(404, 409, 423), example=[_examples.RESTORED],
    ),
    Endpoint(
        "POST", f"{_BACKUP}/restore", restore_backup, "Restore a backup", Action.WRITE, by_tools=True,
        errors=(404, 409, 413, 423), body=RestoreBody, limit=MAX_JSON,
        example=[_examples.RESTORED],
    ),
)  # fmt: skip
