"""The example configurations, the example programs and the demo."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import pytest
from rich.console import Console

from apm_s3.configs import ConfigStore
from apm_s3.validators import MAIN_FILES, validate_bundle
from tests.faults.faults import answer
from tests.faults.server import Exchange, Fault, FaultyS3
from tests.golden import load
from tests.golden.write import START
from tests.managers import make_manager
from tests.seams.cli import run_demo
from tests.servers import Server, require

EXAMPLES = Path(__file__).parents[1] / "examples"
DEMO = [sys.executable, "-m", "apm_s3.cli", "demo"]


def on(server: Server) -> dict[str, str]:
    """The environment of a program that uses `server`."""
    credentials = server.credentials
    return {
        **os.environ,
        "AWS_ENDPOINT_URL": server.endpoint_url,
        "AWS_ACCESS_KEY_ID": credentials.key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret,
        "AWS_REGION": server.region,
        "PYTHONPATH": str(EXAMPLES.parent),
        "PYTHONWARNINGS": "error",
    }


def make_client(server: Server) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint_url,
        region_name=server.region,
        aws_access_key_id=server.credentials.key_id,
        aws_secret_access_key=server.credentials.secret,
    )


def demo_buckets(server: Server) -> list[str]:
    client = make_client(server)
    names = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    client.close()
    return [name for name in names if name.startswith("apm-demo-")]


@pytest.mark.parametrize("tool", MAIN_FILES)
def test_the_example_configurations_have_no_problem(tool: str) -> None:
    folder = EXAMPLES / "configs" / tool
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    report = validate_bundle(tool, files)

    assert MAIN_FILES[tool] in files
    assert [str(issue) for issue in report.issues] == []


def test_promtool_accepts_the_example_configuration() -> None:
    folder = EXAMPLES / "configs" / "prometheus"

    done = subprocess.run(
        [require("promtool"), "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "2 rule files found" in done.stdout


def test_amtool_accepts_the_example_configuration() -> None:
    folder = EXAMPLES / "configs" / "alertmanager"

    done = subprocess.run(
        [require("amtool"), "check-config", "alertmanager.yml"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "1 templates" in done.stdout


SPECIAL = {"fastapi_service.py", "test_my_service.py"}
"""Examples that have tests of their own."""
PROGRAMS = sorted(
    path.name
    for path in EXAMPLES.glob("*.py")
    if path.name not in SPECIAL and (path.name != "shared_session.py" or importlib.util.find_spec("aioboto3"))
)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_example_program_runs_to_the_end(program: str, seaweedfs: Server) -> None:
    done = subprocess.run([sys.executable, str(EXAMPLES / program)], env=on(seaweedfs), capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_of_tests_passes() -> None:
    plugins = ["-p", "apm_s3.testing._pytest_plugin", "-p", "pytest_asyncio.plugin"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugins, "-c", os.devnull, str(EXAMPLES / "test_my_service.py")],
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


async def test_the_example_of_a_service_serves(seaweedfs: Server, bucket_name: str) -> None:
    async with make_manager(seaweedfs) as s3:
        await s3.create_bucket(bucket_name)
        await s3.configs(bucket_name).upload("prometheus", "production", "scrape_configs: [{job_name: api}]\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = on(seaweedfs) | {"APM_S3_BUCKET": bucket_name, "APM_S3_TOKEN": "right", "PORT": str(port)}
    service = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / "fastapi_service.py"), env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert service.stderr is not None
    told = b""
    while b"Uvicorn running" not in told:
        line = await service.stderr.readline()
        assert line, told.decode()
        told += line

    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        statuses = []
        for path, token in (
            ("/jobs", "right"),
            ("/jobs", "wrong"),
            ("/api/environments", "right"),
            ("/health/ready", ""),
        ):
            async with client.get(path, headers={"Authorization": f"Bearer {token}"}) as response:
                statuses.append(response.status)
                if (path, token) == ("/jobs", "right"):
                    assert await response.json() == ["api"]
    service.send_signal(signal.SIGINT)
    await service.communicate()

    assert statuses == [200, 401, 200, 200]


@pytest.mark.parametrize("name", ["format-1", "format-2"])
async def test_a_program_without_the_library_reads_every_format(name: str, moto: Server, bucket_name: str) -> None:
    golden = await load(name, now=START)
    client = make_client(moto)
    client.create_bucket(Bucket=bucket_name)
    for key, (_, body) in golden.objects.items():
        client.put_object(Bucket=bucket_name, Key=key, Body=body)
    client.close()

    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(EXAMPLES / "plain_reader.py"), bucket_name, "production"],
        env=on(moto) | {"AWS_DEFAULT_REGION": moto.region}, capture_output=True, text=True,
    )  # fmt: skip

    store = ConfigStore(golden)
    entries = await store.log("production")
    files = [(bundle.release, file) for bundle in (await store.download_environment("production")).values()
             for file in bundle.files.values()]  # fmt: skip
    told = [line.split(" ") for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [line[1:] for line in told if line[0] == "file"] == [
        [release.tool, str(release.revision), file.name, str(file.size), file.sha256] for release, file in files
    ]
    assert [line[1] for line in told if line[0] == "log"] == [str(entry.sequence) for entry in entries]


def test_the_demo_runs_to_the_end_on_its_own_server() -> None:
    done = subprocess.run(DEMO, cwd=EXAMPLES.parent, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_demo_runs_to_the_end_on_another_server_and_leaves_nothing(server: Server) -> None:
    done = subprocess.run(
        [*DEMO, "--endpoint-url", server.endpoint_url], env=on(server), capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert demo_buckets(server) == []


async def test_an_interrupted_demo_deletes_its_bucket() -> None:
    pressed = False

    async def interrupted(exchange: Exchange) -> None:
        nonlocal pressed
        if "/blobs/" not in exchange.request.key:
            exchange.send(exchange.carry_out())
            return
        # Several blobs are sent at once, but a second Ctrl-C would end the deletion.
        if not pressed:
            pressed = True
            demo.send_signal(signal.SIGINT)
        await exchange.hang()

    async with FaultyS3() as server:
        server.will(interrupted, "PutObject", times=None)
        demo = await asyncio.create_subprocess_exec(
            *DEMO, "--endpoint-url", server.endpoint_url, env=on(Server("faulty", server.endpoint_url)),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip

        told, _ = await demo.communicate()

        assert demo.returncode == 130, told.decode()
        assert "CreateBucket" in server.arrived
        assert server.s3.buckets == {}


async def without_conditions(exchange: Exchange) -> None:
    """A server that ignores the conditions of writes."""
    headers = {name: value for name, value in exchange.request.headers.items() if not name.startswith("if-")}
    exchange.send(exchange.s3.handle(replace(exchange.request, headers=headers)))


async def without_third_revision(exchange: Exchange) -> None:
    """A server that denies the rollback."""
    if "/releases/00000003-" in exchange.request.key:
        await answer(403, "AccessDenied")(exchange)
    else:
        exchange.send(exchange.carry_out())


@pytest.mark.parametrize("fault", [without_conditions, without_third_revision])
async def test_a_demo_with_a_failing_step_reports_it_and_deletes_its_bucket(
    fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
    console = Console(file=io.StringIO(), width=120)
    async with FaultyS3() as server:
        server.will(fault, "PutObject", times=None)

        ok = await run_demo(console, endpoint_url=server.endpoint_url, region="us-east-1")

        assert not ok
        assert "Failed:" in console.file.getvalue()
        assert server.s3.buckets == {}


def test_the_demo_fails_without_a_server() -> None:
    done = subprocess.run(
        [*DEMO, "--endpoint-url", "http://127.0.0.1:9"],
        cwd=EXAMPLES.parent,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert "Failed:" in done.stdout
