"""Uploads: by one PUT, or in parts where they are large or their size is not known.

Invariants: at most `parallel_parts` parts of an upload are in memory or in flight; no upload stays open after a failure
or a cancellation, unless the caller wants to resume it; S3 shows the whole object or none of it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from apm_s3._beneath import Below
from apm_s3._s3.engine import Engine, check_target, reading_options, within
from apm_s3._s3.objects.conditional import require_honoured, settle_write, spelled
from apm_s3._s3.objects.reading import head, keep_tags
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
from apm_s3._tasks import run_all, shielded
from apm_s3._wire.content_types import content_type
from apm_s3._wire.parts import MAX_PART, MAX_PARTS, Part, composite_etag, plan_parts, stream_part_size
from apm_s3.errors import (
    ApmS3Error,
    IntegrityError,
    InvalidOption,
    ObjectChanged,
    ObjectTooLarge,
    S3Error,
    UploadNotFound,
)
from apm_s3.models import FileInfo, Source, UploadInfo
from apm_s3.models._objects import PartInfo, Stream
from apm_s3.options import ListOptions, UploadOptions
from apm_s3.options._writes import UPLOAD_DEFAULTS

_ABORT_TIMEOUT = 30.0
_COMPLETE_SECONDS_PER_PART = 0.1
"""S3 may need minutes to assemble many parts:
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html."""
_PARALLEL_ABORTS = 16


class MultipartUpload:
    """One open upload."""

    def __init__(self, engine: Engine, bucket: str, key: str, upload_id: str, options: UploadOptions) -> None:
        self.engine = engine
        self.bucket = bucket
        self.key = key
        self.upload_id = upload_id
        self.options = options

    async def send(self, part: Part, source: RandomSource) -> PartInfo:
        """Send one part of `source`."""
        transport = self.engine.transport
        body = source.body(part.start, part.stop)
        return await self.run_part(
            "upload_part",
            guarded(
                source,
                lambda: transport.upload_part(self.bucket, self.key, self.upload_id, part.number, body, self.options),
            ),
            part.size,
            bytes_sent=part.size,
        )

    async def run_part(
        self, operation: str, attempt: Callable[[], Awaitable[PartInfo]], size: int, *, bytes_sent: int = 0
    ) -> PartInfo:
        """Create one part of `size` bytes."""
        timeout = self.engine.settings.timeouts.for_bytes(size)
        return await self.engine.runner.run(
            operation, self.bucket, self.key, attempt, timeout=timeout, bytes_sent=bytes_sent
        )

    async def complete(self, parts: Iterable[PartInfo]) -> FileInfo:
        """Complete the upload from `parts`."""
        transport = self.engine.transport
        ordered = sorted(parts, key=lambda part: part.number)

        expected = composite_etag([part.etag for part in ordered])

        async def is_ours(info: FileInfo) -> bool:
            return expected is not None and info.etag == expected

        async def landed(error: S3Error, unresolved: bool) -> FileInfo | None:
            return await settle_write(self.engine, self.bucket, self.key, self.options, is_ours, error, unresolved)

        async def send(options: UploadOptions) -> FileInfo:
            return await self.engine.runner.run(
                "complete_upload",
                self.bucket,
                self.key,
                lambda: transport.complete_upload(self.bucket, self.key, self.upload_id, ordered, options),
                timeout=self.engine.settings.timeouts.deadline + len(ordered) * _COMPLETE_SECONDS_PER_PART,
                verdict=landed,
                storage_class=options.storage_class,
            )

        info = await spelled(
            self.engine, "CompleteMultipartUpload", self.bucket, self.key, replace(self.options, timeout=None), send
        )
        if not info.etag:
            info = await self._completed_before(sum(part.size for part in ordered), expected)
        await keep_tags(self.engine, info, self.options.tags, self.options)
        return info

    async def _completed_before(self, size: int, etag: str | None) -> FileInfo:
        """Return the object that an earlier attempt has made, whose response was lost.

        Raises:
            IntegrityError: it is another object.
        """
        found = await head(self.engine, self.bucket, self.key, reading_options(self.options), "complete_upload")
        if found.size != size or etag not in (None, found.etag):
            raise IntegrityError(
                "the server says that the upload was completed, but there is another object",
                operation="complete_upload",
                bucket=self.bucket,
                key=self.key,
            )
        return found


async def abort_upload(
    engine: Engine,
    bucket: str,
    key: str,
    upload_id: str,
    options: UploadOptions,
    *,
    operation: str = "abort_upload",
) -> bool:
    """Abort an upload, so that S3 deletes its parts; return False if it was not open any more."""

    async def attempt() -> bool:
        await engine.transport.abort_upload(bucket, key, upload_id, options)
        return True

    async def resolve_outcome(error: S3Error, unresolved: bool) -> bool | None:
        # An earlier attempt of this call, whose response was lost, has aborted it.
        return True if unresolved and isinstance(error, UploadNotFound) else None

    try:
        return await engine.runner.run(operation, bucket, key, attempt, verdict=resolve_outcome)
    except UploadNotFound:
        return False


@asynccontextmanager
async def open_upload(engine: Engine, bucket: str, key: str, options: UploadOptions) -> AsyncIterator[MultipartUpload]:
    """A multipart upload that is aborted on anything but success, cancellation included."""

    async def abort(upload_id: str) -> None:
        await abort_upload(engine, bucket, key, upload_id, options)

    await require_honoured(engine, "CompleteMultipartUpload", bucket, key, options)
    # Shielded, because a cancellation could leave an upload with an unknown id, which S3 bills forever.
    upload_id = await shielded(
        engine.runner.run("create_upload", bucket, key, lambda: engine.transport.create_upload(bucket, key, options)),
        on_cancel=abort,
        timeout=_ABORT_TIMEOUT,
    )
    try:
        yield MultipartUpload(engine, bucket, key, upload_id, options)
    except BaseException as failure:
        try:
            await shielded(abort(upload_id), timeout=_ABORT_TIMEOUT)
        except ApmS3Error as exc:
            failure.add_note(
                f"The multipart upload {upload_id} is still open; cleanup_uploads removes it. Aborting it failed: {exc}"
            )
        raise


async def upload_in_parts(
    engine: Engine, bucket: str, key: str, source: RandomSource, options: UploadOptions
) -> FileInfo:
    """Send a source of known size in parallel parts.

    Raises:
        ObjectTooLarge: the source does not fit into 10 000 parts of 5 GiB.
        ObjectChanged: the file changed meanwhile; nothing is stored.
    """
    plan = plan_parts(source.size, engine.settings.transfer.part_size)
    async with open_upload(engine, bucket, key, options) as upload:
        sent = await _send_parts(upload, source, plan)
        _check_unchanged(source)
        return await upload.complete(sent)


async def resume_in_parts(
    engine: Engine, bucket: str, key: str, source: PathSource, options: UploadOptions
) -> FileInfo:
    """Like `upload_in_parts`, but continue an interrupted upload, and keep the parts after a failure."""
    plan = plan_parts(source.size, engine.settings.transfer.part_size)
    await require_honoured(engine, "CompleteMultipartUpload", bucket, key, options)
    upload_id = await _newest_upload(engine, bucket, key, options)
    if upload_id is None:
        upload_id = await engine.runner.run(
            "create_upload", bucket, key, lambda: engine.transport.create_upload(bucket, key, options)
        )
    upload = MultipartUpload(engine, bucket, key, upload_id, options)
    there = await engine.runner.run(
        "list_parts", bucket, key, lambda: engine.transport.list_parts(bucket, key, upload_id, options)
    )
    kept = await _matching_parts(source, plan, there, engine.settings.transfer.parallel_parts)
    numbers = {part.number for part in kept}
    sent = await _send_parts(upload, source, [part for part in plan if part.number not in numbers])
    _check_unchanged(source)
    return await upload.complete([*kept, *sent])


async def upload_stream(
    engine: Engine, bucket: str, key: str, reader: StreamReader, options: UploadOptions, size: int | None
) -> FileInfo:
    """Send a source that can be read only once.

    Args:
        size: the expected number of bytes, if known.
    """
    async with open_upload(engine, bucket, key, options) as upload:
        sent = await _StreamParts(upload, reader).send()
        check_length(sum(part.size for part in sent), size)
        return await upload.complete(sent)


def check_length(received: int, size: int | None) -> None:
    """Check the size of a stream.

    Raises:
        ObjectChanged: the size differs.
    """
    if size is not None and received != size:
        raise ObjectChanged(
            f"the source gave {received} bytes or more instead of {size}"
            if received > size
            else f"the source gave {received} bytes instead of {size}",
            hint="nothing was stored: pass the actual size, or omit it",
        )


class _StreamParts:
    """Sends the parts of a stream: each worker reads a block in turn and sends it, so it holds at most one block."""

    def __init__(self, upload: MultipartUpload, reader: StreamReader) -> None:
        transfer = upload.engine.settings.transfer
        self._upload = upload
        self._reader = reader
        self._part_size = transfer.part_size
        self._workers = transfer.parallel_parts
        self._memory = transfer.part_size * transfer.parallel_parts
        self._ended = False
        self._reading = asyncio.Lock()
        self._number = 1
        self._sent: list[PartInfo] = []

    async def send(self) -> list[PartInfo]:
        await run_all(self._work() for _ in range(self._workers))
        return self._sent

    async def _work(self) -> None:
        # One block for all parts of a worker: new blocks would fragment memory and need twice as much. A part has been
        # sent, or given up, before the next one is read into the block.
        block = bytearray()
        while True:
            async with self._reading:
                number = self._number
                size = stream_part_size(number, self._part_size)
                crowded = self._workers > 1 and size * self._workers > self._memory
                if self._ended or crowded:
                    self._workers -= 1
                    return
                if len(block) < size:
                    block = bytearray(size)
                source = await self._take(number, memoryview(block)[:size])
            if not source.size:
                return
            self._sent.append(await self._upload.send(Part(number, 0, source.size), source))
            # Code that still holds a body of the part must not see the next part.
            source.release()

    async def _take(self, number: int, block: memoryview) -> MemorySource:
        received = await self._reader.read_into(block)
        self._ended = received < len(block)
        if received and number > MAX_PARTS:
            limit = sum(stream_part_size(part, self._part_size) for part in range(1, MAX_PARTS + 1))
            raise ObjectTooLarge(size=limit + received, limit=limit, bucket=self._upload.bucket, key=self._upload.key)
        self._number += 1
        return MemorySource(block[:received])


async def _send_parts(upload: MultipartUpload, source: RandomSource, plan: Iterable[Part]) -> list[PartInfo]:
    parts = iter(plan)
    sent: list[PartInfo] = []

    async def work() -> None:
        for part in parts:
            sent.append(await upload.send(part, source))  # noqa: PERF401 - several workers fill it

    await run_all(work() for _ in range(upload.engine.settings.transfer.parallel_parts))
    return sent


def _check_unchanged(source: RandomSource) -> None:
    # Each part came from one state of the file; this makes sure that it was the same one for all.
    if isinstance(source, PathSource):
        source.check()


async def _newest_upload(engine: Engine, bucket: str, key: str, options: UploadOptions) -> str | None:
    listing = ListOptions(
        prefix=key, requester_pays=options.requester_pays, expected_bucket_owner=options.expected_bucket_owner
    )
    uploads = await engine.runner.run(
        "list_uploads", bucket, key, lambda: engine.transport.list_uploads(bucket, listing)
    )
    ours = [upload for upload in uploads if upload.key == key]
    newest = max(ours, key=lambda upload: upload.initiated or datetime.min.replace(tzinfo=UTC), default=None)
    return newest.upload_id if newest else None


async def _matching_parts(
    source: PathSource, plan: Iterable[Part], there: Iterable[PartInfo], parallel: int
) -> list[PartInfo]:
    """Return the parts at S3 whose MD5 matches the file; parts whose ETag is not an MD5 are sent again."""
    known = {part.number: part for part in there}

    async def match(part: Part, info: PartInfo) -> PartInfo | None:
        digest = hashlib.md5(usedforsecurity=False)
        await asyncio.to_thread(source.hash_part, part.start, part.stop, digest)
        return info if info.etag.strip('"') == digest.hexdigest() else None

    pairs = [(part, known[part.number]) for part in plan if part.number in known]
    checked = await run_all([match(part, info) for part, info in pairs if info.size == part.size], limit=parallel)
    return [info for info in checked if info is not None]


async def abort_old_uploads(
    engine: Engine, bucket: str, prefix: str, before: datetime, options: UploadOptions
) -> tuple[UploadInfo, ...]:
    """Abort the uploads under `prefix` that were started before that time, and return them."""
    listing = ListOptions(
        prefix=prefix, requester_pays=options.requester_pays, expected_bucket_owner=options.expected_bucket_owner
    )
    found = await engine.runner.run(
        "cleanup_uploads", bucket, None, lambda: engine.transport.list_uploads(bucket, listing)
    )
    # Some servers list the uploads of a whole bucket, whatever prefix was requested.
    wanted = [upload for upload in found if upload.key.startswith(prefix)]
    old = [upload for upload in wanted if upload.initiated is not None and upload.initiated <= before]
    gone = await run_all(
        [abort_upload(engine, bucket, upload.key, upload.upload_id, options) for upload in old],
        limit=_PARALLEL_ABORTS,
    )
    return tuple(upload for upload, aborted in zip(old, gone, strict=True) if aborted)


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
