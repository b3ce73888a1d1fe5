"""Cached configurations: which requests a read makes, when it is current, and what the cache never decides."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from apm_s3 import CacheSettings, ConfigStore
from apm_s3.errors import ConfigNotFound, ConnectFailed, InvalidOption, StoreDamaged
from apm_s3.testing import MemoryObjects
from tests.cancellation import cancelled_everywhere
from tests.seams.cache import (
    Cache,
    StoreCache,
    entries_of,
    evict,
    grow_older,
    loads_of,
    make_cache,
    object_group,
    tasks_of,
)

FIRST = "global: {scrape_interval: 15s}\n"
SECOND = "global: {scrape_interval: 30s}\n"


class Objects:
    """A bucket that counts requests, suspends in each, and lets its own writes invalidate, as a manager does."""

    def __init__(self, inner: MemoryObjects) -> None:
        self.inner = inner
        self.bucket = inner.bucket
        self.reads: Counter[str] = Counter()
        self.cache: Cache | None = None
        self.down = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def read(self, key: str, **options: Any) -> Any:
        self.reads[key.rpartition("/")[2] if "current" in key else key.split("/")[-2]] += 1
        await asyncio.sleep(0)
        if self.down:
            raise ConnectFailed("no answer")
        return await self.inner.read(key, **options)

    async def put(self, key: str, body: bytes, **options: Any) -> Any:
        try:
            return await self.inner.put(key, body, **options)
        finally:
            if self.cache is not None:
                self.cache.forget(object_group(self.bucket, key))


@dataclass
class World:
    """A store with a memory, and another process's store on the same bucket, without."""

    objects: Objects
    cache: Cache
    store: ConfigStore
    other: ConfigStore

    def age(self, seconds: float) -> None:
        grow_older(self.cache, seconds)


async def make_world(settings: CacheSettings) -> World:
    objects = Objects(MemoryObjects())
    cache = objects.cache = make_cache(settings)
    cached = StoreCache(cache, staleness=settings.current_staleness, stale_if_error=settings.stale_if_error)
    world = World(objects, cache, ConfigStore(objects, cache=cached), ConfigStore(objects.inner))
    await world.other.upload("prometheus", "production", FIRST)
    return world


@pytest.fixture
async def strict() -> AsyncIterator[World]:
    """As a manager is by default."""
    world = await make_world(CacheSettings())
    yield world
    await world.cache.aclose()


@pytest.fixture
async def lax() -> AsyncIterator[World]:
    """Ten seconds of staleness, and an hour in an outage."""
    world = await make_world(CacheSettings(current_staleness=10.0, stale_if_error=3600.0))
    yield world
    await world.cache.aclose()


async def test_a_thousand_concurrent_cold_downloads_make_three_requests(strict: World, lax: World) -> None:
    for world in (strict, lax):
        files = await asyncio.gather(*(world.store.download("prometheus", "production") for _ in range(1000)))
        assert {file.text for file in files} == {FIRST}
        assert world.objects.reads == {"current.json": 1, "releases": 1, "blobs": 1}


async def test_a_warm_download_makes_one_request_and_sees_writes_of_others(strict: World) -> None:
    await strict.store.download("prometheus", "production")
    await strict.store.download("prometheus", "production")
    assert strict.objects.reads == {"current.json": 2, "releases": 1, "blobs": 1}
    await strict.other.upload("prometheus", "production", SECOND)
    assert (await strict.store.download("prometheus", "production")).text == SECOND


async def test_a_download_within_the_allowed_staleness_makes_no_request(lax: World) -> None:
    await lax.store.download("prometheus", "production")
    hits = lax.cache.hits
    for _ in range(3):
        assert (await lax.store.download("prometheus", "production")).text == FIRST
    assert lax.cache.hits == hits + 3
    assert (await lax.store.download_bundle("prometheus", "production")).main.text == FIRST
    assert (await lax.store.download_environment("production"))["prometheus"].main.text == FIRST
    assert sum(lax.objects.reads.values()) == 3


async def test_writes_of_others_are_visible_after_the_staleness(lax: World) -> None:
    await lax.store.download("prometheus", "production")
    await lax.other.upload("prometheus", "production", SECOND)
    assert (await lax.store.download("prometheus", "production")).text == FIRST
    assert (await lax.store.download("prometheus", "production", refresh=True)).text == SECOND
    await lax.other.upload("prometheus", "production", FIRST)
    lax.age(10.0)
    assert (await lax.store.download("prometheus", "production")).revision == 3


