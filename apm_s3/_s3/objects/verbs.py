"""One object at a time: upload, read, look at, delete, presign; and deletion of many.

The first lines of `upload_file`, `read_file`, `head_file` and `delete_file` are the library's hottest path.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from apm_s3._naming import check_key
from apm_s3._s3.engine import (
    READ_DEFAULTS,
    Engine,
    Operations,
    check_bucket,
    check_target,
    reading_options,
    told_apart,
    within,
)
from apm_s3._s3.objects.conditional import settle_write
from apm_s3._s3.objects.memory import policies_for, received, remembered_body, remembered_info
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
from apm_s3._s3.runner import ANSWERS
from apm_s3._s3_answers import s3_error
from apm_s3._tasks import run_all, shielded
from apm_s3._wire import xml
from apm_s3._wire.content_types import content_type
from apm_s3._wire.parts import MAX_PART
from apm_s3.errors import AccessDenied, ApmS3Error, InvalidKey, InvalidOption, NotFound, S3Error
from apm_s3.models import DeleteOutcome, DeleteReport, FileInfo, KeyFailure, Source, Stream
from apm_s3.options import DeleteOptions, ReadOptions, UploadOptions

MAX_PRESIGN = 7 * 24 * 3600
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html."""

_DELETE_DEFAULTS = DeleteOptions()
_UPLOAD_DEFAULTS = UploadOptions()
_DELETE_BATCH = 1000
_PARALLEL_DELETES = 16
_PASSING = frozenset({"InternalError", "ServiceUnavailable", "SlowDown", "OperationAborted", "RequestTimeout", ""})
"""Codes after which a key is tried again; "" is that of a key of which the answer says nothing."""


