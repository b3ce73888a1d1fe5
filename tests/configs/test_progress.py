"""What `on_progress` of the long calls of a store is told."""

from __future__ import annotations

from itertools import groupby

import pytest

from apm_s3.configs import ConfigStore, StoreProgress
from apm_s3.errors import ConnectionLost
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI

DAY = 24 * 3600.0

Phases = list[tuple[str, str, int, int | None]]


@pytest.fixture
def memory() -> MemoryObjects:
    return MemoryObjects(now=1_700_000_000.0)


@pytest.fixture
async def store(memory: MemoryObjects) -> ConfigStore:
    """Two revisions of Loki in production, the newer one with three files."""
    store = ConfigStore(memory)
    await store.upload("loki", "production", LOKI)
    await store.upload("loki", "production", files={"loki.yml": f"{LOKI}# 2\n", "a.txt": "a", "b.txt": "b"})
    return store


def ends_of(told: list[StoreProgress]) -> Phases:
    """The last report of each phase; the reports of each must count one by one from 0."""
    ends: Phases = []
    for (environment, phase), group in groupby(told, key=lambda each: (each.environment, each.phase)):
        reports = list(group)
        counts = [each.done for each in reports]
        assert counts == list(range(len(counts))), phase
        assert len({each.total for each in reports}) == 1
        ends.append((environment, phase, counts[-1], reports[-1].total))
    return ends


async def test_a_backup_its_verification_and_its_restore_tell_every_file(store: ConfigStore) -> None:
    told: list[StoreProgress] = []

    backup = await store.backup("loki", "production", on_progress=told.append)
    assert ends_of(told) == [("production", "copying files", 3, 3)]

    told.clear()
    await store.backup_all(on_progress=told.append)
    assert ends_of(told) == [("production", "copying files", 3, 3)]

    told.clear()
    await store.verify_backup(backup.key, on_progress=told.append)
    assert ends_of(told) == [("production", "verifying files", 3, 3)]

    told.clear()
    plan = await store.plan_restore(backup.key, on_progress=told.append)
    checked = [("production", "verifying files", 3, 3), ("production", "reading current files", 1, 1)]
    assert ends_of(told) == checked

    restored = [*checked, ("production", "copying files", 3, 3), ("production", "storing files", 0, None)]
    told.clear()
    await store.restore_environment(plan, on_progress=told.append)
    assert ends_of(told) == restored
    told.clear()
    await store.restore(backup.key, on_progress=told.append)
    assert ends_of(told) == restored


async def test_a_drill_tells_its_phases(store: ConfigStore) -> None:
    backup = await store.backup("loki", "production")
    told: list[StoreProgress] = []

    await store.restore_environment(backup.key, drill=True, on_progress=told.append)

    assert [(phase, done, total) for _, phase, done, total in ends_of(told)] == [
        ("verifying files", 3, 3),
        ("storing files", 0, None),
        ("comparing files", 0, None),
        ("removing the scratch environment", 0, None),
    ]


async def test_a_check_tells_every_document_blob_and_copy(store: ConfigStore) -> None:
    told: list[StoreProgress] = []

    await store.fsck("production", on_progress=told.append)

    assert ends_of(told) == [
        ("production", "checking documents of loki", 2, 2),
        ("production", "checking blobs of loki", 4, 4),
        ("production", "checking the log", 0, None),
        ("production", "checking live copies of loki", 3, 3),
    ]


async def test_a_collection_tells_every_listed_object(store: ConfigStore, memory: MemoryObjects) -> None:
    for number in range(3):
        await store.upload("loki", "production", f"{LOKI}# {number}\n")
    memory.now += 2 * DAY
    stored = [key for key in memory.objects if "/releases/" in key or "/blobs/" in key]
    told: list[StoreProgress] = []

    report = await store.collect_garbage("production", keep_revisions=2, on_progress=told.append)

    listed = [each.done for each in told if each.phase == "listing objects"]
    assert listed == list(range(len(stored) + 1))
    gone = len(report.releases) + len(report.blobs)
    assert told[-2:] == [StoreProgress("production", "deleting objects", done, gone) for done in (0, gone)]
    assert gone > 1
    assert told[0] == StoreProgress("production", "reading the history of tools", 0, 1)


async def test_a_failing_callback_changes_nothing(store: ConfigStore, caplog: pytest.LogCaptureFixture) -> None:
    backup = await store.backup("loki", "production", on_progress=lambda progress: 1 / 0)

    assert len(backup.tools["loki"].files) == 3
    assert "on_progress failed" in caplog.text


async def test_a_file_that_cannot_be_read_is_not_counted(store: ConfigStore, memory: MemoryObjects) -> None:
    backup = await store.backup("loki", "production")
    memory.will_fail("read", ConnectionLost("gone"), key="a.txt")
    told: list[StoreProgress] = []

    with pytest.raises(ConnectionLost):
        await store.verify_backup(backup.key, on_progress=told.append)
    assert all(each.done < 3 for each in told)
