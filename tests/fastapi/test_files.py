"""Files over HTTP: bytes, revisions, conditions, masked reads."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from apm_s3.configs import ConfigStore
from apm_s3.fastapi import Action, Permission, Principal, config_router, get_configs
from tests.configs.samples import OTHER_PROMETHEUS, PROMETHEUS, RULES
from tests.fastapi.applications import CountedObjects, client_of
from tests.fastapi.conftest import ALERTMANAGER, SECRET
from tests.fastapi.routes import GUARDED, request_for
from tests.seams.http import Endpoint

TOOL = "/api/environments/production/tools/prometheus"
URL = f"{TOOL}/files/prometheus.yml"
RULES_URL = f"{TOOL}/files/rules/api.yml"
SECRET_URL = "/api/environments/production/tools/alertmanager/files/alertmanager.yml"


async def etag_of(client: httpx.AsyncClient, url: str = URL) -> str:
    """The ETag of a file."""
    return (await client.get(url)).headers["etag"]


async def test_a_file_comes_byte_for_byte(client: httpx.AsyncClient) -> None:
    answer = await client.get(URL)

    assert answer.content == PROMETHEUS.encode()
    assert answer.headers["content-type"] == "application/yaml"
    assert answer.headers["x-config-revision"] == "1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "private" in answer.headers["cache-control"]


async def test_a_file_that_is_no_text_or_cannot_be_parsed_comes_only_as_it_is(
    client: httpx.AsyncClient, store: ConfigStore
) -> None:
    files = {"prometheus.yml": PROMETHEUS, "logo.bin": b"\xff\x00", "broken.yml": "a: [hunter2"}
    await store.upload("prometheus", "production", files=files, force="a test")

    whole = await client.get(f"{TOOL}/bundle", params={"format": "json"})
    parsed = await client.get(f"{TOOL}/files/broken.yml", params={"view": "parsed"})
    raw = await client.get(f"{TOOL}/files/logo.bin")

    assert (whole.status_code, whole.json()["type"]) == (409, "urn:apm-s3:problem:not-text")
    assert (parsed.status_code, parsed.json()["type"]) == (409, "urn:apm-s3:problem:not-parsable")
    assert "hunter2" not in parsed.text
    assert (raw.status_code, raw.content) == (200, b"\xff\x00")


async def test_a_target_file_that_cannot_be_parsed_is_no_list_of_targets(app: FastAPI, store: ConfigStore) -> None:
    await store.upload("prometheus", "production", "[{targets: [hunter2", name="sd.yml", force="a test")

    async with client_of(app, "feed-token") as feed:
        answer = await feed.get("/feed/production/prometheus/http_sd/sd.yml")

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:apm-s3:problem:not-parsable")
    assert "hunter2" not in answer.text


async def test_a_bundle_with_a_lone_surrogate_is_refused(client: httpx.AsyncClient, objects: CountedObjects) -> None:
    before = dict(objects.objects)

    answer = await client.put(
        f"{TOOL}/bundle", content=b'{"files": {"prometheus.yml": "\\ud800"}}',
        headers={"If-Match": "*", "Content-Type": "application/json"},
    )  # fmt: skip

    assert answer.status_code == 422
    assert objects.objects == before


CONDITIONAL = [(prefix, each) for prefix, each in GUARDED if 304 in each.options.get("responses", {})]


@pytest.mark.parametrize(("prefix", "endpoint"), CONDITIONAL, ids=lambda each: getattr(each, "name", ""))
async def test_what_a_client_has_is_answered_by_its_etag_alone(prefix: str, endpoint: Endpoint, app: FastAPI) -> None:
    request = request_for(prefix, endpoint)
    # Only JSON that is a list of targets comes over http_sd.
    if endpoint.call.__name__ == "http_sd":
        request["url"] = request["url"].replace("prometheus.yml", "targets.json")
        async with client_of(app, "admin-token") as admin:
            added = await admin.put(f"{TOOL}/files/targets.json", content=b"[]", headers={"If-Match": "*"})
            assert added.status_code == 201
    async with client_of(app, f"only-{endpoint.action}") as client:
        whole = await client.request(**request)
        known = await client.request(**request, headers={"If-None-Match": whole.headers["etag"]})

    assert (whole.status_code, known.status_code, known.content) == (200, 304, b"")
    for name in ("etag", "cache-control", "vary", "x-config-revision"):
        assert known.headers.get(name) == whole.headers.get(name)


async def test_a_client_that_has_the_file_gets_no_body(client: httpx.AsyncClient) -> None:
    etag = await etag_of(client)

    for header in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = await client.get(URL, headers={"If-None-Match": header})
        assert (header, answer.status_code, answer.content) == (header, 304, b"")
        assert answer.headers["etag"] == etag
    assert (await client.get(URL, headers={"If-None-Match": '"other"'})).status_code == 200
    assert (await client.get(URL, headers={"If-None-Match": "nonsense"})).status_code == 200


async def test_any_revision_can_be_read(client: httpx.AsyncClient, store: ConfigStore) -> None:
    await store.upload("prometheus", "production", OTHER_PROMETHEUS)

    assert (await client.get(URL)).text == OTHER_PROMETHEUS
    assert (await client.get(URL, params={"revision": 1})).text == PROMETHEUS
    assert (await client.get(URL, params={"revision": 9})).status_code == 404


async def test_a_parsed_file_is_json_with_an_etag_of_its_own(client: httpx.AsyncClient) -> None:
    answer = await client.get(URL, params={"view": "parsed"})

    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["global"] == {"scrape_interval": "15s"}
    assert answer.headers["etag"] != await etag_of(client)


async def test_an_update_needs_the_etag_of_what_it_replaces(client: httpx.AsyncClient) -> None:
    etag = await etag_of(client)

    missing = await client.put(URL, content=OTHER_PROMETHEUS)
    wrong = await client.put(URL, content=OTHER_PROMETHEUS, headers={"If-Match": '"1-0000"'})
    weak = await client.put(URL, content=OTHER_PROMETHEUS, headers={"If-Match": f"W/{etag}"})
    right = await client.put(URL, content=OTHER_PROMETHEUS, headers={"If-Match": etag}, params={"message": "slower"})

    by_bundle = await client.put(URL, content=PROMETHEUS, headers={"If-Match": right.json()["etag"]})

    assert [each.status_code for each in (missing, wrong, weak, right, by_bundle)] == [428, 412, 412, 200, 200]
    assert missing.json()["current_revision"] == 1
    assert (right.json()["author"], right.json()["message"], right.json()["revision"]) == ("ada", "slower", 2)
    assert by_bundle.headers["etag"] == await etag_of(client)


async def test_an_etag_of_the_past_does_not_come_back_with_its_content(
    client: httpx.AsyncClient, store: ConfigStore
) -> None:
    etag = await etag_of(client)
    await store.upload("prometheus", "production", OTHER_PROMETHEUS)
    await store.upload("prometheus", "production", PROMETHEUS)

    answer = await client.put(URL, content=OTHER_PROMETHEUS, headers={"If-Match": etag})

    assert answer.status_code == 412
    assert (await store.history("prometheus", "production"))[0].revision == 3


async def test_one_of_two_updates_with_the_same_etag_wins(client: httpx.AsyncClient, store: ConfigStore) -> None:
    etag = await etag_of(client)
    texts = [PROMETHEUS.replace("15s", f"{number}s") for number in range(20, 24)]

    answers = await asyncio.gather(*(client.put(URL, content=text, headers={"If-Match": etag}) for text in texts))

    assert sorted(each.status_code for each in answers) == [200, 412, 412, 412]
    assert (await store.history("prometheus", "production"))[0].revision == 2


async def test_two_conditions_at_once_are_refused(client: httpx.AsyncClient) -> None:
    both = {"If-Match": "*", "If-None-Match": "*"}

    settings = {"json": {"require_author": True}, "headers": both}

    assert (await client.put(URL, content=OTHER_PROMETHEUS, headers=both)).status_code == 422
    assert (await client.put("/api/environments/production/settings", **settings)).status_code == 422
    assert (await client.get(URL)).text == PROMETHEUS


@pytest.mark.parametrize("token", ["admin-token", "masked-token"])
async def test_a_change_reads_the_reference_document_once_before_its_commit(
    token: str, app: FastAPI, objects: CountedObjects
) -> None:
    current = "team-a/configs/production/current.json"
    files = {"prometheus.yml": PROMETHEUS}
    changes: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", URL, {"content": OTHER_PROMETHEUS}),
        ("PUT", RULES_URL, {"content": RULES}),
        ("DELETE", RULES_URL, {}),
        ("PUT", f"{TOOL}/bundle", {"json": {"files": files}}),
        ("DELETE", TOOL, {}),
    ]
    async with client_of(app, token) as client:
        for method, url, given in changes:
            objects.arrived.clear()
            answer = await client.request(method, url, headers={"If-Match": "*"}, **given)
            verbs = [verb for verb, key in objects.arrived if key == current]

            assert answer.is_success, answer.text
            # The refresh of the live copies reads it afterwards.
            assert verbs == ["read", "put", "read"], (method, url)


@pytest.mark.parametrize("change", ["put a file", "delete a file", "put a bundle", "remove"])
async def test_a_change_between_the_check_and_the_commit_is_not_overwritten(
    change: str, client: httpx.AsyncClient, store: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.put(RULES_URL, content=RULES, headers={"If-None-Match": "*"})
    headers = {"If-Match": (await client.get(TOOL)).headers["etag"]}
    files = {"prometheus.yml": PROMETHEUS}
    method, url, given = {
        "put a file": ("PUT", RULES_URL, {"content": RULES + "\n"}),
        "delete a file": ("DELETE", RULES_URL, {}),
        "put a bundle": ("PUT", f"{TOOL}/bundle", {"json": {"files": files}}),
        "remove": ("DELETE", TOOL, {}),
    }[change]
    upload, verb = ConfigStore.upload, "remove" if change == "remove" else "upload"
    original = getattr(ConfigStore, verb)

    async def overtaken(store: ConfigStore, *args: Any, **options: Any) -> Any:
        await upload(store, "prometheus", "production", OTHER_PROMETHEUS)
        return await original(store, *args, **options)

    monkeypatch.setattr(ConfigStore, verb, overtaken)
    answer = await client.request(method, url, headers=headers, **given)

    assert (answer.status_code, answer.json()["type"]) == (412, "urn:apm-s3:problem:revision-conflict")
    assert (await store.download("prometheus", "production")).text == OTHER_PROMETHEUS


async def test_a_new_file_of_a_bundle_needs_a_condition(client: httpx.AsyncClient) -> None:
    bundle = (await client.get(TOOL)).headers["etag"]

    missing = await client.put(RULES_URL, content=RULES)
    created = await client.put(RULES_URL, content=RULES, headers={"If-None-Match": "*"})
    again = await client.put(RULES_URL, content=RULES, headers={"If-None-Match": "*"})
    old_bundle = await client.put(f"{TOOL}/files/rules/b.yml", content=RULES, headers={"If-Match": bundle})
    listed = await client.put(RULES_URL, content=RULES, headers={"If-None-Match": '"x"'})

    statuses = [each.status_code for each in (missing, created, again, old_bundle, listed)]
    assert statuses == [428, 201, 412, 412, 422]
    assert created.headers["location"] == "?revision=2"
    assert httpx.URL(f"http://a/prefix{RULES_URL}").join(created.headers["location"]).path == f"/prefix{RULES_URL}"


async def test_the_first_file_of_a_configuration_needs_no_condition(client: httpx.AsyncClient) -> None:
    url = "/api/environments/new-one/tools/prometheus/files/prometheus.yml"

    assert (await client.put(url, content=PROMETHEUS, headers={"If-Match": "*"})).status_code == 412
    assert (await client.put(url, content=PROMETHEUS, params={"create": "true"})).status_code == 201
    assert (await client.get(url)).text == PROMETHEUS


async def test_a_removed_file_is_gone(client: httpx.AsyncClient) -> None:
    await client.put(RULES_URL, content=RULES, headers={"If-None-Match": "*"})

    assert (await client.delete(RULES_URL)).status_code == 428
    assert (await client.delete(RULES_URL, headers={"If-Match": await etag_of(client, RULES_URL)})).status_code == 200
    assert (await client.get(RULES_URL)).status_code == 404
    assert (await client.delete(RULES_URL, headers={"If-Match": "*"})).status_code == 404


async def test_a_repeated_write_returns_its_first_release(client: httpx.AsyncClient, store: ConfigStore) -> None:
    write_id = (await client.post("/api/environments/production/writes")).json()["write_id"]
    etag = await etag_of(client)

    async def put(content: str) -> httpx.Response:
        return await client.put(URL, content=content, headers={"If-Match": etag}, params={"write_id": write_id})

    first = await put(OTHER_PROMETHEUS)
    again = await put(OTHER_PROMETHEUS)
    fresh = (await client.post("/api/environments/production/writes")).json()["write_id"]
    late = await client.put(URL, content=PROMETHEUS, headers={"If-Match": etag}, params={"write_id": fresh})
    made_up = await client.put(URL, content=PROMETHEUS, headers={"If-Match": '"2-0000"'}, params={"write_id": fresh})
    outcome = await client.post(f"{TOOL}/writes/{write_id}/outcome")

    assert [each.status_code for each in (first, again, late, made_up)] == [200, 200, 412, 412]
    assert first.json() == again.json()
    assert outcome.json() == {"write_id": write_id, "outcome": "won"}
    assert (await client.post(f"/api/environments/staging/tools/loki/writes/{write_id}/outcome")).status_code == 404
    assert (await store.history("prometheus", "production"))[0].revision == 2


async def test_a_repeated_creation_returns_its_first_release(client: httpx.AsyncClient, store: ConfigStore) -> None:
    write_id = (await client.post("/api/environments/production/writes")).json()["write_id"]
    params = {"write_id": write_id}

    answers = [
        await client.put(RULES_URL, content=RULES, headers={"If-None-Match": "*"}, params=params) for _ in range(2)
    ]
    fresh = (await client.post("/api/environments/production/writes")).json()["write_id"]
    late = await client.put(RULES_URL, content=RULES + "\n", headers={"If-None-Match": "*"}, params={"write_id": fresh})

    assert [each.json()["revision"] for each in answers] == [2, 2]
    assert late.status_code == 412


# Masked reads ---------------------------------------------------------------------------------------------------------


async def test_a_body_without_the_permission_to_read_secrets_is_masked(app: FastAPI, client: httpx.AsyncClient) -> None:
    whole = await client.get(SECRET_URL)
    async with client_of(app, "reader-token") as reader:
        masked = await reader.get(SECRET_URL)
        parsed = await reader.get(SECRET_URL, params={"view": "parsed"})
        known = await reader.get(SECRET_URL, headers={"If-None-Match": masked.headers["etag"]})
        other = await reader.get(SECRET_URL, headers={"If-None-Match": whole.headers["etag"]})

    assert whole.text == ALERTMANAGER
    assert SECRET not in masked.text
    assert SECRET not in parsed.text
    assert "<secret>" in masked.text
    assert masked.headers["etag"] != whole.headers["etag"]
    assert masked.headers["cache-control"] == "private, no-cache"
    assert (known.status_code, other.status_code) == (304, 200)


async def test_no_answer_without_the_permission_tells_a_hash_of_the_secrets(app: FastAPI, store: ConfigStore) -> None:
    release = (await store.history("alertmanager", "production"))[0]
    sha256 = release.files["alertmanager.yml"].sha256
    tool = "/api/environments/production/tools/alertmanager"
    async with client_of(app, "reader-token") as reader:
        for url in (tool, f"{tool}/history", f"{tool}/diff", "/api/environments/production/tools", SECRET_URL):
            answer = await reader.get(url)
            assert answer.status_code == 200
            assert sha256 not in answer.text + str(answer.headers)
            assert release.digest not in answer.text + str(answer.headers)
            assert SECRET not in answer.text


async def test_no_answer_without_the_permission_tells_the_length_of_a_secret(
    app: FastAPI, client: httpx.AsyncClient, store: ConfigStore
) -> None:
    backup = (await store.backup(None, "production")).key
    tool = "/api/environments/production/tools/alertmanager"
    backups = ("/api/environments/production/backups", "/api/backups")
    async with client_of(app, "masked-token") as masked, client_of(app, "prometheus-token") as one_tool:
        for url in (tool, f"{tool}/history", "/api/environments/production/tools", *backups):
            whole, hidden = (await client.get(url)).text, (await masked.get(url)).text
            assert (url, f'"size":{len(ALERTMANAGER)}' in whole, '"size":null' in hidden) == (url, True, True)
            assert not re.search(r'"size":\d', hidden)
        verified = await masked.post(f"/api/environments/production/backups/{backup.rpartition('/')[2]}/verify")
        own = await one_tool.get("/api/environments/production/tools/prometheus")

    assert (verified.status_code, re.search(r'"size":\d', verified.text)) == (200, None)
    assert own.json()["files"][0]["size"] == len(PROMETHEUS)


async def test_the_size_of_a_backup_is_told_by_tools(store: ConfigStore) -> None:
    await store.backup(None, "production")
    granted = [Permission(Action.READ), Permission(Action.SECRETS, "production", "prometheus")]
    app = FastAPI()
    app.include_router(config_router(authorize=lambda: Principal.granted("x", *granted)))
    app.dependency_overrides[get_configs] = lambda: store
    async with client_of(app) as client:
        backup = (await client.get("/backups")).json()[0]

    assert {each["tool"]: each["size"] for each in backup["files"]} == {
        "alertmanager": None, "prometheus": len(PROMETHEUS),
    }  # fmt: skip
    assert backup["size"] is None


@pytest.mark.parametrize("guess", [SECRET, "wrong"])
async def test_who_may_not_read_a_secret_cannot_test_guesses(
    guess: str, app: FastAPI, store: ConfigStore, objects: CountedObjects
) -> None:
    write_id = (await store.history("alertmanager", "production"))[0].write_id
    text, headers = ALERTMANAGER.replace(SECRET, guess), {"If-None-Match": "*"}
    before = objects.requests
    async with client_of(app, "masked-token") as masked:
        answers = [
            await masked.put(SECRET_URL, content=text, headers=headers, params={"write_id": write_id}),
            await masked.put(SECRET_URL, content=text, headers={"If-Match": "*"}, params={"skip_unchanged": True}),
            await masked.put(
                "/api/environments/production/tools/alertmanager/bundle",
                json={"files": {"alertmanager.yml": text}, "write_id": write_id},
            ),
        ]

    assert [each.status_code for each in answers] == [403, 403, 403]
    assert objects.requests == before


async def test_a_put_that_is_committed_is_told_so_though_its_file_cannot_be_masked(
    app: FastAPI, store: ConfigStore
) -> None:
    url = f"{TOOL}/files/logo.bin"
    async with client_of(app, "masked-token") as masked:
        created = await masked.put(url, content=b"\xff\x00", headers={"If-None-Match": "*"})
        replaced = await masked.put(url, content=b"\xff\x01", headers={"If-Match": created.json()["etag"]})
        assert (await masked.get(url)).status_code == 403

    assert [(each.status_code, each.headers.get("etag")) for each in (created, replaced)] == [(201, None), (200, None)]
    assert (await store.download("prometheus", "production", name="logo.bin")).raw == b"\xff\x01"


async def test_a_masked_body_is_refused_as_input(app: FastAPI, store: ConfigStore) -> None:
    async with client_of(app, "masked-token") as masked:
        read = await masked.get(SECRET_URL)
        headers = {"If-Match": read.headers["etag"]}
        refused = await masked.put(SECRET_URL, content=read.text, headers=headers)
        changed = await masked.put(SECRET_URL, content=read.text.replace("ops", "oncall"), headers=headers)
        bundle = await masked.put(
            "/api/environments/production/tools/alertmanager/bundle",
            json={"files": {"alertmanager.yml": read.text}},
            headers={"If-Match": "*"},
        )
        # A body without masks is fine: this is how a secret is replaced by somebody who may not read it.
        replaced = await masked.put(SECRET_URL, content=ALERTMANAGER.replace(SECRET, "new-one"), headers=headers)

    assert [each.status_code for each in (refused, changed, bundle, replaced)] == [422, 422, 422, 200]
    assert refused.json()["type"] == "urn:apm-s3:problem:masked-content"
    assert "new-one" in (await store.download("alertmanager", "production")).text


async def test_a_file_that_is_not_text_is_not_shown_without_the_permission(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    url = f"{TOOL}/files/logo.bin"
    await client.put(url, content=b"\xff\x00\xfe", headers={"If-None-Match": "*"})
    async with client_of(app, "reader-token") as reader:
        refused = await reader.get(url)

    assert refused.status_code == 403
    assert (await client.get(url)).content == b"\xff\x00\xfe"


# Limits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [True, False], ids=["with a length", "in chunks"])
async def test_a_body_beyond_the_limit_is_refused_before_anything_is_stored(
    told: bool, client: httpx.AsyncClient, store: ConfigStore
) -> None:
    async def chunks():
        for _ in range(17):
            yield b"#" * 1024**2

    async def blanks():
        for _ in range(17):
            yield b" " * (64 * 1024)

    content = b"#" * (17 * 1024**2) if told else chunks()
    answer = await client.put(URL, content=content, headers={"If-Match": "*"})
    headers = {"Content-Type": "application/json"}
    documents = await client.post("/api/environments/production/freeze", content=blanks(), headers=headers)

    assert (answer.status_code, documents.status_code) == (413, 413)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await store.history("prometheus", "production"))[0].revision == 1


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Content-Encoding", "gzip", 415),
        ("Content-Encoding", "identity, BR", 415),
        ("Content-Range", "bytes 0-9/20", 400),
    ],
)
async def test_a_body_that_is_encoded_or_a_part_is_refused(
    header: str, value: str, status: int, client: httpx.AsyncClient, store: ConfigStore
) -> None:
    file = await client.put(URL, content=OTHER_PROMETHEUS, headers={"If-Match": "*", header: value})
    bundle = await client.put(
        f"{TOOL}/bundle", json={"files": {"prometheus.yml": OTHER_PROMETHEUS}}, headers={"If-Match": "*", header: value}
    )

    for each in (file, bundle):
        assert (each.status_code, each.headers["content-type"]) == (status, "application/problem+json")
        assert each.headers.get("accept-encoding") == ("identity" if status == 415 else None)
    assert (await store.history("prometheus", "production"))[0].revision == 1
    plain = {"If-Match": "*", "Content-Encoding": "identity"}
    assert (await client.put(URL, content=OTHER_PROMETHEUS, headers=plain)).status_code == 200


async def test_a_body_is_refused_by_its_length_alone_and_not_at_the_limit(client: httpx.AsyncClient) -> None:
    json = {"Content-Type": "application/json"}
    freeze, document = "/api/environments/production/freeze", b'{"reason": "x"}'

    for url, limit in ((URL, 16 * 1024**2), (f"{TOOL}/bundle", 8 * 1024**2)):
        told = {**json, "If-Match": "*", "Content-Length": str(limit + 1)}
        assert (await client.put(url, content=b"{}", headers=told)).status_code == 413
    assert (await client.post(freeze, content=document.ljust(1024**2 + 1), headers=json)).status_code == 413
    assert (await client.post(freeze, content=document.ljust(1024**2), headers=json)).status_code == 204


async def test_a_put_without_a_body_does_not_empty_the_file(client: httpx.AsyncClient) -> None:
    async def nothing():
        return
        yield b""

    missing = await client.put(URL, content=nothing(), headers={"If-Match": "*"})
    empty = await client.put(f"{TOOL}/files/empty.txt", content=b"", headers={"If-None-Match": "*"})

    assert (missing.status_code, empty.status_code) == (422, 201)
    assert (await client.get(URL)).text == PROMETHEUS
    assert (await client.get(f"{TOOL}/files/empty.txt")).content == b""


async def test_validation_stores_nothing(client: httpx.AsyncClient, objects: CountedObjects) -> None:
    good = await client.post(f"{TOOL}/validate", content=PROMETHEUS)
    bad = await client.post(f"{TOOL}/validate", content="global: {scrape_interval: 1 parsec}")
    rules = await client.post(f"{TOOL}/validate", content=RULES, params={"name": "rules.yml"})

    assert [each.json()["ok"] for each in (good, bad, rules)] == [True, False, True]
    assert bad.json()["issues"][0]["line"] == 1
    assert objects.requests == 0
