"""What simulated processes remember: caches of their own, stale in every way, and a second level that they share."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from apm_s3.models import FileInfo
from tests.configs.simulation.bucket import Client
from tests.seams.cache import Cache, SharedLevel, StoreCache, object_group

MIB = 1024**2
STALENESS = (0.0, 0.0, 0.5, 30.0)
"""Seconds by which a process accepts an old state; several seconds pass in a play."""


class Backend:
    """A second level as all processes have it: it loses values, fails, and gives what was never put there."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._values: dict[str, Any] = {}

    async def get(self, key: str, **_: Any) -> Any:
        chance = self._rng.random()
        if chance < 0.05:
            raise ConnectionError
        if chance < 0.3:
            return self._rng.choice([None, "no base64", 7, *self._values.values()])
        return self._values.get(key)

    async def set(self, key: str, value: Any, **_: Any) -> None:
        self._values[key] = value


@dataclass
class Recollection:
    """What one process remembers, from the first of its stores to the last.

    Attributes:
        staleness: seconds by which its reads accept an old state.
    """

    clock: Callable[[], float]
    staleness: float = 0.0
    backend: Backend | None = None
    cache: Cache = field(init=False)

    def __post_init__(self) -> None:
        self.cache = Cache(max_entries=1000, max_bytes=MIB, ttl=None, clock=self.clock)

    def new_cache(self) -> StoreCache:
        """Of a store, as an `S3Manager` gives it."""
        shared = None
        if self.backend is not None:
            shared = SharedLevel(self.backend, ("simulated", "sim"), self.cache.spawn, self.clock)
        return StoreCache(self.cache, staleness=self.staleness, shared=shared)


class Forgetting:
    """A client whose writes let its process forget what they change, as the transport of an `S3Manager` does."""

    def __init__(self, client: Client, cache: Cache) -> None:
        self.bucket = client.bucket
        self._client = client
        self._cache = cache

    async def put(self, key: str, body: bytes, **options: Any) -> FileInfo:
        try:
            return await self._client.put(key, body, **options)
        finally:
            self._forget(key)

    async def copy(self, source_key: str, key: str) -> FileInfo:
        try:
            return await self._client.copy(source_key, key)
        finally:
            self._forget(key)

    async def delete(self, keys: Sequence[str]) -> None:
        try:
            await self._client.delete(keys)
        finally:
            for key in keys:
                self._forget(key)

    async def read(self, key: str, **options: Any) -> Any:
        return await self._client.read(key, **options)

    async def head(self, key: str) -> FileInfo:
        return await self._client.head(key)

    def list(self, prefix: str, *, start_after: str | None = None) -> AsyncGenerator[FileInfo, None]:
        return self._client.list(prefix, start_after=start_after)

    def list_folders(self, prefix: str) -> AsyncGenerator[str, None]:
        return self._client.list_folders(prefix)

    def versions(self, key: str) -> AsyncGenerator[Any, None]:
        return self._client.versions(key)

    def _forget(self, key: str) -> None:
        self._cache.forget(object_group(self.bucket, key))
