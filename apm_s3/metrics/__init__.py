"""Built-in metrics: counts, bytes and latencies, in bounded memory."""

from typing import TYPE_CHECKING

from apm_s3._lazy import lazy_names

if TYPE_CHECKING:
    from apm_s3.metrics._counting import S3Metrics
    from apm_s3.metrics._snapshots import Latency, MetricsSnapshot, OperationMetrics

__all__ = [
    "Latency",
    "MetricsSnapshot",
    "OperationMetrics",
    "S3Metrics",
]

_HOMES = {
    "Latency": "apm_s3.metrics._snapshots",
    "MetricsSnapshot": "apm_s3.metrics._snapshots",
    "OperationMetrics": "apm_s3.metrics._snapshots",
    "S3Metrics": "apm_s3.metrics._counting",
}

if not TYPE_CHECKING:  # A type checker would accept every misspelt name because of this function.
    __getattr__ = lazy_names(__name__, _HOMES)
