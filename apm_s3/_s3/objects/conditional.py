"""Determines the outcome of a conditional write if S3's response does not show it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from apm_s3._s3.engine import Engine, reading_options
from apm_s3._s3_responses import s3_error
from apm_s3.errors import ConditionalConflict, NotFound, S3Error
from apm_s3.models import FileInfo
from apm_s3.options import CopyOptions, UploadOptions


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
    lost = options.if_none_match is not None or (options.if_match is not None and info.etag != options.if_match)
    if in_conflict and lost:
        raise s3_error(
            operation=error.operation or "", status=412, s3_code="PreconditionFailed", bucket=bucket, key=key
        ) from error
    return None
