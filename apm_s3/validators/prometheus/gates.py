"""Which release of Prometheus knows which field: https://github.com/prometheus/prometheus/blob/main/CHANGELOG.md."""

from __future__ import annotations

from apm_s3.validators.decoding.schema import Gate, Gates

GATES: Gates = {
    "prometheus/config.ScrapeConfig": {"scrape_classic_histograms": Gate(since=(2, 45), until=(3, 0), kind="bool")},
}
