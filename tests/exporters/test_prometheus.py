"""Prometheus metrics: scrapes, alert rules and the dashboard, in a real Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from math import isnan
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from apm_s3 import ConfigStore, S3Manager, S3Settings, validate_config
from apm_s3.errors import ErrorCode, InvalidOption, ObjectNotFound
from apm_s3.events import OperationEvent, Outcome
from apm_s3.exporters.prometheus import PrometheusExporter, alert_rules, dashboard
from apm_s3.settings import CacheSettings, RetrySettings
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI
from tests.exporters.prometheus_server import PrometheusServer, prometheus_server, until
from tests.memory_transport import MemoryManager
from tests.seams.exporters import StoreFigures, figures_of
from tests.seams.s3 import pretend_to_be_slowed_down, spend_all_retries
from tests.seams.wire import error_of_response
from tests.servers import require

CHANGED = LOKI.replace("auth_enabled: false", "auth_enabled: true")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def exporter(registry: CollectorRegistry) -> PrometheusExporter:
    return PrometheusExporter(registry)


@pytest.fixture
def s3() -> S3Manager:
    """A manager that is never opened: its figures are those that a test counts."""
    return S3Manager(endpoint_url="http://localhost:1")


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def store(objects: MemoryObjects) -> ConfigStore:
    return ConfigStore(objects)


def samples(registry: CollectorRegistry) -> dict[str, float]:
    """What a scrape shows, by name and labels."""
    text = generate_latest(registry).decode()
    return {
        f"{sample.name}{{{','.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def fail(s3: S3Manager, times: int = 1) -> None:
    for _ in range(times):
        s3.metrics(
            OperationEvent(
                "read_file", "b", "secret-key", None, None, None, 1, 0.0, 0.2, Outcome.FAILURE, ErrorCode.ACCESS_DENIED
            )
        )


@contextlib.asynccontextmanager
async def watching(
    exporter: PrometheusExporter, store: ConfigStore, **arguments: object
) -> AsyncIterator[StoreFigures]:
    """Watch a store, once its first figures are there."""
    task = asyncio.create_task(exporter.watch(store, **arguments))
    figures = None
    while figures is None or not (figures.refreshed_at or figures.failures):
        await asyncio.sleep(0.001)
        figures = figures_of(exporter, store)
    try:
        yield figures
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_operations_are_exported_as_the_manager_counts_them(
    exporter: PrometheusExporter, registry: CollectorRegistry, s3: S3Manager
) -> None:
    exporter.add(s3, "main")
    s3.metrics.succeeded("read_file", 0.003, 0, 4096)
    s3.metrics.succeeded("read_file", 200.0, 0, 4096)
    fail(s3)

    shown = samples(registry)

    assert shown["apm_s3_operations_total{manager=main,operation=read_file,outcome=success}"] == 2
    assert shown["apm_s3_operations_total{manager=main,operation=read_file,outcome=failure}"] == 1
    assert shown["apm_s3_operation_errors_total{code=ACCESS_DENIED,manager=main,operation=read_file}"] == 1
    assert shown["apm_s3_received_bytes_total{manager=main,operation=read_file}"] == 8192
    assert shown["apm_s3_operation_duration_seconds_sum{manager=main,operation=read_file}"] == pytest.approx(200.203)
    assert shown["apm_s3_operation_duration_seconds_bucket{le=+Inf,manager=main,operation=read_file}"] == 3
    assert shown["apm_s3_operation_duration_seconds_bucket{le=128.0,manager=main,operation=read_file}"] == 2
    assert shown["apm_s3_operation_duration_seconds_bucket{le=0.00390625,manager=main,operation=read_file}"] == 1
    assert shown["apm_s3_operation_duration_seconds_bucket{le=0.001953125,manager=main,operation=read_file}"] == 0


def test_a_duration_equal_to_a_bound_counts_in_its_bucket(
    exporter: PrometheusExporter, registry: CollectorRegistry, s3: S3Manager
) -> None:
    exporter.add(s3)
    for exponent in range(-10, 8):
        s3.metrics.succeeded("read_file", 2.0**exponent, 0, 0)

    shown = samples(registry)

    for count, exponent in enumerate(range(-10, 8), 1):
        name = f"apm_s3_operation_duration_seconds_bucket{{le={2.0**exponent!r},manager=default,operation=read_file}}"
        assert shown[name] == count


def test_keys_and_buckets_are_never_labels(
    exporter: PrometheusExporter, registry: CollectorRegistry, s3: S3Manager
) -> None:
    exporter.add(s3)
    fail(s3)

    assert "secret-key" not in generate_latest(registry).decode()
    assert not any("bucket=" in name for name in samples(registry) if "operation" in name)


def test_pool_budget_and_cache_are_exported(
    exporter: PrometheusExporter, registry: CollectorRegistry, s3: S3Manager
) -> None:
    exporter.add(s3)

    shown = samples(registry)

    assert shown["apm_s3_pool_max_concurrency{manager=default}"] == s3.settings.max_concurrency
    assert shown["apm_s3_retry_budget{manager=default}"] == s3.settings.retry.budget
    assert shown["apm_s3_cache_hits_total{manager=default}"] == 0


def test_several_managers_are_distinguished(
    exporter: PrometheusExporter, registry: CollectorRegistry, s3: S3Manager
) -> None:
    other = S3Manager(endpoint_url="http://localhost:2")
    exporter.add(s3, "one")
    exporter.add(other, "two")
    s3.metrics.succeeded("read_file", 0.1, 0, 0)

    shown = samples(registry)

    assert shown["apm_s3_operations_total{manager=one,operation=read_file,outcome=success}"] == 1
    assert "apm_s3_pool_limit{manager=two}" in shown
    with pytest.raises(InvalidOption, match="another manager is exported as 'one'"):
        exporter.add(other, "one")
    exporter.add(s3, "one")


def test_a_collected_manager_is_no_longer_exported(exporter: PrometheusExporter, registry: CollectorRegistry) -> None:
    gone = S3Manager(endpoint_url="http://localhost:3")
    exporter.add(gone)
    assert samples(registry)

    del gone

    assert not any("manager=" in name for name in samples(registry))
    exporter.add(S3Manager(endpoint_url="http://localhost:4"))


async def test_a_store_is_exported_while_it_is_watched(
    exporter: PrometheusExporter, registry: CollectorRegistry, store: ConfigStore
) -> None:
    await store.upload("loki", "staging", LOKI)
    await store.upload("loki", "staging", CHANGED)
    await store.freeze("staging", reason="release week")

    async with watching(exporter, store):
        shown = samples(registry)
        with pytest.raises(InvalidOption, match="being watched already"):
            await exporter.watch(store)

    where = f"bucket={store.bucket},environment=staging,prefix="
    assert shown[f"apm_s3_store_revision{{{where},tool=loki}}"] == 2
    assert shown[f"apm_s3_store_frozen{{{where}}}"] == 1
    assert shown[f"apm_s3_store_live_pending{{{where},tool=loki}}"] == 0
    assert shown[f"apm_s3_store_last_backup_timestamp_seconds{{{where},tool=loki}}"] == 0
    assert not any("store" in name for name in samples(registry))


async def test_environments_to_export_can_be_chosen(
    exporter: PrometheusExporter, registry: CollectorRegistry, store: ConfigStore
) -> None:
    await store.upload("loki", "staging", LOKI)
    await store.upload("loki", "production", LOKI)

    async with watching(exporter, store, environments=["production"]):
        shown = samples(registry)

    assert any("environment=production" in name for name in shown)
    assert not any("environment=staging" in name for name in shown)


async def test_a_store_that_cannot_be_read_keeps_its_figures_and_counts_the_failure(
    exporter: PrometheusExporter, registry: CollectorRegistry, store: ConfigStore, objects: MemoryObjects
) -> None:
    await store.upload("loki", "staging", LOKI)

    async with watching(exporter, store, interval=0.001):
        await objects.put("configs/staging/current.json", b"not JSON")
        failed = f"apm_s3_store_refresh_failures_total{{bucket={store.bucket},prefix=}}"
        await asyncio.to_thread(until, lambda: samples(registry)[failed] >= 1)
        shown = samples(registry)

    assert shown[f"apm_s3_store_revision{{bucket={store.bucket},environment=staging,prefix=,tool=loki}}"] == 1


async def test_an_invalid_interval_is_refused(exporter: PrometheusExporter, store: ConfigStore) -> None:
    with pytest.raises(InvalidOption):
        await exporter.watch(store, interval=0)


def test_the_rules_and_the_dashboard_are_valid(tmp_path: Path) -> None:
    rules = tmp_path / "alerts.yml"
    rules.write_text(alert_rules())

    assert validate_config("grafana", dashboard()).ok
    checked = subprocess.run([require("promtool"), "check", "rules", rules], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_each_alert_has_a_runbook() -> None:
    documentation = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    alerts = [line.split()[-1] for line in alert_rules().splitlines() if "- alert:" in line]

    assert alerts
    assert [f"### {name}\n" in documentation for name in alerts] == [True] * len(alerts)


def test_each_metric_is_documented(exporter: PrometheusExporter) -> None:
    documentation = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    names = [f"{family.name}_total" if family.type == "counter" else family.name for family in exporter.collect()]

    assert [f"`{name}`" in documentation for name in names] == [True] * len(names)


CACHED = S3Settings(retry=RetrySettings(initial_delay=0.001), cache=CacheSettings(objects=True, ttl=0.05))


async def work(s3: MemoryManager, ends: asyncio.Event) -> None:
    """Put the manager under load: sent, received, cached, retried and failed, until `ends` is set."""

    def sometimes(verb: str, count: int) -> None:
        if verb == "put" and count % 50 == 0:
            raise error_of_response(operation=verb, status=500, s3_code="InternalError", bucket="bucket")

    s3.transport.before = sometimes
    while not ends.is_set():
        for number in range(10):
            await s3.upload_file("bucket", f"load/{number}", b"some value")
            await asyncio.gather(*(s3.read_file("bucket", f"load/{number}") for _ in range(3)))
        with contextlib.suppress(ObjectNotFound):
            await s3.read_file("bucket", "load/nothing")
        await asyncio.sleep(0.2)
    s3.transport.before = lambda _verb, _count: None


async def deployed(store: ConfigStore) -> None:
    """Staging, with a backup, deployed to production, which was then changed by hand and has no backup."""
    await store.upload("loki", "staging", LOKI)
    plan = await store.plan_deploy("staging", "production", create=True)
    await store.deploy(plan)
    await store.backup("loki", "staging")
    await store.upload("loki", "production", CHANGED)


async def check_panels(prometheus: PrometheusServer) -> None:
    """Each query of each panel gives numbers."""
    for panel in json.loads(dashboard())["panels"]:
        for target in panel.get("targets", ()):
            # Grafana sets these to four scrape intervals at least, and to what its user chooses.
            expression = (
                target["expr"].replace("$__rate_interval", "1m").replace("$manager", ".*").replace("$environment", ".*")
            )

            def has_data(expression: str = expression) -> bool:
                values = [float(sample["value"][1]) for sample in prometheus.query(expression)]
                return bool(values) and not any(isnan(value) for value in values)

            has_data.__name__ = f"{panel['title']}: {expression}"
            await asyncio.to_thread(until, has_data)


async def check_figures(prometheus: PrometheusServer, s3: S3Manager) -> None:
    """Prometheus shows what the process has counted itself."""
    await asyncio.to_thread(prometheus.wait_for_a_scrape)
    counted, pool, cache = s3.metrics.snapshot().overall, s3.pool.stats(), s3.cache.stats()
    for expression, expected in {
        "sum(apm_s3_operations_total)": counted.total,
        'sum(apm_s3_operations_total{outcome="failure"})': counted.failures,
        "sum(apm_s3_operation_errors_total)": counted.failures,
        "sum(apm_s3_operation_retries_total)": counted.retries,
        "sum(apm_s3_operation_duration_seconds_sum)": counted.seconds,
        "sum(apm_s3_operation_duration_seconds_count)": counted.successes + counted.failures,
        "sum(apm_s3_sent_bytes_total)": counted.bytes_sent,
        "sum(apm_s3_received_bytes_total)": counted.bytes_received,
        "apm_s3_pool_acquired_total": pool.acquired,
        "apm_s3_cache_hits_total": cache.hits,
        "apm_s3_cache_misses_total": cache.misses,
    }.items():
        assert await asyncio.to_thread(prometheus.value, expression) == pytest.approx(expected), expression


async def test_a_real_prometheus_scrapes_the_same_figures_and_fires_each_alert(
    exporter: PrometheusExporter, registry: CollectorRegistry
) -> None:
    alerts = {line.split()[-1] for line in alert_rules().splitlines() if "- alert:" in line}
    async with MemoryManager(CACHED) as s3:
        exporter.add(s3)
        store = s3.configs("bucket")
        await deployed(store)
        ends = asyncio.Event()
        load = asyncio.create_task(work(s3, ends))
        with prometheus_server(registry, alert_rules()) as prometheus:
            async with watching(exporter, store, interval=0.05) as figures:
                groups = await asyncio.to_thread(prometheus.get, "rules")
                assert {rule["health"] for rule in groups["groups"][0]["rules"]} <= {"ok", "unknown"}
                await asyncio.to_thread(prometheus.wait_for_alerts, {"ApmS3BackupTooOld", "ApmS3ConfigurationDrifted"})
                assert await asyncio.to_thread(prometheus.value, 'apm_s3_store_revision{environment="production"}') == 2
                await check_panels(prometheus)
                assert prometheus.alerts() == {"ApmS3BackupTooOld", "ApmS3ConfigurationDrifted"}

                # Now everything else goes wrong.
                await s3.delete_file("bucket", "live/production/loki/loki.yaml")
                await asyncio.to_thread(prometheus.wait_for_alerts, {"ApmS3LiveCopyPending"})
                ends.set()
                await load
                fail(s3, 10_000)
                s3.metrics.succeeded("upload_file", 1e9, 100, 0)
                pretend_to_be_slowed_down(s3, 40)
                # The store cannot be read any more, since a while.
                await s3.upload_file("bucket", "configs/staging/current.json", b"not JSON")
                while not figures.failures:  # noqa: ASYNC110 - the exporter tells nobody
                    await asyncio.sleep(0.001)
                figures.refreshed_at -= 3600
                spend_all_retries(s3)
                async with contextlib.AsyncExitStack() as held:
                    for _ in range(CACHED.max_concurrency):
                        await s3.pool.acquire()
                        held.callback(s3.pool.release)
                    waiting = asyncio.create_task(s3.read_file("bucket", "key"))
                    await asyncio.to_thread(prometheus.wait_for_alerts, alerts)
                    waiting.cancel()
                await asyncio.wait([waiting])
            await check_figures(prometheus, s3)
