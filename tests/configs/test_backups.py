"""Backups: self-contained, whole or not there, restored in one step, pruned without losing the last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from apm_s3.configs import Backup, BackupFile, BackupTool, ConfigStore
from apm_s3.errors import (
    BackupInvalid,
    ConfigNotFound,
    EnvironmentFrozen,
    FormatTooNew,
    InvalidOption,
    RevisionConflict,
    S3Error,
)
from apm_s3.options import DeleteOptions
from apm_s3.testing import MemoryObjects
from tests.configs.conftest import opened
from tests.configs.samples import LOKI, OTHER_LOKI, OTHER_PROMETHEUS, PROMETHEUS, RULES
from tests.conftest import make_clients
from tests.seams.store import ObjectStore, S3Objects, plan_prune

BUNDLE = {"prometheus.yml": PROMETHEUS, "rules/api.yml": RULES}
DAY = timedelta(days=1)


@pytest.fixture
def other() -> ConfigStore:
    """A store in another bucket."""
    return ConfigStore(MemoryObjects("other"))


@pytest.fixture
def on_memory(memory: MemoryObjects) -> ConfigStore:
    memory.now = 1_800_000_000.0
    return ConfigStore(memory)


async def texts(store: ConfigStore, environment: str = "production") -> dict[str, dict[str, str]]:
    bundles = await store.download_environment(environment)
    return {tool: {name: file.text for name, file in bundle.files.items()} for tool, bundle in bundles.items()}


async def keys_below(objects: ObjectStore, prefix: str) -> list[str]:
    return [info.key async for info in objects.list(prefix)]


# ------------------------------------------------------------------------------------------------ making


async def test_a_backup_contains_the_files_as_the_tool_reads_them(
    store: ConfigStore, bucket_objects: ObjectStore
) -> None:
    await store.upload("prometheus", "production", files=BUNDLE)

    backup = await store.backup("prometheus", "production", author="ann", message="before the move")

    assert [item.key for item in await store.list_backups()] == [backup.key]
    assert (await bucket_objects.read(f"{backup.key}/prometheus/rules/api.yml"))[1].decode() == RULES
    assert (backup.author, backup.message, backup.tools["prometheus"].revision) == ("ann", "before the move", 1)


async def test_the_manifest_names_every_file_with_its_sha256(on_memory: ConfigStore, memory: MemoryObjects) -> None:
    await on_memory.upload("prometheus", "production", files=BUNDLE)
    backup = await on_memory.backup("prometheus", "production")

    manifest = json.loads(memory.objects[f"{backup.key}/manifest.json"][1])

    assert manifest["tools"]["prometheus"]["files"]["rules/api.yml"]["size"] == len(RULES)
    assert len(manifest["tools"]["prometheus"]["files"]["prometheus.yml"]["sha256"]) == 64


async def test_the_key_of_a_backup_contains_its_time(on_memory: ConfigStore) -> None:
    await on_memory.upload("loki", "production", LOKI)

    backup = await on_memory.backup("loki", "production")

    assert backup.key.startswith("backups/production/20270115T080000Z-production.")


async def test_the_backup_of_an_environment_contains_all_its_tools(store: ConfigStore) -> None:
    await store.upload("prometheus", "production", files=BUNDLE)
    await store.upload("loki", "production", LOKI)

    backup = await store.backup(None, "production")

    assert sorted(backup.tools) == ["loki", "prometheus"]


async def test_backing_up_everything_makes_one_backup_per_environment(
    on_memory: ConfigStore, other: ConfigStore
) -> None:
    await on_memory.upload("loki", "production", LOKI)
    await on_memory.upload("loki", "staging", OTHER_LOKI)
    await on_memory.upload("loki", "empty", LOKI)
    await on_memory.remove("loki", "empty")

    made = await on_memory.backup_all(target=other)

    assert [backup.environment for backup in made] == ["production", "staging"]
    assert {backup.key for backup in await other.list_backups()} == {backup.key for backup in made}
    assert await on_memory.list_backups() == ()


async def test_a_compressed_file_is_uncompressed_in_a_backup(on_memory: ConfigStore, memory: MemoryObjects) -> None:
    large = PROMETHEUS + "# padding\n" * 5_000
    await on_memory.upload("prometheus", "production", large)

    backup = await on_memory.backup("prometheus", "production")

    assert memory.objects[f"{backup.key}/prometheus/prometheus.yml"][1].decode() == large


@pytest.mark.parametrize("made", ["nothing", "another tool", "removed"])
async def test_a_missing_configuration_cannot_be_backed_up(
    on_memory: ConfigStore, memory: MemoryObjects, made: str
) -> None:
    if made != "nothing":
        await on_memory.upload("loki", "production", LOKI)
    if made == "removed":
        await on_memory.upload("prometheus", "production", PROMETHEUS)
        await on_memory.remove("prometheus", "production")

    with pytest.raises(ConfigNotFound):
        await on_memory.backup("prometheus", "production")
    assert await keys_below(memory, "backups/") == []


async def test_a_backup_works_while_the_environment_is_frozen(on_memory: ConfigStore) -> None:
    await on_memory.upload("loki", "production", LOKI)
    await on_memory.freeze("production", "holidays")

    assert (await on_memory.backup("loki", "production")).tools["loki"].revision == 1


async def test_stores_under_different_prefixes_have_separate_backups(memory: MemoryObjects) -> None:
    one, two = ConfigStore(memory, "team-a/"), ConfigStore(memory, "team-b/")
    await one.upload("loki", "production", LOKI)

    backup = await one.backup("loki", "production")

    assert await two.list_backups() == ()
    assert f"team-a/{backup.key}/manifest.json" in memory.objects


# ------------------------------------------------------------------------------------------------ listing, verifying


async def test_a_folder_without_a_manifest_is_not_a_backup(on_memory: ConfigStore, memory: MemoryObjects) -> None:
    await on_memory.upload("loki", "production", LOKI)
    backup = await on_memory.backup("loki", "production")
    del memory.objects[f"{backup.key}/manifest.json"]

    assert await on_memory.list_backups() == ()
    with pytest.raises(ConfigNotFound):
        await on_memory.restore(backup.key)


async def test_a_backup_with_a_missing_file_is_reported(on_memory: ConfigStore, memory: MemoryObjects) -> None:
    await on_memory.upload("prometheus", "production", files=BUNDLE)
    backup = await on_memory.backup("prometheus", "production")
    del memory.objects[f"{backup.key}/prometheus/rules/api.yml"]

    (listed,) = await on_memory.list_backups("production")

    assert listed.damage is not None
    assert "1 of 2 files" in listed.damage


async def test_backups_are_listed_newest_first_without_foreign_objects(
    on_memory: ConfigStore, memory: MemoryObjects
) -> None:
    await on_memory.upload("loki", "production", LOKI)
    first = await on_memory.backup("loki", "production")
    memory.now = 1_800_000_100.0
    second = await on_memory.backup("loki", "production")
    await memory.put("backups/production/notes.txt", b"x")
    await memory.put("backups/production/by-hand/manifest.json", b"{}")

    assert [backup.key for backup in await on_memory.list_backups()] == [second.key, first.key]


async def test_verifying_finds_a_changed_byte(store: ConfigStore, bucket_objects: ObjectStore) -> None:
    await store.upload("prometheus", "production", files=BUNDLE)
    backup = await store.backup("prometheus", "production")
    assert (await store.verify_backup(backup.key)).key == backup.key
    await bucket_objects.put(f"{backup.key}/prometheus/rules/api.yml", RULES.replace("Down", "Dawn").encode())

    with pytest.raises(BackupInvalid, match=r"prometheus/rules/api\.yml"):
        await store.verify_backup(backup.key)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"kind": "apm-s3/backup", "format": 1}', b'{"kind": "other", "format": 1}']
)
async def test_a_damaged_manifest_is_reported_and_never_restored(
    on_memory: ConfigStore, memory: MemoryObjects, body: bytes
) -> None:
    await on_memory.upload("loki", "production", LOKI)
    backup = await on_memory.backup("loki", "production")
    await memory.put(f"{backup.key}/manifest.json", body)

    (listed,) = await on_memory.list_backups()
    assert listed.damage is not None
    with pytest.raises(BackupInvalid):
        await on_memory.restore(backup.key)


async def test_a_manifest_with_one_changed_letter_is_damaged(on_memory: ConfigStore, memory: MemoryObjects) -> None:
    await on_memory.upload("loki", "production", LOKI)
    backup = await on_memory.backup("loki", "production", message="before the change")
    key = f"{backup.key}/manifest.json"
    info, body = await memory.read(key)

    await memory.put(key, body.replace(b"before", b"beforf"), metadata=info.metadata)

    with pytest.raises(BackupInvalid, match="differ from those that were stored"):
        await on_memory.restore(backup.key)


async def test_a_manifest_that_points_elsewhere_is_damaged(on_memory: ConfigStore, memory: MemoryObjects) -> None:
    await on_memory.upload("loki", "production", LOKI)
    backup = await on_memory.backup("loki", "production")
    key = f"{backup.key}/manifest.json"
    await memory.put(key, memory.objects[key][1].replace(b"loki.yaml", b"../../../x"))

    with pytest.raises(BackupInvalid):
        await on_memory.verify_backup(backup.key)


async def test_a_newer_format_is_refused(on_memory: ConfigStore, memory: MemoryObjects) -> None:
    await on_memory.upload("loki", "production", LOKI)
    backup = await on_memory.backup("loki", "production")
    key = f"{backup.key}/manifest.json"
    await memory.put(key, json.dumps({**json.loads(memory.objects[key][1]), "format": 99}).encode())

    with pytest.raises(FormatTooNew):
        await on_memory.restore(backup.key)


@pytest.mark.parametrize(
    "key", ["", "backups/production", "configs/production/current.json", "backups/production/x/../y", "a/b/c/d"]
)
async def test_an_invalid_backup_key_is_refused(on_memory: ConfigStore, key: str) -> None:
    with pytest.raises(InvalidOption):
        await on_memory.verify_backup(key)


# ------------------------------------------------------------------------------------------------ restoring


async def test_a_restore_creates_a_new_revision_with_the_old_files(store: ConfigStore) -> None:
    await store.upload("prometheus", "production", files=BUNDLE)
    backup = await store.backup("prometheus", "production")
    await store.upload("prometheus", "production", files={"prometheus.yml": OTHER_PROMETHEUS})

    release = await store.restore(backup.key, author="ann", message="oops")

    assert (release.revision, release.author, release.message) == (3, "ann", "oops")
    assert (release.origin.action, release.origin.revision, release.origin.backup) == ("restore", 1, backup.key)
    assert await texts(store) == {"prometheus": BUNDLE}


async def test_a_restore_first_backs_up_what_it_replaces(on_memory: ConfigStore) -> None:
    await on_memory.upload("loki", "production", LOKI)
    first = await on_memory.backup("loki", "production")
    await on_memory.upload("loki", "production", OTHER_LOKI)
    await on_memory.restore(first.key)

    (replaced,) = [backup for backup in await on_memory.list_backups() if backup.key != first.key]
    await on_memory.restore(replaced.key)

    assert replaced.message == f"before the restore of {first.key}"
    assert await texts(on_memory) == {"loki": {"loki.yaml": OTHER_LOKI}}


async def test_all_tools_are_restored_in_one_commit(on_memory: ConfigStore) -> None:
    await on_memory.upload("prometheus", "production", files=BUNDLE)
    await on_memory.upload("loki", "production", LOKI)
    backup = await on_memory.backup(None, "production")
    await on_memory.upload("loki", "production", OTHER_LOKI)
    await on_memory.remove("prometheus", "production")

    releases = await on_memory.restore_environment(backup.key)

    assert len({release.write_id for release in releases}) == 1
    assert await texts(on_memory) == {"prometheus": BUNDLE, "loki": {"loki.yaml": LOKI}}


async def test_one_tool_of_several_can_be_restored(on_memory: ConfigStore) -> None:
    await on_memory.upload("prometheus", "production", files=BUNDLE)
    await on_memory.upload("loki", "production", LOKI)
    backup = await on_memory.backup(None, "production")
    await on_memory.upload("loki", "production", OTHER_LOKI)
    await on_memory.upload("prometheus", "production", OTHER_PROMETHEUS)

    with pytest.raises(InvalidOption, match="restore_environment"):
        await on_memory.restore(backup.key)
    await on_memory.restore(backup.key, tool="loki")

    assert (await texts(on_memory))["loki"] == {"loki.yaml": LOKI}
    assert (await on_memory.download("prometheus", "production")).text == OTHER_PROMETHEUS


async def test_a_backup_can_be_restored_into_another_bucket_and_environment(
    store: ConfigStore, other: ConfigStore
) -> None:
    await store.upload("prometheus", "production", files=BUNDLE)
    backup = await store.backup("prometheus", "production", target=other)

    release = await other.restore(backup.key, environment="rehearsal")

    assert await texts(other, "rehearsal") == {"prometheus": BUNDLE}
    assert (release.environment, release.origin.environment, release.origin.bucket) == (
        "rehearsal",
        "production",
        store.bucket,
    )


async def test_a_backup_can_be_restored_from_another_bucket(on_memory: ConfigStore, other: ConfigStore) -> None:
    await other.upload("loki", "production", LOKI)
    backup = await other.backup("loki", "production")

    await on_memory.restore(backup.key, source=other)

    assert await texts(on_memory) == {"loki": {"loki.yaml": LOKI}}


async def test_a_damaged_backup_changes_nothing(on_memory: ConfigStore, memory: MemoryObjects) -> None:
    await on_memory.upload("prometheus", "production", files=BUNDLE)
    backup = await on_memory.backup("prometheus", "production")
    await on_memory.upload("prometheus", "production", OTHER_PROMETHEUS)
    await memory.put(f"{backup.key}/prometheus/rules/api.yml", b"groups: []\n")
    before = dict(memory.objects)

    with pytest.raises(BackupInvalid):
        await on_memory.restore(backup.key)

    assert memory.objects == before


async def test_a_frozen_environment_accepts_no_restore(on_memory: ConfigStore, memory: MemoryObjects) -> None:
    await on_memory.upload("loki", "production", LOKI)
    backup = await on_memory.backup("loki", "production")
    await on_memory.freeze("production", "holidays")
    before = dict(memory.objects)

    with pytest.raises(EnvironmentFrozen):
        await on_memory.restore(backup.key)

    assert memory.objects == before


async def test_an_unexpected_revision_is_refused(on_memory: ConfigStore) -> None:
    await on_memory.upload("loki", "production", LOKI)
    backup = await on_memory.backup("loki", "production")
    await on_memory.upload("loki", "production", OTHER_LOKI)

    with pytest.raises(RevisionConflict):
        await on_memory.restore(backup.key, expect_revision=1)

    assert await texts(on_memory) == {"loki": {"loki.yaml": OTHER_LOKI}}


async def test_a_commit_between_the_safety_backup_and_the_restore_is_not_lost(memory: MemoryObjects) -> None:
    class Meddled(MemoryObjects):
        """Somebody else commits right after the safety backup's manifest."""

        async def put(self, key: str, body: bytes, **options):
            info = await super().put(key, body, **options)
            if key.endswith("manifest.json") and b"before the restore" in body:
                await ConfigStore(self).upload("loki", "production", OTHER_LOKI)
            return info

    store = ConfigStore(Meddled())
    await store.upload("loki", "production", LOKI)
    backup = await store.backup("loki", "production")

    with pytest.raises(RevisionConflict):
        await store.restore(backup.key)

    assert await texts(store) == {"loki": {"loki.yaml": OTHER_LOKI}}


