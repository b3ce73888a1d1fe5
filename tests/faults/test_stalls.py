"""Nothing holds the event loop for more than 50 ms, however large the object or the document."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from apm_s3 import S3Manager, S3Settings
from apm_s3.settings import MIB, TransferSettings
from tests.faults.watchdog import Watchdog
from tests.servers import Server

T = TypeVar("T")
LIMIT = 0.05
LARGE = 48 * MIB


DATA_PATH = pytest.mark.parametrize("s3", ["signed", "boto"], indirect=True)


@pytest.fixture
async def s3(request: pytest.FixtureRequest, seaweedfs: Server, bucket_name: str) -> AsyncIterator[S3Manager]:
    """A manager on a server in another process, warm."""
    data_path = getattr(request, "param", "signed")
    settings = S3Settings(data_path=data_path, transfer=TransferSettings(multipart_threshold=LARGE + 1))
    async with S3Manager(
        region=seaweedfs.region,
        endpoint_url=seaweedfs.endpoint_url,
        credentials=seaweedfs.credentials,
        settings=settings,
    ) as manager:
        await manager.create_bucket(bucket_name)
        await manager.upload_file(bucket_name, "warm", b"warm")
        await manager.read_file(bucket_name, "warm")
        yield manager


async def test_the_watchdog_reports_what_blocks_the_loop() -> None:
    async with Watchdog(LIMIT) as watchdog:
        await asyncio.sleep(0)
        _burn(2 * LIMIT)
        await asyncio.sleep(0)
    assert watchdog.longest > LIMIT


async def test_the_watchdog_reports_a_thread_that_holds_the_interpreter_lock() -> None:
    text = json.dumps([{"key": "value" * 10, "list": [1.5, 2.5]}] * 400_000)
    async with Watchdog(LIMIT) as watchdog:
        await asyncio.to_thread(json.loads, text)
    assert watchdog.longest > LIMIT


async def test_the_watchdog_ignores_threads_that_release_the_interpreter_lock() -> None:
    await without_a_stall(lambda: asyncio.to_thread(_burn, 4 * LIMIT))


async def without_a_stall(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` up to three times, because its own stalls occur every time, but those of a busy machine do not."""
    for _ in range(3):
        async with Watchdog(LIMIT) as watchdog:
            result = await work()
        if watchdog.longest < LIMIT:
            return result
    raise AssertionError(f"the loop was held for {watchdog.longest:.3f} s: {watchdog.culprits}")


def _burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@DATA_PATH
async def test_large_bytes_are_uploaded_and_read_without_a_stall(s3: S3Manager, bucket_name: str) -> None:
    body = bytes(range(256)) * (LARGE // 256)

    async def work() -> bytes:
        await s3.upload_file(bucket_name, "large", body)
        return await s3.read_file(bucket_name, "large")

    assert await without_a_stall(work) == body


@DATA_PATH
async def test_a_large_file_is_sent_in_parts_and_read_back_without_a_stall(
    s3: S3Manager, bucket_name: str, tmp_path: Path
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * (56 * MIB // 256))

    async def work() -> None:
        await s3.upload_file(bucket_name, "large", source)
        await s3.download_to(bucket_name, "large", target)

    await without_a_stall(work)
    assert target.stat().st_size == 56 * MIB


@DATA_PATH
async def test_a_large_stream_is_sent_and_read_without_a_stall(s3: S3Manager, bucket_name: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(24):
            yield bytes(MIB)

    async def work() -> int:
        await s3.upload_file(bucket_name, "large", pieces())
        async with s3.download_file(bucket_name, "large") as download:
            return sum([len(piece) async for piece in download])

    assert await without_a_stall(work) == 24 * MIB


def _rules(count: int) -> str:
    lines = ["groups:"]
    for number in range(count):
        lines += [
            f"  - name: group-{number}",
            "    rules:",
            f"      - alert: HighLatency{number}",
            f'        expr: histogram_quantile(0.99, sum by (le) (rate(http_seconds_bucket{{job="api-{number}"}}[5m]))) > 1',
            "        for: 10m",
            "        labels: {severity: page}",
            "        annotations:",
            '          summary: "High latency on {{ $labels.instance }}"',
        ]
    return "\n".join(lines) + "\n"


def _dashboard(panels: int) -> str:
    panel = {
        "type": "timeseries",
        "title": "Requests",
        "gridPos": {"h": 8, "w": 12, "x": 0, "y": 0},
        "datasource": {"type": "prometheus", "uid": "prom"},
        "targets": [{"expr": "rate(http_requests_total[5m])", "refId": "A", "legendFormat": "{{instance}}"}] * 4,
    }
    return json.dumps(
        {"uid": "d1", "title": "Large", "schemaVersion": 39, "panels": [{**panel, "id": n} for n in range(panels)]},
        indent=1,
    )


async def test_a_large_rule_file_is_validated_stored_and_read_without_a_stall(s3: S3Manager, bucket_name: str) -> None:
    store = s3.configs(bucket_name)
    main = "global: {scrape_interval: 15s}\nrule_files: [rules/*.yml]\n"
    await store.upload("prometheus", "production", main)
    rules = _rules(700)

    async def work() -> str:
        await store.upload("prometheus", "production", files={"prometheus.yml": main, "rules/large.yml": rules})
        bundle = await store.download_bundle("prometheus", "production")
        return bundle.files["rules/large.yml"].text

    assert await without_a_stall(work) == rules


async def test_a_large_dashboard_is_validated_stored_and_read_without_a_stall(s3: S3Manager, bucket_name: str) -> None:
    store = s3.configs(bucket_name)
    ini = "[server]\nhttp_port = 3000\n"
    await store.upload("grafana", "production", ini)
    dashboard = _dashboard(1500)

    async def work() -> str:
        await store.upload("grafana", "production", files={"grafana.ini": ini, "dashboards/large.json": dashboard})
        bundle = await store.download_bundle("grafana", "production")
        return bundle.files["dashboards/large.json"].text

    assert await without_a_stall(work) == dashboard
