"""The cache of a manager: what is cached, how long, and which reads share a request; and a second level for processes.

It works with any aiocache backend. Only bytes are stored, as base64 text and without the backend's serializer, so that
nothing is ever unpickled; readers verify values by their hash.

Rules:

- The age of an entry counts from the start of its request, not from its response.
- A finished write invalidates: the entry is removed, and the result of a read in progress is not cached. Later calls do
  not get that result.
- A read joins another one in progress only if that one started late enough for the caller.
- Failures are not cached, except as an absence for a short time if the policy says so.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import copy
import hashlib
import itertools
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from apm_s3._tasks import wait_finished, wait_shielded
from apm_s3.errors import ApmS3Error, ManagerClosed, ServiceUnavailable, Throttled, TransportError

if TYPE_CHECKING:
    from apm_s3.models import CacheStats


OVERHEAD = 1024
"""Bytes that an entry counts in addition to its value: its key and other objects, measured with tracemalloc on CPython
3.11."""


Group = tuple[str, str, str]
"""What is invalidated together: an object, or the settings of a bucket."""


def object_group(bucket: str, key: str) -> Group:
    """Return the group of everything that is cached of an object: what reads it and what writes it must agree on."""
    return "object", bucket, key


class Key(NamedTuple):
    """The key of an entry: its group, and which reading of that this is."""

    group: Group
    detail: Any


class Entry:
    """One cached value. Times are seconds of one monotonic clock.

    Attributes:
        asked_at: when its request started; the value is not older.
        order: the number of that request, in the order of their starts.
        fresh_until: until when it is served without a request.
        kept_until: when it expires.
        retry_at: after a failed request, the time of the next one.
        held: whether it is still in the cache. Code that keeps a reference to an entry must check this.
    """

    __slots__ = ("asked_at", "cost", "fresh_until", "held", "kept_until", "key", "order", "retry_at", "value")

    def __init__(self, key: Key, value: Any, cost: int, kept_until: float = math.inf) -> None:
        self.key: Key = key
        self.value: Any = value
        self.cost: int = cost + OVERHEAD
        self.asked_at: float = 0.0
        self.fresh_until: float = 0.0
        self.retry_at: float = 0.0
        self.kept_until: float = kept_until
        self.order: int = 0
        self.held: bool = False

    @property
    def ages(self) -> bool:
        """Return whether the entry can expire."""
        return self.kept_until != math.inf


class Entries:
    """Entries by group and detail, in the order of their use.

    Attributes:
        bytes: their total size.
        evictions: how many were removed because of the limits.
        ageing: how many of them can expire.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.bytes = 0
        self.evictions = 0
        self.ageing = 0
        self._groups: dict[Group, dict[Any, Entry]] = {}
        self._order: OrderedDict[Entry, None] = OrderedDict()
        self.touch = self._order.move_to_end
        """Mark a held entry as just used. This is the bound method itself, because it is on the hottest path."""

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Entry]:
        """Iterate from the least recently used entry."""
        return iter(self._order)

    def get(self, key: Key) -> Entry | None:
        """Return the entry of `key`; this does not count as a use."""
        group = self._groups.get(key.group)
        return None if group is None else group.get(key.detail)

    def put(self, entry: Entry) -> None:
        """Store `entry`, replace the one with its key, and evict others if needed. It may itself be too large."""
        old = self.get(entry.key)
        if old is not None:
            self.drop(old)
        if entry.cost > self.max_bytes or self.max_entries < 1:
            return
        entry.held = True
        self._groups.setdefault(entry.key.group, {})[entry.key.detail] = entry
        self._order[entry] = None
        self.bytes += entry.cost
        self.ageing += entry.ages
        self._evict()

    def grow(self, entry: Entry, by: int) -> None:
        """Count `by` more bytes for an entry, if it is still held."""
        if entry.held:
            entry.cost += by
            self.bytes += by
            self._evict()

    def drop(self, entry: Entry) -> None:
        """Remove a held entry and its value."""
        entry.held = False
        entry.value = None
        self.bytes -= entry.cost
        self.ageing -= entry.ages
        del self._order[entry]
        group = self._groups[entry.key.group]
        del group[entry.key.detail]
        if not group:
            del self._groups[entry.key.group]

    def drop_group(self, group: Group) -> None:
        """Remove all entries of a group."""
        for entry in list(self._groups.get(group, {}).values()):
            self.drop(entry)

    def clear(self) -> None:
        """Remove all entries."""
        for entry in list(self._order):
            self.drop(entry)

    def _evict(self) -> None:
        while self.bytes > self.max_bytes or len(self._order) > self.max_entries:
            self.evictions += 1
            self.drop(next(iter(self._order)))


PATIENCE = 1.0
"""Timeout of the backend in seconds; after that, S3 is used."""

PAUSE = 10.0
"""Seconds in which a failed backend is not used."""

