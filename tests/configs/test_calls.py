"""Calls that are cancelled, repeated under a write id of their caller, or run out of time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from apm_s3 import S3Manager
from apm_s3.configs import CommitOutcome, ConfigStore, Release
from apm_s3.errors import (
    AccessDenied,
    CommitUnknown,
    ConfigNotFound,
    ConnectionLost,
    DeadlineExceeded,
    InvalidOption,
    ManagerClosed,
    RevisionConflict,
)
from apm_s3.models import FileInfo
from apm_s3.testing import MemoryObjects
from tests.cancellation import cancelled_everywhere
from tests.configs.conftest import opened
from tests.configs.samples import LOKI, OTHER_LOKI, PROMETHEUS
from tests.configs.simulation.loop import VirtualLoop
from tests.seams.store import objects_of
from tests.servers import Server

CURRENT = "configs/production/current.json"
LIVE = "live/production/loki/loki.yaml"
WRITE = "production." + "ab" * 10


@pytest.fixture
def store(memory: MemoryObjects) -> ConfigStore:
    return ConfigStore(memory)


class Gate:
    """Holds back the PUTs of some keys."""

    def __init__(self, objects: Any, held: Callable[[str], bool]) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        self._held, self._put = held, objects.put
        objects.put = self.put

    async def put(self, key: str, body: bytes, **options: Any) -> FileInfo:
        if self._held(key):
            self.reached.set()
            await self.open.wait()
        info: FileInfo = await self._put(key, body, **options)
        return info


async def test_live_copies_follow_a_commit_whose_caller_was_cancelled(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    await store.upload("loki", "production", LOKI)
    gate = Gate(memory, lambda key: key == LIVE)
    task = asyncio.create_task(store.upload("loki", "production", OTHER_LOKI, write_id=WRITE))
    await gate.reached.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.has_unfinished_writes
    gate.open.set()
    await store.finish()

    assert memory.objects[LIVE][1] == OTHER_LOKI.encode()
    assert await store.outcome(WRITE) is CommitOutcome.WON
    assert not store.has_unfinished_writes


async def test_wherever_an_upload_is_cancelled_live_copies_match_the_commit() -> None:
    @asynccontextmanager
    async def world() -> AsyncIterator[tuple[MemoryObjects, ConfigStore]]:
        memory = MemoryObjects()
        store = ConfigStore(memory)
        await store.upload("loki", "production", LOKI)
        yield memory, store

    async def work(here: tuple[MemoryObjects, ConfigStore]) -> Release:
        return await here[1].upload("loki", "production", OTHER_LOKI)

    seen = set()
    async for _, (memory, store) in cancelled_everywhere(world, work):
        await store.finish()
        text = (await store.download("loki", "production")).text
        assert memory.objects[LIVE][1].decode() == text
        seen.add(text)
    assert seen == {LOKI, OTHER_LOKI}


async def test_closing_a_manager_waits_for_the_work_after_a_commit(moto: Server, bucket_name: str) -> None:
    async with opened(moto) as s3:
        await s3.create_bucket(bucket_name)
        store = s3.configs(bucket_name)
        await store.upload("loki", "production", LOKI)
        gate = Gate(objects_of(store), lambda key: key == LIVE)
        task = asyncio.create_task(store.upload("loki", "production", OTHER_LOKI))
        await gate.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        closing = asyncio.create_task(s3.aclose())
        gate.open.set()
        await closing
        with pytest.raises(ManagerClosed):
            await store.download("loki", "production")

    async with S3Manager(region=moto.region, endpoint_url=moto.endpoint_url, credentials=moto.credentials) as other:
        assert await other.read_file(bucket_name, LIVE) == OTHER_LOKI.encode()


async def test_finishing_cancels_work_that_does_not_end(store: ConfigStore, memory: MemoryObjects) -> None:
    gate = Gate(memory, lambda key: key == LIVE)
    task = asyncio.create_task(store.upload("loki", "production", LOKI))
    await gate.reached.wait()
    task.cancel()

    await store.finish(timeout=0)

    assert not store.has_unfinished_writes
    with pytest.raises(asyncio.CancelledError):
        await task


# A write id of the caller


async def _repeated(store: ConfigStore, call: Callable[[str], Any]) -> None:
    """The same call twice under one id, with another commit between them."""
    write_id = store.new_write_id("production")
    first = await call(write_id)
    await store.upload("loki", "production", f"{LOKI}# by somebody else\n")

    assert await call(write_id) == first
    assert (await store.history("loki", "production"))[0].message != "twice"


async def test_a_repeated_write_id_returns_the_first_release(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)
    await store.upload("loki", "staging", OTHER_LOKI)
    backup = await store.backup("loki", "staging")

    async def deploy(write_id: str) -> tuple[Release, ...]:
        return (await store.deploy(plan, message="twice", write_id=write_id)).releases

    await _repeated(
        store,
        lambda write_id: store.upload(
            "loki", "production", OTHER_LOKI, message="twice", expect_revision=1, write_id=write_id
        ),
    )
    await _repeated(store, lambda write_id: store.remove("loki", "production", message="twice", write_id=write_id))
    await _repeated(
        store,
        lambda write_id: store.rollback("loki", "production", to_revision=1, message="twice", write_id=write_id),
    )
    await _repeated(
        store,
        lambda write_id: store.restore(backup.key, environment="production", message="twice", write_id=write_id),
    )
    plan = await store.plan_deploy("staging", "production")
    await _repeated(store, deploy)


async def test_a_repeated_upload_of_one_file_is_recognised_by_that_file(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)
    rules = "groups: []\n"
    first = await store.upload("loki", "production", rules, name="rules/a.yaml", write_id=WRITE)
    await store.upload("loki", "production", OTHER_LOKI)

    assert await store.upload("loki", "production", rules, name="rules/a.yaml", write_id=WRITE) == first
    assert len(await store.history("loki", "production")) == 3


async def test_a_write_id_is_recognised_beyond_the_newest_commits(store: ConfigStore) -> None:
    first = await store.upload("loki", "production", LOKI, write_id=WRITE)
    for number in range(70):
        await store.mark_good("loki", "production", message=f"{number}")

    assert await store.upload("loki", "production", LOKI, write_id=WRITE) == first


async def test_another_write_under_the_same_write_id_is_refused(store: ConfigStore, memory: MemoryObjects) -> None:
    await store.upload("loki", "production", LOKI, write_id=WRITE)
    before = memory.objects[CURRENT]

    for call in (
        store.upload("loki", "production", OTHER_LOKI, write_id=WRITE),
        store.upload("loki", "production", files={"loki.yaml": LOKI, "rules/a.yaml": "groups: []\n"}, write_id=WRITE),
        store.upload("prometheus", "production", PROMETHEUS, write_id=WRITE),
        store.remove("loki", "production", write_id=WRITE),
        store.rollback("loki", "production", to_revision=1, write_id=WRITE),
    ):
        with pytest.raises(InvalidOption, match="belongs to another write"):
            await call
    assert memory.objects[CURRENT] == before


@pytest.mark.parametrize("write_id", ["staging." + "ab" * 10, "production", "production.xyz", "", "../x"])
async def test_an_invalid_write_id_is_refused(write_id: str, store: ConfigStore, memory: MemoryObjects) -> None:
    with pytest.raises(InvalidOption, match="not a valid write id"):
        await store.upload("loki", "production", LOKI, write_id=write_id)
    assert not memory.objects


async def test_the_same_write_from_two_processes_at_once_is_made_once(memory: MemoryObjects) -> None:
    stores = [ConfigStore(memory) for _ in range(4)]
    await stores[0].upload("loki", "production", LOKI)

    made = await asyncio.gather(
        *(store.upload("loki", "production", OTHER_LOKI, expect_revision=1, write_id=WRITE) for store in stores),
        *(stores[0].upload("loki", "production", OTHER_LOKI, expect_revision=1, write_id=WRITE) for _ in range(2)),
    )

    assert len({release.ref for release in made}) == 1
    assert [release.revision for release in await stores[0].history("loki", "production")] == [2, 1]


async def _cut_short(store: ConfigStore, memory: MemoryObjects) -> None:
    """An upload that has stored its documents when its process dies."""
    put = memory.put

    async def dying(key: str, body: bytes, **options: Any) -> FileInfo:
        if key == CURRENT and options.get("if_match"):
            raise AccessDenied("refused", operation="put", status=403, s3_code="AccessDenied", bucket="memory", key=key)
        return await put(key, body, **options)

    memory.put = dying
    with pytest.raises(AccessDenied):
        await store.upload("loki", "production", OTHER_LOKI, write_id=WRITE)
    memory.put = put


async def test_an_interrupted_write_is_completed_under_its_write_id(store: ConfigStore, memory: MemoryObjects) -> None:
    await store.upload("loki", "production", LOKI)
    await _cut_short(store, memory)

    with pytest.raises(InvalidOption, match="belongs to another write"):
        await store.upload("loki", "production", f"{LOKI}# other\n", write_id=WRITE)
    release = await ConfigStore(memory).upload("loki", "production", OTHER_LOKI, write_id=WRITE)

    assert (release.revision, release.write_id) == (2, WRITE)
    assert (await store.fsck("production")).leftovers == ()
    assert await store.outcome(WRITE) is CommitOutcome.WON


async def test_a_lost_write_remains_lost_under_its_write_id(store: ConfigStore, memory: MemoryObjects) -> None:
    await store.upload("loki", "production", LOKI)
    await _cut_short(store, memory)
    await store.upload("loki", "production", f"{LOKI}# faster\n")

    with pytest.raises(RevisionConflict, match="has lost"):
        await store.upload("loki", "production", OTHER_LOKI, write_id=WRITE)
    assert await store.outcome(WRITE) is CommitOutcome.LOST


async def test_a_write_interrupted_long_ago_is_not_completed_any_more(memory: MemoryObjects) -> None:
    memory.now = 1_800_000_000.0
    store = ConfigStore(memory)
    await store.upload("loki", "production", LOKI)
    await _cut_short(store, memory)
    memory.now += 14.5 * 60

    with pytest.raises(InvalidOption, match="14 minutes ago"):
        await store.upload("loki", "production", OTHER_LOKI, write_id=WRITE)

    memory.now += 60
    assert await store.outcome(WRITE) is CommitOutcome.LOST


# One deadline


HELD = {
    "a blob": lambda key: "/blobs/" in key,
    "a release document": lambda key: "/releases/" in key,
}


@pytest.mark.parametrize("held", list(HELD))
async def test_a_timeout_before_the_commit_changes_nothing(
    held: str, store: ConfigStore, memory: MemoryObjects
) -> None:
    await store.upload("loki", "production", LOKI)
    before = memory.objects[CURRENT]
    Gate(memory, HELD[held])

    with pytest.raises(DeadlineExceeded, match="nothing was changed") as caught:
        await store.upload("loki", "production", OTHER_LOKI, timeout=0.05)
    assert not caught.value.may_have_happened
    with pytest.raises(DeadlineExceeded, match="nothing was changed"):
        await ConfigStore(memory, deadline=0.05).upload("loki", "production", OTHER_LOKI)

    assert memory.objects[CURRENT] == before


async def test_a_timeout_while_reading_the_current_state_changes_nothing(
    store: ConfigStore, memory: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.upload("loki", "production", LOKI)

    async def hung(key: str, **options: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(memory, "read", hung)
    for call in (
        store.upload("loki", "production", OTHER_LOKI, timeout=0.05),
        store.remove("loki", "production", timeout=0.05),
        store.rollback("loki", "production", to_revision=1, timeout=0.05),
        store.mark_good("loki", "production", timeout=0.05),
        store.freeze("production", "why", timeout=0.05),
        store.thaw("production", timeout=0.05),
    ):
        with pytest.raises(DeadlineExceeded, match="nothing was changed"):
            await call


def test_a_timeout_during_the_commit_leaves_the_outcome_unknown(store: ConfigStore, memory: MemoryObjects) -> None:
    put, read = memory.put, memory.read

    async def silent(key: str, body: bytes, **options: Any) -> FileInfo:
        if key == CURRENT and options.get("if_match"):
            await put(key, body, **options)
            memory.put = put
            memory.read = hung
            lost = ConnectionLost("no answer", operation="put")
            lost.sent = True
            raise lost
        return await put(key, body, **options)

    async def hung(key: str, **options: Any) -> Any:
        await asyncio.Event().wait()

    async def scene() -> None:
        await store.upload("loki", "production", LOKI)
        memory.put = silent
        with pytest.raises(CommitUnknown) as unknown:
            await store.upload("loki", "production", OTHER_LOKI, timeout=0.2)
        memory.read = read

        assert await store.outcome(unknown.value.write_id) is CommitOutcome.WON

    VirtualLoop().run(scene())


def test_a_commit_without_an_answer_is_not_sent_after_its_window(store: ConfigStore, memory: MemoryObjects) -> None:
    """After 15 minutes, others may have ruled it out."""
    put, sent_at = memory.put, []

    async def silent(key: str, body: bytes, **options: Any) -> FileInfo:
        if key == CURRENT and options.get("if_match"):
            sent_at.append(asyncio.get_running_loop().time())
            raise ConnectionLost("no answer", operation="put")
        return await put(key, body, **options)

    async def scene() -> float:
        await store.upload("loki", "production", LOKI)
        memory.put = silent
        begun = asyncio.get_running_loop().time()
        with pytest.raises(CommitUnknown):
            await store.upload("loki", "production", OTHER_LOKI, timeout=3600)
        return begun

    begun = VirtualLoop().run(scene())

    assert 13 * 60 < sent_at[-1] - begun < 15 * 60


def test_a_timeout_after_the_commit_returns_the_release_and_live_copies_follow(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    async def scene() -> None:
        gate = Gate(memory, lambda key: key == LIVE)

        release = await store.upload("loki", "production", LOKI, timeout=0.3)

        assert release.live_pending
        gate.open.set()
        await store.finish()
        assert memory.objects[LIVE][1] == LOKI.encode()

    VirtualLoop().run(scene())


async def test_the_timeout_includes_waiting_for_other_writers_of_this_process(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    await store.upload("loki", "production", LOKI)
    gate = Gate(memory, lambda key: key == CURRENT)
    other = asyncio.create_task(store.mark_good("loki", "production"))
    await gate.reached.wait()

    with pytest.raises(DeadlineExceeded, match="nothing was changed"):
        await store.upload("loki", "production", OTHER_LOKI, timeout=0.05)

    gate.open.set()
    await other


WRONG: dict[str, Callable[[ConfigStore, Any], Any]] = {
    "no releases": lambda store, _: store.history("loki", "production", limit=0),
    "no entries": lambda store, _: store.log("production", limit=0),
    "a time without a zone": lambda store, _: store.log("production", since=datetime(2026, 1, 1)),  # noqa: DTZ001
    "a directory and an environment": lambda store, _: store.diff(
        "loki", "production", directory=".", to_environment="staging"
    ),
    "a directory and a revision": lambda store, _: store.diff("loki", "production", directory=".", new_revision=1),
    "a plan and its target": lambda store, plan: store.deploy(plan, target=store),
    "a plan and its variables": lambda store, plan: store.deploy(plan, variables={}),
    "a drill elsewhere": lambda store, _: store.restore("backups/x/", drill=True, environment="production"),
    "a drill under a write id": lambda store, _: store.restore("backups/x/", drill=True, write_id=WRITE),
    "a drill in time": lambda store, _: store.restore("backups/x/", drill=True, timeout=5),
    "a watch without pauses": lambda store, _: anext(store.watch_log("production", interval=0)),
}


@pytest.mark.parametrize("wrong", list(WRONG))
async def test_arguments_that_exclude_each_other_are_refused_before_anything_is_sent(
    wrong: str, store: ConfigStore, memory: MemoryObjects
) -> None:
    await store.upload("loki", "staging", LOKI)
    plan = await store.plan_deploy("staging", "production", create=True)
    before = dict(memory.objects)

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("something was sent")

    for verb in ("read", "put", "list", "delete"):
        setattr(memory, verb, refuse)
    with pytest.raises(InvalidOption):
        await WRONG[wrong](store, plan)

    assert memory.objects == before


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
async def test_an_invalid_timeout_is_refused(timeout: float, store: ConfigStore) -> None:
    with pytest.raises(InvalidOption, match="timeout"):
        await store.upload("loki", "production", LOKI, timeout=timeout)


async def test_a_refused_call_leaves_no_environment(store: ConfigStore, memory: MemoryObjects) -> None:
    with pytest.raises(ConfigNotFound):
        await store.remove("loki", "production", write_id=WRITE)
    await store.finish()
    assert not memory.objects
