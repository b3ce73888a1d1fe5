from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from apm_s3.configs import CommitOutcome, ConfigStore
from apm_s3.errors import ConfigNotFound, EnvironmentFrozen, InvalidOption, StoreDamaged
from apm_s3.models import FileInfo
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI

DAY = 24 * 3600.0


@pytest.fixture
def memory() -> MemoryObjects:
    return MemoryObjects(now=1_700_000_000.0)


@pytest.fixture
def store(memory: MemoryObjects) -> ConfigStore:
    return ConfigStore(memory)


async def _revisions(store: ConfigStore, count: int) -> None:
    for number in range(count):
        await store.upload("loki", "production", f"{LOKI}# {number}\n")


async def test_old_revisions_are_deleted_and_the_newest_are_kept(store: ConfigStore, memory: MemoryObjects) -> None:
    await _revisions(store, 5)
    memory.now += 2 * DAY

    report = await store.collect_garbage("production", keep_revisions=3)

    assert report.oldest == {"loki": 3}
    assert (len(report.releases), len(report.blobs)) == (2, 2)
    assert [release.revision for release in await store.history("loki", "production")] == [5, 4, 3]
    with pytest.raises(ConfigNotFound, match="3 to 5 are kept"):
        await store.download("loki", "production", revision=2)
    assert len([key for key in memory.objects if "/blobs/" in key]) == 3


async def test_a_dry_run_works_in_a_frozen_environment(store: ConfigStore, memory: MemoryObjects) -> None:
    await _revisions(store, 5)
    await store.freeze("production", "audit")
    memory.now += 2 * DAY
    before = set(memory.objects)

    report = await store.collect_garbage("production", keep_revisions=3, dry_run=True)

    assert report.oldest == {"loki": 3}
    assert set(memory.objects) == before
    with pytest.raises(EnvironmentFrozen):
        await store.collect_garbage("production", keep_revisions=3)


async def test_young_objects_are_kept(store: ConfigStore, memory: MemoryObjects) -> None:
    await _revisions(store, 5)
    memory.now += DAY - 1
    before = set(memory.objects)

    await store.collect_garbage("production", keep_revisions=1)

    assert set(memory.objects) == before


async def test_the_revision_marked_good_is_kept_forever(store: ConfigStore, memory: MemoryObjects) -> None:
    await _revisions(store, 5)
    await store.mark_good("loki", "production", 1)
    memory.now += 2 * DAY

    await store.collect_garbage("production", keep_revisions=2)
    await store.rollback("loki", "production")

    assert (await store.download("loki", "production")).text == f"{LOKI}# 0\n"


async def test_a_pruned_revision_cannot_be_marked_good(store: ConfigStore, memory: MemoryObjects) -> None:
    await _revisions(store, 5)
    memory.now += 2 * DAY
    await store.collect_garbage("production", keep_revisions=2)

    with pytest.raises(ConfigNotFound):
        await store.mark_good("loki", "production", 2)


async def test_a_dry_run_deletes_nothing_and_reports_the_same(store: ConfigStore, memory: MemoryObjects) -> None:
    await _revisions(store, 5)
    memory.now += 2 * DAY
    before = dict(memory.objects)

    dry = await store.collect_garbage("production", keep_revisions=2, dry_run=True)

    assert memory.objects == before
    real = await store.collect_garbage("production", keep_revisions=2)
    assert (dry.releases, dry.blobs, dry.size, dry.oldest) == (real.releases, real.blobs, real.size, real.oldest)


async def test_a_file_shared_with_a_kept_release_is_kept(store: ConfigStore, memory: MemoryObjects) -> None:
    await store.upload("loki", "production", files={"loki.yaml": LOKI, "rules/a.yaml": "groups: []\n"})
    for number in range(4):
        await store.upload("loki", "production", f"{LOKI}# {number}\n")
    memory.now += 2 * DAY

    await store.collect_garbage("production", keep_revisions=2)

    bundle = await store.download_bundle("loki", "production")
    assert bundle.files["rules/a.yaml"].text == "groups: []\n"


async def test_incomplete_backups_are_deleted_and_complete_ones_kept(store: ConfigStore, memory: MemoryObjects) -> None:
    await _revisions(store, 1)
    whole, cut = await store.backup("loki", "production"), await store.backup("loki", "production")
    await memory.delete([f"{cut.key}/manifest.json"])
    memory.now += 2 * DAY

    report = await store.collect_garbage("production", keep_revisions=2)

    assert report.backups == (f"{cut.key}/loki/loki.yaml",)
    assert [backup.key for backup in await store.list_backups("production")] == [whole.key]


