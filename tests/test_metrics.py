"""Metrics: counted exactly, percentiles in bounded memory."""

from __future__ import annotations

import random

import pytest

from apm_s3.errors import ErrorCode
from apm_s3.events import OperationEvent, Outcome, current_labels, labels
from apm_s3.metrics import S3Metrics


def event(outcome: Outcome = Outcome.SUCCESS, operation: str = "read_file", **fields: object) -> OperationEvent:
    values: dict[str, object] = {
        "bucket": "b", "key": "k", "tool": None, "environment": None, "region": None, "attempt": 1,
        "started_at": 0.0, "duration": 0.01, **fields,
    }  # fmt: skip
    return OperationEvent(operation=operation, outcome=outcome, **values)  # type: ignore[arg-type]


def test_metrics_without_operations_divide_nothing_by_zero() -> None:
    snapshot = S3Metrics().snapshot()
    assert snapshot.success_rate == 1.0
    assert snapshot.overall.total == 0
    assert snapshot.overall.latency.p99 == snapshot.overall.latency.average == 0.0


def test_outcomes_are_counted_per_operation_and_in_total() -> None:
    metrics = S3Metrics()
    metrics(event(bytes_received=10))
    metrics(event(Outcome.RETRY))
    metrics(event(Outcome.FAILURE, error_code=ErrorCode.THROTTLED))
    metrics(event(Outcome.CANCELLED))
    metrics(event(operation="upload_file", bytes_sent=5))
    snapshot = metrics.snapshot()
    read = snapshot.operations["read_file"]
    assert (read.total, read.successes, read.failures, read.cancelled, read.retries) == (3, 1, 1, 1, 1)
    assert read.errors == {"THROTTLED": 1}
    overall = snapshot.overall
    assert (overall.total, overall.bytes_sent, overall.bytes_received) == (4, 5, 10)
    assert overall.success_rate == 2 / 3


def test_foreign_exceptions_are_counted_too() -> None:
    metrics = S3Metrics()
    metrics(event(Outcome.FAILURE))
    assert metrics.snapshot().overall.errors == {"OTHER": 1}


def test_percentiles_are_accurate_within_their_bound() -> None:
    metrics = S3Metrics()
    generator = random.Random(7)
    durations = [generator.lognormvariate(-4, 1.5) for _ in range(5000)]
    for duration in durations:
        metrics(event(duration=duration))
    latency = metrics.snapshot().overall.latency
    ranked = sorted(durations)
    for share, measured in ((0.5, latency.p50), (0.9, latency.p90), (0.95, latency.p95), (0.99, latency.p99)):
        assert measured == pytest.approx(ranked[int(5000 * share) - 1], rel=0.026)
    assert latency.maximum == max(durations)
    assert latency.average == pytest.approx(sum(durations) / 5000)


def test_memory_does_not_grow_with_the_number_of_operations() -> None:
    metrics = S3Metrics()
    generator = random.Random(7)
    for _ in range(20_000):
        metrics(event(duration=10 ** generator.uniform(-9, 3)))
    assert len(metrics._tallies["read_file"].durations) < 500


def test_a_snapshot_does_not_change() -> None:
    metrics = S3Metrics()
    metrics(event(Outcome.FAILURE, error_code=ErrorCode.THROTTLED))
    snapshot = metrics.snapshot()
    metrics(event(Outcome.FAILURE, error_code=ErrorCode.THROTTLED))
    assert snapshot.overall.errors == {"THROTTLED": 1}


def test_a_reset_starts_again_at_zero() -> None:
    metrics = S3Metrics()
    metrics(event())
    metrics.reset()
    assert metrics.snapshot().overall.total == 0


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        event().operation = "other"  # type: ignore[misc]


def test_labels_end_with_their_block() -> None:
    with labels(tool="loki", environment="staging"):
        assert current_labels() == ("loki", "staging")
    assert current_labels() == (None, None)