class ObjectOperations(Operations):
    """What the manager does with single objects."""

    async def upload_file(
        self,
        bucket: str,
        key: str,
        source: Source,
        options: UploadOptions | None = None,
        *,
        resume: bool = False,
        size: int | None = None,
    ) -> FileInfo:
        """Store an object: whole, or not at all.

        From `settings.transfer.multipart_threshold` bytes on, it goes in parallel parts; so does a source of unknown
        size that is longer than one part. A stream whose size is known (`size`, a `Download`, an open file) is held in
        memory below that threshold, and stored by one PUT. Without a content type in `options`, one is guessed from
        the key.

        Args:
            source: bytes, a `pathlib.Path`, a file opened in binary mode (read from where it stands), an async
                iterable of bytes, or a `Download`, of this manager or another one: the way to copy between servers.
                What is left of it is stored, with its content type, metadata and headers where `options` give none
                (but without its tags), and it is closed. A `str` is refused: it could mean a path or a text.
            resume: for a path that is sent in parts: go on with what an interrupted call has left at S3, after
                checking it against the file, and leave what was sent for the next call if this one fails, too. Give
                the same options again: those of the call that began the upload hold. `cleanup_uploads` removes what
                nobody resumes.
            size: the bytes that a file or an async iterable will give.

        Raises:
            InvalidRequest: the bucket's name, the key, the source or an option cannot be used; nothing was sent.
            PreconditionFailed: `if_match` or `if_none_match` did not hold.
            ObjectChanged: the file changed while it was being read, or a source gave another number of bytes than
                `size`; nothing is stored.
            OSError: the file cannot be read; nothing is stored.
        """
        engine = self._engine
        check_target(bucket, key)
        if isinstance(source, Download):
            return await _upload_download(engine, bucket, key, source, options or _UPLOAD_DEFAULTS)
        if options is None:
            options = _typed(content_type(key))
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
            return await _put(engine, bucket, key, MemorySource(source), options)
        return await _upload(engine, bucket, key, source, options, resume=resume, size=size)

    async def read_file(
        self, bucket: str, key: str, options: ReadOptions | None = None, *, refresh: bool = False
    ) -> bytes:
        """The content of an object, its length and (where S3 has one of the whole object) its checksum verified.

        Args:
            refresh: past what is remembered (see `CacheSettings.objects`).

        Raises:
            BucketNotFound, ObjectNotFound: there is no such bucket, or no such key in it.
            ObjectArchived: it has to be restored from its archive class first.
            IntegrityError: what came is not what is stored.
        """
        engine = self._engine
        check_target(bucket, key)
        options = options or READ_DEFAULTS
        if engine.object_policies is not None:
            policies = policies_for(engine, options)
            if policies is not None:
                return await remembered_body(engine, policies, bucket, key, options, refresh=refresh)
        transport = engine.transport
        _, data = await engine.runner.run(
            "read_file",
            bucket,
            key,
            lambda: transport.read(bucket, key, options),
            timeout=options.timeout,
            measure=received,
        )
        return data

    async def head_file(
        self, bucket: str, key: str, options: ReadOptions | None = None, *, refresh: bool = False
    ) -> FileInfo:
        """What S3 says of an object, without its content.

        Args:
            refresh: past what is remembered (see `CacheSettings.objects`).

        Raises:
            BucketNotFound, ObjectNotFound: there is no such bucket, or no such key in it.
        """
        engine = self._engine
        check_target(bucket, key)
        options = options or READ_DEFAULTS
        policies = policies_for(engine, options)
        if policies is None:
            return await _head_told_apart(engine, bucket, key, options)
        return await remembered_info(
            engine,
            policies,
            bucket,
            key,
            options,
            refresh=refresh,
            read=lambda: _head_told_apart(engine, bucket, key, READ_DEFAULTS),
        )

    async def file_exists(self, bucket: str, key: str, options: ReadOptions | None = None) -> bool:
        """Whether there is such an object. A missing bucket has none; a 403 is an error, never False."""
        engine = self._engine
        check_target(bucket, key)
        options = options or READ_DEFAULTS
        try:
            await head(engine, bucket, key, options, operation="file_exists", answers=(*ANSWERS, NotFound))
        except NotFound:
            return False
        except AccessDenied as exc:
            told = await told_apart(engine, exc, "file_exists", options)
            if told is exc:
                raise
            raise told from exc
        return True

    async def delete_file(self, bucket: str, key: str, options: DeleteOptions | None = None) -> DeleteOutcome:
        """Delete an object, or one version of it. S3 does not mind if there is none.

        Raises:
            BucketNotFound: there is no such bucket.
            AccessDenied: the credentials may not, or the version is locked.
        """
        engine = self._engine
        check_target(bucket, key)
        options = options or _DELETE_DEFAULTS
        transport = engine.transport
        return await engine.runner.run(
            "delete_file", bucket, key, lambda: transport.delete(bucket, key, options), timeout=options.timeout
        )

    async def delete_files(
        self, bucket: str, keys: Iterable[str | tuple[str, str | None]], options: DeleteOptions | None = None
    ) -> DeleteReport:
        """Delete many objects, 1000 a request, with the outcome of each.

        Args:
            keys: keys, or (key, version id).

        Raises:
            BucketNotFound: there is no such bucket.
            ApmS3Error: none of the requests was answered; otherwise the keys of a request that failed are in the
                report's `failed`.
        """
        engine = self._engine
        check_bucket(bucket)
        options = options or _DELETE_DEFAULTS
        if options.version_id is not None or options.if_match is not None:
            raise InvalidOption("version_id and if_match are for one key", hint="give (key, version id) pairs")
        plain, odd = _sorted_out(bucket, keys)
        batches = [
            _Deletion(engine, bucket, plain[start : start + _DELETE_BATCH], options)
            for start in range(0, len(plain), _DELETE_BATCH)
        ]
        work = [batch.run() for batch in batches] + [_delete_alone(engine, bucket, target, options) for target in odd]
        async with within(options.timeout, "delete_files", bucket, None):
            reports = await run_all(work, limit=_PARALLEL_DELETES)
        errors = [report for report in reports if isinstance(report, _Unanswered)]
        if errors and len(errors) == len(reports):
            raise errors[0].error
        return DeleteReport(
            tuple(outcome for report in reports for outcome in report.deleted),
            tuple(failure for report in reports for failure in report.failed),
        )

    async def presign_download(
        self, bucket: str, key: str, expires_in: int = 3600, options: ReadOptions | None = None
    ) -> str:
        """A URL from which anybody can GET the object for `expires_in` seconds (at most 7 days).

        It holds no longer than the credentials that sign it.
        """
        engine = self._engine
        check_target(bucket, key)
        _check_expiry(expires_in)
        return await engine.transport.presign("GET", bucket, key, expires_in, options or READ_DEFAULTS)

    async def presign_upload(
        self, bucket: str, key: str, expires_in: int = 3600, options: UploadOptions | None = None
    ) -> str:
        """A URL to which anybody can PUT the object for `expires_in` seconds (at most 7 days).

        Whoever uploads has to send the headers that `options` stand for, since they are signed.
        """
        engine = self._engine
        check_target(bucket, key)
        _check_expiry(expires_in)
        return await engine.transport.presign("PUT", bucket, key, expires_in, options or _UPLOAD_DEFAULTS)