async def test_validation_errors_do_not_stop_a_restore(on_memory: ConfigStore) -> None:
    await on_memory.upload("loki", "production", "auth_enabled: [\n", force="trying something")
    backup = await on_memory.backup("loki", "production")
    await on_memory.upload("loki", "production", LOKI)

    release = await on_memory.restore(backup.key)

    assert release.forced == f"restored from {backup.key}"
    assert release.warnings


async def test_a_plan_shows_what_a_restore_would_do_and_changes_nothing(
    on_memory: ConfigStore, memory: MemoryObjects
) -> None:
    await on_memory.upload("loki", "production", LOKI)
    backup = await on_memory.backup("loki", "production")
    await on_memory.upload("loki", "production", OTHER_LOKI)
    await on_memory.freeze("production", "holidays")
    before = dict(memory.objects)

    plan = await on_memory.plan_restore(backup.key)

    assert plan.revisions == {"loki": 2}
    assert [change.path for change in plan.diffs["loki"].files[0].changes or ()] == ["server.http_listen_port"]
    assert plan.blocked == ("'production' is frozen: holidays",)
    assert memory.objects == before


async def test_a_restore_plan_for_a_missing_environment_adds_everything(on_memory: ConfigStore) -> None:
    await on_memory.upload("loki", "production", LOKI)
    backup = await on_memory.backup("loki", "production")

    plan = await on_memory.plan_restore(backup.key, environment="new")

    assert plan.revisions == {"loki": 0}
    assert [each.kind for each in plan.diffs["loki"].files] == ["added"]


