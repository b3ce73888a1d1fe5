"""A change whose answer was lost is repeated with its write id: whatever others did since, it returns its first result."""

from __future__ import annotations

import inspect
from typing import Any

import httpx
import pytest

from apm_s3.configs import ConfigStore, EnvironmentSettings
from tests.configs.samples import OTHER_PROMETHEUS, PROMETHEUS, RULES, THIRD_PROMETHEUS
from tests.fastapi.routes import GUARDED, SAMPLES, request_for
from tests.seams.http import Endpoint

PRODUCTION = "/api/environments/production"
TOOL = f"{PRODUCTION}/tools/prometheus"


def takes_write_id(endpoint: Endpoint) -> bool:
    fields = endpoint.body.model_fields if endpoint.body is not None else {}
    return "write_id" in {*inspect.signature(endpoint.call).parameters, *fields} and "{write_id}" not in endpoint.path


CHANGING = [each for _, each in GUARDED if takes_write_id(each)]


def test_every_change_of_a_release_or_an_environment_takes_a_write_id() -> None:
    without = {"new_write_id", "get_outcome", "validate_file", "validate_bundle", "plan_deploy"}
    without |= {
        "back_up",
        "verify_backup",
        "drill_backup",
    }  # Each makes something of its own, and changes nothing else.

    changing = {each.call.__name__ for _, each in GUARDED if each.method != "GET"}
    assert {each.call.__name__ for each in CHANGING} == changing - without


async def prepare(store: ConfigStore, client: httpx.AsyncClient, name: str) -> dict[str, Any]:
    """Bring the store to where the request of a route changes something, and return what it needs of that."""
    await store.upload("prometheus", "production", files={"prometheus.yml": PROMETHEUS, "rules.yml": RULES})
    if name == "thaw":
        await store.freeze("production", "holidays")
    if name == "remove_environment":
        await store.remove("prometheus", "production")
        await store.remove("alertmanager", "production")
    if name == "restore_backup":
        return {"backup": (await client.post(f"{PRODUCTION}/backups", json={})).json()["name"]}
    if name == "deploy":
        await store.upload("prometheus", "staging", THIRD_PROMETHEUS)
        plan = await client.post(f"{PRODUCTION}/deploys/plan", params={"source": "staging"}, json={})
        return {"plan": plan.json()["id"], "hash": plan.json()["hash"]}
    return {}


async def change_as_somebody_else(store: ConfigStore, name: str) -> None:
    if name in {"freeze", "remove_environment"}:
        await store.thaw("production", author="otto")
    settings = EnvironmentSettings(require_author=True)
    await store.upload("prometheus", "production", files={"prometheus.yml": OTHER_PROMETHEUS, "x.yml": RULES})
    await store.upload("loki", "production", "auth_enabled: false\n", force="another tool")
    await store.mark_good("prometheus", "production")
    await store.set_settings("production", lambda _: settings, author="otto")
    await store.upload("prometheus", "staging", PROMETHEUS, author="otto")


def with_write_id(endpoint: Endpoint, write_id: str, found: dict[str, Any]) -> dict[str, Any]:
    request = request_for("/api", endpoint)
    for name in ("plan", "backup"):
        if name in found:
            request["url"] = request["url"].replace(SAMPLES[endpoint.call.__name__].path[name], found[name])
    if endpoint.body is None:
        request["params"] = {**request.get("params", {}), "write_id": write_id}
    else:
        hashed = {"hash": found["hash"]} if "hash" in found else {}
        fields = endpoint.body.model_fields
        if "write_id" in fields:
            request["json"] = {**request["json"], **hashed, "write_id": write_id}
        else:
            request["params"] = {**request.get("params", {}), "write_id": write_id}
    return request


@pytest.mark.parametrize("condition", ["any", "the ETag"])
@pytest.mark.parametrize("endpoint", CHANGING, ids=[each.call.__name__ for each in CHANGING])
async def test_a_repeated_change_won_although_somebody_else_was_there_since(
    endpoint: Endpoint, condition: str, client: httpx.AsyncClient, store: ConfigStore
) -> None:
    name = endpoint.call.__name__
    found = await prepare(store, client, name)
    write_id = (await client.post(f"{PRODUCTION}/writes")).json()["write_id"]
    request = with_write_id(endpoint, write_id, found)
    if condition == "the ETag" and "headers" in request:
        place = f"{PRODUCTION}/settings" if name == "put_settings" else TOOL
        request["headers"] = {"If-Match": (await client.get(place)).headers["etag"]}

    first = await client.request(**request)
    await change_as_somebody_else(store, name)
    before = await store.log("production")
    again = await client.request(**request)

    assert (first.status_code, again.status_code) == (first.status_code, first.status_code), again.text
    assert first.is_success, first.text
    assert await store.log("production") == before
    if name != "put_settings":  # It answers with the settings of now, whose ETag the caller needs.
        assert identity(again) == identity(first)


def identity(answer: httpx.Response) -> Any:
    """What says which releases an answer is about."""
    if not answer.content:
        return None
    document = answer.json()
    releases = document if isinstance(document, list) else document.get("releases", [document])
    return [(each["tool"], each["revision"], each["write_id"]) for each in releases]
