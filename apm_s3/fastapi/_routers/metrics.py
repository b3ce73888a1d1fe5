"""`metrics_router`: the manager's metrics for Prometheus, without a token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from apm_s3.fastapi._dependencies import S3Dep
from apm_s3.fastapi._routes import Endpoint, add_endpoints

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

TAG = "metrics"

_SECONDS = 10.0


def metrics_router(*, registry: CollectorRegistry | None = None, tag: str = TAG) -> APIRouter:
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

    router = APIRouter(tags=[tag])
    add_endpoints(router, [_endpoint(metrics)], authorize=None, deadline=_SECONDS, default_tag=TAG)
    return router


def _endpoint(call: Any) -> Endpoint:
    content = {"text/plain": {"schema": {"type": "string"}, "example": 'apm_s3_pool_in_use{manager="default"} 0.0\n'}}
    return Endpoint(
        "GET",
        "/metrics",
        call,
        "Get the metrics",
        options={"response_class": Response, "responses": {200: {"description": "The metrics.", "content": content}}},
    )
