"""Who may write and deploy, but not read secrets, changes what surrounds a secret: it stays masked everywhere."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from apm_s3.configs import ConfigStore
from apm_s3.fastapi import Action, Principal, config_router, get_configs
from tests.configs.samples import GRAFANA
from tests.fastapi.applications import EVERYTHING, client_of

SECRET = "hunter2-Zq9'x"
PIN = "4711"
OVERLAY = ".apm/overlay.yml"
TARGET, SOURCE = "/environments/production", "/environments/staging"
TOOL = f"{TARGET}/tools/grafana"
PLAN = f"{TARGET}/deploys/plan"
WANTED: dict[str, Any] = {"params": {"source": "staging", "tool": "grafana"}, "json": {}}


def application(store: ConfigStore, *without: Action) -> FastAPI:
    granted = [each for each in EVERYTHING if each.action not in without]
    app = FastAPI()
    app.include_router(config_router(authorize=lambda: Principal.granted("mallory", *granted)))
    app.dependency_overrides[get_configs] = lambda: store
    return app


@pytest.fixture
async def mallory(store: ConfigStore) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(application(store, Action.SECRETS, Action.FETCH)) as client:
        yield client


QUOTED = SECRET.replace("'", "''")
ATTACKS = {
    "a second label": (
        f"params:\n  - name: api-key\n    value: '{QUOTED}'  # was {SECRET}\n",
        {"params": [{"name": "api-key", "key": "x", "field": "y", "value2": 1}]},
    ),
    "the label becomes another": (
        f"params:\n  - {{id: 1, key: api-key, value: '{QUOTED}'}}\n",
        {"params": [{"id": "1", "key": "harmless"}]},
    ),
    "the label is removed": (
        f'params:\n  a: {{key: api-key, value: "{SECRET}"}}\n', {"params": {"a": {"key": None, "new": [1]}}},
    ),
    "the alias is removed": (f"x: &p {SECRET}\npassword: *p\n", {"password": None}),
    "the anchor of a merge is removed": (
        f"x: &m {{url: '{QUOTED}'}}\nwebhook_configs: {{<<: *m}}\ny: *m\n", {"webhook_configs": None, "y": {"z": 1}},
    ),
    "a block scalar": (f"x: &p |-\n  {SECRET}\npassword: *p\ny: {{a: *p}}\n", {"password": None, "y": {"b": 1}}),
    "an escaped value": (f'x: &p "\\x68{SECRET[1:]}"\npassword: *p\ny: {{a: *p}}\n', {"password": None, "y": {"b": 1}}),
    "part of a text": (f"x: &p {SECRET}\npassword: *p\nnote: use {SECRET} here\n", {"password": None}),
    "encoded": (
        f"x: &p {SECRET}\npassword: *p\nnote: {base64.b64encode(SECRET.encode()).decode()}\n", {"password": None},
    ),
    "a variable in the value": (
        f"p:\n  - {{name: '${{A}}api-key', value: \"${{A}}{SECRET}${{B}}\"}}\n", {"p": [{"name": "${A}api-key", "key": "n"}]},
    ),
}  # fmt: skip


async def attacked(store: ConfigStore, mallory: httpx.AsyncClient, base: str, patch: Any) -> list[str]:
    """Return all that the attacker is shown."""
    files = {"grafana.ini": GRAFANA, "notes.yml": base}
    await store.upload("grafana", "staging", files=files)
    first = await store.deploy(await store.plan_deploy("staging", "production", tools=["grafana"]))
    overlay = json.dumps({"variables": {"A": "Zq", "B": "b"}, "files": {"notes.yml": patch}})
    put = await mallory.put(
        f"{TOOL}/files/{OVERLAY}",
        content=overlay,
        headers={"If-Match": f'"{first.releases[0].revision}-{first.releases[0].write_id}"'},
    )
    assert put.status_code == 201, put.text
    plan = await mallory.post(PLAN, **WANTED)
    body = {"hash": plan.json()["hash"], "allow_drift": True}
    done = await mallory.post(f"{TARGET}/deploys/{plan.json()['id']}", params=WANTED["params"], json=body)
    assert (plan.status_code, done.status_code) == (200, 200), (plan.text, done.text)
    shown = [plan, done, put]
    paths = [f"{TOOL}/{path}" for path in ("files/notes.yml", "diff", "history", "bundle?format=json")]
    more = [f"{TOOL}/files/notes.yml?view=parsed", TOOL, f"{TARGET}/log", f"{TARGET}/status"]
    shown += [await mallory.get(path) for path in (*paths, *more, f"{TOOL}/diff?to_environment=staging")]
    assert {each.status_code for each in shown[3:]} == {200}
    return [each.text for each in shown]


@pytest.mark.parametrize(("base", "patch"), ATTACKS.values(), ids=ATTACKS)
async def test_a_secret_of_a_base_stays_masked_whatever_an_overlay_changes(
    base: str, patch: Any, store: ConfigStore, mallory: httpx.AsyncClient
) -> None:
    shown = await attacked(store, mallory, base, patch)

    composed = (await store.download("grafana", "production", "notes.yml")).text
    assert "2-Zq9" in composed.replace("\\", "")
    encoded = base64.b64encode(SECRET.encode()).decode()
    for text in shown:
        assert "2-Zq9" not in text
        assert encoded not in text
        assert "apm/bases" not in text
        assert "apm/results" not in text


@pytest.mark.parametrize("attack", [name for name in ATTACKS if name not in ("part of a text", "encoded")])
async def test_a_short_secret_is_followed_through_an_overlay_with_all_guesses(
    attack: str, store: ConfigStore, mallory: httpx.AsyncClient
) -> None:
    base, patch = (json.loads(json.dumps(each).replace(QUOTED, PIN).replace(SECRET, PIN)) for each in ATTACKS[attack])
    guesses = [str(number) for number in range(4700, 4720)]
    patch = {**patch, "guesses": guesses, "more": {"text": " ".join(guesses)}}

    shown = await attacked(store, mallory, base.replace(f"\\x68{SECRET[1:]}", PIN), patch)

    composed = (await store.download("grafana", "production", "notes.yml")).text
    assert composed.count(PIN) >= 3
    for text in shown:
        # Ids and ages have any digits.
        told = re.sub(r"[\w-]{20,}|\d+\.\d+", "", text)
        # All guesses are shown, or none: otherwise the difference would tell the secret.
        assert told.count(PIN) == told.count("4712")


GUESSES = [f"{number:04}" for number in range(40, 60)]
LISTED = "x: {ids: [{a: 1}, {token: '0047'}]}\npassword: '0047'\n"


async def test_a_diff_with_all_possible_passwords_does_not_tell_which_one_is_stored(
    store: ConfigStore, mallory: httpx.AsyncClient
) -> None:
    first = await store.upload("grafana", "production", files={"grafana.ini": GRAFANA, "notes.yml": LISTED})
    listed = ", ".join(f"{{token: '{guess}'}}" for guess in GUESSES)
    lines = "".join(f"password: '{guess}'\n" for guess in GUESSES)
    guesses = f"x: {{ids: [{{a: 1}}, {listed}]}}\n"
    shown = []
    for content in (guesses, f"x: {{ids: [{{a: 1}}]}}\n{lines}"):
        await store.upload("grafana", "production", content, name="notes.yml", force="a test")
        answer = await mallory.get(f"{TOOL}/diff", params={"old": first.revision})
        [shown_file] = answer.json()["files"]
        shown.append(shown_file)

    [structural, textual] = shown
    added = [change["path"] for change in structural["changes"] if change["kind"] == "added"]
    # Which one it is aligned with does not depend on the secret.
    assert added == [f"x.ids[{index}]" for index in range(2, 1 + len(GUESSES))]
    kept = [line for line in textual["text"].splitlines() if line.startswith(" ")]
    assert not kept
    assert "00" not in str(structural["changes"]) + textual["text"].partition("@@")[2]


async def test_no_answer_confirms_a_guess_of_what_is_deployed(store: ConfigStore, mallory: httpx.AsyncClient) -> None:
    files = {"grafana.ini": GRAFANA, "notes.yml": "password: '0047'\n"}
    await store.upload("grafana", "staging", files=files)
    await store.deploy(await store.plan_deploy("staging", "production", tools=["grafana"]))
    told = []
    for guess in ("0046", "0047"):
        made = await store.upload("grafana", "production", f"password: '{guess}'\n", name="notes.yml")
        assert made.drifted == (guess != "0047")
        put = await mallory.put(
            f"{TOOL}/files/other.yml", content="a: 1\n", headers={"If-Match": f'"{made.revision}-{made.write_id}"'}
        )
        gone = await mallory.delete(f"{TOOL}/files/other.yml", headers={"If-Match": put.headers["ETag"]})
        plan = await mallory.post(PLAN, **WANTED)
        status = await mallory.get(f"{TARGET}/status")
        current = await mallory.get(TOOL)
        body = {"hash": plan.json()["hash"], "allow_drift": False}
        deploy = await mallory.post(f"{TARGET}/deploys/{plan.json()['id']}", params=WANTED["params"], json=body)
        drifted = [each.json()["drifted"] for each in (put, gone, current)]
        drifted += [each["drifted"] for each in status.json() if each["tool"] == "grafana"]
        [planned] = plan.json()["tools"]
        told.append((drifted, planned["drifted"], planned["blocked"]))
        if guess != "0047":
            assert deploy.status_code == 409
            assert "changed by hand" in deploy.json()["detail"]

    assert told[0] == told[1] == ([None] * 4, True, ["the target was changed by hand since its last deploy"])


async def test_the_hash_of_a_plan_depends_on_no_content_for_those_who_may_not_read_it(
    store: ConfigStore, mallory: httpx.AsyncClient
) -> None:
    await store.upload("grafana", "staging", files={"grafana.ini": GRAFANA, "notes.yml": "password: '0047'\n"})
    plan = await store.plan_deploy("staging", "production", tools=["grafana"])
    shown = (await mallory.post(PLAN, **WANTED)).json()["hash"]
    async with client_of(application(store)) as admin:
        assert (await admin.post(PLAN, **WANTED)).json()["hash"] == plan.hash != shown
        params = WANTED["params"]

        guessed = await mallory.post(f"{TARGET}/deploys/{plan.hash[:16]}", params=params, json={"hash": plan.hash})
        deployed = await admin.post(f"{TARGET}/deploys/{shown[:16]}", params=params, json={"hash": shown})

    log = await mallory.get(f"{TARGET}/log")
    history = await mallory.get(f"{TOOL}/history")
    assert (guessed.status_code, deployed.status_code) == (409, 200)
    assert plan.hash not in log.text + history.text
    assert {each["hash"] for each in log.json()} == {each["previous"] for each in log.json()} == {None}


@pytest.mark.parametrize("name", ["notes.yml", "grafana.ini"])
async def test_what_tells_the_secrets_of_a_composed_file_cannot_be_taken_away(
    name: str, store: ConfigStore, mallory: httpx.AsyncClient
) -> None:
    await attacked(store, mallory, *ATTACKS["the alias is removed"])
    release = (await store.history("grafana", "production", limit=1))[0]
    internal = [each for each in release.files if each.startswith(".apm/") and each != OVERLAY]
    assert internal == [".apm/bases/notes.yml", ".apm/results.json"]

    for each in internal:
        condition = {"If-Match": f'"{release.revision}-{release.write_id}"'}
        gone = await mallory.delete(f"{TOOL}/files/{each}", headers=condition)
        put = await mallory.put(f"{TOOL}/files/{each}", content="{}", headers=condition)
        read = await mallory.get(f"{TOOL}/files/{each}")
        assert (gone.status_code, put.status_code, read.status_code) == (422, 422, 404)
    tag = f'"{release.revision}-{release.write_id}"'
    put = await mallory.put(f"{TOOL}/files/grafana.ini", content="[a]\n", headers={"If-Match": tag})
    read = await mallory.get(f"{TOOL}/files/{name}")
    again = await mallory.put(f"{TOOL}/files/{name}", content="b: 1\n", headers={"If-Match": read.headers["ETag"]})
    assert (put.status_code, again.status_code) == (200, 200)
    assert "2-Zq9" not in read.text
    assert again.headers["ETag"] == (await mallory.get(f"{TOOL}/files/{name}")).headers["ETag"]


async def test_a_report_quotes_no_secret_that_an_overlay_made_look_harmless(
    store: ConfigStore, mallory: httpx.AsyncClient
) -> None:
    base = """\
