"""Single rules of the commit protocol that are easier to test alone than in the simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from apm_s3.configs import CommitOutcome, ConfigStore
from apm_s3.errors import (
    AccessDenied,
    ConditionalWritesUnsupported,
    ConfigNotFound,
    InvalidOption,
    RevisionConflict,
    StoreDamaged,
)
from apm_s3.models import FileInfo
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI
from tests.configs.simulation.loop import VirtualLoop
from tests.seams.store import CLEAN_UP, PROBE_CLEAN_UP, ObjectStore, has_probed, waits_for_its_probe

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
    await store.finish()

    assert [info.key async for info in bucket_objects.list("configs/production/probe")] == []
    assert has_probed(store)


class Held(MemoryObjects):
    """A bucket in which requests of some kinds about a probe are not carried out until `go_on` is set."""

    def __init__(self, *held: str) -> None:
        super().__init__()
        self.held = held
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def put(self, key: str, body: bytes, **options: Any) -> FileInfo:
        await self._wait("put", key)
        return await super().put(key, body, **options)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._wait("delete", *keys)
        await super().delete(keys)

    async def _wait(self, verb: str, *keys: str) -> None:
        if verb in self.held and any("/probe-" in key for key in keys):
            self.reached.set()
            await self.go_on.wait()


@pytest.mark.parametrize("held", ["put", "delete"])
@pytest.mark.parametrize("refused", ["upload", "remove"])
async def test_a_write_is_refused_only_after_the_probe_is_cleaned_up(held: str, refused: str) -> None:
    objects = Held(held)
    store = ConfigStore(objects)
    task = asyncio.create_task(
        {
            "upload": lambda: store.upload("loki", "production", LOKI, expect_revision=3),
            "remove": lambda: store.remove("loki", "production"),
        }[refused]()
    )
    await objects.reached.wait()
    for _ in range(100):
        await asyncio.sleep(0)

    assert not task.done()
    objects.go_on.set()
    with pytest.raises((RevisionConflict, ConfigNotFound)):
        await task
    assert not [key for key in objects.objects if "/probe-" in key]


@pytest.mark.parametrize(
    ("held", "timeout", "waited"),
    [("put", None, CLEAN_UP), ("put", 2.0, 2.0), ("delete", None, CLEAN_UP), ("delete", 2.0, 2.0)],
)
def test_a_refusal_does_not_wait_forever_for_a_probe(held: str, timeout: float | None, waited: float) -> None:
    async def refused() -> float:
        store = ConfigStore(Held(held))
        with pytest.raises(RevisionConflict):
            await store.upload("loki", "production", LOKI, expect_revision=3, timeout=timeout)
        after = asyncio.get_running_loop().time()
        await store.finish(timeout=0)
        return after

    assert VirtualLoop().run(refused()) == waited


@pytest.mark.parametrize(
    ("held", "waited"), [(("put",), 0.0), (("delete",), PROBE_CLEAN_UP), (("put", "delete"), PROBE_CLEAN_UP)]
)
def test_closing_does_not_wait_for_a_probe_that_hangs(held: tuple[str, ...], waited: float) -> None:
    async def interrupted() -> float:
        objects = Held(*held)
        store = ConfigStore(objects)
        task = asyncio.create_task(store.upload("loki", "production", LOKI))
        await objects.reached.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await store.finish()
        assert not store.has_unfinished_writes
        return asyncio.get_running_loop().time()

    assert VirtualLoop().run(interrupted()) == waited


async def test_closing_lets_a_write_go_on_that_waits_for_its_probe() -> None:
    objects = Held("put")
    store = ConfigStore(objects)
    task = asyncio.create_task(store.upload("loki", "production", LOKI))
    await objects.reached.wait()
    for _ in range(100):
        await asyncio.sleep(0)
    assert waits_for_its_probe(store)

    closing = asyncio.create_task(store.finish())
    await asyncio.sleep(0)
    objects.go_on.set()

    assert (await task).revision == 1
    await closing


async def test_a_reference_document_that_vanishes_during_a_write_is_damage(memory: MemoryObjects) -> None:
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


async def test_a_refused_commit_is_a_definite_error(memory: MemoryObjects) -> None:
    store = ConfigStore(memory)
    await store.upload("loki", "production", LOKI)
    put = memory.put

    async def denying(key: str, body: bytes, **options: Any) -> FileInfo:
        if options.get("if_match") and key == CURRENT:
            raise AccessDenied("refused", operation="put", status=403, s3_code="AccessDenied", bucket="memory", key=key)
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


async def test_outcome_needs_only_the_write_id(store: ConfigStore) -> None:
    release = await store.upload("loki", "production", LOKI)

    assert await store.outcome(release.write_id) is CommitOutcome.WON
    assert await store.outcome("production." + "0" * 20) is CommitOutcome.EXPIRED
    with pytest.raises(InvalidOption):
        await store.outcome("nonsense")


async def test_a_write_cancelled_during_its_commit_finishes_first(memory: MemoryObjects) -> None:
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


class _IgnoresOnce(MemoryObjects):
    """A bucket that seems to ignore one condition, as after a fault."""

    ignored = False

    async def put(self, key: str, body: bytes, *, create: bool = False, **options: Any) -> FileInfo:
        if create and key in self.objects and not self.ignored:
            self.ignored, create = True, False
        return await super().put(key, body, create=create, **options)


async def test_a_doubtful_probe_is_repeated_before_the_endpoint_is_refused() -> None:
    objects = _IgnoresOnce()
    store = ConfigStore(objects)

    assert (await store.upload("loki", "production", LOKI)).revision == 1
    await store.finish()
    assert objects.ignored
