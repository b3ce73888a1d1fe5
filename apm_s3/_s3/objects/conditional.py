"""Conditional writes: how the server wants an ETag spelled, and the outcome if its response does not show it."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from apm_s3._logs import LOGGER
from apm_s3._s3.engine import Engine, reading_options, within
from apm_s3._s3.objects.reading import head
from apm_s3._s3_responses import s3_error
from apm_s3._tasks import shielded
from apm_s3.errors import (
    AccessDenied,
    ApmS3Error,
    BucketNotFound,
    ConditionalConflict,
    ConditionalWritesUnsupported,
    NotFound,
    PreconditionFailed,
    RequestRejected,
    S3Error,
    UnsupportedByServer,
)
from apm_s3.events import expecting
from apm_s3.models import FileInfo
from apm_s3.options import CopyOptions, DeleteOptions, UploadOptions
from apm_s3.options._writes import HashedUpload

_PROBE = b"apm-s3 asks whether this server honours conditional writes; this object can be deleted\n"
_NO_ETAG = '"00000000000000000000000000000000"'
_REMOVAL_SECONDS = 10.0
_LONGEST_FOLDER = 900

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


async def require_honoured(engine: Engine, api: str, bucket: str, key: str, options: WriteOptions) -> None:
    """Make sure that the server honours the condition of `options`, if it has one, before a request relies on it.

    Servers that honour conditions of PutObject may ignore those of other requests.

    Raises:
        ConditionalWritesUnsupported: it ignores it; nothing was sent but the probe.
    """
    condition = "If-Match" if options.if_match is not None else "If-None-Match"
    if options.if_match is None and getattr(options, "if_none_match", None) is None:
        return
    if not await honours(engine, api, condition, bucket, key, options):
        raise ConditionalWritesUnsupported(
            f"the endpoint ignores {condition} on {api}",
            operation=api,
            bucket=bucket,
            key=key,
            hint="leave the condition out, or store the object in one PUT, whose conditions more servers honour",
        )


async def honours(engine: Engine, api: str, condition: str, bucket: str, key: str, options: WriteOptions) -> bool:
    """Return whether the endpoint honours a condition: known of AWS, found out once of any other.

    The probe is an object beside `key`, which is removed again. If it is not allowed, the answer is a warning and True.
    """
    known = engine.conditions.honoured
    if (api, condition) in known:
        return known[api, condition]
    if (await engine.control.endpoint()).is_aws:
        return True
    async with engine.conditions.asking:
        if (api, condition) not in known:
            try:
                known[api, condition] = await _Probe(engine, api, condition, bucket, key, options).ask()
            except BucketNotFound:
                raise
            except (AccessDenied, NotFound, RequestRejected, UnsupportedByServer) as error:
                LOGGER.warning("it is not known whether this server honours %s on %s: %s", condition, api, error)
                return True
        return known[api, condition]


class _Probe:
    """Sends a request whose condition cannot hold, about an object of its own."""

    def __init__(self, engine: Engine, api: str, condition: str, bucket: str, key: str, options: WriteOptions) -> None:
        self._engine = engine
        self._api = api
        self._bucket = bucket
        # Beside the key, because a policy may allow no other location.
        self._key = f"{key[: key.rfind('/') + 1][:_LONGEST_FOLDER]}.apm-s3-probe-{os.urandom(16).hex()}"
        self._condition: dict[str, Any] = {"if_match": _NO_ETAG} if condition == "If-Match" else {"if_none_match": "*"}
        self._access: dict[str, Any] = {
            "requester_pays": options.requester_pays,
            "expected_bucket_owner": options.expected_bucket_owner,
        }

    async def ask(self) -> bool:
        """Return whether the request is refused."""
        plain = UploadOptions(**self._access)
        made: list[str | None] = []
        try:
            made.append((await self._put(plain)).version_id)
            try:
                with expecting(PreconditionFailed):
                    made.append(await self._send(UploadOptions(**self._access, **self._condition)))
            except PreconditionFailed:
                return True
            return False
        finally:
            await shielded(self._remove(made), timeout=_REMOVAL_SECONDS)

    async def _send(self, options: UploadOptions) -> str | None:
        """Send the request, and return the version that it has made."""
        transport, place = self._engine.transport, (self._bucket, self._key)
        if self._api == "CopyObject":
            replaced = UploadOptions(metadata={"probe": "copy"})  # S3 refuses to copy an object onto itself unchanged
            copying = CopyOptions(replace=replaced, **self._access, **self._condition)
            return (await self._run(lambda: transport.copy(*place, *place, copying))).version_id
        if self._api == "DeleteObject":
            deleting = DeleteOptions(**self._access, **self._condition)
            return (await self._run(lambda: transport.delete(*place, deleting))).version_id

        async def abort(upload_id: str) -> None:
            with suppress(ApmS3Error):
                await self._run(lambda: transport.abort_upload(*place, upload_id, options))

        upload_id = await shielded(
            self._run(lambda: transport.create_upload(*place, options)), on_cancel=abort, timeout=_REMOVAL_SECONDS
        )
        try:
            part = await self._run(lambda: transport.upload_part(*place, upload_id, 1, _PROBE, options))
            return (await self._run(lambda: transport.complete_upload(*place, upload_id, [part], options))).version_id
        finally:
            await shielded(abort(upload_id), timeout=_REMOVAL_SECONDS)

    async def _put(self, options: UploadOptions) -> FileInfo:
        return await self._run(lambda: self._engine.transport.put(self._bucket, self._key, _PROBE, options))

    async def _remove(self, versions: Sequence[str | None]) -> None:
        for version in dict.fromkeys(versions or [None]):
            deleting = DeleteOptions(version_id=version, **self._access)
            try:
                await self._run(partial(self._engine.transport.delete, self._bucket, self._key, deleting))
            except ApmS3Error as error:
                LOGGER.warning("the probe '%s/%s' could not be deleted: %s", self._bucket, self._key, error)

    async def _run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        return await self._engine.runner.run("probe_conditions", self._bucket, self._key, attempt)


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
