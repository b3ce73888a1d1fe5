"""Single rules of the commit protocol that are easier seen alone than in the simulation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from apm_s3._s3_answers import s3_error
from apm_s3.configs import CommitOutcome
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._store import ConfigStore
from apm_s3.errors import AccessDenied, ConditionalWritesUnsupported, InvalidOption, StoreDamaged
from apm_s3.models import FileInfo
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI

CURRENT = "configs/production/current.json"


class Ignoring(MemoryObjects):
    """An endpoint that does not know one of the conditions."""

    def __init__(self, *ignored: str) -> None:
        super().__init__()
        self.ignored = ignored

    async def put(self, key: str, body: bytes, **options: Any) -> FileInfo:
        return await super().put(
            key, body, **{name: value for name, value in options.items() if name not in self.ignored}
        )


@pytest.mark.parametrize("ignored", [("if_match",), ("create",), ("if_match", "create")])
async def test_an_endpoint_that_ignores_conditions_is_refused_for_writes(ignored: tuple[str, ...]) -> None:
    objects = Ignoring(*ignored)

    with pytest.raises(ConditionalWritesUnsupported):
        await ConfigStore(objects).upload("loki", "production", LOKI)

    assert objects.objects == {}


async def test_an_endpoint_that_ignores_conditions_can_be_opted_into() -> None:
    store = ConfigStore(Ignoring("if_match", "create"), require_conditional_writes=False)

    assert (await store.upload("loki", "production", LOKI)).revision == 1


async def test_the_probe_is_made_once_and_leaves_nothing(bucket_objects: ObjectStore) -> None:
    store = ConfigStore(bucket_objects)
    await store.upload("loki", "production", LOKI)

    assert [info.key async for info in bucket_objects.list("configs/production/probe")] == []
    assert store._committer._probe._passed


async def test_a_reference_document_that_vanishes_in_the_middle_of_a_write_is_damage(memory: MemoryObjects) -> None:
    store = ConfigStore(memory)
    await store.upload("loki", "production", LOKI)
    put = memory.put

    async def vanishing(key: str, body: bytes, **options: Any) -> FileInfo:
        if options.get("if_match") and key == CURRENT:
            await memory.delete([CURRENT])
        return await put(key, body, **options)

    memory.put = vanishing
    with pytest.raises(StoreDamaged):
        await store.upload("loki", "production", OTHER_LOKI)
    assert CURRENT not in memory.objects


async def test_a_refused_commit_is_an_error_and_no_mystery(memory: MemoryObjects) -> None:
    store = ConfigStore(memory)
    await store.upload("loki", "production", LOKI)
    put = memory.put

    async def denying(key: str, body: bytes, **options: Any) -> FileInfo:
        if options.get("if_match") and key == CURRENT:
            raise s3_error(operation="put", status=403, s3_code="AccessDenied", bucket="memory", key=key)
        return await put(key, body, **options)

    memory.put = denying
    with pytest.raises(AccessDenied):
        await store.upload("loki", "production", OTHER_LOKI)
    memory.put = put
    assert (await store.download("loki", "production")).text == LOKI


async def test_a_rebase_keeps_what_others_have_changed(memory: MemoryObjects) -> None:
    store, other = ConfigStore(memory), ConfigStore(memory)
    await store.upload("loki", "production", LOKI)
    put = memory.put
    interfered = False

    async def interfering(key: str, body: bytes, **options: Any) -> FileInfo:
        nonlocal interfered
        if options.get("if_match") and key == CURRENT and not interfered:
            interfered = True
            await other.mark_good("loki", "production")
            await other.upload("grafana", "production", "[server]\n")
        return await put(key, body, **options)

    memory.put = interfering
    await store.upload("loki", "production", OTHER_LOKI)

    [grafana, loki] = await store.status("production")
    assert (grafana.revision, loki.revision, loki.good_revision) == (1, 2, 1)


async def test_outcome_is_told_by_the_write_id_alone(store: ConfigStore) -> None:
    release = await store.upload("loki", "production", LOKI)

    assert await store.outcome(release.write_id) is CommitOutcome.WON
    assert await store.outcome("production." + "0" * 20) is CommitOutcome.EXPIRED
    with pytest.raises(InvalidOption):
        await store.outcome("nonsense")


async def test_a_write_cancelled_in_its_commit_comes_to_an_end_first(memory: MemoryObjects) -> None:
    store = ConfigStore(memory)
    await store.upload("loki", "production", LOKI)
    put, reached, go_on = memory.put, asyncio.Event(), asyncio.Event()

    async def waiting(key: str, body: bytes, **options: Any) -> FileInfo:
        if options.get("if_match") and key == CURRENT:
            reached.set()
            await go_on.wait()
        return await put(key, body, **options)

    memory.put = waiting
    task = asyncio.create_task(store.upload("loki", "production", OTHER_LOKI))
    await reached.wait()
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await store.download("loki", "production")).text == OTHER_LOKI
