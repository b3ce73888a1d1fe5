"""Every format that was ever released is read, written, checked and repaired."""

import json
from datetime import timedelta

import pytest

from apm_s3.configs import ConfigStore
from apm_s3.testing import MemoryObjects
from tests.configs.samples import OTHER_PROMETHEUS, PROMETHEUS, THIRD_PROMETHEUS
from tests.golden import FOLDER, load
from tests.golden.write import LONG_RULES, START
from tests.seams.store import FORMAT

FORMATS = sorted(path.stem for path in FOLDER.glob("format-*.json"))
LATER = START + 30 * 86_400


@pytest.fixture(params=FORMATS)
async def golden(request: pytest.FixtureRequest) -> MemoryObjects:
    return await load(request.param, now=LATER)


@pytest.fixture
def store(golden: MemoryObjects) -> ConfigStore:
    return ConfigStore(golden)


async def test_a_golden_store_can_be_read(store: ConfigStore) -> None:
    bundle = await store.download_bundle("prometheus", "production")
    history = await store.history("prometheus", "production")
    (backup,) = await store.list_backups()

    assert bundle.files["rules/long.yml"].text == LONG_RULES
    assert [release.origin.action for release in history] == ["rollback", "upload", "upload", "deploy"]
    assert [release.message for release in history] == ["back to the good one", "broken", "slower", "go live"]
    assert history[0].deployed is not None
    assert history[1].forced == "an incident"
    assert (await store.download("prometheus", "production", revision=2)).text == OTHER_PROMETHEUS
    assert (await store.download("prometheus", "staging")).text == THIRD_PROMETHEUS
    assert sorted(await store.environments()) == ["production", "staging"]
    assert (await store.verify_backup(backup.key)).message == "nightly"
    assert {row.good_revision for row in await store.status("production")} == {1, None}
    assert {row.freeze.reason for row in await store.status("staging") if row.freeze} == {"being rebuilt"}


async def test_the_log_and_the_settings_of_a_golden_store_can_be_read(
    store: ConfigStore, golden: MemoryObjects
) -> None:
    has_log = json.loads(golden.objects["configs/production/current.json"][1])["format"] > 1
    entries, settings = await store.log("production"), await store.settings("production")

    assert [entry.sequence for entry in entries] == (list(range(108, -1, -1)) if has_log else [])
    assert settings.deploy_from == (("staging",) if has_log else None)
    assert settings.target_versions == ({"prometheus": "3.0"} if has_log else {})
    if has_log:
        assert entries[100] == entries[-9]
        assert [entry.action for entry in entries[:-10:-1]] == [
            "create", "deploy", "mark_good", "upload", "upload", "rollback", "remove", "restore", "settings",
        ]  # fmt: skip


async def test_a_golden_store_passes_fsck(store: ConfigStore) -> None:
    production, staging = await store.fsck("production"), await store.fsck("staging")

    assert (production.findings, staging.findings) == ((), ())
    assert len(production.leftovers) == 1


async def test_writing_to_a_golden_store_upgrades_it_to_the_current_format(
    store: ConfigStore, golden: MemoryObjects
) -> None:
    before = json.loads(golden.objects["configs/production/current.json"][1])

    release = await store.upload("prometheus", "production", THIRD_PROMETHEUS, expect_revision=4)
    await store.rollback("prometheus", "production")

    after = json.loads(golden.objects["configs/production/current.json"][1])
    assert (release.revision, after["format"]) == (5, FORMAT)
    assert after["sequence"] == before["sequence"] + 2
    assert (await store.download("prometheus", "production")).text == PROMETHEUS
    assert [each.revision for each in await store.history("prometheus", "production")] == [6, 5, 4, 3, 2, 1]
    assert (await store.fsck("production")).ok


async def test_the_outcomes_of_writes_are_known_across_the_upgrade(store: ConfigStore, golden: MemoryObjects) -> None:
    history = await store.history("prometheus", "production")
    (leftover,) = (await store.fsck("production")).leftovers

    await store.upload("prometheus", "production", THIRD_PROMETHEUS)

    assert [await store.outcome(release.write_id) for release in history] == ["won"] * 4
    assert await store.outcome(leftover.rpartition("/")[2].partition("-")[2].removesuffix(".json")) == "lost"


async def test_a_golden_store_can_be_deployed_from_restored_and_collected(store: ConfigStore) -> None:
    (backup,) = await store.list_backups()
    await store.deploy(await store.plan_deploy("staging", "production"), allow_drift=True)
    await store.restore_environment(backup.key)
    await store.thaw("staging")

    report = await store.collect_garbage("production", keep_revisions=1, older_than=timedelta(days=1))

    assert report.oldest == {"grafana": 1, "loki": 3, "prometheus": 5}
    assert (await store.fsck("production")).ok
    assert (await store.download("prometheus", "production", revision=1)).text == PROMETHEUS


async def test_a_golden_store_can_be_repaired(store: ConfigStore, golden: MemoryObjects) -> None:
    current = golden.objects["configs/production/current.json"]
    await golden.put(current[0].key, b"torn")

    report = await store.repair("production")

    assert report.after.ok
    assert (await store.history("prometheus", "production"))[0].revision == 4
    assert json.loads(golden.objects["configs/production/current.json"][1])["format"] == FORMAT
