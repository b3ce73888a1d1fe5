"""Writes repeated under one write id, by two processes at once, and as saved plans."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from apm_s3.configs import CommitOutcome, ConfigStore, DeployPlan, PlanDocument, RestorePlan
from apm_s3.errors import ApmS3Error, ConfigNotFound, InvalidOption
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI, PROMETHEUS

WRITE = "production." + "ab" * 10


class Paused:
    """A bucket as one process sees it, which stands still before one of its requests."""

    def __init__(self, objects: MemoryObjects, before: int) -> None:
        self.bucket = objects.bucket
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        self._objects, self._left = objects, before

    async def _arrive(self) -> None:
        self._left -= 1
        if not self._left:
            self.reached.set()
            await self.open.wait()

    def __getattr__(self, name: str) -> Any:
        request = getattr(self._objects, name)
        if not name.startswith(("list", "versions")):

            async def asked(*args: Any, **options: Any) -> Any:
                await self._arrive()
                return await request(*args, **options)

            return asked

        async def listed(*args: Any, **options: Any) -> AsyncIterator[Any]:
            await self._arrive()
            async for each in request(*args, **options):
                yield each

        return listed


def written(plan: DeployPlan | RestorePlan) -> PlanDocument:
    """The plan after it went through JSON."""
    return type(plan).from_dict(json.loads(json.dumps(plan.to_dict())))


@pytest.mark.parametrize("content", [OTHER_LOKI, f"{OTHER_LOKI}# other\n"], ids=["the same", "another"])
@pytest.mark.parametrize("exists", [True, False])
async def test_two_processes_commit_a_write_id_once_wherever_one_of_them_pauses(content: str, exists: bool) -> None:
    for before in range(1, 50):
        memory = MemoryObjects()
        if exists:
            await ConfigStore(memory).upload("loki", "production", LOKI)
        paused = Paused(memory, before)
        other = asyncio.create_task(ConfigStore(paused).upload("loki", "production", content, write_id=WRITE))
        reached = asyncio.create_task(paused.reached.wait())
        await asyncio.wait({other, reached}, return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        if not paused.reached.is_set():
            break
        first = None
        with suppress(InvalidOption):
            first = await ConfigStore(memory).upload("loki", "production", OTHER_LOKI, write_id=WRITE)
        paused.open.set()

        if content == OTHER_LOKI:
            assert first is not None
            assert (await other).ref == first.ref
        else:
            with suppress(InvalidOption):
                await other
            assert isinstance(other.exception(), InvalidOption) is (first is not None)
        made = [release.write_id for release in await ConfigStore(memory).history("loki", "production")]
        assert made.count(WRITE) == 1
        assert len(made) == 1 + exists
    assert before > 10


@pytest.mark.parametrize("exists", [True, False])
async def test_a_write_that_was_called_lost_is_not_committed_by_a_call_that_was_suspended(exists: bool) -> None:
    lost = 0
    for before in range(1, 50):
        memory = MemoryObjects(now=1_700_000_000.0)
        store = ConfigStore(memory)
        if exists:
            await store.upload("prometheus", "production", PROMETHEUS)
        suspended = Paused(memory, before)
        other = asyncio.create_task(ConfigStore(suspended).upload("loki", "production", LOKI, write_id=WRITE))
        reached = asyncio.create_task(suspended.reached.wait())
        await asyncio.wait({other, reached}, return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        if not suspended.reached.is_set():
            break
        await store.upload("prometheus", "production", PROMETHEUS + "# later\n")
        await _begun_elsewhere(memory)
        memory.now = 1_700_000_000.0 + 16 * 60
        outcome = await store.outcome(WRITE)
        suspended.open.set()

        with suppress(ApmS3Error):
            await other
        assert await store.outcome(WRITE) is outcome
        lost += outcome is CommitOutcome.LOST
    assert lost > 10


async def _begun_elsewhere(memory: MemoryObjects) -> None:
    """What another call with the same write id had stored when its process was killed, just before its commit."""
    elsewhere = MemoryObjects(now=memory.now)
    await ConfigStore(elsewhere).upload("loki", "production", LOKI, write_id=WRITE)
    for key, (_, body) in elsewhere.objects.items():
        if WRITE in key and key not in memory.objects:
            await memory.put(key, body, create=True)


async def _two_tools(memory: MemoryObjects) -> ConfigStore:
    store = ConfigStore(memory)
    await store.upload("prometheus", "staging", PROMETHEUS)
    await store.upload("loki", "staging", LOKI)
    await store.upload("loki", "production", LOKI)
    return store


async def test_a_repeated_deploy_returns_the_first_releases_however_it_was_planned(
    memory: MemoryObjects,
) -> None:
    store = await _two_tools(memory)
    plan = await store.plan_deploy("staging", "production")
    first = await store.deploy(written(plan), write_id=WRITE)

    assert (await store.deploy(written(plan), write_id=WRITE)).releases == first.releases
    assert (await store.deploy(plan, write_id=WRITE)).releases == first.releases
    assert (await store.deploy(await store.plan_deploy("staging", "production"), write_id=WRITE)).releases == (
        first.releases
    )
    await store.upload("loki", "production", OTHER_LOKI)
    await store.remove("prometheus", "staging")
    assert (await store.deploy(written(plan), write_id=WRITE)).releases == first.releases
    with pytest.raises(ConfigNotFound):
        await store.deploy(written(plan))
    with pytest.raises(ConfigNotFound):
        await store.deploy(written(plan), write_id=store.new_write_id("production"))


async def test_another_plan_under_the_same_write_id_is_refused(memory: MemoryObjects) -> None:
    store = await _two_tools(memory)
    await store.deploy(await store.plan_deploy("staging", "production"), write_id=WRITE)
    await store.upload("loki", "staging", OTHER_LOKI)
    other = await store.plan_deploy("staging", "production")

    for plan in (other, written(other)):
        with pytest.raises(InvalidOption, match="belongs to another write"):
            await store.deploy(plan, write_id=WRITE)


async def test_a_repeated_restore_returns_the_first_releases_even_with_a_saved_plan(
    memory: MemoryObjects,
) -> None:
    store = await _two_tools(memory)
    backup = await store.backup("loki", "production")
    await store.upload("loki", "production", OTHER_LOKI)
    plan = await store.plan_restore(backup.key)
    first = await store.restore_environment(written(plan), write_id=WRITE)

    assert await store.restore_environment(written(plan), write_id=WRITE) == first
    await store.prune_backups("production", keep=1)
    assert await store.restore_environment(written(plan), write_id=WRITE) == first
    with pytest.raises(ApmS3Error):
        await store.restore_environment(written(plan))


async def test_a_plan_is_not_carried_out_under_another_prefix(memory: MemoryObjects) -> None:
    ours, theirs = ConfigStore(memory, prefix="ours/"), ConfigStore(memory, prefix="theirs/")
    for store in (ours, theirs):
        await store.upload("loki", "staging", LOKI)
        await store.upload("loki", "production", LOKI)
    backup = await ours.backup("loki", "production")
    deploy, restore = await ours.plan_deploy("staging", "qa", create=True), await ours.plan_restore(backup.key)

    with pytest.raises(InvalidOption, match="prefix 'ours/'"):
        await theirs.deploy(written(deploy))
    with pytest.raises(ApmS3Error):
        await theirs.restore_environment(written(restore), source=ours)
    assert (await theirs.log("production"))[0].action == "upload"
