"""Conditional writes: how the server wants an ETag spelled, and the outcome if its response does not show it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from apm_s3._s3.engine import Engine, reading_options, within
from apm_s3._s3.objects.reading import head
from apm_s3._s3_responses import s3_error
from apm_s3.errors import ConditionalConflict, ConditionalWritesUnsupported, NotFound, PreconditionFailed, S3Error
from apm_s3.models import FileInfo
from apm_s3.options import CopyOptions, DeleteOptions, UploadOptions
from apm_s3.options._writes import HashedUpload

T = TypeVar("T")
WriteOptions = TypeVar("WriteOptions", UploadOptions, CopyOptions, DeleteOptions)


async def spelled(
    engine: Engine,
    api: str,
    bucket: str,
    key: str,
    options: WriteOptions,
    send: Callable[[WriteOptions], Awaitable[T]],
) -> T:
    """Send a write, with the ETag of its `if_match` spelled as the server takes it.

    A refused ETag that HEAD still shows is not stale: it is sent once more, with or without quotes. Once a bucket has
    taken one, its refusals are believed.

    Args:
        api: S3's name of the request, such as "PutObject".

    Raises:
        PreconditionFailed: the condition did not hold.
        ConditionalWritesUnsupported: the server refuses the object's ETag in both spellings.
    """
    if options.if_match in (None, "*"):
        return await send(options)
    began = time.monotonic()
    exact = type(options) is HashedUpload
    sent = options.if_match if exact else engine.conditions.spelled(api, options.if_match)
    try:
        done = await send(dataclasses.replace(options, if_match=sent))
    except PreconditionFailed as refused:
        if exact or engine.conditions.proven(api, bucket):
            raise
        left = None if options.timeout is None else max(0.0, options.timeout - (time.monotonic() - began))
        async with within(left, refused.operation or api, bucket, key):
            if not await _is_current(engine, bucket, key, options):
                raise
            sent = sent.strip('"') if sent.endswith('"') else f'"{sent}"'
            try:
                done = await send(dataclasses.replace(options, if_match=sent, timeout=left))
            except PreconditionFailed:
                if not await _is_current(engine, bucket, key, options):
                    raise
                raise ConditionalWritesUnsupported(
                    f"the endpoint refuses {api} with If-Match: {options.if_match}, although that is the object's ETag",
                    operation=refused.operation,
                    bucket=bucket,
                    key=key,
                    hint="some servers take conditions only in a bucket without versioning: use one",
                ) from refused
    engine.conditions.learn(api, bucket, sent)
    return done


async def _is_current(engine: Engine, bucket: str, key: str, options: WriteOptions) -> bool:
    """Return whether the object still has the ETag of `if_match`; False if it may not be read."""
    try:
        info = await head(engine, bucket, key, reading_options(options))
    except S3Error as error:
        if error.retryable:
            raise
        return False
    return _same(info.etag, options.if_match)


def _same(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one.strip('"') == other.strip('"')


async def settle_write(
    engine: Engine,
    bucket: str,
    key: str,
    options: UploadOptions | CopyOptions,
    is_ours: Callable[[FileInfo], Awaitable[bool]],
    error: S3Error,
    unresolved: bool,
) -> FileInfo | None:
    """Determine the outcome of a refused write by reading the object.

    The condition may have failed because of an earlier attempt of the same write whose response was lost. After a 409,
    the condition may still hold, or not.

    Args:
        is_ours: returns whether the current object is the one that was to be written.
        unresolved: whether an earlier attempt may have been carried out.

    Returns:
        The object, if it is the one that was to be written; None if the error is final.

    Raises:
        PreconditionFailed: the response was a 409, and the condition does not hold any more.
    """
    in_conflict = isinstance(error, ConditionalConflict)
    if not unresolved and not in_conflict:
        return None
    try:
        info = await engine.transport.head(bucket, key, reading_options(options))
        if unresolved and await is_ours(info):
            return info
    except NotFound:
        return None
    lost = options.if_none_match is not None or (
        options.if_match is not None and not _same(info.etag, options.if_match)
    )
    if in_conflict and lost:
        raise s3_error(
            operation=error.operation or "", status=412, s3_code="PreconditionFailed", bucket=bucket, key=key
        ) from error
    return None
