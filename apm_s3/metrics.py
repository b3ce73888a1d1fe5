"""Built-in metrics: counts, bytes and latencies, in bounded memory."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, log2

from apm_s3.events import OperationEvent, Outcome

__all__ = [
    "Latency",
    "MetricsSnapshot",
    "OperationMetrics",
    "S3Metrics",
]


@dataclass(frozen=True, slots=True)
class Latency:
    """Latencies in seconds. Percentiles are accurate to 2.5 %, the others are exact; 0.0 if nothing was measured."""

    average: float = 0.0
    maximum: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p95: float = 0.0
    p99: float = 0.0


@dataclass(frozen=True, slots=True)
class OperationMetrics:
    """The metrics of one operation, or of all operations together.

    Attributes:
        total: finished operations: successes, failures and cancelled ones.
        retries: failed attempts that were retried.
        errors: failures by error code (`ErrorCode`, or "OTHER" for other exceptions).
        bytes_sent, bytes_received: sizes of the bodies of finished operations.
        latency: of successes and failures, from the start of the call to its end.
        seconds: the sum of the same durations.
        durations: the number of operations in each bucket of durations, by its upper bound in seconds. The bounds grow
            by the sixteenth root of 2, so that each power of 2 is one of them.
    """

    total: int = 0
    successes: int = 0
    failures: int = 0
    cancelled: int = 0
    retries: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    latency: Latency = field(default_factory=Latency)
    seconds: float = 0.0
    durations: Mapping[float, int] = field(default_factory=dict)

    @property
    def success_rate(self) -> float:
        """Return the fraction of successes among successes and failures; 1.0 if there were neither."""
        ended = self.successes + self.failures
        return self.successes / ended if ended else 1.0


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """A snapshot of all metrics: in total, and by operation."""

    overall: OperationMetrics
    operations: Mapping[str, OperationMetrics]

    @property
    def success_rate(self) -> float:
        """Return the success rate of all operations together."""
        return self.overall.success_rate


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
        tallies = list(self._tallies.items())  # a copy: an exporter may ask in another thread
        overall = _Tally()
        for _, tally in tallies:
            overall.add(tally)
        return MetricsSnapshot(overall.figures(), {name: tally.figures() for name, tally in tallies})

    def reset(self) -> None:
        """Set all metrics to zero."""
        self._tallies.clear()
