"""Nobody reaches anything without a token that allows it; the walk covers every route of the registry."""

from __future__ import annotations

import inspect
import re
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException

from apm_s3.configs import ConfigStore
from apm_s3.errors import InvalidOption
from apm_s3.fastapi import Action, Permission, Principal, config_router, feed_router, get_configs
from tests.configs.samples import OTHER_PROMETHEUS, PROMETHEUS
from tests.fastapi.applications import EVERYTHING, PRINCIPALS, CountedObjects, client_of
from tests.fastapi.routes import GUARDED, SAMPLES, request_for
from tests.seams.http import Endpoint

ROUTES = pytest.mark.parametrize(("prefix", "endpoint"), GUARDED, ids=lambda each: getattr(each, "name", ""))
PROBLEM = "application/problem+json"


NEEDS = {
    Action.WRITE: {
        "put_file", "delete_file", "put_bundle", "remove_bundle", "roll_back", "mark_good", "get_outcome", "back_up",
        "drill_backup", "restore_backup",
    },
    Action.DEPLOY: {"plan_deploy", "deploy"},
    Action.MANAGE: {"put_settings", "freeze", "remove_environment", "thaw"},
    Action.FETCH: {"get_index", "fetch_file", "fetch_bundle", "http_sd"},
}  # fmt: skip
"""What the routes need; all others need READ, and change nothing."""


def test_every_route_has_a_sample_and_the_right_action() -> None:
    endpoints = [endpoint for _, endpoint in GUARDED]
    found = {action: {each.call.__name__ for each in endpoints if each.action is action} for action in Action}

    assert {each.call.__name__ for each in endpoints} == SAMPLES.keys()
    assert {action: names for action, names in found.items() if names and action is not Action.READ} == NEEDS
    changing = {each.call.__name__ for each in endpoints if each.action is Action.READ and each.method != "GET"}
    assert changing == {"new_write_id", "validate_file", "validate_bundle", "verify_backup"}


@ROUTES
def test_the_guard_and_the_route_read_the_same_tools(prefix: str, endpoint: Endpoint) -> None:
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


@ROUTES
async def test_a_principal_is_asked_once_for_each_permission_of_a_request(
    prefix: str, endpoint: Endpoint, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Permission] = []

    def allows(permission: Permission) -> bool:
        asked.append(permission)
        return endpoint.call.__name__ != "watch"

    monkeypatch.setitem(PRINCIPALS, "asked-token", Principal("ada", allows))
    async with client_of(app, "asked-token") as client:
        await client.request(**request_for(prefix, endpoint))

    assert asked
    assert len(asked) == len(set(asked))


async def test_a_token_for_one_tool_reaches_only_that_tool(app: FastAPI) -> None:
    async with client_of(app, "prometheus-token") as client:
        own = await client.get("/api/environments/production/tools/prometheus/files/prometheus.yml")
        other = await client.get("/api/environments/production/tools/alertmanager/files/alertmanager.yml")
        log = await client.get("/api/environments/production/log", params={"tool": "prometheus"})
        whole_log = await client.get("/api/environments/production/log")
        for order in (["prometheus", "alertmanager"], ["alertmanager", "prometheus"]):
            both = await client.get("/api/environments/production/log", params={"tool": order})
            assert both.status_code == 403
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


@pytest.mark.parametrize("place", ["environment", "tool"])
async def test_a_parameter_of_the_place_of_an_application_grants_nothing(place: str, app: FastAPI) -> None:
    outer = FastAPI()
    outer.mount("/{" + place + "}", app)
    async with client_of(outer, "reader-token") as reader, client_of(outer, "prometheus-token") as one_tool:
        answers = [await reader.get(f"/production/api/{path}") for path in ("environments", "status", "backups")]
        answers += [await one_tool.get(f"/prometheus/api/environments/production/{path}") for path in ("tools", "log")]

    assert {each.status_code for each in answers} == {403}


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


@pytest.mark.parametrize("name", ["", None, 5], ids=repr)
async def test_a_principal_without_a_name_is_let_in_nowhere(
    name: Any, store: ConfigStore, objects: CountedObjects
) -> None:
    app = FastAPI()
    app.include_router(config_router(authorize=lambda: Principal.granted(name, *EVERYTHING)))
    app.dependency_overrides[get_configs] = lambda: store
    before = objects.requests
    async with client_of(app) as client:
        answer = await client.get("/environments")

    assert (answer.status_code, objects.requests) == (500, before)


