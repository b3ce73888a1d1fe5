"""The servers that the clients are measured on: SeaweedFS, and nginx with dav as the ceiling for small objects."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.servers import require, seaweedfs_server

BUCKET = "benchmark"

_NGINX = """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {dir}/body; client_max_body_size 0; keepalive_requests 100000000;
  server {{
    listen 127.0.0.1:{port}; root {dir}/root;
    location / {{
      dav_methods PUT DELETE; create_full_put_path on;
      if ($request_method = PUT) {{ add_header ETag '"new"' always; }}
    }}
  }}
}}
"""


@contextlib.contextmanager
def start(kind: str) -> Iterator[str]:
    """The endpoint of a fresh "seaweedfs" or "nginx"."""
    if kind == "seaweedfs":
        with seaweedfs_server() as server:
            yield server.endpoint_url
        return
    directory = Path(tempfile.mkdtemp(prefix="apm-s3-nginx-"))
    (directory / "root" / BUCKET).mkdir(parents=True)
    directory.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(user + _NGINX.format(dir=directory, port=port))
    process = subprocess.Popen([require("nginx"), "-c", str(config), "-e", str(directory / "error.log")])
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _wait_for(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError("nginx did not start")
