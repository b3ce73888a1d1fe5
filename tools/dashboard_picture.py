"""Draws the Grafana dashboard from a real Prometheus, as an SVG for the documentation.

    python -m tools.dashboard_picture [--seconds 120] [--output docs/dashboard.svg]

A manager in memory works for some time, with a burst of failures and one of throttling, while Debian's Prometheus
scrapes it. Then the query of each panel is sent to Prometheus, and its answer is drawn. It is not Grafana's look.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from apm_s3 import ConfigStore, S3Settings
from apm_s3._s3_responses import s3_error
from apm_s3.errors import ApmS3Error
from apm_s3.exporters.prometheus import PrometheusExporter, alert_rules, dashboard
from apm_s3.settings import CacheSettings, RetrySettings
from tests.configs.samples import LOKI, OTHER_LOKI, PROMETHEUS
from tests.exporters.prometheus_server import PrometheusServer, prometheus_server
from tests.memory_transport import MemoryManager

ROOT = Path(__file__).parents[1]
UNIT_X, UNIT_Y, GAP = 50, 26, 8
COLOURS = ("#3274d9", "#56a64b", "#e02f44", "#ff9830", "#8f3bb8", "#37872d", "#1f60c4", "#c4162a")
UNITS = {"s": " s", "ops": "/s", "Bps": " B/s", "bytes": " B"}

Series = tuple[str, list[tuple[float, float]]]


async def work(s3: MemoryManager, store: ConfigStore, seconds: float) -> None:
    """Reads and writes; in the third quarter failures, in the last one throttling."""
    chance = random.Random(1)  # noqa: S311 - the same work each time
    began = time.monotonic()

    def fault(verb: str, _count: int) -> None:
        quarter = (time.monotonic() - began) / seconds * 4
        if 2 < quarter < 2.5 and chance.random() < 0.3:
            raise s3_error(operation=verb, status=403, s3_code="AccessDenied", bucket="bucket")
        if 3 < quarter < 3.5 and chance.random() < 0.1:
            raise s3_error(operation=verb, status=503, s3_code="SlowDown", bucket="bucket")
        if chance.random() < 0.01:
            raise s3_error(operation=verb, status=500, s3_code="InternalError", bucket="bucket")

    await store.upload("loki", "staging", LOKI, author="ada")
    await store.upload("prometheus", "staging", PROMETHEUS, author="ada")
    await store.deploy(await store.plan_deploy("staging", "production", create=True))
    await store.backup("loki", "production")
    s3.transport.before = fault
    while time.monotonic() - began < seconds:
        turn = int(time.monotonic() - began)
        calls = [
            s3.upload_file("bucket", f"load/{chance.randrange(300)}", bytes(chance.randrange(4000))) for _ in range(9)
        ]
        reads = [s3.read_file("bucket", f"load/{chance.randrange(300)}") for _ in range(20 + turn % 20)]
        await asyncio.gather(*calls, *reads, return_exceptions=True)
        if turn > seconds / 2:
            with contextlib.suppress(ApmS3Error):
                await store.upload("loki", "production", OTHER_LOKI, author="eve", skip_unchanged=True)
        await asyncio.sleep(0.2)


async def record(seconds: float) -> list[tuple[dict[str, Any], list[Series]]]:
    """Each panel of the dashboard, with the answers to its queries."""
    registry = CollectorRegistry()
    exporter = PrometheusExporter(registry)
    settings = S3Settings(
        max_concurrency=16, retry=RetrySettings(initial_delay=0.01), cache=CacheSettings(objects=True, ttl=2.0)
    )
    async with MemoryManager(settings) as s3:
        exporter.add(s3)
        store = s3.configs("bucket")
        watching = asyncio.create_task(exporter.watch(store, interval=1.0))
        try:
            with prometheus_server(registry, alert_rules()) as prometheus:
                began = time.time()
                await work(s3, store, seconds)
                await asyncio.to_thread(prometheus.wait_for_a_scrape)
                return await asyncio.to_thread(ask, prometheus, began, time.time())
        finally:
            watching.cancel()
            await asyncio.wait([watching])


def ask(prometheus: PrometheusServer, began: float, ended: float) -> list[tuple[dict[str, Any], list[Series]]]:
    """Send the queries of all panels."""
    panels = []
    for panel in json.loads(dashboard())["panels"]:
        found: list[Series] = []
        for target in panel.get("targets", ()):
            expression = (
                target["expr"]
                .replace("$__rate_interval", "10s")
                .replace("$manager", ".*")
                .replace("$environment", ".*")
            )
            answer = prometheus.get("query_range", query=expression, start=str(began), end=str(ended), step="1")
            for series in answer["result"]:
                points = [(float(at) - began, float(value)) for at, value in series["values"]]
                found.append((named(target.get("legendFormat") or "", series["metric"]), points))
        if panel["type"] != "row" and not found:
            raise SystemExit(f"the panel {panel['title']!r} has no data")
        panels.append((panel, found))
    return panels


def named(legend: str, labels: dict[str, str]) -> str:
    """The name of a series, as Grafana makes it."""
    if not legend:
        return f"{labels.get('environment')}/{labels.get('tool')}"
    for label, value in labels.items():
        legend = legend.replace(f"{{{{{label}}}}}", value)
    return legend


def draw(panels: list[tuple[dict[str, Any], list[Series]]], seconds: float) -> str:
    """The SVG."""
    height = max((panel["gridPos"]["y"] + panel["gridPos"]["h"]) * UNIT_Y for panel, _ in panels) + GAP
    size = f'viewBox="0 0 {24 * UNIT_X + GAP} {height}" font-family="Helvetica, Arial, sans-serif" font-size="12"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} fill="#333">',
        f'<rect width="100%" height="{height}" fill="#f4f5f5"/>',
    ]
    for panel, series in panels:
        place = panel["gridPos"]
        x, y = place["x"] * UNIT_X + GAP, place["y"] * UNIT_Y + GAP
        width, high = place["w"] * UNIT_X - GAP, place["h"] * UNIT_Y - GAP
        title = f'<text x="{x + 8}" y="{y + 18}" font-weight="bold">{escape(panel["title"])}</text>'
        if panel["type"] == "row":
            lines.append(title)
            continue
        lines += [f'<rect x="{x}" y="{y}" width="{width}" height="{high}" fill="#fff" stroke="#d8d9da"/>', title]
        unit = panel["fieldConfig"]["defaults"]["unit"]
        if panel["type"] == "table":
            lines += table(series, unit, x, y, width)
        else:
            lines += graph(series, unit, seconds, (x, y, width, high))
    return "\n".join([*lines, "</svg>", ""])


def table(series: list[Series], unit: str, x: int, y: int, width: int) -> Iterator[str]:
    """The last value of each series."""
    for row, (name, points) in enumerate(sorted(series)):
        at = y + 44 + 22 * row
        yield f'<text x="{x + 12}" y="{at}">{escape(name)}</text>'
        yield f'<text x="{x + width - 12}" y="{at}" text-anchor="end">{shown(points[-1][1], unit)}</text>'
        yield f'<line x1="{x + 8}" x2="{x + width - 8}" y1="{at + 7}" y2="{at + 7}" stroke="#eee"/>'


def graph(series: list[Series], unit: str, seconds: float, place: tuple[int, int, int, int]) -> Iterator[str]:
    """The lines of the six largest series, and the peak of all."""
    x, y, width, high = place
    listed = sorted(series, key=lambda one: -max(value for _, value in one[1]))[:6]
    columns = 1 if any(len(name) > 30 for name, _ in listed) else 2
    left, right, top = x + 62, x + width - 12, y + 32
    bottom = y + high - 26 - 15 * -(-len(listed) // columns)
    peak = max((value for _, points in series for _, value in points if value == value), default=0.0) or 1.0  # noqa: PLR0124
    for step in range(3):
        at = bottom - (bottom - top) * step / 2
        yield f'<line x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#eee"/>'
        told = shown(peak * step / 2, unit)
        yield f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end" font-size="10">{told}</text>'
    for second in range(0, int(seconds) + 1, 30):
        at = left + (right - left) * second / seconds
        yield f'<text x="{at:.1f}" y="{bottom + 13}" text-anchor="middle" font-size="10">{second} s</text>'
    for number, (name, points) in enumerate(listed):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(
            f"{left + (right - left) * at / seconds:.1f},{bottom - (bottom - top) * value / peak:.1f}"
            for at, value in points
            if value == value and at <= seconds  # noqa: PLR0124 - a rate of nothing is not a number
        )
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        label_x, label_y = x + 12 + number % columns * (width // 2), bottom + 29 + 15 * (number // columns)
        yield f'<rect x="{label_x}" y="{label_y - 7}" width="10" height="3" fill="{colour}"/>'
        yield f'<text x="{label_x + 14}" y="{label_y}" font-size="10">{escape(name)}</text>'


def shown(value: float, unit: str) -> str:
    """A number with its unit."""
    if unit == "percentunit":
        return f"{value:.0%}"
    if unit == "bool_yes_no":
        return "yes" if value == 1 else "no" if value == 0 else ""
    for limit, prefix in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit and unit != "s":
            return f"{value / limit:.3g} {prefix}{UNITS.get(unit, '').strip()}".rstrip()
    return f"{value:.3g}{UNITS.get(unit, '')}"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "dashboard.svg")
    arguments = parser.parse_args()
    panels = asyncio.run(record(arguments.seconds))
    arguments.output.write_text(draw(panels, arguments.seconds), "utf-8")


if __name__ == "__main__":
    main()
