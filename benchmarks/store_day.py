"""A store's day on several servers: everything that it does, then processes that race for one document.

    python -m benchmarks.store_day ceph=http://127.0.0.1:8000 [--seconds 60] [--processes 5]

It runs on SeaweedFS first, and prints the requests of the day by verb side by side. The servers know the credentials
"test" and "testsecret". It fails if a release of the race was lost or stored twice.
"""

from __future__ import annotations

import argparse
import asyncio
import time
import uuid
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from apm_s3 import RevisionConflict, S3Manager
from apm_s3.errors import CommitUnknown
from apm_s3.events import OperationEvent, Outcome
from tests.configs.samples import LOKI, PROMETHEUS
from tests.managers import make_manager
from tests.servers import Server, seaweedfs_server

SOURCE, TARGET = "staging", "production"


async def day(s3: S3Manager, bucket: str) -> None:
    """Upload, deploy, roll back, back up, restore and collect, and check the store."""
    store = s3.configs(bucket)
    for number in range(3):
        await store.upload("prometheus", SOURCE, f"{PROMETHEUS}# {number}\n")
        await store.upload("loki", SOURCE, f"{LOKI}# {number}\n")
        await store.deploy(await store.plan_deploy(SOURCE, TARGET, create=True))
    await store.rollback("prometheus", TARGET, to_revision=1)
    backup = await store.backup("prometheus", TARGET)
    await store.upload("prometheus", TARGET, f"{PROMETHEUS}# by hand\n")
    await store.restore(backup.key)
    await store.collect_garbage(TARGET, keep_revisions=2)
    found = await store.download("prometheus", TARGET)
    assert found.text == f"{PROMETHEUS}# 0\n"
    for environment in (SOURCE, TARGET):
        assert (await store.fsck(environment)).ok


def race(server: Server, bucket: str, process: int, seconds: float) -> list[str]:
    """Upload to one environment as often as possible, in a process of its own; return what was committed."""
    return asyncio.run(_race(server, bucket, process, seconds))


async def _race(server: Server, bucket: str, process: int, seconds: float) -> list[str]:
    done: list[str] = []
    async with make_manager(server) as s3:
        store = s3.configs(bucket)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            message = f"{process}-{len(done)}"
            try:
                await store.upload("loki", SOURCE, f"{LOKI}# {message}\n", message=message)
            except RevisionConflict:
                continue
            except CommitUnknown as unknown:
                if (await store.outcome(unknown.write_id, environment=SOURCE)).state != "won":
                    continue
            done.append(message)
    return done


async def run(server: Server, processes: int, seconds: float) -> tuple[Counter[str], int]:
    """Return the requests of the day by operation, and the commits of the race."""
    counts: Counter[str] = Counter()

    def count(event: OperationEvent) -> None:
        if event.outcome is not Outcome.RETRY:
            counts[event.operation] += event.attempt

    async with make_manager(server, hooks=(count,)) as s3:
        bucket, racing = (f"store-day-{uuid.uuid4().hex[:12]}" for _ in range(2))
        for name in (bucket, racing):
            await s3.create_bucket(name)
        counts.clear()
        await day(s3, bucket)
        requests = counts.copy()
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            loop = asyncio.get_running_loop()
            work = [loop.run_in_executor(pool, race, server, racing, number, seconds) for number in range(processes)]
            done = [message for messages in await asyncio.gather(*work) for message in messages]
        history = await s3.configs(racing).history("loki", SOURCE)
        stored = [release.message for release in history]
        assert [release.revision for release in history] == list(range(len(history), 0, -1))
        assert sorted(stored) == sorted(done), f"lost: {set(done) - set(stored)}; not told: {set(stored) - set(done)}"
        for name in (bucket, racing):
            await s3.delete_bucket(name, force=True)
    return requests, len(done)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="*", help="NAME=URL")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=5)
    arguments = parser.parse_args()
    results = {}
    with seaweedfs_server() as seaweedfs:
        servers = [seaweedfs, *(Server(*one.split("=", 1)) for one in arguments.servers)]
        for server in servers:
            results[server.kind] = asyncio.run(run(server, arguments.processes, arguments.seconds))
    verbs = sorted({verb for requests, _ in results.values() for verb in requests})
    rows = [(verb, *(requests[verb] for requests, _ in results.values())) for verb in verbs]
    rows.append(("all", *(requests.total() for requests, _ in results.values())))
    rows.append(("commits of the race", *(commits for _, commits in results.values())))
    for name, *values in [("requests", *results), *rows]:
        print(f"{name:<22}" + "".join(f"{value:>12}" for value in values))
    print("nothing lost, nothing doubled")


if __name__ == "__main__":
    main()
