"""The settings of an environment for changes, and that nothing bypasses them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from apm_s3.configs import ConfigStore, EnvironmentSettings
from apm_s3.errors import (
    ConfigInvalid,
    ConfigNotFound,
    DeployRefused,
    EnvironmentFrozen,
    InvalidOption,
    InvalidRequest,
    StoreDamaged,
)
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI, PROMETHEUS

CURRENT = "configs/production/current.json"
# `scrape_failure_log_file` came with Prometheus 2.55.
NEW_FIELD = PROMETHEUS.replace("global:\n", "global:\n  scrape_failure_log_file: failed.log\n")
SECRET = PROMETHEUS + "remote_write:\n  - {url: http://x/, basic_auth: {username: u, password: hunter22}}\n"


@pytest.fixture
def store(memory: MemoryObjects) -> ConfigStore:
    return ConfigStore(memory)


async def set_up(store: ConfigStore, **settings: Any) -> None:
    await store.set_settings("production", EnvironmentSettings(**settings), author="Ada", message="m", create=True)


async def test_settings_round_trip_and_are_logged(store: ConfigStore, memory: MemoryObjects) -> None:
    wanted = EnvironmentSettings(
        target_versions={"prometheus": "2.53"}, level="external", matchers="classic",
        warnings_as_errors=("plain-text-secret",), require_author=True, require_message=True, deploy_from=("staging",), keep_revisions=20,
        keep_for=timedelta(days=30), keep_log=timedelta(days=700),
    )  # fmt: skip
    await store.set_settings("production", wanted, author="Ada", message="rules", create=True)

    assert await store.settings("production") == wanted
    entry = (await store.log("production"))[0]
    assert (entry.action, entry.author, entry.message) == ("settings", "Ada", "rules")
    assert set(entry.settings) == {
        "target_versions", "level", "matchers", "warnings_as_errors", "require_author", "require_message", "deploy_from",
        "keep_revisions", "keep_for", "keep_log",
    }  # fmt: skip


async def test_an_environment_without_settings_has_the_defaults_and_stores_none(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    await store.upload("loki", "production", LOKI)

    assert await store.settings("production") == EnvironmentSettings()
    assert "settings" not in json.loads(memory.objects[CURRENT][1])


async def test_a_function_changes_the_current_settings_so_that_none_is_lost(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)

    def require(name: str) -> Callable[[EnvironmentSettings], EnvironmentSettings]:
        return lambda old: replace(old, **{name: True})

    await asyncio.gather(
        store.set_settings("production", require("require_author"), author="a", message="m"),
        store.set_settings("production", require("require_message"), author="a", message="m"),
    )

    settings = await store.settings("production")
    assert (settings.require_author, settings.require_message) == (True, True)


@pytest.mark.parametrize(
    "settings",
    [
        {"target_versions": {"prom": "2"}}, {"target_versions": {"loki": "new"}}, {"target_versions": {"loki": 3}},
        {"target_versions": []}, {"level": "lax"}, {"matchers": "new"}, {"warnings_as_errors": ["a"]}, {"warnings_as_errors": ("",)},
        {"warnings_as_errors": ("a",) * 51}, {"deploy_from": ("A B",)}, {"require_author": "yes"},
        {"keep_revisions": 0}, {"keep_revisions": True}, {"keep_for": timedelta(hours=1)}, {"keep_log": 5},
    ],
)  # fmt: skip
async def test_invalid_settings_are_refused_before_anything_is_stored(
    store: ConfigStore, memory: MemoryObjects, settings: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest):
        await set_up(store, **settings)

    assert memory.objects == {}


async def test_settings_of_a_missing_environment_are_refused_unless_it_may_be_created(
    store: ConfigStore,
) -> None:
    with pytest.raises(ConfigNotFound):
        await store.set_settings("production", EnvironmentSettings())

    await store.set_settings("production", EnvironmentSettings(), create=True)
    assert await store.environments() == ("production",)


async def test_a_frozen_environment_keeps_its_settings(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)
    await store.freeze("production", "incident")

    with pytest.raises(EnvironmentFrozen):
        await set_up(store, require_author=True)


async def test_forged_settings_are_damage(store: ConfigStore, memory: MemoryObjects) -> None:
    await set_up(store)
    for forged in ({"keep_log": -1}, {"keep_for": 10**20}, {"level": "x"}, {"deploy_from": "staging"}, []):
        document = {**json.loads(memory.objects[CURRENT][1]), "settings": forged}
        await memory.put(CURRENT, json.dumps(document).encode())
        with pytest.raises(StoreDamaged):
            await store.settings("production")


async def test_settings_of_a_later_version_are_kept(store: ConfigStore, memory: MemoryObjects) -> None:
    await set_up(store)
    document = {**json.loads(memory.objects[CURRENT][1]), "settings": {"two_approvals": True}}
    await memory.put(CURRENT, json.dumps(document).encode())

    await set_up(store, require_author=True)

    assert json.loads(memory.objects[CURRENT][1])["settings"] == {"require_author": True, "two_approvals": True}


async def test_uploads_are_validated_for_the_version_in_the_environment(store: ConfigStore) -> None:
    await set_up(store, target_versions={"prometheus": "2.53"})

    with pytest.raises(ConfigInvalid, match="scrape_failure_log_file"):
        await store.upload("prometheus", "production", NEW_FIELD)

    await set_up(store, target_versions={"prometheus": "3.0"})
    assert (await store.upload("prometheus", "production", NEW_FIELD)).revision == 1


async def test_matchers_are_parsed_in_the_mode_of_the_environment(store: ConfigStore) -> None:
    text = "route: {receiver: a, routes: [{matchers: ['a={b}']}]}\nreceivers: [{name: a}]\n"
    await set_up(store, matchers="utf8-strict")

    with pytest.raises(ConfigInvalid, match="matcher"):
        await store.upload("alertmanager", "production", text)

    await set_up(store, matchers="classic")
    assert (await store.upload("alertmanager", "production", text)).revision == 1


async def test_deploys_are_validated_for_the_version_in_the_target(store: ConfigStore) -> None:
    await store.upload("prometheus", "staging", NEW_FIELD)
    await set_up(store, target_versions={"prometheus": "2.53"})

    plan = await store.plan_deploy("staging", "production")

    assert "scrape_failure_log_file" in plan.blocked[0]
    with pytest.raises(DeployRefused):
        await store.deploy(plan)


async def test_warnings_that_count_as_errors_refuse_a_configuration(store: ConfigStore) -> None:
    await set_up(store, warnings_as_errors=("plain-text-secret",))

    with pytest.raises(ConfigInvalid) as refused:
        await store.upload("prometheus", "production", SECRET)

    assert "hunter22" not in str(refused.value)
    assert (await store.upload("prometheus", "production", SECRET, force="an incident")).forced == "an incident"


async def test_a_call_can_only_be_stricter(store: ConfigStore) -> None:
    await set_up(store, level="external")

    with pytest.raises(InvalidOption, match="less strict"):
        await store.upload("loki", "production", LOKI, level="full")
    with pytest.raises(InvalidOption, match="unknown level"):
        await store.upload("loki", "production", LOKI, level="lax")  # type: ignore[arg-type]
    with pytest.raises(ConfigInvalid):
        await store.upload("prometheus", "production", SECRET, warnings_as_errors=["*"])


CALLS: dict[str, Callable[[ConfigStore, dict[str, Any]], Awaitable[Any]]] = {
    "upload": lambda store, note: store.upload("loki", "production", OTHER_LOKI, **note),
    "rollback": lambda store, note: store.rollback("loki", "production", to_revision=1, **note),
    "remove": lambda store, note: store.remove("loki", "production", **note),
    "mark_good": lambda store, note: store.mark_good("loki", "production", **note),
    "thaw": lambda store, note: store.thaw("production", **note),
    "collect": lambda store, note: store.collect_garbage("production", keep_revisions=1, **note),
    "settings": lambda store, note: store.set_settings("production", EnvironmentSettings(), **note),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_change_without_the_required_notes_is_refused(
    store: ConfigStore, memory: MemoryObjects, call: str
) -> None:
    await store.upload("loki", "production", LOKI)
    await set_up(store, require_author=True, require_message=True)
    before = dict(memory.objects)

    for note in ({}, {"author": "Ada"}, {"message": "m"}, {"author": " ", "message": " "}):
        with pytest.raises(InvalidOption, match="does not accept changes without"):
            await CALLS[call](store, dict(note))
    assert memory.objects == before

    await CALLS[call](store, {"author": "Ada", "message": "m"})


async def test_a_deploy_and_a_restore_without_the_required_message_are_refused(store: ConfigStore) -> None:
    await store.upload("loki", "staging", LOKI)
    await store.upload("loki", "production", OTHER_LOKI)
    backup = await store.backup("loki", "production")
    await set_up(store, require_message=True)

    with pytest.raises(InvalidOption, match="message"):
        await store.deploy(await store.plan_deploy("staging", "production"))
    with pytest.raises(InvalidOption, match="message"):
        await store.restore(backup.key)
    assert len(await store.list_backups("production")) == 1


async def test_deploys_come_only_from_allowed_environments(store: ConfigStore) -> None:
    await store.upload("loki", "development", LOKI)
    await set_up(store, deploy_from=("staging",))

    plan = await store.plan_deploy("development", "production")

    assert plan.blocked == ("its settings allow deploys from staging only",)
    with pytest.raises(DeployRefused, match="staging only"):
        await store.deploy(plan, force="I must")


async def test_a_plan_made_under_other_settings_is_refused(store: ConfigStore) -> None:
    await store.upload("loki", "staging", LOKI)
    await set_up(store)
    plan = await store.plan_deploy("staging", "production")
    await set_up(store, require_message=True)

    with pytest.raises(DeployRefused, match="settings"):
        await store.deploy(plan, message="m")


async def test_a_call_cannot_collect_more_than_the_settings_allow(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)
    await set_up(store, keep_revisions=5, keep_for=timedelta(days=10), keep_log=timedelta(days=500))

    with pytest.raises(InvalidOption, match="keep_revisions"):
        await store.collect_garbage("production", keep_revisions=4)
    with pytest.raises(InvalidOption, match="older_than"):
        await store.collect_garbage("production", older_than=timedelta(days=2))
    with pytest.raises(InvalidOption, match="keep_log"):
        await store.collect_garbage("production", keep_log=timedelta(days=365))
    await store.collect_garbage("production")


async def test_without_settings_a_collection_must_say_how_many_revisions_to_keep(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)

    with pytest.raises(InvalidOption, match="keep_revisions is missing"):
        await store.collect_garbage("production")


async def test_a_write_in_progress_observes_settings_committed_meanwhile(memory: MemoryObjects) -> None:
    store, other = ConfigStore(memory), ConfigStore(memory)
    await store.upload("loki", "production", LOKI)
    put, done = memory.put, False

    async def set_before_the_commit(key: str, body: bytes, **options: Any) -> Any:
        nonlocal done
        if "/releases/" in key and not done:
            done = True
            await set_up(other, require_author=True)
        return await put(key, body, **options)

    memory.put = set_before_the_commit  # type: ignore[method-assign]
    with pytest.raises(InvalidOption, match="author"):
        await store.upload("loki", "production", OTHER_LOKI)
    done = False
    assert (await store.upload("loki", "production", OTHER_LOKI, author="Ada")).revision == 2
