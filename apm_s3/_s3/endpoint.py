"""What syncs and migrations need of an open manager; see `apm_s3._migration.sides.Endpoint`."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from apm_s3._s3.engine import Engine
from apm_s3._s3.objects.copies import copy_in_parts
from apm_s3._s3.objects.sources import RandomSource, guarded
from apm_s3._s3.objects.streams import Download
from apm_s3._s3.objects.uploads import MultipartUpload, open_upload
from apm_s3._s3.runner import SlowDown
from apm_s3._wire.parts import Part
from apm_s3.batch import OnProgress, OperationResult, Operations
from apm_s3.models import DeleteOutcome, DeleteReport, FileInfo, FileVersion, ListPage, Source
from apm_s3.models._objects import Stream
from apm_s3.options import CopyOptions, DeleteOptions, ReadOptions, UploadOptions


class Verbs(Protocol):
    """The methods of `S3Manager` that syncs and migrations call."""

    async def list_files(
        self,
        bucket: str,
        prefix: str = "",
        *,
        max_keys: int = 1000,
        start_after: str | None = None,
        token: str | None = None,
    ) -> ListPage: ...
    def iter_files(self, bucket: str, prefix: str = "") -> AsyncGenerator[FileInfo, None]: ...
    def iter_versions(self, bucket: str, prefix: str = "") -> AsyncGenerator[FileVersion, None]: ...
    async def head_file(
        self, bucket: str, key: str, options: ReadOptions | None = None, *, refresh: bool = False
    ) -> FileInfo: ...
    async def get_file_tags(self, bucket: str, key: str, options: ReadOptions | None = None) -> dict[str, str]: ...
    def download_file(self, bucket: str, key: str, options: ReadOptions | None = None) -> Download: ...
    async def download_to(
        self, bucket: str, key: str, path: str | os.PathLike[str], options: ReadOptions | None = None
    ) -> FileInfo: ...
    async def upload_file(
        self, bucket: str, key: str, source: Source, options: UploadOptions | None = None
    ) -> FileInfo: ...
    async def copy_file(
        self, source_bucket: str, source_key: str, bucket: str, key: str, options: CopyOptions | None = None
    ) -> FileInfo: ...
    async def delete_file(self, bucket: str, key: str, options: DeleteOptions | None = None) -> DeleteOutcome: ...
    async def delete_files(self, bucket: str, keys: Sequence[str]) -> DeleteReport: ...


RunBatch = Callable[..., AsyncGenerator[OperationResult, None]]


class S3Endpoint:
    """An open manager's `Endpoint`."""

    def __init__(self, engine: Engine, verbs: Verbs, run: RunBatch) -> None:
        self.verbs: Verbs = verbs
        self._run_batch = run
        self._engine = engine
        self._run = engine.runner.run
        self._transport = engine.transport
        self.part_size: int = engine.settings.transfer.part_size
        self.parallel_parts: int = engine.settings.transfer.parallel_parts
        self.slow_downs: list[SlowDown] = engine.runner.slow_downs

    def run(
        self, operations: Operations, on_progress: OnProgress | None, concurrency: int | None
    ) -> AsyncGenerator[OperationResult, None]:
        return self._run_batch(operations, on_progress, concurrency=concurrency)

    async def identify(self) -> tuple[str, bool]:
        found = await self._engine.control.endpoint()
        return found.url, found.is_aws

    async def server_name(self, bucket: str) -> str:
        # Not by aiobotocore, which takes half a second to load.
        return await self._run("head_bucket", bucket, None, lambda: self._transport.server_name(bucket))

    async def has_object_lock(self, bucket: str) -> bool:
        operation = "get_object_lock_configuration"
        return await self._run(operation, bucket, None, lambda: self._transport.object_lock(bucket))

    async def setting(self, method: str, bucket: str) -> Mapping[str, Any]:
        return await self._run(method, bucket, None, lambda: self._engine.control.call(method, Bucket=bucket))

    async def first_part(self, bucket: str, key: str, version: str) -> int:
        asked: dict[str, Any] = {"Bucket": bucket, "Key": key, "PartNumber": 1}
        if version:
            asked["VersionId"] = version
        response = await self._run("head_file", bucket, key, lambda: self._engine.control.call("head_object", **asked))
        return int(response.get("ContentLength") or 0)

    async def streams(self, bucket: str) -> bool:
        return await self._transport.streams(bucket)

    async def read(self, bucket: str, key: str, options: ReadOptions) -> tuple[FileInfo, bytes]:
        return await self._run("read_file", bucket, key, lambda: self._transport.read(bucket, key, options))

    async def download(self, bucket: str, key: str, options: ReadOptions) -> Download:
        return await Download(self._engine, bucket, key, options, verify=False)

    async def put_once(self, bucket: str, key: str, body: bytes | Stream, options: UploadOptions) -> FileInfo:
        return await self._transport.put(bucket, key, body, options)

    async def put(
        self,
        bucket: str,
        key: str,
        content: RandomSource,
        attempt: Callable[[], Awaitable[FileInfo]],
        *,
        size: int,
        longest: int,
        storage_class: str | None,
    ) -> FileInfo:
        return await self._run(
            "upload_file",
            bucket,
            key,
            guarded(content, attempt),
            timeout=self._engine.settings.timeouts.for_bytes(longest),
            bytes_sent=size,
            storage_class=storage_class,
        )

    def open_upload(
        self, bucket: str, key: str, options: UploadOptions
    ) -> AbstractAsyncContextManager[MultipartUpload]:
        return open_upload(self._engine, bucket, key, options)

    async def copy_in_parts(
        self, source: FileInfo, bucket: str, key: str, options: CopyOptions, parts: Sequence[Part] | None
    ) -> FileInfo:
        return await copy_in_parts(self._engine, source, bucket, key, options, parts)
