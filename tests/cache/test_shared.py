"""The second level: on a real Valkey that is killed and restarted, and on backends that lie, hang and fail."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any

import pytest
from aiocache import RedisCache, SimpleMemoryCache
from aiocache.serializers import PickleSerializer

from apm_s3 import CacheSettings, S3Manager, S3Settings
from tests.managers import make_manager
from tests.seams.cache import (
    BACKEND_PAUSE,
    LOGGER,
    MAX_SHARED_VALUE,
    MAX_SHARED_WRITES,
    SHARED_TTL,
    SharedLevel,
    cache_of,
    set_the_clock_of_the_backend,
    take_the_backend_away,
    tasks_of,
    wait_briefly_for_the_backend,
)
from tests.servers import Server, require

# aiocache 0.12 calls what redis 8 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:aiocache")

CONFIG = "global: {scrape_interval: 15s}\n"
LARGE = "".join(f"# {number}\n" for number in range(10_000)) + CONFIG


class Valkey:
    """A Valkey of its own, without a disk, on one port for all its lives."""

    def __init__(self) -> None:
        self._program = require("valkey-server")
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"Ready to accept connections" in line:
                return
        raise RuntimeError("valkey-server did not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    server = Valkey()
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def backend(valkey: Valkey) -> AsyncIterator[RedisCache]:
    # The caller's serializer is never used: nothing from there is unpickled.
    backend = RedisCache(endpoint="127.0.0.1", port=valkey.port, serializer=PickleSerializer())
    yield backend
    await backend.client.aclose()


def member(server: Server, backend: Any, namespace: str = "team") -> S3Manager:
    """One manager of a fleet."""
    return make_manager(server, S3Settings(cache=CacheSettings(shared=backend, namespace=namespace)))


def gets(s3: S3Manager) -> int:
    """How many objects were read from S3."""
    found = s3.metrics.snapshot().operations.get("download_file")
    return 0 if found is None else found.total


async def put_there(s3: S3Manager) -> None:
    """Wait for pending writes to the second level."""
    tasks = tasks_of(cache_of(s3), "second level")
    if tasks:
        await asyncio.wait(tasks)


async def uploaded(server: Server, bucket: str) -> None:
    async with make_manager(server) as s3:
        await s3.create_bucket(bucket)
        await s3.configs(bucket).upload(
            "prometheus", "production", files={"prometheus.yml": LARGE, "rules/a.yml": "groups: []\n"}
        )


async def test_a_fleet_reads_releases_and_contents_from_s3_once(
    moto: Server, bucket_name: str, valkey: Valkey, backend: RedisCache
) -> None:
    await uploaded(moto, bucket_name)
    async with member(moto, backend) as first:
        bundle = await first.configs(bucket_name).download_bundle("prometheus", "production")
        assert gets(first) == 4
        await put_there(first)
    async with member(moto, backend) as second:
        again = await second.configs(bucket_name).download_bundle("prometheus", "production")
        assert again.main.text == bundle.main.text == LARGE
        # The reference document never comes from there.
        assert gets(second) == 1
    async with member(moto, backend, "another team") as third:
        await third.configs(bucket_name).download_bundle("prometheus", "production")
        assert gets(third) == 4
    names = await backend.client.keys("*")
    for name in names:
        stored = base64.b64decode(await backend.client.get(name), validate=True)
        assert b"current" not in name
        assert b'"tools"' not in stored, "a reference document"


async def test_killing_and_restarting_valkey_causes_one_warning_and_no_error(
    moto: Server, bucket_name: str, valkey: Valkey, backend: RedisCache, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    await uploaded(moto, bucket_name)
    caplog.set_level(logging.INFO, LOGGER)
    told = lambda: [record.levelname for record in caplog.records if record.name == LOGGER]  # noqa: E731
    async with member(moto, backend) as s3:
        store = s3.configs(bucket_name)
        now = [0.0]
        set_the_clock_of_the_backend(s3, lambda: now[0])
        await store.download("prometheus", "production")
        await put_there(s3)

        valkey.kill()
        for _ in range(3):
            s3.cache.clear()
            now[0] += BACKEND_PAUSE + 1
            assert (await store.download("prometheus", "production")).text == LARGE
        assert told() == ["WARNING"]

        valkey.start()
        while told() == ["WARNING"]:
            s3.cache.clear()
            now[0] += BACKEND_PAUSE + 1
            assert (await store.download("prometheus", "production")).text == LARGE
            await put_there(s3)
        assert told() == ["WARNING", "INFO"]
        s3.cache.clear()
        before = gets(s3)
        await store.download("prometheus", "production")
        assert gets(s3) == before + 1


async def test_shared_values_are_verified_by_their_hash(moto: Server, bucket_name: str) -> None:
    await uploaded(moto, bucket_name)
    backend = SimpleMemoryCache()
    async with member(moto, backend) as s3:
        store = s3.configs(bucket_name)
        await store.download("prometheus", "production")
        await put_there(s3)
        lies: list[Any] = [
            "",
            "%%%",
            b"\xff",
            7,
            base64.b64encode(b"{}").decode(),
            base64.b64encode(b"x" * 10**6).decode(),
        ]
        for lie in lies:
            for name in list(backend._cache):
                backend._cache[name] = lie
            s3.cache.clear()
            assert (await store.download("prometheus", "production")).text == LARGE
            await put_there(s3)
        # And each was replaced by what is right.
        s3.cache.clear()
        before = gets(s3)
        await store.download("prometheus", "production")
        assert gets(s3) == before + 1


async def test_a_forged_release_of_the_right_form_is_not_believed(moto: Server, bucket_name: str) -> None:
    await uploaded(moto, bucket_name)
    backend = SimpleMemoryCache()
    async with member(moto, backend) as s3:
        store = s3.configs(bucket_name)
        await store.download("prometheus", "production")
        await put_there(s3)
        forged = 0
        for name, value in backend._cache.items():
            body = base64.b64decode(value)
            if b'"message":""' in body:
                backend._cache[name] = base64.b64encode(body.replace(b'"message":""', b'"message":"forged"')).decode()
                forged += 1
        s3.cache.clear()
        assert (await store.download_bundle("prometheus", "production")).release.message == ""
        assert forged == 1


class Hanging:
    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def get(self, key: str, **_: Any) -> Any:
        self.asked.set()
        await asyncio.get_running_loop().create_future()

    async def set(self, key: str, value: Any, **_: Any) -> None:
        await asyncio.get_running_loop().create_future()


async def test_a_hanging_backend_is_waited_for_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_briefly_for_the_backend(monkeypatch)
    tasks: list[asyncio.Task[None]] = []
    level = SharedLevel(
        Hanging(), ("team", "AWS"), lambda work, name: tasks.append(asyncio.create_task(work)), clock=lambda: 0.0
    )
    level.put("bucket", "key", b"body")
    assert await level.get("bucket", "key") is None
    await asyncio.gather(*tasks)
    level.put("bucket", "key", b"body")
    assert len(tasks) == 1
    take_the_backend_away(monkeypatch, level)
    assert await level.get("bucket", "key") is None


class Recording:
    def __init__(self) -> None:
        self.ttls: list[object] = []
        self.value: str | None = None

    async def get(self, key: str, **_: Any) -> Any:
        return self.value

    async def set(self, key: str, value: Any, *, ttl: object = None, **_: Any) -> None:
        self.ttls.append(ttl)


async def test_values_expire_and_neither_their_size_nor_their_number_is_unlimited() -> None:
    tasks: list[asyncio.Task[None]] = []
    backend = Recording()
    level = SharedLevel(backend, ("team", "AWS"), lambda work, name: tasks.append(asyncio.create_task(work)))
    level.put("bucket", "key", bytes(MAX_SHARED_VALUE + 1))
    assert not tasks
    for rounds in (1, 2):
        for _ in range(100):
            level.put("bucket", "key", b"body")
        await asyncio.gather(*tasks)
        assert backend.ttls == [SHARED_TTL] * MAX_SHARED_WRITES * rounds


async def test_a_shared_value_that_is_too_large_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    decode = base64.b64decode
    monkeypatch.setattr(base64, "b64decode", lambda text, **how: decoded.append(len(text)) or decode(text, **how))
    stored = {"largest": bytes(MAX_SHARED_VALUE), "too large": bytes(MAX_SHARED_VALUE + 3)}
    backend = Recording()
    level = SharedLevel(backend, ("team", "AWS"), lambda work, _: asyncio.create_task(work))

    for body in stored.values():
        backend.value = base64.b64encode(body).decode()
        assert await level.get("bucket", "key") == (body if len(body) <= MAX_SHARED_VALUE else None)
    assert len(decoded) == 1


async def test_a_read_cancelled_at_the_second_level_leaves_nothing(moto: Server, bucket_name: str) -> None:
    await uploaded(moto, bucket_name)
    backend = Hanging()
    async with member(moto, backend) as s3:
        task = asyncio.create_task(s3.configs(bucket_name).download("prometheus", "production"))
        await backend.asked.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not tasks_of(cache_of(s3), "read")


def test_shared_keys_are_valid_in_every_backend() -> None:
    level = SharedLevel(SimpleMemoryCache(), ("team \n", "http://x"), lambda work, name: None)
    name = level.key("bucket", "k" * 1024)
    assert len(name) < 100
    assert name.isascii()
    assert name.isprintable()


def test_shared_keys_of_different_objects_differ() -> None:
    spaces = [("team", "http://x"), ("team", "http://y"), ("other", "http://x"), ("teamh", "ttp://x")]
    objects = [("bucket", "a"), ("bucket", "b"), ("bucketb", ""), ("other", "b")]
    levels = [SharedLevel(SimpleMemoryCache(), space, lambda work, name: None) for space in spaces]
    names = {level.key(*each) for level in levels for each in objects}
    assert len(names) == len(spaces) * len(objects)


def test_importing_the_cache_loads_no_backend() -> None:
    code = (
        "import sys, apm_s3._manager; print([name for name in ('aiocache', 'redis', 'pickle5') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