async def _head_told_apart(engine: Engine, bucket: str, key: str, options: ReadOptions) -> FileInfo:
    try:
        return await head(engine, bucket, key, options)
    except (NotFound, AccessDenied) as exc:
        told = await told_apart(engine, exc, "head_file", options)
        if told is exc:
            raise
        raise told from exc


async def head(
    engine: Engine,
    bucket: str,
    key: str,
    options: ReadOptions,
    operation: str = "head_file",
    *,
    answers: tuple[type[ApmS3Error], ...] = ANSWERS,
) -> FileInfo:
    """HEAD, its 404 still bare. `answers` are the errors that are no failure."""
    transport = engine.transport
    return await engine.runner.run(
        operation,
        bucket,
        key,
        lambda: transport.head(bucket, key, options),
        timeout=options.timeout,
        answers=answers,
    )


# --------------------------------------------------------------------------------------------------------------
# Uploads


@lru_cache(maxsize=256)
def _typed(media_type: str) -> UploadOptions:
    return UploadOptions(content_type=media_type)


async def _upload(
    engine: Engine, bucket: str, key: str, source: Source, options: UploadOptions, *, resume: bool, size: int | None
) -> FileInfo:
    opened = open_source(source)
    if size is not None and (size < 0 or not isinstance(opened, StreamReader)):
        raise InvalidOption("size is for files and async iterables", hint="leave it out, or give 0 or more bytes")
    if resume and not isinstance(opened, Path):
        raise InvalidOption("resume needs a path: other sources cannot be read again", hint="give a pathlib.Path")
    async with within(options.timeout, "upload_file", bucket, key):
        if isinstance(opened, StreamReader):
            try:
                return await _upload_stream(engine, bucket, key, opened, options, size)
            finally:
                await opened.aclose()
        if isinstance(opened, Path):
            opened = await open_path(opened)
        if opened.size < min(engine.settings.transfer.multipart_threshold, MAX_PART):
            return await _put(engine, bucket, key, opened, options)
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
        # One byte more than one PUT may have: only what has ended is known whole.
        first = await reader.read(small + 1)
        if len(first) <= small:
            check_length(len(first), size)
            return await _put(engine, bucket, key, MemorySource(first), options)
        check_length(len(first), size)
        reader.give_back(first)
        del first  # else it would be held beside the parts
    return await upload_stream(engine, bucket, key, reader, options, size)


async def _upload_download(engine: Engine, bucket: str, key: str, source: Download, options: UploadOptions) -> FileInfo:
    """Store what is left of a download, as it was stored where it comes from."""
    async with within(options.timeout, "upload_file", bucket, key):
        try:
            await source
            given = {name: value for name, value in stored_with(source.info).items() if not getattr(options, name)}
            given.setdefault("content_type", options.content_type or content_type(key))
            options = dataclasses.replace(options, **given)
            return await _upload_stream(engine, bucket, key, StreamReader(source), options, source.remaining)
        finally:
            await shielded(source.aclose())


async def _put(engine: Engine, bucket: str, key: str, source: RandomSource, options: UploadOptions) -> FileInfo:
    transport = engine.transport
    body = source.body(0, source.size)

    async def is_ours(info: FileInfo) -> bool:
        return await _holds(engine, info, body, source.size, options)

    async def landed(error: S3Error, unresolved: bool) -> FileInfo | None:
        return await settle_write(engine, bucket, key, options, is_ours, error, unresolved)

    conditional = options.if_match is not None or options.if_none_match is not None
    return await engine.runner.run(
        "upload_file",
        bucket,
        key,
        guarded(source, lambda: transport.put(bucket, key, body, options)),
        timeout=options.timeout,
        verdict=landed if conditional else None,
        bytes_sent=source.size,
        storage_class=options.storage_class,
    )


