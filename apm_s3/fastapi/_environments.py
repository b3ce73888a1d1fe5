"""Routes of environments: list, status, settings, freeze, thaw, writes, and the log, also as a stream."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any

from fastapi import Header, Query, Request
from starlette.responses import Response

from apm_s3.configs import ConfigStore, EnvironmentSettings, LogEntry, ToolStatus
from apm_s3.configs._checks import check_level_here
from apm_s3.errors import ApmS3Error
from apm_s3.fastapi._authorisation import Action, HttpCall
from apm_s3.fastapi._bodies import FreezeGiven, Noted, SettingsModel
from apm_s3.fastapi._models import EXAMPLES, LogEntryModel, OutcomeModel, StatusModel, WriteIdModel
from apm_s3.fastapi._parameters import (
    EnvironmentPath,
    IfMatchHeader,
    LimitQuery,
    MessageQuery,
    ToolPath,
    ToolsQuery,
    WriteIdPath,
    WriteIdQuery,
    get_conditions,
    tagged,
)
from apm_s3.fastapi._problems import ProblemError, problem_of_error
from apm_s3.fastapi._routes import MAX_JSON, Endpoint, own_response
from apm_s3.fastapi._supervision import Stream

_ENVIRONMENT = "/environments/{environment}"


async def list_environments(call: HttpCall) -> list[str]:
    """Return the names of the environments."""
    return list(await call.configs.environments())


async def get_status_of_all(call: HttpCall) -> list[StatusModel]:
    """Return revision, age, author, drift, good mark and last backup of every tool in every environment."""
    return await _shown(call, await call.configs.status())


async def get_status(call: HttpCall, environment: EnvironmentPath) -> list[StatusModel]:
    """Return revision, age, author, drift, good mark and last backup of every tool in an environment."""
    return await _shown(call, await call.configs.status(environment))


async def _shown(call: HttpCall, rows: Iterable[ToolStatus]) -> list[StatusModel]:
    return [StatusModel.of(each, secrets=await call.sees_secrets(each.environment, each.tool)) for each in rows]


async def get_settings(response: Response, call: HttpCall, environment: EnvironmentPath) -> SettingsModel:
    """Return the environment's rules for changes."""
    settings = await call.configs.settings(environment)
    response.headers.update(tagged(call.known, _settings_etag(settings), {}))
    return SettingsModel.of(settings)


async def put_settings(
    request: Request,
    response: Response,
    call: HttpCall,
    environment: EnvironmentPath,
    given: SettingsModel,
    message: MessageQuery = "",
    write_id: WriteIdQuery = None,
    if_match: IfMatchHeader = None,
) -> SettingsModel:
    """Replace the environment's rules for changes. `If-Match` has the ETag of the current ones."""
    tags = (await get_conditions(if_match, request.headers.getlist("if-none-match") or None)).match
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

    await call.configs.set_settings(environment, change, **call.change(message, write_id))
    # What was committed last was returned last by `change`; a repeated write id may have been committed long ago.
    if settings is None or write_id is not None:
        settings = await call.configs.settings(environment)
    response.headers["ETag"] = _settings_etag(settings)
    return SettingsModel.of(settings)


def _settings_etag(settings: EnvironmentSettings) -> str:
    text = f"{SettingsModel.of(settings).model_dump_json()}{sorted(settings.extra.items())!r}"
    return f'"s{hashlib.sha256(text.encode()).hexdigest()}"'


async def freeze(call: HttpCall, environment: EnvironmentPath, given: FreezeGiven) -> Response:
    """Block all changes to the environment until it is thawed."""
    await call.configs.freeze(
        environment, given.reason, author=call.author, timeout=call.timeout, write_id=given.write_id
    )
    return Response(status_code=204)


async def thaw(call: HttpCall, environment: EnvironmentPath, given: Noted) -> Response:
    """Allow changes to the environment again."""
    await call.configs.thaw(environment, **call.change(given.message, given.write_id))
    return Response(status_code=204)