# ------------------------------------------------------------------------------------------------ drills


async def test_a_drill_restores_compares_and_leaves_nothing(store: ConfigStore, bucket_objects: ObjectStore) -> None:
    await store.upload("prometheus", "production", files=BUNDLE)
    backup = await store.backup("prometheus", "production")
    before = await keys_below(bucket_objects, "")

    release = await store.restore(backup.key, drill=True)

    assert release.environment.startswith("drill-")
    assert await keys_below(bucket_objects, "") == before
    assert await store.environments() == ("production",)


async def test_a_drill_fails_if_restored_bytes_differ(memory: MemoryObjects) -> None:
    class Corrupt(MemoryObjects):
        """Hands out other bytes for what a drill stored."""

        async def read(self, key: str, **options):
            info, body = await super().read(key, **options)
            return info, body.replace(b"3100", b"3101") if "/drill-" in key and "/blobs/" in key else body

    objects = Corrupt()
    store = ConfigStore(objects)
    await store.upload("loki", "production", LOKI)
    backup = await store.backup("loki", "production")

    with pytest.raises(Exception, match="SHA-256"):
        await store.restore(backup.key, drill=True)

    assert not [key for key in objects.objects if "/drill-" in key]


async def test_a_cancelled_drill_cleans_up(memory: MemoryObjects) -> None:
    class Slow(MemoryObjects):
        async def put(self, key: str, body: bytes, **options):
            await asyncio.sleep(0)
            return await super().put(key, body, **options)

    objects = Slow()
    store = ConfigStore(objects)
    await store.upload("loki", "production", LOKI)
    backup = await store.backup("loki", "production")
    task = asyncio.create_task(store.restore(backup.key, drill=True))
    while not [key for key in objects.objects if "/drill-" in key]:  # noqa: ASYNC110 - the task makes them
        await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not [key for key in objects.objects if "/drill-" in key]


