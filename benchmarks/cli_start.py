"""How fast the command line starts: `python -m benchmarks.cli_start`.

Each command is a process of its own. Their turns alternate, so that a busy machine slows all of them; the best of many
runs counts, and the ratios are those of one run. `apm-s3 --help` may take 1.5 times as long as importing click and Rich,
and `apm-s3 config validate` that and 150 ms.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Table, show

CONFIG = """\
global:
  scrape_interval: 15s
scrape_configs:
  - job_name: prometheus
    static_configs:
      - targets: [localhost:9090]
"""
MAIN = "from apm_s3.cli import main; main()"


def main() -> None:
    """Measure, and print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs: int = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prometheus.yml"
        file.write_text(CONFIG)
        commands = {
            "python -c 'pass'": ["-c", "pass"],
            "python -c 'import click, rich'": ["-c", "import click, rich"],
            "apm-s3 --help": ["-c", MAIN, "--help"],
            "apm-s3 config --help": ["-c", MAIN, "config", "--help"],
            "apm-s3 config history --help": ["-c", MAIN, "config", "history", "--help"],
            "apm-s3 config validate FILE": ["-c", MAIN, "config", "validate", str(file)],
        }
        best = {name: (float("inf"), float("inf")) for name in commands}
        for _ in range(runs):
            for name, arguments in commands.items():
                best[name] = tuple(map(min, best[name], measure(arguments)))  # type: ignore[assignment]
    base = best["python -c 'import click, rich'"]
    columns = ("elapsed, ms", "CPU, ms", "CPU in proportion to the imports")
    rows = {name: (elapsed * 1000, cpu * 1000, cpu / base[1]) for name, (elapsed, cpu) in best.items()}
    show(Table("Cold start", "The command line", columns, rows, note=f"Best of {runs} runs."))


def measure(arguments: list[str]) -> tuple[float, float]:
    """Return the elapsed time and the CPU time of a process, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, env=os.environ
    )
    elapsed = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