async def remove_environment(
    call: HttpCall, environment: EnvironmentPath, message: MessageQuery = "", write_id: WriteIdQuery = None
) -> Response:
    """Take away an environment whose configurations were removed. Its history is kept, and thawing brings it back."""
    await call.configs.remove_environment(environment, **call.change(message, write_id))
    return Response(status_code=204)


async def get_log(
    call: HttpCall, environment: EnvironmentPath, tool: ToolsQuery = None, limit: LimitQuery = 100
) -> list[LogEntryModel]:
    """Return the commits of the environment, newest first: who changed what, when and why."""
    if tool is not None and len(tool) > 1:
        raise ProblemError(422, "request-invalid", "The log can be limited to one tool.")
    entries = await call.configs.log(environment, limit=limit, tool=tool[0] if tool else None)
    sees = await call.sees_secrets(environment, None)
    return [LogEntryModel.of(each, tool or (), secrets=sees) for each in entries]


async def new_write_id(call: HttpCall, environment: EnvironmentPath) -> WriteIdModel:
    """Return an id for a write, which is stored by the caller before the write, so that it can be repeated safely."""
    return WriteIdModel(write_id=call.configs.new_write_id(environment))


async def get_outcome(
    call: HttpCall,
    environment: EnvironmentPath,
    tool: ToolPath,  # noqa: ARG001 - the guard authorises it
    write_id: WriteIdPath,
) -> OutcomeModel:
    """Return the outcome of a write whose answer was lost. It makes sure that an old write can never take effect."""
    if write_id.rpartition(".")[0] != environment:
        raise ProblemError(404, "config-not-found", "The write id belongs to another environment.")
    return OutcomeModel(write_id=write_id, outcome=(await call.configs.outcome(write_id)).value)


_EVENTS: dict[str, Any] = {
    "text/event-stream": {
        "schema": {"type": "string"},
        "example": 'id: 42\nevent: commit\ndata: {"sequence": 42, "action": "upload"}\n\n',
    }
}
_DONE = {"response_class": Response, "status_code": 204}


KEEP_ALIVE = 15.0
"""Seconds between comments on a quiet stream, as the specification advises against proxies that close it."""

MAX_SECONDS = 900.0
"""Seconds after which a stream ends: its client resumes it, and is authorised again."""

MAX_SEQUENCE = 2**53

_RETRY_MS = 3_000


