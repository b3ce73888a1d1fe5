"""Reads the headers and tags of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apm_s3._s3.engine import Engine, told_apart
from apm_s3._s3.runner import EXPECTED
from apm_s3.errors import AccessDenied, ApmS3Error, NotConfigured, NotFound, ObjectChanged, ObjectNotFound

if TYPE_CHECKING:
    from apm_s3.models import FileInfo
    from apm_s3.options import ReadOptions


async def head(
    engine: Engine,
    bucket: str,
    key: str,
    options: ReadOptions,
    operation: str = "head_file",
    *,
    expected: tuple[type[ApmS3Error], ...] = EXPECTED,
) -> FileInfo:
    """Send HEAD, and leave a 404 unresolved. `expected` are the errors that are results, not failures."""
    transport = engine.transport
    return await engine.runner.run(
        operation,
        bucket,
        key,
        lambda: transport.head(bucket, key, options),
        timeout=options.timeout,
        expected=expected,
    )


async def head_told_apart(engine: Engine, bucket: str, key: str, options: ReadOptions) -> FileInfo:
    """Send HEAD, and resolve a 404 or 403."""
    try:
        return await head(engine, bucket, key, options)
    except (NotFound, AccessDenied) as exc:
        told = await told_apart(engine, exc, "head_file", options)
        if told is exc:
            raise
        raise told from exc


async def exists(engine: Engine, bucket: str, key: str, options: ReadOptions) -> bool:
    """Return whether the object exists; a 403 is an error."""
    try:
        await head(engine, bucket, key, options, operation="file_exists", expected=(*EXPECTED, NotFound))
    except NotFound:
        return False
    except AccessDenied as exc:
        told = await told_apart(engine, exc, "file_exists", options)
        if told is exc:
            raise
        raise told from exc
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
