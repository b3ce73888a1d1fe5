"""One large object beside s5cmd: seconds, CPU, peak memory, and the longest stall of the event loop.

    nox -s benchmarks -- large [--size 512] [--rounds 3]

Each transfer runs in a process of its own, in turn, for several rounds. The nox session installs s5cmd.
Files, the server's too, lie in /dev/shm where there is one, so that no disk is measured: up to fifteen times the size.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.clients import KEY_ID, REGION, SECRET, Bare
from benchmarks.report import Table, Value, show
from benchmarks.small import BUCKET, ROOT, cpu
from tests.servers import require

MIB = 1024**2
_TOUCHED = 6
"""Times the size of the object: the file, and what the server and the connections take meanwhile."""
FIGURES = ("seconds", "cpu", "mib", "stall_ms")
COLUMNS = ("seconds", "seconds of CPU", "peak MiB", "event loop held at most, ms")
Figures = dict[str, float]


class Watch:
    """Finds the longest that the event loop was late, in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.before = time.perf_counter()

    async def run(self) -> None:
        """Check every five milliseconds until cancelled; checking more often would add to the measured CPU."""
        while True:
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            self.longest = max(self.longest, now - self.before - 0.005)
            self.before = now


async def transfer(endpoint: str, direction: str, path: str) -> Figures:
    """The figures of one transfer by this library."""
    from apm_s3 import Credentials, S3Manager

    async with S3Manager(region=REGION, endpoint_url=endpoint, credentials=Credentials(KEY_ID, SECRET)) as s3:
        await s3.bucket_exists(BUCKET)
        watch = Watch()
        began, used = time.perf_counter(), cpu()
        watching = asyncio.create_task(watch.run())
        if direction == "up":
            await s3.upload_file(BUCKET, "apm_s3", Path(path))
        else:
            await s3.download_to(BUCKET, "large", path)
        figures = {"seconds": time.perf_counter() - began, "cpu": cpu() - used, "stall_ms": watch.longest * 1000}
        watching.cancel()
    return {**figures, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def run_ours(endpoint: str, direction: str, path: Path) -> Figures:
    """One transfer by this library in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.large", "--job", json.dumps([endpoint, direction, str(path)])]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout))


def run_s5cmd(endpoint: str, direction: str, path: Path) -> Figures:
    """One transfer by s5cmd."""
    remote = f"s3://{BUCKET}/" + ("s5cmd" if direction == "up" else "large")
    source, target = (str(path), remote) if direction == "up" else (remote, str(path))
    secrets = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION}
    began = time.perf_counter()
    process = subprocess.Popen(
        [require("s5cmd"), "--endpoint-url", endpoint, "cp", source, target],
        env={**os.environ, **secrets},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError("s5cmd failed")
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "mib": used.ru_maxrss / 1024, "stall_ms": 0.0}


async def prepare(endpoint: str, path: Path) -> None:
    """The bucket, and the object that is downloaded."""
    bare = Bare(endpoint, BUCKET)
    await bare.open()
    await bare.send("PUT", "")
    await bare.close()
    run_ours(endpoint, "up", path)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="MiB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(asyncio.run(transfer(*json.loads(arguments.job)))))
        return

    from benchmarks import servers

    if Path("/dev/shm").is_dir():
        tempfile.tempdir = "/dev/shm"
    with servers.start("seaweedfs") as endpoint, tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source", Path(folder) / "target"
        with source.open("wb") as file:
            for _ in range(arguments.size):
                file.write(os.urandom(MIB))
        asyncio.run(prepare(endpoint, source))
        measure(endpoint, source, target, arguments.rounds)


def measure(endpoint: str, source: Path, target: Path, rounds: int) -> None:
    """Both programs, both directions, in turn; medians are shown."""
    asyncio.run(_copy_as_large(endpoint))
    for direction, path in (("up", source), ("down", target)):
        results: dict[str, list[Figures]] = {"apm_s3": [], "s5cmd": []}
        for _ in range(rounds):
            for name, run in (("apm_s3", run_ours), ("s5cmd", run_s5cmd)):
                target.unlink(missing_ok=True)
                touch(target, _TOUCHED * source.stat().st_size)
                results[name].append(run(endpoint, direction, path))
        rows: dict[str, tuple[Value, ...]] = {
            name: tuple(statistics.median(one[figure] for one in found) for figure in FIGURES)
            for name, found in results.items()
        }
        rows["s5cmd"] = (*rows["s5cmd"][:-1], None)
        size = source.stat().st_size // MIB
        note = f"To and from SeaweedFS; medians of {rounds} rounds. s5cmd does not verify what it downloads."
        title = f"{'Upload' if direction == 'up' else 'Download'}; less is better"
        show(Table(f"One object of {size} MiB", title, COLUMNS, rows, ratios=True, plotted=COLUMNS[:3], note=note))


def touch(path: Path, size: int) -> None:
    """Allocate more memory than a transfer will, and release it.

    On a virtual machine, memory that was not used for some seconds has been given back to the host (free page
    reporting), and costs many times as much at its next use: whoever came to such pages would pay for that.
    """
    with path.open("wb") as file:
        for _ in range(0, size, MIB):
            file.write(bytes(MIB))
    path.unlink()


async def _copy_as_large(endpoint: str) -> None:
    bare = Bare(endpoint, BUCKET)
    await bare.open()
    await bare.copy("apm_s3", "large")
    await bare.close()


if __name__ == "__main__":
    main()
