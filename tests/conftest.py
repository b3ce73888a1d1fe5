"""Fixtures that every test can use. Each test gets a bucket of its own, so servers are shared by a whole run."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from apm_s3 import S3Manager
from apm_s3.settings import S3Settings
from tests import profiles
from tests.managers import SESSION, make_manager
from tests.seams.transports import Clients
from tests.servers import Server, moto_server, seaweedfs_server

profiles.register()

# A shell starts background jobs with SIGINT ignored, and what ignores it cannot test what Ctrl-C does.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def moto() -> Iterator[Server]:
    """moto: supports most of the control plane; verifies neither signatures nor checksums."""
    with moto_server() as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[Server]:
    """SeaweedFS: signatures, conditions, versions, integrity."""
    with seaweedfs_server() as server:
        yield server


@pytest.fixture(params=["moto", "seaweedfs"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each server in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def restored_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what the test does to the configuration of logging."""
    monkeypatch.delenv("APM_S3_LOG", raising=False)
    logger = logging.getLogger("apm_s3")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before[0], before[1], before[2]


@pytest.fixture
def bucket_name() -> str:
    """A name that no other test uses."""
    return f"apm-test-{uuid.uuid4().hex[:20]}"


@pytest.fixture
async def clients(server: Server) -> AsyncIterator[Clients]:
    """aiobotocore's clients on the server."""
    made = make_clients(server)
    yield made
    await made.aclose()


def make_clients(server: Server, settings: S3Settings | None = None) -> Clients:
    """aiobotocore's clients on `server`."""
    return Clients(
        session=SESSION,
        region=server.region,
        endpoint_url=server.endpoint_url,
        credentials=server.credentials,
        settings=settings or S3Settings(),
    )


@pytest.fixture
async def bucket(clients: Clients, bucket_name: str) -> str:
    """An empty bucket on the server."""
    await clients.call("create_bucket", Bucket=bucket_name)
    return bucket_name


@pytest.fixture(params=["signed", "boto"])
def data_path(request: pytest.FixtureRequest) -> str:
    """Each data path."""
    return request.param


@pytest.fixture
async def s3(server: Server) -> AsyncIterator[S3Manager]:
    """An open manager of the server."""
    async with make_manager(server) as manager:
        yield manager


@pytest.fixture(autouse=True)
async def _nothing_left_behind() -> AsyncIterator[None]:
    """Fail a test that leaves a task, or an object that warns when it is collected."""
    before = asyncio.all_tasks()
    yield
    for _ in range(5):
        await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if not task.done() and task is not asyncio.current_task()}
    gc.collect()
    # Objects that outlive a test belong to caches or servers of the session, so later collections can skip them.
    gc.freeze()
    assert not left, f"tasks left behind: {left}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the fault matrix. It is here, as parallel runs load no other conftest in the process that reports."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in getattr(report, "user_properties", ()):
                if name == "fault matrix":
                    terminalreporter.section(name)
                    terminalreporter.write_line(str(value))
