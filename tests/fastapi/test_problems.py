"""Errors as problem documents: every public error has a status, and nothing of S3 leaks."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from apm_s3 import errors
from apm_s3.configs import ConfigStore
from apm_s3.errors import (
    AccessDenied,
    ApmS3Error,
    CommitUnknown,
    ConnectFailed,
    InvalidCredentials,
    StoreDamaged,
    Throttled,
)
from tests.fastapi.applications import CountedObjects, client_of
from tests.seams.http import STATUSES, problem_name, problem_of_error, status_of

PUBLIC = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, ApmS3Error)]
URL = "/api/environments/production/tools/prometheus/files/prometheus.yml"


def test_the_table_has_public_errors_whose_status_is_not_that_of_their_base() -> None:
    assert STATUSES.keys() <= set(PUBLIC)
    repeated = [kind for kind in STATUSES if kind is not ApmS3Error and STATUSES[kind] == status_of(kind.__mro__[1])]
    assert repeated == []
    assert {each.__name__ for each in PUBLIC} <= {*errors.__all__}


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda each: each.__name__)
def test_a_refusal_of_s3_never_looks_like_one_of_the_client(kind: type[ApmS3Error]) -> None:
    if issubclass(kind, (errors.S3Error, errors.TransportError)):
        assert status_of(kind) in {502, 503, 504}
    assert status_of(kind) not in {401, 403}


def test_an_error_of_a_program_has_the_status_of_its_base() -> None:
    class Busy(Throttled):
        """A program's own."""

    assert status_of(Busy) == 503


def test_names_of_problems_are_words_with_hyphens() -> None:
    names = [problem_name(each) for each in PUBLIC]

    assert len(set(names)) == len(names)
    assert problem_name(errors.RevisionConflict) == "revision-conflict"
    assert problem_name(errors.S3Error) == "s3-error"


LEAKY: dict[str, Any] = {"operation": "read_file", "bucket": "acme-secret-bucket", "key": "team-a/configs/x"}
REFUSALS = [
    AccessDenied("AKIAIOSFODNN7EXAMPLE is not allowed to read acme-secret-bucket", status=403, **LEAKY),
    InvalidCredentials("the key AKIAIOSFODNN7EXAMPLE is not known", status=403, request_id="4442587FB7D0A2F9", **LEAKY),
    ConnectFailed("cannot connect to http://s3.internal:9000", endpoint="http://s3.internal:9000", **LEAKY),
    Throttled("slow down, acme-secret-bucket", status=503, retry_after=2.2, **LEAKY),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda each: type(each).__name__)
async def test_a_refusal_of_s3_tells_no_names(
    error: ApmS3Error, client: httpx.AsyncClient, objects: CountedObjects
) -> None:
    objects.will_fail("read", error, times=None)

    answer = await client.get(URL)

    assert (answer.status_code, answer.headers["content-type"]) == (status_of(type(error)), "application/problem+json")
    assert answer.json().keys() >= {"type", "title", "status", "detail", "code"}
    for secret in ("acme", "team-a", "AKIA", "s3.internal", "9000", "4442587FB7D0A2F9"):
        assert secret not in answer.text


async def test_operators_find_in_the_log_what_clients_are_not_told(
    client: httpx.AsyncClient, objects: CountedObjects, caplog: pytest.LogCaptureFixture
) -> None:
    objects.will_fail("read", REFUSALS[0])
    with caplog.at_level(logging.WARNING, "apm_s3.fastapi"):
        await client.get(URL)
        await client.get(URL.replace("prometheus.yml", "absent.yml"))

    logged = [record.getMessage() for record in caplog.records if record.name == "apm_s3.fastapi"]
    assert len(logged) == 1
    assert logged[0].startswith(f"GET '{URL}': AccessDenied: read_file: ")


async def test_a_throttled_answer_says_when_to_come_back(client: httpx.AsyncClient, objects: CountedObjects) -> None:
    objects.will_fail("read", REFUSALS[3], times=None)

    answer = await client.get(URL)

    assert (answer.status_code, answer.headers["retry-after"], answer.json()["retryable"]) == (503, "3", True)


def test_a_message_that_names_the_bucket_is_not_shown() -> None:
    error = errors.DeployRefused("no", reasons=("bucket acme-secret-bucket is frozen", "1 error"))

    document = bytes(problem_of_error(error, ["acme-secret-bucket"]).body).decode()

    assert '"reasons":["(not shown)","1 error"]' in document
    assert "acme" not in document


def test_a_damaged_store_tells_no_keys() -> None:
    body = bytes(problem_of_error(StoreDamaged("'team-a/configs/production/current.json' is gone")).body).decode()

    assert "current.json" not in body
    assert '"status":500' in body


