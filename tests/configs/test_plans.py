"""Plans as documents: saved, approved elsewhere, and trusted only if planning again gives the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from apm_s3.configs import ConfigStore, DeployPlan, EnvironmentSettings, PlanDocument, RestorePlan
from apm_s3.errors import DeployRefused, FormatTooNew, InvalidOption, PlanOutdated
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI, PROMETHEUS, RULES
from tests.seams.store import canonical_hash

OVERLAY = "variables: [TOKEN]\nfiles:\n  prometheus.yml:\n    global: {external_labels: {site: '${TOKEN}'}}\n"


@pytest.fixture
def store(memory: MemoryObjects) -> ConfigStore:
    return ConfigStore(memory)


def sent(plan: DeployPlan | RestorePlan) -> dict[str, Any]:
    """The document after it went through JSON."""
    document: dict[str, Any] = json.loads(json.dumps(plan.to_dict()))
    return document


def signed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the hash that it should have."""
    content = {name: value for name, value in document.items() if name != "hash"}
    return {**content, "hash": canonical_hash(content)}


async def staged(store: ConfigStore) -> None:
    await store.upload("prometheus", "staging", files={"prometheus.yml": PROMETHEUS, "rules/a.yml": RULES})
    await store.upload("loki", "staging", LOKI)
    await store.upload("loki", "production", OTHER_LOKI)


async def test_a_saved_plan_is_carried_out_and_named_in_the_log(store: ConfigStore) -> None:
    await staged(store)
    plan = await store.plan_deploy("staging", "production")

    back = DeployPlan.from_dict(sent(plan))
    result = await store.deploy(back, author="Ada")

    assert back.hash == plan.hash
    assert {release.tool: release.revision for release in result.releases} == {"loki": 2, "prometheus": 1}
    assert {release.origin.plan for release in result.releases} == {plan.hash}
    assert result.plan.to_dict() == plan.to_dict()
    assert (await store.log("production"))[0].plan == plan.hash


async def test_a_saved_plan_is_deterministic_and_contains_no_file_contents(store: ConfigStore) -> None:
    await staged(store)
    plan = await store.plan_deploy("staging", "production")
    again = await store.plan_deploy("staging", "production")
    text = json.dumps(plan.to_dict())

    assert plan.to_dict() == again.to_dict()
    assert "scrape" not in text
    assert "http_listen_port" not in text
    assert (
        plan.to_dict()["tools"]["loki"]["files"]["loki.yaml"]["after"] == plan.tools[0].source.files["loki.yaml"].sha256
    )


async def test_a_plan_is_carried_out_only_once(store: ConfigStore) -> None:
    await staged(store)
    back = DeployPlan.from_dict(sent(await store.plan_deploy("staging", "production")))
    done = await store.deploy(back)
    made = {release.tool: release.revision for release in done.releases}

    with pytest.raises(PlanOutdated, match=r"was already carried out: loki as revision 2, prometheus as") as again:
        await store.deploy(back)
    assert again.value.carried_out == made

    await store.remove("loki", "production")
    with pytest.raises(PlanOutdated, match="since then, 'production' has changed and has loki at revision 3") as moved:
        await store.deploy(back)
    assert moved.value.carried_out == {}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda store: store.upload("loki", "staging", OTHER_LOKI), "tools.loki.source.revision was 1 and is 2"),
        (lambda store: store.remove("loki", "production"), "tools.loki.target.revision was 1 and is 2"),
        (lambda store: store.freeze("production", "x"), "frozen was false and is true"),
        (lambda store: store.set_settings("production", EnvironmentSettings(require_author=True)), "settings was"),
    ],
)
async def test_an_outdated_plan_is_refused_with_the_changes_since(
    store: ConfigStore, memory: MemoryObjects, change: Callable[[ConfigStore], Any], told: str
) -> None:
    await staged(store)
    back = DeployPlan.from_dict(sent(await store.plan_deploy("staging", "production")))
    await change(store)
    before = dict(memory.objects)

    with pytest.raises(PlanOutdated) as refused:
        await store.deploy(back)

    assert any(line.startswith(told) for line in refused.value.changes)
    assert memory.objects == before


