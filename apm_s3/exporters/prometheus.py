"""Exports metrics of managers (operations, pool, retries, cache) and of configuration stores to Prometheus.

```python
exporter = PrometheusExporter()
async with S3Manager(...) as s3:
    exporter.add(s3)
    asyncio.create_task(exporter.watch(s3.configs("acme-apm-configs")))  # what is deployed, and since when
    prometheus_client.start_http_server(9100)
```

Operations cost nothing more with it: a scrape reads the counts that the manager's `S3Metrics` keeps anyway. Labels are
bounded: keys are never labels, and buckets only for stores that were passed to `watch`.

Needs the extra `prometheus`. docs/metrics.md lists the metrics, and the alert rules with their runbooks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.resources import files
from math import inf
from typing import TYPE_CHECKING, TypeVar
from weakref import ref

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from apm_s3.errors import ApmS3Error, InvalidOption
from apm_s3.models import CacheStats, PoolStats

if TYPE_CHECKING:
    from apm_s3 import ConfigStore, S3Manager
    from apm_s3.configs import ToolStatus
    from apm_s3.metrics import OperationMetrics

__all__ = [
    "PrometheusExporter",
    "alert_rules",
    "dashboard",
]

StatsT = TypeVar("StatsT")

_log = logging.getLogger(__name__)

_BOUNDS = tuple(2.0**exponent for exponent in range(-10, 8))
"""Seconds from 1 ms to 128 s. Powers of 2 are bucket bounds of `S3Metrics` too."""

_STORE = ("bucket", "prefix", "environment")
_TOOL = (*_STORE, "tool")


def alert_rules() -> str:
    """Return alert rules for these metrics, as the text of a Prometheus rule file."""
    return _asset("alerts.yml")


def dashboard() -> str:
    """Return a Grafana dashboard of these metrics, as JSON to import or provision."""
    return _asset("dashboard.json")


def _asset(name: str) -> str:
    return files("apm_s3.exporters").joinpath("assets", name).read_text("utf-8")


class PrometheusExporter(Collector):
    """Exports the metrics of managers and stores to a registry.

    Args:
        registry: by default prometheus_client's own; None registers nothing, so that you can register it later.
    """

    def __init__(self, registry: CollectorRegistry | None = REGISTRY) -> None:
        # Weak, as an exporter lives as long as the process and must not keep unused managers alive.
        self._managers: dict[str, ref[S3Manager]] = {}
        self._stores: dict[tuple[str, str], _StoreFigures] = {}
        if registry is not None:
            registry.register(self)

    def add(self, s3: S3Manager, name: str = "default") -> None:
        """Export the metrics of `s3`, open or not, with the label `manager` set to `name`.

        Raises:
            InvalidOption: another manager has that name.
        """
        known = self._managers.get(name)
        if known is not None and known() not in {None, s3}:
            raise InvalidOption(f"another manager is exported as {name!r}", hint="give each manager a name of its own")
        self._managers[name] = ref(s3)

    async def watch(self, store: ConfigStore, environments: list[str] | None = None, *, interval: float = 60.0) -> None:
        """Export the state of `store`, reading it every `interval` seconds until cancelled.

        A read costs the requests of `ConfigStore.status`. A failed read leaves the figures unchanged, is counted in
        `apm_s3_store_refresh_failures_total`, and is logged. When watching ends, the figures are removed.

        Args:
            environments: by default all existing ones.

        Raises:
            InvalidOption: `interval` is not above 0, or the store is being watched already.
        """
        key = (store.bucket, store.prefix)
        if interval <= 0:
            raise InvalidOption(f"interval {interval} is not above 0 seconds", hint="leave it at its default")
        if key in self._stores:
            raise InvalidOption(f"{store!r} is being watched already", hint="name all its environments in one watch")
        figures = self._stores[key] = _StoreFigures()
        try:
            while True:
                await figures.refresh(store, environments)
                await asyncio.sleep(interval)
        finally:
            del self._stores[key]

    def describe(self) -> list[Metric]:
        """Return nothing, as the metrics can differ from scrape to scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return the current metrics. The registry calls this in the thread that serves the scrape."""
        managers = [(name, s3) for name, known in sorted(self._managers.items()) if (s3 := known()) is not None]
        yield from _operations(managers)
        yield from _by_manager(_POOL, {name: s3.pool.stats() for name, s3 in managers})
        yield from _by_manager(_RETRIES, {name: s3.retry_budget for name, s3 in managers})
        yield from _by_manager(_CACHE, {name: s3.cache.stats() for name, s3 in managers})
        yield from _stores(dict(self._stores))


def _operations(managers: list[tuple[str, S3Manager]]) -> Iterator[Metric]:
    labels = ("manager", "operation")
    ended = CounterMetricFamily("apm_s3_operations", "Finished operations by outcome.", labels=(*labels, "outcome"))
    errors = CounterMetricFamily(
        "apm_s3_operation_errors", "Failed operations by error code.", labels=(*labels, "code")
    )
    retries = CounterMetricFamily("apm_s3_operation_retries", "Failed attempts that were retried.", labels=labels)
    sent = CounterMetricFamily("apm_s3_sent_bytes", "Bytes of request bodies.", labels=labels)
    received = CounterMetricFamily("apm_s3_received_bytes", "Bytes of the bodies of responses.", labels=labels)
    durations = HistogramMetricFamily(
        "apm_s3_operation_duration_seconds",
        "Durations of operations that succeeded or failed, including waits and retries.",
        labels=labels,
    )
    for manager, s3 in managers:
        for operation, figures in sorted(s3.metrics.snapshot().operations.items()):
            values = (manager, operation)
            ended.add_metric((*values, "success"), figures.successes)
            ended.add_metric((*values, "failure"), figures.failures)
            ended.add_metric((*values, "cancelled"), figures.cancelled)
            for code, count in sorted(figures.errors.items()):
                errors.add_metric((*values, code), count)
            retries.add_metric(values, figures.retries)
            sent.add_metric(values, figures.bytes_sent)
            received.add_metric(values, figures.bytes_received)
            durations.add_metric(values, _buckets(figures), figures.seconds)
    yield from (ended, errors, retries, sent, received, durations)


def _buckets(figures: OperationMetrics) -> list[tuple[str, float]]:
    """Return the cumulative buckets for Prometheus."""
    counts = [0] * (len(_BOUNDS) + 1)
    place = 0
    for upper, count in figures.durations.items():
        while place < len(_BOUNDS) and upper > _BOUNDS[place]:
            place += 1
        counts[place] += count
    total, cumulative = 0, []
    for bound, count in zip((*_BOUNDS, inf), counts, strict=True):
        total += count
        cumulative.append(("+Inf" if bound == inf else repr(bound), float(total)))
    return cumulative


_ByManager = tuple[type[CounterMetricFamily] | type[GaugeMetricFamily], str, str, Callable[[StatsT], float]]
"""A metric with no label but the manager: its type, its name, what it is, and how to read it."""

_POOL: tuple[_ByManager[PoolStats], ...] = (
    (GaugeMetricFamily, "apm_s3_pool_limit", "Current limit of requests in flight.", lambda pool: pool.limit),
    (
        GaugeMetricFamily,
        "apm_s3_pool_max_concurrency",
        "Configured limit of requests in flight.",
        lambda pool: pool.max_concurrency,
    ),
    (GaugeMetricFamily, "apm_s3_pool_in_use", "Slots of the pool in use.", lambda pool: pool.in_use),
    (GaugeMetricFamily, "apm_s3_pool_waiting", "Calls waiting for a slot.", lambda pool: pool.waiting),
    (CounterMetricFamily, "apm_s3_pool_acquired", "Granted slots.", lambda pool: pool.acquired),
    (
        CounterMetricFamily,
        "apm_s3_pool_wait_seconds",
        "Seconds that calls have waited for slots.",
        lambda pool: pool.wait_seconds,
    ),
    (
        CounterMetricFamily,
        "apm_s3_pool_slowdowns",
        "How often the limit was lowered because S3 asked to slow down.",
        lambda pool: pool.slowdowns,
    ),
)

_RETRIES: tuple[_ByManager[float], ...] = (
    (GaugeMetricFamily, "apm_s3_retry_budget", "Retries that the manager's budget allows at once.", float),
)

_CACHE: tuple[_ByManager[CacheStats], ...] = (
    (GaugeMetricFamily, "apm_s3_cache_entries", "Entries of the cache.", lambda cache: cache.entries),
    (GaugeMetricFamily, "apm_s3_cache_bytes", "Bytes of the cache, estimated.", lambda cache: cache.bytes),
    (CounterMetricFamily, "apm_s3_cache_hits", "Calls served from the cache.", lambda cache: cache.hits),
    (CounterMetricFamily, "apm_s3_cache_misses", "Calls not served from the cache.", lambda cache: cache.misses),
    (
        CounterMetricFamily,
        "apm_s3_cache_coalesced",
        "Misses that shared the request of another call.",
        lambda cache: cache.coalesced,
    ),
    (
        CounterMetricFamily,
        "apm_s3_cache_evictions",
        "Entries evicted to stay within the limits.",
        lambda cache: cache.evictions,
    ),
)


def _by_manager(metrics: Iterable[_ByManager[StatsT]], stats: Mapping[str, StatsT]) -> Iterator[Metric]:
    for kind, name, documentation, read in metrics:
        family = kind(name, documentation, labels=("manager",))
        for manager, each in stats.items():
            family.add_metric((manager,), read(each))
        yield family


class _StoreFigures:
    """The state of one store at the last read."""

    def __init__(self) -> None:
        self.rows: tuple[ToolStatus, ...] = ()
        self.refreshed_at: float | None = None
        self.failures = 0

    async def refresh(self, store: ConfigStore, environments: list[str] | None) -> None:
        try:
            if environments is None:
                rows = await store.status()
            else:
                rows = tuple([row for name in environments for row in await store.status(name)])
        except ApmS3Error as exc:
            self.failures += 1
            _log.warning("the status of %r could not be read: %s", store, exc)
            return
        if unknown := next((row for row in rows if row.damaged and not row.revision), None):
            # The others stand, but of this environment nothing is known: the figures of before are kept.
            self.failures += 1
            _log.warning("the status of %r could not be read: %s", store, unknown.damaged)
            return
        self.rows, self.refreshed_at = rows, time.time()


def _stores(stores: Mapping[tuple[str, str], _StoreFigures]) -> Iterator[Metric]:
    revision = GaugeMetricFamily("apm_s3_store_revision", "The current revision.", labels=_TOOL)
    released = GaugeMetricFamily(
        "apm_s3_store_release_timestamp_seconds", "Creation time of the current release, Unix time.", labels=_TOOL
    )
    backed_up = GaugeMetricFamily(
        "apm_s3_store_last_backup_timestamp_seconds",
        "Creation time of the newest backup, Unix time; 0 without a backup.",
        labels=_TOOL,
    )
    drifted = GaugeMetricFamily(
        "apm_s3_store_drifted", "1 if the configuration was changed manually since the last deploy.", labels=_TOOL
    )
    behind = GaugeMetricFamily(
        "apm_s3_store_behind_source", "1 if the source environment has changed since the last deploy.", labels=_TOOL
    )
    pending = GaugeMetricFamily(
        "apm_s3_store_live_pending", "1 if the live copies differ from the current release.", labels=_TOOL
    )
    damaged = GaugeMetricFamily("apm_s3_store_damaged", "1 if the current release cannot be read.", labels=_TOOL)
    frozen = GaugeMetricFamily("apm_s3_store_frozen", "1 if the environment is frozen.", labels=_STORE)
    refreshed = GaugeMetricFamily(
        "apm_s3_store_refresh_timestamp_seconds",
        "Time of the last successful read of these figures, Unix time.",
        labels=_STORE[:2],
    )
    failures = CounterMetricFamily("apm_s3_store_refresh_failures", "Failed reads of these figures.", labels=_STORE[:2])
    for place, figures in sorted(stores.items()):
        for row in figures.rows:
            values = (*place, row.environment, row.tool)
            revision.add_metric(values, row.revision)
            damaged.add_metric(values, row.damaged is not None)
            if row.created_at is not None:
                released.add_metric(values, row.created_at.timestamp())
            backed_up.add_metric(values, row.last_backup.timestamp() if row.last_backup else 0.0)
            pending.add_metric(values, row.live_behind)
            if row.drifted is not None:
                drifted.add_metric(values, row.drifted)
            if row.behind_source is not None:
                behind.add_metric(values, row.behind_source)
        for environment, is_frozen in {row.environment: row.freeze is not None for row in figures.rows}.items():
            frozen.add_metric((*place, environment), is_frozen)
        if figures.refreshed_at is not None:
            refreshed.add_metric(place, figures.refreshed_at)
        failures.add_metric(place, figures.failures)
    yield from (revision, released, backed_up, drifted, behind, pending, damaged, frozen, refreshed, failures)