def test_a_write_with_an_unknown_outcome_names_its_id() -> None:
    body = bytes(problem_of_error(CommitUnknown("who knows", write_id="production.00")).body).decode()

    assert '"write_id":"production.00"' in body
    assert '"status":504' in body


async def test_problems_of_a_configuration_have_paths_and_lines(client: httpx.AsyncClient) -> None:
    answer = await client.put(URL, content="global:\n  scrape_interval: 5 parsecs\n", headers={"If-Match": "*"})

    assert answer.status_code == 422
    issue = answer.json()["issues"][0]
    assert (issue["path"], issue["line"], issue["severity"]) == ("global.scrape_interval", 2, "error")
    assert answer.json()["type"] == "urn:apm-s3:problem:config-invalid"


@pytest.mark.parametrize(
    ("arguments", "where", "path"),
    [
        ({"params": {"revision": "none"}}, "query", "revision"),
        ({"params": {"view": "upside-down"}}, "query", "view"),
    ],
)
async def test_problems_of_a_request_say_where_and_repeat_no_value(
    arguments: dict[str, Any], where: str, path: str, client: httpx.AsyncClient
) -> None:
    answer = await client.get(URL, **arguments)

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    issue = answer.json()["issues"][0]
    assert (issue["in"], issue["path"]) == (where, path)
    assert "upside-down" not in str(issue.get("input", ""))


async def test_a_body_that_is_no_json_is_a_problem_with_its_offset(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/api/environments/production/freeze", content=b'{"reason": }', headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 422
    assert answer.json()["issues"][0]["offset"] == 11


@pytest.mark.parametrize(
    ("content", "status"), [(b'"\xff"', 400), (b'{"reason": "x", "colour": "red"}', 422), (b'{"reason": 1}', 422)]
)
async def test_a_body_that_does_not_fit_is_a_problem(content: bytes, status: int, client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/api/environments/production/freeze", content=content, headers=headers)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_an_answer_is_not_much_longer_than_its_request(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/environments/production/freeze", json={f"unknown-{n}": n for n in range(5_000)})

    assert (answer.status_code, len(answer.json()["issues"])) == (422, 100)


async def test_an_application_without_a_lifespan_says_what_is_missing(app: FastAPI, client: httpx.AsyncClient) -> None:
    app.dependency_overrides.clear()

    answer = await client.get(URL)

    assert (answer.status_code, answer.json()["code"]) == (500, "USAGE")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_bundle_that_is_not_there_is_not_found(method: str, client: httpx.AsyncClient) -> None:
    url = "/api/environments/production/tools/jaeger" + ("" if method == "GET" else "/rollback")
    answer = await client.request(method, url, **({} if method == "GET" else {"json": {"to_revision": 1}}))

    assert (answer.status_code, answer.json()["type"]) == (404, "urn:apm-s3:problem:config-not-found")


async def test_a_frozen_environment_is_locked(client: httpx.AsyncClient, store: ConfigStore) -> None:
    await store.freeze("production", "holidays")

    answer = await client.put(URL, content=b"global: {}\n", headers={"If-Match": "*"})

    assert (answer.status_code, answer.json()["type"]) == (423, "urn:apm-s3:problem:environment-frozen")


async def test_answers_to_other_tokens_are_not_kept_by_caches(app: FastAPI) -> None:
    async with client_of(app, None) as client:
        answer = await client.get(URL)

    assert (answer.headers["cache-control"], answer.headers["vary"]) == ("no-store", "Authorization")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PATCH", "POST"])
async def test_another_method_is_a_problem_that_names_those_of_the_path(method: str, client: httpx.AsyncClient) -> None:
    answer = await client.request(method, URL)

    assert (answer.status_code, answer.headers["content-type"]) == (405, "application/problem+json")
    assert answer.headers["allow"] == "GET, PUT, DELETE"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_document_of_another_type_is_refused(kind: str, client: httpx.AsyncClient) -> None:
    # A browser sends these to other origins without asking them first.
    answer = await client.post(
        "/api/environments/production/freeze", content=b'{"reason": "x"}', headers={"Content-Type": kind}
    )

    assert (answer.status_code, answer.json()["issues"][0]["rule"]) == (422, "content_type")


@pytest.mark.parametrize("path", ["nowhere/tools", "nowhere/watch", "nowhere/status"])
async def test_an_unknown_environment_is_explained_without_the_bucket(path: str, client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/api/environments/{path}")

    assert answer.status_code == 404
    assert "does not exist" in answer.json()["detail"] or "no environment" in answer.json()["detail"]
    assert "acme-secret-bucket" not in answer.text
