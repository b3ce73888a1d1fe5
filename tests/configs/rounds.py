"""What a call of the store costs: the number of its requests, and of round trips. Exact, on a bucket in memory.

Every request takes one second of a virtual clock and nothing else takes any time, so a call's seconds are its steps.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from apm_s3.configs import ConfigStore
from apm_s3.models import FileInfo
from apm_s3.testing import MemoryObjects
from tests.configs.samples import PROMETHEUS
from tests.configs.simulation.loop import VirtualLoop
from tests.seams.cache import Cache, StoreCache

ENV = "production"
SOURCE = "staging"
SEVERAL = "rules"
"""The environment with a bundle of several files."""
REVISIONS = 10


class Waiting(MemoryObjects):
    """A bucket in memory whose requests each take a second, and are counted by S3's names."""

    def __init__(self) -> None:
        super().__init__("memory", now=1_767_225_600.0)
        self.counts: Counter[str] = Counter()
        self.unhashed: list[str] = []
        self.seconds = 1.0

    async def _wait(self, verb: str) -> None:
        self.counts[verb] += 1
        if self.seconds:
            await asyncio.sleep(self.seconds)

    async def read(self, key: str, **options: Any) -> tuple[FileInfo, bytes]:
        await self._wait("GET")
        return await super().read(key, **options)

    async def head(self, key: str) -> FileInfo:
        await self._wait("HEAD")
        return await super().head(key)

    async def put(self, key: str, body: bytes, **options: Any) -> FileInfo:
        await self._wait("PUT")
        if not options.get("hashed"):
            self.unhashed.append(key)
        return await super().put(key, body, **options)

    async def copy(self, source_key: str, key: str) -> FileInfo:
        await self._wait("COPY")
        return await super().copy(source_key, key)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._wait("DELETE")
        await super().delete(keys)

    async def list(self, prefix: str, *, start_after: str | None = None) -> AsyncGenerator[FileInfo, None]:
        await self._wait("LIST")
        async for info in super().list(prefix, start_after=start_after):
            yield info

    async def list_folders(self, prefix: str) -> AsyncGenerator[str, None]:
        await self._wait("LIST")
        async for name in super().list_folders(prefix):
            yield name


@dataclass(frozen=True, slots=True)
class Target:
    """A call, and the steps that it may take: in a process that did the like before, and in a new one."""

    name: str
    call: Callable[[ConfigStore], Awaitable[Any]]
    warm: int | None
    cold: int


def content(number: int) -> str:
    """A small valid configuration, one for each number."""
    return f"{PROMETHEUS}# revision {number}\n"


async def _deploy(store: ConfigStore) -> None:
    plan = await store.plan_deploy(SOURCE, ENV)
    await store.deploy(plan, allow_drift=True)


TARGETS = (
    Target("first upload", lambda store: store.upload("prometheus", "new", content(0)), None, 10),
    Target("upload", lambda store: store.upload("prometheus", ENV, content(98)), 5, 6),
    Target("rollback", lambda store: store.rollback("prometheus", ENV, to_revision=3), 6, 8),
    Target("plan_deploy", lambda store: store.plan_deploy(SOURCE, ENV), 2, 4),
    Target("deploy", _deploy, 8, 11),
    Target("download", lambda store: store.download("prometheus", ENV), 1, 3),
    Target("download of 6 files", lambda store: store.download_bundle("prometheus", SEVERAL), 1, 3),
    Target("status", lambda store: store.status(ENV), 2, 3),
    Target("history of 50", lambda store: store.history("prometheus", ENV, limit=50), 2, 3),
    Target("backup", lambda store: store.backup("prometheus", ENV), 4, 5),
)
"""`deploy` is counted with its plan."""


async def fill(store: ConfigStore) -> None:
    """Three environments: one with some revisions and a backup, one to deploy from, one with several files."""
    for number in range(REVISIONS):
        await store.upload("prometheus", ENV, content(number))
    await store.upload("prometheus", SOURCE, content(99))
    await store.backup("prometheus", ENV)
    await store.plan_deploy(SOURCE, ENV)
    rules = {f"rules/{number}.yml": f"groups: []\n# {number}\n" for number in range(5)}
    await store.upload("prometheus", SEVERAL, files={"prometheus.yml": content(0), **rules})
    await store.download_bundle("prometheus", SEVERAL)
    await store.finish()


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call cost: steps that followed one another, and requests by S3's names.

    Attributes:
        unhashed: the keys of the uploads that wait until the server's checksums are known.
    """

    steps: float
    requests: Counter[str]
    unhashed: list[str]


def _process(objects: Waiting) -> ConfigStore:
    """A store as an `S3Manager` makes it, which remembers what never changes."""
    cache = Cache(max_entries=10_000, max_bytes=64 * 1024 * 1024, ttl=None)
    return ConfigStore(objects, cache=StoreCache(cache))


def measure(target: Target, *, warm: bool, before: Callable[[ConfigStore], Awaitable[Any]] = fill) -> Cost:
    """The cost of a call: in the process that made the store with `before` (`warm`), or in a new one."""
    objects = Waiting()
    loop = VirtualLoop()

    async def run() -> float:
        objects.seconds = 0.0
        store = _process(objects)
        await before(store)
        if not warm:
            store = _process(objects)
        objects.seconds = 1.0
        objects.counts.clear()
        objects.unhashed.clear()
        began = loop.time()
        await target.call(store)
        steps = loop.time() - began
        await store.finish()
        return steps

    steps = loop.run(run())
    return Cost(steps, objects.counts, objects.unhashed)
