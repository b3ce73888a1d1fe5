"""Snapshots of a manager's metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
