"""Buckets that refuse deletions: by object lock with a default retention, or by a policy without DeleteObject."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from apm_s3.configs import ConfigStore
from apm_s3.errors import AccessDenied, ApmS3Error, BatchError, Throttled
from apm_s3.options import BucketOptions, ObjectLock, Versioning
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI
from tests.managers import make_manager
from tests.servers import Server

DAY = 86_400


class LockedObjects(MemoryObjects):
    """A bucket that refuses to delete some keys, or, without a list of them, to delete at all."""

    locked: str | None = ""

    async def delete(self, keys: Sequence[str]) -> None:
        denied = AccessDenied("refused", operation="delete", status=403, s3_code="AccessDenied", bucket=self.bucket)
        if self.locked is None:
            raise denied
        kept = [key for key in keys if self.locked in key]
        await super().delete([key for key in keys if key not in kept])
        if kept:
            raise BatchError("locked", failures=dict.fromkeys(kept, denied), operation="delete_files")


@pytest.fixture(params=["", "team-a/"])
def prefix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("locked", ["", None])
async def test_uploads_continue_if_the_probe_cannot_be_deleted(
    locked: str | None, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    objects = LockedObjects()
    objects.locked = locked
    store = ConfigStore(objects, prefix)

    await store.upload("loki", "production", LOKI)
    await store.upload("loki", "production", OTHER_LOKI)

    assert caplog.text.count("cannot be deleted before a collection") == 1


async def test_a_collection_reports_locked_objects_and_deletes_the_rest(prefix: str) -> None:
    objects = LockedObjects(now=1_800_000_000.0)
    objects.locked = "00000001-"
    store = ConfigStore(objects, prefix)
    for number in range(4):
        await store.upload("loki", "production", f"{LOKI}# {number}\n")
    assert objects.now is not None
    objects.now += 3 * DAY

    report = await store.collect_garbage("production", keep_revisions=2)

    assert len(report.releases) == 2
    assert [key for key in report.undeleted if "/releases/" in key] == [report.releases[0]]
    assert not [key for key in report.undeleted if "/blobs/" in key]
    assert {prefix + key for key in report.releases} & objects.objects.keys() == {prefix + report.releases[0]}
    assert (await store.fsck("production")).ok
    objects.locked = "nothing"
    assert not (await store.collect_garbage("production", keep_revisions=2)).undeleted


async def test_a_transient_failure_is_still_an_error() -> None:
    class Busy(LockedObjects):
        async def delete(self, keys: Sequence[str]) -> None:
            failures: dict[str, ApmS3Error] = {key: Throttled("slow down", status=503) for key in keys}
            raise BatchError("busy", failures=failures, operation="delete_files")

    objects = MemoryObjects(now=1_800_000_000.0)
    store = ConfigStore(objects)
    for number in range(4):
        await store.upload("loki", "production", f"{LOKI}# {number}\n")
    busy = Busy(now=1_800_000_000.0 + 3 * DAY)
    busy.objects = objects.objects

    with pytest.raises(BatchError):
        await ConfigStore(busy, require_conditional_writes=False).collect_garbage("production", keep_revisions=2)


async def test_a_locked_backup_remains_complete_and_the_next_one_is_pruned(caplog: pytest.LogCaptureFixture) -> None:
    objects = LockedObjects(now=1_800_000_000.0)
    store = ConfigStore(objects)
    await store.upload("loki", "production", LOKI)
    made = []
    for _ in range(3):
        made.append(await store.backup("loki", "production"))
        assert objects.now is not None
        objects.now += DAY
    objects.locked = made[0].key

    gone = await store.prune_backups("production", older_than=timedelta(hours=1), keep=1)

    assert [backup.key for backup in gone] == [made[1].key]
    assert {backup.key for backup in await store.list_backups()} == {made[0].key, made[2].key}
    assert (await store.verify_backup(made[0].key)).damage is None
    assert made[0].key in caplog.text


async def test_a_live_copy_that_cannot_be_deleted_is_pending_and_delays_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    objects = LockedObjects()
    objects.locked = "live/"
    store = ConfigStore(objects)
    await store.upload("loki", "production", files={"loki.yaml": LOKI, "rules/a.yaml": "groups: []\n"})

    release = await store.upload("loki", "production", files={"loki.yaml": OTHER_LOKI})
    repaired = await store.repair("production")

    assert release.live_pending
    assert any("cannot be deleted" in action for action in repaired.actions)
    assert objects.objects["live/production/loki/loki.yaml"][1] == OTHER_LOKI.encode()
    assert "cannot be deleted" in caplog.text


async def test_a_drill_reports_what_it_leaves(caplog: pytest.LogCaptureFixture) -> None:
    objects = LockedObjects()
    objects.locked = "/blobs/"
    store = ConfigStore(objects)
    await store.upload("loki", "production", LOKI)
    backup = await store.backup("loki", "production")

    await store.restore(backup.key, drill=True)

    assert "of a drill cannot be deleted" in caplog.text


async def test_denied_reads_remain_errors() -> None:
    class Denied(MemoryObjects):
        async def read(self, key: str, **options: object) -> object:  # type: ignore[override]
            raise AccessDenied(
                "refused", operation="read", status=403, s3_code="AccessDenied", bucket=self.bucket, key=key
            )

    with pytest.raises(AccessDenied):
        await ConfigStore(Denied()).collect_garbage("production", keep_revisions=2)


async def test_a_bucket_with_a_default_retention_keeps_what_is_deleted(seaweedfs: Server, bucket_name: str) -> None:
    lock = ObjectLock(mode="GOVERNANCE", days=1)
    async with make_manager(seaweedfs) as s3:
        await s3.create_bucket(bucket_name, BucketOptions(versioning=Versioning(), object_lock=lock))
        store = s3.configs(bucket_name)
        await store.upload("loki", "production", files={"loki.yaml": LOKI, "rules/a.yaml": "groups: []\n"})

        release = await store.upload("loki", "production", files={"loki.yaml": OTHER_LOKI})
        await store.finish()

        assert not release.live_pending
        assert (await store.fsck("production")).ok
        assert not [info.key async for info in s3.iter_files(bucket_name) if "probe-" in info.key]
        with pytest.raises(BatchError, match="Object lock or a policy may protect them") as refused:
            await s3.delete_bucket(bucket_name, force=True)
        assert any("/probe-" in error.key for error in refused.value.failures.values() if error.key)
        assert await s3.bucket_exists(bucket_name)
