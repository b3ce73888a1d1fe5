"""A real uvicorn over sockets, with the fault server as its S3."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from apm_s3 import Credentials, S3Manager, S3Settings
from apm_s3.fastapi import config_router, health_router, s3_lifespan
from apm_s3.settings import RetrySettings
from tests.configs.samples import OTHER_PROMETHEUS, PROMETHEUS
from tests.fastapi.applications import authorize, bearer
from tests.faults.faults import answer, reset_before_headers, silent
from tests.faults.server import Fault, FaultyS3, Rule
from tests.managers import SESSION
from tests.seams.http import check_health_at_every_request, wait_briefly_for_the_store
from tests.seams.s3 import let_deadlines_pass

BUCKET = "acme-secret-bucket"
URL = "/api/environments/production/tools/prometheus/files/prometheus.yml"
BUNDLE = "/api/environments/production/tools/prometheus/bundle"


@dataclass
class Service:
    """A running service, its S3 and a client.

    Attributes:
        s3: the service's own manager.
    """

    server: FaultyS3
    client: httpx.AsyncClient
    port: int
    s3: S3Manager

    @asynccontextmanager
    async def failing(self, fault: Fault) -> AsyncIterator[None]:
        """Every request to S3 fails."""
        self.server.rules.append(Rule(fault, None, None))
        yield
        self.server.rules.clear()


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    check_health_at_every_request(monkeypatch)
    async with FaultyS3() as server:
        server.s3.buckets[BUCKET] = {}
        s3 = S3Manager(
            region="us-east-1",
            endpoint_url=server.endpoint_url,
            credentials=Credentials("AKIAIOSFODNN7EXAMPLE", "very-secret"),
            session=SESSION,
            settings=S3Settings(retry=RetrySettings(attempts=1)),
        )
        _managers.append(s3)
        async with running(_app()) as port:
            base = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=base, headers=bearer("admin-token"), timeout=30) as client:
                assert (await client.put(URL, content=PROMETHEUS)).status_code == 201
                yield Service(server, client, port, s3)


_managers: list[S3Manager] = []


@cache
def _app() -> FastAPI:
    """The application of all tests here: making one takes a fifth of a second. Each run opens the next manager."""
    app = FastAPI(lifespan=s3_lifespan(BUCKET, make_s3=_managers.pop))
    app.include_router(config_router(authorize=authorize), prefix="/api")
    app.include_router(health_router())
    return app


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[int]:
    """Serve `app` on a port of its own."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=5, access_log=False)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


async def until(condition: Callable[[], bool]) -> None:
    """Let the others go on until something holds."""
    while not condition():  # noqa: ASYNC110 - nothing tells when it does
        await asyncio.sleep(0.001)


async def probes(service: Service) -> tuple[int, int]:
    """What live and ready say."""
    return (await service.client.get("/live")).status_code, (await service.client.get("/ready")).status_code


async def test_a_file_is_stored_in_s3_and_read_back(service: Service) -> None:
    read = await service.client.get(URL)
    put = await service.client.put(URL, content=OTHER_PROMETHEUS, headers={"If-Match": read.headers["etag"]})

    assert (read.text, put.status_code) == (PROMETHEUS, 200)
    assert (await service.client.get(URL)).text == OTHER_PROMETHEUS
    assert await probes(service) == (200, 200)


REFUSED = answer(403, "AccessDenied", "AKIAIOSFODNN7EXAMPLE may not read acme-secret-bucket")


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (reset_before_headers, 503),
        (REFUSED, 502),
        (answer(503, "SlowDown", "acme-secret-bucket"), 503),
        (answer(500, "InternalError"), 503),
    ],
    ids=["down", "refusing", "throttling", "failing"],
)
async def test_a_failing_s3_is_a_problem_and_passes_by_itself(fault: Fault, status: int, service: Service) -> None:
    etag = (await service.client.get(URL)).headers["etag"]
    async with service.failing(fault):
        read = await service.client.get(URL)
        written = await service.client.put(URL, content=OTHER_PROMETHEUS, headers={"If-Match": etag})
        during = await probes(service)

    for each in (read, written):
        assert (each.status_code, each.headers["content-type"]) == (status, "application/problem+json")
        assert ("retry-after" in each.headers) == (status == 503)
        for name in ("acme", "AKIA", "127.0.0.1", "very-secret"):
            assert name not in each.text
    assert during == (200, 503)
    assert (await service.client.get(URL)).text == PROMETHEUS
    assert await probes(service) == (200, 200)


