"""A separate process that works on a store, and prints the outcome of each attempt."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from apm_s3 import S3Manager
from apm_s3.configs import ConfigStore
from apm_s3.errors import DeployRefused, RevisionConflict
from tests.configs.samples import GRAFANA, LOKI, PROMETHEUS
from tests.managers import make_manager
from tests.seams.store import S3Objects
from tests.servers import Server

WRITERS = 10

Say = Callable[..., None]


async def claim(store: ConfigStore, say: Say, job: dict[str, Any], writer: int) -> None:
    """Upload once, expecting that there is nothing yet."""
    author = f"{job['process']}.{writer}"
    try:
        release = await store.upload("loki", "production", f"{LOKI}# {author}\n", author=author, expect_revision=0)
    except RevisionConflict as conflict:
        say(author=author, won=False, current=conflict.current_revision)
    else:
        say(author=author, won=True, current=release.revision)


async def append(store: ConfigStore, say: Say, job: dict[str, Any], writer: int) -> None:
    """Add a line to what is there, again and again until nobody else was faster."""
    line = f"# {job['process']}.{writer}\n"
    pause = 0.05
    while True:
        file = await store.download("loki", "production")
        try:
            await store.upload("loki", "production", file.text + line, expect_revision=file.revision)
        except RevisionConflict:
            await asyncio.sleep(random.uniform(0, pause))
            pause = min(pause * 1.5, 1.0)
        else:
            say(line=line)
            return


async def churn(store: ConfigStore, say: Say, job: dict[str, Any], writer: int) -> None:
    """Upload for ever; somebody kills this process."""
    number = 0
    while True:
        await store.upload("loki", "production", files=numbered(f"{job['process']}.{number}"))
        say(number=number)
        number += 1


class Mortal(S3Objects):
    """Kills this process in place of a write to the bucket.

    Attributes:
        writes: how many writes are sent before.
    """

    writes = 1_000

    async def put(self, key: str, body: bytes, **options: Any) -> Any:
        self._count()
        return await super().put(key, body, **options)

    async def copy(self, source_key: str, key: str) -> Any:
        self._count()
        return await super().copy(source_key, key)

    async def delete(self, keys: Any) -> None:
        self._count()
        await super().delete(keys)

    def _count(self) -> None:
        if not self.writes:
            os.kill(os.getpid(), signal.SIGKILL)
        self.writes -= 1


async def die(s3: S3Manager, bucket: str, say: Say, job: dict[str, Any]) -> None:
    """Upload twice, and die in the second upload, after as many writes as the number of this process."""
    objects = Mortal(s3, bucket)
    store, environment = ConfigStore(objects), f"production-{job['process']}"
    await store.upload("loki", environment, files=numbered("first"))
    objects.writes = job["process"]
    await store.upload("loki", environment, files=numbered("second"))
    say(survived=True)


def numbered(number: str) -> dict[str, str]:
    """Two files that both carry `number`."""
    return {
        "loki.yaml": f"{LOKI}# {number}\n" + "# padding\n" * 50,
        "rules/number.yaml": f"groups: []\n# {number}\n",
    }


async def deploy(store: ConfigStore, say: Say, job: dict[str, Any], writer: int) -> None:
    """Change every file of the source and deploy it, again and again; somebody may kill this process."""
    number = 0
    while number < job["rounds"]:
        mark = f"{job['process']}.{writer}.{number}"
        for tool, files in bundles(mark).items():
            await store.upload(tool, job["source"], files=files)
        plan = await store.plan_deploy(job["source"], "production", create=True)
        try:
            result = await store.deploy(plan, allow_drift=True)
        except (RevisionConflict, DeployRefused) as refused:
            say(mark=mark, told=type(refused).__name__)
        else:
            say(mark=mark, told="won", revisions={release.tool: release.revision for release in result.releases})
        number += 1


async def race(store: ConfigStore, say: Say, job: dict[str, Any], writer: int) -> None:
    """Deploy one of two environments, once; four of these a process."""
    if writer >= 4:
        return
    plan = await store.plan_deploy(f"staging-{writer % 2}", "production", create=True)
    try:
        result = await store.deploy(plan, allow_drift=True)
    except (RevisionConflict, DeployRefused) as refused:
        say(told=type(refused).__name__)
    else:
        told = "won" if result.releases else "nothing to do"
        say(told=told, revisions={release.tool: release.revision for release in result.releases})


def bundles(mark: str) -> dict[str, dict[str, str]]:
    """Three tools with twenty files, all of which carry `mark`."""
    rules = {f"rules/{number:02}.yml": f"groups: []\n# {mark}\n" for number in range(17)}
    return {
        "prometheus": {"prometheus.yml": f"{PROMETHEUS}# {mark}\n", **rules},
        "loki": {"loki.yaml": f"{LOKI}# {mark}\n"},
        "grafana": {"grafana.ini": f"{GRAFANA}# {mark}\n"},
    }


def run(connection: Connection, server: Server, bucket: str, job: dict[str, Any]) -> None:
    """Do the job when told to."""
    asyncio.run(_run(connection, server, bucket, job))


async def _run(connection: Connection, server: Server, bucket: str, job: dict[str, Any]) -> None:
    def say(**fields: Any) -> None:
        connection.send(fields)

    async with make_manager(server) as s3:
        if job["do"] == "die":
            say(ready=True)
            await die(s3, bucket, say, job)
            return
        store = s3.configs(bucket)
        work = {"claim": claim, "append": append, "churn": churn, "deploy": deploy, "race": race}[job["do"]]
        say(ready=True)
        connection.recv()
        await asyncio.gather(*(work(store, say, job, writer) for writer in range(job.get("writers", WRITERS))))