@pytest.mark.parametrize(
    ("status", "title"), [(498, "Error"), (418, "I'm a Teapot"), (302, "Found"), (304, None)], ids=repr
)
async def test_a_refusal_of_the_application_keeps_its_status_and_headers(
    status: int, title: str | None, store: ConfigStore
) -> None:
    def refuse() -> Principal:
        raise HTTPException(status, {"secret": "hunter2"}, headers={"X-Reason": "why"})

    app = FastAPI()
    app.include_router(config_router(authorize=refuse))
    app.dependency_overrides[get_configs] = lambda: store
    async with client_of(app) as client:
        answer = await client.get("/environments")

    assert (answer.status_code, answer.headers["x-reason"]) == (status, "why")
    assert (answer.json()["title"] if answer.content else None) == title
    assert "hunter2" not in answer.text


@ROUTES
async def test_a_condition_is_evaluated_or_refused(
    prefix: str, endpoint: Endpoint, client: httpx.AsyncClient, store: ConfigStore, objects: CountedObjects
) -> None:
    if endpoint.method == "GET":
        return
    request = request_for(prefix, endpoint)
    before = objects.requests
    # Settings need If-Match, and have no use for the other.
    statuses = (
        (412, 428 if endpoint.call.__name__ == "put_settings" else 422) if endpoint.is_conditional else (422, 422)
    )
    for header, status in zip(("If-Match", "If-None-Match"), statuses, strict=True):
        answer = await client.request(**{**request, "headers": {header: '"9-other"'}})
        assert (header, answer.status_code) == (header, status)
        assert answer.json()["type"].startswith("urn:apm-s3:problem:condition-")
    assert endpoint.is_conditional or objects.requests == before


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


async def test_the_principal_is_the_author_of_every_change(client: httpx.AsyncClient, store: ConfigStore) -> None:
    production, any_etag = "/api/environments/production", {"If-Match": "*"}
    tool = f"{production}/tools/prometheus"
    bundle = {"files": {"prometheus.yml": PROMETHEUS}}
    before = len(await store.log("production"))
    answers = [
        await client.put(f"{tool}/files/a.txt", content="a", headers={"If-None-Match": "*"}),
        await client.delete(f"{tool}/files/a.txt", headers=any_etag),
        await client.put(f"{tool}/bundle", json=bundle, headers=any_etag),
        await client.post(f"{tool}/rollback", json={"to_revision": 1}),
        await client.post(f"{tool}/good", json={}),
        await client.put(f"{production}/settings", json={}, headers=any_etag),
        await client.post(f"{production}/freeze", json={"reason": "holidays"}),
        await client.post(f"{production}/thaw", json={}),
        backup := await client.post(f"{production}/backups", json={}),
        await client.post(f"{production}/backups/{backup.json()['name']}/restore", json={}),
        await client.delete(tool, headers=any_etag),
    ]
    entries = (await store.log("production"))[:-before]

    assert {each.status_code // 100 for each in answers} == {2}
    assert {each.author for each in entries} == {"ada"}
    assert [each.action for each in reversed(entries)] == [
        "upload", "upload", "upload", "rollback", "mark_good", "settings", "freeze", "thaw", "restore", "remove",
    ]  # fmt: skip
    assert backup.json()["author"] == "ada"


async def test_who_may_not_read_secrets_is_told_no_hash_and_no_size_of_a_change(
    app: FastAPI, client: httpx.AsyncClient, store: ConfigStore
) -> None:
    await store.upload("prometheus", "production", files={"prometheus.yml": PROMETHEUS, "a.txt": "a"})
    backup = (await client.post("/api/environments/production/backups", json={})).json()["name"]
    production, any_etag = "/api/environments/production", {"If-Match": "*"}
    tool, source = f"{production}/tools/prometheus", {"source": "staging", "tool": "prometheus"}
    bundle = {"files": {"prometheus.yml": OTHER_PROMETHEUS, "a.txt": "a"}}
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", f"{tool}/files/b.txt", {"content": "b", "headers": {"If-None-Match": "*"}}),
        ("DELETE", f"{tool}/files/b.txt", {"headers": any_etag}),
        ("PUT", f"{tool}/bundle", {"json": bundle, "headers": any_etag}),
        ("POST", f"{tool}/rollback", {"json": {"to_revision": 2}}),
        ("POST", f"{tool}/good", {"json": {}}),
        ("POST", f"{production}/backups/{backup}/drill", {"params": {"tool": "prometheus"}}),
        ("POST", f"{production}/backups/{backup}/restore", {"params": {"tool": "prometheus"}, "json": {}}),
    ]
    async with client_of(app, "masked-token") as masked:
        answers = [await masked.request(method, url, **given) for method, url, given in requests]
        plan = (await masked.post(f"{production}/deploys/plan", params=source, json={})).json()
        deploy = f"{production}/deploys/{plan['id']}"
        answers.append(await masked.post(deploy, params=source, json={"hash": plan["hash"], "allow_drift": True}))

    assert [answer.status_code for answer in answers] == [201, *[200] * 7]
    for answer in answers:
        assert '"files":[{' in answer.text
        assert not re.search(r'"(size":\d|sha256":")', answer.text), answer.request.url


