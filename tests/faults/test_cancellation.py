"""A call cancelled at any moment leaves nothing, and the server has the old or the new state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from apm_s3 import S3Manager, S3Settings
from apm_s3.batch import CopyOp, DeleteOp, DownloadOp, OperationResult, UploadOp
from apm_s3.errors import ApmS3Error, ConfigNotFound
from apm_s3.options import UploadOptions
from apm_s3.settings import TransferSettings
from tests.faults.bucket_verbs import CONTROL_VERBS, DATA_VERBS
from tests.faults.cached_verbs import CACHE, CACHED_VERBS
from tests.faults.cancelling import Moment, cancelled_at
from tests.faults.matrix import DATA_PATHS
from tests.faults.memory_s3 import MemoryS3
from tests.faults.server import FaultyS3
from tests.faults.verbs import BUCKET, NEW, OLD, OTHER, VERBS, Verb, bodies_of, new_state, warm
from tests.managers import make_manager
from tests.seams.cache import cache_of, loads_of
from tests.seams.wire import allow_small_parts

MANY = 2000
"""More suspensions than any call here has."""

CALLS = {
    f"{verb.name}": verb
    for verb in (*VERBS, *CONTROL_VERBS, *DATA_VERBS)
    if verb.name in {"upload", "create", "upload a stream", "upload in parts", "read", "download", "download to a file",
                     "copy", "move", "move in parts", "delete many", "iterate", "create bucket with settings",
                     "ensure bucket", "empty and delete bucket", "clean up uploads", "sync up", "sync down", "copy prefix",
                     "delete prefix"}
}  # fmt: skip
# The details of a bucket are a dozen requests through aiobotocore, and cached like a list of buckets.
CACHED = {verb.name: verb for verb in CACHED_VERBS if verb.name != "cached details"}
IN_PARTS = {name: CALLS[name] for name in ("upload a stream", "upload in parts", "move in parts")}

TRANSFER = TransferSettings(multipart_threshold=200, range_size=100)

_NOT_OF_A_CALL = {"faulty s3", "apm_s3 cache clean-up"}
"""Tasks of the server, and the manager's task that expires cached entries until it is closed."""


class World:
    """A server and a warm manager."""

    def __init__(self, server: FaultyS3, s3: S3Manager) -> None:
        self.server = server
        self.s3 = s3
        self.tasks = asyncio.all_tasks()

    async def settle(self) -> None:
        """Let sent bytes arrive, and closed connections finish closing."""
        for _ in range(5):
            await asyncio.sleep(0)
        await self.server.until_idle()

    def check_nothing_left(self, uploads: set[str]) -> None:
        """Check that there are no slots, tasks or uploads that were not there before."""
        stats = self.s3.pool.stats()
        assert (stats.in_use, stats.waiting) == (0, 0)
        assert self.server.s3.uploads.keys() <= uploads
        known = self.tasks | {asyncio.current_task()}
        assert not [task for task in asyncio.all_tasks() - known if task.get_name() not in _NOT_OF_A_CALL]


