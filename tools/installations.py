"""Install a wheel into bare environments: without extras, with each extra alone, and with all of them.

    nox -s packages

In each environment `pip check` must pass and a first import must warn of nothing; without extras, nothing that an extra
brings may be there. Prints the table of sizes and start-up times for docs/install.md. Sizes are those of the installed
files, without bytecode; times are CPU, the best of several starts.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
NOTHING = "pass"
BASE = "from apm_s3 import S3Manager; S3Manager()"
STARTS = {
    "cli": "import apm_s3.cli._app, click, rich",
    "dask": "import apm_s3.migration_dask, distributed",
    "fastapi": "import apm_s3.fastapi",
    "demo": "import apm_s3.testing, moto.server",
    "testing": "import apm_s3.testing, moto.server",
    "aioboto3": "import aioboto3",
    "crt": BASE + "; import awscrt.checksums",
    "isal": BASE + "; import isal.igzip",
    "redis": "import apm_s3; from aiocache import RedisCache",
    "prometheus": "import apm_s3.exporters.prometheus",
    "logs": "import apm_s3.exporters.logs, pythonjsonlogger.json",
    "otel": "import apm_s3.exporters.tracing",
    "all": BASE,
}
"""What a program imports that uses an extra."""
OF_EXTRAS = ("dask", "distributed", "fastapi", "moto", "pydantic", "redis", "rich", "starlette", "click")


class Installation(NamedTuple):
    """What an installation takes.

    Attributes:
        packages: how many, this one among them.
        size: of all installed files, in bytes.
        start: seconds of CPU from starting Python to its end, with the imports alone.
    """

    packages: int
    size: int
    start: float


def environment(folder: Path) -> str:
    """Make an environment without even pip, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return str(folder / "bin/python")


def pip(python: str, *arguments: str) -> None:
    """Run this environment's pip for another one."""
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *arguments], check=True)


def run(python: str, *arguments: str) -> float:
    """Run a Python in an empty folder, without this machine's settings for Python, and return its seconds of CPU."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))}
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([python, *arguments], cwd=folder, env=settings, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def start(python: str, statement: str) -> float:
    """Return the seconds of CPU that the fastest of several starts takes."""
    return min(run(python, "-c", statement) for _ in range(7))


def install(wanted: str, folder: Path, statement: str) -> tuple[str, Installation]:
    """Install `wanted` into a new environment, check it, and return its Python and what it takes."""
    python = environment(folder)
    pip(python, "install", "-q", "--no-compile", wanted)
    pip(python, "check")
    packages = next(folder.rglob("site-packages"))
    size = sum(file.stat().st_size for file in packages.rglob("*") if file.is_file())
    run(python, "-W", "error", "-X", "dev", "-c", statement)
    count = len(list(packages.glob("*.dist-info")))
    return python, Installation(count, size, start(python, statement))


def missing(python: str, names: tuple[str, ...]) -> bool:
    """Whether none of the modules can be imported."""
    find = f"import importlib.util; print([name for name in {names} if importlib.util.find_spec(name)])"
    return subprocess.run([python, "-I", "-c", find], check=True, stdout=subprocess.PIPE).stdout.strip() == b"[]"


def row(name: str, found: Installation, base: Installation) -> str:
    """Return a line of the table."""
    more = "" if found is base else f" (+{found.packages - base.packages})"
    return f"| {name} | {found.packages}{more} | {found.size / 1e6:.0f} MB | {found.start:.2f} s |"


def main() -> None:
    """Install everything that was built, in turn."""
    wheel, sdist = sys.argv[1:]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    with tempfile.TemporaryDirectory(prefix="apm-s3-installed-") as name:
        folder = Path(name)
        empty = start(environment(folder / "empty"), NOTHING)
        python, base = install(wheel, folder / "base", BASE)
        if not missing(python, OF_EXTRAS):
            raise SystemExit("the installation without extras contains packages that belong to extras")
        install(sdist, folder / "sdist", BASE)
        rows = [row("(none)", base, base)]
        for extra in extras:
            print(f"extra {extra}", file=sys.stderr)
            rows.append(row(f"`{extra}`", install(f"{wheel}[{extra}]", folder / extra, STARTS[extra])[1], base))
    machine = f"Python {platform.python_version()}, {platform.system()}, {platform.machine()}, {os.cpu_count()} cores"
    print(f"Measured on {datetime.now(UTC):%d %B %Y} ({machine}); `python -c pass` takes {empty:.2f} s:\n")
    print("| extra | packages | size | start-up (CPU) |\n|---|---|---|---|", *rows, sep="\n")


if __name__ == "__main__":
    main()
