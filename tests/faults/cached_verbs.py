"""The calls that read through the cache and are tested against faults, and those of a store with a cache."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from apm_s3 import S3Manager
from apm_s3.configs import ConfigStore
from apm_s3.settings import CacheSettings
from apm_s3.testing import MemoryObjects
from tests.faults.bucket_verbs import DETAILS, details, settled_state
from tests.faults.memory_s3 import MemoryS3, StoredObject, _etag
from tests.faults.verbs import BUCKET, OLD, OTHER, Verb, new_state

CACHE = CacheSettings(objects=True, negative_ttl=0.0, current_staleness=60.0)
"""Absences are not cached, so that a read after a fault has to find the object."""

CONFIG = "global: {scrape_interval: 15s}\n"
RULES = "groups: []\n"


@lru_cache
def _stored() -> dict[str, bytes]:
    """The objects of a store with one environment."""

    async def fill() -> dict[str, bytes]:
        memory = MemoryObjects()
        store = ConfigStore(memory)
        await store.upload("prometheus", "production", files={"prometheus.yml": CONFIG, "rules/a.yml": RULES})
        await store.finish()
        return {key: found[1] for key, found in memory.objects.items()}

    # In its own loop and thread, because another loop is running here.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, fill()).result()


def state_with_a_store() -> MemoryS3:
    """A bucket with configurations."""
    s3 = new_state()
    s3.buckets[BUCKET] = {key: StoredObject(body, {}, _etag(body)) for key, body in _stored().items()}
    return s3


def _together(read: Callable[[S3Manager], Awaitable[Any]]) -> Callable[[S3Manager], Awaitable[Any]]:
    """Three callers at once with an empty cache: they share a request, and its failure."""

    async def call(s3: S3Manager) -> Any:
        s3.cache.clear()
        found = await asyncio.gather(*(read(s3) for _ in range(3)), return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException):
                raise each
        assert found.count(found[0]) == len(found)
        return found[0]

    return call


async def _head(s3: S3Manager) -> int:
    return (await s3.head_file(BUCKET, "a")).size


async def _buckets(s3: S3Manager) -> list[str]:
    return [bucket.name for bucket in await s3.list_buckets()]


async def _file(s3: S3Manager) -> str:
    return (await s3.configs(BUCKET).download("prometheus", "production")).text


async def _bundle(s3: S3Manager) -> dict[str, str]:
    bundle = await s3.configs(BUCKET).download_bundle("prometheus", "production")
    return {name: file.text for name, file in bundle.files.items()}


async def _status(s3: S3Manager) -> list[tuple[str, int]]:
    s3.cache.clear()
    return [(each.tool, each.revision) for each in await s3.configs(BUCKET).status("production")]


def _cached(
    name: str, request: str, read: Callable[[S3Manager], Awaitable[Any]], result: Any, state: Callable[[], MemoryS3]
) -> Verb:
    return Verb(name, request, _together(read), result, state=state, cache=CACHE, again=read)


CACHED_VERBS = (
    _cached("cached read", "GetObject", lambda s3: s3.read_file(BUCKET, "a"), OLD, new_state),
    _cached("cached head", "HeadObject", _head, len(OLD), new_state),
    _cached("cached list of buckets", "ListBuckets", _buckets, [BUCKET, OTHER], new_state),
    _cached("cached details", "GetBucket:tagging", details, DETAILS, settled_state),
    _cached("cached configuration", "GetObject", _file, CONFIG, state_with_a_store),
    _cached(
        "cached bundle", "GetObject", _bundle, {"prometheus.yml": CONFIG, "rules/a.yml": RULES}, state_with_a_store
    ),
    Verb(
        "status",
        "ListObjectsV2",
        _status,
        [("prometheus", 1)],
        state=state_with_a_store,
        cache=CACHE,
        again=_status,
        at_once=2,  # the backups, and the live copies of the tool
    ),
)
