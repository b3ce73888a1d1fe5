"""Inside the exporters: how long notifications pause, and what is known of watched stores."""

from __future__ import annotations

import pytest

from apm_s3.configs import ConfigStore
from apm_s3.exporters import notifications as _notifications
from apm_s3.exporters.notifications import _sign as sign
from apm_s3.exporters.prometheus import PrometheusExporter
from apm_s3.exporters.prometheus import _StoreFigures as StoreFigures


def pause_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send notifications that were refused again at once."""
    monkeypatch.setattr(_notifications, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(_notifications, "_LONGEST_PAUSE", 0.002)


def figures_of(exporter: PrometheusExporter, store: ConfigStore) -> StoreFigures | None:
    """Return what the exporter last read of a store, while it watches it."""
    return exporter._stores.get((store.bucket, store.prefix))
