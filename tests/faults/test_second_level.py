"""The second level fails in every way at each of its calls: reads stay correct, and as fast as without it."""

from __future__ import annotations

import asyncio
import base64
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from apm_s3.configs import ConfigStore
from apm_s3.testing import MemoryObjects
from tests.configs.simulation.loop import VirtualLoop
from tests.faults.cancelling import Moment, cancelled_at
from tests.seams.cache import BACKEND_PATIENCE, LOGGER, Cache, SharedLevel, StoreCache, loads_of, tasks_of

CONFIG = "global: {scrape_interval: 15s}\n"
ENV = "production"


class Level:
    """A backend that works, and from its call number `works` on does not.

    Attributes:
        calls: how many it has had.
    """

    def __init__(self, values: dict[str, str], fault: Callable[[Level, str], Awaitable[Any]], works: int) -> None:
        self.values = values
        self.calls = 0
        self._fault = fault
        self._works = works

    async def get(self, key: str, **_: Any) -> Any:
        self.calls += 1
        await asyncio.sleep(0)
        if self.calls > self._works:
            return await self._fault(self, key)
        return self.values.get(key)

    async def set(self, key: str, value: Any, **_: Any) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        if self.calls > self._works:
            await self._fault(self, key)
        self.values[key] = value


async def raises(_: Level, key: str) -> Any:
    raise ConnectionError(f"redis://user:password@host lost {key}")


async def hangs(_: Level, key: str) -> Any:
    await asyncio.get_running_loop().create_future()


async def garbage(_: Level, key: str) -> Any:
    return "this is no base64"


async def another_type(_: Level, key: str) -> Any:
    return {"a": 1}


async def another_value(level: Level, key: str) -> Any:
    return next((value for other, value in level.values.items() if other != key), None)


async def cut_short(level: Level, key: str) -> Any:
    return base64.b64encode(base64.b64decode(level.values.get(key, ""))[:-1]).decode()


async def longer(level: Level, key: str) -> Any:
    return base64.b64encode(base64.b64decode(level.values.get(key, "")) + b"#").decode()


FAULTS = (raises, hangs, garbage, another_type, another_value, cut_short, longer)


async def _file(store: ConfigStore) -> Any:
    file = await store.download("prometheus", ENV)
    return file.name, file.raw, file.revision


async def _bundle(store: ConfigStore) -> Any:
    bundle = await store.download_bundle("prometheus", ENV)
    return {name: file.raw for name, file in bundle.files.items()}


async def _old(store: ConfigStore) -> Any:
    return (await store.download("prometheus", ENV, revision=1)).raw


async def _plan(store: ConfigStore) -> Any:
    plan = await store.plan_deploy("staging", ENV)
    return [(each.tool, each.changes) for each in plan.tools]


READS = {"file": _file, "bundle": _bundle, "an old revision": _old, "plan": _plan}


async def _filled() -> MemoryObjects:
    objects = MemoryObjects()
    store = ConfigStore(objects)
    for number in range(3):
        files = {"prometheus.yml": f"{CONFIG}# {number}\n", "rules/a.yml": f"groups: []\n# {number}\n"}
        await store.upload("prometheus", ENV, files=files)
    await store.upload("prometheus", "staging", CONFIG)
    return objects


def _member(objects: MemoryObjects, backend: Any, clock: Callable[[], float]) -> tuple[ConfigStore, Cache]:
    """A new process of a fleet."""
    cache = Cache(max_entries=1000, max_bytes=2**20, ttl=None, clock=clock)
    level = SharedLevel(backend, ("fleet", "memory"), cache.spawn, clock)
    return ConfigStore(objects, cache=StoreCache(cache, shared=level)), cache


async def _shared(objects: MemoryObjects, read: Callable[[ConfigStore], Awaitable[Any]]) -> dict[str, str]:
    """The content that an earlier process has left there."""
    values: dict[str, str] = {}
    store, cache = _member(objects, Level(values, raises, 10**6), lambda: 0.0)
    await read(store)
    await _put(cache)
    await cache.aclose()
    return values


async def _put(cache: Cache) -> None:
    """Wait for pending writes to the second level."""
    if puts := [task for task in tasks_of(cache) if "second level" in task.get_name()]:
        await asyncio.wait(puts)


@pytest.mark.parametrize("filled", [True, False], ids=["filled", "empty"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_second_level_that_goes_down_costs_one_wait_and_no_error(
    read: Callable[[ConfigStore], Awaitable[Any]], fault: Any, filled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    loop = VirtualLoop()

    async def play() -> None:
        objects = await _filled()
        wanted = await read(ConfigStore(objects))
        values = await _shared(objects, read) if filled else {}
        for works in itertools.count():
            caplog.clear()
            level = Level(dict(values), fault, works)
            store, cache = _member(objects, level, loop.time)
            began = loop.time()
            assert await read(store) == wanted
            assert loop.time() - began <= BACKEND_PATIENCE
            await _put(cache)
            await cache.aclose()
            assert not tasks_of(cache)
            told = [record.getMessage() for record in caplog.records if record.name == LOGGER]
            assert len(told) <= 1
            assert "password" not in "".join(told)
            if level.calls <= works:
                assert works > 0, "it was asked"
                return

    loop.run(play())


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("fault", [raises, another_value])
async def test_a_read_cancelled_anywhere_leaves_nothing_at_the_second_level(fault: Any, moment: Moment) -> None:
    objects = await _filled()
    wanted = await _bundle(ConfigStore(objects))
    values = await _shared(objects, _bundle)
    reached, at = True, 0
    while reached:
        at += 1
        store, cache = _member(objects, Level(dict(values), fault, 2), lambda: 0.0)
        reached, value, error = await cancelled_at(at, moment, lambda: _bundle(store))  # noqa: B023 - used at once
        assert value == wanted or isinstance(error, asyncio.CancelledError), repr(error)
        assert not loads_of(cache)
        assert await _bundle(store) == wanted
        await cache.aclose()
        assert not tasks_of(cache)
    assert at > 5
