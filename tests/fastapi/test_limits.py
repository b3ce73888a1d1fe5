"""No request takes the service from the others: bodies, queries and validations have limits before they cost anything."""

from __future__ import annotations

import asyncio
import json
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from apm_s3.configs import ConfigStore
from tests.configs.samples import OTHER_PROMETHEUS, PROMETHEUS
from tests.fastapi.applications import bearer, client_of
from tests.fastapi.routes import GUARDED, request_for
from tests.seams.http import MAX_JSON_DEPTH, MAX_JSON_TOKENS, limit_bodies_at_once, limit_queries
from tests.seams.validators import (
    admitted,
    kill_validations,
    limit_validations_at_once,
    processors_taken,
    refuse_behind_whoever_waits,
    wait_for_a_processor,
    watch_overlays,
)

TOOL = "/api/environments/production/tools/prometheus"
BUNDLE = f"{TOOL}/bundle/validate"
JSON = {"Content-Type": "application/json"}
LARGE = f"{PROMETHEUS}# {'x' * 20_000}\n"
"""Larger than what is validated in the event loop."""

WITH_DOCUMENTS = [(prefix, each) for prefix, each in GUARDED if each.body is not None]


def nested(depth: int) -> bytes:
    return b'{"message": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(("prefix", "endpoint"), WITH_DOCUMENTS, ids=[each.name for _, each in WITH_DOCUMENTS])
