"""The routers that applications include."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from apm_s3.configs import ConfigStore
from apm_s3.errors import ApmS3Error
from apm_s3.fastapi import _deploys, _environments, _files, _releases
from apm_s3.fastapi._lifespan import S3Dep, get_configs
from apm_s3.fastapi._problems import problem
from apm_s3.fastapi._routes import DEADLINE, Endpoint, check_authorize, make_router, own_response

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


TAG = "configurations"

ENDPOINTS: tuple[Endpoint, ...] = (
    # Routes are tried in order, so the one that is read most comes first.
    *_files.ENDPOINTS,
    *_environments.ENDPOINTS,
    *_releases.ENDPOINTS,
    *_deploys.ENDPOINTS,
)
"""Every route of `config_router`."""


def config_router(
    *, authorize: Callable[..., Any], deadline: float = DEADLINE, tag: str = TAG, external_tools: bool = False
) -> APIRouter:
    """Return a router with the whole store: include it with any prefix, in any number of applications.

    Every request is authorised first: for its action, environment and tool. The principal's name is the author of its
    changes.

    Args:
        authorize: a dependency, any callable that FastAPI takes. It returns a `Principal`, or raises
            `HTTPException(401)`.
        deadline: seconds for a request, after which its work is cancelled. Streams do not end with it.
        tag: the group of the routes in the documentation. Operation ids begin with it, unless it is the default, so two
            routers in one application need two tags.
        external_tools: whether clients may make this service run promtool and amtool on what they send. Otherwise
            uploads to environments whose settings ask for them (level "external") are refused, and so are such
            settings.

    Raises:
        InvalidOption: `authorize` is not a callable, or `deadline` is not above 0.
    """
    check_authorize(authorize, "config_router")
    return make_router(
        ENDPOINTS, tag=tag, default_tag=TAG, deadline=deadline, authorize=authorize, external_tools=external_tools
    )


_HEALTH = "health"

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


def _ok(status: str) -> dict[str, Any]:
    schema = {"type": "object", "required": ["status"], "properties": {"status": {"const": status}}}
    return own_response("Yes.", {"application/json": {"schema": schema, "example": {"status": status}}})


PROBES = (
    Endpoint("GET", "/live", live, "Is it alive?", options=_ok("live")),
    Endpoint("GET", "/ready", ready, "Is it ready?", errors=(503,), options=_ok("ready")),
)


def health_router(*, tag: str = _HEALTH) -> APIRouter:
    """Return a router with `/live` and `/ready`, for probes, which carry no token."""
    return make_router(PROBES, tag=tag, default_tag=_HEALTH, deadline=2 * PATIENCE)


_METRICS = "metrics"

_SECONDS = 10.0


def metrics_router(*, registry: CollectorRegistry | None = None, tag: str = _METRICS) -> APIRouter:
    """Return a router with `/metrics`. It needs the extra `prometheus`.

    With several workers, each answers with its own figures: let Prometheus scrape workers apart, or give a `registry`
    for `prometheus_client.multiprocess`.

    Args:
        registry: what is exported; by default the metrics of the application's manager, and nothing else.
    """
    from prometheus_client import CollectorRegistry as Registry  # noqa: PLC0415 - it may not be installed
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - it may not be installed

    from apm_s3.exporters.prometheus import PrometheusExporter  # noqa: PLC0415 - it may not be installed

    async def metrics(request: Request, s3: S3Dep) -> Response:
        """Return the metrics in the format that the scraper accepts."""
        wanted = registry
        if wanted is None:
            wanted = Registry(auto_describe=False)
            exporter = PrometheusExporter(wanted)
            exporter.add(s3)
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        body = await asyncio.to_thread(encode, wanted)
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    content = {"text/plain": {"schema": {"type": "string"}, "example": 'apm_s3_pool_in_use{manager="default"} 0.0\n'}}
    endpoint = Endpoint("GET", "/metrics", metrics, "Get the metrics", options=own_response("The metrics.", content))
    return make_router([endpoint], tag=tag, default_tag=_METRICS, deadline=_SECONDS)
