"""The parts of S3 that a server lacks, known from its name or learned from its responses.

Most of them show in a GET (501 for an unknown setting), but not all: for a setting that SeaweedFS lacks, a GET returns
that it is not configured, and a PUT is treated as CreateBucket, which may create a *new bucket*.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from apm_s3._naming import check_bucket, check_key
from apm_s3._s3_responses import s3_error
from apm_s3._tracing import operation, traced
from apm_s3.errors import (
    AccessDenied,
    BucketNotFound,
    DeadlineExceeded,
    InvalidCredentials,
    NotFound,
    S3Error,
    TransportError,
)
from apm_s3.options import ReadOptions

if TYPE_CHECKING:
    from apm_s3._cache import Cache
    from apm_s3._s3.caching import Policies
    from apm_s3._s3.pool import S3ConnectionPool
    from apm_s3._s3.runner import Runner
    from apm_s3._s3.transports.base import ControlPlane, ObjectTransport
    from apm_s3.options import CopyOptions, DeleteOptions, UploadOptions
    from apm_s3.settings import S3Settings


TRANSITIONS = "Lifecycle transitions"

_LACKING: Mapping[str, tuple[str, ...]] = {"seaweedfs": ("AccessLogging", "Notifications", "Replication")}
"""Missing kinds of settings, by the first word of the Server header. Determined with SeaweedFS 4.48."""


class Capabilities:
    """What one endpoint is known to lack. It only learns, without I/O."""

    def __init__(self) -> None:
        self._lacking: set[str] = set()

    def learn_server(self, response: Mapping[str, Any]) -> None:
        """Learn from a response of the control plane: the Server header names products with known gaps."""
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        product = headers.get("server", "").partition(" ")[0].lower()
        self._lacking.update(_LACKING.get(product, ()))

    def lacks(self, feature: str) -> bool:
        """Return whether the server is known to lack a kind of setting, or TRANSITIONS."""
        return feature in self._lacking

    def learn_lack(self, feature: str) -> None:
        """Record that the server does not know a kind of setting."""
        self._lacking.add(feature)


class Conditions:
    """What an endpoint does with the conditions of writes, by S3's name of the request. It only learns, without I/O.

    Ceph's gateway takes the ETag of PutObject's `If-Match` only without quotes, and refuses it with quotes as stale.
    """

    def __init__(self) -> None:
        self.honoured: dict[tuple[str, str], bool] = {}
        """Whether a request (S3's name) honours a condition ("If-Match")."""
        self.asking: asyncio.Lock = asyncio.Lock()
        """Held while a server is asked, so that concurrent calls ask once."""
        self._quoted: dict[str, bool] = {}
        self._proven: set[tuple[str, str]] = set()

    def spelled(self, api: str, etag: str) -> str:
        """Return `etag` with or without quotes, as the endpoint takes it; unchanged if that is not known."""
        quoted = self._quoted.get(api)
        bare = etag.strip('"')
        return etag if quoted is None or etag.startswith("W/") else f'"{bare}"' if quoted else bare

    def proven(self, api: str, bucket: str) -> bool:
        """Return whether a write to `bucket` has succeeded with `If-Match`, so that a refused ETag is a stale one."""
        return (api, bucket) in self._proven

    def learn(self, api: str, bucket: str, etag: str) -> None:
        """Record that a write with the condition `etag`, as it was sent, has succeeded."""
        self._quoted[api] = etag.endswith('"')
        self._proven.add((api, bucket))


Method = TypeVar("Method", bound=Callable[..., Coroutine[Any, Any, Any]])

READ_DEFAULTS = ReadOptions()


@dataclass(slots=True)
class Engine:
    """The parts of an open manager.

    Attributes:
        policies: how long buckets are cached; None means not at all.
        object_policies: the same for objects.
    """

    transport: ObjectTransport
    control: ControlPlane
    runner: Runner
    pool: S3ConnectionPool
    settings: S3Settings
    cache: Cache
    policies: Policies | None = None
    object_policies: Policies | None = None
    conditions: Conditions = field(default_factory=Conditions)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start a task that is cancelled when the manager is closed."""
        task = asyncio.create_task(work, name=f"apm_s3 {name}")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def operation(self, name: str, bucket: str, key: str) -> AbstractContextManager[None]:
        """Trace the block, which sends many requests for one object, as the method `name`."""
        tracer = self.runner.tracer
        facts = {"bucket": bucket, "key": key}
        return nullcontext() if tracer is None else operation(tracer, f"S3Manager.{name}", facts)

    async def stop_tasks(self) -> None:
        """Cancel the tasks of `spawn`, and wait for them."""
        running = list(self.tasks)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)


def reading_options(options: UploadOptions | CopyOptions | DeleteOptions) -> ReadOptions:
    """Return the options for reading an object that is written or deleted with `options`."""
    return ReadOptions(
        sse_customer_key=getattr(options, "sse_customer_key", None),
        requester_pays=options.requester_pays,
        expected_bucket_owner=options.expected_bucket_owner,
    )


def composed(method: Method) -> Method:
    """Return a method of the manager that sends several requests, traced as one operation if the manager is traced."""
    return traced(method, "S3Manager", lambda s3: s3._tracer, lambda _: {})  # noqa: SLF001 - its own methods


def check_target(bucket: str, key: str) -> None:
    """Refuse a bucket and a key that no S3 server would accept.

    Raises:
        InvalidBucketName: `bucket` is neither a bucket name nor the ARN of an access point.
        InvalidKey: `key` is empty, over 1024 bytes, or not valid Unicode.
    """
    check_bucket(bucket)
    check_key(key, bucket=bucket)


async def explain_failed_head(engine: Engine, error: S3Error, operation: str, options: ReadOptions) -> S3Error:
    """Return the error with the reason for a failed HEAD, determined with one small listing, because it has no body.

    A 404 can mean the bucket or the key, and a 403 wrong credentials. Return `error` itself if nothing more is known.
    """
    if type(error) not in (NotFound, AccessDenied) or error.s3_code or error.bucket is None:
        return error
    bucket, key = error.bucket, error.key
    try:
        refusal = await listing_refusal(engine, bucket, key or "", options)
    except TransportError:
        return error
    if isinstance(error, AccessDenied):
        code = refusal.s3_code if isinstance(refusal, InvalidCredentials) else ""
    else:
        code = "NoSuchBucket" if isinstance(refusal, BucketNotFound) else "NoSuchKey"
    if not code:
        return error
    return s3_error(
        operation=operation, status=error.status, s3_code=code, bucket=bucket, key=key, request_id=error.request_id
    )


async def listing_refusal(engine: Engine, bucket: str, prefix: str, options: ReadOptions) -> S3Error | None:
    """Return why S3 refuses one small listing, None if it does not. S3 denies only the listing of an existing bucket.

    Raises:
        TransportError: there was no response.
    """
    from apm_s3.options import ListOptions  # noqa: PLC0415 - only a few failures need it

    listing = ListOptions(
        max_keys=1,
        prefix=prefix,
        requester_pays=options.requester_pays,
        expected_bucket_owner=options.expected_bucket_owner,
    )
    try:
        await engine.runner.run("explain_head", bucket, None, lambda: engine.transport.list_files(bucket, listing))
    except S3Error as refused:
        return refused
    return None


@asynccontextmanager
async def within(timeout: float | None, operation: str, bucket: str, key: str | None) -> AsyncIterator[None]:
    """Limit a call of many requests to `timeout` seconds in total; None means a deadline for each request.

    Raises:
        DeadlineExceeded: the time has passed.
    """
    try:
        async with asyncio.timeout(timeout) as bound:
            yield
    except TimeoutError as exc:
        if not bound.expired():
            raise
        raise DeadlineExceeded(
            f"not done within {timeout:g} seconds",
            operation=operation,
            bucket=bucket,
            key=key,
            hint="raise the call's timeout, or lower the load",
        ) from exc
