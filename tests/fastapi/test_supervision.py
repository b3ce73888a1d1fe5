"""Deadlines, clients that go away, health: nothing hangs, and nothing is left."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import FastAPI

from apm_s3.configs import ConfigStore
from apm_s3.errors import InvalidOption, ServiceUnavailable
from apm_s3.fastapi import config_router, get_configs
from apm_s3.models import FileInfo
from tests.configs.samples import OTHER_PROMETHEUS
from tests.fastapi.applications import CountedObjects, authorize, client_of, serving
from tests.fastapi.asgi import visiting
from tests.seams.http import cancel_abandoned_calls_at_once, check_health_at_every_request

URL = "/api/environments/production/tools/prometheus/files/prometheus.yml"


class SlowObjects(CountedObjects):
    """A bucket whose reads wait until the test lets them go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.waiting = 0
        self.arrived = asyncio.Event()

    async def read(
        self, key: str, *, if_none_match: str | None = None, version_id: str | None = None, limit: int | None = None
    ) -> tuple[FileInfo, bytes]:
        self.waiting += 1
        self.arrived.set()
        try:
            await self.go_on.wait()
        finally:
            self.waiting -= 1
        return await super().read(key, if_none_match=if_none_match, version_id=version_id, limit=limit)


@pytest.fixture
def slow(objects: CountedObjects, store: ConfigStore) -> SlowObjects:
    slow = SlowObjects()
    slow.objects.update(objects.objects)
    return slow


async def test_a_client_that_goes_away_cancels_the_work(slow: SlowObjects) -> None:
    before = asyncio.all_tasks()
    with serving(ConfigStore(slow, "team-a/")) as app:
        async with visiting(app, URL) as visit:
            await slow.arrived.wait()
            visit.leave()
            await visit.task

    assert visit.status == 499
    assert slow.waiting == 0
    assert asyncio.all_tasks() == before


async def test_a_client_that_goes_away_while_it_sends_changes_nothing(
    store: ConfigStore, objects: CountedObjects
) -> None:
    before = dict(objects.objects)
    with serving(store) as app:
        async with visiting(app, URL, method="PUT", headers={"If-Match": "*"}, body=b"global:") as visit:
            visit.leave()
            await visit.task

    assert visit.status == 499
    assert objects.objects == before


async def test_many_clients_that_go_away_leave_nothing(slow: SlowObjects) -> None:
    before = asyncio.all_tasks()
    with serving(ConfigStore(slow, "team-a/")) as app:
        async with AsyncExitStack() as stack:
            visits = [await stack.enter_async_context(visiting(app, URL)) for _ in range(100)]
            await slow.arrived.wait()
            for visit in visits:
                visit.leave()
            await asyncio.gather(*(visit.task for visit in visits))
    assert {visit.status for visit in visits} == {499}
    assert slow.waiting == 0
    assert asyncio.all_tasks() == before


async def test_a_deadline_cancels_the_work(slow: SlowObjects) -> None:
    app = FastAPI()
    app.include_router(config_router(authorize=authorize, deadline=0.01), prefix="/api")
    app.dependency_overrides[get_configs] = lambda: ConfigStore(slow, "team-a/")
    async with client_of(app) as client:
        answer = await client.get(URL)

    assert (answer.status_code, answer.json()["type"]) == (504, "urn:apm-s3:problem:deadline-exceeded")
    assert slow.waiting == 0


async def test_a_cancelled_server_is_not_taken_for_a_deadline(slow: SlowObjects) -> None:
    with serving(ConfigStore(slow, "team-a/")) as app:
        async with client_of(app) as client:
            task = asyncio.create_task(client.get(URL))
            await slow.arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert slow.waiting == 0


@pytest.mark.parametrize("deadline", [0, -1, float("nan")])
def test_a_deadline_must_be_above_zero(deadline: float) -> None:
    with pytest.raises(InvalidOption, match="deadline"):
        config_router(authorize=authorize, deadline=deadline)


async def test_a_slow_upload_of_a_body_is_not_read_past(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    cancel_abandoned_calls_at_once(monkeypatch)

    async def chunks():
        for part in (OTHER_PROMETHEUS[:20], OTHER_PROMETHEUS[20:]):
            for _ in range(20):
                await asyncio.sleep(0)
            yield part.encode()

    async with client_of(app) as client:
        answer = await client.put(URL, content=chunks(), headers={"If-Match": "*"})
        assert answer.status_code == 200
        assert (await client.get(URL)).text == OTHER_PROMETHEUS


# Health ---------------------------------------------------------------------------------------------------------------


async def test_live_needs_no_store_and_ready_does(client: httpx.AsyncClient, objects: CountedObjects) -> None:
    objects.will_fail("list_folders", ServiceUnavailable("acme-secret-bucket", status=503), times=None)

    live, ready = await client.get("/live"), await client.get("/ready")

    assert (live.status_code, live.json()) == (200, {"status": "live"})
    assert (ready.status_code, ready.headers["content-type"]) == (503, "application/problem+json")
    assert ready.headers["retry-after"] == "5"
    assert "acme" not in ready.text


async def test_ready_only_reads_and_not_more_than_every_five_seconds(
    client: httpx.AsyncClient, objects: CountedObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(objects.objects)
    await client.get("/ready")
    cost = objects.requests

    answers = await asyncio.gather(*(client.get("/ready") for _ in range(20)))

    assert {each.status_code for each in answers} == {200}
    assert objects.requests == cost
    assert objects.objects == before
    check_health_at_every_request(monkeypatch)
    assert (await client.get("/ready")).status_code == 200
    assert objects.requests == 2 * cost


async def test_ready_recovers_by_itself(
    client: httpx.AsyncClient, objects: CountedObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_health_at_every_request(monkeypatch)
    objects.will_fail("list_folders", ServiceUnavailable("down", status=503))

    assert [(await client.get("/ready")).status_code for _ in range(2)] == [503, 200]


async def test_probes_carry_no_token(app: FastAPI) -> None:
    async with client_of(app, None) as client:
        assert (await client.get("/live")).status_code == (await client.get("/ready")).status_code == 200
