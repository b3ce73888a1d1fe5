"""What the record of an environment costs: bytes and parse time of `current.json`, and calls on 10 000 commits.

Run it with `nox -s benchmarks -- record`. The store is in memory: the seconds are this library's own, and the requests
say what a network adds. Times are the best of several runs.
"""

import argparse
import asyncio
import time
from collections import Counter
from datetime import timedelta

from apm_s3._tools import MAIN_FILES, TOOLS
from apm_s3.configs import ConfigStore, EnvironmentSettings
from apm_s3.configs._protocol.encoding import decode_current, encode_current
from apm_s3.testing import MemoryObjects
from benchmarks.report import Table, Value, show

ENV = "production"
CURRENT = f"configs/{ENV}/current.json"
START = 1_767_225_600.0


class Counting(MemoryObjects):
    """Counts requests: a listing as its pages of 1 000 keys, a deletion as its batches of as many."""

    def __init__(self) -> None:
        super().__init__("benchmark", now=START)
        self.counts: Counter[str] = Counter()

    async def read(self, key, **options):
        self.counts["GET"] += 1
        return await super().read(key, **options)

    async def head(self, key):
        self.counts["HEAD"] += 1
        return await super().head(key)

    async def put(self, key, body, **options):
        self.counts["PUT"] += 1
        return await super().put(key, body, **options)

    async def delete(self, keys):
        self.counts["DELETE"] += -(-len(keys) // 1000)
        await super().delete(keys)

    async def list(self, prefix, *, start_after=None):
        self.counts["LIST"] += 1
        found = 0
        async for info in super().list(prefix, start_after=start_after):
            found += 1
            if found % 1000 == 0:
                self.counts["LIST"] += 1
            yield info


async def fill(objects: Counting, commits: int) -> ConfigStore:
    """An environment whose five tools take turns: uploads, each seventh commit a mark, by busy writers."""
    store = ConfigStore(objects)
    settings = EnvironmentSettings(
        target_versions={"prometheus": "3.0", "loki": "3.4"}, deploy_from=("staging",), keep_revisions=50,
        keep_log=timedelta(days=365), warnings_as_errors=("plain-text-secret",),
    )  # fmt: skip
    await store.set_settings(
        ENV, settings, author="platform-team@example.org", message="what we agreed on", create=True
    )
    for number in range(commits - 2):
        tool = TOOLS[number % 5]
        objects.now = START + number * 600
        author, message = (
            f"deployer-{number % 64}@ci.example.org",
            f"raise the limits of the query frontend, step {number}",
        )
        if number % 7 == 6:
            await store.mark_good(TOOLS[0], ENV, author=author, message=message)
        else:
            # Notes, not configurations: validation is not what is measured.
            files = {MAIN_FILES[tool] + ".txt": f"content {number} of {tool}\n"}
            await store.upload(tool, ENV, files=files, author=author, message=message)
    return store


def report_document(objects: Counting) -> None:
    body = objects.objects[CURRENT][1]
    parsed = decode_current(body, environment=ENV, where="")
    read = best(lambda: decode_current(body, environment=ENV, where=""))
    write = best(lambda: encode_current(parsed))
    print(f"current.json: {len(body)} bytes, {len(parsed.log.entries)} entries, {len(parsed.tools)} tools")
    print(f"  parsed in {read * 1e3:.3f} ms, written in {write * 1e3:.3f} ms\n")


def best(call) -> float:
    times = []
    for _ in range(300):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


async def report_calls(objects: Counting, store: ConfigStore, commits: int) -> None:
    objects.now = (objects.now or START) + 3 * 86_400
    calls = {
        "log(limit=50)": lambda: store.log(ENV, limit=50),
        "log(limit=500)": lambda: store.log(ENV, limit=500),
        "log()": lambda: store.log(ENV),
        "history(limit=50)": lambda: store.history("loki", ENV, limit=50),
        "status": lambda: store.status(ENV),
        "upload": lambda: store.upload("loki", ENV, files={"loki.yaml.txt": "last\n"}, author="a", message="m"),
        "mark_good": lambda: store.mark_good("loki", ENV, author="a", message="m"),
        "fsck": lambda: store.fsck(ENV),
        "collect_garbage": lambda: store.collect_garbage(ENV, author="a", message="m"),
    }
    rows: dict[str, tuple[Value, ...]] = {}
    for name, call in calls.items():
        objects.counts.clear()
        start = time.perf_counter()
        await call()
        took = time.perf_counter() - start
        requests = ", ".join(f"{count} {verb}" for verb, count in sorted(objects.counts.items()))
        rows[name] = (took, requests)
    title = f"Calls on an environment with {commits} commits; less is better"
    show(Table("The record of an environment", title, ("seconds", "requests"), rows, note="The store is in memory."))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=10_000)
    commits = parser.parse_args().commits
    objects = Counting()
    start = time.perf_counter()
    store = await fill(objects, commits)
    print(f"{commits} commits in {time.perf_counter() - start:.1f} s\n")
    report_document(objects)
    await report_calls(objects, store, commits)


if __name__ == "__main__":
    asyncio.run(main())
