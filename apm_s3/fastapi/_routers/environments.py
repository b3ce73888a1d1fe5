"""Routes of environments: list, status, settings, freeze, thaw, log, writes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from fastapi import Request, Response
from starlette.responses import Response as PlainResponse

from apm_s3.configs import EnvironmentSettings, ToolStatus
from apm_s3.configs._writes.checks import check_level_here
from apm_s3.fastapi import _examples
from apm_s3.fastapi._bodies import FreezeBody, NotedBody, SettingsBody, SettingsModel
from apm_s3.fastapi._calls import Call, CallDep
from apm_s3.fastapi._conditions import CONDITION, KNOWN, PRIVATE, conditions_of, not_modified
from apm_s3.fastapi._models import LogEntryModel, OutcomeModel, StatusModel, WriteIdModel
from apm_s3.fastapi._parameters import (
    EnvironmentPath,
    LimitQuery,
    MessageQuery,
    ToolPath,
    ToolsQuery,
    WriteIdPath,
    WriteIdQuery,
)
from apm_s3.fastapi._permissions import Action
from apm_s3.fastapi._problems import ProblemError
from apm_s3.fastapi._routes import MAX_JSON, Endpoint

_ENVIRONMENT = "/environments/{environment}"


async def list_environments(call: CallDep) -> list[str]:
    """Return the names of the environments."""
    return list(await call.configs.environments())


async def get_status_of_all(call: CallDep) -> list[StatusModel]:
    """Return revision, age, author, drift, good mark and last backup of every tool in every environment."""
    return await _shown(call, await call.configs.status())


async def get_status(call: CallDep, environment: EnvironmentPath) -> list[StatusModel]:
    """Return revision, age, author, drift, good mark and last backup of every tool in an environment."""
    return await _shown(call, await call.configs.status(environment))


async def _shown(call: Call, rows: Iterable[ToolStatus]) -> list[StatusModel]:
    return [StatusModel.of(each, secrets=await call.sees_secrets(each.environment, each.tool)) for each in rows]


async def get_settings(
    request: Request, response: Response, call: CallDep, environment: EnvironmentPath
) -> PlainResponse | SettingsModel:
    """Return the environment's rules for changes."""
    settings = await call.configs.settings(environment)
    etag = _settings_etag(settings)
    known = not_modified(request, etag, PRIVATE)
    if known is not None:
        return known
    response.headers.update({**PRIVATE, "ETag": etag})
    return SettingsModel.of(settings)


async def put_settings(
    request: Request,
    response: Response,
    call: CallDep,
    environment: EnvironmentPath,
    given: SettingsBody,
    message: MessageQuery = "",
    write_id: WriteIdQuery = None,
) -> SettingsModel:
    """Replace the environment's rules for changes. `If-Match` has the ETag of the current ones."""
    tags, _ = conditions_of(request)
    if tags is None:
        raise ProblemError(428, "condition-required", "Send the ETag of the current settings in If-Match.")

    settings: EnvironmentSettings | None = None

    def change(old: EnvironmentSettings) -> EnvironmentSettings:
        nonlocal settings
        if not tags.any and _settings_etag(old) not in tags.strong:
            raise ProblemError(412, "condition-failed", "Somebody else changed the settings: read them again.")
        settings = given.applied(old)
        if settings.level != old.level:
            check_level_here(settings.level)
        return settings

    await call.configs.set_settings(
        environment, change, author=call.author, message=message, timeout=call.timeout, write_id=write_id
    )
    # What was committed last was returned last by `change`; a repeated write id may have been committed long ago.
    if settings is None or write_id is not None:
        settings = await call.configs.settings(environment)
    response.headers.update({**PRIVATE, "ETag": _settings_etag(settings)})
    return SettingsModel.of(settings)


def _settings_etag(settings: EnvironmentSettings) -> str:
    text = f"{SettingsModel.of(settings).model_dump_json()}{sorted(settings.extra.items())!r}"
    return f'"s{hashlib.sha256(text.encode()).hexdigest()}"'


async def freeze(call: CallDep, environment: EnvironmentPath, given: FreezeBody) -> PlainResponse:
    """Block all changes to the environment until it is thawed."""
    await call.configs.freeze(
        environment, given.reason, author=call.author, timeout=call.timeout, write_id=given.write_id
    )
    return PlainResponse(status_code=204)


