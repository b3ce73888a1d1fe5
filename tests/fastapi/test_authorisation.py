"""Nobody reaches anything without a token that allows it; the walk covers every route of the registry."""

from __future__ import annotations

import inspect
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException

from apm_s3.configs import ConfigStore
from apm_s3.errors import InvalidOption
from apm_s3.fastapi import Action, Permission, Principal, config_router, feed_router, get_configs
from apm_s3.fastapi._routes import Endpoint
from tests.fastapi.applications import EVERYTHING, CountedObjects, bearer, client_of
from tests.fastapi.routes import GUARDED, SAMPLES, request_for

ROUTES = pytest.mark.parametrize(("prefix", "endpoint"), GUARDED, ids=lambda each: getattr(each, "name", ""))
PROBLEM = "application/problem+json"


def test_every_route_has_a_sample_and_an_action() -> None:
    assert {endpoint.call.__name__ for _, endpoint in GUARDED} == SAMPLES.keys()
    assert all(endpoint.action is not None for _, endpoint in GUARDED)


@ROUTES
def test_the_guard_and_the_route_read_the_same_tools(prefix: str, endpoint: Endpoint) -> None:
    if endpoint.is_bare:
        assert {"environment", "tool"} <= set(endpoint.path.replace("{", "}").split("}"))
        assert not endpoint.by_tools
        return
    parameters = inspect.signature(endpoint.call).parameters
    in_path = "{tool}" in endpoint.path

    assert ("tool" in parameters) == (in_path or endpoint.by_tools)
    assert not (in_path and endpoint.by_tools)
    assert ("environment" in parameters) == ("{environment}" in endpoint.path)


@ROUTES
async def test_a_request_without_the_right_token_reaches_nothing(
    prefix: str, endpoint: Endpoint, app: FastAPI, objects: CountedObjects
) -> None:
    for token, status in ((None, 401), ("made-up", 401), ("other-token", 403)):
        async with client_of(app, token) as client:
            answer = await client.request(**request_for(prefix, endpoint))

        assert (token, answer.status_code, answer.headers["content-type"]) == (token, status, PROBLEM)
        assert ("www-authenticate" in answer.headers) == (status == 401)
    assert objects.requests == 0


@ROUTES
async def test_a_route_needs_its_own_action_and_no_other_is_enough(
    prefix: str, endpoint: Endpoint, app: FastAPI, objects: CountedObjects
) -> None:
    for action in set(Action) - {endpoint.action}:
        async with client_of(app, f"only-{action}") as client:
            assert (await client.request(**request_for(prefix, endpoint))).status_code == 403
    assert objects.requests == 0

    # The stream does not end by itself: its own tests read it. A deploy must also read its source.
    if endpoint.call.__name__ not in {"watch", "plan_deploy", "deploy"}:
        async with client_of(app, f"only-{endpoint.action}") as client:
            assert (await client.request(**request_for(prefix, endpoint))).status_code not in {401, 403, 405, 500}


async def test_a_token_for_one_tool_reaches_only_that_tool(app: FastAPI) -> None:
    async with client_of(app, "prometheus-token") as client:
        own = await client.get("/api/environments/production/tools/prometheus/files/prometheus.yml")
        other = await client.get("/api/environments/production/tools/alertmanager/files/alertmanager.yml")
        log = await client.get("/api/environments/production/log", params={"tool": "prometheus"})
        whole_log = await client.get("/api/environments/production/log")
        # A parameter that the route does not have changes nothing about what it needs.
        settings = await client.get("/api/environments/production/settings", params={"tool": "prometheus"})

    statuses = [each.status_code for each in (own, other, log, whole_log, settings)]
    assert statuses == [200, 403, 200, 403, 403]


async def test_a_deploy_needs_to_read_its_source(app: FastAPI, client: httpx.AsyncClient) -> None:
    wanted: dict[str, Any] = {"params": {"source": "staging", "tool": "prometheus"}, "json": {}}
    async with client_of(app, "prometheus-token") as limited:
        refused = await limited.post("/api/environments/production/deploys/plan", **wanted)
    allowed = await client.post("/api/environments/production/deploys/plan", **wanted)

    assert (refused.status_code, allowed.status_code) == (403, 200)
    assert "read prometheus in staging" in refused.json()["detail"]


