"""`config_router`: the whole store over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter

from apm_s3.fastapi._routers import backups as _backups
from apm_s3.fastapi._routers import bundles as _bundles
from apm_s3.fastapi._routers import deploys as _deploys
from apm_s3.fastapi._routers import environments as _environments
from apm_s3.fastapi._routers import files as _files
from apm_s3.fastapi._routers import releases as _releases
from apm_s3.fastapi._routers import watch as _watch
from apm_s3.fastapi._routes import DEADLINE, Endpoint, add_endpoints, check_authorize, check_deadline

TAG = "configurations"

ENDPOINTS: tuple[Endpoint, ...] = (
    # Routes are tried in order, so the one that is read most comes first.
    *_files.ENDPOINTS,
    *_environments.ENDPOINTS,
    *_releases.ENDPOINTS,
    *_bundles.ENDPOINTS,
    *_deploys.ENDPOINTS,
    *_backups.ENDPOINTS,
    *_watch.ENDPOINTS,
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
    check_deadline(deadline)
    router = APIRouter(tags=[tag])
    add_endpoints(
        router, ENDPOINTS, authorize=authorize, deadline=deadline, default_tag=TAG, external_tools=external_tools
    )
    return router