@pytest.mark.parametrize("way", [Action.SECRETS, Action.FETCH], ids=str)
async def test_copies_of_all_tools_need_the_secrets_of_each_tool_that_can_be_read_in_the_target(
    way: Action, store: ConfigStore
) -> None:
    granted = [Permission(Action.READ), Permission(Action.WRITE), Permission(Action.DEPLOY)]
    backup = (await store.backup(None, "staging")).key.rpartition("/")[2]
    app = FastAPI()
    one = Permission(way, "production", "prometheus")
    app.include_router(config_router(authorize=lambda: Principal.granted("x", *granted, one)))
    app.dependency_overrides[get_configs] = lambda: store
    async with client_of(app) as client:
        plan = await client.post("/environments/production/deploys/plan", params={"source": "staging"}, json={})
        restored = await client.post(
            f"/environments/staging/backups/{backup}/restore", params={"into": "production"}, json={}
        )
        other = {"source": "staging", "tool": "loki"}
        allowed = await client.post("/environments/production/deploys/plan", params=other, json={})

    assert (plan.status_code, restored.status_code, allowed.status_code) == (403, 403, 200)
    assert "secrets prometheus in staging" in plan.json()["detail"]


async def test_a_token_for_one_tool_learns_nothing_of_others_from_a_commit_of_several(
    app: FastAPI, client: httpx.AsyncClient, store: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.upload("prometheus", "staging", OTHER_PROMETHEUS)
    deploys = "/api/environments/production/deploys"
    plan = (await client.post(f"{deploys}/plan", params={"source": "staging"}, json={})).json()
    write_id = (await client.post("/api/environments/production/writes")).json()["write_id"]
    given = {"hash": plan["hash"], "write_id": write_id}
    done = await client.post(f"{deploys}/{plan['id']}", params={"source": "staging"}, json=given)
    reader = Principal.granted("x", Permission(Action.READ), Permission(Action.DEPLOY, "production", "prometheus"))
    monkeypatch.setitem(PRINCIPALS, "deployer-of-one-tool", reader)
    async with client_of(app, "prometheus-token") as limited, client_of(app, "deployer-of-one-tool") as deployer:
        log = await limited.get("/api/environments/production/log", params={"tool": "prometheus"})
        repeated = await deployer.post(
            f"{deploys}/{plan['id']}", params={"source": "staging", "tool": "prometheus"}, json=given
        )

    assert [each["tool"] for each in done.json()["releases"]] == ["loki", "prometheus"]
    assert (log.json()[0]["tools"].keys(), log.json()[0]["sources"].keys()) == ({"prometheus"}, {"prometheus"})
    assert "loki" not in repeated.text


@pytest.mark.parametrize("content", [b'{"files": ', b"\xff", b"9" * (9 * 1024**2)], ids=["cut", "not UTF-8", "large"])
async def test_nobody_without_a_token_has_a_body_read(content: bytes, app: FastAPI) -> None:
    async with client_of(app, None) as client:
        answer = await client.put(
            "/api/environments/production/tools/prometheus/bundle",
            content=content,
            headers={"Content-Type": "application/json"},
        )

    assert answer.status_code == 401
