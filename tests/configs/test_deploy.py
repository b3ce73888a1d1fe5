import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from apm_s3.configs import ConfigStore
from apm_s3.errors import (
    ConfigNotFound,
    DeployRefused,
    EnvironmentFrozen,
    InvalidOption,
    PlanOutdated,
    RevisionConflict,
    StoreDamaged,
)
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI, OTHER_PROMETHEUS, PROMETHEUS, RULES
from tests.managers import make_manager
from tests.seams.store import ObjectStore
from tests.servers import Server


async def _both(store: ConfigStore) -> None:
    await store.upload("prometheus", "staging", files={"prometheus.yml": PROMETHEUS, "rules/a.yml": RULES})
    await store.upload("loki", "staging", LOKI)
    await store.upload("loki", "production", OTHER_LOKI)


async def test_a_deploy_changes_every_tool_in_one_commit(store: ConfigStore) -> None:
    await _both(store)

    plan = await store.plan_deploy("staging", "production")
    result = await store.deploy(plan, author="Ada", message="weekly")

    assert plan.blocked == ()
    assert len({release.write_id for release in result.releases}) == 1
    assert {release.tool: release.revision for release in result.releases} == {"prometheus": 1, "loki": 2}
    bundles = await store.download_environment("production")
    assert bundles["loki"].main.text == LOKI
    assert bundles["prometheus"].files["rules/a.yml"].text == RULES
    assert bundles["loki"].release.deployed is not None
    assert bundles["loki"].release.origin.environment == "staging"
    assert bundles["loki"].release.author == "Ada"


async def test_a_deploy_in_one_call_plans_and_carries_out(moto: Server, bucket_name: str) -> None:
    async with make_manager(moto) as s3:
        await s3.create_bucket(bucket_name)
        await s3.configs(bucket_name).upload("loki", "staging", LOKI)

        result = await s3.deploy_apm_configs(bucket_name, "staging", "production", create=True, author="Ada")

        assert [(release.tool, release.author) for release in result.releases] == [("loki", "Ada")]
        assert (await s3.configs(bucket_name).download("loki", "production")).text == LOKI


async def test_a_plan_changes_nothing_and_shows_the_difference(store: ConfigStore) -> None:
    await _both(store)

    plan = await store.plan_deploy("staging", "production", tools=["loki"])

    [loki] = plan.tools
    assert (loki.source_revision, loki.target_revision) == (1, 1)
    assert "3200" in loki.diff.files[0].text
    assert "3100" in loki.diff.files[0].text
    assert (await store.download("loki", "production")).text == OTHER_LOKI


async def test_a_deploy_is_refused_when_the_target_has_moved(store: ConfigStore) -> None:
    await _both(store)
    plan = await store.plan_deploy("staging", "production")
    await store.upload("loki", "production", f"{OTHER_LOKI}# by hand\n")

    with pytest.raises(RevisionConflict):
        await store.deploy(plan)

    assert [release.tool for release in await store.list("production")] == ["loki"]


async def test_a_deploy_is_refused_when_the_source_has_moved(store: ConfigStore) -> None:
    await _both(store)
    plan = await store.plan_deploy("staging", "production")
    await store.upload("loki", "staging", f"{LOKI}# later\n")

    with pytest.raises(DeployRefused, match="has changed"):
        await store.deploy(plan)

    assert (await store.download("loki", "production")).text == OTHER_LOKI


async def test_a_plan_is_not_carried_out_in_an_environment_that_was_made_anew() -> None:
    memory = MemoryObjects()
    store = ConfigStore(memory)
    await _both(store)
    plan = await store.plan_deploy("staging", "production")
    await memory.delete([key for key in memory.objects if "/production/" in key])
    for each in plan.tools:
        text = f"{OTHER_LOKI if each.tool == 'loki' else OTHER_PROMETHEUS}# anew\n"
        for _ in range(each.target_revision):
            await ConfigStore(memory).upload(each.tool, "production", text)

    with pytest.raises(RevisionConflict):
        await store.deploy(plan)

    assert (await store.download("loki", "production")).text == f"{OTHER_LOKI}# anew\n"


