"""The cache of a manager: what is cached, for how long, and which reads share a request.

Rules:

- The age of an entry counts from the start of its request, not from its response.
- A finished write invalidates: the entry is removed, and the result of a read in progress is not cached. Later calls do
  not get that result.
- A read joins another one in progress only if that one started late enough for the caller.
- Failures are not cached, except as an absence for a short time if the policy says so.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import math
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from apm_s3._cache.entries import Entries, Entry, Key
from apm_s3._tasks import joined, settled
from apm_s3.errors import ApmS3Error, ManagerClosed, ServiceUnavailable, Throttled, TransportError

if TYPE_CHECKING:
    from apm_s3.models import CacheStats

V = TypeVar("V")

OUTAGE_PAUSE = 5.0
"""Seconds after a failed request in which stale values are returned without another attempt."""

CLEANUP_INTERVAL = 30.0
"""Seconds between two clean-ups of expired entries."""

_OUTAGE = (TransportError, ServiceUnavailable, Throttled)
"""The errors after which stale values are returned. Refusals are not among them: access rights always apply."""

_STEP = 1000
"""Entries that a clean-up checks before it yields to other tasks."""


class Policy(NamedTuple, Generic[V]):
    """How a kind of value is cached. Seconds and bytes.

    Attributes:
        cost: the approximate size of a value in bytes.
        ttl: how long it is fresh; infinite for immutable values.
        keep: how much longer it is kept for a conditional request.
        stale_if_error: how much longer it is served if S3 cannot be reached.
        absent: the errors that mean absence.
        negative_ttl: how long such an error is cached; 0 means not at all.
        max_cost: larger values are not cached.
    """

    cost: Callable[[V], int]
    ttl: float
    keep: float = 0.0
    stale_if_error: float = 0.0
    absent: tuple[type[ApmS3Error], ...] = ()
    negative_ttl: float = 0.0
    max_cost: float = math.inf


class Found(NamedTuple, Generic[V]):
    """The result of a read.

    Attributes:
        stale_since: when the value was read, if S3 cannot be reached. None: it is as fresh as requested.
        entry: the cache entry; None if the value is not cached.
    """

    value: V
    stale_since: datetime | None = None
    entry: Entry | None = None


class S3Cache:
    """The public view of a manager's cache: `s3.cache`."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def stats(self) -> CacheStats:
        """Return the current statistics."""
        return self._cache.stats()

    def clear(self) -> None:
        """Remove everything, and do not cache the reads in progress."""
        self._cache.clear()


