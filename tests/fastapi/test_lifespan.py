"""Lifespans and dependencies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from apm_s3 import Credentials, S3Manager
from apm_s3.configs import ConfigStore
from apm_s3.errors import ManagerClosed
from apm_s3.fastapi import ConfigsDep, S3Dep, combine_lifespans, get_configs, s3_lifespan
from apm_s3.testing import MemoryObjects
from tests.managers import SESSION

made: list[S3Manager] = []


def make_s3() -> S3Manager:
    """A manager that reaches nobody."""
    credentials = Credentials("key", "secret")
    s3 = S3Manager(region="us-east-1", endpoint_url="http://127.0.0.1:9", credentials=credentials, session=SESSION)
    made.append(s3)
    return s3


def add_routes(app: FastAPI) -> None:
    """Routes that tell what their dependencies are."""

    @app.get("/s3")
    async def show_s3(s3: S3Dep) -> str:
        return repr(s3)

    @app.get("/configs")
    async def show_configs(configs: ConfigsDep) -> str:
        return repr(configs)


class Started:
    """An application as a server runs it: with the state that its lifespan gave."""

    def __init__(self, app: ASGIApp, state: object) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(self._state) if isinstance(self._state, dict) else {}
        await self._app({**scope, "state": given}, receive, send)


@asynccontextmanager
async def started(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running application."""
    async with app.router.lifespan_context(app) as state:
        transport = httpx.ASGITransport(app=Started(app, state))
        async with httpx.AsyncClient(transport=transport, base_url="http://app.test") as client:
            yield client


async def test_the_manager_is_open_as_long_as_the_application_runs() -> None:
    app = FastAPI(lifespan=s3_lifespan("acme-apm-configs", "team-a/", make_s3=make_s3))
    add_routes(app)
    async with started(app) as client:
        assert "open>" in (await client.get("/s3")).json()
        assert "prefix='team-a/'" in (await client.get("/configs")).json()

    with pytest.raises(ManagerClosed):
        await made[-1].open()


async def test_each_run_of_an_application_has_a_manager_of_its_own() -> None:
    app = FastAPI(lifespan=s3_lifespan("acme-apm-configs", make_s3=make_s3))
    add_routes(app)
    for _ in range(2):
        async with started(app) as client:
            assert (await client.get("/s3")).status_code == 200

    assert made[-1] is not made[-2]


async def test_a_lifespan_of_ones_own_can_contain_it() -> None:
    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[None]:
        async with s3_lifespan("acme-apm-configs", make_s3=make_s3)(app):
            yield

    app = FastAPI(lifespan=own)
    add_routes(app)
    async with started(app) as client:
        assert (await client.get("/configs")).status_code == 200


async def test_combined_lifespans_nest_and_share_their_states() -> None:
    events: list[str] = []

    def named(name: str, state: dict[str, str] | None):
        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str] | None]:
            events.append(f"start {name}")
            yield state
            events.append(f"end {name}")

        return lifespan

    both = combine_lifespans(named("a", {"a": "1"}), s3_lifespan("acme-apm-configs", make_s3=make_s3), named("b", None))
    app = FastAPI(lifespan=both)
    async with app.router.lifespan_context(app) as state:
        assert {*state} == {"a", "apm_s3"}

    assert events == ["start a", "start b", "end b", "end a"]


async def test_what_was_started_ends_if_a_later_start_fails() -> None:
    @asynccontextmanager
    async def failing(app: FastAPI) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    app = FastAPI(lifespan=combine_lifespans(s3_lifespan(make_s3=make_s3), failing))
    with pytest.raises(RuntimeError, match="no database"):
        async with app.router.lifespan_context(app):
            pass

    assert "closed" in repr(made[-1])


async def test_a_mounted_application_finds_the_manager_of_the_outer_one() -> None:
    inner = FastAPI()
    add_routes(inner)
    app = FastAPI(lifespan=s3_lifespan("acme-apm-configs", make_s3=make_s3))
    app.mount("/inner", inner)
    async with started(app) as client:
        assert (await client.get("/inner/configs")).status_code == 200


async def test_overrides_replace_the_dependencies() -> None:
    app = FastAPI()
    add_routes(app)
    app.dependency_overrides[get_configs] = lambda: ConfigStore(MemoryObjects("fake"))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app.test") as client:
        assert "bucket='fake'" in (await client.get("/configs")).json()