async def _holds(engine: Engine, info: FileInfo, body: bytes | Stream, size: int, options: UploadOptions) -> bool:
    """Whether the object is `body`, with its metadata."""
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


def _check_expiry(seconds: int) -> None:
    if not 1 <= seconds <= MAX_PRESIGN:
        raise InvalidOption(
            f"expires_in of {seconds} seconds is not between 1 and {MAX_PRESIGN} (7 days)", hint="S3 allows 7 days"
        )


# --------------------------------------------------------------------------------------------------------------
# Deletion of many

_Target = tuple[str, str | None]


class _Unanswered:
    """A request whose keys all share one error."""

    def __init__(self, targets: Sequence[_Target], error: ApmS3Error) -> None:
        self.error = error
        self.deleted: tuple[DeleteOutcome, ...] = ()
        s3_code = error.s3_code if isinstance(error, S3Error) else ""
        self.failed = tuple(
            KeyFailure(key, version, s3_code or error.code.value, error.problem) for key, version in targets
        )


class _Deletion:
    """One DeleteObjects. Keys for which S3 asks to try again are sent again, and only those."""

    def __init__(self, engine: Engine, bucket: str, targets: Sequence[_Target], options: DeleteOptions) -> None:
        self._engine = engine
        self._bucket = bucket
        self._left = targets
        self._options = options
        self._deleted: list[DeleteOutcome] = []
        self._failed: list[KeyFailure] = []
        self._passing: list[KeyFailure] = []

    async def run(self) -> DeleteReport | _Unanswered:
        try:
            await self._engine.runner.run("delete_files", self._bucket, None, self._attempt)
        except ApmS3Error as error:
            if not self._deleted and not self._failed and not self._passing:
                return _Unanswered(self._left, error)
            self._failed += self._passing or _Unanswered(self._left, error).failed
        return DeleteReport(tuple(self._deleted), tuple(self._failed))

    async def _attempt(self) -> None:
        report = await self._engine.transport.delete_many(self._bucket, self._left, self._options)
        self._deleted += report.deleted
        self._passing = [failure for failure in report.failed if failure.s3_code in _PASSING]
        self._failed += [failure for failure in report.failed if failure.s3_code not in _PASSING]
        self._left = [(failure.key, failure.version_id) for failure in self._passing]
        if self._passing:
            first = self._passing[0]
            raise s3_error(
                operation="delete_files", status=503, s3_code=first.s3_code, message=first.message, bucket=self._bucket
            )


async def _delete_alone(
    engine: Engine, bucket: str, target: _Target, options: DeleteOptions
) -> DeleteReport | _Unanswered:
    try:
        return DeleteReport((await delete_alone(engine, "delete_files", bucket, target, options),), ())
    except ApmS3Error as error:
        return _Unanswered([target], error)


async def delete_alone(
    engine: Engine, operation: str, bucket: str, target: tuple[str, str | None], options: DeleteOptions
) -> DeleteOutcome:
    """Delete one of the keys that DeleteObjects cannot name, since XML cannot hold them: see `xml.holds`."""
    key, version = target
    chosen = dataclasses.replace(options, version_id=version)
    return await engine.runner.run(operation, bucket, key, lambda: engine.transport.delete(bucket, key, chosen))


def _sorted_out(bucket: str, keys: Iterable[str | _Target]) -> tuple[list[_Target], list[_Target]]:
    if isinstance(keys, str):
        raise InvalidKey("keys is one str, not several", bucket=bucket, hint="give a list of keys, or use delete_file")
    plain: list[_Target] = []
    odd: list[_Target] = []
    for entry in dict.fromkeys(keys):
        target = (entry, None) if isinstance(entry, str) else entry
        check_key(target[0], bucket=bucket)
        (plain if xml.holds(target[0]) else odd).append(target)
    return plain, odd