async def test_a_drill_removes_remains_of_killed_drills_but_not_of_running_ones(
    on_memory: ConfigStore, memory: MemoryObjects
) -> None:
    await on_memory.upload("loki", "drill-old", LOKI)
    memory.now = 1_800_000_000.0 + 2 * DAY.total_seconds()
    await on_memory.upload("loki", "drill-running", LOKI)
    await on_memory.upload("loki", "production", LOKI)
    backup = await on_memory.backup("loki", "production")

    await on_memory.restore(backup.key, drill=True)

    assert await on_memory.environments() == ("drill-running", "production")
    assert not [key for key in memory.objects if "drill-old" in key]


# ------------------------------------------------------------------------------------------------ pruning


NOW = datetime(2026, 6, 1, tzinfo=UTC)


def backup_of(days_ago: int, *tools: str) -> Backup:
    moment = NOW - days_ago * DAY
    held = {tool: BackupTool(1, None, "", moment, {"x": BackupFile(1, "0" * 64)}) for tool in tools}
    return Backup(f"backups/p/{days_ago:03d}", "b", "p", "b", moment, None, "", held)


def pruned(backups: list[Backup], keep: int | None, days: int | None) -> list[str]:
    older_than = None if days is None else days * DAY
    return [backup.key[-3:] for backup in plan_prune(backups, keep=keep, older_than=older_than, now=NOW)]


