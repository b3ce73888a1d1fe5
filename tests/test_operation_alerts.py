"""Alerts on operations: each threshold, the sliding window, and when an alert begins and ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

import apm_s3.health
from apm_s3 import S3Manager
from apm_s3.errors import ErrorCode, InvalidOption
from apm_s3.events import OperationEvent, Outcome
from apm_s3.health import HealthChecker, OperationThresholds
from apm_s3.metrics import S3Metrics


class Clock:
    """The clock of the checker."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(apm_s3.health, "time", clock)
    return clock


@pytest.fixture
def checker(clock: Clock) -> HealthChecker:
    return HealthChecker(S3Manager(endpoint_url="http://localhost:1"))


def fail(metrics: S3Metrics, times: int, code: ErrorCode = ErrorCode.THROTTLED, seconds: float = 0.1) -> None:
    for _ in range(times):
        metrics(
            OperationEvent("read_file", "b", "k", None, None, None, 1, 0.0, seconds, Outcome.FAILURE, error_code=code)
        )


def succeed(metrics: S3Metrics, times: int, seconds: float = 0.1) -> None:
    for _ in range(times):
        metrics.succeeded("read_file", seconds, 0, 0)


def kinds(checker: HealthChecker, metrics: S3Metrics, thresholds: OperationThresholds | None = None) -> list[str]:
    return [alert.kind for alert in checker.check_operations(metrics, thresholds=thresholds)]


def test_successful_operations_raise_no_alert(checker: HealthChecker) -> None:
    metrics = S3Metrics()
    succeed(metrics, 90)
    fail(metrics, 10)

    assert kinds(checker, metrics) == []


def test_a_failure_rate_above_a_tenth_raises_an_alert(checker: HealthChecker) -> None:
    metrics = S3Metrics()
    succeed(metrics, 80)
    fail(metrics, 5, ErrorCode.THROTTLED)
    fail(metrics, 5, ErrorCode.ACCESS_DENIED)

    (alert,) = checker.check_operations(metrics)

    assert (alert.kind, alert.value, alert.threshold, alert.active) == ("error_rate", 10 / 90, 0.1, True)
    assert alert.message == "10 of 90 operations failed in the last 300 s (11.1%, threshold 10.0%)"


def test_more_than_ten_errors_of_one_kind_raise_an_alert(checker: HealthChecker) -> None:
    metrics = S3Metrics()
    succeed(metrics, 1000)
    fail(metrics, 11, ErrorCode.THROTTLED)
    fail(metrics, 10, ErrorCode.ACCESS_DENIED)

    (alert,) = checker.check_operations(metrics)

    assert (alert.kind, alert.code, alert.value) == ("errors", "THROTTLED", 11)


def test_slow_operations_raise_an_alert(checker: HealthChecker) -> None:
    metrics = S3Metrics()
    succeed(metrics, 10, seconds=6.0)

    (alert,) = checker.check_operations(metrics)

    assert alert.kind == "latency"
    assert alert.value == pytest.approx(6.0)


def test_a_few_operations_raise_no_alerts_on_rate_or_latency(checker: HealthChecker) -> None:
    metrics = S3Metrics()
    fail(metrics, 9, seconds=100.0)

    assert kinds(checker, metrics) == []
    assert kinds(checker, metrics, OperationThresholds(minimum=9)) == ["error_rate", "latency"]


def test_an_alert_ends_after_its_window(checker: HealthChecker, clock: Clock) -> None:
    metrics = S3Metrics()
    fail(metrics, 20)
    seen = []
    for _ in range(8):
        seen.append(kinds(checker, metrics))
        clock.now += 60

    assert seen == [["error_rate", "errors"]] * 5 + [[]] * 3


def test_a_window_counts_only_what_happened_in_it(checker: HealthChecker, clock: Clock) -> None:
    metrics = S3Metrics()
    succeed(metrics, 10_000)
    assert kinds(checker, metrics) == []
    clock.now += 301
    assert kinds(checker, metrics) == []
    fail(metrics, 8)
    succeed(metrics, 10)
    clock.now += 1

    assert kinds(checker, metrics) == ["error_rate"]


def test_a_reset_starts_a_new_window(checker: HealthChecker) -> None:
    metrics = S3Metrics()
    fail(metrics, 30)
    assert kinds(checker, metrics) == ["error_rate", "errors"]
    metrics.reset()
    assert kinds(checker, metrics) == []
    fail(metrics, 11)

    assert kinds(checker, metrics) == ["error_rate", "errors"]


def test_each_metrics_object_has_its_own_window(checker: HealthChecker) -> None:
    well, badly = S3Metrics(), S3Metrics()
    succeed(well, 100)
    fail(badly, 20)

    assert kinds(checker, well) == []
    assert kinds(checker, badly) == ["error_rate", "errors"]
    assert kinds(checker, well) == []


async def test_a_monitor_reports_when_each_alert_starts_and_ends(checker: HealthChecker, clock: Clock) -> None:
    metrics = S3Metrics()
    fail(metrics, 11)
    alerts = checker.monitor(metrics, interval=0.001)

    begun = [await anext(alerts), await anext(alerts)]
    clock.now += 1000
    ended = [await anext(alerts), await anext(alerts)]
    await alerts.aclose()

    assert {(alert.kind, alert.code) for alert in begun} == {("error_rate", None), ("errors", "THROTTLED")}
    assert [alert.active for alert in begun] == [True, True]
    assert {replace(alert, active=True) for alert in ended} == set(begun)
    assert [alert.active for alert in ended] == [False, False]


@pytest.mark.parametrize("wrong", [{"error_rate": 10}, {"window": 0}, {"latency": 0}, {"errors": -1}, {"minimum": 0}])
def test_invalid_thresholds_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidOption):
        OperationThresholds(**wrong)


async def test_an_invalid_interval_is_refused(checker: HealthChecker) -> None:
    with pytest.raises(InvalidOption):
        await anext(aiter(checker.monitor(interval=0)))