async def watch(
    call: HttpCall,
    environment: EnvironmentPath,
    tool: ToolsQuery = None,
    interval: Annotated[float, Query(ge=1, le=3_600, description="Seconds between looks at S3.")] = 10.0,
    last_event_id: Annotated[
        int | None, Header(ge=0, le=MAX_SEQUENCE, description="The sequence of the last known entry.", examples=[41])
    ] = None,
) -> Response:
    """Stream the commits of the environment as they happen: one event each, whose id is its sequence in the log.

    A client that sends the last id it has seen in `Last-Event-ID` misses nothing; without one, the stream begins now.
    It ends after 15 minutes, and clients come back by themselves.
    """
    # This refuses an unknown environment before the stream begins, and tells where it begins.
    newest = await call.configs.log(environment, limit=1)
    since = last_event_id if last_event_id is not None else newest[0].sequence if newest else 0
    show = partial(_event, tools=frozenset(tool or ()), secrets=await call.sees_secrets(environment, None))
    events = _events(call.configs, environment, since, interval, show, call.hidden_names)
    return Stream(
        events, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


async def _events(
    configs: ConfigStore,
    environment: str,
    since: int,
    interval: float,
    show: Callable[[LogEntry], bytes],
    hidden: list[str],
) -> AsyncGenerator[bytes, None]:
    # An id without data is remembered by clients, but is no event to them.
    yield f"retry: {_RETRY_MS}\nid: {since}\n\n".encode()
    try:
        async with aclosing(configs.watch_log(environment, since=since, interval=interval)) as entries:
            async for entry in _with_pauses(entries):
                yield b": \n\n" if entry is None else show(entry)
    except ApmS3Error as exc:
        document = bytes(problem_of_error(exc, hidden).body).decode()
        yield f"event: problem\ndata: {document}\n\n".encode()


def _event(entry: LogEntry, *, tools: frozenset[str], secrets: bool) -> bytes:
    if tools and not tools & {*entry.tools, *entry.good, *entry.oldest}:
        return f"id: {entry.sequence}\n\n".encode()
    document = LogEntryModel.of(entry, tools, secrets=secrets).model_dump_json()
    return f"id: {entry.sequence}\nevent: commit\ndata: {document}\n\n".encode()


async def _with_pauses(entries: AsyncIterator[LogEntry]) -> AsyncIterator[LogEntry | None]:
    """Yield the entries, and None after each pause, until the stream has lasted long enough."""
    loop = asyncio.get_running_loop()
    end = loop.time() + MAX_SECONDS
    coming: asyncio.Task[LogEntry] | None = None
    try:
        while (left := end - loop.time()) > 0:
            if coming is None:
                coming = loop.create_task(_next(entries))
            await asyncio.wait({coming}, timeout=min(left, KEEP_ALIVE))
            if coming.done():
                finished, coming = coming, None
                yield finished.result()
            elif loop.time() < end:
                yield None
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


async def _next(entries: AsyncIterator[LogEntry]) -> LogEntry:
    return await anext(entries)


ENDPOINTS = (
    Endpoint(
        "GET", "/environments", list_environments, "List the environments", Action.READ,
        example=["production", "staging"],
    ),
    Endpoint(
        "GET", "/status", get_status_of_all, "Get the status of all environments", Action.READ,
        example=[EXAMPLES["status"]],
    ),
    Endpoint(
        "GET", f"{_ENVIRONMENT}/status", get_status, "Get the status", Action.READ,
        errors=(404,), example=[EXAMPLES["status"]],
    ),
    Endpoint(
        "GET", f"{_ENVIRONMENT}/settings", get_settings, "Get the settings", Action.READ,
        errors=(404,), example=EXAMPLES["settings"],
        options={"responses": {304: {"description": "The client has them."}}},
    ),
    Endpoint(
        "PUT", f"{_ENVIRONMENT}/settings", put_settings, "Set the settings", Action.MANAGE,
        errors=(404, 409, 412, 413, 423, 428), limit=MAX_JSON, example=EXAMPLES["settings"],
    ),
    Endpoint(
        "POST", f"{_ENVIRONMENT}/freeze", freeze, "Freeze", Action.MANAGE,
        errors=(404, 409, 413), limit=MAX_JSON, options=_DONE,
    ),
    Endpoint(
        "POST", f"{_ENVIRONMENT}/thaw", thaw, "Thaw", Action.MANAGE,
        errors=(404, 409, 413), limit=MAX_JSON, options=_DONE,
    ),
    Endpoint(
        "DELETE", _ENVIRONMENT, remove_environment, "Remove an environment", Action.MANAGE,
        errors=(404, 409, 423), options=_DONE,
    ),
    Endpoint(
        "GET", f"{_ENVIRONMENT}/log", get_log, "Get the log", Action.READ, by_tools=True,
        errors=(404,), example=[EXAMPLES["log_entry"]],
    ),
    Endpoint(
        "POST", f"{_ENVIRONMENT}/writes", new_write_id, "Get an id for a write", Action.READ,
        example=EXAMPLES["write_id"],
    ),
    Endpoint(
        "POST", f"{_ENVIRONMENT}/tools/{{tool}}/writes/{{write_id}}/outcome", get_outcome, "Get the outcome of a write",
        Action.WRITE, errors=(404, 409, 423), example=EXAMPLES["outcome"],
    ),
    Endpoint(
        "GET", "/environments/{environment}/watch", watch, "Watch the log", Action.READ, by_tools=True,
        errors=(404,),
        options=own_response("Events named `commit`, and `problem` if the stream ends with an error.", _EVENTS),
    ),
)  # fmt: skip
