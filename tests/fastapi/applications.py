"""An application on a store in memory, and its tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from apm_s3.configs import ConfigStore
from apm_s3.errors import ApmS3Error
from apm_s3.fastapi import (
    Action,
    Permission,
    Principal,
    config_router,
    feed_router,
    get_configs,
    health_router,
)
from apm_s3.testing import MemoryObjects
from tests.seams.s3 import Verb

EVERYTHING = [Permission(action) for action in Action]
MASKED = [permission for permission in EVERYTHING if permission.action is not Action.SECRETS]

PRINCIPALS = {
    "admin-token": Principal.granted("ada", *EVERYTHING),
    "masked-token": Principal.granted("mo", *MASKED),
    "reader-token": Principal.granted("rita", Permission(Action.READ, "production")),
    "other-token": Principal.granted("otto", *(Permission(each.action, "staging") for each in EVERYTHING)),
    "prometheus-token": Principal.granted(
        "pia", *(Permission(each.action, "production", "prometheus") for each in EVERYTHING)
    ),
    **{f"only-{action}": Principal.granted(f"only {action}", Permission(action)) for action in Action},
    "feed-token": Principal.granted("prometheus", Permission(Action.FETCH, "production", "prometheus")),
}

_bearer = HTTPBearer(auto_error=False)


async def authorize(token: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Principal:
    """Look the token up."""
    principal = None if token is None else PRINCIPALS.get(token.credentials)
    if principal is None:
        raise HTTPException(401, "send a valid token", headers={"WWW-Authenticate": "Bearer"})
    return principal


class CountedObjects(MemoryObjects):
    """A bucket in memory that counts the requests that reach it, and keeps their verbs and keys."""

    def __init__(self, bucket: str = "acme-secret-bucket") -> None:
        super().__init__(bucket)
        self.arrived: list[tuple[Verb, str]] = []

    @property
    def requests(self) -> int:
        return len(self.arrived)

    def _arrive(self, verb: Verb, key: str) -> ApmS3Error | None:
        self.arrived.append((verb, key))
        return super()._arrive(verb, key)


@cache
def shared_app() -> FastAPI:
    """An application with all routers. Making one takes a fifth of a second, so the tests of a process share it."""
    app = FastAPI()
    app.include_router(config_router(authorize=authorize), prefix="/api")
    app.include_router(feed_router(authorize=authorize), prefix="/feed")
    app.include_router(health_router())
    return app


@contextmanager
def serving(store: ConfigStore) -> Iterator[FastAPI]:
    """The shared application on `store`."""
    app = shared_app()
    app.dependency_overrides[get_configs] = lambda: store
    try:
        yield app
    finally:
        app.dependency_overrides.clear()


@asynccontextmanager
async def client_of(app: FastAPI, token: str | None = "admin-token") -> AsyncIterator[httpx.AsyncClient]:
    """A client with a token, in this process."""
    headers = {} if token is None else bearer(token)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=headers) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    """The header with a token."""
    return {"Authorization": f"Bearer {token}"}