class Cache:
    """The cache of a manager.

    Several callers can get the same value, so nobody may modify it.
    """

    def __init__(
        self,
        *,
        max_entries: int,
        max_bytes: int,
        ttl: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.hits: int = 0
        self._entries = Entries(max_entries, max_bytes)
        self._ttl = ttl
        self.clock: Callable[[], float] = clock
        self._misses = self._coalesced = 0
        self._order = itertools.count(1)
        self._flights: dict[tuple[str, str, str], list[_Flight]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cleaner: asyncio.Task[None] | None = None
        self._closed = False
        self.touch: Callable[[Entry], None] = self._entries.touch
        self.grow: Callable[[Entry, int], None] = self._entries.grow

    def stats(self) -> CacheStats:
        """Return the current statistics."""
        from apm_s3.models import CacheStats  # noqa: PLC0415 - many programs never ask for them

        asked = self.hits + self._misses
        return CacheStats(
            entries=len(self._entries),
            max_entries=self._entries.max_entries,
            bytes=self._entries.bytes,
            max_bytes=self._entries.max_bytes,
            ttl_seconds=self._ttl,
            hits=self.hits,
            misses=self._misses,
            hit_rate=self.hits / asked if asked else 0.0,
            evictions=self._entries.evictions,
            coalesced=self._coalesced,
        )

    def clear(self) -> None:
        """Remove everything, and do not cache the reads in progress."""
        self._entries.clear()
        for group in list(self._flights):
            self.forget(group)

    def forget(self, group: tuple[str, str, str]) -> None:
        """Remove the entries of `group`, which may have changed, and do not cache its reads in progress."""
        self._entries.drop_group(group)
        for flight in self._flights.pop(group, ()):
            flight.overtaken = True

    def forget_bucket(self, bucket: str) -> None:
        """Remove the entries of all objects in a bucket."""
        groups = {entry.key.group for entry in self._entries} | set(self._flights)
        for group in groups:
            if group[:2] == ("object", bucket):
                self.forget(group)

    def peek(self, key: Key) -> Entry | None:
        """Return the entry of `key`, fresh or not, if it has a value. This does not count as a use."""
        entry = self._entries.get(key)
        return None if entry is None or isinstance(entry.value, ApmS3Error) else entry

    async def fetch(
        self,
        key: Key,
        policy: Policy[V],
        load: Callable[[V | None], Awaitable[V]],
        *,
        refresh: bool = False,
    ) -> Found[V]:
        """Return the cached value of `key`, or read it, sharing the request with other callers.

        A cancellation only ends the caller's wait, unless nobody else waits: then it cancels the read.

        Args:
            load: reads the value. It gets the cached value, and returns it if it is still valid.
            refresh: always send a request, and do not accept a stale value.

        Raises:
            ManagerClosed: the cache was closed during the call.
            ApmS3Error: whatever `load` raises; each caller gets its own copy.
        """
        now = self.clock()
        entry = self._entries.get(key)
        if entry is not None and not refresh and (now < entry.fresh_until):
            self.hits += 1
            self.touch(entry)
            if isinstance(entry.value, ApmS3Error):
                raise copy.copy(entry.value)
            return Found(entry.value, None, entry)
        self._misses += 1
        if not refresh and entry is not None and now < entry.retry_at:
            stale = self._stale(key, policy, now)
            if stale is not None:
                return stale
        other = self._join(key, now, 0.0 if refresh else policy.ttl)
        began_at = None if other is None else other.began_at
        flight = other or self._start(key, policy, load)
        try:
            return await self._landed(flight)
        except ApmS3Error as error:
            if isinstance(error, policy.absent) and began_at is not None and now - began_at >= policy.negative_ttl:
                # That read began too long ago to say that nothing is there now.
                return await self.fetch(key, policy, load, refresh=refresh)
            if refresh or not isinstance(error, _OUTAGE):
                raise
            now = self.clock()
            stale = self._stale(key, policy, now)
            if stale is None:
                raise
            if stale.entry is not None:
                stale.entry.retry_at = now + OUTAGE_PAUSE
            return stale

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start a task that is cancelled when the cache is closed."""
        task = asyncio.create_task(work, name=f"apm_s3 cache {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Cancel the reads in progress, remove everything, and cache nothing more."""
        self._closed = True
        self.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _stale(self, key: Key, policy: Policy[V], now: float) -> Found[V] | None:
        entry = self.peek(key)
        if entry is None or now >= entry.fresh_until + policy.stale_if_error:
            return None
        self.touch(entry)
        return Found(entry.value, datetime.now(UTC) - timedelta(seconds=now - entry.asked_at), entry)

    # ----------------------------------------------------------------------------------------------------------
    # Reads in progress

    def _join(self, key: Key, now: float, max_age: float) -> _Flight | None:
        for flight in reversed(self._flights.get(key.group, ())):
            # Reads that have not started yet will see the current state.
            if flight.key == key and (flight.began_at is None or now - flight.began_at < max_age):
                flight.waiters += 1
                self._coalesced += 1
                return flight
        return None

    def _start(self, key: Key, policy: Policy[V], load: Callable[[V | None], Awaitable[V]]) -> _Flight:
        if self._closed:
            raise ManagerClosed("this S3Manager was closed")
        flight = _Flight(key)
        flight.task = self.spawn(self._fly(flight, policy, load), "read")
        # Also if it is cancelled before it starts.
        flight.task.add_done_callback(lambda _: self._unlink(flight))
        self._flights.setdefault(key.group, []).append(flight)
        return flight

    async def _fly(self, flight: _Flight, policy: Policy[V], load: Callable[[V | None], Awaitable[V]]) -> Found[V]:
        flight.began_at, flight.order = self.clock(), next(self._order)
        old = self.peek(flight.key)
        try:
            value = await load(None if old is None else old.value)
        except policy.absent as error:
            if not flight.overtaken:
                self._remember_absence(flight, policy, error)
            raise
        # Done here, not in a callback, so that the value is cached before waiting tasks wake up.
        return Found(value, None, None if flight.overtaken else self._remember(flight, policy, value))

    async def _landed(self, flight: _Flight) -> Found[Any]:
        task = flight.task
        try:
            return await joined(task)
        except asyncio.CancelledError:
            if task.cancelled() and self._closed and not _is_cancelled():
                raise ManagerClosed("this S3Manager was closed") from None
            flight.waiters -= 1
            if not flight.waiters and not task.done():
                self._unlink(flight)
                task.cancel()
                await settled(task)
            raise
        except ApmS3Error as error:
            if flight.waiters == 1:
                raise
            # Each caller adds its own frames to the traceback.
            raise copy.copy(error).with_traceback(error.__traceback__) from error.__cause__

    def _unlink(self, flight: _Flight) -> None:
        flights = self._flights.get(flight.key.group)
        if flights is not None and flight in flights:
            flights.remove(flight)
            if not flights:
                del self._flights[flight.key.group]

    # ----------------------------------------------------------------------------------------------------------
    # Remembering

    def _remember(self, flight: _Flight, policy: Policy[V], value: V) -> Entry | None:
        old = self._entries.get(flight.key)
        if old is not None and old.order > flight.order:
            return None  # a later read was faster
        if old is not None and old.value is value:
            self._date(old, flight, policy.ttl, max(policy.keep, policy.stale_if_error))
            self.touch(old)
            return old
        cost = policy.cost(value)
        if cost > policy.max_cost:
            if old is not None:
                self._entries.drop(old)
            return None
        return self._hold(Entry(flight.key, value, cost), flight, policy.ttl, max(policy.keep, policy.stale_if_error))

    def _remember_absence(self, flight: _Flight, policy: Policy[Any], error: ApmS3Error) -> None:
        old = self._entries.get(flight.key)
        if old is not None and old.order > flight.order:
            return
        if old is not None:
            self._entries.drop(old)
        if policy.negative_ttl > 0:
            # A copy has no traceback, whose frames would keep objects alive.
            self._hold(Entry(flight.key, copy.copy(error), len(str(error))), flight, policy.negative_ttl, 0.0)

    @staticmethod
    def _date(entry: Entry, flight: _Flight, ttl: float, keep: float) -> None:
        entry.asked_at = entry.retry_at = flight.began_at or 0.0
        entry.order = flight.order
        entry.fresh_until = entry.asked_at + ttl
        entry.kept_until = entry.fresh_until + keep

    def _hold(self, entry: Entry, flight: _Flight, ttl: float, keep: float) -> Entry | None:
        self._date(entry, flight, ttl, keep)
        if self._closed:
            return None
        self._entries.put(entry)
        if self._entries.ageing and self._cleaner is None:
            self._cleaner = self.spawn(self._clean(), "clean-up")
        return entry if entry.held else None

    async def _clean(self) -> None:
        with suppress(asyncio.CancelledError):
            while self._entries.ageing:
                await asyncio.sleep(CLEANUP_INTERVAL)
                await self.clean()
        self._cleaner = None

    async def clean(self) -> None:
        """Remove expired entries. One task of the manager does this while there are entries that can expire."""
        for number, entry in enumerate(list(self._entries)):
            if entry.held and self.clock() >= entry.kept_until:
                self._entries.drop(entry)
            if number % _STEP == _STEP - 1:
                await asyncio.sleep(0)


class _Flight:
    """A read in progress, and the number of its waiters.

    Attributes:
        began_at: None until it starts.
        order: its number among the started reads.
        overtaken: whether something was written meanwhile, so that its result may be outdated.
    """

    __slots__ = ("began_at", "key", "order", "overtaken", "task", "waiters")

    task: asyncio.Task[Found[Any]]

    def __init__(self, key: Key) -> None:
        self.key = key
        self.began_at: float | None = None
        self.order = 0
        self.overtaken = False
        self.waiters = 1


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