def test_pruning_keeps_the_newest_by_count() -> None:
    assert pruned([backup_of(age, "loki") for age in (1, 2, 3, 4)], keep=2, days=None) == ["004", "003"]


def test_pruning_by_age_never_deletes_the_last_backup() -> None:
    assert pruned([backup_of(age, "loki") for age in (100, 200)], keep=None, days=30) == ["200"]


def test_with_both_limits_only_backups_beyond_both_are_pruned() -> None:
    assert pruned([backup_of(age, "loki") for age in (1, 2, 50, 60)], keep=1, days=30) == ["060", "050"]


def test_the_last_backup_of_a_tool_is_kept_however_many_others_are_newer() -> None:
    backups = [
        backup_of(1, "loki"),
        backup_of(2, "loki"),
        backup_of(50, "prometheus", "loki"),
        backup_of(60, "prometheus"),
    ]

    assert pruned(backups, keep=1, days=None) == ["060", "002"]


def test_a_damaged_backup_does_not_count_as_the_last() -> None:
    backups = [replace(backup_of(1, "loki"), damage="gone"), backup_of(2, "loki"), backup_of(3, "loki")]

    assert pruned(backups, keep=1, days=None) == ["003"]


def test_a_backup_that_object_lock_keeps_is_left_alone() -> None:
    backups = [backup_of(1, "loki"), replace(backup_of(2, "loki"), retain_until=NOW + DAY), backup_of(3, "loki")]

    assert pruned(backups, keep=1, days=None) == ["003"]


