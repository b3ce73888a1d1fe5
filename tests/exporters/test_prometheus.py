"""Prometheus metrics: scrapes, alert rules and the dashboard, in a real Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from apm_s3 import ConfigStore, S3Manager, validate_config
from apm_s3.errors import ErrorCode, InvalidOption
from apm_s3.events import OperationEvent, Outcome
from apm_s3.exporters.prometheus import PrometheusExporter, alert_rules, dashboard
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI
from tests.exporters.prometheus_server import prometheus_server, until
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
async def watching(exporter: PrometheusExporter, store: ConfigStore, **arguments: object) -> Iterator[None]:
    """Watch a store, once its first figures are there."""
    task = asyncio.create_task(exporter.watch(store, **arguments))
    figures = None
    while figures is None or not (figures.refreshed_at or figures.failures):
        await asyncio.sleep(0.001)
        figures = exporter._stores.get((store.bucket, store.prefix))
    try:
        yield
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


async def deployed(store: ConfigStore) -> None:
    """Staging deployed to production, which was then changed by hand, has no backup, and lost its live copy."""
    await store.upload("loki", "staging", LOKI)
    plan = await store.plan_deploy("staging", "production", create=True)
    await store.deploy(plan)
    await store.upload("loki", "production", CHANGED)


async def test_a_real_prometheus_scrapes_the_same_figures_and_fires_each_alert(
    exporter: PrometheusExporter,
    registry: CollectorRegistry,
    s3: S3Manager,
    store: ConfigStore,
    objects: MemoryObjects,
) -> None:
    exporter.add(s3)
    s3.metrics.succeeded("read_file", 0.05, 0, 100)
    s3.metrics.succeeded("upload_file", 0.05, 100, 0)
    await deployed(store)
    async with watching(exporter, store, interval=0.05):
        with prometheus_server(registry, alert_rules()) as prometheus:
            groups = await asyncio.to_thread(prometheus.get, "rules")
            assert {rule["health"] for rule in groups["groups"][0]["rules"]} <= {"ok", "unknown"}
            await asyncio.to_thread(prometheus.wait_for_a_scrape)
            await asyncio.to_thread(prometheus.wait_for_alerts, {"ApmS3BackupTooOld"})
            assert "ApmS3OperationsFailing" not in prometheus.alerts()
            assert "ApmS3LiveCopyPending" not in prometheus.alerts()

            # Now everything fails at once.
            await objects.delete(["live/production/loki/loki.yaml"])
            fail(s3, 40)
            s3.metrics.succeeded("upload_file", 3000.0, 100, 0)
            s3.pool._slowdowns = 40
            wanted = {
                "ApmS3OperationsFailing", "ApmS3OperationsSlow", "ApmS3BackupTooOld", "ApmS3ConfigurationDrifted",
                "ApmS3LiveCopyPending", "ApmS3Throttled",
            }  # fmt: skip
            await asyncio.to_thread(prometheus.wait_for_alerts, wanted)

            await asyncio.to_thread(prometheus.wait_for_a_scrape)
            counted = s3.metrics.snapshot()
            for expression, expected in {
                "sum(apm_s3_operations_total)": counted.overall.total,
                'sum(apm_s3_operations_total{outcome="failure"})': counted.overall.failures,
                "sum(apm_s3_operation_duration_seconds_sum)": counted.overall.seconds,
                "sum(apm_s3_operation_duration_seconds_count)": 43,
                "sum(apm_s3_received_bytes_total)": counted.overall.bytes_received,
                'apm_s3_store_revision{environment="production"}': 2,
            }.items():
                assert await asyncio.to_thread(prometheus.value, expression) == pytest.approx(expected), expression

            for panel in json.loads(dashboard())["panels"]:
                for target in panel.get("targets", ()):
                    expression = (
                        target["expr"].replace("$__rate_interval", "1m").replace("$manager", ".*")
                        .replace("$environment", ".*").replace("> 0", ">= 0")
                    )  # fmt: skip
                    await asyncio.to_thread(until, partial(prometheus.query, expression))