async def test_writes_of_this_process_are_visible_immediately(lax: World) -> None:
    await lax.store.download("prometheus", "production")
    await lax.store.upload("prometheus", "production", SECOND)
    assert (await lax.store.download("prometheus", "production")).text == SECOND


async def test_what_a_watch_reported_is_read_after_that(lax: World) -> None:
    async with aclosing(lax.store.watch("production", interval=0.001)) as watch:
        await anext(watch)
        assert (await lax.store.download("prometheus", "production")).revision == 1
        for number in (2, 3):
            await lax.other.upload("prometheus", "production", f"{FIRST}# {number}\n")
            assert (await anext(watch)).revision == number
            assert (await lax.store.download("prometheus", "production")).revision == number


async def test_writes_and_other_reads_use_no_cached_state(lax: World) -> None:
    await lax.store.download("prometheus", "production")
    await lax.other.upload("prometheus", "production", SECOND)
    assert [release.revision for release in await lax.store.history("prometheus", "production")] == [2, 1]
    await lax.other.upload("prometheus", "production", FIRST)
    release = await lax.store.upload("prometheus", "production", SECOND, expect_revision=3)
    assert release.revision == 4


async def test_the_cache_never_decides_that_something_is_missing(lax: World) -> None:
    await lax.store.download("prometheus", "production")
    with pytest.raises(ConfigNotFound):
        await lax.store.download("prometheus", "production", "rules/new.yml")
    await lax.other.upload("prometheus", "production", "groups: []\n", name="rules/new.yml")
    assert (await lax.store.download("prometheus", "production", "rules/new.yml")).text == "groups: []\n"
    await lax.other.upload("loki", "production", "auth_enabled: false\n", force="a test's")
    assert (await lax.store.download("loki", "production")).revision == 1


async def test_the_cache_never_decides_that_a_store_is_damaged(lax: World) -> None:
    await lax.store.download_bundle("prometheus", "production")
    await lax.other.upload("prometheus", "production", SECOND)
    # What the remembered document names has been collected since, and is remembered no more.
    for key in [key for key in lax.objects.objects if "/blobs/" in key or "/releases/00000001" in key]:
        if SECOND.encode() != lax.objects.objects[key][1]:
            del lax.objects.objects[key]
    for entry in entries_of(lax.cache):
        if entry.key.detail != "current":
            evict(lax.cache, entry)
    assert (await lax.store.download("prometheus", "production")).text == SECOND


async def test_checks_for_damage_bypass_the_cache(lax: World) -> None:
    await lax.store.download("prometheus", "production")
    for key in [key for key in lax.objects.objects if "/blobs/" in key]:
        del lax.objects.objects[key]
    assert (await lax.store.download("prometheus", "production")).text == FIRST
    assert not (await lax.store.fsck("production")).ok
    lax.cache.clear()
    with pytest.raises(StoreDamaged):
        await lax.store.download("prometheus", "production")


async def test_during_an_outage_cached_data_is_returned_with_its_age(lax: World) -> None:
    assert (await lax.store.download("prometheus", "production")).stale_since is None
    lax.objects.down = True
    lax.age(11)
    for _ in range(2):
        file = await lax.store.download("prometheus", "production")
        assert (file.text, file.stale_since is None) == (FIRST, False)
    assert lax.objects.reads["current.json"] == 2, "the second one did not wait for another failure"
    assert (await lax.store.download_bundle("prometheus", "production")).stale_since is not None
    with pytest.raises(ConnectFailed):
        await lax.store.download("prometheus", "production", refresh=True)
    with pytest.raises(ConnectFailed):
        await lax.store.history("prometheus", "production")
    lax.age(3600)
    with pytest.raises(ConnectFailed):
        await lax.store.download("prometheus", "production")
    lax.objects.down = False
    assert (await lax.store.download("prometheus", "production")).stale_since is None


async def test_nothing_stale_is_returned_unless_requested(strict: World) -> None:
    await strict.store.download("prometheus", "production")
    strict.objects.down = True
    with pytest.raises(ConnectFailed):
        await strict.store.download("prometheus", "production")


