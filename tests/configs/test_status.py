from datetime import timedelta
from typing import Any

import pytest

from apm_s3.configs import ConfigStore, ToolStatus
from apm_s3.errors import ConfigNotFound, StoreDamaged
from apm_s3.models import FileInfo
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI, PROMETHEUS
from tests.seams.store import ObjectStore


async def _of(store: ConfigStore, tool: str, environment: str) -> ToolStatus:
    [row] = [row for row in await store.status() if (row.tool, row.environment) == (tool, environment)]
    return row


async def test_status_has_a_row_for_every_tool_and_environment(store: ConfigStore) -> None:
    await store.upload("loki", "staging", LOKI, author="Ada", message="first")
    await store.upload("prometheus", "production", PROMETHEUS)
    await store.upload("loki", "production", LOKI)
    await store.remove("loki", "production")

    rows = await store.status()

    assert [(row.environment, row.tool) for row in rows] == [("production", "prometheus"), ("staging", "loki")]
    assert (rows[1].author, rows[1].message, rows[1].revision, rows[1].drifted) == ("Ada", "first", 1, None)
    assert len(await store.status("staging")) == 1
    with pytest.raises(ConfigNotFound):
        await store.status("nowhere")


async def test_status_shows_drift_good_and_changes_of_the_source(store: ConfigStore) -> None:
    await store.upload("loki", "staging", LOKI)
    await store.deploy(await store.plan_deploy("staging", "production", create=True))
    await store.mark_good("loki", "production")
    row = await _of(store, "loki", "production")
    assert (row.drifted, row.behind_source, row.good) == (False, False, True)

    await store.upload("loki", "staging", OTHER_LOKI)
    await store.upload("loki", "production", f"{LOKI}# by hand\n")
    row = await _of(store, "loki", "production")
    assert (row.drifted, row.behind_source, row.good, row.good_revision) == (True, True, False, 1)


async def test_status_shows_the_last_backup_a_freeze_and_outdated_copies(
    store: ConfigStore, bucket_objects: ObjectStore
) -> None:
    await store.upload("loki", "production", LOKI)
    row = await _of(store, "loki", "production")
    assert (row.last_backup, row.freeze, row.live_behind) == (None, None, False)

    backup = await store.backup("loki", "production")
    await store.freeze("production", "incident", author="Ada")
    await bucket_objects.put("live/production/loki/loki.yaml", b"stray")
    row = await _of(store, "loki", "production")
    assert (row.last_backup, row.live_behind) == (backup.created_at, True)
    assert row.freeze is not None
    assert (row.freeze.reason, row.freeze.by) == ("incident", "Ada")


async def test_ages_are_measured_by_the_servers_clock() -> None:
    memory = MemoryObjects(now=1_000_000_000.0)
    store = ConfigStore(memory)
    await store.upload("loki", "production", LOKI)
    memory.now = 1_000_000_600.0

    assert (await store.status())[0].age == timedelta(minutes=10)


@pytest.mark.parametrize("damage", ["missing", "of another size"])
async def test_the_live_copy_of_a_rule_file_that_is_behind_is_reported(damage: str) -> None:
    memory = MemoryObjects()
    store = ConfigStore(memory)
    await store.upload("loki", "production", files={"loki.yaml": LOKI, "rules/a.yaml": "groups: []\n"})
    copy = "live/production/loki/rules/a.yaml"
    assert [row.live_behind for row in await store.status("production")] == [False]

    await (memory.delete([copy]) if damage == "missing" else memory.put(copy, b"old"))

    assert [row.live_behind for row in await store.status("production")] == [True]


class _Collected(MemoryObjects):
    """A bucket in which a release is replaced and collected just before it is read."""

    collects = False

    async def read(self, key: str, **options: Any) -> tuple[FileInfo, bytes]:
        if self.collects and "/releases/" in key:
            self.collects = False
            await ConfigStore(self).upload("loki", "staging", OTHER_LOKI)
            await self.delete([key])
        return await super().read(key, **options)


async def test_status_of_a_release_that_is_collected_meanwhile_is_that_of_the_next_one() -> None:
    memory = _Collected()
    await ConfigStore(memory).upload("loki", "staging", LOKI)
    memory.collects = True

    [row] = await ConfigStore(memory).status()

    assert (row.revision, row.damaged) == (2, None)


async def test_a_damaged_document_ends_the_status_of_its_environment_alone_and_is_a_row_beside_others() -> None:
    memory = MemoryObjects()
    for environment in ("production", "staging"):
        await ConfigStore(memory).upload("loki", environment, LOKI)
    await memory.put("configs/staging/current.json", b"damaged")

    with pytest.raises(StoreDamaged):
        await ConfigStore(memory).status("staging")
    rows = await ConfigStore(memory).status()
    assert [(row.environment, row.revision, row.damaged is None) for row in rows] == [
        ("production", 1, True),
        ("staging", 0, False),
    ]