TTL = 24 * 3600
"""Seconds until a value expires; an integer, as Memcached requires."""

MAX_VALUE = 700_000
"""Size of the largest value: Memcached allows items of 1 MiB, and base64 adds a third."""

_MAX_TEXT = -(-MAX_VALUE // 3) * 4

_MAX_PENDING = 64
"""Maximum number of concurrent writes; further values are not stored."""

log = logging.getLogger(__name__)


class SharedLevel:
    """One manager's view of a shared cache.

    Args:
        backend: an aiocache backend, which is never closed here.
        space: distinguishes these keys from all others: the namespace and the endpoint.
        spawn: starts a task that is cancelled when the manager is closed.
    """

    def __init__(
        self,
        backend: Any,
        space: tuple[str, str],
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._space = space
        self._spawn = spawn
        self._clock = clock
        self._rests_until = 0.0
        self._failed = False
        self._works_since: float | None = None
        self._pending = 0

    def key(self, bucket: str, key: str) -> str:
        """Return the key of an object, within Memcached's limits on length and characters."""
        namespace, endpoint = self._space
        named = f"{namespace}\0{endpoint}\0{bucket}\0{key}"
        return f"apm_s3:1:{hashlib.sha256(named.encode()).hexdigest()}"

    async def get(self, bucket: str, key: str) -> bytes | None:
        """Return the stored bytes for an object, not verified; None if they are missing or unavailable."""
        if self._clock() < self._rests_until:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                text = await self._backend.get(self.key(bucket, key), loads_fn=_as_it_is)
        except Exception as error:  # noqa: BLE001 - a backend's errors are of any kind, and none is ours
            self._fail(error)
            return None
        self._works()
        # What others wrote may be of any size: only what `put` may have stored is decoded.
        if not isinstance(text, str | bytes) or len(text) > _MAX_TEXT:
            return None
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return None

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Store an object's bytes, in the background."""
        if len(body) <= MAX_VALUE and self._pending < _MAX_PENDING and self._clock() >= self._rests_until:
            self._pending += 1
            self._spawn(self._put(self.key(bucket, key), body), "second level")

    async def _put(self, name: str, body: bytes) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._backend.set(name, base64.b64encode(body).decode(), ttl=TTL, dumps_fn=_as_it_is)
        except Exception as error:  # noqa: BLE001 - see above
            self._fail(error)
        else:
            self._works()
        finally:
            self._pending -= 1

    def _fail(self, error: Exception) -> None:
        self._rests_until = self._clock() + PAUSE
        self._works_since = None
        if not self._failed:
            self._failed = True
            # Do not log the text: it can contain the address with a password.
            log.warning("the shared cache cannot be reached (%s): reading from S3 instead", type(error).__name__)

    def _works(self) -> None:
        if not self._failed:
            return
        # Broken connections from the outage stay in the backend's pool for a while.
        now = self._clock()
        if self._works_since is None:
            self._works_since = now
        elif now - self._works_since >= PAUSE:
            self._failed = False
            log.info("the shared cache can be reached again")


def _as_it_is(value: Any) -> Any:
    return value


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


class CacheRead(NamedTuple, Generic[V]):
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
        self._loads: dict[Group, list[_Load]] = {}
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
        for group in list(self._loads):
            self.forget(group)

    def forget(self, group: Group) -> None:
        """Remove the entries of `group`, which may have changed, and do not cache its reads in progress."""
        # A read that is in progress while a write ends may have been answered before or after it; nobody can tell.
        # Those who wait for it asked before the write ended, so either answer is right for them. But its result is not
        # cached, and nobody joins it any more: they would get the old object for the whole TTL.
        self._entries.drop_group(group)
        for loading in self._loads.pop(group, ()):
            loading.overtaken = True

    def forget_bucket(self, bucket: str) -> None:
        """Remove the entries of all objects in a bucket."""
        groups = {entry.key.group for entry in self._entries} | set(self._loads)
        for group in groups:
            if group == object_group(bucket, group[2]):
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
    ) -> CacheRead[V]:
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
            return CacheRead(entry.value, None, entry)
        self._misses += 1
        if not refresh and entry is not None and now < entry.retry_at:
            stale = self._stale(key, policy, now)
            if stale is not None:
                return stale
        other = self._join(key, now, 0.0 if refresh else policy.ttl)
        began_at = None if other is None else other.began_at
        loading = other or self._start(key, policy, load)
        try:
            return await self._finished(loading)
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

    def _stale(self, key: Key, policy: Policy[V], now: float) -> CacheRead[V] | None:
        entry = self.peek(key)
        if entry is None or now >= entry.fresh_until + policy.stale_if_error:
            return None
        self.touch(entry)
        return CacheRead(entry.value, datetime.now(UTC) - timedelta(seconds=now - entry.asked_at), entry)

    # ----------------------------------------------------------------------------------------------------------
    # Reads in progress

    def _join(self, key: Key, now: float, max_age: float) -> _Load | None:
        for loading in reversed(self._loads.get(key.group, ())):
            # To share a request is to accept its age. A caller may know of a write, its own or one of which another
            # process has told it, that ended after the read began, and must not get the state before it. So `refresh`
            # (age 0) joins only a read that has not started yet, and others one that is as young as what they accept.
            if loading.key == key and (loading.began_at is None or now - loading.began_at < max_age):
                loading.waiters += 1
                self._coalesced += 1
                return loading
        return None

    def _start(self, key: Key, policy: Policy[V], load: Callable[[V | None], Awaitable[V]]) -> _Load:
        if self._closed:
            raise ManagerClosed("this S3Manager was closed")
        loading = _Load(key)
        loading.task = self.spawn(self._run(loading, policy, load), "read")
        # Also if it is cancelled before it starts.
        loading.task.add_done_callback(lambda _: self._unlink(loading))
        self._loads.setdefault(key.group, []).append(loading)
        return loading

    async def _run(self, loading: _Load, policy: Policy[V], load: Callable[[V | None], Awaitable[V]]) -> CacheRead[V]:
        loading.began_at, loading.order = self.clock(), next(self._order)
        old = self.peek(loading.key)
        try:
            value = await load(None if old is None else old.value)
        except policy.absent as error:
            if not loading.overtaken:
                self._remember_absence(loading, policy, error)
            raise
        # Done here, not in a callback, so that the value is cached before waiting tasks wake up.
        return CacheRead(value, None, None if loading.overtaken else self._remember(loading, policy, value))

    async def _finished(self, loading: _Load) -> CacheRead[Any]:
        task = loading.task
        try:
            return await wait_shielded(task)
        except asyncio.CancelledError:
            if task.cancelled() and self._closed and not _is_cancelled():
                raise ManagerClosed("this S3Manager was closed") from None
            # The read belongs to all who wait for it: one that is cancelled only leaves. The last one also ends the
            # read, whose result nobody wants, and waits for its end, so that no request outlives the call that made it.
            loading.waiters -= 1
            if not loading.waiters and not task.done():
                self._unlink(loading)
                task.cancel()
                await wait_finished(task)
            raise
        except ApmS3Error as error:
            if loading.waiters == 1:
                raise
            # Each caller adds its own frames to the traceback.
            raise copy.copy(error).with_traceback(error.__traceback__) from error.__cause__

    def _unlink(self, loading: _Load) -> None:
        loads = self._loads.get(loading.key.group)
        if loads is not None and loading in loads:
            loads.remove(loading)
            if not loads:
                del self._loads[loading.key.group]

    # ----------------------------------------------------------------------------------------------------------
    # Remembering

    def _remember(self, loading: _Load, policy: Policy[V], value: V) -> Entry | None:
        old = self._entries.get(loading.key)
        if old is not None and old.order > loading.order:
            # A refresh does not join, so there can be two reads, and the one that began first may end last. Its value
            # is older: kept, it would undo what the later read had seen.
            return None
        if old is not None and old.value is value:
            self._date(old, loading, policy.ttl, max(policy.keep, policy.stale_if_error))
            self.touch(old)
            return old
        cost = policy.cost(value)
        if cost > policy.max_cost:
            if old is not None:
                self._entries.drop(old)
            return None
        return self._hold(Entry(loading.key, value, cost), loading, policy.ttl, max(policy.keep, policy.stale_if_error))

    def _remember_absence(self, loading: _Load, policy: Policy[Any], error: ApmS3Error) -> None:
        old = self._entries.get(loading.key)
        if old is not None and old.order > loading.order:
            return
        if old is not None:
            self._entries.drop(old)
        if policy.negative_ttl > 0:
            # A copy has no traceback, whose frames would keep objects alive.
            self._hold(Entry(loading.key, copy.copy(error), len(str(error))), loading, policy.negative_ttl, 0.0)

    @staticmethod
    def _date(entry: Entry, loading: _Load, ttl: float, keep: float) -> None:
        entry.asked_at = entry.retry_at = loading.began_at or 0.0
        entry.order = loading.order
        entry.fresh_until = entry.asked_at + ttl
        entry.kept_until = entry.fresh_until + keep

    def _hold(self, entry: Entry, loading: _Load, ttl: float, keep: float) -> Entry | None:
        self._date(entry, loading, ttl, keep)
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


class _Load:
    """A read in progress, and the number of its waiters.

    Attributes:
        began_at: None until it starts.
        order: its number among the started reads.
        overtaken: whether something was written meanwhile, so that its result may be outdated.
    """

    __slots__ = ("began_at", "key", "order", "overtaken", "task", "waiters")

    task: asyncio.Task[CacheRead[Any]]

    def __init__(self, key: Key) -> None:
        self.key = key
        self.began_at: float | None = None
        self.order = 0
        self.overtaken = False
        self.waiters = 1


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
