"""The S3 servers that tests run on: moto in this process, SeaweedFS as a process of its own, both on free ports."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from apm_s3.models import Credentials

CREDENTIALS = Credentials("test", "testsecret")
REGION = "us-east-1"
START_SECONDS = 30
PR_SET_PDEATHSIG = 1
"""https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html."""


@dataclass(frozen=True)
class Server:
    """An S3 server under test.

    Attributes:
        kind: "moto" or "seaweedfs"; neither is S3 itself.
        pid: the process, where it is one of its own.
    """

    kind: str
    endpoint_url: str
    credentials: Credentials = CREDENTIALS
    region: str = REGION
    pid: int | None = None


def require(tool: str) -> str:
    """The path of a program that tests need. Absent, it fails the test in CI and skips it elsewhere."""
    beside = Path(sys.executable).parent / tool
    found = str(beside) if beside.exists() else shutil.which(tool)
    if found is None:
        message = f"{tool} is not installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def ceph_gateway() -> Server:
    """The gateway of Ceph that APM_S3_TEST_CEPH names, an URL; it knows CREDENTIALS. Without it, the test is skipped."""
    url = os.environ.get("APM_S3_TEST_CEPH")
    if not url:
        pytest.skip("APM_S3_TEST_CEPH names no gateway of Ceph")
    return Server("ceph", url)


@contextlib.contextmanager
def moto_server() -> Iterator[Server]:
    """moto in a thread of this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Server("moto", f"http://{host}:{port}")
    finally:
        server.stop()


@contextlib.contextmanager
def seaweedfs_server() -> Iterator[Server]:
    """SeaweedFS, all in one process, in a directory that is removed afterwards."""
    program = require("weed")
    directory = Path(tempfile.mkdtemp(prefix="apm-s3-weed-"))
    process = None
    try:
        for _ in range(5):
            port = _free_base_port()
            process = _start_weed(program, directory, port)
            if _ready(process, port):
                yield Server("seaweedfs", f"http://127.0.0.1:{port}", pid=process.pid)
                return
            _stop(process)
        log = (directory / "log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"SeaweedFS did not start:\n{log}")
    finally:
        if process is not None:
            _stop(process)
        shutil.rmtree(directory, ignore_errors=True)


def _start_weed(program: str, directory: Path, port: int) -> subprocess.Popen[bytes]:
    identity = {
        "name": "admin",
        "credentials": [{"accessKey": CREDENTIALS.key_id, "secretKey": CREDENTIALS.secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    kms = {"default_provider": "local", "providers": {"local": {"type": "local", "enableOnDemandCreate": True}}}
    config = directory / "s3.json"
    config.write_text(json.dumps({"identities": [identity], "kms": kms}))
    data = directory / "data"
    data.mkdir(exist_ok=True)
    with (directory / "log").open("ab") as log:
        return subprocess.Popen(
            [
                program, "-logtostderr=true", "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                f"-s3.port={port}", f"-master.port={port + 1}", f"-volume.port={port + 2}",
                f"-filer.port={port + 3}", f"-admin.port={port + 4}", "-admin.ui=false", "-webdav=false",
                "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={config}", "-s3.autoCreateBucket=false",
                "-s3.allowDeleteBucketNotEmpty=false", "-master.telemetry=false", "-volume.max=2000",
                "-master.volumeSizeLimitMB=256", f"-s3.localSocket={directory}/s.sock",
                f"-filer.localSocket={directory}/f.sock", "-s3.iam.readOnly=false",
            ],
            env={**os.environ, "WEED_S3_SSE_KEY": "any-secret"},
            stdout=log,
            stderr=log,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call of prctl, no lock is taken
            start_new_session=True,
        )  # fmt: skip


def _die_with_parent() -> None:
    """A test run that is killed leaves no server behind. Linux only: elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _free_base_port() -> int:
    """The first of five ports that are free now, and free at 10 000 more, where SeaweedFS listens for gRPC."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            base: int = 20_000 + probe.getsockname()[1] % 25_000
        if all(_is_free(base + offset + extra) for offset in range(5) for extra in (0, 10_000)):
            return base


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _ready(process: subprocess.Popen[bytes], port: int) -> bool:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as response,
        ):
            if response.status == 200:
                return True
        time.sleep(0.05)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
