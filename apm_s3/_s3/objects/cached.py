"""Reads of objects, cached if the manager's settings say so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from apm_s3._cache import Key, object_group
from apm_s3._s3.caching import Policies
from apm_s3._s3.engine import READ_DEFAULTS, Engine, within
from apm_s3.errors import NotModified
from apm_s3.options import ReadOptions

if TYPE_CHECKING:
    from apm_s3.models import FileInfo


def policies_for(engine: Engine, options: ReadOptions) -> Policies | None:
    """Return the cache policy for a read with `options`; None if it is not cached."""
    policies = engine.object_policies
    if policies is None or (options is not READ_DEFAULTS and replace(options, timeout=None) != READ_DEFAULTS):
        return None
    return policies


async def cached_body(
    engine: Engine, policies: Policies, bucket: str, key: str, options: ReadOptions, *, refresh: bool
) -> bytes:
    """Return the content of an object."""

    async def load(old: tuple[FileInfo, bytes] | None) -> tuple[FileInfo, bytes]:
        etag = None if old is None else old[0].etag
        asked = READ_DEFAULTS if etag is None else ReadOptions(if_none_match=etag)
        try:
            return await engine.runner.run(
                "read_file", bucket, key, lambda: engine.transport.read(bucket, key, asked), measure=received
            )
        except NotModified:
            if old is None:
                raise
            return old

    async with within(options.timeout, "read_file", bucket, key):
        found = await engine.cache.fetch(Key(object_group(bucket, key), "body"), policies.bodies, load, refresh=refresh)
    return found.value[1]


async def cached_info(
    engine: Engine,
    policies: Policies,
    bucket: str,
    key: str,
    options: ReadOptions,
    *,
    refresh: bool,
    read: Callable[[], Awaitable[FileInfo]],
) -> FileInfo:
    """Return the information about an object; `read` requests it."""
    async with within(options.timeout, "head_file", bucket, key):
        found = await engine.cache.fetch(
            Key(object_group(bucket, key), "info"), policies.infos, lambda _: read(), refresh=refresh
        )
    return found.value if found.stale_since is None else found.value._replace(stale_since=found.stale_since)


def received(result: tuple[FileInfo, bytes]) -> tuple[int, str | None]:
    """Return the received bytes and the storage class."""
    info, data = result
    return len(data), info.storage_class
