"""A fault at each request of a backup, a restore, a drill and a pruning: the old state or the new one, and told which."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import pytest

from apm_s3.configs import ConfigStore
from apm_s3.errors import AccessDenied, ApmS3Error, CommitUnknown, ConnectionLost, RequestTimedOut
from apm_s3.models import FileInfo
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI, OTHER_PROMETHEUS, PROMETHEUS, RULES
from tests.seams.wire import error_of_response

FAULTS = ("failed", "refused", "lost", "answer lost", "late", "partly", "cancelled")
OLD = {"prometheus": {"prometheus.yml": OTHER_PROMETHEUS}, "loki": {"loki.yaml": OTHER_LOKI}}
NEW = {"prometheus": {"prometheus.yml": PROMETHEUS, "rules/api.yml": RULES}, "loki": {"loki.yaml": LOKI}}


class FaultyObjects(MemoryObjects):
    """A bucket on memory in which one request meets a fault."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.at = 0
        self.fault = ""
        self.caller: asyncio.Task[Any] | None = None
        self.late: list[Callable[[], Awaitable[Any]]] = []

    def arm(self, at: int, fault: str) -> None:
        """Let the request number `at`, counted from now, meet `fault`."""
        self.count, self.at, self.fault = 0, at, fault

    async def arrive(self) -> None:
        """Whatever was under way arrives now."""
        for request in self.late:
            try:
                await request()
            except ApmS3Error:
                continue

    async def read(self, key: str, **options: Any) -> tuple[FileInfo, bytes]:
        return await self._meet(lambda: super(FaultyObjects, self).read(key, **options), key)

    async def head(self, key: str) -> FileInfo:
        return await self._meet(lambda: super(FaultyObjects, self).head(key), key)

    async def put(self, key: str, body: bytes, **options: Any) -> FileInfo:
        return await self._meet(lambda: super(FaultyObjects, self).put(key, body, **options), key)

    async def delete(self, keys: Sequence[str]) -> None:
        if self.count + 1 == self.at and self.fault == "partly":
            await super().delete(keys[: len(keys) // 2])
        await self._meet(lambda: super(FaultyObjects, self).delete(keys), keys[0])

    async def list(self, prefix: str, *, start_after: str | None = None):
        await self._meet(self._nothing, prefix)
        for info in [found async for found in super().list(prefix, start_after=start_after)]:
            yield info

    async def list_folders(self, prefix: str):
        await self._meet(self._nothing, prefix)
        for name in [found async for found in super().list_folders(prefix)]:
            yield name

    async def _nothing(self) -> None:
        return

    async def _meet(self, act: Callable[[], Awaitable[Any]], key: str) -> Any:
        await asyncio.sleep(0)
        self.count += 1
        if self.count != self.at:
            return await act()
        if self.fault == "failed":
            raise error_of_response(
                operation="x", status=503, s3_code="ServiceUnavailable", bucket=self.bucket, key=key
            )
        if self.fault == "refused":
            raise AccessDenied(
                "refused", operation="x", status=403, s3_code="AccessDenied", bucket=self.bucket, key=key
            )
        if self.fault in ("lost", "partly"):
            raise ConnectionLost("lost", bucket=self.bucket, key=key)
        if self.fault == "late":
            self.late.append(act)
            raise RequestTimedOut("no answer", bucket=self.bucket, key=key)
        done = await act()
        if self.fault == "answer lost":
            raise ConnectionLost("answer lost", bucket=self.bucket, key=key)
        if self.caller is not None:
            self.caller.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        return done


async def prepared() -> tuple[FaultyObjects, ConfigStore, str]:
    """An environment in the state OLD, and the key of a backup of NEW."""
    objects = FaultyObjects()
    objects.now = 1_800_000_000.0
    store = ConfigStore(objects, deadline=5.0)
    for tool, files in NEW.items():
        await store.upload(tool, "production", files=files)
    backup = await store.backup(None, "production")
    for tool, files in OLD.items():
        await store.upload(tool, "production", files=files)
    objects.now += 10
    return objects, store, backup.key


async def state(store: ConfigStore) -> dict[str, dict[str, str]]:
    bundles = await store.download_environment("production")
    return {tool: {name: file.text for name, file in bundle.files.items()} for tool, bundle in bundles.items()}


async def attempt(objects: FaultyObjects, work: Coroutine[Any, Any, Any]) -> BaseException | None:
    """What came of `work`, run in a task of its own, which is the one to be cancelled."""
    objects.caller = task = asyncio.create_task(work)
    await asyncio.wait({task})
    if task.cancelled():
        return asyncio.CancelledError()
    return task.exception()


async def check_backups(store: ConfigStore) -> int:
    """Every backup that is listed is whole; how many there are."""
    backups = await store.list_backups()
    for backup in backups:
        assert backup.damage is None
        await store.verify_backup(backup.key)
    return len(backups)


async def requests_of(work: Callable[[ConfigStore, str], Awaitable[Any]]) -> int:
    objects, store, key = await prepared()
    objects.arm(0, "")
    await work(store, key)
    return objects.count


def back_up(store: ConfigStore, key: str) -> Coroutine[Any, Any, Any]:
    return store.backup(None, "production")


def restore(store: ConfigStore, key: str) -> Coroutine[Any, Any, Any]:
    return store.restore_environment(key)


def drill(store: ConfigStore, key: str) -> Coroutine[Any, Any, Any]:
    return store.restore_environment(key, drill=True)


def prune(store: ConfigStore, key: str) -> Coroutine[Any, Any, Any]:
    return store.prune_backups("production", keep=1)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_backup_during_a_fault_is_complete_or_absent(fault: str) -> None:
    for at in range(1, await requests_of(back_up) + 1):
        objects, store, key = await prepared()
        objects.arm(at, fault)

        raised = await attempt(objects, back_up(store, key))

        objects.arm(0, "")
        made = await check_backups(store) - 1
        assert made in (0, 1)
        assert raised is not None or made == 1
        await objects.arrive()
        assert await check_backups(store) - 1 >= made
        assert await state(store) == OLD


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_restore_during_a_fault_leaves_the_old_or_the_new_state_and_reports_which(fault: str) -> None:
    for at in range(1, await requests_of(restore) + 1):
        objects, store, key = await prepared()
        objects.arm(at, fault)

        raised = await attempt(objects, restore(store, key))

        objects.arm(0, "")
        found = await state(store)
        if raised is None:
            assert found == NEW
        elif isinstance(raised, asyncio.CancelledError | CommitUnknown):
            assert found in (OLD, NEW)
        else:
            assert found == OLD, f"{raised!r} at request {at}"
        await objects.arrive()
        assert await state(store) == found
        assert await check_backups(store) in (1, 2)
        if found == NEW:
            assert await check_backups(store) == 2


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_drill_during_a_fault_never_touches_the_environment(fault: str) -> None:
    for at in range(1, await requests_of(drill) + 1):
        objects, store, key = await prepared()
        objects.arm(at, fault)

        await attempt(objects, drill(store, key))

        objects.arm(0, "")
        await objects.arrive()
        assert await state(store) == OLD
        assert await check_backups(store) == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_pruning_during_a_fault_leaves_only_complete_backups_and_the_last_one(fault: str) -> None:
    for at in range(1, await requests_of_pruning() + 1):
        objects, store, newest = await three_backups()
        objects.arm(at, fault)

        raised = await attempt(objects, prune(store, ""))

        objects.arm(0, "")
        await objects.arrive()
        assert await check_backups(store) in (1, 2, 3)
        assert (await store.list_backups())[0].key == newest
        await store.prune_backups("production", keep=1)
        assert await check_backups(store) == 1
        assert raised is not None or fault != "refused"


async def three_backups() -> tuple[FaultyObjects, ConfigStore, str]:
    objects, store, _ = await prepared()
    for _ in range(2):
        objects.now += 10
        last = await store.backup(None, "production")
    return objects, store, last.key


async def requests_of_pruning() -> int:
    objects, store, _ = await three_backups()
    objects.arm(0, "")
    await prune(store, "")
    return objects.count