async def test_a_silent_s3_ends_with_the_deadline(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_briefly_for_the_store(monkeypatch)
    async with service.failing(silent):
        reading = asyncio.create_task(service.client.get(URL))
        await until(lambda: "GetObject" in service.server.arrived[-1:])
        during = await probes(service)
        let_deadlines_pass(service.s3)
        read = await reading

    assert during == (200, 503)
    assert (read.status_code, read.headers["content-type"]) == (504, "application/problem+json")
    assert (await service.client.get(URL)).status_code == 200
    assert service.s3.pool.stats().in_use == 0


async def hang_up(port: int, url: str, upto: int) -> None:
    """Ask for something, read the first bytes of the answer, and go away."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    token = bearer("admin-token")["Authorization"]
    writer.write(f"GET {url} HTTP/1.1\r\nHost: api.test\r\nAuthorization: {token}\r\n\r\n".encode())
    await writer.drain()
    if upto:
        await reader.readexactly(upto)
    writer.transport.abort()


@pytest.mark.parametrize("clients", [20, pytest.param(1_000, marks=pytest.mark.long)])
async def test_clients_that_hang_up_in_mid_download_leave_nothing(clients: int, service: Service) -> None:
    large = b"x" * (4 * 1024**2)
    put = await service.client.put(
        "/api/environments/production/tools/prometheus/files/large.bin", content=large, headers={"If-None-Match": "*"}
    )
    assert put.status_code == 201
    before = asyncio.all_tasks()

    for start in range(0, clients, 50):
        batch = min(50, clients - start)
        await asyncio.gather(*(hang_up(service.port, BUNDLE, 1_000) for _ in range(batch)))

    while asyncio.all_tasks() - before:
        await asyncio.wait(asyncio.all_tasks() - before)
    stats = service.s3.pool.stats()
    assert (stats.in_use, stats.waiting) == (0, 0)
    assert await probes(service) == (200, 200)


async def test_clients_that_hang_up_while_s3_is_silent_free_their_slots(service: Service) -> None:
    async with service.failing(silent):
        await asyncio.gather(*(hang_up(service.port, URL, 0) for _ in range(20)))
        await until(lambda: not service.s3.pool.stats().in_use)

    assert (await service.client.get(URL)).status_code == 200


async def test_a_watch_is_resumed_over_sockets(service: Service) -> None:
    watch = "/api/environments/production/watch"
    async with service.client.stream("GET", watch, headers={"Last-Event-ID": "0"}) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: "):
                break

    assert '"action":"' in line


WORKERS_APP = """
from fastapi import FastAPI
from apm_s3.fastapi import config_router, health_router, s3_lifespan
from tests.fastapi.applications import authorize
from tests.fastapi.test_uvicorn import make_s3_from_environment

app = FastAPI(lifespan=s3_lifespan("acme-secret-bucket", make_s3=make_s3_from_environment))
app.include_router(config_router(authorize=authorize), prefix="/api")
app.include_router(health_router())
"""


def make_s3_from_environment() -> S3Manager:
    """A manager in a worker process."""
    import os

    return S3Manager(region="us-east-1", endpoint_url=os.environ["TEST_S3"], credentials=Credentials("key", "secret"))


@pytest.mark.long
async def test_several_workers_share_plans_and_see_each_others_writes(tmp_path: Path) -> None:
    (tmp_path / "workers_app.py").write_text(WORKERS_APP)
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    async with FaultyS3() as s3:
        s3.s3.buckets[BUCKET] = {}
        environment = {"TEST_S3": s3.endpoint_url, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}", "PATH": "/usr/bin:/bin"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "uvicorn", "workers_app:app", "--workers", "2", "--port", str(port),
            "--log-level", "warning", env=environment,
        )  # fmt: skip
        try:
            await _use_workers(port)
        finally:
            process.terminate()
            await process.wait()


async def until_it_answers(url: str) -> None:
    """Wait until a service in another process is ready."""
    async with httpx.AsyncClient(base_url=url) as client:
        while True:
            try:
                if (await client.get("/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.1)


async def _use_workers(port: int) -> None:
    limits = httpx.Limits(max_keepalive_connections=0)
    base = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=base, headers=bearer("admin-token"), limits=limits) as client:
        await until_it_answers(base)
        assert (await client.put(URL, content=PROMETHEUS)).status_code == 201
        staging = URL.replace("production", "staging")
        assert (await client.put(staging, content=OTHER_PROMETHEUS)).status_code == 201
        for _ in range(10):
            # Each request is a new connection, which either worker may accept.
            plan = await client.post("/api/environments/production/deploys/plan", params={"source": "staging"}, json={})
            deployed = await client.post(
                f"/api/environments/production/deploys/{plan.json()['id']}",
                params={"source": "staging"},
                json={"hash": plan.json()["hash"]},
            )
            assert deployed.status_code == 200
            assert (await client.get(URL)).text == OTHER_PROMETHEUS
