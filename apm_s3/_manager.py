"""`S3Manager`, the entry point: it owns every resource, closes what it opened, and has all methods on S3.

The methods check their arguments; the modules of `_s3` and `_migration` do the work. What a first read does not need is
imported by the methods that do, because most programs call few of them. The first lines of `upload_file`, `read_file`,
`head_file` and `delete_file` are the library's hottest path, so they call the runner directly.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, overload
from urllib.parse import urlsplit

from apm_s3._cache import Cache, S3Cache
from apm_s3._hints import Advice
from apm_s3._naming import check_bucket, check_key, check_store_bucket
from apm_s3._s3.buckets.requests import BucketRef, bucket_ref
from apm_s3._s3.caching import InvalidatingTransport, Policies
from apm_s3._s3.engine import READ_DEFAULTS, Engine, check_target, composed, within
from apm_s3._s3.objects.reading import (
    cached_body,
    cached_info,
    exists,
    explained_head,
    policies_for,
    read_tags,
    received,
    tags_read_with,
)
from apm_s3._s3.pool import S3ConnectionPool
from apm_s3._s3.runner import Runner
from apm_s3._s3.transports.clients import Clients
from apm_s3._s3.transports.transport import Transport
from apm_s3._tasks import run_all, shielded
from apm_s3._wire.sigv4 import MAX_PRESIGN_SECONDS
from apm_s3.errors import InvalidOption, ManagerClosed, WrongEventLoop
from apm_s3.metrics import S3Metrics
from apm_s3.models import FileContent
from apm_s3.settings import CacheSettings, S3Settings

if TYPE_CHECKING:
    import os

    from apm_s3._cache import SharedLevel
    from apm_s3._migration.sync import DeletionKeywords, SyncKeywords
    from apm_s3._migration.trees import Where
    from apm_s3._plans import PlanDocument
    from apm_s3._s3.batch import Limits, Result
    from apm_s3._s3.buckets.apm_buckets import ApmBucketKeywords
    from apm_s3._s3.buckets.plans import BucketParts, Unsupported
    from apm_s3._s3.buckets.replication import RestoreTier
    from apm_s3._s3.buckets.requests import BucketKeywords
    from apm_s3._s3.endpoint import S3Endpoint
    from apm_s3._s3.objects.streams import Download
    from apm_s3._s3.transports.base import ObjectTransport
    from apm_s3._tools import Tool
    from apm_s3._tracing import Tracer
    from apm_s3.batch import BatchResult, DownloadOp, OnProgress, Operation, OperationResult, Operations
    from apm_s3.configs._deploy import DeployResult
    from apm_s3.configs._store import ConfigStore
    from apm_s3.events import Hook
    from apm_s3.models import (
        BucketDetails,
        BucketInfo,
        BucketPlan,
        BucketUsage,
        Credentials,
        DeleteOutcome,
        DeleteReport,
        EmptyReport,
        FileInfo,
        FileVersion,
        ListPage,
        ReplicationSetup,
        Source,
        UploadInfo,
        VersionPage,
        WarmupPlan,
        WarmupReport,
    )
    from apm_s3.options import BucketOptions, BucketSetting, CopyOptions, DeleteOptions, ReadOptions, UploadOptions
    from apm_s3.options._reads import ListKeywords
    from apm_s3.sync import SyncPlan, SyncReport

S = TypeVar("S", bound="BucketSetting")


# Not imported in each call: that would take a hundredth of its time.
@cache
def _store() -> Callable[..., Awaitable[FileInfo]]:
    from apm_s3._s3.objects.uploads import store

    return store


@cache
def _delete_defaults() -> DeleteOptions:
    from apm_s3.options._writes import DELETE_DEFAULTS

    return DELETE_DEFAULTS


class S3Manager:
    """Buckets, objects and configurations in S3.

    Use it with `async with`, or call `open()` and `aclose()`. It belongs to the event loop that opened it. Creating it
    does no I/O.

    Every call can be cancelled, and leaves no task and no connection behind. A write that was in progress may or may
    not have been carried out, unless its documentation says more.

    In the methods on buckets, `region` is the region whose endpoint is used (None means the manager's region), and
    `expected_bucket_owner` is the account that must own the bucket (otherwise AccessDenied is raised).

    Args:
        region: the AWS region; by default from the AWS configuration chain.
        endpoint_url: an S3-compatible server instead of AWS.
        credentials: static credentials; by default from the AWS chain, refreshed when they expire.
        session: an aiobotocore `AioSession` or an `aioboto3.Session` to share; the manager never closes it.
        settings: all other settings.
        metrics: counts operations; by default a new `S3Metrics`.
        hooks: called for every operation, after `metrics`.
        logger: logs this manager's operations and requests; by default `apm_s3.operations` and `apm_s3.requests`.
        tracer: traces its calls and those of its stores: an `apm_s3.exporters.tracing.OpenTelemetryTracer`.

    Raises:
        InvalidOption: `endpoint_url` is not a valid URL, or contains a user name or password.

    Attributes:
        settings: the settings.
        metrics: counts of all operations: `metrics.snapshot()`.
        pool: limits the requests in flight: `pool.stats()`, `pool.slot()`.
        cache: the cache: `cache.stats()`, `cache.clear()`.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        credentials: Credentials | None = None,
        session: Any = None,
        settings: S3Settings | None = None,
        metrics: S3Metrics | None = None,
        hooks: Sequence[Hook] = (),
        logger: logging.Logger | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        _check_endpoint(endpoint_url)
        self.settings: S3Settings = settings or S3Settings()
        self.metrics: S3Metrics = metrics or S3Metrics()
        self.pool: S3ConnectionPool = S3ConnectionPool(self.settings.max_concurrency)
        self._cache = make_cache(self.settings.cache)
        self._shared = self._make_shared(endpoint_url or "AWS")
        self.cache: S3Cache = S3Cache(self._cache)
        self._region = region
        self._endpoint_url = endpoint_url
        self._credentials = credentials
        self._session = session
        self._hooks = tuple(hooks)
        self._logger = logger
        self._tracer = tracer
        self._stores: dict[tuple[str, str, bool, bool, str | None], ConfigStore] = {}
        self._closing: asyncio.Task[None] | None = None
        self._lifecycle = _Lifecycle()
        self._engine: Callable[[], Engine] = self._lifecycle.engine
        self._made: BucketParts | None = None

    def __repr__(self) -> str:
        state = "closed" if self._closing else "open" if self._lifecycle.opened else "not open"
        return f"<S3Manager {self._endpoint_url or self._region or 'AWS'}, {state}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        lifecycle: _Lifecycle | None = getattr(self, "_lifecycle", None)
        if lifecycle is not None and lifecycle.opened is not None and self._closing is None:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _endpoint(self) -> S3Endpoint:
        """Return what syncs and migrations need."""
        from apm_s3._s3.batch import iter_batch
        from apm_s3._s3.endpoint import S3Endpoint

        engine = self._engine()
        return S3Endpoint(engine, self, partial(iter_batch, engine, self._perform))

    async def open(self) -> Self:
        """Open the manager; harmless if it is already open.

        Raises:
            ManagerClosed: it was closed.
            WrongEventLoop: it is open on another event loop.
        """
        if self._closing is not None:
            raise ManagerClosed("this S3Manager was closed", hint="create a new one: it cannot be opened again")
        if self._lifecycle.opened is None:
            self._lifecycle.opened = self._assemble()
        self._lifecycle.opened.check_loop()
        return self

    async def aclose(self) -> None:
        """Close everything that was opened; harmless if called twice, or without `open`.

        It waits at most 30 seconds for commits whose callers were cancelled, and for the work that follows them.

        Raises:
            WrongEventLoop: it was opened on another event loop, and can only be closed there.
        """
        opened = self._lifecycle.opened
        if opened is None:
            return
        opened.check_loop()
        if self._closing is None:
            self._lifecycle.closed = not any(store.has_unfinished_writes for store in self._stores.values())
            self._closing = asyncio.create_task(self._close(opened), name="apm_s3 close")
        # Shielded, because closing only in part would leak connections and tasks.
        await shielded(_wait_for(self._closing))

    async def _close(self, opened: _Opened) -> None:
        try:
            await run_all(store.finish() for store in self._stores.values() if store.has_unfinished_writes)
        finally:
            self._lifecycle.closed = True
            await opened.aclose()

    def configs(
        self,
        bucket: str,
        prefix: str = "",
        *,
        failover: bool = False,
        require_conditional_writes: bool = True,
        expected_bucket_owner: str | None = None,
    ) -> ConfigStore:
        """Return the store of the configurations in `bucket`, under `prefix`. The arguments are those of `ConfigStore`.

        The same arguments return the same store, so that its writers wait for each other instead of conflicting.

        Args:
            expected_bucket_owner: the account that must own the bucket; otherwise S3 refuses every request.

        Raises:
            InvalidRequest: a name is not valid, or the bucket has a form on which a store cannot keep its guarantees: a
                directory bucket, Outposts, an Object Lambda or a multi-Region access point. See docs/forms-of-s3.md.
        """
        # Imported here because stores need the validators, which programs that only transfer objects do not.
        from apm_s3.configs._protocol.objects import S3Objects
        from apm_s3.configs._protocol.reader import StoreCache
        from apm_s3.configs._store import ConfigStore

        wanted = (bucket, prefix, failover, require_conditional_writes, expected_bucket_owner)
        if wanted not in self._stores:
            check_bucket(bucket)
            check_store_bucket(bucket)
            limits = self.settings.cache or CacheSettings()
            made: Callable[..., ConfigStore] = ConfigStore
            if self._tracer is not None:
                from apm_s3.configs._traced import TracedConfigStore

                made = partial(TracedConfigStore, self._tracer)
            self._stores[wanted] = made(
                S3Objects(self, bucket, expected_bucket_owner),
                prefix,
                failover=failover,
                require_conditional_writes=require_conditional_writes,
                deadline=self.settings.timeouts.deadline,
                cache=StoreCache(
                    self._cache,
                    prefix,
                    staleness=limits.current_staleness,
                    stale_if_error=limits.stale_if_error,
                    shared=self._shared,
                ),
            )
        return self._stores[wanted]

    async def deploy_apm_configs(
        self,
        bucket: str,
        source_env: str,
        target_env: str,
        *,
        prefix: str = "",
        tools: Sequence[Tool] | None = None,
        variables: Mapping[str, str] | None = None,
        create: bool = False,
        author: str | None = None,
        message: str = "",
        allow_drift: bool = False,
        force: str | None = None,
        expected_bucket_owner: str | None = None,
    ) -> DeployResult:
        """Plan a deploy of the configurations in `bucket` from one environment to another, and carry it out.

        Args and errors: those of `configs`, `ConfigStore.plan_deploy` and `ConfigStore.deploy`.
        """
        store = self.configs(bucket, prefix, expected_bucket_owner=expected_bucket_owner)
        plan = await store.plan_deploy(source_env, target_env, tools=tools, variables=variables, create=create)
        return await store.deploy(plan, author=author, message=message, allow_drift=allow_drift, force=force)

    @property
    def retry_budget(self) -> float:
        """Return how many retries all calls together may make now (see `RetrySettings.budget`)."""
        opened = self._lifecycle.opened
        return self.settings.retry.budget if opened is None else opened.engine.runner.budget.tokens

    async def _credentials_source(self) -> str | None:
        """Return where the credentials come from ("the environment"), for `HealthChecker`; None without credentials."""
        self._engine()  # refused unless it is open, and on this event loop
        opened = self._lifecycle.opened
        return None if opened is None else await opened.clients.credentials_source()

    async def prefetch_buckets(self, names: Sequence[str] | None = None, *, region: str | None = None) -> WarmupReport:
        """Read the details of buckets into the cache; by default of all buckets, and their list.

        Args:
            region: only those in this region.

        Raises:
            InvalidOption: the settings do not cache buckets.
            ApmS3Error: the list of buckets cannot be read.
        """
        from apm_s3.models import WarmupPlan

        if names is None:
            _check_caches("buckets", self._engine().policies)
            names = [bucket.name for bucket in await self.list_buckets(region=region, refresh=True)]
        return await self.warm_cache(WarmupPlan(region=region, buckets=names))

    async def warm_cache(self, plan: WarmupPlan) -> WarmupReport:
        """Read everything in `plan` into the cache, replacing cached values, and return when all of it was read.

        If it is larger than the cache's limits, later reads evict earlier ones.

        Raises:
            InvalidOption: the settings do not cache some of it; nothing was read.
        """
        from apm_s3._s3.warming import warm

        engine = self._engine()
        if plan.buckets:
            _check_caches("buckets", engine.policies)
        if plan.files:
            _check_caches("objects", engine.object_policies)
        work: dict[str, Callable[[], Awaitable[object]]] = {}
        for name in plan.buckets:
            work[name] = partial(self.get_bucket, name, region=plan.region, refresh=True)
        for bucket, keys in plan.files.items():
            for key in keys:
                work[f"{bucket}/{key}"] = partial(self.read_file, bucket, key, refresh=True)
        for wanted in plan.configs:
            bucket, environment, prefix = _place(wanted)
            store = self.configs(bucket, prefix)
            where = f"{bucket}/{prefix.rstrip('/')}" if prefix else bucket
            work[f"{where}: {environment}"] = partial(store.download_environment, environment, refresh=True)
        return await warm(work)

    # Objects

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
        """Store an object completely, or not at all.

        From `settings.transfer.multipart_threshold` bytes, it is sent in parallel parts; so is a source of unknown size
        that is longer than one part. A stream of known size (`size`, a `Download`, an open file) below that threshold
        is read into memory and sent in one PUT. Without a content type in `options`, one is guessed from the key.

        If the call is cancelled, an upload in parts is aborted, unless its last request was already in progress.

        Args:
            source: bytes, a `pathlib.Path`, a file opened in binary mode (read from its current position), an async
                iterable of bytes, or a `Download` of any manager, to copy between servers: the rest of it is stored and
                it is closed; its content type, metadata and headers, but not its tags, are kept unless `options` set
                them. A `str` is refused: it could be a path or the content.
            resume: for a path that is sent in parts: continue an interrupted upload, after checking its parts against
                the file, and keep the parts if this call fails as well. Pass the same options again; those of the first
                call apply. `cleanup_uploads` removes uploads that are never resumed.
            size: the number of bytes that a file or an async iterable will return.

        Raises:
            InvalidRequest: the bucket, the key, the source or an option is not valid; nothing was sent.
            PreconditionFailed: `if_match` or `if_none_match` did not hold.
            ConditionalWritesUnsupported: the server refuses every `if_match`, or ignores the conditions of an upload in
                parts; nothing was stored.
            ObjectChanged: the file changed while it was being read, or the source did not have `size` bytes; nothing
                was stored.
            OSError: the file cannot be read; nothing was stored.
        """
        return await _store()(self._engine(), bucket, key, source, options, resume=resume, size=size)

    async def read_file(
        self, bucket: str, key: str, options: ReadOptions | None = None, *, refresh: bool = False
    ) -> bytes:
        """Return the content of an object, after verifying its length and, if S3 has one of all of it, its checksum.

        Args:
            refresh: bypass the cache (see `CacheSettings.objects`).

        Raises:
            BucketNotFound, ObjectNotFound: the bucket or the key does not exist.
            ObjectArchived: it must be restored from its archive class first.
            IntegrityError: the content does not match the checksum or the length.
            ObjectTooLarge: it is longer than `options.max_size`.
        """
        engine = self._engine()
        check_target(bucket, key)
        options = options or READ_DEFAULTS
        if options.max_size is not None:
            from apm_s3._s3.objects.streams import Download

            async with Download(engine, bucket, key, options, "read_file") as download:
                return await download.read()
        if engine.object_policies is not None:
            policies = policies_for(engine, options)
            if policies is not None:
                return await cached_body(engine, policies, bucket, key, options, refresh=refresh)
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

    async def get_file(
        self, bucket: str, key: str, options: ReadOptions | None = None, *, tags: bool = False
    ) -> FileContent:
        """Return a whole object: its content, verified as in `read_file`, its metadata and, if requested, its tags.

        In a versioned bucket, content and tags belong to the same version. In other buckets, tags may change between
        the two requests.

        Args:
            tags: also read the tags, with one more request.

        Raises:
            BucketNotFound, ObjectNotFound: the bucket or the key does not exist.
            ObjectChanged: the object was deleted before its tags were read.
            IntegrityError: the content does not match the checksum or the length.
        """
        engine = self._engine()
        check_target(bucket, key)
        options = options or READ_DEFAULTS
        async with within(options.timeout, "get_file", bucket, key):
            if options.max_size is not None:
                from apm_s3._s3.objects.streams import Download

                async with Download(engine, bucket, key, options, "get_file") as download:
                    info, data = download.info, await download.read()
            else:
                info, data = await engine.runner.run(
                    "get_file",
                    bucket,
                    key,
                    lambda: engine.transport.read(bucket, key, options),
                    timeout=options.timeout,
                    measure=received,
                )
            if not tags:
                return FileContent(info, data)
            pinned = dataclasses.replace(options, version_id=info.version_id or options.version_id)
            return FileContent(info, data, await tags_read_with(engine, bucket, key, pinned))

    def download_file(self, bucket: str, key: str, options: ReadOptions | None = None) -> Download:
        """Stream an object: `async with s3.download_file(...) as download: async for piece in download: ...`.

        `options.timeout` covers everything, including the reader's own work. Without it, the manager's deadline applies
        to the first response, and to the time spent waiting for the body, plus one second per 64 KiB received.

        Raises (when it is opened):
            BucketNotFound, ObjectNotFound: the bucket or the key does not exist.
            ObjectArchived: it must be restored from its archive class first.
        """
        from apm_s3._s3.objects.streams import Download

        engine = self._engine()
        check_target(bucket, key)
        return Download(engine, bucket, key, options or READ_DEFAULTS)

    @composed
    async def download_to(
        self, bucket: str, key: str, path: str | os.PathLike[str], options: ReadOptions | None = None
    ) -> FileInfo:
        """Download an object to a file; large ones in parallel ranges.

        The file is created or replaced atomically, when it is complete and on disk; a failure or a cancellation leaves
        the old file and nothing else. If S3 has a checksum of the whole object, it is verified first: a CRC while the
        ranges arrive, a SHA of several ranges by reading the file again.

        Raises:
            BucketNotFound, ObjectNotFound: the bucket or the key does not exist.
            ObjectChanged: the object was replaced while it was being read.
            IntegrityError: the content does not match S3's checksum of the whole object.
            InvalidOption: `path` is a device, a pipe or a socket, or in /dev; nothing was sent.
            OSError: the file cannot be written; if its folder is missing, nothing was sent.
        """
        from pathlib import Path

        from apm_s3._beneath import Below
        from apm_s3._s3.objects.downloads import download_to

        engine = self._engine()
        check_target(bucket, key)
        to = path if isinstance(path, Below) else Path(path)
        return await download_to(engine, bucket, key, to, options or READ_DEFAULTS)

    async def head_file(
        self, bucket: str, key: str, options: ReadOptions | None = None, *, refresh: bool = False
    ) -> FileInfo:
        """Return information about an object, without its content.

        Args:
            refresh: bypass the cache (see `CacheSettings.objects`).

        Raises:
            BucketNotFound, ObjectNotFound: the bucket or the key does not exist.
        """
        engine = self._engine()
        check_target(bucket, key)
        options = options or READ_DEFAULTS
        policies = policies_for(engine, options)
        if policies is None:
            return await explained_head(engine, bucket, key, options)
        return await cached_info(
            engine,
            policies,
            bucket,
            key,
            options,
            refresh=refresh,
            read=lambda: explained_head(engine, bucket, key, READ_DEFAULTS),
        )

    async def file_exists(self, bucket: str, key: str, options: ReadOptions | None = None) -> bool:
        """Return whether the object exists. It does not if the bucket is missing; a 403 is an error, never False."""
        engine = self._engine()
        check_target(bucket, key)
        return await exists(engine, bucket, key, options or READ_DEFAULTS)

    async def get_file_tags(self, bucket: str, key: str, options: ReadOptions | None = None) -> dict[str, str]:
        """Return the tags of an object, or of one of its versions.

        Args:
            options: only `version_id`, `requester_pays`, `expected_bucket_owner` and `timeout` are used.

        Raises:
            BucketNotFound, ObjectNotFound: the bucket or the key does not exist.
            AccessDenied: the credentials may not read tags (s3:GetObjectTagging).
        """
        engine = self._engine()
        check_target(bucket, key)
        return await read_tags(engine, bucket, key, options or READ_DEFAULTS)

    async def delete_file(self, bucket: str, key: str, options: DeleteOptions | None = None) -> DeleteOutcome:
        """Delete an object, or one of its versions. It is not an error if the object does not exist.

        Raises:
            BucketNotFound: the bucket does not exist.
            AccessDenied: the credentials do not allow it, or the version is locked.
            PreconditionFailed: `if_match` did not hold.
            ConditionalWritesUnsupported: the server ignores `if_match` of deletions; nothing was deleted.
        """
        engine = self._engine()
        check_target(bucket, key)
        if options is None:
            options = _delete_defaults()
        elif options.if_match is not None:
            from apm_s3._s3.objects.deletions import delete_matching

            return await delete_matching(engine, bucket, key, options)
        transport = engine.transport
        return await engine.runner.run(
            "delete_file", bucket, key, lambda: transport.delete(bucket, key, options), timeout=options.timeout
        )

    async def copy_file(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        options: CopyOptions | None = None,
    ) -> FileInfo:
        """Copy an object within S3: its content, content type, headers, metadata and tags.

        Objects that S3 cannot copy in one request (more than 5 GiB) are copied in parallel parts.

        Returns:
            What S3 returns about the copy: its ETag and version; `size` is -1 if S3 does not return it.

        Raises:
            BucketNotFound, ObjectNotFound: the source, or the destination's bucket, does not exist.
            PreconditionFailed: a condition on the source or the destination did not hold.
            ConditionalWritesUnsupported: the server ignores conditions on the destination; nothing was copied.
            ObjectChanged: the source was replaced while it was copied in parts; nothing was stored.
        """
        from apm_s3._s3.objects.copies import copy
        from apm_s3.options._writes import COPY_DEFAULTS

        engine = self._engine()
        check_target(source_bucket, source_key)
        check_target(bucket, key)
        return await copy(engine, (source_bucket, source_key), (bucket, key), options or COPY_DEFAULTS)

    @composed
    async def move_file(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        options: CopyOptions | None = None,
        *,
        mfa: str | None = None,
        bypass_governance: bool = False,
    ) -> FileInfo:
        """Copy an object within S3, verify the copy, then delete the source.

        The source is deleted only if it has not changed since (`If-Match`), so a version written meanwhile is kept. On
        a server that ignores this, the source is looked at just before, and a warning is logged.
        In a versioned bucket it gets a delete marker; with `source_version_id`, that version is deleted permanently.
        If the call is cancelled, there may be both the source and the copy, but never neither.

        Args:
            mfa: "serial code" of the MFA device, to delete a version if the bucket has MFA delete.
            bypass_governance: delete a version despite a GOVERNANCE lock (requires the permission).

        Returns:
            The moved object.

        Raises:
            InvalidOption: source and destination are the same.
            BucketNotFound, ObjectNotFound: the source, or the destination's bucket, does not exist.
            ObjectChanged: the source or the copy was replaced meanwhile; the source still exists.
            IntegrityError: the copy differs from the source; the source still exists.
        """
        from apm_s3._s3.objects.copies import move
        from apm_s3.options._writes import COPY_DEFAULTS

        engine = self._engine()
        check_target(source_bucket, source_key)
        check_target(bucket, key)
        source, target = (source_bucket, source_key), (bucket, key)
        return await move(
            engine, source, target, options or COPY_DEFAULTS, mfa=mfa, bypass_governance=bypass_governance
        )

    async def presign_download(
        self, bucket: str, key: str, expires_in: int = 3600, options: ReadOptions | None = None
    ) -> str:
        """Return a URL from which anybody can GET the object for `expires_in` seconds (at most 7 days).

        It expires no later than the credentials that sign it.
        """
        engine = self._engine()
        check_target(bucket, key)
        _check_expiry(expires_in)
        return await engine.transport.presign("GET", bucket, key, expires_in, options or READ_DEFAULTS)

    async def presign_upload(
        self, bucket: str, key: str, expires_in: int = 3600, options: UploadOptions | None = None
    ) -> str:
        """Return a URL to which anybody can PUT the object for `expires_in` seconds (at most 7 days).

        The upload must send the headers for `options`, because they are signed.
        """
        from apm_s3.options._writes import UPLOAD_DEFAULTS

        engine = self._engine()
        check_target(bucket, key)
        _check_expiry(expires_in)
        return await engine.transport.presign("PUT", bucket, key, expires_in, options or UPLOAD_DEFAULTS)

    # Many objects

    async def list_files(
        self,
        bucket: str,
        prefix: str = "",
        *,
        delimiter: str | None = None,
        max_keys: int = 1000,
        start_after: str | None = None,
        stop_before: str | None = None,
        token: str | None = None,
        include_metadata: bool = False,
        **access: Unpack[ListKeywords],
    ) -> ListPage:
        """Return one page of the objects under a prefix, in key order.

        Args:
            delimiter: the separator of folders ("/"): deeper keys are grouped in the page's `prefixes`.
            max_keys: maximum number of keys and prefixes, 1 to 1000.
            start_after: start after this key.
            stop_before: stop before this key or common prefix. S3 has no such option, so a page can have fewer entries
                than `max_keys`. The server must list in key order, as S3 does.
            token: `next_token` of the previous page.
            include_metadata: add content type, metadata and headers, with one HEAD per object, in parallel. Objects
                deleted meanwhile are omitted.
            timeout: seconds for each request, instead of the manager's deadline.

        Raises:
            BucketNotFound: the bucket does not exist.
        """
        from apm_s3._s3.objects.listing import one_page
        from apm_s3.options import ListOptions

        engine = self._engine()
        check_bucket(bucket)
        options = ListOptions(
            prefix=prefix,
            delimiter=delimiter,
            max_keys=max_keys,
            start_after=start_after,
            token=token,
            **access,
        )
        return await one_page(engine, bucket, options, stop_before, include_metadata=include_metadata)

    def iter_files(
        self,
        bucket: str,
        prefix: str = "",
        *,
        start_after: str | None = None,
        stop_before: str | None = None,
        include_metadata: bool = False,
        **access: Unpack[ListKeywords],
    ) -> AsyncGenerator[FileInfo, None]:
        """Iterate over all objects under a prefix, in key order. The next page is requested while one is being used.

        Args and errors: those of `list_files`. If you leave the loop early, close the iterator (`contextlib.aclosing`),
        so that the request for the next page is not left running.
        """
        from apm_s3._s3.objects.listing import all_files
        from apm_s3.options import ListOptions

        engine = self._engine()
        check_bucket(bucket)
        options = ListOptions(
            prefix=prefix,
            start_after=start_after,
            **access,
        )
        return all_files(engine, bucket, options, stop_before, include_metadata=include_metadata)

    async def list_versions(
        self,
        bucket: str,
        prefix: str = "",
        *,
        delimiter: str | None = None,
        max_keys: int = 1000,
        key_marker: str | None = None,
        version_marker: str | None = None,
        **access: Unpack[ListKeywords],
    ) -> VersionPage:
        """Return one page of the versions and delete markers under a prefix, by key, newest first.

        Args:
            key_marker, version_marker: `next_key` and `next_version` of the previous page.

        Raises:
            BucketNotFound: the bucket does not exist.
        """
        from apm_s3._s3.objects.listing import version_page
        from apm_s3.options import ListOptions

        engine = self._engine()
        check_bucket(bucket)
        options = ListOptions(
            prefix=prefix,
            delimiter=delimiter,
            max_keys=max_keys,
            **access,
        )
        return await version_page(engine, bucket, options, (key_marker, version_marker))

    def iter_versions(
        self,
        bucket: str,
        prefix: str = "",
        **access: Unpack[ListKeywords],
    ) -> AsyncGenerator[FileVersion, None]:
        """Iterate over all versions and delete markers under a prefix, by key, newest first.

        Raises:
            BucketNotFound: the bucket does not exist.
        """
        from apm_s3._s3.objects.listing import all_versions
        from apm_s3.options import ListOptions

        engine = self._engine()
        check_bucket(bucket)
        options = ListOptions(
            prefix=prefix,
            **access,
        )
        return all_versions(engine, bucket, options)

    @composed
    async def delete_files(
        self, bucket: str, keys: Iterable[str | tuple[str, str | None]], options: DeleteOptions | None = None
    ) -> DeleteReport:
        """Delete many objects, 1000 per request, and return the result of each.

        Args:
            keys: keys, or (key, version id).

        Raises:
            BucketNotFound: the bucket does not exist.
            ApmS3Error: all requests failed; otherwise the keys of a failed request are in the report's `failed`.
        """
        from apm_s3._s3.objects.deletions import delete_many

        return await delete_many(self._engine(), bucket, keys, options)

    @composed
    async def cleanup_uploads(
        self,
        bucket: str,
        older_than: timedelta,
        *,
        prefix: str = "",
        requester_pays: bool = False,
        expected_bucket_owner: str | None = None,
    ) -> tuple[UploadInfo, ...]:
        """Abort multipart uploads that were started longer than `older_than` ago, to free the space of their parts.

        This library leaves uploads open only if its process is killed, or if they are to be resumed.

        Returns:
            The aborted uploads.
        """
        from apm_s3._s3.objects.uploads import abort_old_uploads
        from apm_s3.options import UploadOptions

        engine = self._engine()
        check_bucket(bucket)
        if older_than < timedelta(0):
            raise InvalidOption("older_than is negative", hint="use a timedelta such as timedelta(days=1)")
        options = UploadOptions(requester_pays=requester_pays, expected_bucket_owner=expected_bucket_owner)
        return await abort_old_uploads(engine, bucket, prefix, datetime.now(UTC) - older_than, options)

    @composed
    async def batch(
        self,
        operations: Operations,
        *,
        on_progress: OnProgress | None = None,
        **limits: Unpack[Limits],
    ) -> BatchResult:
        """Run many operations concurrently, in any order, and return the results in the order of the operations.

        A failure does not stop the others: check `ok` and `failed`, or call `raise_for_failures`. An iterator may have
        any length, because operations are taken from it only when they can be started. Deletions are sent 1000 per
        request; while operations keep coming, a deletion waits at most a second for others. When a cancelled batch
        raises `CancelledError`, it has stopped: operations that were in progress may or may not have been carried out.

        There is no batch size: operations never wait for a group to finish. `concurrency` limits those in progress.

        Args:
            operations: operations of `apm_s3.batch` of any kind, in a list, a generator or an async iterable. A
                generator runs in the event loop; if it reads files or waits, use an async one. An exception of the
                iterator stops the batch, and is raised here.
            concurrency: maximum number of operations in progress; by default the `max_concurrency` of the settings,
                which limits all requests. A large stream holds `part_size * parallel_parts` bytes: use
                less for many of them.
            timeout: seconds for the whole batch. Operations still in progress then are stopped; they, and those not
                started, fail with `DeadlineExceeded`.
            operation_timeout: seconds for each operation, in addition to the `timeout` in its options.
            on_progress: called after each operation.

        Raises:
            InvalidOption: a limit is not valid; nothing was sent.
            ManagerClosed: the manager was closed meanwhile.
        """
        from apm_s3._s3.batch import run_batch

        return await run_batch(self._engine(), self._perform, operations, on_progress, **limits)

    async def batch_iter(
        self,
        operations: Operations,
        **limits: Unpack[Limits],
    ) -> AsyncGenerator[OperationResult, None]:
        """Run many operations, and yield each result as soon as it is available, in bounded memory.

        While no results are consumed, only a few more operations than `concurrency` are started. If you leave the loop
        early, the rest is stopped when the generator is closed; use `contextlib.aclosing` to do this immediately.

        Args: those of `batch`.

        Raises:
            DeadlineExceeded: after the last result, if `timeout` passed before all operations were taken from an
                iterator. Operations of a list always have a result.
            InvalidOption, ManagerClosed: as with `batch`.
        """
        from apm_s3._s3.batch import iter_batch

        results = iter_batch(self._engine(), self._perform, operations, None, **limits)
        async with aclosing(results):
            async for result in results:
                yield result

    def _perform(self, operation: Operation) -> Awaitable[Result]:
        """Carry out one operation of a batch."""
        return _PERFORM[type(operation).__name__](self, operation)

    @overload
    async def sync(
        self, source: Where, target: Where, *, dry_run: Literal[True], delete_extra: bool = False,
        **options: Unpack[SyncKeywords],
    ) -> SyncPlan: ...  # fmt: skip
    @overload
    async def sync(
        self, source: Where, target: Where, *, dry_run: Literal[False] = False, delete_extra: bool = False,
        **options: Unpack[SyncKeywords],
    ) -> SyncReport: ...  # fmt: skip
    @composed
    async def sync(
        self,
        source: Where,
        target: Where,
        *,
        dry_run: bool = False,
        delete_extra: bool = False,
        **options: Unpack[SyncKeywords],
    ) -> SyncPlan | SyncReport:
        """Transfer differences from a directory to a prefix, from a prefix to a directory, or between prefixes.

        Files and objects differ if their sizes do, or else their contents, which are compared by the ETag if it is a
        hash of the content. (With KMS or SSE-C it is not, so such objects are transferred again.) A downloaded file
        gets the time of its object, by which the next sync recognizes it. A failure does not stop the others; see the
        report's `failures`. Both sides are listed in parallel, so their size does not matter; only the names of extra
        entries are kept in memory. (A server other than S3 is listed once before, to check its order: if it lists
        folder by folder, as SeaweedFS does, both lists are kept in memory. The same is true for S3 Express.)

        Args:
            source, target: "s3://bucket/prefix", where the prefix is a folder, or the path of a directory. Links are
                not followed.
            dry_run: only return the plan.
            delete_extra: delete from the target what the source lacks, at the end and only if nothing failed. Before,
                the source is listed again.
            include, exclude: patterns of names relative to source and target, as in `fnmatch`; "*" also matches "/".
                Excluded names are neither transferred nor deleted.
            on_progress: called after each file or object.
            concurrency: number of concurrent transfers; by default the `max_concurrency` of the settings.

        Raises:
            InvalidOption: source or target is not valid, or they overlap; or `delete_extra` would delete everything
                because the source is empty.
            OSError: a directory cannot be read. Nothing was deleted.
            BucketNotFound: the bucket does not exist.
        """
        from apm_s3._migration.sync import choose_direction, copy_tree

        direction = choose_direction(self._endpoint(), source, target)
        return await copy_tree(direction, dry_run=dry_run, delete_extra=delete_extra, **options)

    @overload
    async def copy_prefix(
        self, source_bucket: str, source_prefix: str, bucket: str, prefix: str, *, dry_run: Literal[True],
        **options: Unpack[SyncKeywords],
    ) -> SyncPlan: ...  # fmt: skip
    @overload
    async def copy_prefix(
        self, source_bucket: str, source_prefix: str, bucket: str, prefix: str, *, dry_run: Literal[False] = False,
        **options: Unpack[SyncKeywords],
    ) -> SyncReport: ...  # fmt: skip
    @composed
    async def copy_prefix(
        self,
        source_bucket: str,
        source_prefix: str,
        bucket: str,
        prefix: str,
        *,
        dry_run: bool = False,
        **options: Unpack[SyncKeywords],
    ) -> SyncPlan | SyncReport:
        """Copy the objects under a prefix within S3, except those that already exist there; see `copy_file`, `sync`.

        Both prefixes are used literally: "logs" matches "logs/1" and "logs-old/1". In each key, `source_prefix` is
        replaced by `prefix`.

        Args and errors: those of `sync`.
        """
        from apm_s3._migration.sync import copy_tree, copying
        from apm_s3._migration.trees import S3Place

        direction = copying(self._endpoint(), S3Place(source_bucket, source_prefix), S3Place(bucket, prefix))
        return await copy_tree(direction, dry_run=dry_run, **options)

    @overload
    async def delete_prefix(
        self, bucket: str, prefix: str, *, dry_run: Literal[True], **options: Unpack[DeletionKeywords],
    ) -> SyncPlan: ...  # fmt: skip
    @overload
    async def delete_prefix(
        self, bucket: str, prefix: str, *, dry_run: Literal[False] = False, **options: Unpack[DeletionKeywords],
    ) -> SyncReport: ...  # fmt: skip
    @composed
    async def delete_prefix(
        self,
        bucket: str,
        prefix: str,
        *,
        dry_run: bool = False,
        **options: Unpack[DeletionKeywords],
    ) -> SyncPlan | SyncReport:
        """Delete all objects under a prefix, 1000 per request, while they are listed.

        The prefix is used literally: "logs" matches "logs/1" and "logs-old/1". A versioned bucket gets delete markers.

        Args and errors: those of `sync`.

        Raises:
            InvalidOption: the prefix is empty, which would mean the whole bucket: use `delete_bucket(force=True)`.
        """
        from apm_s3._migration.sync import delete_all

        if not prefix:
            raise InvalidOption(
                "an empty prefix means the whole bucket",
                operation="delete_prefix",
                bucket=bucket,
                hint=Advice.EMPTY_BUCKET(),
            )
        check_bucket(bucket)
        return await delete_all(self._endpoint(), bucket, prefix, dry_run=dry_run, **options)

    # Buckets

    @property
    def _parts(self) -> BucketParts:
        engine = self._engine()
        if self._made is None:
            from apm_s3._s3.buckets.plans import BucketParts

            self._made = BucketParts(engine)
        return self._made

    @composed
    async def create_bucket(
        self,
        name: str,
        options: BucketOptions | None = None,
        *,
        region: str | None = None,
        mfa: str | None = None,
        unsupported: Unsupported = "refuse",
    ) -> BucketPlan:
        """Create a bucket with all `options`. If one of them cannot be set, the bucket is removed again.

        In us-east-1, if two processes create the same bucket at the same time, S3 tells both that they succeeded. If
        one of them then fails, it removes the bucket, unless it is not empty.

        Args:
            mfa: "serial code" of the root user's MFA device, for `Versioning(mfa_delete=True)`.
            unsupported: "warn" omits options that an S3-compatible server lacks, and lists them in the plan's warnings.

        Returns:
            The plan that was carried out.

        Raises:
            InvalidBucketName, InvalidOption: S3 would refuse it; nothing was sent.
            BucketAlreadyOwned: you already own it; ensure_bucket applies options to it.
            BucketAlreadyExists: another account owns it.
            UnsupportedByServer: the server lacks some of the options; the message lists them.
        """
        ref = BucketRef("create_bucket", name, region)
        return await self._parts.plans.create(ref, options, mfa=mfa, unsupported=unsupported)

    @composed
    async def ensure_bucket(
        self,
        name: str,
        options: BucketOptions | None = None,
        *,
        mfa: str | None = None,
        unsupported: Unsupported = "refuse",
        plan: BucketPlan | PlanDocument | None = None,
        **where: Unpack[BucketKeywords],
    ) -> BucketPlan:
        """Create the bucket, or apply `options` to the existing one, changing only what differs.

        It can be repeated at any time: a second call finds nothing to do.

        Args:
            plan: the result of `plan_bucket` for the same options, or of `BucketPlan.from_dict`. The call continues
                only if making the plan again gives the same one.

        Returns:
            The plan that was carried out.

        Raises:
            As `create_bucket`, except BucketAlreadyOwned.
            WrongRegion: it exists in another region than `region`.
            PlanOutdated: the plan would be different now; nothing was changed.
        """
        ref = BucketRef("ensure_bucket", name, **where)
        return await self._parts.plans.ensure(ref, options, mfa=mfa, unsupported=unsupported, agreed=plan)

    @composed
    async def plan_bucket(
        self,
        name: str,
        options: BucketOptions | None = None,
        **where: Unpack[BucketKeywords],
    ) -> BucketPlan:
        """Return what `ensure_bucket` would do, without changing anything."""
        ref = BucketRef("plan_bucket", name, **where)
        return await self._parts.plans.plan(ref, options)

    async def list_buckets(
        self, *, prefix: str = "", region: str | None = None, details: bool = False, refresh: bool = False
    ) -> tuple[BucketInfo, ...]:
        """List the buckets of the account, sorted by name.

        Args:
            prefix: only buckets whose names begin with it.
            region: only buckets in this region.
            details: also read all settings of each, several buckets at a time.
            refresh: bypass the cache (see `S3Settings.cache`).
        """
        return await self._parts.cached.listed(prefix, region, details=details, refresh=refresh)

    @composed
    async def get_bucket(self, name: str, *, refresh: bool = False, **where: Unpack[BucketKeywords]) -> BucketDetails:
        """Return a bucket with all its settings, read in parallel.

        Args:
            refresh: bypass the cache (see `S3Settings.cache`).

        Raises:
            BucketNotFound: it does not exist.
            AccessDenied: one of its settings may not be read; this never means "not configured".
        """
        return await self._parts.cached.details(bucket_ref("get_bucket", name, **where), refresh=refresh)

    async def bucket_exists(self, name: str, **where: Unpack[BucketKeywords]) -> bool:
        """Return whether the bucket exists.

        Raises:
            AccessDenied: it may exist, but access is denied.
        """
        ref = bucket_ref("bucket_exists", name, **where)
        return await self._parts.requests.head(ref) is not None

    @composed
    async def delete_bucket(
        self,
        name: str,
        *,
        force: bool = False,
        confirm: str | None = None,
        mfa: str | None = None,
        bypass_governance: bool = False,
        on_progress: Callable[[EmptyReport], object] | None = None,
        **where: Unpack[BucketKeywords],
    ) -> EmptyReport:
        """Delete a bucket; with `force`, first delete all of its versions, delete markers and open uploads.

        Args:
            confirm: the bucket's name, required to empty a bucket that is tagged as production.
            mfa: "serial code" of the MFA device, if the bucket has MFA delete.
            bypass_governance: delete versions despite a GOVERNANCE lock (requires the permission).
            on_progress: called after each batch with what was deleted so far; its exceptions are logged.

        Returns:
            What was deleted from the bucket.

        Raises:
            BucketNotFound: it does not exist.
            BucketNotEmpty: it is not empty, and `force` is not set; old versions and delete markers count.
            InvalidOption: it is tagged as production, and `confirm` is not its name; nothing was deleted.
            BatchError: some contents could not be deleted; `failures` says which, and why. The rest was deleted.
        """
        from apm_s3.models import EmptyReport

        ref = bucket_ref("delete_bucket", name, **where)
        report = EmptyReport()
        if force:
            report = await self._parts.emptying.empty(
                ref,
                confirm=confirm,
                mfa=mfa,
                bypass_governance=bypass_governance,
                on_progress=on_progress,
            )
        else:
            await self._parts.emptying.require_empty(ref)
        await self._parts.requests.delete(ref)
        return report

    async def get_setting(self, bucket: str, kind: type[S], **where: Unpack[BucketKeywords]) -> S | None:
        """Return one kind of setting of a bucket (`Lifecycle`, `Policy`, ...); None if it is not configured.

        Raises:
            BucketNotFound: the bucket does not exist.
            UnsupportedByServer: the server does not know this kind.
        """
        return await self._parts.settings.read(bucket_ref("get_setting", bucket, **where), kind)

    @composed
    async def set_setting(
        self,
        bucket: str,
        setting: BucketSetting,
        *,
        mfa: str | None = None,
        **where: Unpack[BucketKeywords],
    ) -> None:
        """Set a setting of a bucket, replacing the current one of its kind.

        Args:
            mfa: "serial code" of the root user's MFA device, to change `Versioning.mfa_delete`, or any versioning
                setting while it is on.

        Raises:
            InvalidOption: S3 would refuse it; nothing was sent.
            BucketNotFound: the bucket does not exist.
            UnsupportedByServer: the server does not know this kind; nothing was changed.
        """
        ref = bucket_ref("set_setting", bucket, **where)
        setting.check()
        await self._parts.settings.require_bucket(ref)
        await self._parts.settings.write(ref, setting, mfa=mfa)

    @composed
    async def remove_setting(
        self,
        bucket: str,
        kind: type[BucketSetting],
        *,
        mfa: str | None = None,
        **where: Unpack[BucketKeywords],
    ) -> None:
        """Remove one kind of setting from a bucket; harmless if it is not configured.

        Two kinds can only be removed in part: versioning is suspended, and object lock stays on without a default
        retention.
        """
        ref = bucket_ref("remove_setting", bucket, **where)
        await self._parts.settings.remove(ref, kind, mfa=mfa)

    async def apm_options(
        self,
        name: str,
        environment: str,
        tool: str,
        purpose: str,
        *,
        mfa_delete: bool = False,
        **options: Unpack[ApmBucketKeywords],
    ) -> BucketOptions:
        """Return the options that `create_apm_bucket` applies, for `ensure_bucket` and `plan_bucket`.

        They fit this manager's endpoint: its region, and whether it is encrypted. `apm_bucket_options` is the same
        without a manager.

        Args:
            require_https: see `create_apm_bucket`.

        Raises:
            InvalidOption, InvalidKey, InvalidBucketName: an argument is not valid.
        """
        from apm_s3._s3.buckets.apm_buckets import apm_bucket_options

        endpoint = await self._parts.requests.endpoint(options.get("region"))
        options["region"] = endpoint.region
        if options.get("require_https") is None:
            options["require_https"] = endpoint.is_encrypted
        return apm_bucket_options(name, environment, tool, purpose, mfa_delete=mfa_delete, **options)

    @composed
    async def create_apm_bucket(
        self,
        name: str,
        environment: str,
        tool: str,
        purpose: str,
        *,
        mfa: str | None = None,
        unsupported: Unsupported = "refuse",
        **options: Unpack[ApmBucketKeywords],
    ) -> BucketPlan:
        """Create a bucket for configurations: encrypted, versioned, private, tagged, with a policy and a lifecycle.

        `apm_lifecycle` describes what happens to its objects, `apm_policy` what is denied. If any setting cannot be
        applied, the bucket is removed again. To apply the same settings to an existing bucket, use
        `ensure_bucket(name, apm_bucket_options(...))`.

        Args:
            environment: "production" or "prod" adds protections that require MFA. They apply to everybody: later
                changes of the bucket's settings need credentials from a session with MFA.
            tool: the tool whose configurations it contains, or "all".
            purpose: "configs", "backups", "logs", ...: the purpose of the bucket.
            kms_key_id: encrypt with this KMS key instead of SSE-S3.
            mfa: "serial code" of the root user's MFA device turns on MFA delete. S3 then refuses lifecycle rules, so
                they are omitted, with a warning.
            retention: days after which backups (or logs, by purpose) expire.
            tags: additional tags.
            prefixes: prefixes of the configuration stores in the bucket.
            policy: replaces the environment's policy.
            require_https: deny plain HTTP. This is the default, except on a plain HTTP endpoint, where it would lock
                everybody out: there it is omitted, with a warning.
            unsupported: "warn" omits settings that an S3-compatible server lacks, with a warning.

        Returns:
            The plan that was carried out; `warnings` lists what was omitted.

        Raises:
            As `create_bucket`; and InvalidOption or InvalidKey for invalid arguments.
        """
        from apm_s3._s3.buckets.apm_buckets import left_out

        ref = BucketRef("create_apm_bucket", name, options.get("region"))
        chosen = await self.apm_options(name, environment, tool, purpose, mfa_delete=mfa is not None, **options)
        endpoint = await self._parts.requests.endpoint(ref.region)
        open_to_http = options.get("require_https") is None and options.get("policy") is None
        warnings = left_out(mfa_delete=mfa is not None, plain_http=open_to_http and not endpoint.is_encrypted)
        plan = await self._parts.plans.create(ref, chosen, mfa=mfa, unsupported=unsupported)
        return dataclasses.replace(plan, warnings=(*warnings, *plan.warnings))

    @composed
    async def bucket_usage(
        self,
        bucket: str,
        *,
        prefixes: Sequence[str] = ("",),
        expected_bucket_owner: str | None = None,
        timeout: float | None = None,
    ) -> BucketUsage:
        """Count objects and bytes in a bucket by storage class, environment and tool, including old versions.

        It lists the bucket, with folders in parallel: one request per thousand versions. For many millions of objects,
        S3 Inventory or Storage Lens cost less.

        Args:
            prefixes: prefixes of the configuration stores in the bucket.
            timeout: seconds for each request of the listing.

        Raises:
            BucketNotFound: it does not exist.
        """
        from apm_s3._s3.buckets import contents

        ref = bucket_ref("bucket_usage", bucket, expected_bucket_owner=expected_bucket_owner)
        return await contents.measure(self._engine(), ref, prefixes, timeout)

    @composed
    async def setup_replication(
        self,
        source: str,
        target: str,
        *,
        role: str | None = None,
        source_region: str | None = None,
        target_region: str | None = None,
        prefixes: Sequence[str] = ("",),
        delete_markers: bool = True,
        storage_class: str | None = None,
        target_account: str | None = None,
        kms_key_id: str | None = None,
        create_target: bool = False,
        expected_bucket_owner: str | None = None,
    ) -> ReplicationSetup:
        """Replicate the objects of `source` to `target`.

        Both buckets must have versioning. The role must exist and have the permissions in the result's
        `permissions_policy`. Without `role`, nothing is changed, and the result shows how to create it (print it).
        The source's rules for other targets are kept.

        Args:
            role: the ARN of the IAM role that S3 assumes.
            prefixes: replicate only these, with one rule each.
            delete_markers: also replicate delete markers (deletions of versions are never replicated).
            storage_class: of the replicas; None keeps the source's.
            target_account: the account that owns the target, if it is another one; it will own the replicas.
            kms_key_id: the key in the target's region for replicas of objects that are encrypted with KMS; without it,
                these objects are not replicated.
            create_target: create the target in `target_region`, with the source's protections, if it does not exist.
            expected_bucket_owner: of the source.

        Raises:
            BucketNotFound: the source, or, without `create_target`, the target does not exist.
            InvalidOption: versioning is off on one side, or the source replicates with another role.
        """
        from apm_s3._s3.buckets import replication

        ref = bucket_ref("setup_replication", source, region=source_region, expected_bucket_owner=expected_bucket_owner)
        target_ref = bucket_ref("setup_replication", target, region=target_region, expected_bucket_owner=target_account)
        wanted = replication.Wanted(role, prefixes, delete_markers, storage_class, kms_key_id, create_target)
        return await replication.set_up(self._parts, ref, target_ref, wanted)

    @composed
    async def replication_status(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        **where: Unpack[BucketKeywords],
    ) -> str | None:
        """Return the replication status of an object: "PENDING", "COMPLETED" or "FAILED"; "REPLICA" for a replica.

        None means that no rule applies to it.

        Raises:
            BucketNotFound, ObjectNotFound: the bucket or the object does not exist.
        """
        from apm_s3._s3.buckets import replication

        ref = bucket_ref("replication_status", bucket, **where)
        check_key(key, bucket=bucket)
        return await replication.status(self._parts.requests, self._engine(), ref, key, version_id)

    @composed
    async def restore_archived(
        self,
        bucket: str,
        key: str,
        *,
        days: int = 7,
        tier: RestoreTier = "Standard",
        version_id: str | None = None,
        **where: Unpack[BucketKeywords],
    ) -> bool:
        """Ask S3 to make an object in GLACIER or DEEP_ARCHIVE readable for some days. This takes minutes to two days.

        Until it is ready, reading raises ObjectArchived. Times and costs of the tiers: https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html.

        Args:
            days: how long the readable copy is kept.
            tier: the speed; "Expedited" does not exist for DEEP_ARCHIVE.

        Returns:
            True if the restore was started; False if one is already in progress.

        Raises:
            InvalidOption: `days` is less than 1, or the object is not in an archive class.
            ObjectNotFound, BucketNotFound: the object or the bucket does not exist.
        """
        from apm_s3._s3.buckets import replication

        ref = bucket_ref("restore_archived", bucket, **where)
        check_key(key, bucket=bucket)
        return await replication.restore(self._parts.requests, ref, key, version_id, days, tier)

    # Opening

    def _assemble(self) -> _Opened:
        clients = Clients(
            session=self._session,
            region=self._region,
            endpoint_url=self._endpoint_url,
            credentials=self._credentials,
            settings=self.settings,
        )
        transport = self._make_transport(clients)
        runner = Runner(
            self.settings,
            self.pool,
            self.metrics,
            self._hooks,
            transport.recover,
            region=self._region,
            log=self._logger,
            tracer=self._tracer,
        )
        wanted = self.settings.cache
        policies = None if wanted is None else Policies.of(wanted)
        engine = Engine(
            transport if policies is None else InvalidatingTransport(transport, self._cache),
            clients,
            runner,
            self.pool,
            self.settings,
            self._cache,
            policies,
            policies if wanted is not None and wanted.objects else None,
        )
        return _Opened(asyncio.get_running_loop(), engine, clients)

    def _make_shared(self, endpoint: str) -> SharedLevel | None:
        wanted = self.settings.cache
        if wanted is None or wanted.shared is None:
            return None
        from apm_s3._cache import SharedLevel

        return SharedLevel(wanted.shared, (wanted.namespace, endpoint), self._cache.spawn)

    def _make_transport(self, clients: Clients) -> ObjectTransport:
        return Transport(clients, signed=self.settings.data_path == "signed")


def _download(s3: S3Manager, it: DownloadOp) -> Awaitable[Result]:
    if it.to is None:
        return s3.read_file(it.bucket, it.key, it.options)
    return s3.download_to(it.bucket, it.key, it.to, it.options)


_PERFORM: dict[str, Callable[[S3Manager, Any], Awaitable[Result]]] = {
    "UploadOp": lambda s3, it: s3.upload_file(it.bucket, it.key, it.source, it.options, size=it.size),
    "DownloadOp": _download,
    "CopyOp": lambda s3, it: s3.copy_file(it.source_bucket, it.source_key, it.bucket, it.key, it.options),
    "MoveOp": lambda s3, it: s3.move_file(
        it.source_bucket,
        it.source_key,
        it.bucket,
        it.key,
        it.options,
        mfa=it.mfa,
        bypass_governance=it.bypass_governance,
    ),
    "DeleteOp": lambda s3, it: s3.delete_file(it.bucket, it.key, it.options),
    "HeadOp": lambda s3, it: s3.head_file(it.bucket, it.key, it.options),
}
"""How the operations of a batch are carried out, by the names of their classes, which few programs load."""


def _place(wanted: tuple[str, ...]) -> tuple[str, str, str]:
    """Bucket, environment and prefix of an entry of `WarmupPlan.configs`."""
    match wanted:
        case (str(bucket), str(environment)):
            return bucket, environment, ""
        case (str(bucket), str(environment), str(prefix)):
            return bucket, environment, prefix
    raise InvalidOption(
        f"{wanted!r:.120} is not a place of configurations",
        hint="use (bucket, environment), or (bucket, environment, prefix)",
    )


def _check_caches(what: str, policies: Policies | None) -> None:
    if policies is None:
        raise InvalidOption(
            f"these settings do not cache {what}",
            hint="open the manager with S3Settings(cache=CacheSettings(objects=True)); objects=True is for objects",
        )


class _Lifecycle:
    """Whether a manager is open. Its methods hold this, not the manager, so that no cycle delays its `__del__`."""

    def __init__(self) -> None:
        self.opened: _Opened | None = None
        self.closed = False

    def engine(self) -> Engine:
        """Return the engine of the open manager.

        Raises:
            ManagerClosed: it is not open.
            WrongEventLoop: it was opened on another event loop.
        """
        opened = self.opened
        if opened is None or self.closed:
            raise ManagerClosed("this S3Manager was closed" if opened else "this S3Manager has not been opened")
        if asyncio.get_running_loop() is not opened.loop:
            opened.check_loop()
        return opened.engine


class _Opened:
    """The resources of an open manager."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine, clients: Clients) -> None:
        self.loop = loop
        self.engine = engine
        self.clients = clients

    def check_loop(self) -> None:
        if asyncio.get_running_loop() is not self.loop:
            raise WrongEventLoop("this S3Manager was opened on another event loop")

    async def aclose(self) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.clients.aclose)
            stack.push_async_callback(self.engine.transport.aclose)
            stack.push_async_callback(self.engine.cache.aclose)
            stack.callback(self.engine.runner.close)
            stack.push_async_callback(self.engine.stop_tasks)


def _check_endpoint(url: str | None) -> None:
    if url is None:
        return
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if the port is not valid
    except ValueError:
        parts = urlsplit("")
    if "@" in url:
        raise InvalidOption(
            "endpoint_url contains a user name or password", hint="pass keys as credentials=Credentials"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidOption(
            f"endpoint_url {url!r:.80} is not a valid URL", hint="use one such as 'http://localhost:9000'"
        )


def make_cache(wanted: CacheSettings | None = None) -> Cache:
    """Create the cache of a manager with these settings."""
    limits = wanted or CacheSettings()
    return Cache(max_entries=limits.max_entries, max_bytes=limits.max_bytes, ttl=None if wanted is None else wanted.ttl)


async def _wait_for(task: asyncio.Task[None]) -> None:
    await task


def _check_expiry(seconds: int) -> None:
    if not 1 <= seconds <= MAX_PRESIGN_SECONDS:
        raise InvalidOption(
            f"expires_in of {seconds} seconds is not between 1 and {MAX_PRESIGN_SECONDS} (7 days)",
            hint="S3 allows 7 days",
        )
