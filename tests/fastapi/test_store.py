"""The whole store over HTTP: bundles, releases, environments, deploys, backups."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from apm_s3.configs import ConfigStore, EnvironmentSettings
from apm_s3.errors import ConnectionLost
from apm_s3.fastapi import config_router, get_configs
from apm_s3.testing import MemoryObjects
from tests.configs.samples import OTHER_PROMETHEUS, PROMETHEUS, RULES
from tests.fastapi.applications import CountedObjects, authorize, client_of
from tests.fastapi.conftest import SECRET

PRODUCTION = "/api/environments/production"
STAGING = "/api/environments/staging"
TOOL = f"{PRODUCTION}/tools/prometheus"


# Checks by other programs ---------------------------------------------------------------------------------------------


async def test_uploads_that_other_programs_would_check_are_refused_unless_the_service_offers_it(
    client: httpx.AsyncClient, store: ConfigStore, offering: httpx.AsyncClient
) -> None:
    await store.upload("prometheus", "staging", OTHER_PROMETHEUS)
    await store.set_settings("production", EnvironmentSettings(level="external"))

    async def changes(of: httpx.AsyncClient) -> list[httpx.Response]:
        async def put(url: str, read: str, **given: Any) -> httpx.Response:
            return await of.put(url, headers={"If-Match": (await of.get(read)).headers["etag"]}, **given)

        file, bundle = f"{TOOL}/files/prometheus.yml", {"files": {"prometheus.yml": PROMETHEUS}}
        return [
            await put(f"{TOOL}/bundle", TOOL, json=bundle),
            await put(file, file, content=PROMETHEUS),
            await of.post(f"{PRODUCTION}/deploys/plan", params={"source": "staging", "tool": "prometheus"}, json={}),
        ]

    before = await store.history("prometheus", "production")
    refused = await changes(client)

    assert [each.status_code for each in refused] == [422] * 3, [each.text for each in refused]
    assert all("promtool and amtool" in each.json()["detail"] for each in refused)
    assert await store.history("prometheus", "production") == before
    assert {each.status_code for each in await changes(offering)} == {200}
    # The library itself is not a service.
    assert await store.upload("prometheus", "production", OTHER_PROMETHEUS)


async def test_settings_cannot_ask_for_other_programs_unless_the_service_offers_it(
    client: httpx.AsyncClient, store: ConfigStore, offering: httpx.AsyncClient
) -> None:
    url = f"{PRODUCTION}/settings"

    async def put(of: httpx.AsyncClient, **given: object) -> int:
        etag = (await of.get(url)).headers["etag"]
        return (await of.put(url, json=given, headers={"If-Match": etag})).status_code

    assert await put(client, level="external") == 422
    assert await put(offering, level="external") == 200
    assert await put(client, level="external", require_author=True) == 200
    assert (await store.settings("production")).level == "external"
    assert await put(client, level="full") == 200


@pytest.fixture
async def offering(store: ConfigStore) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service that offers checks by other programs."""
    app = FastAPI()
    app.include_router(config_router(authorize=authorize, external_tools=True), prefix="/api")
    app.dependency_overrides[get_configs] = lambda: store
    async with client_of(app) as client:
        yield client


# Bundles --------------------------------------------------------------------------------------------------------------


