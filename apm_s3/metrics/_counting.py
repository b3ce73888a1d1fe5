"""Counts operations, their bytes and latencies, in bounded memory."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from math import ceil, log2
from typing import TYPE_CHECKING

from apm_s3.events import OperationEvent, Outcome

if TYPE_CHECKING:
    from apm_s3.metrics._snapshots import Latency, MetricsSnapshot, OperationMetrics

_BUCKETS = 16
"""Buckets of durations between a duration and its double: those of Prometheus's native histograms, schema 4
(https://prometheus.io/docs/specs/native_histograms/#schema)."""

_SHORTEST = 1e-6
_FIRST = math.ceil(math.log2(_SHORTEST) * _BUCKETS)


class _Tally:
    """The running metrics of one operation. Durations are counted in buckets that grow by 4.4 %: about 500 at most."""

    __slots__ = ("cancelled", "durations", "errors", "longest", "received", "retries", "sent", "successes", "time")

    def __init__(self) -> None:
        self.successes = self.cancelled = self.retries = self.sent = self.received = 0
        self.time = self.longest = 0.0
        self.errors: Counter[str] = Counter()
        self.durations: dict[int, int] = {}

    def took(self, duration: float) -> None:
        self.time += duration
        if duration > self.longest:  # noqa: PLR1730 - cheaper than max()
            self.longest = duration
        index = ceil(log2(duration) * _BUCKETS) if duration > _SHORTEST else _FIRST
        self.durations[index] = self.durations.get(index, 0) + 1

    def add(self, other: _Tally) -> None:
        self.successes += other.successes
        self.cancelled += other.cancelled
        self.retries += other.retries
        self.sent += other.sent
        self.received += other.received
        self.time += other.time
        self.longest = max(self.longest, other.longest)
        self.errors.update(dict(other.errors))
        for index, count in list(other.durations.items()):
            self.durations[index] = self.durations.get(index, 0) + count

    def figures(self) -> OperationMetrics:
        from apm_s3.metrics._snapshots import OperationMetrics  # noqa: PLC0415 - many programs never take one

        failures = self.errors.total()
        return OperationMetrics(
            total=self.successes + failures + self.cancelled,
            successes=self.successes,
            failures=failures,
            cancelled=self.cancelled,
            retries=self.retries,
            bytes_sent=self.sent,
            bytes_received=self.received,
            errors=dict(self.errors),
            latency=self._latency(self.successes + failures),
            seconds=self.time,
            durations={2 ** (index / _BUCKETS): count for index, count in sorted(self.durations.items())},
        )

    def _latency(self, count: int) -> Latency:
        from apm_s3.metrics._snapshots import Latency  # noqa: PLC0415 - see `figures`

        if not count:
            return Latency()
        ranked = sorted(self.durations.items())
        p50, p90, p95, p99 = (_quantile(ranked, math.ceil(count * share)) for share in (0.5, 0.9, 0.95, 0.99))
        return Latency(self.time / count, self.longest, p50, p90, p95, p99)


def _quantile(ranked: list[tuple[int, int]], rank: int) -> float:
    seen = itertools.accumulate(count for _, count in ranked)
    index = next(index for (index, _), total in zip(ranked, seen, strict=True) if total >= rank)
    return float(2 ** ((index - 0.5) / _BUCKETS))


class S3Metrics:
    """The first hook of a manager, which counts its operations."""

    def __init__(self) -> None:
        self._tallies: dict[str, _Tally] = {}

    def __call__(self, event: OperationEvent) -> None:
        """Count one event."""
        outcome = event.outcome
        if outcome is Outcome.SUCCESS:
            self.succeeded(event.operation, event.duration, event.bytes_sent, event.bytes_received)
            return
        tally = self._tally(event.operation)
        if outcome is Outcome.RETRY:
            tally.retries += 1
            return
        tally.sent += event.bytes_sent
        tally.received += event.bytes_received
        if outcome is Outcome.CANCELLED:
            tally.cancelled += 1
            return
        tally.errors[event.error_code or "OTHER"] += 1
        tally.took(event.duration)

    def succeeded(self, operation: str, duration: float, bytes_sent: int, bytes_received: int) -> None:
        """Count one success, of `duration` seconds."""
        tally = self._tallies.get(operation) or self._tally(operation)
        tally.successes += 1
        tally.sent += bytes_sent
        tally.received += bytes_received
        tally.took(duration)

    def _tally(self, operation: str) -> _Tally:
        return self._tallies.setdefault(operation, _Tally())

    def snapshot(self) -> MetricsSnapshot:
        """Return the metrics since the start, or since `reset`."""
        from apm_s3.metrics._snapshots import MetricsSnapshot  # noqa: PLC0415 - see `figures`

        tallies = list(self._tallies.items())  # a copy: an exporter may ask in another thread
        overall = _Tally()
        for _, tally in tallies:
            overall.add(tally)
        return MetricsSnapshot(overall.figures(), {name: tally.figures() for name, tally in tallies})

    def reset(self) -> None:
        """Set all metrics to zero."""
        self._tallies.clear()
