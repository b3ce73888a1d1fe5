"""The calls that are tested against faults, each with its effect on the server if it succeeds."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apm_s3 import S3Manager
from apm_s3.batch import CopyOp, DeleteOp, DownloadOp, MoveOp, Operation, UploadOp
from apm_s3.options import CopyOptions, DeleteOptions, UploadOptions
from apm_s3.settings import CacheSettings
from apm_s3.sync import SyncReport
from tests.faults.memory_s3 import MemoryS3, StoredObject, _etag

BUCKET, OTHER = "bucket-one", "bucket-two"
OLD, NEW = b"the old content of the object", b"and this is the new content"

Bodies = dict[str, dict[str, bytes]]


def new_state() -> MemoryS3:
    """The server before the call."""
    s3 = MemoryS3()
    for bucket in (BUCKET, OTHER):
        s3.buckets[bucket] = {}
    for key in ("a", "b", "large"):
        body = OLD * 10 if key == "large" else OLD
        s3.buckets[BUCKET][key] = StoredObject(
            body, {"content-type": "text/plain", "x-amz-tagging": "team=apm"}, _etag(body)
        )
    return s3


async def warm(s3: S3Manager) -> None:
    """Let `s3` find out what it asks a server once, and open a connection."""
    made = await s3.upload_file(OTHER, "warm", b"warm")
    await s3.copy_file(OTHER, "warm", OTHER, "copied", CopyOptions(if_none_match="*"))
    await s3.delete_file(OTHER, "warm", DeleteOptions(if_match=made.etag))
    await s3.upload_file(OTHER, "large", OLD * 10, UploadOptions(if_none_match="*"))
    await s3.list_buckets()


def bodies_of(s3: MemoryS3) -> Bodies:
    """What is stored: objects by key, and settings by "?" and their name."""
    bodies = {name: {key: found.body for key, found in objects.items()} for name, objects in s3.buckets.items()}
    for (bucket, name), document in s3.settings.items():
        bodies[bucket][f"?{name}"] = document
    return bodies


@dataclass(frozen=True)
class Verb:
    """A call, and the request of it that a fault hits.

    Attributes:
        call: gives what `result` says, when it works.
        change: what the state of the server becomes, when it works.
        judged_by_its_second_delivery: whether a request that the network delivers twice is refused the second time.
        state: the server before the call.
        in_steps: whether a failure leaves what was removed before it removed.
        cache: of the manager that is called.
        again: gives the same result after any fault, for no failure is remembered.
        at_once: how many of the requests the call sends at the same time, each of which is retried.
    """

    name: str
    request: str
    call: Callable[[S3Manager], Awaitable[Any]]
    result: Any = None
    change: Callable[[Bodies], Any] = lambda bodies: None
    judged_by_its_second_delivery: bool = False
    state: Callable[[], MemoryS3] = new_state
    in_steps: bool = False
    cache: CacheSettings | None = None
    again: Callable[[S3Manager], Awaitable[Any]] | None = None
    at_once: int = 1

    @property
    def creates_upload(self) -> bool:
        """Whether the request that is hit creates a multipart upload."""
        return self.request == "CreateMultipartUpload"

    def __str__(self) -> str:
        return f"{self.name}, {self.request}"


def put(bucket: str, key: str, body: bytes) -> Callable[[Bodies], None]:
    def change(bodies: Bodies) -> None:
        bodies[bucket][key] = body

    return change


def gone(*keys: str) -> Callable[[Bodies], None]:
    def change(bodies: Bodies) -> None:
        for key in keys:
            bodies[BUCKET].pop(key)

    return change


def moved(key: str) -> Callable[[Bodies], None]:
    def change(bodies: Bodies) -> None:
        bodies[OTHER]["c"] = bodies[BUCKET].pop(key)

    return change


async def _upload(s3: S3Manager) -> int:
    return (await s3.upload_file(BUCKET, "c", NEW)).size


async def _create(s3: S3Manager) -> int:
    return (await s3.upload_file(BUCKET, "c", NEW, UploadOptions(if_none_match="*"))).size


async def _replace(s3: S3Manager) -> int:
    return (await s3.upload_file(BUCKET, "a", NEW, UploadOptions(if_match=_etag(OLD)))).size


async def _upload_parts(s3: S3Manager) -> int:
    return (await s3.upload_file(BUCKET, "c", NEW * 10)).size


async def _create_parts(s3: S3Manager) -> int:
    return (await s3.upload_file(BUCKET, "c", NEW * 10, UploadOptions(if_none_match="*"))).size


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _upload_stream(s3: S3Manager) -> int:
    return (await s3.upload_file(BUCKET, "c", _once(NEW * 10))).size


async def _upload_sized_stream(s3: S3Manager) -> int:
    return (await s3.upload_file(BUCKET, "c", _once(NEW), size=len(NEW))).size


async def _download(s3: S3Manager) -> bytes:
    async with s3.download_file(BUCKET, "large") as download:
        return b"".join([piece async for piece in download])


async def _download_to(s3: S3Manager) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "file"
        try:
            await s3.download_to(BUCKET, "large", path)
        finally:
            _check_nothing_beside(path)
        return path.read_bytes()


def _check_nothing_beside(path: Path) -> None:
    left = set(path.parent.iterdir()) - {path}
    assert not left, f"left behind: {left}"


async def _get_file(s3: S3Manager) -> tuple[bytes, Any]:
    found = await s3.get_file(BUCKET, "a", tags=True)
    return found.data, found.tags


async def _head(s3: S3Manager) -> int:
    return (await s3.head_file(BUCKET, "a")).size


async def _list(s3: S3Manager) -> list[str]:
    return [info.key for info in (await s3.list_files(BUCKET)).files]


async def _iter(s3: S3Manager) -> list[str]:
    return [info.key async for info in s3.iter_files(BUCKET)]


async def _list_to_a_stop(s3: S3Manager) -> list[str]:
    return [info.key for info in (await s3.list_files(BUCKET, stop_before="large")).files]


async def _iter_to_a_stop(s3: S3Manager) -> list[str]:
    return [info.key async for info in s3.iter_files(BUCKET, stop_before="large")]


async def _versions(s3: S3Manager) -> list[str]:
    return [version.key for version in (await s3.list_versions(BUCKET)).versions]


async def _delete_many(s3: S3Manager) -> list[str]:
    return sorted(outcome.key for outcome in (await s3.delete_files(BUCKET, ["a", "b"])).deleted)


async def _delete(s3: S3Manager) -> str:
    return (await s3.delete_file(BUCKET, "a")).key


async def _copy(s3: S3Manager) -> str:
    return (await s3.copy_file(BUCKET, "a", OTHER, "c")).key


async def _copy_new(s3: S3Manager) -> str:
    return (await s3.copy_file(BUCKET, "a", OTHER, "c", CopyOptions(if_none_match="*"))).key


async def _move(s3: S3Manager) -> str:
    return (await s3.move_file(BUCKET, "a", OTHER, "c")).key


async def _move_parts(s3: S3Manager) -> str:
    return (await s3.move_file(BUCKET, "large", OTHER, "c")).key


async def _batch(s3: S3Manager, *operations: Operation) -> list[str]:
    results = await s3.batch(operations, concurrency=2)
    for result in results.failed:
        raise result.error or AssertionError(result)
    return [result.result.key for result in results]  # type: ignore[union-attr]


async def _batch_read(s3: S3Manager) -> bytes:
    async for result in s3.batch_iter([DownloadOp(BUCKET, "a")]):
        if result.error is not None:
            raise result.error
        return result.result  # type: ignore[return-value]
    raise AssertionError("no result")


def _told(report: SyncReport) -> tuple[int, int]:
    for error in report.failures.values():
        raise error
    return report.created, report.deleted


async def _sync_up(s3: S3Manager) -> tuple[int, int]:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "c").write_bytes(NEW)
        return _told(await s3.sync(directory, f"s3://{OTHER}/new"))


async def _sync_down(s3: S3Manager) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a"
        try:
            _told(await s3.sync(f"s3://{BUCKET}", directory, include="a"))
        finally:
            _check_nothing_beside(path)
        return path.read_bytes()


async def _copy_prefix(s3: S3Manager) -> tuple[int, int]:
    return _told(await s3.copy_prefix(BUCKET, "a", OTHER, "c"))


async def _delete_prefix(s3: S3Manager) -> tuple[int, int]:
    return _told(await s3.delete_prefix(BUCKET, "a"))


async def _buckets(s3: S3Manager) -> list[str]:
    return [bucket.name for bucket in await s3.list_buckets()]


VERBS = (
    Verb("upload", "PutObject", _upload, len(NEW), put(BUCKET, "c", NEW)),
    Verb("create", "PutObject", _create, len(NEW), put(BUCKET, "c", NEW), judged_by_its_second_delivery=True),
    Verb("replace", "PutObject", _replace, len(NEW), put(BUCKET, "a", NEW), judged_by_its_second_delivery=True),
    Verb("upload a stream", "PutObject", _upload_stream, len(NEW) * 10, put(BUCKET, "c", NEW * 10)),
    Verb("upload a sized stream", "PutObject", _upload_sized_stream, len(NEW), put(BUCKET, "c", NEW)),
    *(
        Verb(
            "upload in parts", request, _upload_parts, len(NEW) * 10, put(BUCKET, "c", NEW * 10),
            judged_by_its_second_delivery=request == "CompleteMultipartUpload",
        )
        for request in ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
    ),
    Verb(
        "create in parts", "CompleteMultipartUpload", _create_parts, len(NEW) * 10, put(BUCKET, "c", NEW * 10),
        judged_by_its_second_delivery=True,
    ),
    Verb("read", "GetObject", lambda s3: s3.read_file(BUCKET, "a"), OLD),
    Verb("download", "GetObject", _download, OLD * 10),
    Verb("download to a file", "GetObject", _download_to, OLD * 10),
    Verb("head", "HeadObject", _head, len(OLD)),
    Verb("exists", "HeadObject", lambda s3: s3.file_exists(BUCKET, "a"), result=True),
    Verb("list", "ListObjectsV2", _list, ["a", "b", "large"]),
    Verb("iterate", "ListObjectsV2", _iter, ["a", "b", "large"]),
    Verb("list to a stop", "ListObjectsV2", _list_to_a_stop, ["a", "b"]),
    Verb("iterate to a stop", "ListObjectsV2", _iter_to_a_stop, ["a", "b"]),
    Verb("versions", "ListObjectVersions", _versions, ["a", "b", "large"]),
    Verb("tags", "GetObjectTagging", lambda s3: s3.get_file_tags(BUCKET, "a"), {"team": "apm"}),
    *(Verb("get with tags", request, _get_file, (OLD, {"team": "apm"}))
      for request in ("GetObject", "GetObjectTagging")),
    Verb("delete", "DeleteObject", _delete, "a", gone("a")),
    Verb("delete many", "DeleteObjects", _delete_many, ["a", "b"], gone("a", "b")),
    Verb("copy", "CopyObject", _copy, "c", put(OTHER, "c", OLD)),
    Verb("copy anew", "CopyObject", _copy_new, "c", put(OTHER, "c", OLD), judged_by_its_second_delivery=True),
    *(Verb("move", request, _move, "c", moved("a")) for request in ("HeadObject", "CopyObject")),
    Verb("move", "DeleteObject", _move, "c", moved("a")),
    *(
        Verb(
            "move in parts", request, _move_parts, "c", moved("large"),
            judged_by_its_second_delivery=request == "CompleteMultipartUpload",
        )
        for request in ("CreateMultipartUpload", "UploadPartCopy", "CompleteMultipartUpload")
    ),
    Verb("batch of an upload", "PutObject", lambda s3: _batch(s3, UploadOp(BUCKET, "c", NEW)), ["c"],
         put(BUCKET, "c", NEW)),
    Verb("batch of a copy", "CopyObject", lambda s3: _batch(s3, CopyOp(BUCKET, "a", OTHER, "c")), ["c"],
         put(OTHER, "c", OLD)),
    Verb("move in a batch", "DeleteObject", lambda s3: _batch(s3, MoveOp(BUCKET, "a", OTHER, "c")), ["c"], moved("a")),
    Verb("batch of a read", "GetObject", _batch_read, OLD),
    Verb("batch of deletions", "DeleteObjects",
         lambda s3: _batch(s3, DeleteOp(BUCKET, "a"), DeleteOp(BUCKET, "b")), ["a", "b"], gone("a", "b")),
    *(Verb("sync up", request, _sync_up, (1, 0), put(OTHER, "new/c", NEW)) for request in ("ListObjectsV2", "PutObject")),
    Verb("sync down", "GetObject", _sync_down, OLD),
    *(Verb("copy prefix", request, _copy_prefix, (1, 0), put(OTHER, "c", OLD))
      for request in ("ListObjectsV2", "CopyObject")),
    *(Verb("delete prefix", request, _delete_prefix, (0, 1), gone("a"))
      for request in ("ListObjectsV2", "DeleteObjects")),
    Verb("bucket exists", "HeadBucket", lambda s3: s3.bucket_exists(BUCKET), result=True),
    Verb("list buckets", "ListBuckets", _buckets, [BUCKET, OTHER]),
)  # fmt: skip
