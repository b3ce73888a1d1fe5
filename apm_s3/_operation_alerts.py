"""Alerts on a manager's recent operations: thresholds, a sliding window, and the current alerts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from apm_s3.errors import InvalidOption
from apm_s3.metrics import MetricsSnapshot, OperationMetrics

AlertKind = Literal["error_rate", "latency", "errors"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationThresholds:
    """Thresholds for alerts. An alert begins when a figure of the window is above its threshold.

    Attributes:
        error_rate: the share of failures among operations that succeeded or failed, 0.0 to 1.0.
        latency: average seconds.
        errors: failures with the same error code.
        window: seconds to look back.
        minimum: operations in the window that rate and latency need at least.
    """

    error_rate: float = 0.1
    latency: float = 5.0
    errors: int = 10
    window: float = 300.0
    minimum: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.error_rate <= 1:
            raise InvalidOption(f"error_rate {self.error_rate} is not between 0 and 1", hint="0.1 means 10 %")
        if self.window <= 0 or self.latency <= 0 or self.errors < 0 or self.minimum < 1:
            raise InvalidOption(
                "window and latency must be above 0 seconds, errors at least 0, minimum at least 1",
                hint="leave them at their defaults",
            )


@dataclass(frozen=True, slots=True)
class OperationAlert:
    """A figure that is above its threshold, or no longer is (`active` is False).

    Attributes:
        kind: "error_rate", "latency" (seconds) or "errors" (of one code).
        code: the error code, for "errors".
        value, threshold: the figure of the window and its threshold.
        message: the alert in words.
    """

    kind: AlertKind
    code: str | None
    value: float
    threshold: float
    message: str
    active: bool = True


class OperationWindow:
    """The recent snapshots of one `S3Metrics`, and the alerts on the operations between them."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, OperationMetrics]] = deque([(float("-inf"), OperationMetrics())])

    def alerts(
        self, snapshot: MetricsSnapshot, at: float, thresholds: OperationThresholds
    ) -> tuple[OperationAlert, ...]:
        """Return the alerts at `at` (seconds of a monotonic clock)."""
        now = snapshot.overall
        if now.total < self._seen[-1][1].total:  # the metrics were reset
            self._seen = deque([(float("-inf"), OperationMetrics())])
        self._seen.append((at, now))
        # The window begins at the newest snapshot that is older than it.
        while len(self._seen) > 1 and self._seen[1][0] <= at - thresholds.window:
            self._seen.popleft()
        return tuple(_alerts(self._seen[0][1], now, thresholds))


def _alerts(
    before: OperationMetrics, now: OperationMetrics, thresholds: OperationThresholds
) -> Iterator[OperationAlert]:
    failures = now.failures - before.failures
    ended = now.successes - before.successes + failures
    span = f"in the last {thresholds.window:g} s"
    if ended >= thresholds.minimum:
        rate = failures / ended
        if rate > thresholds.error_rate:
            message = (
                f"{failures} of {ended} operations failed {span} ({rate:.1%}, threshold {thresholds.error_rate:.1%})"
            )
            yield OperationAlert("error_rate", None, rate, thresholds.error_rate, message)
        latency = (now.seconds - before.seconds) / ended
        if latency > thresholds.latency:
            message = f"operations took {latency:.1f} s on average {span} (threshold {thresholds.latency:g} s)"
            yield OperationAlert("latency", None, latency, thresholds.latency, message)
    for code, count in sorted(now.errors.items()):
        fresh = count - before.errors.get(code, 0)
        if fresh > thresholds.errors:
            message = f"{fresh} operations failed with {code} {span} (threshold {thresholds.errors})"
            yield OperationAlert("errors", code, fresh, thresholds.errors, message)
