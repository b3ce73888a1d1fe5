"""`health_router`: probes without a token. They tell nothing but whether the application is alive and ready."""

from __future__ import annotations

import asyncio
from typing import Annotated
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Depends
from starlette.responses import JSONResponse, Response

from apm_s3.configs import ConfigStore
from apm_s3.errors import ApmS3Error
from apm_s3.fastapi._dependencies import get_configs
from apm_s3.fastapi._problems import problem
from apm_s3.fastapi._routes import Endpoint, add_endpoints

TAG = "health"

READ_EVERY = 5.0
"""Seconds for which an answer of `ready` holds, good or bad."""

PATIENCE = 3.0
"""Seconds after which a store that does not answer is not ready."""


class _Readiness:
    """Whether one store can be read. All probes share one read."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._is_ready = False
        self._read_at = float("-inf")

    async def ask(self, configs: ConfigStore) -> bool:
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now - self._read_at >= READ_EVERY:
                self._is_ready = await _can_read(configs)
                self._read_at = now
            return self._is_ready


async def _can_read(configs: ConfigStore) -> bool:
    try:
        async with asyncio.timeout(PATIENCE):
            await configs.environments()
    except (ApmS3Error, TimeoutError):
        return False
    return True


_stores: WeakKeyDictionary[ConfigStore, _Readiness] = WeakKeyDictionary()


async def live() -> Response:
    """Answer as long as the process can: it needs no S3."""
    return JSONResponse({"status": "live"}, headers={"Cache-Control": "no-store"})


async def ready(configs: Annotated[ConfigStore, Depends(get_configs)]) -> Response:
    """Answer whether the store can be read. It only reads, at most every five seconds."""
    readiness = _stores.setdefault(configs, _Readiness())
    if not await readiness.ask(configs):
        return problem(503, "not-ready", "The storage cannot be read.", headers={"Retry-After": str(round(READ_EVERY))})
    return JSONResponse({"status": "ready"}, headers={"Cache-Control": "no-store"})


def _ok(status: str) -> dict[str, object]:
    schema = {"type": "object", "required": ["status"], "properties": {"status": {"const": status}}}
    content = {"application/json": {"schema": schema, "example": {"status": status}}}
    return {"response_class": Response, "responses": {200: {"description": "Yes.", "content": content}}}


ENDPOINTS = (
    Endpoint("GET", "/live", live, "Is it alive?", options=_ok("live")),
    Endpoint("GET", "/ready", ready, "Is it ready?", errors=(503,), options=_ok("ready")),
)


def health_router(*, tag: str = TAG) -> APIRouter:
    """Return a router with `/live` and `/ready`, for probes, which carry no token."""
    router = APIRouter(tags=[tag])
    add_endpoints(router, ENDPOINTS, authorize=None, deadline=2 * PATIENCE, default_tag=TAG)
    return router
