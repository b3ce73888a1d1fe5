"""An `ObjectTransport` in memory: every request suspends before and after its effect, and can be made to fail.

For tests of what stands above the transports. Its state is the `MemoryBucket` of `apm_s3.testing`. Tests of the transports
themselves use `tests.faults`, whose server speaks HTTP.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from apm_s3 import S3Settings
from apm_s3.errors import ApmS3Error, ConnectionLost
from apm_s3.models import DeleteOutcome, DeleteReport, FileInfo, KeyFailure, ListPage, UploadInfo, VersionPage
from apm_s3.options import CopyOptions, DeleteOptions, ListOptions, ReadOptions, UploadOptions
from tests.seams.s3 import ManagerOn, MemoryBucket
from tests.seams.transports import ObjectTransport, PartInfo, RawPage, Stream
from tests.seams.wire import error_of_response

PIECE = 100_000


@dataclass
class Upload:
    key: str
    options: UploadOptions
    parts: dict[int, bytes] = field(default_factory=dict)


class MemoryTransport(ObjectTransport):
    """One bucket, "bucket", without versions.

    Attributes:
        before: called with each request's verb and its count; raises what the request is to fail with, unsent.
        after: the same once the request has been carried out, for answers that get lost.
        breaks: after how many bytes a body breaks, for each body opened in turn; None: it does not.
        open_bodies: bodies that hold a connection.
        most_in_flight: the most parts that were being sent at once.
    """

    def __init__(self) -> None:
        self.bucket = MemoryBucket("bucket")
        self.objects = self.bucket.objects
        self.tagged: dict[str, Mapping[str, str]] = {}
        self.uploads: dict[str, Upload] = {}
        self.requests: Counter[str] = Counter()
        self.before: Callable[[str, int], None] = lambda verb, count: None
        self.after: Callable[[str, int], None] = lambda verb, count: None
        self.breaks: list[int | None] = []
        self.largest_copy = 10**12
        self.open_bodies = 0
        self.in_flight = self.most_in_flight = 0
        self._ids = itertools.count(1)

    @asynccontextmanager
    async def _request(self, verb: str, bucket: str) -> AsyncIterator[None]:
        self.requests[verb] += 1
        count = self.requests[verb]
        await asyncio.sleep(0)
        self.before(verb, count)
        if bucket != "bucket":
            raise error_of_response(operation=verb, status=404, s3_code="NoSuchBucket", bucket=bucket)
        yield
        self.after(verb, count)
        await asyncio.sleep(0)

    def _found(self, verb: str, key: str, options: ReadOptions) -> tuple[FileInfo, bytes]:
        if key not in self.objects:
            raise self._error(verb, key, 404, "" if verb == "head" else "NoSuchKey")
        info, data = self.objects[key]
        if options.if_match not in {None, info.etag}:
            raise self._error(verb, key, 412, "PreconditionFailed")
        return info, data

    def _error(self, verb: str, key: str, status: int, s3_code: str, message: str = "") -> ApmS3Error:
        return self.bucket.error(verb, key, status, s3_code, message)

    def store(self, key: str, data: bytes, options: UploadOptions, etag: str) -> FileInfo:
        return self.bucket.put(
            key,
            data,
            if_match=options.if_match,
            create=options.if_none_match is not None,
            content_type=options.content_type,
            metadata=options.metadata,
            etag=etag,
        )

    async def read(self, bucket: str, key: str, options: ReadOptions) -> tuple[FileInfo, bytes]:
        async with self._request("read", bucket):
            return self._found("read", key, options)

    async def open(self, bucket: str, key: str, options: ReadOptions) -> MemoryBody:
        async with self._request("open", bucket):
            info, data = self._found("open", key, options)
            start, stop = options.range or (0, None)
            if options.range is not None and start >= len(data):
                raise self._error("open", key, 416, "InvalidRange")
        info = info._replace(server_time=self.bucket.clock())
        # Past the last suspension: what a cancelled request has opened would be nobody's.
        return MemoryBody(self, info, data[start:stop], self.breaks.pop(0) if self.breaks else None)

    async def head(self, bucket: str, key: str, options: ReadOptions) -> FileInfo:
        async with self._request("head", "bucket"):
            if bucket != "bucket":
                raise error_of_response(operation="head", status=404, bucket=bucket, key=key)
            return self._found("head", key, options)[0]

    async def tags(self, bucket: str, key: str, options: ReadOptions) -> dict[str, str]:
        async with self._request("tags", bucket):
            self._found("tags", key, options)
            return dict(self.tagged.get(key, {}))

    async def object_lock(self, bucket: str) -> bool:
        async with self._request("object_lock", bucket):
            return False

    async def server_name(self, bucket: str) -> str:
        async with self._request("server_name", bucket):
            return ""

    async def streams(self, bucket: str) -> bool:
        del bucket
        return True

    async def put(self, bucket: str, key: str, body: bytes | Stream, options: UploadOptions) -> FileInfo:
        async with self._request("put", bucket):
            data = await gathered(body)
            self.tagged[key] = options.tags
            return self.store(key, data, options, f'"{hashlib.md5(data).hexdigest()}"')

    async def delete(self, bucket: str, key: str, options: DeleteOptions) -> DeleteOutcome:
        async with self._request("delete", bucket):
            if options.if_match is not None:
                self._found("delete", key, ReadOptions(if_match=options.if_match))
            self.bucket.delete([key])
            return DeleteOutcome(key)

    async def delete_many(
        self, bucket: str, keys: Sequence[tuple[str, str | None]], options: DeleteOptions
    ) -> DeleteReport:
        async with self._request("delete_many", bucket):
            busy = [key for key, _ in keys if key.startswith("busy") and self.requests["delete_many"] == 1]
            locked = [key for key, _ in keys if key.startswith("locked")]
            deleted = [key for key, _ in keys if key not in busy + locked]
            self.bucket.delete(deleted)
            return DeleteReport(
                tuple(DeleteOutcome(key) for key in deleted),
                tuple(KeyFailure(key, None, "SlowDown", "slower") for key in busy)
                + tuple(KeyFailure(key, None, "AccessDenied", "locked") for key in locked),
            )

    async def copy(self, source_bucket: str, source_key: str, bucket: str, key: str, options: CopyOptions) -> FileInfo:
        async with self._request("copy", bucket):
            info, data = self._found("copy", source_key, ReadOptions(if_match=options.source_if_match))
            if len(data) > self.largest_copy:
                said = "The specified copy source is larger than the maximum allowable size for a copy source: 1"
                raise self._error("copy", key, 400, "InvalidRequest", said)
            wanted = UploadOptions(
                content_type=info.content_type,
                metadata=info.metadata or {},
                if_match=options.if_match,
                if_none_match=options.if_none_match,
            )
            return self.store(key, data, wanted, info.etag or "")._replace(size=-1)

    async def list_files(self, bucket: str, options: ListOptions) -> ListPage:
        async with self._request("list_files", bucket):
            found = self.bucket.listed(options.prefix, options.start_after)
            if options.delimiter:
                ends = [info.key.find(options.delimiter, len(options.prefix)) + 1 for info in found]
                folders = {info.key[:end] for info, end in zip(found, ends, strict=True) if end}
                files = [info for info, end in zip(found, ends, strict=True) if not end]
                return ListPage(tuple(files), prefixes=tuple(sorted(folders)))
            start = int(options.token or 0)
            page = found[start : start + options.max_keys]
            more = start + len(page) < len(found)
            return ListPage(tuple(page), next_token=str(start + len(page)) if more else None)

    async def fetch_files(self, bucket: str, options: ListOptions) -> RawPage:
        return RawPage.of(await self.list_files(bucket, options))

    async def create_upload(self, bucket: str, key: str, options: UploadOptions) -> str:
        async with self._request("create_upload", bucket):
            upload_id = f"upload-{next(self._ids)}"
            self.uploads[upload_id] = Upload(key, options)
            return upload_id

    async def upload_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: bytes | Stream, options: UploadOptions
    ) -> PartInfo:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            async with self._request("upload_part", bucket):
                data = await gathered(body)
                return self._part(upload_id, key, number, data)
        finally:
            self.in_flight -= 1

    async def copy_part(
        self,
        source_bucket: str,
        source_key: str,
        byte_range: tuple[int, int],
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        options: CopyOptions,
    ) -> PartInfo:
        async with self._request("copy_part", bucket):
            _, data = self._found("copy_part", source_key, ReadOptions(if_match=options.source_if_match))
            return self._part(upload_id, key, number, data[slice(*byte_range)])

    def _part(self, upload_id: str, key: str, number: int, data: bytes) -> PartInfo:
        self._upload(upload_id, key).parts[number] = data
        return PartInfo(number, f'"{hashlib.md5(data).hexdigest()}"', len(data))

    def _upload(self, upload_id: str, key: str) -> Upload:
        if upload_id not in self.uploads:
            raise self._error("upload", key, 404, "NoSuchUpload")
        return self.uploads[upload_id]

    async def complete_upload(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[PartInfo], options: UploadOptions
    ) -> FileInfo:
        async with self._request("complete_upload", bucket):
            upload = self._upload(upload_id, key)
            data = b"".join(upload.parts[part.number] for part in parts)
            digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
            etag = f'"{hashlib.md5(digests).hexdigest()}-{len(parts)}"'
            conditions: dict[str, Any] = {"if_match": options.if_match, "if_none_match": options.if_none_match}
            info = self.store(key, data, replace(upload.options, **conditions), etag)
            del self.uploads[upload_id]
            return info

    async def abort_upload(self, bucket: str, key: str, upload_id: str, options: UploadOptions) -> None:
        async with self._request("abort_upload", bucket):
            self._upload(upload_id, key)
            del self.uploads[upload_id]

    async def list_parts(self, bucket: str, key: str, upload_id: str, options: UploadOptions) -> tuple[PartInfo, ...]:
        async with self._request("list_parts", bucket):
            parts = self._upload(upload_id, key).parts
            return tuple(
                PartInfo(number, f'"{hashlib.md5(data).hexdigest()}"', len(data)) for number, data in parts.items()
            )

    async def list_uploads(self, bucket: str, options: ListOptions) -> tuple[UploadInfo, ...]:
        async with self._request("list_uploads", bucket):
            return tuple(
                UploadInfo(upload.key, upload_id, datetime.now(UTC)) for upload_id, upload in self.uploads.items()
            )

    async def list_versions(self, *_: object) -> VersionPage:
        raise AssertionError("the bucket has no versions")

    async def presign(self, *_: object) -> str:
        raise AssertionError("no server would serve the URL")

    async def recover(self, error: ApmS3Error) -> bool:
        return False

    async def aclose(self) -> None:
        pass


class MemoryBody:
    """A body that gives small pieces, and breaks where it is told to."""

    def __init__(self, transport: MemoryTransport, info: FileInfo, data: bytes, breaks: int | None) -> None:
        self.info = info
        self.length = len(data)
        self._transport = transport
        self._data = data
        self._breaks = breaks
        self._closed = False
        transport.open_bodies += 1

    async def __aiter__(self) -> AsyncIterator[bytes]:
        end = self.length if self._breaks is None else self._breaks
        for start in range(0, end, PIECE):
            await asyncio.sleep(0)
            yield self._data[start : min(start + PIECE, end)]
        await asyncio.sleep(0)
        if end < self.length:
            raise ConnectionLost("it broke", operation="read_file", bucket="bucket", key=self.info.key)
        await self.aclose()

    async def write_to(self, sink: Callable[[memoryview], object]) -> None:
        pass

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._transport.open_bodies -= 1


class MemoryManager(ManagerOn):
    """A manager whose objects are in memory."""

    def __init__(self, settings: S3Settings, **arguments: Any) -> None:
        self.transport = MemoryTransport()
        super().__init__(self.transport, settings, **arguments)


async def gathered(body: bytes | Stream) -> bytes:
    return b"".join([piece async for piece in body.open()]) if isinstance(body, Stream) else body
