"""Objects and buckets cached by a manager: what makes a request, what invalidates, and what bypasses the cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any
from unittest import mock

import pytest

from apm_s3 import CacheSettings, ReadOptions, RetrySettings, S3Settings
from apm_s3.errors import (
    BucketNotFound,
    ConfigNotFound,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    InvalidOption,
    ManagerClosed,
    ObjectNotFound,
)
from apm_s3.models import BucketDetails, BucketInfo, WarmupPlan
from apm_s3.options import BucketOptions, Versioning
from tests.configs.samples import LOKI, OTHER_LOKI
from tests.managers import make_manager
from tests.memory_transport import MemoryManager
from tests.seams.cache import (
    BUCKET_LISTS,
    Cache,
    CachedBuckets,
    InvalidatingTransport,
    Key,
    Policies,
    Policy,
    bucket_group,
    cache_of,
    forget_after,
    grow_older,
    make_cache,
    object_group,
)
from tests.seams.s3 import BucketRef, bucket_ref
from tests.seams.transports import ObjectTransport
from tests.servers import Server

ASKED = CacheSettings(objects=True, stale_if_error=60.0)


@pytest.fixture
async def s3() -> AsyncIterator[MemoryManager]:
    async with MemoryManager(S3Settings(cache=ASKED, retry=RetrySettings(attempts=1))) as s3:
        await s3.upload_file("bucket", "key", b"one")
        yield s3


async def test_an_object_that_was_read_is_read_again_without_a_request(s3: MemoryManager) -> None:
    assert [await s3.read_file("bucket", "key") for _ in range(3)] == [b"one"] * 3
    assert (await s3.head_file("bucket", "key")) == (await s3.head_file("bucket", "key"))
    assert (s3.transport.requests["read"], s3.transport.requests["head"]) == (1, 1)
    assert s3.cache.stats().hits == 3


async def test_a_thousand_concurrent_cold_reads_make_one_request(s3: MemoryManager) -> None:
    bodies = await asyncio.gather(*(s3.read_file("bucket", "key") for _ in range(1000)))
    assert set(bodies) == {b"one"}
    assert s3.transport.requests["read"] == 1


async def test_objects_are_not_cached_unless_requested() -> None:
    for settings in (S3Settings(), S3Settings(cache=CacheSettings())):
        async with MemoryManager(settings) as s3:
            await s3.upload_file("bucket", "key", b"one")
            for _ in range(2):
                await s3.read_file("bucket", "key")
                await s3.head_file("bucket", "key")
            assert (s3.transport.requests["read"], s3.transport.requests["head"]) == (2, 2)
            assert s3.cache.stats().entries == 0


async def test_a_refresh_reads_past_the_cache_and_renews_it(s3: MemoryManager) -> None:
    await s3.read_file("bucket", "key")
    info, _ = s3.transport.objects["key"]
    s3.transport.objects["key"] = info._replace(etag='"two"'), b"two"
    assert await s3.read_file("bucket", "key") == b"one"
    assert await s3.read_file("bucket", "key", refresh=True) == b"two"
    assert await s3.read_file("bucket", "key") == b"two"


WRITES = {
    "upload_file": lambda s3: s3.upload_file("bucket", "key", b"two"),
    "parts": lambda s3: s3.upload_file("bucket", "key", b"two" * 2_000_000),
    "delete_file": lambda s3: s3.delete_file("bucket", "key"),
    "delete_files": lambda s3: s3.delete_files("bucket", ["key"]),
    "copy_file": lambda s3: s3.copy_file("bucket", "other", "bucket", "key"),
    "move_file from": lambda s3: s3.move_file("bucket", "key", "bucket", "elsewhere"),
    "move_file to": lambda s3: s3.move_file("bucket", "other", "bucket", "key"),
}


@pytest.mark.parametrize("verb", WRITES)
async def test_a_write_of_this_manager_is_visible_immediately(s3: MemoryManager, verb: str) -> None:
    object.__setattr__(s3.settings.transfer, "multipart_threshold", 5_500_000)
    await s3.upload_file("bucket", "other", b"other")
    for name in ("put", "delete", "delete_many", "copy", "complete_upload"):
        _read_during(s3, name)
    await WRITES[verb](s3)
    there = s3.transport.objects.get("key")
    if there is None:
        with pytest.raises(ObjectNotFound):
            await s3.read_file("bucket", "key")
    else:
        assert await s3.read_file("bucket", "key") == there[1]
        assert (await s3.head_file("bucket", "key")).etag == there[0].etag


def _read_during(s3: MemoryManager, verb: str) -> None:
    """Let the old object be read and cached again after a request was made, and before it is carried out."""
    carry_out = getattr(s3.transport, verb)

    async def late(*arguments: Any) -> Any:
        await s3.read_file("bucket", "key")
        await s3.head_file("bucket", "key")
        return await carry_out(*arguments)

    setattr(s3.transport, verb, late)


async def test_a_write_whose_response_was_lost_also_invalidates(s3: MemoryManager) -> None:
    await s3.read_file("bucket", "key")

    def lose(verb: str, count: int) -> None:
        if verb == "put":
            raise ConnectFailed("no answer")

    s3.transport.after = lose
    with pytest.raises(ConnectFailed):
        await s3.upload_file("bucket", "key", b"two")
    assert await s3.read_file("bucket", "key") == b"two"


async def test_absence_is_cached_until_the_object_is_written(s3: MemoryManager) -> None:
    for _ in range(3):
        with pytest.raises(ObjectNotFound):
            await s3.read_file("bucket", "missing")
    assert s3.transport.requests["read"] == 1
    await s3.upload_file("bucket", "missing", b"there")
    assert await s3.read_file("bucket", "missing") == b"there"


async def test_a_timeout_ends_the_wait_of_its_caller_only() -> None:
    s3 = MemoryManager(S3Settings(cache=ASKED, retry=RetrySettings(attempts=1)))
    carry_out, may_go_on = s3.transport.read, asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        await may_go_on.wait()
        return await carry_out(*arguments)

    s3.transport.read = slow  # type: ignore[method-assign]
    async with s3:
        await s3.upload_file("bucket", "key", b"one")
        patient = asyncio.create_task(s3.read_file("bucket", "key"))
        with pytest.raises(DeadlineExceeded):
            await s3.read_file("bucket", "key", ReadOptions(timeout=0.01))
        may_go_on.set()
        assert await patient == b"one"
        assert s3.cache.stats().coalesced == 1


async def test_objects_of_more_than_the_allowed_size_are_not_cached() -> None:
    async with MemoryManager(S3Settings(cache=CacheSettings(objects=True, max_object=3))) as s3:
        for body, requests in ((b"one", 1), (b"four", 2)):
            await s3.upload_file("bucket", "key", body)
            s3.transport.requests.clear()
            for _ in range(2):
                assert await s3.read_file("bucket", "key") == body
            assert s3.transport.requests["read"] == requests


async def test_reads_with_special_options_are_not_cached(s3: MemoryManager) -> None:
    for _ in range(2):
        await s3.read_file("bucket", "key", ReadOptions(expected_bucket_owner="1"))
    assert s3.transport.requests["read"] == 2
    for _ in range(2):
        await s3.read_file("bucket", "key", ReadOptions(timeout=5))
    assert s3.transport.requests["read"] == 3


async def test_a_store_never_uses_cached_metadata(s3: MemoryManager) -> None:
    live = "live/production/loki/loki.yaml"
    store = s3.configs("bucket")
    await store.upload("loki", "production", LOKI)
    await s3.head_file("bucket", live)
    async with MemoryManager(S3Settings()) as other:
        other.transport.bucket = s3.transport.bucket
        other.transport.objects = s3.transport.objects
        await other.configs("bucket").upload("loki", "production", OTHER_LOKI)

    assert [tool.live_behind for tool in await store.status("production")] == [False]


async def test_during_an_outage_stale_metadata_is_marked_and_stale_bytes_are_never_returned(s3: MemoryManager) -> None:
    await s3.read_file("bucket", "key")
    assert (await s3.head_file("bucket", "key")).stale_since is None

    def fail(verb: str, count: int) -> None:
        raise ConnectFailed("no answer")

    s3.transport.before = fail
    grow_older(cache_of(s3), 61)
    info = await s3.head_file("bucket", "key")
    assert info.stale_since is not None
    with pytest.raises(ConnectFailed):
        await s3.read_file("bucket", "key")
    grow_older(cache_of(s3), 61)
    with pytest.raises(ConnectFailed):
        await s3.head_file("bucket", "key")


async def test_after_the_ttl_an_object_is_confirmed_by_its_etag(seaweedfs: Server, bucket_name: str) -> None:
    async with make_manager(seaweedfs, S3Settings(cache=ASKED)) as s3:
        await s3.create_bucket(bucket_name)
        await s3.upload_file(bucket_name, "key", b"one")
        for _ in range(2):
            assert await s3.read_file(bucket_name, "key") == b"one"
            grow_older(cache_of(s3), 61)
        received = s3.metrics.snapshot().overall.bytes_received
        assert received == len(b"one")
        # The write of another process is visible then.
        async with make_manager(seaweedfs) as other:
            await other.upload_file(bucket_name, "key", b"two")
        assert await s3.read_file(bucket_name, "key") == b"two"


async def test_a_closed_manager_returns_nothing_from_its_cache(s3: MemoryManager) -> None:
    await s3.read_file("bucket", "key")
    await s3.aclose()
    with pytest.raises(ManagerClosed):
        await s3.read_file("bucket", "key")
    assert s3.cache.stats().entries == 0


async def test_buckets_are_cached_until_this_manager_changes_one(moto: Server, bucket_name: str) -> None:
    async with make_manager(moto, S3Settings(cache=CacheSettings())) as s3, make_manager(moto) as other:
        with pytest.raises(BucketNotFound):
            await s3.get_bucket(bucket_name)
        await s3.list_buckets()
        await s3.create_bucket(bucket_name)
        assert bucket_name in [bucket.name for bucket in await s3.list_buckets()]
        assert (await s3.get_bucket(bucket_name)).settings.versioning is None

        requests = s3.metrics.snapshot().overall.total
        await s3.get_bucket(bucket_name)
        await s3.list_buckets()
        assert s3.metrics.snapshot().overall.total == requests

        await other.set_setting(bucket_name, Versioning())
        assert (await s3.get_bucket(bucket_name)).settings.versioning is None
        plan = await s3.plan_bucket(bucket_name, (await other.get_bucket(bucket_name)).settings)
        assert not plan.changes, "a plan reads what is there now"
        assert (await s3.get_bucket(bucket_name, refresh=True)).settings.versioning is not None

        await s3.delete_bucket(bucket_name)
        with pytest.raises(BucketNotFound):
            await s3.get_bucket(bucket_name)
        assert bucket_name not in [bucket.name for bucket in await s3.list_buckets()]


WRITING_VERBS: dict[str, tuple[Any, ...]] = {
    "put": ("bucket", "key", b"", None),
    "delete": ("bucket", "key", None),
    "delete_many": ("bucket", [("other", None), ("key", "version")], None),
    "copy": ("bucket", "other", "bucket", "key", None),
    "complete_upload": ("bucket", "key", "upload", [], None),
}
"""Every verb of a transport that changes what a read of an object returns, with arguments that change "key"."""

CHANGES_NO_OBJECT = {
    *("read", "open", "head", "tags", "object_lock", "server_name", "streams", "list_files", "fetch_files"),
    *("list_versions", "list_parts", "list_uploads", "presign", "recover", "aclose"),
    *("create_upload", "upload_part", "copy_part", "abort_upload"),  # nobody sees the parts of an upload
}


def test_every_verb_of_a_transport_either_invalidates_or_changes_no_object() -> None:
    verbs = {name for name in vars(ObjectTransport) if not name.startswith("_")}
    methods = {name for name in vars(InvalidatingTransport) if not name.startswith("_")}

    assert methods == WRITING_VERBS.keys()
    assert verbs == methods | CHANGES_NO_OBJECT


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("verb", WRITING_VERBS)
async def test_a_writing_verb_invalidates_what_it_wrote_even_if_it_fails(verb: str, fails: bool) -> None:
    cache = make_cache()
    key, policy = Key(object_group("bucket", "key"), "body"), Policy[int](cost=lambda _: 1, ttl=60.0)
    inner = mock.AsyncMock(spec=ObjectTransport)
    getattr(inner, verb).side_effect = ConnectionLost("no answer") if fails else None
    await cache.fetch(key, policy, _one)

    with pytest.raises(ConnectionLost) if fails else nullcontext():
        await getattr(InvalidatingTransport(inner, cache), verb)(*WRITING_VERBS[verb])

    assert cache.peek(key) is None
    await cache.aclose()


async def test_what_a_call_on_a_bucket_invalidates() -> None:
    cache = make_cache()
    keys = {
        "object": Key(object_group("bucket", "key"), "body"),
        "details": Key(bucket_group("bucket"), (None, None)),
        "list": Key(BUCKET_LISTS, ("", None, False)),
        "other": Key(bucket_group("other"), (None, None)),
    }
    policy: Policy[int] = Policy(cost=lambda _: 1, ttl=60.0)

    async def left(method: str) -> list[str]:
        for key in keys.values():
            await cache.fetch(key, policy, _one)
        forget_after(cache, method, "bucket")
        return [name for name, key in keys.items() if cache.peek(key) is not None]

    assert await left("get_bucket_policy") == await left("list_objects_v2") == await left("head_bucket") == list(keys)
    assert await left("put_bucket_policy") == ["object", "other"]
    assert await left("create_bucket") == ["object", "other"]
    assert await left("delete_bucket") == ["other"]
    await cache.aclose()


async def _one(_: int | None) -> int:
    return 1


class Buckets:
    """Reads of buckets that are counted, and fail while S3 is down."""

    def __init__(self) -> None:
        self.down = False
        self.calls = 0

    async def list_all(self, operation: str, prefix: str, region: str | None) -> list[BucketInfo]:
        self._count()
        return [BucketInfo(f"{prefix}bucket", region=region)]

    async def get(self, ref: BucketRef) -> BucketDetails:
        self._count()
        return BucketDetails(ref.name, ref.region, None, BucketOptions())

    def _count(self) -> None:
        self.calls += 1
        if self.down:
            raise ConnectFailed("no answer")


async def test_during_an_outage_buckets_are_returned_with_their_age() -> None:
    settings, now = CacheSettings(stale_if_error=60.0), [0.0]
    cache = Cache(max_entries=100, max_bytes=100_000, ttl=settings.ttl, clock=lambda: now[0])
    reads = Buckets()
    buckets = CachedBuckets(reads, cache, Policies.of(settings))  # type: ignore[arg-type]

    async def found(*, refresh: bool = False) -> list[bool]:
        listed = await buckets.listed("", None, details=False, refresh=refresh)
        details = await buckets.details(bucket_ref("get_bucket", "bucket"), refresh=refresh)
        return [each.stale_since is not None for each in (*listed, details)]

    assert await found() == await found() == [False, False]
    assert (await buckets.listed("a-", None, details=False, refresh=False))[0].name == "a-bucket"
    assert (
        await buckets.details(bucket_ref("get_bucket", "bucket", region="eu-west-1"), refresh=False)
    ).region == "eu-west-1"
    assert reads.calls == 4
    assert await found(refresh=True) == [False, False]
    assert reads.calls == 6
    reads.down, now[0] = True, settings.ttl + 59.0
    assert await found() == [True, True]
    with pytest.raises(ConnectFailed):
        await found(refresh=True)
    now[0] += 2.0
    with pytest.raises(ConnectFailed):
        await found()
    await cache.aclose()


async def test_buckets_are_not_cached_by_default(moto: Server, bucket_name: str) -> None:
    async with make_manager(moto) as s3, make_manager(moto) as other:
        await s3.create_bucket(bucket_name)
        await s3.list_buckets()
        await other.delete_bucket(bucket_name)
        assert bucket_name not in [bucket.name for bucket in await s3.list_buckets()]
        assert s3.cache.stats().entries == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_entries": -1}, {"max_bytes": 1.5}, {"max_object": True}, {"ttl": -1}, {"ttl": float("inf")},
        {"ttl": float("nan")}, {"negative_ttl": "1"}, {"current_staleness": None}, {"stale_if_error": True},
        {"shared": object(), "namespace": "team"}, {"shared": {}, "namespace": ""},
    ],
)  # fmt: skip
def test_invalid_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidOption):
        CacheSettings(**wrong)  # type: ignore[arg-type]


async def test_a_warm_up_fills_the_cache_and_reports_what_failed(moto: Server, bucket_name: str) -> None:
    async with make_manager(moto, S3Settings(cache=CacheSettings(objects=True, current_staleness=60))) as s3:
        await s3.create_bucket(bucket_name)
        await s3.upload_file(bucket_name, "key", b"one")
        for prefix in ("", "team-a/"):
            await s3.configs(bucket_name, prefix).upload("prometheus", "production", "global: {}\n")

        report = await s3.warm_cache(
            WarmupPlan(
                buckets=[bucket_name, "apm-no-such-bucket"],
                files={bucket_name: ["key", "missing"]},
                configs=[
                    (bucket_name, "production"),
                    (bucket_name, "staging"),
                    (bucket_name, "production", "team-a/"),
                ],
            )
        )

        places = (f"{bucket_name}: production", f"{bucket_name}/team-a: production")
        assert report.warmed == (bucket_name, f"{bucket_name}/key", *places)
        assert {name: type(error) for name, error in report.failed.items()} == {
            "apm-no-such-bucket": BucketNotFound,
            f"{bucket_name}/missing": ObjectNotFound,
            f"{bucket_name}: staging": ConfigNotFound,
        }
        assert not report.ok
        asked = s3.metrics.snapshot().overall.total
        await s3.get_bucket(bucket_name)
        assert await s3.read_file(bucket_name, "key") == b"one"
        for prefix in ("", "team-a/"):
            assert (await s3.configs(bucket_name, prefix).download("prometheus", "production")).text == "global: {}\n"
        assert s3.metrics.snapshot().overall.total == asked

        assert bucket_name in (await s3.prefetch_buckets()).warmed
        asked = s3.metrics.snapshot().overall.total
        await s3.list_buckets()
        assert s3.metrics.snapshot().overall.total == asked


async def test_a_warm_up_of_uncached_objects_is_refused(s3: MemoryManager) -> None:
    async with MemoryManager(S3Settings()) as plain:
        for wrong in (
            WarmupPlan(buckets=["bucket"]),
            WarmupPlan(files={"bucket": ["key"]}),
            WarmupPlan(configs=[("bucket",)]),  # type: ignore[list-item]
            WarmupPlan(configs=["bucket/production"]),  # type: ignore[list-item]
        ):
            with pytest.raises(InvalidOption):
                await plain.warm_cache(wrong)
        with pytest.raises(InvalidOption):
            await plain.prefetch_buckets()
