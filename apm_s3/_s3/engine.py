"""What all operations of one open manager share, and the checks and look-ups that several of them make."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from apm_s3._cache.cache import Cache
from apm_s3._naming import check_key
from apm_s3._s3.pool import S3ConnectionPool
from apm_s3._s3.remembering import Policies
from apm_s3._s3.runner import Runner
from apm_s3._s3.transports.base import ObjectTransport
from apm_s3._s3.transports.boto.control import ControlPlane
from apm_s3._s3_answers import s3_error
from apm_s3.errors import (
    AccessDenied,
    BucketNotFound,
    DeadlineExceeded,
    InvalidBucketName,
    InvalidCredentials,
    NotFound,
    S3Error,
    TransportError,
)
from apm_s3.options import CopyOptions, ListOptions, ReadOptions, UploadOptions
from apm_s3.settings import S3Settings

READ_DEFAULTS = ReadOptions()

_TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]|arn:[^\s/?#]+[:/][^\s?#]+", re.ASCII)


@dataclass(slots=True)
class Engine:
    """The parts of an open manager.

    Attributes:
        policies: how long buckets are remembered; None: not at all.
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
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """A task that the manager ends at its close, if it is still running then."""
        task = asyncio.create_task(work, name=f"apm_s3 {name}")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def stop_tasks(self) -> None:
        """Cancel what `spawn` started, and wait for it."""
        running = list(self.tasks)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)


def reading_options(options: UploadOptions | CopyOptions) -> ReadOptions:
    """How to read back what was written with `options`."""
    return ReadOptions(
        sse_customer_key=options.sse_customer_key,
        requester_pays=options.requester_pays,
        expected_bucket_owner=options.expected_bucket_owner,
    )


class Verbs:
    """Methods of the manager about one subject.

    Args:
        engine: gives the engine of the open manager; raises `ManagerClosed` or `WrongEventLoop` where there is none.
    """

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine


def check_target(bucket: str, key: str) -> None:
    """Refuse what no S3 server would take as a bucket and a key.

    Raises:
        InvalidBucketName: `bucket` is neither a bucket's name nor the ARN of an access point.
        InvalidKey: `key` is empty, over 1024 bytes, or no valid Unicode.
    """
    check_bucket(bucket)
    check_key(key, bucket=bucket)


@lru_cache(maxsize=1024)
def check_bucket(bucket: str) -> None:
    """Refuse what cannot name an existing bucket; laxer than what S3 lets be created today, for old buckets' sake.

    Raises:
        InvalidBucketName: `bucket` is neither a bucket's name nor the ARN of an access point.
    """
    if not _TARGET.fullmatch(bucket):
        raise InvalidBucketName(
            f"{bucket[:80]!r} cannot be a bucket's name", hint="give the name alone, without a scheme or a path"
        )


async def told_apart(engine: Engine, error: S3Error, operation: str, options: ReadOptions) -> S3Error:
    """The error that says why a HEAD was refused, found out with one small listing: its answer has no body to say so.

    A 404 can be the bucket's or the key's, a 403 that of wrong credentials. It is `error` itself where there is no more
    to say.
    """
    if type(error) not in (NotFound, AccessDenied) or error.s3_code or error.bucket is None:
        return error
    bucket, key = error.bucket, error.key
    listing = ListOptions(
        max_keys=1,
        prefix=key or "",
        requester_pays=options.requester_pays,
        expected_bucket_owner=options.expected_bucket_owner,
    )
    told: S3Error | None = None
    try:
        await engine.runner.run("tell_apart", bucket, None, lambda: engine.transport.list_files(bucket, listing))
    except (BucketNotFound, InvalidCredentials) as refused:
        told = refused
    except S3Error:
        # Only an existing bucket denies its listing.
        pass
    except TransportError:
        return error
    if isinstance(error, AccessDenied):
        code = told.s3_code if isinstance(told, InvalidCredentials) else ""
    else:
        code = "NoSuchBucket" if isinstance(told, BucketNotFound) else "NoSuchKey"
    if not code:
        return error
    return s3_error(
        operation=operation, status=error.status, s3_code=code, bucket=bucket, key=key, request_id=error.request_id
    )


@asynccontextmanager
async def within(timeout: float | None, operation: str, bucket: str, key: str | None) -> AsyncIterator[None]:
    """Bound a call of many requests to `timeout` seconds in all; None leaves each request to its own deadline.

    Raises:
        DeadlineExceeded: they passed.
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
