"""`S3Manager`, the entry point. It owns every resource, and closes what it opened."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from apm_s3._cache import Cache, S3Cache
from apm_s3._naming import check_store_bucket
from apm_s3._s3.buckets.verbs import Buckets
from apm_s3._s3.bulk.verbs import Bulk
from apm_s3._s3.caching import InvalidatingTransport, Policies
from apm_s3._s3.engine import Engine, check_bucket
from apm_s3._s3.pool import S3ConnectionPool
from apm_s3._s3.runner import Runner
from apm_s3._s3.transports.clients import Clients
from apm_s3._s3.transports.signed.transport import SignedTransport
from apm_s3._tasks import run_all, shielded
from apm_s3.errors import InvalidOption, ManagerClosed, WrongEventLoop
from apm_s3.metrics import S3Metrics
from apm_s3.settings import CacheSettings, S3Settings

if TYPE_CHECKING:
    from apm_s3._cache import SharedLevel
    from apm_s3._s3.bulk.endpoint import S3Endpoint
    from apm_s3._s3.transports.base import ObjectTransport
    from apm_s3._tools import Tool
    from apm_s3._tracing import Tracer
    from apm_s3.configs._deploy import DeployResult
    from apm_s3.configs._store import ConfigStore
    from apm_s3.events import Hook
    from apm_s3.models import Credentials, WarmupPlan, WarmupReport


class S3Manager(Buckets, Bulk):
    """Buckets, objects and configurations in S3.

    Use it with `async with`, or call `open()` and `aclose()`. It belongs to the event loop that opened it. Creating it
    does no I/O.

    Every call can be cancelled, and leaves no task and no connection behind. A write that was in progress may or may
    not have been carried out, unless its documentation says more.

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
        super().__init__(self._lifecycle.engine)

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
        """Return what migrations need."""
        from apm_s3._s3.bulk.endpoint import S3Endpoint  # noqa: PLC0415 - few programs migrate

        return S3Endpoint(self._engine(), self)

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
        from apm_s3.configs._protocol.cached_reads import StoreCache  # noqa: PLC0415 - see above
        from apm_s3.configs._protocol.objects import S3Objects  # noqa: PLC0415 - see above
        from apm_s3.configs._store import ConfigStore  # noqa: PLC0415 - see above

        wanted = (bucket, prefix, failover, require_conditional_writes, expected_bucket_owner)
        if wanted not in self._stores:
            check_bucket(bucket)
            check_store_bucket(bucket)
            limits = self.settings.cache or CacheSettings()
            made: Callable[..., ConfigStore] = ConfigStore
            if self._tracer is not None:
                from apm_s3.configs._traced import TracedConfigStore  # noqa: PLC0415 - see above

                made = partial(TracedConfigStore, self._tracer)
            self._stores[wanted] = made(
                S3Objects(self, bucket, expected_bucket_owner),
                prefix,
                failover=failover,
                require_conditional_writes=require_conditional_writes,
                deadline=self.settings.timeouts.deadline,
                cache=StoreCache(
                    self._cache,
                    bucket,
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
        from apm_s3.models import WarmupPlan  # noqa: PLC0415 - few programs warm their cache

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
        from apm_s3._s3.warming import warm  # noqa: PLC0415 - few programs warm their cache

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
        from apm_s3._cache import SharedLevel  # noqa: PLC0415 - few programs share their cache

        return SharedLevel(wanted.shared, (wanted.namespace, endpoint), self._cache.spawn)

    def _make_transport(self, clients: Clients) -> ObjectTransport:
        if self.settings.data_path == "signed":
            return SignedTransport(clients)
        from apm_s3._s3.transports.boto.transport import BotoTransport  # noqa: PLC0415 - most managers never need it

        return BotoTransport(clients)


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
