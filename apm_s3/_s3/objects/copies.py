"""Copies within S3, large ones in parts, and moves that never lose the object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from apm_s3._logs import LOGGER
from apm_s3._s3.engine import (
    Engine,
    explain_failed_head,
    listing_refusal,
    reading_options,
    within,
)
from apm_s3._s3.objects.conditional import honours, require_honoured, settle_write, spelled
from apm_s3._s3.objects.reading import head, keep_tags, read_tags
from apm_s3._s3.objects.sources import stored_with
from apm_s3._s3.objects.uploads import MultipartUpload, open_upload
from apm_s3._s3_responses import s3_error
from apm_s3._tasks import run_all
from apm_s3._wire.parts import Part, plan_parts
from apm_s3.errors import (
    BucketNotFound,
    IntegrityError,
    InvalidOption,
    NotFound,
    ObjectChanged,
    ObjectNotFound,
    PreconditionFailed,
    RequestRejected,
    S3Error,
    TransportError,
)
from apm_s3.models import DeleteOutcome, FileInfo
from apm_s3.models._objects import PartInfo
from apm_s3.options import CopyOptions, DeleteOptions, ReadOptions, UploadOptions
from apm_s3.options._writes import NewNameCopy

Place = tuple[str, str]
"""A bucket and a key."""


async def copy(engine: Engine, source: Place, target: Place, options: CopyOptions) -> FileInfo:
    """Copy an object within S3, in parts if S3 cannot do it in one request."""
    (source_bucket, source_key), (bucket, key) = source, target
    transport = engine.transport
    conditional = options.if_match is not None or options.if_none_match is not None

    async def send(chosen: CopyOptions) -> FileInfo:
        return await engine.runner.run(
            "copy_file",
            bucket,
            key,
            lambda: transport.copy(source_bucket, source_key, bucket, key, chosen),
            timeout=options.timeout,
            verdict=_written_anyway(engine, source, target, options) if conditional else None,
            storage_class=options.storage_class,
        )

    if conditional and type(options) is not NewNameCopy:
        await require_honoured(engine, "CopyObject", bucket, key, options)
    try:
        copied = await (spelled(engine, "CopyObject", bucket, key, options, send) if conditional else send(options))
    except BucketNotFound as exc:
        raise await _which_bucket(engine, exc, source_bucket, bucket, options) from exc
    except ObjectNotFound as exc:
        # Only the source has to exist.
        raise s3_error(
            operation="copy_file",
            status=404,
            s3_code=exc.s3_code,
            bucket=source_bucket,
            key=source_key,
            request_id=exc.request_id,
        ) from exc
    except RequestRejected as exc:
        if not _too_large(exc):
            raise
    else:
        if options.replace is not None:
            await keep_tags(engine, copied, options.replace.tags, options)
        return copied
    async with within(options.timeout, "copy_file", bucket, key):
        with engine.operation("copy_file", bucket, key):
            found = await _source(engine, source_bucket, source_key, options, "copy_file")
            return await copy_in_parts(engine, found, bucket, key, options)


async def move(
    engine: Engine, source: Place, target: Place, options: CopyOptions, *, mfa: str | None, bypass_governance: bool
) -> FileInfo:
    """Copy an object, verify the copy, then delete the source."""
    if source == target:
        raise InvalidOption(
            "an object cannot be moved onto itself", bucket=target[0], key=target[1], hint="use another bucket or key"
        )
    async with within(options.timeout, "move_file", *target):
        found = await _source(engine, *source, options, "move_file")
        if found.size >= engine.settings.transfer.multipart_threshold:
            copied = await copy_in_parts(engine, found, *target, options)
        else:
            copied = await copy(engine, source, target, replace(options, source_if_match=found.etag))
        moved = await _verified(engine, found, copied, options)
        deletion = DeleteOptions(
            version_id=options.source_version_id,
            if_match=None if options.source_version_id else found.etag,
            mfa=mfa,
            bypass_governance=bypass_governance,
            requester_pays=options.requester_pays,
            expected_bucket_owner=options.expected_source_bucket_owner,
        )
        await _check_source(engine, found, deletion, options)
        await _delete_source(engine, found, deletion, options)
    return moved


# --------------------------------------------------------------------------------------------------------------
# Parts


def _too_large(error: RequestRejected) -> bool:
    # S3 has no separate code for this: InvalidRequest, "The specified copy source is larger than the maximum allowable
    # size for a copy source: 5368709120".
    said_so = error.s3_code == "InvalidRequest" and "maximum allowable" in error.problem
    return said_so or error.s3_code == "EntityTooLarge"


async def copy_in_parts(
    engine: Engine, source: FileInfo, bucket: str, key: str, options: CopyOptions, parts: Sequence[Part] | None = None
) -> FileInfo:
    """Copy an object of any size with its metadata and tags, in parallel parts: those given, or of the settings' size.

    Raises:
        ObjectChanged: the source was replaced meanwhile.
    """
    plan = iter(parts or plan_parts(source.size, engine.settings.transfer.part_size))
    pinned = replace(options, source_if_match=source.etag)
    wanted = await _like_source(engine, source, options)
    async with open_upload(engine, bucket, key, wanted) as upload:
        made: list[PartInfo] = []

        async def work() -> None:
            for part in plan:
                made.append(await _copy_part(upload, source, part, pinned))  # noqa: PERF401 - several workers fill it

        try:
            await run_all(work() for _ in range(engine.settings.transfer.parallel_parts))
        except PreconditionFailed as exc:
            raise ObjectChanged(
                "the source was replaced while it was being copied",
                operation="copy_file",
                bucket=source.bucket,
                key=source.key,
                hint="copy it again",
            ) from exc
        return await upload.complete(made)


async def _copy_part(upload: MultipartUpload, source: FileInfo, part: Part, options: CopyOptions) -> PartInfo:
    transport = upload.engine.transport
    return await upload.run_part(
        "copy_part",
        lambda: transport.copy_part(
            source.bucket,
            source.key,
            (part.start, part.stop),
            upload.bucket,
            upload.key,
            upload.upload_id,
            part.number,
            options,
        ),
        part.size,
    )


async def _like_source(engine: Engine, source: FileInfo, options: CopyOptions) -> UploadOptions:
    """Return upload options that give the same result as CopyObject."""
    wanted = options.replace
    if wanted is None:
        tags = await read_tags(engine, source.bucket, source.key, _source_reading(options))
        wanted = UploadOptions(tags=tags, **stored_with(source))
    chosen: dict[str, Any] = {
        "storage_class": options.storage_class,
        "if_match": options.if_match,
        "if_none_match": options.if_none_match,
        "encryption": options.encryption,
        "kms_key_id": options.kms_key_id,
        "sse_customer_key": options.sse_customer_key,
        "expected_bucket_owner": options.expected_bucket_owner,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    return replace(wanted, requester_pays=options.requester_pays, **given)


# --------------------------------------------------------------------------------------------------------------
# Both ends


def _written_anyway(
    engine: Engine, source: Place, target: Place, options: CopyOptions
) -> Callable[[S3Error, bool], Awaitable[FileInfo | None]]:
    async def is_ours(info: FileInfo) -> bool:
        original = await engine.transport.head(*source, _source_reading(options))
        return (info.etag, info.size) == (original.etag, original.size)

    async def verdict(error: S3Error, unresolved: bool) -> FileInfo | None:
        return await settle_write(engine, *target, options, is_ours, error, unresolved)

    return verdict


async def _source(engine: Engine, bucket: str, key: str, options: CopyOptions, operation: str) -> FileInfo:
    reading = _source_reading(options)
    try:
        return await head(engine, bucket, key, reading, operation)
    except NotFound as exc:
        raise await explain_failed_head(engine, exc, operation, reading) from exc


def _source_reading(options: CopyOptions) -> ReadOptions:
    return ReadOptions(
        version_id=options.source_version_id,
        if_match=options.source_if_match,
        if_none_match=options.source_if_none_match,
        sse_customer_key=options.source_sse_customer_key,
        requester_pays=options.requester_pays,
        expected_bucket_owner=options.expected_source_bucket_owner,
    )


async def _which_bucket(
    engine: Engine, error: BucketNotFound, source_bucket: str, bucket: str, options: CopyOptions
) -> BucketNotFound:
    """Return the error for the missing bucket; S3's response does not say which of the two it is."""
    if source_bucket == bucket:
        return error
    try:
        refused = await listing_refusal(engine, source_bucket, "", _source_reading(options))
    except TransportError:
        return error
    missing = source_bucket if isinstance(refused, BucketNotFound) else bucket
    explained = s3_error(
        operation="copy_file", status=404, s3_code="NoSuchBucket", bucket=missing, request_id=error.request_id
    )
    return explained if isinstance(explained, BucketNotFound) else error


