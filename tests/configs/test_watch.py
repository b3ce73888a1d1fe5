import asyncio
from contextlib import aclosing

import pytest

from apm_s3.configs import ConfigStore
from apm_s3.errors import AccessDenied, ConnectionLost, InvalidRequest
from apm_s3.testing import MemoryObjects
from tests.configs.samples import GRAFANA, LOKI, OTHER_LOKI
from tests.configs.simulation.loop import VirtualLoop


class Watched(MemoryObjects):
    """Counts requests for the reference document, and can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []
        self.not_modified = 0
        self.error: Exception | None = None

    async def read(self, key: str, **options: object) -> object:
        if key.endswith("current.json"):
            self.asked.append(asyncio.get_running_loop().time())
            if self.error is not None:
                raise self.error
        return await super().read(key, **options)


def play(scene: object) -> None:
    """Run a scene in virtual time."""
    loop = VirtualLoop()
    loop.run(scene)


async def _store() -> tuple[Watched, ConfigStore]:
    objects = Watched()
    store = ConfigStore(objects)
    await store.upload("loki", "production", LOKI)
    objects.asked.clear()
    return objects, store


def test_a_watch_yields_the_current_release_and_then_new_ones() -> None:
    async def scene() -> None:
        _, store = await _store()
        async with aclosing(store.watch("production")) as watch:
            assert (await anext(watch)).revision == 1
            await store.upload("loki", "production", OTHER_LOKI)
            await store.upload("grafana", "production", GRAFANA)
            seen = [await anext(watch), await anext(watch)]
        assert {(release.tool, release.revision) for release in seen} == {("loki", 2), ("grafana", 1)}

    play(scene())


def test_a_slow_watcher_sees_only_the_last_of_several_releases() -> None:
    async def scene() -> None:
        _, store = await _store()
        async with aclosing(store.watch("production", interval=1)) as watch:
            await anext(watch)
            for number in range(5):
                await store.upload("loki", "production", f"{LOKI}# {number}\n")
                await asyncio.sleep(3)
            assert (await anext(watch)).revision == 6

    play(scene())


def test_many_watchers_share_one_request_per_interval() -> None:
    async def scene() -> None:
        objects, store = await _store()
        watches = [store.watch("production", interval=10) for _ in range(20)]
        for watch in watches:
            assert (await anext(watch)).revision == 1
        waiting = [asyncio.ensure_future(anext(watch)) for watch in watches]
        await asyncio.sleep(1000)
        gaps = [later - earlier for earlier, later in zip(objects.asked, objects.asked[1:], strict=False)]
        assert 80 <= len(gaps) <= 100
        assert min(gaps) >= 10
        assert len({round(gap, 3) for gap in gaps}) > 10
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for watch in watches:
            await watch.aclose()
        asked = len(objects.asked)
        await asyncio.sleep(1000)
        assert len(objects.asked) == asked

    play(scene())


def test_a_watcher_with_a_short_interval_does_not_wait_for_one_with_a_long_interval() -> None:
    async def scene() -> None:
        _, store = await _store()
        async with (
            aclosing(store.watch("production", interval=3600)) as patient,
            aclosing(store.watch("production", ["loki"], interval=1)) as hurried,
        ):
            await anext(patient)
            await anext(hurried)
            await store.upload("loki", "production", OTHER_LOKI)
            began = asyncio.get_running_loop().time()
            assert (await anext(hurried)).revision == 2
            assert asyncio.get_running_loop().time() - began < 2

    play(scene())


def test_a_watch_survives_an_outage() -> None:
    async def scene() -> None:
        objects, store = await _store()
        async with aclosing(store.watch("production")) as watch:
            await anext(watch)
            await store.upload("loki", "production", OTHER_LOKI)
            objects.error = ConnectionLost("gone")
            waiting = asyncio.ensure_future(anext(watch))
            await asyncio.sleep(300)
            assert not waiting.done()
            objects.error = None
            assert (await waiting).revision == 2

    play(scene())


def test_a_watch_whose_first_request_is_refused_is_an_error() -> None:
    async def scene() -> None:
        objects, store = await _store()
        objects.error = AccessDenied("refused", operation="read", status=403, s3_code="AccessDenied")
        with pytest.raises(AccessDenied):
            async for _ in store.watch("production"):
                raise AssertionError

    play(scene())


def test_a_watch_waits_for_an_environment_that_does_not_exist_yet() -> None:
    async def scene() -> None:
        _, store = await _store()
        async with aclosing(store.watch("canary")) as watch:
            waiting = asyncio.ensure_future(anext(watch))
            await asyncio.sleep(60)
            await store.upload("loki", "canary", LOKI)
            assert (await waiting).environment == "canary"

    play(scene())


async def test_a_cancelled_watch_leaves_nothing() -> None:
    _, store = await _store()
    started = asyncio.Event()

    async def follow() -> None:
        async for _ in store.watch("production"):
            started.set()

    task = asyncio.ensure_future(follow())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_invalid_arguments_of_a_watch_are_refused_immediately() -> None:
    store = ConfigStore(MemoryObjects())
    for arguments in (("Production",), ("production", ["nagios"])):
        with pytest.raises(InvalidRequest):
            store.watch(*arguments)
    with pytest.raises(InvalidRequest):
        store.watch("production", interval=0)


def test_a_notification_wakes_watchers_immediately() -> None:
    async def scene() -> None:
        objects, store = await _store()
        async with (
            aclosing(store.watch("production", interval=3600)) as watch,
            aclosing(store.watch("production", interval=7200)) as second,
        ):
            await anext(watch)
            await anext(second)
            began = asyncio.get_running_loop().time()
            await ConfigStore(objects).upload("loki", "production", OTHER_LOKI)
            objects.asked.clear()

            for _ in range(5):
                store.notify_changed("production")

            assert ((await anext(watch)).revision, (await anext(second)).revision) == (2, 2)
            assert asyncio.get_running_loop().time() == began
            assert len(objects.asked) == 1

    play(scene())


def test_a_notification_during_a_poll_is_not_lost() -> None:
    async def scene() -> None:
        objects, store = await _store()
        async with aclosing(store.watch("production", interval=3600)) as watch:
            await anext(watch)
            plain = MemoryObjects()
            plain.objects = objects.objects
            other, read, hinted = ConfigStore(plain), objects.read, False

            async def slow(key: str, **options: object) -> object:
                nonlocal hinted
                response = read(key, **options)
                if key.endswith("current.json") and not hinted:
                    hinted = True
                    try:
                        return await response
                    finally:
                        # The content is outdated when the response arrives.
                        await other.upload("loki", "production", OTHER_LOKI)
                        store.notify_changed("production")
                return await response

            objects.read = slow  # type: ignore[method-assign]
            store.notify_changed("production")
            assert (await anext(watch)).revision == 2

    play(scene())


def test_a_notification_without_watchers_costs_nothing() -> None:
    async def scene() -> None:
        objects, store = await _store()
        store.notify_changed("production")
        store.notify_changed("staging")
        with pytest.raises(InvalidRequest):
            store.notify_changed("../x")
        assert objects.asked == []

    play(scene())
