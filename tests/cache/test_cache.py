"""The cache, one rule at a time. `Source` is the cached server: its requests complete when the test says so."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apm_s3.errors import AccessDenied, ApmS3Error, ConnectFailed, ManagerClosed, ObjectNotFound
from tests.seams.cache import (
    OUTAGE_PAUSE,
    OVERHEAD,
    Cache,
    CacheRead,
    Key,
    Policy,
    cancel_while_closing,
    clean_all_the_time,
    cleaner_of,
    entries_of,
    loads_of,
    tasks_of,
)

KEY = Key(("object", "bucket", "key"), "body")
POLICY: Policy[str] = Policy(
    cost=len, ttl=10.0, stale_if_error=20.0, absent=(ObjectNotFound,), negative_ttl=3.0, max_cost=50
)
ALWAYS_ASKED: Policy[str] = Policy(cost=len, ttl=0.0, keep=60.0)
FOR_EVER: Policy[str] = Policy(cost=len, ttl=float("inf"))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Source:
    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.requests: list[asyncio.Future[str]] = []
        self.olds: list[str | None] = []
        self.ended = 0

    async def load(self, old: str | None) -> str:
        self.olds.append(old)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.requests.append(answer)
        try:
            return await answer
        finally:
            self.ended += 1

    def ask(self, policy: Policy[str] = POLICY, key: Key = KEY, **options: Any) -> asyncio.Task[CacheRead[str]]:
        return asyncio.create_task(self.cache.fetch(key, policy, self.load, **options))

    async def get(self, answer: str | ApmS3Error, policy: Policy[str] = POLICY, **options: Any) -> CacheRead[str]:
        """Read, and complete the request that this makes."""
        task = self.ask(policy, **options)
        await turns()
        self.answer(answer)
        return await task

    def answer(self, answer: str | ApmS3Error, number: int = -1) -> None:
        if isinstance(answer, ApmS3Error):
            self.requests[number].set_exception(answer)
        else:
            self.requests[number].set_result(answer)


async def turns() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def cache(clock: Clock) -> AsyncIterator[Cache]:
    cache = Cache(max_entries=10, max_bytes=10_000, ttl=10.0, clock=clock)
    yield cache
    await cache.aclose()
    assert not tasks_of(cache)


@pytest.fixture
def source(cache: Cache) -> Source:
    return Source(cache)


async def test_a_fresh_value_needs_no_request(source: Source, clock: Clock) -> None:
    await source.get("one")
    clock.now += 9.9
    assert (await source.ask()).value == "one"
    assert len(source.requests) == 1


async def test_the_age_of_a_value_counts_from_the_start_of_its_request(source: Source, clock: Clock) -> None:
    task = source.ask()
    await turns()
    clock.now += 9
    source.answer("one")
    await task
    clock.now += 1
    assert (await source.get("two")).value == "two"


async def test_a_thousand_cold_reads_of_one_key_make_one_request(source: Source, cache: Cache) -> None:
    for policy in (POLICY, ALWAYS_ASKED, FOR_EVER):
        cache.clear()
        requests, coalesced = len(source.requests), cache.stats().coalesced
        tasks = [source.ask(policy) for _ in range(1000)]
        await turns()
        assert len(source.requests) == requests + 1
        source.answer("one")
        assert {found.value for found in await asyncio.gather(*tasks)} == {"one"}
        assert cache.stats().coalesced == coalesced + 999


async def test_a_call_for_the_current_state_does_not_join_an_earlier_read(source: Source) -> None:
    first = source.ask(ALWAYS_ASKED)
    await turns()
    second = source.ask(ALWAYS_ASKED)
    third = source.ask(ALWAYS_ASKED)
    await turns()
    assert len(source.requests) == 2
    source.answer("new", 1)
    source.answer("old", 0)
    assert [(await task).value for task in (first, second, third)] == ["old", "new", "new"]
    # The value of the read that began later is kept, although the other one ended after it.
    await source.get("newest", ALWAYS_ASKED)
    assert source.olds[-1] == "new"


async def test_a_later_read_that_was_faster_is_not_overwritten(source: Source, clock: Clock, cache: Cache) -> None:
    first = source.ask()
    await turns()
    clock.now += 1
    second = source.ask(refresh=True)
    await turns()
    source.answer("new", 1)
    await second
    source.answer("old", 0)
    assert (await first).value == "old"
    assert (await source.ask()).value == "new"


@pytest.mark.parametrize("absent", [False, True])
async def test_a_read_overtaken_by_a_write_is_not_cached(source: Source, cache: Cache, absent: bool) -> None:
    before = source.ask()
    await turns()
    cache.forget(KEY.group)
    after = source.ask()
    await turns()
    assert len(source.requests) == 2
    source.answer("new", 1)
    assert (await after).value == "new"
    source.answer(ObjectNotFound("not there") if absent else "old", 0)
    await asyncio.wait([before])
    assert (await source.ask()).value == "new"
    assert absent == isinstance(before.exception(), ObjectNotFound)


@pytest.mark.parametrize("absent", [False, True])
async def test_a_read_overtaken_by_a_write_leaves_nothing(source: Source, cache: Cache, absent: bool) -> None:
    task = source.ask()
    await turns()
    cache.forget(KEY.group)
    source.answer(ObjectNotFound("not there") if absent else "old")
    await asyncio.wait([task])
    assert cache.stats().entries == 0


async def test_reads_in_progress_when_the_cache_is_cleared_are_not_cached(source: Source, cache: Cache) -> None:
    task = source.ask()
    await turns()
    cache.clear()
    source.answer("old")
    await task
    assert cache.stats().entries == 0


async def test_the_first_of_several_readers_can_be_cancelled(source: Source) -> None:
    first, second, third = source.ask(), source.ask(), source.ask()
    await turns()
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    source.answer("one")
    assert [(await task).value for task in (second, third)] == ["one", "one"]
    assert len(source.requests) == 1


async def test_a_read_without_waiters_is_cancelled(source: Source, cache: Cache) -> None:
    tasks = [source.ask(), source.ask()]
    await turns()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert source.ended == 1
    assert not tasks_of(cache)
    assert (await source.get("one")).value == "one"


async def test_a_read_cancelled_at_its_start_leaves_nothing(source: Source, cache: Cache) -> None:
    task = source.ask()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert source.ended == len(source.requests)
    assert not tasks_of(cache)
    assert not loads_of(cache)


async def test_each_caller_gets_its_own_error(source: Source) -> None:
    tasks = [source.ask(), source.ask()]
    await turns()
    source.answer(AccessDenied("no", status=403))
    await asyncio.wait(tasks)
    errors = [task.exception() for task in tasks]
    assert all(isinstance(error, AccessDenied) and error.status == 403 for error in errors)
    assert errors[0] is not errors[1]


async def test_a_failure_is_not_cached(source: Source, cache: Cache) -> None:
    with pytest.raises(AccessDenied):
        await source.get(AccessDenied("no"))
    assert cache.stats().entries == 0
    assert (await source.get("one")).value == "one"


async def test_an_absence_is_cached_for_a_short_time(source: Source, clock: Clock) -> None:
    with pytest.raises(ObjectNotFound):
        await source.get(ObjectNotFound("not there"))
    clock.now += 2.9
    with pytest.raises(ObjectNotFound) as caught:
        await source.ask()
    with pytest.raises(ObjectNotFound) as again:
        await source.ask()
    assert caught.value is not again.value
    # Frames keep alive what they have seen.
    assert [entry.value.__traceback__ for entry in entries_of(source.cache)] == [None]
    clock.now += 0.2
    assert (await source.get("one")).value == "one"


@pytest.mark.parametrize(("age", "requests"), [(2.0, 1), (5.0, 2)])
async def test_an_absence_that_another_read_found_is_not_older_than_a_cached_one(
    source: Source, clock: Clock, age: float, requests: int
) -> None:
    first = source.ask()
    await turns()
    clock.now += age
    second = source.ask()
    await turns()
    source.answer(ObjectNotFound("not there"))
    await turns()

    assert len(source.requests) == requests
    if requests == 2:
        source.answer("made meanwhile")
        assert (await second).value == "made meanwhile"
    else:
        assert isinstance((await asyncio.gather(second, return_exceptions=True))[0], ObjectNotFound)
    assert isinstance(first.exception(), ObjectNotFound)


@pytest.mark.parametrize("negative_ttl", [3.0, 0.0])
async def test_an_absence_replaces_a_cached_value(source: Source, clock: Clock, negative_ttl: float) -> None:
    policy = POLICY._replace(negative_ttl=negative_ttl)
    await source.get("one", policy)
    clock.now += 11
    with pytest.raises(ObjectNotFound):
        await source.get(ObjectNotFound("not there"), policy)
    clock.now += 4
    with pytest.raises(ConnectFailed):
        await source.get(ConnectFailed("no answer"), policy)


async def test_a_confirmed_value_is_fresh_again(source: Source, clock: Clock, cache: Cache) -> None:
    await source.get("one")
    clock.now += 15
    entry = cache.peek(KEY)
    assert entry is not None
    found = await source.get(entry.value)
    assert source.olds == [None, "one"]
    assert found.entry is entry
    clock.now += 9
    assert (await source.ask()).value == "one"


async def test_during_an_outage_cached_values_are_returned_and_marked(source: Source, clock: Clock) -> None:
    await source.get("one")
    clock.now += 25
    before = datetime.now(UTC)
    found = await source.get(ConnectFailed("no answer"))
    assert found.value == "one"
    assert found.stale_since is not None
    assert before <= found.stale_since + timedelta(seconds=25) <= datetime.now(UTC)
    # For a short time, reads fail without another attempt.
    again = await source.ask()
    assert (again.value, again.stale_since is None, len(source.requests)) == ("one", False, 2)
    clock.now += OUTAGE_PAUSE
    with pytest.raises(ConnectFailed):
        await source.get(ConnectFailed("no answer"))


async def test_a_refusal_does_not_count_as_an_outage(source: Source, clock: Clock) -> None:
    await source.get("one")
    clock.now += 11
    with pytest.raises(AccessDenied):
        await source.get(AccessDenied("no"))


async def test_a_refresh_never_returns_stale_data(source: Source, clock: Clock) -> None:
    await source.get("one")
    with pytest.raises(ConnectFailed):
        await source.get(ConnectFailed("no answer"), refresh=True)
    assert (await source.get("two", refresh=True)).value == "two"
    assert (await source.ask()).value == "two"


async def test_values_that_are_too_large_are_returned_but_not_cached(
    source: Source, cache: Cache, clock: Clock
) -> None:
    await source.get("small")
    clock.now += 11
    found = await source.get("l" * 51)
    assert (found.entry, cache.stats().entries) == (None, 0)


async def test_one_task_removes_expired_entries(source: Source, cache: Cache, clock: Clock) -> None:
    await source.get("for ever", FOR_EVER, key=Key(("object", "bucket", "other"), "body"))
    assert cleaner_of(cache) is None
    await source.get("one")
    cleaner = cleaner_of(cache)
    await source.get("two", key=Key(("object", "bucket", "third"), "body"))
    assert cleaner is not None
    assert cleaner_of(cache) is cleaner
    clock.now += 31
    await cache.clean()
    assert cache.stats().entries == 1


async def test_the_clean_up_goes_on_while_something_can_expire_and_begins_again(
    source: Source, cache: Cache, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean_all_the_time(monkeypatch)
    for _ in range(2):
        await source.get("one")
        await turns()
        assert cache.stats().entries == 1
        clock.now += 31
        await turns()
        assert (cache.stats().entries, cleaner_of(cache)) == (0, None)


async def test_invalidating_a_bucket_invalidates_its_objects(source: Source, cache: Cache) -> None:
    await source.get("one")
    await source.get("two", key=Key(("object", "bucket2", "key"), "body"))
    under_way = source.ask(key=Key(("object", "bucket", "third"), "body"))
    await turns()
    cache.forget_bucket("bucket")
    source.answer("three")
    await under_way
    assert cache.stats().entries == 1


@pytest.mark.parametrize("after", range(6))
async def test_a_reader_that_is_cancelled_while_the_cache_closes_ends_cancelled(clock: Clock, after: int) -> None:
    cache = Cache(max_entries=10, max_bytes=10_000, ttl=10.0, clock=clock)
    task = Source(cache).ask()
    await turns()
    closing = asyncio.ensure_future(cache.aclose())
    for _ in range(after):
        await asyncio.sleep(0)
    still_reading = task.cancel()
    with pytest.raises(asyncio.CancelledError if still_reading else ManagerClosed):
        await task
    await closing


async def test_closing_cancels_reads_and_caches_nothing_more(clock: Clock) -> None:
    cache = Cache(max_entries=10, max_bytes=10_000, ttl=10.0, clock=clock)
    source = Source(cache)
    await source.get("one")
    task = source.ask(refresh=True)
    await turns()
    await cache.aclose()
    with pytest.raises(ManagerClosed):
        await task
    with pytest.raises(ManagerClosed):
        await cache.fetch(KEY, POLICY, source.load)
    assert cache.stats().entries == 0
    gc.collect()


async def test_a_read_that_ends_in_spite_of_closing_is_not_cached(clock: Clock) -> None:
    cache = Cache(max_entries=10, max_bytes=10_000, ttl=10.0, clock=clock)

    async def stubborn(_: str | None) -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()
        return "late"

    task = asyncio.create_task(cache.fetch(KEY, POLICY, stubborn))
    await turns()
    cancel_while_closing(cache, KEY.group)
    assert (await task).value == "late"
    assert cache.stats().entries == 0
    await cache.aclose()


async def test_the_statistics_count_what_happened(source: Source, cache: Cache, clock: Clock) -> None:
    await source.get("one")
    for _ in range(3):
        await source.ask()
    stats = cache.stats()
    assert (stats.entries, stats.bytes, stats.ttl_seconds) == (1, 3 + OVERHEAD, 10.0)
    assert (stats.hits, stats.misses, stats.hit_rate, stats.evictions, stats.coalesced) == (3, 1, 0.75, 0, 0)