async def _verified(engine: Engine, source: FileInfo, copied: FileInfo, options: CopyOptions) -> FileInfo:
    """Return the object at the destination, if it is the copy and has the length of the source."""
    reading = replace(reading_options(options), if_match=copied.etag)
    try:
        found = await head(engine, copied.bucket, copied.key, reading, "move_file")
    except (PreconditionFailed, NotFound) as exc:
        raise ObjectChanged(
            "the copy was replaced or deleted before it could be verified; the source was left",
            operation="move_file",
            bucket=copied.bucket,
            key=copied.key,
        ) from exc
    if found.size != source.size:
        raise IntegrityError(
            f"the copy has {found.size} bytes instead of {source.size}; the source was left",
            operation="move_file",
            bucket=copied.bucket,
            key=copied.key,
        )
    return found


async def _check_source(engine: Engine, source: FileInfo, deletion: DeleteOptions, options: CopyOptions) -> None:
    """Where the server ignores the condition of the deletion, and keeps no versions, look at the source just before it.

    Raises:
        ObjectChanged: the source was replaced.
    """
    if deletion.if_match is None or source.version_id is not None:
        return
    if await honours(engine, "DeleteObject", "If-Match", source.bucket, source.key, deletion):
        return
    LOGGER.warning(
        "move_file: this server ignores If-Match on DeleteObject: a version of '%s/%s' written at this moment is lost",
        source.bucket, source.key,
    )  # fmt: skip
    reading = replace(_source_reading(options), if_match=source.etag, if_none_match=None)
    try:
        await head(engine, source.bucket, source.key, reading, "move_file")
    except PreconditionFailed as exc:
        raise _replaced(source) from exc
    except NotFound:
        return


def _replaced(source: FileInfo) -> ObjectChanged:
    return ObjectChanged(
        "the source was replaced after it had been copied: both the copy and the new source exist",
        operation="move_file",
        bucket=source.bucket,
        key=source.key,
        hint="move it again to move the new one as well",
    )


async def _delete_source(engine: Engine, source: FileInfo, deletion: DeleteOptions, options: CopyOptions) -> None:
    transport = engine.transport

    async def deleted_before(_error: S3Error, _unresolved: bool) -> DeleteOutcome | None:
        # An earlier attempt of this deletion, or another client, may have deleted it: either way it is gone.
        reading = replace(_source_reading(options), if_match=None, if_none_match=None)
        try:
            await transport.head(source.bucket, source.key, reading)
        except NotFound:
            return DeleteOutcome(source.key)
        return None

    try:
        await engine.runner.run(
            "move_file",
            source.bucket,
            source.key,
            lambda: transport.delete(source.bucket, source.key, deletion),
            verdict=deleted_before,
        )
    except NotFound:
        # Another client has deleted it meanwhile.
        return
    except PreconditionFailed as exc:
        raise _replaced(source) from exc