async def test_who_reads_the_secrets_of_a_target_must_be_allowed_those_of_the_source(store: ConfigStore) -> None:
    granted = [each for each in EVERYTHING if each.action is not Action.SECRETS]
    own_secrets = Permission(Action.SECRETS, "production")
    app = FastAPI()
    app.include_router(config_router(authorize=lambda: Principal.granted("x", *granted, own_secrets)))
    app.dependency_overrides[get_configs] = lambda: store
    async with client_of(app) as client:
        answer = await client.post("/environments/production/deploys/plan", params={"source": "staging"}, json={})

    assert answer.status_code == 403


@pytest.mark.parametrize("given", [None, "token", Depends(lambda: None)], ids=["none", "text", "depends"])
@pytest.mark.parametrize("make", [config_router, feed_router])
def test_a_router_without_an_authorisation_is_not_made(make: Any, given: object) -> None:
    with pytest.raises(InvalidOption, match="needs an authorize dependency"):
        make(authorize=given)
    with pytest.raises(TypeError, match="authorize"):
        make()


@pytest.mark.parametrize("returned", [None, True, "ada", {"name": "ada"}], ids=repr)
async def test_a_dependency_that_returns_no_principal_lets_nobody_in(
    returned: object, store: ConfigStore, objects: CountedObjects
) -> None:
    app = FastAPI()
    app.include_router(config_router(authorize=lambda: returned))
    app.dependency_overrides[get_configs] = lambda: store
    before = objects.requests
    async with client_of(app) as client:
        answer = await client.get("/environments")

    assert (answer.status_code, objects.requests) == (500, before)


@pytest.mark.parametrize("answer", [1, "yes", None, object()], ids=["one", "text", "none", "object"])
async def test_only_true_allows_anything(answer: object, store: ConfigStore) -> None:
    app = FastAPI()
    app.include_router(config_router(authorize=lambda: Principal("x", lambda _: answer)))  # type: ignore[arg-type]
    app.dependency_overrides[get_configs] = lambda: store
    async with client_of(app) as client:
        assert (await client.get("/environments")).status_code == 403


async def test_a_decision_may_be_a_coroutine(store: ConfigStore) -> None:
    asked: list[Permission] = []

    async def decide(permission: Permission) -> bool:
        asked.append(permission)
        return permission.environment == "production"

    app = FastAPI()
    app.include_router(config_router(authorize=lambda: Principal("x", decide)))
    app.dependency_overrides[get_configs] = lambda: store
    async with client_of(app) as client:
        allowed = await client.get("/environments/production/tools/prometheus/history")
        refused = await client.get("/environments/staging/tools/prometheus/history")

    assert (allowed.status_code, refused.status_code) == (200, 403)
    assert asked[0] == Permission(Action.READ, "production", "prometheus")
    assert asked[-1] == Permission(Action.READ, "staging", "prometheus")


async def test_two_applications_in_a_process_have_their_own_stores_and_rules(app: FastAPI) -> None:
    def nobody() -> Principal:
        raise HTTPException(403, "not here")

    other = FastAPI()
    other.include_router(config_router(authorize=nobody), prefix="/api")
    other.dependency_overrides[get_configs] = lambda: ConfigStore(CountedObjects("other-bucket"))
    async with client_of(app) as first, client_of(other) as second:
        assert (await first.get("/api/environments")).json() == ["production", "staging"]
        assert (await second.get("/api/environments")).status_code == 403


async def test_the_principal_is_the_author(client: httpx.AsyncClient, app: FastAPI) -> None:
    url = "/api/environments/production/tools/prometheus"
    release = (await client.get(url)).json()
    async with client_of(app, "masked-token") as masked:
        answer = await masked.post(f"{url}/rollback", json={"to_revision": release["revision"]})

    assert answer.json()["author"] == "mo"
    assert bearer("x") == {"Authorization": "Bearer x"}
