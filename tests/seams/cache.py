"""The cache below managers and stores: its clock, its entries, what it is doing, and its shared second level."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from apm_s3 import S3Manager, _cache
from apm_s3._cache import (
    OUTAGE_PAUSE,
    OVERHEAD,
    Cache,
    CacheRead,
    Entries,
    Entry,
    Key,
    Policy,
    SharedLevel,
    object_group,
)
from apm_s3._cache import PATIENCE as BACKEND_PATIENCE
from apm_s3._cache import PAUSE as BACKEND_PAUSE
from apm_s3._manager import make_cache
from apm_s3._s3.buckets.reads import CachedBuckets
from apm_s3._s3.caching import BUCKET_LISTS, InvalidatingTransport, Policies, bucket_group, forget_after
from apm_s3.configs._protocol.reader import StoreCache

LOGGER = _cache.__name__
"""The logger of the second level."""
MAX_SHARED_VALUE, SHARED_TTL, MAX_SHARED_WRITES = _cache.MAX_VALUE, _cache.TTL, _cache._MAX_PENDING
"""Bytes and seconds of a value of the second level, and how many wait to be written."""


def cache_of(s3: S3Manager) -> Cache:
    """Return the cache of a manager."""
    return s3._cache


def grow_older(cache: Cache, seconds: float) -> None:
    """Make everything that is cached older."""
    for entry in cache._entries:
        for name in ("asked_at", "fresh_until", "kept_until", "retry_at"):
            setattr(entry, name, getattr(entry, name) - seconds)


def entries_of(cache: Cache) -> list[Entry]:
    """Return the entries, the least recently used first."""
    return list(cache._entries)


def evict(cache: Cache, entry: Entry) -> None:
    """Drop an entry, as if its space were needed."""
    cache._entries.drop(entry)


def loads_of(cache: Cache) -> dict[tuple[str, ...], list[object]]:
    """Return the requests that callers can join, by group."""
    return cache._loads


def tasks_of(cache: Cache, name: str = "") -> list[asyncio.Task[object]]:
    """Return the cache's own tasks with `name` in their names."""
    return [task for task in cache._tasks if name in task.get_name()]


def cleaner_of(cache: Cache) -> asyncio.Task[None] | None:
    """Return the task that removes expired entries, while there is one."""
    return cache._cleaner


def cancel_while_closing(cache: Cache, group: tuple[str, ...]) -> None:
    """Cancel the first request of a group, as `aclose` does, and wait for nothing."""
    cache._closed = True
    cache._loads[group][0].task.cancel()


def clean_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the cache look for expired entries in every turn of the loop."""
    monkeypatch.setattr(_cache, "CLEANUP_INTERVAL", 0.0)


def never_clean() -> mock._patch[float]:
    """Let nothing expire by itself, inside the block."""
    return mock.patch.object(_cache, "CLEANUP_INTERVAL", 1e9)


def wait_briefly_for_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the second level give up on its backend at once."""
    monkeypatch.setattr(_cache, "PATIENCE", 0.01)


def take_the_backend_away(monkeypatch: pytest.MonkeyPatch, level: SharedLevel) -> None:
    """Fail every use of the backend from now on."""
    monkeypatch.setattr(level, "_backend", None)


def set_the_clock_of_the_backend(s3: S3Manager, clock: Callable[[], float]) -> None:
    """Measure by `clock` when the second level of a manager asks its backend again."""
    assert s3._shared is not None
    s3._shared._clock = clock
