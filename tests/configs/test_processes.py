"""Several processes at once, and processes that are killed, on the server whose conditional requests hold in races."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from apm_s3 import S3Manager
from apm_s3.errors import ConfigNotFound
from tests.configs import worker
from tests.configs.conftest import opened
from tests.configs.samples import LOKI
from tests.configs.worker import WRITERS, bundles
from tests.conftest import make_clients
from tests.processes import Child
from tests.servers import Server

PROCESSES = 5


@asynccontextmanager
async def workers(
    server: Server, bucket: str, do: str, count: int = PROCESSES, **job: Any
) -> AsyncIterator[list[Child]]:
    """Processes that have all said that they are ready."""
    clients = make_clients(server)
    with suppress(Exception):
        await clients.call("create_bucket", Bucket=bucket)
    await clients.aclose()
    started: list[Child] = []
    try:
        for process in range(count):
            child = Child(worker.run, server, bucket, {"do": do, "process": process, **job})
            started.append(child)
        for child in started:
            assert await child.hear() == {"ready": True}
        yield started
    finally:
        for child in started:
            child.end()


async def run(server: Server, bucket: str, do: str) -> list[dict[str, Any]]:
    """What all writers of all processes have said."""
    async with workers(server, bucket, do) as started:
        for child in started:
            child.tell("go")
        said = await asyncio.gather(*(child.hear_all() for child in started))
    return [result for results in said for result in results]


async def test_exactly_one_of_fifty_uploads_from_five_processes_wins(seaweedfs: Server, bucket_name: str) -> None:
    results = await run(seaweedfs, bucket_name, "claim")

    winners = [result["author"] for result in results if result["won"]]
    assert len(results) == PROCESSES * WRITERS
    assert len(winners) == 1
    assert {result["current"] for result in results} == {1}
    async with opened(seaweedfs) as s3:
        history = await s3.configs(bucket_name).history("loki", "production")
        assert [release.author for release in history] == winners


async def test_fifty_retrying_writers_lose_no_line(seaweedfs: Server, bucket_name: str) -> None:
    async with opened(seaweedfs) as s3:
        await s3.create_bucket(bucket_name)
        await s3.configs(bucket_name).upload("loki", "production", LOKI)

        results = await run(seaweedfs, bucket_name, "append")

        file = await s3.configs(bucket_name).download("loki", "production")
    assert file.revision == PROCESSES * WRITERS + 1
    assert sorted(file.text.removeprefix(LOKI).splitlines(keepends=True)) == sorted(
        result["line"] for result in results
    )


async def test_a_process_killed_before_any_write_leaves_one_complete_revision(
    seaweedfs: Server, bucket_name: str
) -> None:
    """Two blobs, a release document, the commit, and two live copies: each is once the first that is not written."""
    async with workers(seaweedfs, bucket_name, "die", count=7) as started, opened(seaweedfs) as s3:
        survived = [await _lives(child) for child in started]
        for process in range(7):
            await _check_whole(s3, bucket_name, f"production-{process}")
    assert survived == [False] * 6 + [True]


async def test_a_process_killed_at_any_time_leaves_one_complete_revision(seaweedfs: Server, bucket_name: str) -> None:
    async with opened(seaweedfs) as s3:
        for round_ in range(4):
            async with workers(seaweedfs, bucket_name, "churn", count=1, writers=1, round=round_) as [child]:
                child.tell("go")
                await asyncio.sleep(random.uniform(0.02, 0.4))
            await _check_whole(s3, bucket_name)

        release = await s3.configs(bucket_name).upload("loki", "production", LOKI)
        assert not release.live_pending
        assert await s3.read_file(bucket_name, "live/production/loki/loki.yaml") == LOKI.encode()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("deploys", [8, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(0)])])
async def test_readers_see_only_consistent_environments_while_deployers_are_killed(
    seaweedfs: Server, bucket_name: str, deploys: int
) -> None:
    async with opened(seaweedfs) as s3:
        await s3.create_bucket(bucket_name)
        store = s3.configs(bucket_name)
        for tool, files in bundles("first").items():
            await store.upload(tool, "production", files=files)
        done = asyncio.Event()
        readers = [asyncio.create_task(_read_whole_environments(s3, bucket_name, done)) for _ in range(2)]
        told = kills = 0
        while told < deploys:
            job = {"writers": 1, "rounds": 1000, "source": f"staging-{kills}"}
            async with workers(seaweedfs, bucket_name, "deploy", count=1, **job) as [deployer]:
                deployer.tell("go")
                for _ in range(random.randint(1, 3)):
                    told += (await deployer.hear())["told"] == "won"
                await asyncio.sleep(random.uniform(0, 0.3))
                assert deployer.exit_code is None
            kills += 1
        done.set()
        reads = await asyncio.gather(*readers)
        sys.stdout.write(f"{told} deploys, {kills} kills, {sum(reads)} reads\n")
        assert min(reads) > 0
        for tool, files in bundles("last").items():
            await store.upload(tool, "staging", files=files)
        result = await store.deploy(await store.plan_deploy("staging", "production"))
        assert len(result.releases) == 3
        assert not any(release.live_pending for release in result.releases)
        assert (await store.fsck("production")).ok


async def _read_whole_environments(s3: S3Manager, bucket: str, done: asyncio.Event) -> int:
    """Reads until it is done; every file of every tool carries the same mark."""
    store, reads = s3.configs(bucket), 0
    while not done.is_set():
        seen = await store.download_environment("production")
        marks = {file.text.rpartition("# ")[2] for bundle in seen.values() for file in bundle.files.values()}
        assert len(marks) == 1, marks
        assert {tool: len(bundle.files) for tool, bundle in seen.items()} == {"prometheus": 18, "loki": 1, "grafana": 1}
        reads += 1
    return reads


async def test_twenty_deployers_from_two_environments_make_one_serial_history(
    seaweedfs: Server, bucket_name: str
) -> None:
    async with opened(seaweedfs) as s3:
        await s3.create_bucket(bucket_name)
        store = s3.configs(bucket_name)
        for source in ("staging-0", "staging-1"):
            for tool, files in bundles(source).items():
                await store.upload(tool, source, files=files)

        results = await run(seaweedfs, bucket_name, "race")

        history = await store.history("prometheus", "production")
        won = [result for result in results if result["told"] == "won"]
        assert len(results) == 20
        assert len(won) == len(history)
        assert {result["told"] for result in results} <= {"won", "RevisionConflict", "DeployRefused", "nothing to do"}
        assert sorted(result["revisions"]["prometheus"] for result in won) == list(range(1, len(history) + 1))
        for tool in ("loki", "grafana"):
            others = await store.history(tool, "production")
            assert [release.write_id for release in others] == [release.write_id for release in history]


async def _lives(child: Child) -> bool:
    with suppress(EOFError):
        await child.hear()
        return True
    return False


async def _check_whole(s3: S3Manager, bucket: str, environment: str = "production") -> None:
    store = s3.configs(bucket)
    try:
        bundle = await store.download_bundle("loki", environment)
    except ConfigNotFound:
        return
    number = bundle.files["rules/number.yaml"].text.rpartition("# ")[2]
    assert f"# {number}" in bundle.main.text
    committed = {release.files["loki.yaml"].sha256 for release in await store.history("loki", environment)}
    async for info in s3.iter_files(bucket, f"live/{environment}/loki/loki.yaml", include_metadata=True):
        assert info.metadata is not None
        assert info.metadata["apm-s3-sha256"] in committed