@pytest.fixture(params=DATA_PATHS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A manager on each transport."""
    async with made_world(S3Settings(data_path=request.param, transfer=TRANSFER)) as world:
        yield world


@pytest.fixture
async def caching() -> AsyncIterator[World]:
    """A manager that caches."""
    async with made_world(S3Settings(transfer=TRANSFER, cache=CACHE)) as world:
        yield world


@asynccontextmanager
async def made_world(settings: S3Settings) -> AsyncIterator[World]:
    async with FaultyS3() as server:
        async with make_manager(server, settings) as s3:
            server.s3 = new_state()
            await warm(s3)
            made = World(server, s3)
            yield made
        await server.until_disconnected()


async def cancel_everywhere(
    world: World, moment: Moment, state: Callable[[], MemoryS3], call: Callable[[], Any], check: Callable[..., Any],
    *, finish: Callable[[], Awaitable[None]] | None = None,
) -> int:  # fmt: skip
    """Cancel `call` at each of its suspensions in turn, on a fresh `state`; how many there were.

    `finish` waits for what a cancelled call leaves to its manager.
    """
    for at in range(1, MANY):
        world.server.s3 = state()
        begun = set(world.server.s3.uploads)
        reached, value, error = await cancelled_at(at, moment, call)
        if finish is not None:
            await finish()
        await world.settle()
        world.check_nothing_left(begun)
        await check(value, error)
        if not reached:
            assert error is None
            return at - 1
    raise AssertionError("it does not end")


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("verb", CALLS.values(), ids=CALLS.keys())
async def test_a_cancelled_call_leaves_the_old_or_the_new_state(world: World, verb: Verb, moment: Moment) -> None:
    await check_cancelled(world, verb, moment)


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("verb", IN_PARTS.values(), ids=IN_PARTS.keys())
async def test_a_call_cancelled_during_parallel_parts_leaves_no_parts(
    world: World, verb: Verb, moment: Moment, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Parts smaller than S3 and our settings allow, so that several fit into a small body.
    allow_small_parts(monkeypatch, 100)
    object.__setattr__(world.s3.settings.transfer, "part_size", 100)
    await check_cancelled(world, verb, moment)
    arrived = world.server.arrived[::-1]
    whole = arrived[: arrived.index("CreateMultipartUpload")]
    assert sum(operation.startswith("UploadPart") for operation in whole) >= 3


async def check_cancelled(world: World, verb: Verb, moment: Moment) -> None:
    """A call cancelled at any of its suspensions leaves the old or the new state."""
    before = bodies_of(verb.state())
    done = bodies_of(verb.state())
    verb.change(done)

    async def check(value: Any, error: BaseException | None) -> None:
        assert error is None or isinstance(error, asyncio.CancelledError), repr(error)
        after = bodies_of(world.server.s3)
        if error is None:
            assert (value, after) == (verb.result, done)
        elif verb.in_steps:
            assert all(after[name].items() <= before[name].items() for name in after)
        elif verb.name.startswith("move"):
            after[OTHER].pop("c", None)
            assert after[BUCKET] in (before[BUCKET], done[BUCKET])
        else:
            assert after in (before, done)

    assert await cancel_everywhere(world, moment, verb.state, lambda: verb.call(world.s3), check) > 0


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("verb", CACHED.values(), ids=CACHED)
async def test_a_cancelled_cached_read_leaves_nothing_and_does_not_affect_later_reads(
    caching: World, verb: Verb, moment: Moment
) -> None:
    async def check(value: Any, error: BaseException | None) -> None:
        assert error is None or isinstance(error, asyncio.CancelledError), repr(error)
        assert not loads_of(cache_of(caching.s3))
        assert verb.again is not None
        assert await verb.again(caching.s3) == verb.result

    assert await cancel_everywhere(caching, moment, verb.state, lambda: verb.call(caching.s3), check) > 0


@pytest.mark.parametrize("moment", Moment)
async def test_a_cancelled_replacement_leaves_a_whole_object(world: World, moment: Moment) -> None:
    body = NEW * 10

    async def check(value: Any, error: BaseException | None) -> None:
        stored = bodies_of(world.server.s3)[BUCKET]["large"]
        assert stored in (body, bodies_of(new_state())[BUCKET]["large"])

    await cancel_everywhere(
        world, moment, new_state, lambda: world.s3.upload_file(BUCKET, "large", body, UploadOptions()), check
    )


@pytest.mark.parametrize("as_they_come", [False, True], ids=["list", "iterator"])
@pytest.mark.parametrize("moment", Moment)
async def test_a_cancelled_batch_leaves_each_object_in_its_old_or_new_state(
    world: World, moment: Moment, as_they_come: bool, tmp_path: Path
) -> None:
    operations = [
        UploadOp(BUCKET, "c", NEW),
        UploadOp(BUCKET, "large", NEW * 10),
        CopyOp(BUCKET, "a", OTHER, "c"),
        DeleteOp(BUCKET, "b"),
        DownloadOp(BUCKET, "a", to=tmp_path / "a"),
    ]
    old = bodies_of(new_state())

    async def call() -> list[OperationResult]:
        if not as_they_come:
            return list(await world.s3.batch(operations, concurrency=3))
        async with aclosing(world.s3.batch_iter(iter(operations), concurrency=3)) as results:
            return [result async for result in results]

    async def check(value: list[OperationResult] | None, error: BaseException | None) -> None:
        assert error is None or isinstance(error, asyncio.CancelledError), repr(error)
        after = bodies_of(world.server.s3)
        assert after[BUCKET].get("c") in (None, NEW)
        assert after[BUCKET]["large"] in (NEW * 10, old[BUCKET]["large"])
        assert after[OTHER].get("c") in (None, OLD)
        assert after[BUCKET].get("b") in (None, OLD)
        assert [path.name for path in tmp_path.iterdir()] in ([], ["a"])
        (tmp_path / "a").unlink(missing_ok=True)
        if value is not None:
            assert [result.error for result in value] == [None] * len(operations)

    await cancel_everywhere(world, moment, new_state, call, check)


FIRST = "global: {scrape_interval: 15s}\n"
SECOND = "global: {scrape_interval: 30s}\n"


@pytest.mark.parametrize("moment", Moment)
async def test_a_cancelled_release_is_committed_or_not(world: World, moment: Moment) -> None:
    store = world.s3.configs(BUCKET)
    world.server.s3 = new_state()
    await store.upload("prometheus", "production", FIRST)
    committed = world.server.s3.buckets[BUCKET]

    def state() -> MemoryS3:
        made = new_state()
        made.buckets[BUCKET] = dict(committed)
        return made

    async def check(value: Any, error: BaseException | None) -> None:
        assert error is None or isinstance(error, asyncio.CancelledError), repr(error)
        file = await store.download("prometheus", "production")
        assert (file.text, file.revision) in {(FIRST, 1), (SECOND, 2)}
        if error is None:
            assert file.text == SECOND
        assert len(await store.history("prometheus", "production")) == file.revision

    def upload() -> Any:
        return store.upload("prometheus", "production", SECOND)

    await cancel_everywhere(world, moment, state, upload, check, finish=store.finish)


@pytest.mark.parametrize("moment", Moment)
async def test_a_cancelled_first_release_is_complete_or_absent(world: World, moment: Moment) -> None:
    store = world.s3.configs(BUCKET)
    world.server.s3 = new_state()
    await store.upload("prometheus", "staging", FIRST)  # the endpoint is probed once, now

    async def check(value: Any, error: BaseException | None) -> None:
        assert error is None or isinstance(error, asyncio.CancelledError), repr(error)
        try:
            file = await store.download("prometheus", "production")
        except ConfigNotFound:
            assert error is not None
        else:
            assert file.text == FIRST

    def upload() -> Any:
        return store.upload("prometheus", "production", FIRST)

    await cancel_everywhere(world, moment, new_state, upload, check, finish=store.finish)


async def test_closing_during_calls_leaves_nothing(world: World) -> None:
    async def hang(exchange: Any) -> None:
        await exchange.hang()

    world.server.will(hang, "GetObject", times=None)
    calls = [asyncio.create_task(world.s3.read_file(BUCKET, "a")) for _ in range(20)]
    await asyncio.sleep(0.05)
    for call in calls:
        call.cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    await world.settle()
    assert all(isinstance(outcome, asyncio.CancelledError | ApmS3Error) for outcome in outcomes)
    world.check_nothing_left(set())
