"""Changes without a release, repeated under a write id of the caller, are recognised by the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from apm_s3.configs import CommitOutcome, ConfigStore, EnvironmentSettings
from apm_s3.errors import ApmS3Error, ConnectionLost, DeadlineExceeded, InvalidOption
from apm_s3.testing import MemoryObjects
from tests.cancellation import cancelled_everywhere
from tests.configs.samples import LOKI, OTHER_LOKI, PROMETHEUS
from tests.configs.test_repair import lose
from tests.configs.test_write_ids import WRITE, Paused

CURRENT = "configs/production/current.json"
LIVE = "live/production/loki/loki.yaml"

Change = Callable[..., Awaitable[Any]]


CHANGES: dict[str, Change] = {
    "mark_good": lambda store, **options: store.mark_good("loki", "production", 1, **options),
    "freeze": lambda store, **options: store.freeze("production", "release day", **options),
    "thaw": lambda store, **options: store.thaw("production", **options),
    "settings": lambda store, **options: store.set_settings(
        "production", EnvironmentSettings(require_message=True), message="strict", **options
    ),
    "settings by a function": lambda store, **options: store.set_settings(
        "production", lambda old: replace(old, require_message=True), message="strict", **options
    ),
    "collect": lambda store, **options: store.collect_garbage("production", keep_revisions=1, **options),
}

OTHERS: dict[str, Change] = {
    "mark_good": lambda store, **options: store.mark_good("loki", "production", 2, **options),
    "freeze": lambda store, **options: store.freeze("production", "another day", **options),
    "thaw": CHANGES["freeze"],
    "settings": lambda store, **options: store.set_settings("production", EnvironmentSettings(), **options),
    "settings by a function": CHANGES["settings"],
    "collect": lambda store, **options: store.collect_garbage("production", keep_revisions=2, **options),
}


@asynccontextmanager
async def world() -> AsyncIterator[tuple[MemoryObjects, ConfigStore]]:
    """Two revisions."""
    memory = MemoryObjects()
    store = ConfigStore(memory)
    await store.upload("loki", "production", LOKI)
    await store.upload("loki", "production", OTHER_LOKI)
    yield memory, store


async def _entries(store: ConfigStore, write_id: str = WRITE) -> list[str]:
    return [entry.action for entry in await store.log("production") if entry.write_id == write_id]


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_repeated_under_its_write_id_is_committed_once(name: str) -> None:
    async with world() as (memory, store):
        first = await CHANGES[name](store, write_id=WRITE)
        document = memory.objects[CURRENT][1]

        again = await CHANGES[name](ConfigStore(memory), write_id=WRITE)

        assert memory.objects[CURRENT][1] == document
        if name == "mark_good":
            assert again == first
        assert len(await _entries(store)) == 1
        assert await store.outcome(WRITE) is CommitOutcome.WON


@pytest.mark.parametrize("name", CHANGES)
async def test_another_change_under_the_same_write_id_is_refused(name: str) -> None:
    async with world() as (memory, store):
        await CHANGES[name](store, write_id=WRITE)
        document = memory.objects[CURRENT][1]

        for other in (OTHERS[name], CHANGES["thaw"] if name != "thaw" else OTHERS["mark_good"]):
            with pytest.raises(InvalidOption, match="belongs to another write"):
                await other(store, write_id=WRITE)
        with pytest.raises(InvalidOption, match="belongs to another write"):
            await store.upload("loki", "production", LOKI, write_id=WRITE)

        assert memory.objects[CURRENT][1] == document


async def test_the_write_id_of_a_release_is_refused_for_a_change_without_a_release() -> None:
    async with world() as (_, store):
        await store.upload("loki", "production", LOKI, write_id=WRITE)

        for change in CHANGES.values():
            with pytest.raises(InvalidOption, match="belongs to another write"):
                await change(store, write_id=WRITE)


@pytest.mark.parametrize("commits", [70, 400], ids=["out of the ring", "many parts ago"])
async def test_a_change_is_recognised_however_many_commits_ago_it_was_made(commits: int) -> None:
    async with world() as (_, store):
        marked = await store.mark_good("loki", "production", write_id=WRITE)
        await store.upload("loki", "production", LOKI)
        for _ in range(commits):
            await store.thaw("production")
        await store.freeze("production", "no changes")

        again = await store.mark_good("loki", "production", write_id=WRITE)

        assert again.ref == marked.ref
        assert again.revision == 2
        assert await store.outcome(WRITE) is CommitOutcome.WON
        with pytest.raises(InvalidOption, match="belongs to another write"):
            await store.thaw("production", write_id=WRITE)


async def test_a_repeated_mark_returns_what_was_marked_even_if_nothing_changed() -> None:
    async with world() as (_, store):
        await store.mark_good("loki", "production")
        await store.mark_good("loki", "production", write_id=WRITE)
        await store.upload("loki", "production", LOKI)

        assert (await store.mark_good("loki", "production", write_id=WRITE)).revision == 2


@pytest.mark.parametrize("same", [True, False], ids=["the same", "another"])
@pytest.mark.parametrize("name", CHANGES)
async def test_two_processes_commit_a_change_once_wherever_one_of_them_pauses(name: str, *, same: bool) -> None:
    for before in range(1, 50):
        async with world() as (memory, store):
            paused = Paused(memory, before)
            theirs = CHANGES[name] if same else OTHERS[name]
            other = asyncio.ensure_future(theirs(ConfigStore(paused), write_id=WRITE))
            reached = asyncio.create_task(paused.reached.wait())
            await asyncio.wait({other, reached}, return_when=asyncio.FIRST_COMPLETED)
            reached.cancel()
            if not paused.reached.is_set():
                break
            refused = 0
            try:
                await CHANGES[name](store, write_id=WRITE)
            except InvalidOption:
                refused += 1
            paused.open.set()
            try:
                await other
            except InvalidOption:
                refused += 1

            assert refused == (0 if same else 1)
            assert len(await _entries(store)) == 1
    assert before > 3


async def test_concurrent_marks_of_the_current_release_return_the_committed_one() -> None:
    async with world() as (memory, store):
        paused = Paused(memory, 3)  # after the reference document and the current release: at the commit
        other = asyncio.create_task(ConfigStore(paused).mark_good("loki", "production", write_id=WRITE))
        await paused.reached.wait()
        await store.upload("loki", "production", LOKI)
        first = await store.mark_good("loki", "production", write_id=WRITE)
        paused.open.set()

        assert (await other).ref == first.ref
        assert first.revision == 3


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_whose_response_was_lost_is_found_by_its_write_id(name: str) -> None:
    async with world() as (memory, store):
        put = memory.put
        lost: list[str] = []

        async def losing(key: str, body: bytes, **options: Any) -> Any:
            info = await put(key, body, **options)
            if key == CURRENT and not lost:
                lost.append(key)
                raise ConnectionLost("the answer was lost")
            return info

        memory.put = losing  # type: ignore[method-assign]
        await CHANGES[name](store, write_id=WRITE)

        assert lost
        assert len(await _entries(store)) == 1


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_cancelled_anywhere_and_repeated_is_made_once(name: str) -> None:
    async def work(here: tuple[MemoryObjects, ConfigStore]) -> Any:
        return await CHANGES[name](here[1], write_id=WRITE)

    outcomes = set()
    async for _, (memory, store) in cancelled_everywhere(world, work):
        await store.finish()
        assert not store.has_unfinished_writes
        outcomes.add(await store.outcome(WRITE))
        await CHANGES[name](ConfigStore(memory), write_id=WRITE)
        assert len(await _entries(store)) == 1
    assert outcomes == {CommitOutcome.WON, CommitOutcome.EXPIRED}


async def test_the_write_id_of_another_change_is_not_mistaken_for_a_lost_response() -> None:
    async with world() as (memory, store):
        paused = Paused(memory, 2)
        other = asyncio.create_task(ConfigStore(paused).freeze("production", "release day", write_id=WRITE))
        await paused.reached.wait()
        await store.thaw("production", write_id=WRITE)
        memory.will_fail("put", ConnectionLost("no answer"), key=CURRENT)
        paused.open.set()

        with pytest.raises(InvalidOption, match="belongs to another write"):
            await other


async def test_two_uploads_of_different_tools_under_one_write_id_commit_once() -> None:
    for before in range(1, 50):
        async with world() as (memory, store):
            paused = Paused(memory, before)
            other = asyncio.create_task(
                ConfigStore(paused).upload("prometheus", "production", PROMETHEUS, write_id=WRITE)
            )
            reached = asyncio.create_task(paused.reached.wait())
            await asyncio.wait({other, reached}, return_when=asyncio.FIRST_COMPLETED)
            reached.cancel()
            if not paused.reached.is_set():
                break
            with suppress(ApmS3Error):
                await store.upload("loki", "production", LOKI, write_id=WRITE)
            paused.open.set()
            with suppress(ApmS3Error):
                await other

            assert len(await _entries(store)) == 1


@asynccontextmanager
async def damaged() -> AsyncIterator[tuple[MemoryObjects, ConfigStore, dict[str, str]]]:
    """The current release has lost its document; the choice that a repair asks for."""
    async with world() as (memory, store):
        old, new = (await store.history("loki", "production"))[::-1]
        assert old.ref is not None
        assert new.ref is not None
        await lose(memory, new.ref.key)
        yield memory, store, {"loki": old.ref.key}


async def test_a_repeated_repair_creates_one_revision_and_updates_live_copies() -> None:
    async with damaged() as (memory, store, choose):
        first = await store.repair("production", choose=choose, write_id=WRITE)
        document = memory.objects[CURRENT][1]
        await memory.delete([LIVE])

        again = await store.repair("production", choose=choose, write_id=WRITE)

        assert memory.objects[CURRENT][1] == document
        assert first.after.ok
        assert again.after.ok
        assert memory.objects[LIVE][1] == LOKI.encode()
        assert await store.outcome(WRITE) is CommitOutcome.WON
        with pytest.raises(InvalidOption, match="belongs to another write"):
            await store.repair("production", write_id=WRITE)


async def test_two_processes_repair_once_under_one_write_id_wherever_one_of_them_pauses() -> None:
    for before in range(1, 200):
        async with damaged() as (memory, store, choose):
            paused = Paused(memory, before)
            other = asyncio.create_task(ConfigStore(paused).repair("production", choose=choose, write_id=WRITE))
            reached = asyncio.create_task(paused.reached.wait())
            await asyncio.wait({other, reached}, return_when=asyncio.FIRST_COMPLETED)
            reached.cancel()
            if not paused.reached.is_set():
                break
            await store.repair("production", choose=choose, write_id=WRITE)
            paused.open.set()
            await other

            assert await _entries(store) == ["repair"]
            assert [release.write_id for release in await store.history("loki", "production")].count(WRITE) == 1
            assert await store.outcome(WRITE) is CommitOutcome.WON
    assert before > 10


async def test_a_repair_cancelled_anywhere_and_repeated_is_made_once() -> None:
    async def work(here: tuple[MemoryObjects, ConfigStore, dict[str, str]]) -> Any:
        return await here[1].repair("production", choose=here[2], write_id=WRITE)

    async for _, (memory, store, choose) in cancelled_everywhere(damaged, work):
        await store.finish()
        report = await ConfigStore(memory).repair("production", choose=choose, write_id=WRITE)
        assert report.after.ok
        assert await _entries(store) == ["repair"]
        assert memory.objects[LIVE][1] == LOKI.encode()


async def test_a_repeated_collection_deletes_what_the_first_one_left() -> None:
    async with world() as (memory, store):
        for _ in range(3):
            await store.upload("loki", "production", LOKI)
            await store.upload("loki", "production", OTHER_LOKI)
        memory.now = time.time() + 25 * 3600
        delete, deleted = memory.delete, []

        async def failing(keys: Any) -> None:
            deleted.append(keys)
            raise ConnectionLost("gone")

        memory.delete = failing  # type: ignore[method-assign]
        with pytest.raises(ConnectionLost):
            await store.collect_garbage("production", keep_revisions=2, write_id=WRITE)
        memory.delete = delete  # type: ignore[method-assign]
        document = memory.objects[CURRENT][1]

        report = await store.collect_garbage("production", keep_revisions=2, write_id=WRITE)

        assert report.releases
        assert memory.objects[CURRENT][1] == document
        assert (await store.fsck("production")).ok
        assert len(await store.history("loki", "production")) == 2


@pytest.mark.parametrize("name", ["repair", "collect"])
async def test_repairs_and_collections_respect_their_timeouts(name: str) -> None:
    async with world() as (memory, store):
        never = asyncio.Event()

        async def read(key: str, **options: Any) -> Any:
            await never.wait()

        memory.read = read  # type: ignore[method-assign]
        with pytest.raises(DeadlineExceeded, match=r"within 0\.01 s"):
            if name == "repair":
                await store.repair("production", timeout=0.01)
            else:
                await store.collect_garbage("production", keep_revisions=1, timeout=0.01)


async def test_a_dry_run_takes_no_write_id() -> None:
    async with world() as (_, store):
        with pytest.raises(InvalidOption, match="dry run"):
            await store.collect_garbage("production", keep_revisions=1, dry_run=True, write_id=WRITE)
        with pytest.raises(InvalidOption, match="not a valid write id"):
            await store.repair("production", write_id="staging." + "ab" * 10)
        with pytest.raises(InvalidOption, match="more than 0 seconds"):
            await store.repair("production", timeout=0)
        with pytest.raises(InvalidOption, match="more than 0 seconds"):
            await store.collect_garbage("production", keep_revisions=1, older_than=timedelta(days=2), timeout=-1)
