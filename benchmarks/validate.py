"""What validation costs: time by size, ratio to promtool, bombs, and how long the event loop is held.

Run it with `nox -s benchmarks -- validate`. Times are of the processor, the best of several runs; promtool's is of
the wall, since it is a process.

`python -m benchmarks.validate --against TREE` compares with another checkout instead: both are measured in turn, in
pairs of processes, and the ratios are of the medians.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from apm_s3.validators import validate_config, validate_config_async
from benchmarks.report import Table, show

JOB = """\
  - job_name: job-{0}
    scrape_interval: 15s
    metrics_path: /metrics
    # The instances of this service, by hand until discovery knows them.
    static_configs:
      - targets: ["host-{0}.example.org:9090", "spare-{0}.example.org:9090"]
        labels:
          environment: production
          team: platform
    relabel_configs:
      - source_labels: [__address__]
        regex: "(.*):.*"
        target_label: instance
        replacement: $1
"""
RULE = """\
      - alert: ErrorsOfJob{0}
        expr: sum by (job) (rate(http_requests_total{{job="job-{0}", code=~"5.."}}[5m])) > 0.05
        for: 10m
        labels: {{severity: page}}
        annotations:
          summary: '{{{{ $labels.job }}}} fails at {{{{ $value | humanizePercentage }}}}'
"""
DASHBOARD_PANEL = {"id": 1, "title": "Requests", "type": "timeseries", "targets": [{"expr": "sum(rate(up[5m]))"}] * 4}


def configuration(size):
    head = "global:\n  scrape_interval: 30s\nscrape_configs:\n"
    return head + "".join(JOB.format(index) for index in range(max(size // len(JOB.format(100)), 1)))


def rules(size):
    head = "groups:\n  - name: errors\n    rules:\n"
    return head + "".join(RULE.format(index) for index in range(max(size // len(RULE.format(100)), 1)))


def dashboard(size):
    panels = [{**DASHBOARD_PANEL, "id": index} for index in range(size // len(json.dumps(DASHBOARD_PANEL)))]
    return json.dumps({"title": "Big", "uid": "big", "schemaVersion": 39, "panels": panels}, indent=1)


def best(work, runs):
    times = []
    for _ in range(runs):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times) * 1000


def promtool(text, command):
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(text)
        file.flush()
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            subprocess.run(["promtool", "check", *command, file.name], capture_output=True, check=True)
            times.append(time.perf_counter() - begun)
    return min(times) * 1000


def show_sizes():
    cases = [
        ("configuration", configuration, "config", ["config", "--syntax-only"]),
        ("rules", rules, "rules", ["rules", "--lint=none"]),
    ]
    found: dict[str, tuple[float, float | None]] = {}
    for name, make, kind, command in cases:
        for size in (5_000, 50_000, 500_000):
            text = make(size)
            report = validate_config("prometheus", text, kind=kind)
            assert report.ok, str(report)[:500]
            ours = best(
                lambda text=text, kind=kind: validate_config("prometheus", text, kind=kind), 20 if size < 9e4 else 4
            )
            theirs = promtool(text, command) if shutil.which("promtool") else None
            found[f"{name}, {size // 1000} KB"] = (ours, theirs)
    note = "Best of several runs: CPU of this library, and wall time of promtool, which is a process."
    rows = dict(zip(("apm_s3", "promtool"), zip(*found.values(), strict=True), strict=True))
    title = "Milliseconds; less is better"
    show(Table("Validation", title, tuple(found), rows, ratios=True, plotted=tuple(found), note=note))


def show_bombs():
    letters = [chr(97 + index) for index in range(13)]
    pairs = list(pairwise(letters))
    bombs = {
        "alias bomb": "a: &a [x]\n" + "".join(f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in pairs),
        "merge bomb": "a: &a {x: 1}\n"
        + "".join(f"{new}: &{new} {{<<: [{','.join([f'*{old}'] * 9)}]}}\n" for old, new in pairs),
        "60 000 levels": "[" * 60_000,
        "50 MB": "#" * 50_000_000,
        "700 000 values": "- a\n" * 700_000,
        "400 000 fields": "".join(f"k{index}: 1\n" for index in range(400_000)),
        "duplicate key": "global: {}\nglobal: {}\n",
        "invalid UTF-8": b"global: \xff",
        "NUL byte": b"global: \0",
    }
    rows = {}
    for name, bomb in bombs.items():
        assert not validate_config("prometheus", bomb).ok
        rows[name] = (best(lambda bomb=bomb: validate_config("prometheus", bomb), 3),)
    show(Table("Validation", "Milliseconds until a harmful document is refused", ("ms",), rows))


async def longest_stall(work):
    """How long the event loop was held at most, in ms, while `work` ran."""
    worst, done = 0.0, False

    async def tick():
        nonlocal worst
        while not done:
            begun = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - begun - 0.001)

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0.01)
    await work
    done = True
    await ticker
    return worst * 1000


async def show_stalls():
    cases = [
        ("configuration 5 KB", "prometheus", configuration(5_000), "config"),
        ("configuration 2 MB", "prometheus", configuration(2_000_000), "config"),
        ("rules 1 MB", "prometheus", rules(1_000_000), "rules"),
        ("one scalar of 15 MB", "prometheus", "a: " + "x" * 15_000_000, "config"),
        ("dashboard 3 MB", "grafana", dashboard(3_000_000), "dashboard"),
        ("one string of 15 MB", "grafana", json.dumps({"title": "x" * 15_000_000}), "dashboard"),
    ]
    rows = {}
    for name, tool, text, kind in cases:
        await validate_config_async(tool, "{}", kind=kind)
        rows[name] = (await longest_stall(validate_config_async(tool, text, kind=kind)),)
    show(Table("Validation", "Milliseconds that the event loop was held at most; less is better", ("ms",), rows))


MEASURE = """
import json, sys, time
begun = time.process_time()
from apm_s3.validators import validate_config
times = {"import": time.process_time() - begun}
for name, (kind, text, runs) in json.load(sys.stdin).items():
    validate_config("prometheus", text, kind=kind)
    taken = []
    for _ in range(runs):
        begun = time.process_time()
        assert validate_config("prometheus", text, kind=kind).ok
        taken.append(time.process_time() - begun)
    times[name] = min(taken)
print(json.dumps(times))
"""


def measured(tree, work):
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-P", "-c", MEASURE]
    done = subprocess.run(command, env=environment, input=work, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def show_ratios(other, pairs):
    cases = {
        "rules 5 KB": ("rules", rules(5_000), 20),
        "rules 500 KB": ("rules", rules(500_000), 2),
        "configuration 5 KB": ("config", configuration(5_000), 20),
        "configuration 500 KB": ("config", configuration(500_000), 3),
    }
    work = json.dumps(cases)
    trees = {"this": Path(__file__).parents[1], "other": other}
    times = [{name: measured(tree, work) for name, tree in trees.items()} for _ in range(pairs)]
    print(f"{'ms':<22}{'this':>9}{'other':>9}{'ratio':>8}")
    for case in ("import", *cases):
        this, that = (statistics.median(pair[name][case] for pair in times) * 1000 for name in trees)
        print(f"{case:<22}{this:>9.2f}{that:>9.2f}{this / that:>8.2f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--against", type=Path, help="another checkout to compare with")
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    if options.against is not None:
        show_ratios(options.against, options.pairs)
        return
    show_sizes()
    show_bombs()
    asyncio.run(show_stalls())


if __name__ == "__main__":
    main()
