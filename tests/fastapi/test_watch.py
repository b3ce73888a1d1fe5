"""Server-sent events: in order, without gaps, resumed by the id of the last one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from apm_s3.configs import ConfigStore
from apm_s3.errors import AccessDenied
from tests.configs.samples import OTHER_PROMETHEUS, PROMETHEUS
from tests.fastapi.applications import CountedObjects
from tests.fastapi.asgi import visiting
from tests.seams.http import end_watches_at_once, keep_watches_alive_all_the_time

URL = "/api/environments/production/watch"


def events_in(text: str) -> list[dict[str, Any]]:
    """The events in a stream, as a browser would dispatch them."""
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            events.append({**fields, "data": json.loads(fields["data"])})
    return events


async def test_each_commit_is_an_event_with_its_sequence(app: FastAPI, store: ConfigStore) -> None:
    async with visiting(app, URL) as visit:
        beginning = await visit.read_until("\n\n")
        await store.upload("prometheus", "production", OTHER_PROMETHEUS, author="ada", message="slower")
        store.notify_changed("production")
        event = events_in(await visit.read_until("}\n\n"))[0]

    sequence = (await store.log("production", limit=1))[0].sequence
    assert beginning == f"retry: 3000\nid: {sequence - 1}\n\n"
    assert (event["id"], event["event"]) == (str(sequence), "commit")
    assert (event["data"]["author"], event["data"]["tools"]) == ("ada", {"prometheus": {"before": 1, "after": 2}})
    assert visit.start is not None
    headers = dict(visit.start["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"cache-control"] == b"no-store"


async def test_a_client_that_comes_back_misses_nothing(app: FastAPI, store: ConfigStore) -> None:
    last = (await store.log("production", limit=1))[0].sequence
    for text in (OTHER_PROMETHEUS, PROMETHEUS, OTHER_PROMETHEUS):
        await store.upload("prometheus", "production", text)

    async with visiting(app, URL, headers={"Last-Event-ID": str(last + 1)}) as visit:
        text = await visit.read_until(f"id: {last + 3}\n") + await visit.read_until("}\n\n")

    assert [event["id"] for event in events_in(text)] == [str(last + 2), str(last + 3)]


async def test_a_stream_of_some_tools_keeps_the_place_of_the_others(app: FastAPI, store: ConfigStore) -> None:
    last = (await store.log("production", limit=1))[0].sequence
    await store.upload("prometheus", "production", OTHER_PROMETHEUS)
    await store.mark_good("alertmanager", "production")

    url = f"{URL}?tool=alertmanager"
    async with visiting(app, url, headers={"Last-Event-ID": str(last)}) as visit:
        text = await visit.read_until("}\n\n")

    assert [event["data"]["action"] for event in events_in(text)] == ["mark_good"]
    assert f"id: {last + 1}\n\n" in text


async def test_a_stream_of_a_tool_shows_only_that_part_of_a_commit(app: FastAPI, store: ConfigStore) -> None:
    last = (await store.log("production", limit=1))[0].sequence
    await store.upload("prometheus", "staging", OTHER_PROMETHEUS)
    await store.deploy(await store.plan_deploy("staging", "production"))

    async with visiting(app, f"{URL}?tool=loki", headers={"Last-Event-ID": str(last)}) as visit:
        text = await visit.read_until("}\n\n")

    assert "prometheus" not in text
    assert [event["data"]["sources"] for event in events_in(text)] == [{"loki": 1}]


async def test_a_client_that_goes_away_leaves_no_task_and_no_request(
    app: FastAPI, store: ConfigStore, objects: CountedObjects
) -> None:
    before = asyncio.all_tasks()
    async with visiting(app, URL) as visit:
        await visit.read_until("\n\n")
        visit.leave()
        await visit.task

    assert asyncio.all_tasks() == before


async def test_an_unknown_environment_is_refused_before_the_stream_begins(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/environments/nowhere/watch")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("last", ["x", "-1", str(2**60)])
async def test_an_id_that_is_no_sequence_is_refused(last: str, client: httpx.AsyncClient) -> None:
    assert (await client.get(URL, headers={"Last-Event-ID": last})).status_code == 422


async def test_an_error_ends_the_stream_with_a_problem(app: FastAPI, objects: CountedObjects) -> None:
    async with visiting(app, URL) as visit:
        await visit.read_until("\n\n")
        objects.will_fail("read", AccessDenied("acme-secret-bucket", status=403), times=None)
        event = events_in(await visit.read_until("}\n\n"))[0]
        await visit.task

    assert (event["event"], event["data"]["status"]) == ("problem", 502)
    assert "acme" not in str(event)


async def test_a_quiet_stream_sends_comments_and_ends_after_a_while(
    app: FastAPI, store: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_watches_alive_all_the_time(monkeypatch)
    async with visiting(app, URL) as visit:
        await visit.read_until("\n\n")
        assert await visit.read_until("\n\n") == ": \n\n"

    end_watches_at_once(monkeypatch)
    async with visiting(app, URL) as visit:
        await visit.task
    assert visit.status == 200