async def thaw(call: CallDep, environment: EnvironmentPath, given: NotedBody) -> PlainResponse:
    """Allow changes to the environment again."""
    await call.configs.thaw(
        environment, author=call.author, message=given.message, timeout=call.timeout, write_id=given.write_id
    )
    return PlainResponse(status_code=204)


async def get_log(
    call: CallDep, environment: EnvironmentPath, tool: ToolsQuery = None, limit: LimitQuery = 100
) -> list[LogEntryModel]:
    """Return the commits of the environment, newest first: who changed what, when and why."""
    if tool is not None and len(tool) > 1:
        raise ProblemError(422, "request-invalid", "The log can be limited to one tool.")
    entries = await call.configs.log(environment, limit=limit, tool=tool[0] if tool else None)
    sees = await call.sees_secrets(environment, None)
    return [LogEntryModel.of(each, tool or (), secrets=sees) for each in entries]


async def new_write_id(call: CallDep, environment: EnvironmentPath) -> WriteIdModel:
    """Return an id for a write, which is stored by the caller before the write, so that it can be repeated safely."""
    return WriteIdModel(write_id=call.configs.new_write_id(environment))


async def get_outcome(
    call: CallDep,
    environment: EnvironmentPath,
    tool: ToolPath,  # noqa: ARG001 - the guard authorises it
    write_id: WriteIdPath,
) -> OutcomeModel:
    """Return the outcome of a write whose answer was lost. It makes sure that an old write can never take effect."""
    if write_id.rpartition(".")[0] != environment:
        raise ProblemError(404, "config-not-found", "The write id belongs to another environment.")
    return OutcomeModel(write_id=write_id, outcome=(await call.configs.outcome(write_id)).value)


_SETTINGS = SettingsModel.of(EnvironmentSettings(target_versions={"prometheus": "3.5"}, deploy_from=("staging",)))
_DONE = {"response_class": PlainResponse, "status_code": 204}

ENDPOINTS = (
    Endpoint(
        "GET", "/environments", list_environments, "List the environments", Action.READ,
        example=["production", "staging"],
    ),
    Endpoint(
        "GET", "/status", get_status_of_all, "Get the status of all environments", Action.READ,
        example=[_examples.STATUS],
    ),
    Endpoint(
        "GET", f"{_ENVIRONMENT}/status", get_status, "Get the status", Action.READ,
        errors=(404,), example=[_examples.STATUS],
    ),
    Endpoint(
        "GET", f"{_ENVIRONMENT}/settings", get_settings, "Get the settings", Action.READ,
        errors=(404,), example=_SETTINGS,
        options={
            "response_model": SettingsModel,
            "openapi_extra": {"parameters": KNOWN},
            "responses": {304: {"description": "The client has them."}},
        },
    ),
    Endpoint(
        "PUT", f"{_ENVIRONMENT}/settings", put_settings, "Set the settings", Action.MANAGE,
        errors=(404, 409, 412, 413, 423, 428), body=SettingsBody, limit=MAX_JSON, example=_SETTINGS,
        options={"openapi_extra": {"parameters": CONDITION[:1]}},
    ),
    Endpoint(
        "POST", f"{_ENVIRONMENT}/freeze", freeze, "Freeze", Action.MANAGE,
        errors=(404, 409, 413), body=FreezeBody, limit=MAX_JSON, options=_DONE,
    ),
    Endpoint(
        "POST", f"{_ENVIRONMENT}/thaw", thaw, "Thaw", Action.MANAGE,
        errors=(404, 409, 413), body=NotedBody, limit=MAX_JSON, options=_DONE,
    ),
    Endpoint(
        "GET", f"{_ENVIRONMENT}/log", get_log, "Get the log", Action.READ, by_tools=True,
        errors=(404,), example=[_examples.LOG_ENTRY],
    ),
    Endpoint(
        "POST", f"{_ENVIRONMENT}/writes", new_write_id, "Get an id for a write", Action.READ,
        example=_examples.WRITE_ID,
    ),
    Endpoint(
        "POST", f"{_ENVIRONMENT}/tools/{{tool}}/writes/{{write_id}}/outcome", get_outcome, "Get the outcome of a write",
        Action.WRITE, errors=(404, 409, 423), example=_examples.OUTCOME,
    ),
)  # fmt: skip