async def test_foreign_objects_are_kept(store: ConfigStore, memory: MemoryObjects) -> None:
    await _revisions(store, 3)
    foreign = [
        "configs/production/loki/blobs/readme",
        "configs/production/loki/releases/x.json",
        "configs/production/y",
    ]
    for key in foreign:
        await memory.put(key, b"theirs")
    memory.now += 2 * DAY

    await store.collect_garbage("production", keep_revisions=1)

    assert all(key in memory.objects for key in foreign)


async def test_a_collector_that_cannot_read_a_kept_release_stops(store: ConfigStore, memory: MemoryObjects) -> None:
    await _revisions(store, 4)
    memory.now += 2 * DAY
    release = (await store.history("loki", "production"))[0]
    assert release.ref is not None
    await memory.put(release.ref.key, b"{}")
    before = set(memory.objects)

    with pytest.raises(StoreDamaged):
        await store.collect_garbage("production", keep_revisions=2)

    assert set(memory.objects) == before


async def test_nothing_is_collected_while_an_environment_is_frozen(store: ConfigStore, memory: MemoryObjects) -> None:
    await _revisions(store, 4)
    memory.now += 2 * DAY
    await store.freeze("production", "incident")

    with pytest.raises(EnvironmentFrozen):
        await store.collect_garbage("production", keep_revisions=2)


async def test_invalid_limits_are_refused(store: ConfigStore) -> None:
    with pytest.raises(InvalidOption):
        await store.collect_garbage("production", keep_revisions=0)
    with pytest.raises(InvalidOption):
        await store.collect_garbage("production", keep_revisions=1, older_than=timedelta(hours=23))


async def test_the_log_still_has_writes_whose_documents_were_collected(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    first = await store.upload("loki", "production", LOKI)
    await _revisions(store, 70)
    assert await store.outcome(first.write_id) is CommitOutcome.WON
    memory.now += 2 * DAY
    await store.collect_garbage("production", keep_revisions=2)
    assert await store.outcome(first.write_id) is CommitOutcome.WON

    await store.collect_garbage("production", keep_revisions=2, keep_log=timedelta(days=1))

    assert await store.outcome(first.write_id) is CommitOutcome.EXPIRED


class Meanwhile(MemoryObjects):
    """A bucket in which something happens just before the second read of production's document."""

    then: Callable[[], Awaitable[Any]] | None = None
    reads = 0

    async def read(self, key: str, **options: Any) -> tuple[FileInfo, bytes]:
        if self.then is not None and key.endswith("/current.json"):
            self.reads += 1
            if self.reads == 2:
                then, self.then = self.then, None
                await then()
        return await super().read(key, **options)


async def test_a_collection_does_not_bring_back_what_another_one_has_dropped_meanwhile() -> None:
    memory = Meanwhile(now=1_700_000_000.0)
    store = ConfigStore(memory)
    await _revisions(store, 200)
    memory.now = 1_700_000_000.0 + 40 * DAY

    async def then() -> None:
        await ConfigStore(memory).collect_garbage("production", keep_revisions=1, keep_log=timedelta(days=1))

    memory.then = then
    await store.collect_garbage("production", keep_revisions=3, keep_log=timedelta(days=365))

    assert (await store.log("production"))[-1].sequence > 0
    assert [release.revision for release in await store.history("loki", "production")] == [200, 199]
    assert (await store.fsck("production")).ok


async def test_an_environment_that_is_frozen_while_a_collection_is_planned_is_not_collected() -> None:
    memory = Meanwhile(now=1_700_000_000.0)
    store = ConfigStore(memory)
    await _revisions(store, 5)
    memory.now = 1_700_000_000.0 + 2 * DAY
    memory.then = lambda: ConfigStore(memory).freeze("production", "an incident")

    with pytest.raises(EnvironmentFrozen):
        await store.collect_garbage("production", keep_revisions=3)

    assert len(await store.history("loki", "production")) == 5


async def test_the_revision_before_the_current_one_is_always_kept(store: ConfigStore, memory: MemoryObjects) -> None:
    await _revisions(store, 4)
    memory.now += 2 * DAY

    await store.collect_garbage("production", keep_revisions=1)

    assert [release.revision for release in await store.history("loki", "production")] == [4, 3]
