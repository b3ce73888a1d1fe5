"""Debian's Prometheus, scraping a registry of this process."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry, start_http_server

from tests.servers import require

START_SECONDS = 60


class PrometheusServer:
    """A Prometheus that runs, as its HTTP API shows it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **parameters: str) -> Any:
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}{query}", timeout=30) as response:
            return json.load(response)["data"]

    def query(self, expression: str) -> list[Any]:
        """An instant query: its samples."""
        result: list[Any] = self.get("query", query=expression)["result"]
        return result

    def value(self, expression: str) -> float | None:
        """The value of an instant query that gives one sample; None while it gives none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def wait_for_a_scrape(self) -> None:
        """Wait until what is counted by now has been scraped."""
        # Prometheus moves the time of a scrape by some milliseconds, to compress better. `timestamp` tells the time of
        # a sample only for a plain selector; for an expression it tells that of the query.
        now = time.time() + 0.01
        until(lambda: (self.value("min(timestamp(up) and up == 1)") or 0) > now)

    def alerts(self) -> set[str]:
        """The names of the alerts that fire."""
        return {alert["labels"]["alertname"] for alert in self.get("alerts")["alerts"] if alert["state"] == "firing"}

    def wait_for_alerts(self, wanted: set[str]) -> None:
        """Wait until all of these fire, if not others too."""
        ends = time.monotonic() + START_SECONDS
        while missing := wanted - self.alerts():
            assert time.monotonic() < ends, f"these do not fire: {missing}"
            time.sleep(0.05)


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition that becomes true unless something is broken."""
    ends = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > ends:
            raise AssertionError(f"{condition} did not come true")
        time.sleep(0.05)


@contextlib.contextmanager
def prometheus_server(registry: CollectorRegistry, rules: str) -> Iterator[PrometheusServer]:
    """A Prometheus that scrapes `registry` four times a second, and whose alerts fire without a delay."""
    program = require("prometheus")
    exporter, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        with tempfile.TemporaryDirectory(prefix="apm-s3-prometheus-") as name:
            directory = Path(name)
            document = yaml.safe_load(rules)
            for rule in document["groups"][0]["rules"]:
                rule.pop("for", None)
            (directory / "rules.yml").write_text(yaml.safe_dump(document))
            target = f"127.0.0.1:{exporter.server_address[1]}"
            config = {
                "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "250ms"},
                "rule_files": ["rules.yml"],
                "scrape_configs": [{"job_name": "apm_s3", "static_configs": [{"targets": [target]}]}],
            }
            (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            command = [
                program,
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error",
            ]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                server = PrometheusServer(f"http://127.0.0.1:{port}")
                until(lambda: _scraping(server))
                yield server
            finally:
                process.terminate()
                process.wait()
    finally:
        exporter.shutdown()
        exporter.server_close()
        thread.join()


def _scraping(server: PrometheusServer) -> bool:
    try:
        return server.value("up") == 1
    except (urllib.error.URLError, OSError):
        return False