@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            json.dumps(dict.fromkeys(map(str, range(MAX_JSON_TOKENS // 2)), 0)).encode(),
            f"more than {MAX_JSON_TOKENS} strings",
        ),
        (nested(MAX_JSON_DEPTH + 1), f"deeper than {MAX_JSON_DEPTH} levels"),
        (b'{"a":"' + b'","b":"' * MAX_JSON_TOKENS, f"more than {MAX_JSON_TOKENS} strings"),
        (b"\xff\xfe{\0}\0", "not UTF-8"),
    ],
    ids=["members", "depth", "strings", "UTF-16"],
)
async def test_a_document_with_too_many_parts_is_refused_before_it_is_parsed(
    prefix: str, endpoint: Any, body: bytes, told: str, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json, "loads", _never)
    request = {name: value for name, value in request_for(prefix, endpoint).items() if name != "json"}
    headers = {**request.pop("headers", {}), **JSON}

    answer = await client.request(**request, content=body, headers=headers)

    monkeypatch.undo()
    assert (answer.status_code, told in answer.json()["detail"]) == (400, True), answer.text


def _never(*_: object) -> None:
    raise AssertionError("it was parsed")


@pytest.mark.parametrize("depth", [MAX_JSON_DEPTH, MAX_JSON_DEPTH + 1])
async def test_brackets_in_strings_are_no_levels(depth: int, client: httpx.AsyncClient) -> None:
    texts = {"message": '[{"' * 50_000 + "\\" * 3, "reason": "]" * depth}

    assert (await client.post("/api/environments/production/freeze", json=texts)).status_code == 422
    deep = await client.post("/api/environments/production/freeze", content=nested(depth), headers=JSON)
    assert deep.status_code == (422 if depth <= MAX_JSON_DEPTH else 400)


async def test_the_largest_bundle_is_taken(client: httpx.AsyncClient) -> None:
    files = {"prometheus.yml": PROMETHEUS, **{f"notes/{number}.txt": "a, [b]: {c}" for number in range(9_999)}}

    assert (await client.post(BUNDLE, json={"files": files})).json()["ok"]


async def test_a_hostile_document_takes_little_memory(client: httpx.AsyncClient) -> None:
    body = json.dumps(dict.fromkeys(map(str, range(500_000)), 0)).encode()

    tracemalloc.start()
    try:
        answer = await client.post(BUNDLE, content=body, headers=JSON)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert answer.status_code == 400
    assert peak < 4 * len(body)


async def test_a_large_document_is_parsed_outside_the_event_loop(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsers: list[threading.Thread] = []
    loads: Callable[..., Any] = json.loads
    monkeypatch.setattr(
        json, "loads", lambda *given, **how: parsers.append(threading.current_thread()) or loads(*given)
    )

    await client.post(BUNDLE, json={"files": {"prometheus.yml": LARGE}})
    await client.post(BUNDLE, json={"files": {"prometheus.yml": PROMETHEUS}})

    assert [each is threading.current_thread() for each in parsers if each is not None][:2] == [False, True]


async def test_a_problem_does_not_repeat_a_long_name(client: httpx.AsyncClient) -> None:
    answer = await client.post(BUNDLE, json={"x" * 10**6: 1})

    assert (answer.status_code, len(answer.content) < 2_000) == (422, True)


async def test_the_errors_of_a_hostile_document_are_counted_and_not_described(client: httpx.AsyncClient) -> None:
    unknown = {f"{number}{'x' * 200}": 0 for number in range(25_000)}

    for document in (unknown, {"files": unknown}):
        [issue] = (await client.post(BUNDLE, json=document)).json()["issues"]
        assert issue["message"] in {f"{count} members or values are not valid." for count in (25_000, 25_001)}


@pytest.mark.parametrize("query", ["tool=x&" * 60, f"message={'x' * 2_000}"], ids=["parameters", "bytes"])
@pytest.mark.parametrize(("prefix", "endpoint"), GUARDED, ids=[each.name for _, each in GUARDED])
async def test_a_query_that_is_too_long_is_refused(
    prefix: str, endpoint: Any, query: str, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_queries(monkeypatch, 1_000)
    request = request_for(prefix, endpoint)
    request.pop("params", None)

    answer = await client.request(**{**request, "url": f"{request['url']}?{query}"})

    assert (answer.status_code, "The query has more than" in answer.json()["detail"]) == (422, True)


# Validations ----------------------------------------------------------------------------------------------------------

SMALL = PROMETHEUS
"""The time that a validation takes depends on more than its size: 600 bytes of aliases take half a second."""

HEAVY: dict[str, tuple[str, str, dict[str, Any]]] = {
    "validate_file": ("POST", f"{TOOL}/validate", {"content": SMALL}),
    "validate_bundle": ("POST", BUNDLE, {"json": {"files": {"prometheus.yml": SMALL}}}),
    "put_file": ("PUT", f"{TOOL}/files/prometheus.yml", {"content": SMALL, "headers": {"If-Match": "*"}}),
    "put_bundle": (
        "PUT", f"{TOOL}/bundle", {"json": {"files": {"prometheus.yml": SMALL}}, "headers": {"If-Match": "*"}},
    ),
    "plan_deploy": ("POST", "/api/environments/staging/deploys/plan?source=production&tool=prometheus", {"json": {}}),
}  # fmt: skip


@pytest.mark.parametrize("name", HEAVY)
async def test_a_validation_behind_too_many_is_refused_until_there_is_room(
    name: str, client: httpx.AsyncClient, store: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "plan_deploy":
        await store.upload("prometheus", "production", SMALL)
    limit_validations_at_once(monkeypatch, 1)
    method, url, arguments = HEAVY[name]
    before = await store.log("production")

    with admitted(1):
        refused = await client.request(method, url, **arguments)
        # What needs no validation goes on, and so do programs that use the library: they choose their callers.
        read = await client.get(f"{TOOL}/files/prometheus.yml")
        own = await store.validate("prometheus", LARGE)
    unchanged = await store.log("production") == before
    taken = await client.request(method, url, **arguments)

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert refused.json()["type"] == "urn:apm-s3:problem:busy"
    assert (read.status_code, own.ok, unchanged, taken.status_code) == (200, True, True, 200)


async def test_validations_of_too_many_bytes_are_refused(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_validations_at_once(monkeypatch, size=len(LARGE) + 10)

    with admitted(11):
        refused = await client.post(f"{TOOL}/validate", content=LARGE)
    with admitted(10):
        taken = await client.post(f"{TOOL}/validate", content=LARGE)
    # Nothing can be too large for a service that does nothing else.
    limit_validations_at_once(monkeypatch, size=1)
    alone = await client.post(f"{TOOL}/validate", content=LARGE)

    assert [each.status_code for each in (refused, taken, alone)] == [429, 200, 200]


BESIDE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a comparison": ("GET", f"{TOOL}/diff", {}),
    "masking": ("GET", f"{TOOL}/files/prometheus.yml", {"headers": bearer("masked-token")}),
    "parsing": ("GET", f"{TOOL}/files/prometheus.yml?view=parsed", {}),
    "an overlay": ("POST", "/api/environments/staging/deploys/plan?source=production&tool=prometheus", {"json": {}}),
    "a document": ("POST", BUNDLE, {"json": {"files": {"prometheus.yml": LARGE}}}),
    "a validation": HEAVY["validate_file"],
}


@pytest.mark.parametrize("name", BESIDE)
async def test_no_more_work_runs_at_a_time_than_there_are_processors(
    name: str, client: httpx.AsyncClient, store: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.upload("prometheus", "production", f"{OTHER_PROMETHEUS}# for {name}\n")
    method, url, arguments = BESIDE[name]
    done: list[str] = []
    watch_overlays(monkeypatch, lambda: done.append("an overlay"))
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda *given, **how: done.append("a document") or loads(*given, **how))

    async with processors_taken() as waiting:
        done.clear()
        request = asyncio.create_task(client.request(method, url, **arguments))
        while not waiting() and not request.done():  # noqa: ASYNC110 - the gate tells nobody
            await asyncio.sleep(0)
        begun = request.done() or name in done

    assert ((await request).status_code, begun) == (200, False)


@pytest.mark.parametrize("name", HEAVY)
async def test_a_validation_that_waits_for_too_long_is_refused_before_its_deadline(
    name: str, client: httpx.AsyncClient, store: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_a_processor(monkeypatch, 0)
    if name == "plan_deploy":
        await store.upload("prometheus", "production", SMALL)
    method, url, arguments = HEAVY[name]

    async with processors_taken():
        refused = await client.request(method, url, **arguments)
    taken = await client.request(method, url, **arguments)

    assert (refused.status_code, refused.headers["retry-after"], taken.status_code) == (429, "5", 200)


async def test_a_put_that_is_committed_is_told_so_though_its_file_waits_to_be_masked(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_a_processor(monkeypatch, 0)

    async with client_of(app, "masked-token") as client, processors_taken(only_quick=True):
        made = await client.put(f"{TOOL}/files/notes.txt", content="password: x\n", headers={"If-None-Match": "*"})

    assert (made.status_code, "etag" in made.headers) == (201, False), made.text


async def test_a_validation_behind_one_that_waits_for_long_is_refused_at_once(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_behind_whoever_waits(monkeypatch, 0)

    async with processors_taken() as waiting:
        first = asyncio.create_task(client.post(f"{TOOL}/validate", content=SMALL))
        while not waiting():  # noqa: ASYNC110 - the gate tells nobody
            await asyncio.sleep(0)
        refused = await client.post(f"{TOOL}/validate", content=SMALL)

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert (await first).status_code == 200


async def test_all_bodies_together_have_a_limit(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_bodies_at_once(monkeypatch, 2 * len(OTHER_PROMETHEUS) - 1)
    url = f"{TOOL}/files/prometheus.yml"
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> Any:
        yield OTHER_PROMETHEUS.encode()
        arrived.set()
        await go_on.wait()

    first = asyncio.create_task(client.put(url, content=slowly(), headers={"If-Match": "*"}))
    await arrived.wait()
    refused = await client.put(url, content=OTHER_PROMETHEUS, headers={"If-Match": "*"})
    go_on.set()
    done = await first
    # What ended, well or not, is counted no longer.
    statuses = [
        (await client.post(f"{TOOL}/validate", content=OTHER_PROMETHEUS)).status_code,
        (await client.put(url, content=OTHER_PROMETHEUS, headers={"If-Match": '"9-x"'})).status_code,
        (await client.post(BUNDLE, content=OTHER_PROMETHEUS, headers=JSON)).status_code,
        (await client.post(f"{TOOL}/validate", content=OTHER_PROMETHEUS)).status_code,
    ]

    assert (refused.status_code, refused.headers["retry-after"], done.status_code) == (429, "5", 200)
    assert statuses == [200, 412, 422, 200]


async def test_a_validation_that_the_system_killed_is_told_as_a_lack_of_memory(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_validations(monkeypatch)

    answer = await client.post(f"{TOOL}/validate", content=PROMETHEUS + f"# {'x' * 10**6}\n")

    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