async def test_pruning_deletes_everything_of_a_backup(store: ConfigStore, bucket_objects: ObjectStore) -> None:
    await store.upload("prometheus", "production", files=BUNDLE)
    made = [await store.backup("prometheus", "production") for _ in range(3)]
    newest = (await store.list_backups())[0]

    would = await store.prune_backups("production", keep=1, dry_run=True)
    assert len(await store.list_backups()) == 3
    gone = await store.prune_backups("production", keep=1)

    assert [backup.key for backup in gone] == [backup.key for backup in would]
    assert {backup.key for backup in gone} == {backup.key for backup in made} - {newest.key}
    assert {
        key.rpartition("/prometheus/")[0] or key.rpartition("/")[0]
        for key in await keys_below(bucket_objects, "backups/")
    } == {newest.key}


async def test_the_manifest_is_deleted_before_the_files(memory: MemoryObjects) -> None:
    class Watched(MemoryObjects):
        deletions: list[str] = []  # noqa: RUF012 - one instance

        async def delete(self, keys):
            self.deletions += [key for key in keys if key.startswith("backups/")]
            await super().delete(keys)

    objects = Watched()
    store = ConfigStore(objects)
    await store.upload("loki", "production", LOKI)
    for _ in range(2):
        await store.backup("loki", "production")

    await store.prune_backups("production", keep=1)

    assert [key.endswith("manifest.json") for key in objects.deletions] == [True, False]


@pytest.mark.parametrize("limits", [{}, {"keep": 0}, {"older_than": timedelta(-1)}])
async def test_invalid_limits_are_refused(on_memory: ConfigStore, limits: dict) -> None:
    with pytest.raises(InvalidOption):
        await on_memory.prune_backups("production", **limits)


# ------------------------------------------------------------------------------------------------ object lock


@pytest.fixture(params=["moto", "seaweedfs"])
async def locking(request: pytest.FixtureRequest, bucket_name: str) -> AsyncIterator[S3Objects]:
    """A bucket with object lock."""
    server = request.getfixturevalue(request.param)
    clients = make_clients(server)
    await clients.call("create_bucket", Bucket=bucket_name, ObjectLockEnabledForBucket=True)
    await clients.aclose()
    async with opened(server) as s3:
        yield S3Objects(s3, bucket_name)


async def test_a_retention_locks_every_object_of_a_backup(locking: S3Objects) -> None:
    store = ConfigStore(locking)
    await store.upload("prometheus", "production", files=BUNDLE)

    backup = await store.backup("prometheus", "production", retain=DAY)

    assert backup.retain_until == backup.created_at + DAY
    for key in await keys_below(locking, backup.key):
        versions = [version.version_id async for version in locking.versions(key)]
        with pytest.raises(S3Error):
            await locking._s3.delete_file(locking.bucket, key, DeleteOptions(version_id=versions[0]))


async def test_pruning_skips_what_object_lock_protects(locking: S3Objects) -> None:
    store = ConfigStore(locking)
    await store.upload("loki", "production", LOKI)
    locked = [await store.backup("loki", "production", retain=DAY) for _ in range(2)]
    await store.backup("loki", "production")

    await store.prune_backups("production", keep=1)

    assert {backup.key for backup in locked} <= {backup.key for backup in await store.list_backups()}


async def test_a_retention_in_a_bucket_without_object_lock_is_a_clear_error(bucket_objects: ObjectStore) -> None:
    if isinstance(bucket_objects, MemoryObjects):
        pytest.skip("a bucket on memory takes any retention")
    store = ConfigStore(bucket_objects)
    await store.upload("loki", "production", LOKI)

    with pytest.raises(InvalidOption, match="object lock"):
        await store.backup("loki", "production", retain=DAY)
    assert await store.list_backups() == ()


@pytest.mark.parametrize("retain", [timedelta(0), timedelta(-1)])
async def test_a_retention_of_zero_is_refused(on_memory: ConfigStore, retain: timedelta) -> None:
    with pytest.raises(InvalidOption):
        await on_memory.backup("loki", "production", retain=retain)
