"""The example configurations, the example programs and the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from apm_s3.tools import MAIN_FILES, TOOLS
from apm_s3.validators import validate_bundle
from tests.servers import Server, require

EXAMPLES = Path(__file__).parents[1] / "examples"
DEMO = [sys.executable, "-m", "apm_s3.cli", "demo"]
SECONDS = 100


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


def demo_buckets(server: Server) -> list[str]:
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint_url,
        region_name=server.region,
        aws_access_key_id=server.credentials.key_id,
        aws_secret_access_key=server.credentials.secret,
    )
    names = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    client.close()
    return [name for name in names if name.startswith("apm-demo-")]


@pytest.mark.parametrize("tool", TOOLS)
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
        cwd=folder, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "2 rule files found" in done.stdout


def test_amtool_accepts_the_example_configuration() -> None:
    folder = EXAMPLES / "configs" / "alertmanager"

    done = subprocess.run(
        [require("amtool"), "check-config", "alertmanager.yml"],
        cwd=folder, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "1 templates" in done.stdout


@pytest.mark.parametrize("program", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_the_example_program_runs_to_its_end(program: str, seaweedfs: Server) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / program)], env=on(seaweedfs), capture_output=True, text=True, timeout=SECONDS
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_demo_runs_to_its_end_on_its_own_server() -> None:
    done = subprocess.run(DEMO, cwd=EXAMPLES.parent, capture_output=True, text=True, timeout=SECONDS)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_demo_runs_to_its_end_on_another_server_and_leaves_nothing(server: Server) -> None:
    done = subprocess.run(
        [*DEMO, "--endpoint-url", server.endpoint_url], env=on(server), capture_output=True, text=True, timeout=SECONDS
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert demo_buckets(server) == []


def test_an_interrupted_demo_deletes_its_bucket(moto: Server) -> None:
    with subprocess.Popen(
        [*DEMO, "--endpoint-url", moto.endpoint_url], env=on(moto), stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("1. "):
                demo.send_signal(signal.SIGINT)
                break
        rest = demo.stdout.read()

    assert demo.returncode == 130, rest
    assert demo_buckets(moto) == []


def test_the_demo_fails_where_there_is_no_server() -> None:
    done = subprocess.run(
        [*DEMO, "--endpoint-url", "http://127.0.0.1:9"],
        cwd=EXAMPLES.parent,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )

    assert done.returncode == 1
    assert "Failed:" in done.stdout
