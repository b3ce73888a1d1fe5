"""Uploads: by one PUT, or in parts where they are large or their size is not known."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path

from apm_s3._beneath import Below
from apm_s3._s3.engine import Engine, check_target, reading_options, within
from apm_s3._s3.objects.conditional import settle_write, spelled
from apm_s3._s3.objects.multipart import check_length, resume_in_parts, upload_in_parts, upload_stream
from apm_s3._s3.objects.sources import (
    MemorySource,
    PathSource,
    RandomSource,
    StreamReader,
    guarded,
    open_path,
    open_source,
    stored_with,
)
from apm_s3._s3.objects.streams import Download
from apm_s3._tasks import shielded
from apm_s3._wire.content_types import content_type
from apm_s3._wire.parts import MAX_PART
from apm_s3.errors import InvalidOption, S3Error
from apm_s3.models import FileInfo, Source
from apm_s3.models._objects import Stream
from apm_s3.options._writes import UPLOAD_DEFAULTS, UploadOptions


@lru_cache(maxsize=256)
def typed(media_type: str) -> UploadOptions:
    """Return options with only a content type, as most uploads have them."""
    return UploadOptions(content_type=media_type)


async def store(
    engine: Engine,
    bucket: str,
    key: str,
    source: Source | Download,
    options: UploadOptions | None,
    *,
    resume: bool,
    size: int | None,
) -> FileInfo:
    """Store a source of any kind: the whole of `upload_file`, so that a call imports one name."""
    check_target(bucket, key)
    if isinstance(source, Download):
        return await upload_download(engine, bucket, key, source, options or UPLOAD_DEFAULTS)
    if options is None:
        options = typed(content_type(key))
    elif options.content_type is None:
        options = dataclasses.replace(options, content_type=content_type(key))
    threshold = engine.settings.transfer.multipart_threshold
    if type(source) is bytes and len(source) < threshold and not resume and size is None:
        if options.if_match is None and options.if_none_match is None:
            transport = engine.transport
            return await engine.runner.run(
                "upload_file",
                bucket,
                key,
                lambda: transport.put(bucket, key, source, options),
                timeout=options.timeout,
                bytes_sent=len(source),
                storage_class=options.storage_class,
            )
        return await put(engine, bucket, key, MemorySource(source), options)
    return await upload(engine, bucket, key, source, options, resume=resume, size=size)


async def upload(
    engine: Engine, bucket: str, key: str, source: Source, options: UploadOptions, *, resume: bool, size: int | None
) -> FileInfo:
    """Store `source`, by one PUT or in parts."""
    opened = open_source(source)
    if size is not None and (size < 0 or not isinstance(opened, StreamReader)):
        raise InvalidOption("size is for files and async iterables", hint="omit it, or pass 0 or more bytes")
    if resume and not isinstance(opened, Path):
        raise InvalidOption("resume needs a path: other sources cannot be read again", hint="pass a pathlib.Path")
    async with within(options.timeout, "upload_file", bucket, key):
        if isinstance(opened, StreamReader):
            try:
                return await _upload_stream(engine, bucket, key, opened, options, size)
            finally:
                await opened.aclose()
        if isinstance(opened, Path | Below):
            opened = await open_path(opened)
        if opened.size < min(engine.settings.transfer.multipart_threshold, MAX_PART):
            return await put(engine, bucket, key, opened, options)
        with engine.operation("upload_file", bucket, key):
            if resume and isinstance(opened, PathSource):
                return await resume_in_parts(engine, bucket, key, opened, options)
            return await upload_in_parts(engine, bucket, key, opened, options)


async def _upload_stream(
    engine: Engine, bucket: str, key: str, reader: StreamReader, options: UploadOptions, size: int | None
) -> FileInfo:
    transfer = engine.settings.transfer
    known = reader.expected if size is None else size
    if size is None or size < min(transfer.multipart_threshold, MAX_PART):
        small = transfer.part_size - 1
        if known is not None and known < min(transfer.multipart_threshold, MAX_PART):
            small = known if size is not None else max(known, small)
        # Read one byte more than one PUT may have, to see whether the stream has ended.
        first = await reader.read(small + 1)
        if len(first) <= small:
            check_length(len(first), size)
            return await put(engine, bucket, key, MemorySource(first), options)
        check_length(len(first), size)
        reader.give_back(first)
        del first  # otherwise it stays in memory in addition to the parts
    with engine.operation("upload_file", bucket, key):
        return await upload_stream(engine, bucket, key, reader, options, size)


async def upload_download(engine: Engine, bucket: str, key: str, source: Download, options: UploadOptions) -> FileInfo:
    """Store the rest of a download, with the content type, metadata and headers of its origin."""
    async with within(options.timeout, "upload_file", bucket, key):
        try:
            await source
            given = {name: value for name, value in stored_with(source.info).items() if not getattr(options, name)}
            given.setdefault("content_type", options.content_type or content_type(key))
            options = dataclasses.replace(options, **given)
            return await _upload_stream(engine, bucket, key, StreamReader(source), options, source.remaining)
        finally:
            await shielded(source.aclose())


async def put(engine: Engine, bucket: str, key: str, source: RandomSource, options: UploadOptions) -> FileInfo:
    """Store `source` by one PUT. If the response to a conditional one is lost, read the object to find the outcome."""
    transport = engine.transport
    body = source.body(0, source.size)

    async def is_ours(info: FileInfo) -> bool:
        return await _holds(engine, info, body, source.size, options)

    async def landed(error: S3Error, unresolved: bool) -> FileInfo | None:
        return await settle_write(engine, bucket, key, options, is_ours, error, unresolved)

    async def send(chosen: UploadOptions) -> FileInfo:
        return await engine.runner.run(
            "upload_file",
            bucket,
            key,
            guarded(source, lambda: transport.put(bucket, key, body, chosen)),
            timeout=options.timeout,
            verdict=landed if conditional else None,
            bytes_sent=source.size,
            storage_class=options.storage_class,
        )

    conditional = options.if_match is not None or options.if_none_match is not None
    return await spelled(engine, "PutObject", bucket, key, options, send)


async def _holds(engine: Engine, info: FileInfo, body: bytes | Stream, size: int, options: UploadOptions) -> bool:
    """Return whether the object is `body`, with its metadata."""
    wanted = {name.lower(): value for name, value in options.metadata.items()}
    if info.size != size or (info.metadata or {}) != wanted:
        return False
    stored = await engine.transport.open(info.bucket, info.key, reading_options(options))
    try:
        theirs = await _digest(aiter(stored))
    finally:
        await stored.aclose()
    ours = await _digest(body.open()) if isinstance(body, Stream) else hashlib.sha256(body).digest()
    return theirs == ours


async def _digest(pieces: AsyncIterator[bytes]) -> bytes:
    digest = hashlib.sha256()
    async for piece in pieces:
        digest.update(piece)
    return digest.digest()