async def test_a_manual_change_since_the_last_deploy_is_overwritten_only_if_allowed(store: ConfigStore) -> None:
    await _both(store)
    await store.deploy(await store.plan_deploy("staging", "production"))
    await store.upload("loki", "production", f"{LOKI}# hot fix\n")
    await store.upload("loki", "staging", OTHER_LOKI)

    plan = await store.plan_deploy("staging", "production")
    assert plan.blocked
    with pytest.raises(DeployRefused, match="by hand"):
        await store.deploy(plan)
    assert "hot fix" in (await store.download("loki", "production")).text

    await store.deploy(plan, allow_drift=True)
    assert (await store.download("loki", "production")).text == OTHER_LOKI


async def test_a_reverted_manual_change_is_not_drift(store: ConfigStore) -> None:
    await _both(store)
    await store.deploy(await store.plan_deploy("staging", "production"))
    await store.upload("loki", "production", f"{LOKI}# hot fix\n")
    await store.rollback("loki", "production", to_revision=2)

    assert (await store.plan_deploy("staging", "production")).blocked == ()


async def test_a_deploy_without_differences_commits_nothing(store: ConfigStore) -> None:
    await _both(store)
    await store.deploy(await store.plan_deploy("staging", "production"))

    plan = await store.plan_deploy("staging", "production")
    result = await store.deploy(plan)

    assert not plan.changes
    assert result.releases == ()
    assert len(await store.history("loki", "production")) == 2


async def test_a_deploy_stores_only_the_files_that_changed(store: ConfigStore, bucket_objects: ObjectStore) -> None:
    await _both(store)
    await store.deploy(await store.plan_deploy("staging", "production"))
    await store.upload("prometheus", "staging", OTHER_PROMETHEUS)
    before = {info.key async for info in bucket_objects.list("configs/production/prometheus/blobs/")}

    await store.deploy(await store.plan_deploy("staging", "production"))

    after = {info.key async for info in bucket_objects.list("configs/production/prometheus/blobs/")}
    assert len(after - before) == 1


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        ("staging", "staging", InvalidOption),
        ("staging", "nowhere", ConfigNotFound),
        ("nowhere", "staging", ConfigNotFound),
        ("empty", "staging", ConfigNotFound),
    ],
)
async def test_a_deploy_between_invalid_environments_is_an_error(
    store: ConfigStore, source: str, target: str, error: type[Exception]
) -> None:
    await _both(store)
    await store.upload("loki", "empty", LOKI)
    await store.remove("loki", "empty")

    with pytest.raises(error):
        await store.plan_deploy(source, target)


async def test_the_error_for_a_missing_target_says_how_to_create_it(store: ConfigStore) -> None:
    await _both(store)

    with pytest.raises(ConfigNotFound, match="create=True"):
        await store.plan_deploy("staging", "nowhere")


async def test_a_new_environment_is_created_on_request(store: ConfigStore) -> None:
    await _both(store)

    result = await store.deploy(await store.plan_deploy("staging", "canary", create=True))

    assert [release.revision for release in result.releases] == [1, 1]
    assert (await store.download("loki", "canary")).text == LOKI


async def test_a_frozen_target_accepts_no_deploy_and_the_plan_reports_it(store: ConfigStore) -> None:
    await _both(store)
    await store.freeze("production", "incident 42")

    plan = await store.plan_deploy("staging", "production")
    assert plan.blocked == ("frozen: incident 42",)
    with pytest.raises(EnvironmentFrozen):
        await store.deploy(plan)


async def test_an_invalid_source_is_not_deployed_without_a_reason(store: ConfigStore) -> None:
    await _both(store)
    await store.upload("loki", "staging", "- no mapping\n", force="try")

    plan = await store.plan_deploy("staging", "production", tools=["loki"])
    with pytest.raises(DeployRefused, match="error"):
        await store.deploy(plan)

    result = await store.deploy(plan, force="really")
    assert result.releases[0].forced == "really"


async def test_a_deploy_can_target_another_bucket(store: ConfigStore) -> None:
    await _both(store)
    other = ConfigStore(MemoryObjects("other"))

    plan = await store.plan_deploy("staging", "staging", target=other, create=True)
    await store.deploy(plan)

    assert (await other.download("prometheus", "staging", "rules/a.yml")).text == RULES
    assert (await other.history("loki", "staging"))[0].origin.bucket == store.bucket


