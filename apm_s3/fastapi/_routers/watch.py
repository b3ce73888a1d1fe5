"""The log of an environment as server-sent events (WHATWG HTML, section 9.2), which a client can resume."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Annotated

from fastapi import Header, Query
from starlette.responses import Response

from apm_s3.configs import ConfigStore, LogEntry
from apm_s3.errors import ApmS3Error
from apm_s3.fastapi._calls import CallDep
from apm_s3.fastapi._models import LogEntryModel
from apm_s3.fastapi._parameters import EnvironmentPath, ToolsQuery
from apm_s3.fastapi._permissions import Action
from apm_s3.fastapi._problems import problem_of_error
from apm_s3.fastapi._routes import Endpoint
from apm_s3.fastapi._streams import Stream

KEEP_ALIVE = 15.0
"""Seconds between comments on a quiet stream, as the specification advises against proxies that close it."""

MAX_SECONDS = 900.0
"""Seconds after which a stream ends: its client resumes it, and is authorised again."""

MAX_SEQUENCE = 2**53

_RETRY_MS = 3_000


async def watch(
    call: CallDep,
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
        "GET", "/environments/{environment}/watch", watch, "Watch the log", Action.READ, by_tools=True,
        errors=(404,),
        options={
            "response_class": Response,
            "responses": {
                200: {
                    "description": "Events named `commit`, and `problem` if the stream ends with an error.",
                    "content": {
                        "text/event-stream": {
                            "schema": {"type": "string"},
                            "example": 'id: 42\nevent: commit\ndata: {"sequence": 42, "action": "upload"}\n\n',
                        }
                    },
                }
            },
        },
    ),
)  # fmt: skip