def _forge(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    forged: dict[str, Any] = json.loads(json.dumps(document))
    *way, last = path.split(".")
    at = forged
    for step in way:
        at = at[step]
    at[last] = value
    return forged


FORGERIES = [
    ("tools.loki.source.revision", 9), ("tools.loki.files", {}), ("tools.loki.errors", 5), ("tools.loki.drifted", True),
    ("tools.loki.changes", False), ("frozen", True), ("settings", "0" * 64), ("surprise", 1),
    ("tools.loki.target", None),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), FORGERIES)
async def test_a_modified_plan_is_refused_even_with_a_matching_hash(
    store: ConfigStore, memory: MemoryObjects, path: str, value: Any
) -> None:
    await staged(store)
    document = sent(await store.plan_deploy("staging", "production"))
    forged, before = _forge(document, path, value), dict(memory.objects)

    with pytest.raises(InvalidOption, match="hash"):
        DeployPlan.from_dict(forged)
    with pytest.raises(PlanOutdated):
        await store.deploy(DeployPlan.from_dict(signed(forged)))
    assert memory.objects == before


@pytest.mark.parametrize(
    ("path", "value"),
    [("source", None), ("source.bucket", 1), ("target.bucket", "other"), ("tools", []), ("tools", {"../x": 1}),
     ("source.environment", "../x"), ("variables", ["x"]), ("level", "lax"), ("warnings_as_errors", [""]),
     ("variables", None), ("tools", "loki")],
)  # fmt: skip
async def test_a_malformed_plan_is_refused(store: ConfigStore, path: str, value: Any) -> None:
    await staged(store)
    document = sent(await store.plan_deploy("staging", "production"))

    with pytest.raises(ValueError):
        await store.deploy(DeployPlan.from_dict(signed(_forge(document, path, value))))


async def test_invalid_plans_and_plans_of_newer_versions_are_refused(store: ConfigStore) -> None:
    await staged(store)
    document = sent(await store.plan_deploy("staging", "production"))

    for nothing in ({}, [], None, "x", {**document, "kind": "other"}, {**document, "format": "1"}):
        with pytest.raises(InvalidOption):
            DeployPlan.from_dict(nothing)  # type: ignore[arg-type]
    with pytest.raises(InvalidOption):
        RestorePlan.from_dict(document)
    with pytest.raises(FormatTooNew):
        DeployPlan.from_dict({**document, "format": 2})


async def test_a_blocked_plan_remains_blocked_after_it_was_saved(store: ConfigStore) -> None:
    await store.upload("prometheus", "staging", "globl: {}\n", force="a test")
    plan = await store.plan_deploy("staging", "production", create=True)

    with pytest.raises(DeployRefused):
        await store.deploy(DeployPlan.from_dict(sent(plan)))


async def test_a_saved_plan_between_two_stores_needs_both_of_them(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)
    other = ConfigStore(MemoryObjects("other"))
    plan = await store.plan_deploy("production", "production", target=other, create=True)
    back = DeployPlan.from_dict(sent(plan))

    with pytest.raises(InvalidOption, match="target"):
        await store.deploy(back)
    assert (await store.deploy(back, target=other)).releases[0].revision == 1


async def test_a_saved_restore_plan_is_carried_out_or_refused_likewise(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)
    backup = await store.backup("loki", "production")
    await store.upload("loki", "production", OTHER_LOKI)
    plan = await store.plan_restore(backup.key)
    back = RestorePlan.from_dict(sent(plan))

    (release,) = await store.restore_environment(back, author="Ada")

    assert (release.revision, release.origin.plan) == (3, plan.hash)
    with pytest.raises(PlanOutdated, match=r"tools\.loki\.revision was 2 and is 3"):
        await store.restore_environment(back)
    with pytest.raises(InvalidOption, match="a plan already has its environment"):
        await store.restore_environment(back, environment="staging")
    (again,) = await store.restore_environment(await store.plan_restore(backup.key))
    assert again.revision == 4


def test_a_plan_document_round_trips() -> None:
    content = {"kind": "apm-s3/deploy-plan", "format": 1, "text": "größer"}
    document = {**content, "hash": canonical_hash(content)}

    assert PlanDocument.read("apm-s3/deploy-plan", document).to_dict() == document