global: {scrape_interval: &a "47 parsecs"}
scrape_configs:
  - job_name: x
    basic_auth: {username: u, password: *a}
"""
    await store.upload("prometheus", "staging", base, force="a test")
    await store.upload("prometheus", "production", "{}\n", force="a test")
    jobs = [{"job_name": "x", "basic_auth": None}]
    jobs += [{"job_name": f"g{number}", "scrape_interval": f"{number} parsecs"} for number in range(45, 50)]
    overlay = json.dumps({"files": {"prometheus.yml": {"scrape_configs": jobs}}})
    await store.upload("prometheus", "production", overlay, name=OVERLAY, force="a test")

    plan = await mallory.post(PLAN, params={"source": "staging", "tool": "prometheus"}, json={})

    assert plan.json()["tools"][0]["report"]["issues"][0]["message"].startswith("invalid duration: '<secret>'")
    assert plan.text.count("47 parsecs") == plan.text.count("48 parsecs") > 0


@pytest.mark.parametrize(
    "base",
    [
        f"scrape_configs:\n  - job_name: x\n    basic_auth: {{username: u, password: '{PIN}'}}\n",
        f"{{scrape_configs: [{{job_name: x, basic_auth: {{username: u, password: '{PIN}'}}}}]}}\n",
        json.dumps({"scrape_configs": [{"job_name": "x", "basic_auth": {"username": "u", "password": PIN}}]}),
    ],
    ids=["block", "on one line", "JSON"],
)
async def test_a_report_does_not_tell_which_of_many_guesses_is_a_secret(
    base: str, store: ConfigStore, mallory: httpx.AsyncClient
) -> None:
    """A secret is masked on its own line only, and what an overlay adds never gets there."""
    await store.upload("prometheus", "staging", base, force="a test")
    await store.upload("prometheus", "production", "{}\n", force="a test")
    guesses = [f"{int(PIN) + offset} parsecs" for offset in (-1, 0, 1)]
    jobs = [{"job_name": each, "scrape_interval": each} for each in guesses]
    overlay = json.dumps({"files": {"prometheus.yml": {"scrape_configs": jobs}}})
    await store.upload("prometheus", "production", overlay, name=OVERLAY, force="a test")

    plan = await mallory.post(PLAN, params={"source": "staging", "tool": "prometheus"}, json={})

    told = [each["message"] for each in plan.json()["tools"][0]["report"]["issues"][: len(guesses)]]
    assert [guess in message for guess, message in zip(guesses, told, strict=True)] == [True] * len(guesses)


async def test_variables_of_a_plan_are_no_guesses_that_leave_no_trace(
    store: ConfigStore, mallory: httpx.AsyncClient
) -> None:
    """Whoever wrote `password: ${G}` to an overlay would see by `changes` of a plan whether G is what is stored."""
    overlay = "variables: {G: null}\nfiles: {notes.yml: {password: '${G}'}}\n"
    await store.upload("grafana", "staging", files={"grafana.ini": GRAFANA, "notes.yml": f"password: '{PIN}'\n"})
    await store.deploy(await store.plan_deploy("staging", "production", tools=["grafana"]))
    await store.upload("grafana", "production", overlay, name=OVERLAY)

    answers = [await mallory.post(PLAN, **{**WANTED, "json": {"variables": {"G": each}}}) for each in (PIN, "4712")]

    assert [each.status_code for each in answers] == [403, 403]
    assert "secrets grafana in production" in answers[0].json()["detail"]