async def test_a_plan_is_data_and_a_copy_of_it_is_planned_again(store: ConfigStore) -> None:
    await _both(store)
    other = ConfigStore(MemoryObjects("other"))
    plan = replace(await store.plan_deploy("staging", "staging", target=other, create=True))

    with pytest.raises(InvalidOption, match="other"):
        await store.deploy(plan)
    result = await store.deploy(plan, target=other)

    assert {release.tool for release in result.releases} == {"prometheus", "loki"}
    assert (await other.history("loki", "staging"))[0].origin.plan == plan.hash


async def test_a_copy_of_a_plan_is_refused_once_it_would_be_another(store: ConfigStore) -> None:
    await _both(store)
    plan = replace(await store.plan_deploy("staging", "production"))
    await store.upload("loki", "staging", OTHER_LOKI)

    with pytest.raises(PlanOutdated):
        await store.deploy(plan)


async def test_a_plan_takes_no_other_target_or_variables(store: ConfigStore) -> None:
    await _both(store)
    plan = await store.plan_deploy("staging", "production")

    with pytest.raises(InvalidOption, match="already has its target"):
        await store.deploy(plan, target=ConfigStore(MemoryObjects("other")))
    assert len((await store.deploy(plan)).releases) == 2


async def test_a_deploy_applies_and_keeps_the_overlay_of_the_target(store: ConfigStore) -> None:
    await _both(store)
    overlay = "files:\n  loki.yaml: {server: {http_listen_port: 9999}}\n"
    await store.upload("loki", "production", overlay, name=".apm/overlay.yml")

    plan = await store.plan_deploy("staging", "production", tools=["loki"])
    await store.deploy(plan)

    assert [each.name for each in plan.tools[0].touched] == ["loki.yaml"]
    assert (await store.download("loki", "production")).data["server"]["http_listen_port"] == 9999
    assert not (await store.plan_deploy("staging", "production", tools=["loki"])).changes


async def test_exactly_one_of_several_concurrent_deploys_wins(store: ConfigStore) -> None:
    await _both(store)
    plans = [await store.plan_deploy("staging", "production") for _ in range(5)]

    results = await asyncio.gather(*(store.deploy(plan) for plan in plans), return_exceptions=True)

    assert len([result for result in results if isinstance(result, RevisionConflict)]) == 4
    assert len(await store.history("loki", "production")) == 2


async def test_uploading_a_whole_bundle_keeps_the_overlay_of_the_environment(store: ConfigStore) -> None:
    overlay = "files:\n  loki.yaml: {server: {http_listen_port: 9999}}\n"
    await store.upload("loki", "production", files={"loki.yaml": LOKI, ".apm/overlay.yml": overlay})

    release = await store.upload("loki", "production", files={"loki.yaml": OTHER_LOKI})

    assert sorted(release.files) == [".apm/overlay.yml", "loki.yaml"]
    assert (await store.download("loki", "production", ".apm/overlay.yml")).text == overlay


class SlowReader(MemoryObjects):
    """A bucket in which something happens right before a blob of the target is read for the first time."""

    def __init__(self) -> None:
        super().__init__(now=1_700_000_000.0)
        self.meanwhile: list[Callable[[], Awaitable[object]]] = []

    async def read(self, key: str, **arguments: Any) -> Any:
        if "/production/" in key and "/blobs/" in key and self.meanwhile:
            await self.meanwhile.pop()()
        return await super().read(key, **arguments)


async def test_a_plan_starts_again_if_the_target_changes_and_its_old_content_is_collected() -> None:
    objects = SlowReader()
    await _both(ConfigStore(objects))

    async def change_and_collect() -> None:
        for port in ("3300", "3400"):
            await ConfigStore(objects).upload("loki", "production", LOKI.replace("3100", port))
        objects.now += 25 * 3600
        await ConfigStore(objects).collect_garbage("production", keep_revisions=1)

    objects.meanwhile = [change_and_collect]
    plan = await ConfigStore(objects).plan_deploy("staging", "production", tools=["loki"])

    [loki] = plan.tools
    assert loki.target_revision == 3
    assert "3400" in loki.diff.files[0].text


async def test_a_plan_reports_a_target_whose_current_content_is_missing() -> None:
    objects = SlowReader()
    await _both(ConfigStore(objects))

    async def lose() -> None:
        await objects.delete([key for key in objects.objects if "/production/" in key and "/blobs/" in key])

    objects.meanwhile = [lose]
    with pytest.raises(StoreDamaged, match="is missing"):
        await ConfigStore(objects).plan_deploy("staging", "production", tools=["loki"])