async def test_a_bundle_comes_as_tar_or_json(client: httpx.AsyncClient, store: ConfigStore) -> None:
    await store.upload("prometheus", "production", files={"prometheus.yml": PROMETHEUS, "rules/api.yml": RULES})

    tar, json = [await client.get(f"{TOOL}/bundle", params={"format": kind}) for kind in ("tar", "json")]

    expected = {"prometheus.yml": PROMETHEUS, "rules/api.yml": RULES}
    with tarfile.open(fileobj=io.BytesIO(tar.content)) as archive:
        assert {each.name: archive.extractfile(each).read().decode() for each in archive} == expected  # type: ignore[union-attr]
    assert json.json() == {"revision": 2, "files": expected}
    assert len(tar.content) == int(tar.headers["content-length"])
    assert tar.headers["etag"] != json.headers["etag"]
    for each in (tar, json):
        known = await client.get(each.request.url, headers={"If-None-Match": each.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")


async def test_a_long_name_and_a_large_file_survive_an_archive(client: httpx.AsyncClient, store: ConfigStore) -> None:
    name, content = f"{'long-' * 40}é/data.bin", bytes(range(256)) * 4096
    await store.upload("prometheus", "production", content, name=name)

    tar = await client.get(f"{TOOL}/bundle")

    with tarfile.open(fileobj=io.BytesIO(tar.content)) as archive:
        assert archive.extractfile(name).read() == content  # type: ignore[union-attr]
    assert len(tar.content) == int(tar.headers["content-length"])


@pytest.mark.parametrize("kind", ["tar", "json"])
async def test_a_bundle_is_masked_without_the_permission(kind: str, app: FastAPI, client: httpx.AsyncClient) -> None:
    url = f"{PRODUCTION}/tools/alertmanager/bundle"
    whole = await client.get(url, params={"format": kind})
    async with client_of(app, "reader-token") as reader:
        masked = await reader.get(url, params={"format": kind})

    assert (SECRET in whole.text, SECRET in masked.text) == (True, False)
    assert whole.headers["etag"] != masked.headers["etag"]


async def test_a_bundle_is_replaced_as_a_whole(client: httpx.AsyncClient, store: ConfigStore) -> None:
    etag = (await client.get(TOOL)).headers["etag"]
    document = {"files": {"prometheus.yml": OTHER_PROMETHEUS, "rules/api.yml": RULES}, "message": "with rules"}

    missing = await client.put(f"{TOOL}/bundle", json=document)
    put = await client.put(f"{TOOL}/bundle", json=document, headers={"If-Match": etag})
    late = await client.put(f"{TOOL}/bundle", json=document, headers={"If-Match": etag})
    new = await client.put("/api/environments/new-one/tools/prometheus/bundle?create=true", json=document)

    assert [each.status_code for each in (missing, put, late, new)] == [428, 200, 412, 201]
    assert put.headers["etag"] == (await client.get(TOOL)).headers["etag"] != etag
    assert [each["name"] for each in put.json()["files"]] == ["prometheus.yml", "rules/api.yml"]


async def test_a_removed_configuration_keeps_its_history(client: httpx.AsyncClient) -> None:
    etag = (await client.get(TOOL)).headers["etag"]

    assert (await client.delete(TOOL)).status_code == 428
    assert (await client.delete(TOOL, headers={"If-Match": etag})).json()["removed"] is True
    assert (await client.get(TOOL)).status_code == 404
    assert [each["removed"] for each in (await client.get(f"{TOOL}/history")).json()] == [True, False]
    again = await client.put(f"{TOOL}/files/prometheus.yml", content=PROMETHEUS)
    assert (again.status_code, again.json()["revision"]) == (201, 3)


async def test_a_bundle_is_validated_as_a_whole(client: httpx.AsyncClient) -> None:
    broken = {"prometheus.yml": PROMETHEUS + "rule_files: [rules.yml]\n", "rules.yml": "groups: 1\n"}

    report = (await client.post(f"{TOOL}/bundle/validate", json={"files": broken})).json()

    assert (report["ok"], report["issues"][0]["file"]) == (False, "rules.yml")


# Releases -------------------------------------------------------------------------------------------------------------


async def test_releases_are_listed_compared_and_rolled_back(client: httpx.AsyncClient, store: ConfigStore) -> None:
    await client.post(f"{TOOL}/good", json={"message": "works"})
    await store.upload("prometheus", "production", OTHER_PROMETHEUS)

    listed = (await client.get(f"{PRODUCTION}/tools")).json()
    diff = (await client.get(f"{TOOL}/diff")).json()
    across = (await client.get(f"{TOOL}/diff", params={"to_environment": "staging"})).json()
    stale = await client.post(f"{TOOL}/rollback", json={"expect_revision": 1})
    rolled = await client.post(f"{TOOL}/rollback", json={"message": "back"})

    assert [each["tool"] for each in listed] == ["alertmanager", "prometheus"]
    assert diff["files"][0]["changes"] == [
        {"kind": "changed", "path": "global.scrape_interval", "old": "15s", "new": "30s"}
    ]
    assert across["new"] == "staging#1"
    assert (stale.status_code, stale.json()["current_revision"]) == (409, 2)
    assert (rolled.json()["revision"], rolled.json()["origin"]["revision"]) == (3, 1)
    assert (await store.download("prometheus", "production")).text == PROMETHEUS


@pytest.mark.parametrize("damaged", [1, 2])
async def test_a_history_with_a_damaged_release_shows_the_others(
    client: httpx.AsyncClient, store: ConfigStore, objects: CountedObjects, damaged: int
) -> None:
    await store.upload("prometheus", "production", OTHER_PROMETHEUS)
    [key] = [each for each in objects.objects if f"production/prometheus/releases/0000000{damaged}-" in each]
    objects.objects[key] = (objects.objects[key][0], b"garbage")

    history = await client.get(f"{TOOL}/history")
    status = await client.get(f"{PRODUCTION}/status")

    assert history.status_code == 200, history.text
    rows = {each["revision"]: each for each in history.json()}
    assert list(rows) == [2, 1]
    assert rows.pop(damaged) == {
        "tool": "prometheus", "environment": "production", "revision": damaged, "damaged": True,
    }  # fmt: skip
    assert [each["damaged"] for each in rows.values()] == [False]
    assert {each["tool"]: each["damaged"] for each in status.json()}["prometheus"] is (damaged == 2)
    assert "acme-secret-bucket" not in history.text + status.text


async def test_a_list_of_releases_with_a_damaged_one_shows_the_others(
    client: httpx.AsyncClient, objects: CountedObjects
) -> None:
    [key] = [each for each in objects.objects if "production/prometheus/releases/00000001-" in each]
    objects.objects[key] = (objects.objects[key][0], b"garbage")

    listed = await client.get(f"{PRODUCTION}/tools")

    assert listed.status_code == 200, listed.text
    assert [(each["tool"], each["revision"], each["damaged"]) for each in listed.json()] == [
        ("alertmanager", 1, False), ("prometheus", 1, True),
    ]  # fmt: skip


async def test_a_removed_environment_is_listed_no_longer_until_it_is_thawed(client: httpx.AsyncClient) -> None:
    full = await client.delete(STAGING)
    for tool in ("prometheus", "loki"):
        await client.delete(f"{STAGING}/tools/{tool}", headers={"If-Match": "*"})
    removed = await client.delete(STAGING, params={"message": "a typing error"})
    after = (await client.get("/api/environments")).json()
    log = (await client.get(f"{STAGING}/log")).json()
    thawed = await client.post(f"{STAGING}/thaw", json={})

    assert (full.status_code, removed.status_code, thawed.status_code) == (422, 204, 204)
    assert "configuration of loki" in full.json()["detail"]
    assert (after, log[0]["message"]) == (["production"], "a typing error")
    assert (await client.get("/api/environments")).json() == ["production", "staging"]


async def test_a_rollback_to_an_invalid_revision_needs_a_reason(client: httpx.AsyncClient, store: ConfigStore) -> None:
    await store.upload("prometheus", "production", "scrape_configs: 3\n", force="imported")

    refused = await client.post(f"{TOOL}/rollback", json={"to_revision": 2})
    forced = await client.post(f"{TOOL}/rollback", json={"to_revision": 2, "force": "an incident"})

    assert (refused.status_code, refused.json()["issues"][0]["line"]) == (422, 1)
    assert (forced.status_code, forced.json()["forced"]) == (200, "an incident")


@pytest.mark.parametrize(
    "hostile",
    [
        "x: !!binary /w==\n",
        "x: !!set {? !!binary /w== }\n",
        "!!binary /w==: 1\n",
        "x: [.nan, .inf, 1e999]\n",
        "x: !own [!!timestamp 2001-01-01, !!omap [a: 1], !!pairs [a: 1, a: 2]]\n",
        "x: " + "!a {b: !c [" * 90 + "!!binary /w==" + "]}" * 90 + "\n",
    ],
)
async def test_no_content_hides_a_change_from_those_who_compare(
    hostile: str, client: httpx.AsyncClient, store: ConfigStore
) -> None:
    for text in ("x: 1\n", hostile):
        await store.upload("prometheus", "staging", text, force="hostile")

    shown = await client.get(f"{STAGING}/tools/prometheus/diff")
    plan = await client.post(f"{PRODUCTION}/deploys/plan", params={"source": "staging", "tool": "prometheus"}, json={})

    assert (shown.status_code, plan.status_code) == (200, 200)
    assert shown.json()["files"][0]["changes"]
    assert plan.json()["tools"][0]["diff"]["files"][0]["changes"]


@pytest.mark.parametrize("path", ["files/prometheus.yml", "bundle"])
async def test_a_new_environment_beside_others_needs_create(client: httpx.AsyncClient, path: str) -> None:
    url = f"/api/environments/prodution/tools/prometheus/{path}"
    body: dict[str, Any] = {"json": {"files": {"prometheus.yml": PROMETHEUS}}}
    body = body if path == "bundle" else {"content": PROMETHEUS}

    refused = await client.put(url, **body)
    created = await client.put(url, params={"create": "true"}, **body)

    assert (refused.status_code, "did you mean production?" in refused.json()["detail"]) == (404, True)
    assert created.status_code == 201


async def test_a_known_release_is_not_sent_again(client: httpx.AsyncClient) -> None:
    etag = (await client.get(TOOL)).headers["etag"]

    assert (await client.get(TOOL, headers={"If-None-Match": etag})).status_code == 304


# Environments ---------------------------------------------------------------------------------------------------------


async def test_the_state_of_environments_is_shown(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/environments")).json() == ["production", "staging"]
    everywhere = (await client.get("/api/status")).json()
    here = (await client.get(f"{PRODUCTION}/status")).json()

    assert [(each["environment"], each["tool"]) for each in everywhere] == [
        ("production", "alertmanager"), ("production", "prometheus"), ("staging", "loki"), ("staging", "prometheus"),
    ]  # fmt: skip
    assert [each["tool"] for each in here] == ["alertmanager", "prometheus"]
    assert (await client.get("/api/environments/nowhere/status")).status_code == 404


async def test_settings_are_replaced_only_by_who_has_seen_them(client: httpx.AsyncClient) -> None:
    url = f"{PRODUCTION}/settings"
    read = await client.get(url)
    etag, document = read.headers["etag"], {**read.json(), "require_message": True, "keep_for_seconds": 604800}

    assert (await client.put(url, json=document)).status_code == 428
    put = await client.put(url, json=document, headers={"If-Match": etag})
    late = await client.put(url, json=document, headers={"If-Match": etag}, params={"message": "late"})
    wrong = await client.put(url, json={**document, "keep_for_seconds": 5}, headers={"If-Match": "*"})
    unknown = await client.put(url, json={**document, "colour": "red"}, headers={"If-Match": "*"})

    assert [each.status_code for each in (put, late, wrong, unknown)] == [200, 412, 422, 422]
    assert put.json() == document == (await client.get(url)).json()
    assert (await client.get(url, headers={"If-None-Match": put.headers["etag"]})).status_code == 304
    silent = await client.put(f"{TOOL}/files/prometheus.yml", content=OTHER_PROMETHEUS, headers={"If-Match": "*"})
    assert (silent.status_code, "message" in silent.json()["detail"]) == (422, True)


async def test_committed_settings_are_not_read_again(
    client: httpx.AsyncClient, store: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{PRODUCTION}/settings"
    document = {**(await client.get(url)).json(), "require_author": True}

    async def fails(environment: str) -> EnvironmentSettings:
        raise ConnectionLost("the connection broke", endpoint="s3.test")

    with monkeypatch.context() as patched:
        patched.setattr(store, "settings", fails)
        put = await client.put(url, json=document, headers={"If-Match": "*"})
    assert (put.status_code, put.json()) == (200, document)
    assert (await client.get(url)).headers["etag"] == put.headers["etag"]


async def test_a_frozen_environment_thaws(client: httpx.AsyncClient) -> None:
    assert (await client.post(f"{PRODUCTION}/freeze", json={"reason": "holidays"})).status_code == 204
    assert (await client.post(f"{TOOL}/rollback", json={"to_revision": 1})).status_code == 423
    assert (await client.post(f"{PRODUCTION}/thaw", json={})).status_code == 204
    assert (await client.post(f"{TOOL}/rollback", json={"to_revision": 1})).status_code == 200

    log = (await client.get(f"{PRODUCTION}/log", params={"limit": 3})).json()
    assert [(each["action"], each["author"]) for each in log] == [
        ("rollback", "ada"), ("thaw", "ada"), ("freeze", "ada"),
    ]  # fmt: skip
    assert {each["action"] for each in (await client.get(f"{PRODUCTION}/log", params={"tool": "prometheus"})).json()} == {
        "upload", "rollback",
    }  # fmt: skip


# Deploys --------------------------------------------------------------------------------------------------------------


async def make_plan(client: httpx.AsyncClient, **params: str) -> dict[str, object]:
    """A plan of a deploy from staging to production."""
    answer = await client.post(f"{PRODUCTION}/deploys/plan", params={"source": "staging", **params}, json={})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_plan_that_was_seen_is_deployed_in_one_commit(client: httpx.AsyncClient, store: ConfigStore) -> None:
    await store.upload("prometheus", "staging", OTHER_PROMETHEUS)
    plan = await make_plan(client)

    deployed = await client.post(
        f"{PRODUCTION}/deploys/{plan['id']}", params={"source": "staging"}, json={"hash": plan["hash"], "message": "go"}
    )

    assert (plan["changes"], plan["blocked"]) == (True, [])
    assert deployed.status_code == 200
    releases = deployed.json()["releases"]
    assert [each["tool"] for each in releases] == ["loki", "prometheus"]
    assert {each["write_id"] for each in releases} == {releases[0]["write_id"]}
    assert {(each["author"], each["origin"]["plan"]) for each in releases} == {("ada", plan["hash"])}


async def test_another_plan_is_not_deployed(client: httpx.AsyncClient, store: ConfigStore) -> None:
    plan = await make_plan(client)
    await store.upload("prometheus", "staging", OTHER_PROMETHEUS)
    url, source = f"{PRODUCTION}/deploys/{plan['id']}", {"source": "staging"}

    outdated = await client.post(url, params=source, json={"hash": plan["hash"]})
    other_id = await client.post(f"{PRODUCTION}/deploys/{'0' * 16}", params=source, json={"hash": plan["hash"]})
    fresh = await make_plan(client)
    fewer = await client.post(
        f"{PRODUCTION}/deploys/{fresh['id']}", params={**source, "tool": "loki"}, json={"hash": fresh["hash"]}
    )

    assert [each.status_code for each in (outdated, other_id, fewer)] == [409, 409, 409]
    assert {each.json()["type"] for each in (outdated, other_id, fewer)} == {"urn:apm-s3:problem:plan-outdated"}
    assert (await store.history("prometheus", "production"))[0].revision == 1


async def test_any_worker_carries_out_the_plan_of_another(
    client: httpx.AsyncClient, store: ConfigStore, objects: MemoryObjects
) -> None:
    plan = await make_plan(client)
    other_worker = ConfigStore(objects, "team-a/")

    assert (await other_worker.plan_deploy("staging", "production")).hash == plan["hash"]


async def test_a_repeated_deploy_returns_its_first_result(client: httpx.AsyncClient, store: ConfigStore) -> None:
    await store.upload("prometheus", "staging", OTHER_PROMETHEUS)
    plan = await make_plan(client)
    write_id = (await client.post(f"{PRODUCTION}/writes")).json()["write_id"]
    url, document = f"{PRODUCTION}/deploys/{plan['id']}", {"hash": plan["hash"], "write_id": write_id}

    first, again = [await client.post(url, params={"source": "staging"}, json=document) for _ in range(2)]

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert len(await store.history("prometheus", "production")) == 2


async def test_a_refused_deploy_says_why(client: httpx.AsyncClient, store: ConfigStore) -> None:
    await store.freeze("production", "holidays")
    plan = await make_plan(client)

    answer = await client.post(
        f"{PRODUCTION}/deploys/{plan['id']}", params={"source": "staging"}, json={"hash": plan["hash"]}
    )

    assert plan["blocked"] == ["frozen: holidays"]
    assert answer.status_code == 423


async def test_a_plan_shows_no_secret(client: httpx.AsyncClient, store: ConfigStore) -> None:
    secret = (await store.download("alertmanager", "production")).raw
    await store.upload("alertmanager", "staging", secret.replace(SECRET.encode(), b"staging-" + SECRET.encode()))

    answer = await client.post(f"{PRODUCTION}/deploys/plan", params={"source": "staging"}, json={})

    assert answer.status_code == 200
    assert SECRET not in answer.text
    assert "acme-secret-bucket" not in answer.text


# Backups --------------------------------------------------------------------------------------------------------------


async def test_a_backup_is_verified_drilled_and_restored(client: httpx.AsyncClient, store: ConfigStore) -> None:
    made = await client.post(f"{PRODUCTION}/backups", json={"message": "before the change"})
    url = f"{PRODUCTION}/backups/{made.json()['name']}"
    await store.upload("prometheus", "production", OTHER_PROMETHEUS)

    verified = await client.post(f"{url}/verify")
    drilled = await client.post(f"{url}/drill", params={"tool": "prometheus"})
    restored = await client.post(f"{url}/restore", params={"tool": "prometheus"}, json={"message": "undo"})
    elsewhere = await client.post(f"{url}/restore", params={"into": "staging", "tool": "alertmanager"}, json={})

    assert (made.status_code, made.json()["revisions"]) == (201, {"alertmanager": 1, "prometheus": 1})
    statuses = [each.status_code for each in (verified, drilled, restored, elsewhere)]
    assert statuses == [200, 200, 200, 200], [each.text for each in (verified, drilled, restored, elsewhere)]
    assert (await store.download("prometheus", "production")).text == PROMETHEUS
    assert elsewhere.json()[0]["environment"] == "staging"
    assert made.json()["name"] in {each["name"] for each in (await client.get(f"{PRODUCTION}/backups")).json()}
    assert (await client.get("/api/backups")).status_code == 200
    assert "acme-secret-bucket" not in made.text


async def test_a_backup_that_is_not_there_or_damaged_is_refused(
    client: httpx.AsyncClient, store: ConfigStore, objects: MemoryObjects
) -> None:
    made = await store.backup("prometheus", "production")
    name = made.key.rpartition("/")[2]
    key = next(each for each in objects.objects if each.endswith(f"{name}/prometheus/prometheus.yml"))
    info, _ = objects.objects[key]
    objects.objects[key] = (info, b"damaged")

    damaged = await client.post(f"{PRODUCTION}/backups/{name}/restore", json={})
    absent = await client.post(f"{STAGING}/backups/{name}/restore", json={})
    odd = await client.post(f"{PRODUCTION}/backups/..%2F..%2Fconfigs/verify")

    assert [each.status_code for each in (damaged, absent, odd)] == [409, 404, 404]


async def test_a_restore_into_a_new_environment_is_asked_for(client: httpx.AsyncClient) -> None:
    made = (await client.post(f"{PRODUCTION}/backups", params={"tool": "prometheus"}, json={})).json()
    url = f"{PRODUCTION}/backups/{made['name']}/restore"

    refused = await client.post(url, params={"into": "stagign"}, json={})
    before = (await client.get("/api/environments")).json()
    created = await client.post(url, params={"into": "stagign", "create": True}, json={})

    assert (refused.status_code, created.status_code) == (404, 200), created.text
    assert "did you mean staging?" in refused.json()["detail"]
    assert "create=true" in refused.json()["detail"]
    assert before == ["production", "staging"]


async def test_a_restore_elsewhere_needs_the_permissions_there(app: FastAPI, client: httpx.AsyncClient) -> None:
    made = (await client.post(f"{PRODUCTION}/backups", params={"tool": "prometheus"}, json={})).json()
    url = f"{PRODUCTION}/backups/{made['name']}/restore"
    async with client_of(app, "prometheus-token") as limited:
        elsewhere = await limited.post(url, params={"tool": "prometheus", "into": "staging"}, json={})
        here = await limited.post(url, params={"tool": "prometheus"}, json={})

    assert (elsewhere.status_code, here.status_code) == (403, 200)