async def test_each_caller_gets_its_own_data(lax: World) -> None:
    first = await lax.store.download("prometheus", "production")
    second = await lax.store.download("prometheus", "production")
    third = (await lax.store.download_bundle("prometheus", "production")).main
    first.data["global"]["scrape_interval"] = "changed"
    first.data["more"] = 1
    assert second.data == third.data == {"global": {"scrape_interval": "15s"}}
    assert first.data["more"] == 1, "and it stays what the caller made of it"
    second.data["more"] = 2
    assert "more" not in (await lax.store.download("prometheus", "production")).data


async def test_a_download_from_memory_counts_as_a_use(lax: World) -> None:
    await lax.store.download("prometheus", "production")
    for entry in entries_of(lax.cache):
        if entry.key.detail[0] == "release":
            lax.cache.touch(entry)
    await lax.store.download("prometheus", "production")
    details = [entry.key.detail for entry in entries_of(lax.cache)]
    assert [each if isinstance(each, str) else each[0] for each in details] == ["release", "current", "content"]


async def test_a_cached_file_behaves_like_any_other(lax: World) -> None:
    plain = await lax.other.download("prometheus", "production")
    await lax.store.download("prometheus", "production")
    file = await lax.store.download("prometheus", "production")
    assert file == plain
    assert (file.etag, file.text, file.size, repr(file)) == (plain.etag, plain.text, plain.size, repr(plain))
    assert pickle.loads(pickle.dumps(file)) == copy.copy(file) == copy.deepcopy(file) == plain
    assert pickle.loads(pickle.dumps(file)).data == plain.data


async def test_parsed_data_counts_towards_the_limit_of_bytes(lax: World) -> None:
    file = await lax.store.download("prometheus", "production")
    before = lax.cache.stats().bytes
    await asyncio.to_thread(lambda: file.data)
    await asyncio.sleep(0)
    assert lax.cache.stats().bytes > before


async def test_the_counted_bytes_are_those_that_small_files_take(lax: World) -> None:
    rules = {f"rules/{number}.yml": f"groups: []\n# {number}\n" for number in range(100)}
    await lax.other.upload("prometheus", "production", files={"prometheus.yml": FIRST, **rules})
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for name in rules:
        _ = (await lax.store.download("prometheus", "production", name)).data
    await asyncio.sleep(0)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert lax.cache.stats().entries > 100
    assert 0.6 < taken / lax.cache.stats().bytes < 1.6


async def test_evicted_content_is_read_again(lax: World) -> None:
    await lax.store.download("prometheus", "production")
    for entry in entries_of(lax.cache):
        if entry.key.detail != "current":
            evict(lax.cache, entry)
    assert (await lax.store.download("prometheus", "production")).text == FIRST
    assert lax.objects.reads == {"current.json": 1, "releases": 2, "blobs": 2}


async def test_arguments_are_also_checked_if_the_cache_is_warm(lax: World) -> None:
    await lax.store.download("prometheus", "production")
    for wrong in ([], {}, 1, None):
        with pytest.raises((InvalidOption, ValueError)):
            await lax.store.download("prometheus", wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        await lax.store.download(["prometheus"], "production")  # type: ignore[arg-type]


async def test_the_first_of_several_downloads_can_be_cancelled(strict: World) -> None:
    tasks = [asyncio.create_task(strict.store.download("prometheus", "production")) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    assert [(await task).text for task in tasks[1:]] == [FIRST] * 2
    assert sum(strict.objects.reads.values()) == 3


async def test_a_download_cancelled_anywhere_leaves_no_task_and_no_wrong_result() -> None:
    @asynccontextmanager
    async def world() -> AsyncIterator[World]:
        made = await make_world(CacheSettings(current_staleness=10.0))
        try:
            yield made
        finally:
            await made.cache.aclose()

    turns = 0
    async for _, here in cancelled_everywhere(world, lambda here: here.store.download("prometheus", "production")):
        turns += 1
        await asyncio.sleep(0)  # what has ended is unlinked in the loop's next turn
        assert not loads_of(here.cache)
        assert not tasks_of(here.cache, "read")
        assert (await here.store.download("prometheus", "production")).text == FIRST
    assert turns > 5
