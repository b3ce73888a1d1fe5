"""A process of its own that works on a store: `python -m tests.configs.worker JSON`. One line of JSON out per result."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

from apm_s3 import Credentials, S3Manager
from apm_s3.configs import ConfigStore
from apm_s3.errors import DeployRefused, RevisionConflict
from tests.configs.samples import GRAFANA, LOKI, PROMETHEUS

WRITERS = 10


async def claim(store: ConfigStore, job: dict[str, Any], writer: int) -> None:
    """Upload once, expecting that there is nothing yet."""
    author = f"{job['process']}.{writer}"
    try:
        release = await store.upload("loki", "production", f"{LOKI}# {author}\n", author=author, expect_revision=0)
    except RevisionConflict as conflict:
        say(author=author, won=False, current=conflict.current_revision)
    else:
        say(author=author, won=True, current=release.revision)


async def append(store: ConfigStore, job: dict[str, Any], writer: int) -> None:
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


async def churn(store: ConfigStore, job: dict[str, Any], writer: int) -> None:
    """Upload for ever; somebody kills this process."""
    number = 0
    while True:
        text = f"{LOKI}# {job['process']}.{number}\n" + "# padding\n" * 50
        await store.upload(
            "loki",
            "production",
            files={"loki.yaml": text, "rules/number.yaml": f"groups: []\n# {job['process']}.{number}\n"},
        )
        say(number=number)
        number += 1


async def deploy(store: ConfigStore, job: dict[str, Any], writer: int) -> None:
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


async def race(store: ConfigStore, job: dict[str, Any], writer: int) -> None:
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


def say(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


async def main(job: dict[str, Any]) -> None:
    credentials = Credentials(*job["credentials"])
    async with S3Manager(region=job["region"], endpoint_url=job["endpoint"], credentials=credentials) as s3:
        store = s3.configs(job["bucket"])
        work = {"claim": claim, "append": append, "churn": churn, "deploy": deploy, "race": race}[job["do"]]
        say(ready=True)
        sys.stdin.readline()
        await asyncio.gather(*(work(store, job, writer) for writer in range(job.get("writers", WRITERS))))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
