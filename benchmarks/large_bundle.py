"""A bundle of 2 000 files and 40 MB: upload, deploy, one changed file, download. `nox -s benchmarks -- large_bundle`

Starts SeaweedFS itself. Prints wall seconds, and CPU seconds of this process and of those that
it validates in.
"""

from __future__ import annotations

import asyncio
import random
import resource
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from apm_s3 import S3Manager
from benchmarks.report import Table, Value, show
from tests.servers import Server, seaweedfs_server

T = TypeVar("T")
_ROWS: dict[str, tuple[Value, ...]] = {}
FILES, SIZE = 2000, 20_000
BUCKET = "apm-benchmark-large-bundle"
MAIN = """\
rule_files: [rules/*.yml]
scrape_configs:
  - job_name: api
    static_configs: [{targets: ["localhost:9090"]}]
"""


def rules(number: int, random_: random.Random) -> str:
    """One file of rules of about `SIZE` bytes."""
    text = ["groups:\n"]
    size, group = 0, 0
    while size < SIZE:
        lines = [f"  - name: g{number}_{group}\n    rules:\n"]
        lines += [
            f'      - alert: A{number}_{group}_{rule}\n        expr: up{{job="j{random_.randrange(10**9)}"}} == 0\n'
            f"        for: 5m\n        annotations: {{summary: 'text {random_.random()}'}}\n"
            for rule in range(10)
        ]
        text += lines
        size += sum(map(len, lines))
        group += 1
    return "".join(text)


async def timed(what: str, work: Awaitable[T]) -> T:
    """Note how long `work` takes."""
    wall, cpu, children = time.perf_counter(), time.process_time(), _children()
    result = await work
    seconds = time.perf_counter() - wall, time.process_time() - cpu, _children() - children
    _ROWS[what] = seconds
    return result


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


async def main(server: Server) -> None:
    """Play it once."""
    random_ = random.Random(1)
    files = {"prometheus.yml": MAIN, **{f"rules/{n:04}.yml": rules(n, random_) for n in range(FILES - 1)}}
    async with S3Manager(region=server.region, endpoint_url=server.endpoint_url, credentials=server.credentials) as s3:
        await s3.create_bucket(BUCKET)
        store = s3.configs(BUCKET)
        await timed("validate", store.validate("prometheus", files=files))
        await timed("upload (and validate)", store.upload("prometheus", "staging", files=files))
        plan = await timed("plan", store.plan_deploy("staging", "production", create=True))
        await timed("deploy", store.deploy(plan))
        await timed("download", store.download_bundle("prometheus", "production"))
        changed = files["rules/0005.yml"] + "# changed\n"
        await timed("upload one file", store.upload("prometheus", "staging", changed, name="rules/0005.yml"))
        plan = await timed("plan one file", store.plan_deploy("staging", "production"))
        await timed("deploy one file", store.deploy(plan))
        with tempfile.TemporaryDirectory() as folder:
            await timed("download_dir", store.download_dir("prometheus", "production", Path(folder) / "bundle"))
    title = f"{len(files)} files, {sum(map(len, files.values())) / 1e6:.0f} MB; less is better"
    columns = ("seconds", "seconds of CPU", "of validating processes")
    show(Table("A large bundle", title, columns, _ROWS))


if __name__ == "__main__":
    with seaweedfs_server() as started:
        asyncio.run(main(started))
