"""Reads headers, tags and contents of objects, cached if the settings say so, and sets tags that a server has lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from apm_s3._cache import Key, object_group
from apm_s3._logs import LOGGER
from apm_s3._s3.caching import Policies
from apm_s3._s3.engine import READ_DEFAULTS, Engine, explain_failed_head, reading_options, within
from apm_s3.errors import (
    AccessDenied,
    NotConfigured,
    NotFound,
    NotModified,
    ObjectChanged,
    ObjectNotFound,
    PreconditionFailed,
    S3Error,
    UnsupportedByServer,
)
from apm_s3.events import expecting
from apm_s3.options import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apm_s3.models import FileInfo
    from apm_s3.options import CopyOptions, UploadOptions


async def head(
    engine: Engine,
    bucket: str,
    key: str,
    options: ReadOptions,
    operation: str = "head_file",
) -> FileInfo:
    """Send HEAD, and leave a 404 unresolved."""
    transport = engine.transport
    return await engine.runner.run(
        operation,
        bucket,
        key,
        lambda: transport.head(bucket, key, options),
        timeout=options.timeout,
    )


async def explained_head(engine: Engine, bucket: str, key: str, options: ReadOptions) -> FileInfo:
    """Send HEAD, and resolve a 404 or 403."""
    try:
        return await head(engine, bucket, key, options)
    except (NotFound, AccessDenied) as exc:
        explained = await explain_failed_head(engine, exc, "head_file", options)
        if explained is exc:
            raise
        raise explained from exc


async def exists(engine: Engine, bucket: str, key: str, options: ReadOptions) -> bool:
    """Return whether the object exists; a 403 is an error."""
    try:
        with expecting(NotFound):
            await head(engine, bucket, key, options, operation="file_exists")
    except NotFound:
        return False
    except AccessDenied as exc:
        explained = await explain_failed_head(engine, exc, "file_exists", options)
        if explained is exc:
            raise
        raise explained from exc
    return True


async def read_tags(engine: Engine, bucket: str, key: str, options: ReadOptions) -> dict[str, str]:
    """Return the tags of an object; empty if the server says that none were set."""
    try:
        return await engine.runner.run(
            "get_file_tags",
            bucket,
            key,
            lambda: engine.transport.tags(bucket, key, options),
            timeout=options.timeout,
        )
    except NotConfigured:
        return {}


async def tags_read_with(engine: Engine, bucket: str, key: str, options: ReadOptions) -> dict[str, str]:
    """Return the tags of an object whose content was just read.

    Raises:
        ObjectChanged: it was deleted meanwhile.
    """
    try:
        return await read_tags(engine, bucket, key, options)
    except ObjectNotFound as exc:
        raise ObjectChanged(
            "the object was deleted before its tags were read", operation="get_file", bucket=bucket, key=key
        ) from exc


async def keep_tags(
    engine: Engine, info: FileInfo, tags: Mapping[str, str], options: UploadOptions | CopyOptions
) -> None:
    """Set the tags of an object just written, if the server has lost them, as Ceph's gateway does in some requests.

    Raises:
        UnsupportedByServer: they cannot be set; the object is stored without them.
    """
    if not tags or (await engine.control.endpoint()).is_aws:
        return
    reading = replace(reading_options(options), version_id=info.version_id)
    try:
        stored = await read_tags(engine, info.bucket, info.key, reading)
    except AccessDenied as exc:
        LOGGER.warning("'%s/%s': it is not known whether the server kept the tags: %s", info.bucket, info.key, exc)
        return
    except NotFound:
        return
    if stored == tags:
        return
    given: dict[str, Any] = {
        "VersionId": reading.version_id,
        "ExpectedBucketOwner": reading.expected_bucket_owner,
        "RequestPayer": "requester" if reading.requester_pays else None,
        "Tagging": {"TagSet": [{"Key": name, "Value": value} for name, value in tags.items()]},
    }
    parameters = {name: value for name, value in given.items() if value is not None}
    try:
        # Another client may have replaced the object, and its tags are its own.
        await head(engine, info.bucket, info.key, replace(reading, if_match=info.etag), "put_file_tags")
        await engine.runner.run(
            "put_file_tags",
            info.bucket,
            info.key,
            lambda: engine.control.call("put_object_tagging", Bucket=info.bucket, Key=info.key, **parameters),
        )
    except (PreconditionFailed, NotFound):
        return
    except S3Error as exc:
        error = UnsupportedByServer(
            f"the object is stored, but the server has lost its tags, and refuses to set them: {exc.problem}",
            bucket=info.bucket,
            key=info.key,
            hint="leave out the tags",
        )
        error.unresolved = True
        raise error from exc


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
