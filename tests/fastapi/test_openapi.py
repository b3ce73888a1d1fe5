"""The OpenAPI document: complete, with examples and every problem."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from jsonschema import Draft202012Validator, FormatChecker

from apm_s3.configs import ConfigStore
from apm_s3.fastapi import config_router, feed_router
from tests.fastapi.applications import authorize, client_of, serving, shared_app
from tests.fastapi.routes import GUARDED
from tests.seams.http import Endpoint

ROUTES = pytest.mark.parametrize(("prefix", "endpoint"), GUARDED, ids=lambda each: getattr(each, "name", ""))


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operation_of(document: dict[str, Any], prefix: str, endpoint: Endpoint) -> dict[str, Any]:
    """The description of a route."""
    path = prefix + endpoint.path.replace(":path}", "}")
    return document["paths"][path][endpoint.method.lower()]


@ROUTES
def test_a_route_is_described_with_its_problems(prefix: str, endpoint: Endpoint, document: dict[str, Any]) -> None:
    operation = operation_of(document, prefix, endpoint)
    responses = operation["responses"]

    assert operation["operationId"] == endpoint.name
    assert operation["summary"]
    assert operation["description"]
    assert operation["security"] == [{"HTTPBearer": []}]
    assert {int(status) for status in responses} >= {*endpoint.errors, 401, 403, 422, 500, 501, 502, 503, 504}
    for status, response in responses.items():
        assert response["description"]
        if int(status) >= 400:
            assert [*response["content"]] == ["application/problem+json"]


@ROUTES
def test_a_route_that_reads_a_body_describes_it_and_its_limit(
    prefix: str, endpoint: Endpoint, document: dict[str, Any]
) -> None:
    operation = operation_of(document, prefix, endpoint)

    assert ("requestBody" in operation) == (endpoint.limit > 0) == (413 in endpoint.errors)
    assert (409 in endpoint.errors) or "404" in operation["responses"] or endpoint.method != "PUT"


@ROUTES
def test_a_success_has_an_example_that_fits_its_schema(
    prefix: str, endpoint: Endpoint, document: dict[str, Any]
) -> None:
    responses = operation_of(document, prefix, endpoint)["responses"]
    contents = [response.get("content", {}) for status, response in responses.items() if int(status) < 300]
    described = [content["application/json"] for content in contents if content.get("application/json")]

    # A file may hold any JSON.
    is_file = endpoint.call.__name__ in {"get_file", "fetch_file"}
    assert described or is_file or "application/json" not in contents[0]
    for each in described:
        example = jsonable_encoder(endpoint.example) or each["example"]
        # FastAPI drops them from its documents.
        assert each["example"] == without_nulls(example)
        schema = {**each["schema"], "components": document["components"]}
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(example)


def without_nulls(value: Any) -> Any:
    """The value without members that are null."""
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


def test_a_problem_is_described_once(document: dict[str, Any]) -> None:
    responses = [
        response
        for operations in document["paths"].values()
        for operation in operations.values()
        for status, response in operation["responses"].items()
        if int(status) >= 400
    ]
    schemas = [response["content"]["application/problem+json"].pop("schema") for response in responses]

    assert schemas == [{"$ref": "#/components/schemas/ProblemModel"}] * len(responses)
    assert document["components"]["schemas"]["ProblemModel"]["required"] == ["type", "title", "status", "detail"]
    assert all(response["content"]["application/problem+json"]["example"]["status"] >= 400 for response in responses)


def test_every_parameter_has_an_example_or_a_choice(document: dict[str, Any]) -> None:
    without = [
        (path, parameter["name"])
        for path, operations in document["paths"].items()
        for operation in operations.values()
        for parameter in operation.get("parameters", [])
        if not parameter.get("description") and "examples" not in json.dumps(parameter)
    ]
    assert without == []


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    names = [each["operationId"] for operations in document["paths"].values() for each in operations.values()]

    assert len(set(names)) == len(names)


def test_two_routers_with_their_own_tags_share_an_application(recwarn: pytest.WarningsRecorder) -> None:
    app = FastAPI()
    app.include_router(config_router(authorize=authorize), prefix="/v1")
    app.include_router(config_router(authorize=authorize, tag="for admins"), prefix="/admin")
    app.include_router(feed_router(authorize=authorize, tag="for admins"), prefix="/feed")
    paths = app.openapi()["paths"]
    names = [each["operationId"] for operations in paths.values() for each in operations.values()]

    assert len(set(names)) == len(names)
    assert {"apm_s3_get_file", "for_admins_get_file", "for_admins_fetch_file"} <= set(names)
    assert not [each for each in recwarn if "Operation ID" in str(each.message)]


async def test_the_api_works_behind_a_prefix(store: ConfigStore) -> None:
    with serving(store) as inner:
        outer = FastAPI()
        outer.mount("/behind/a/proxy", inner)
        async with client_of(outer) as client:
            url = "/behind/a/proxy/api/environments/production/tools/prometheus"
            release = await client.get(url)
            made = await client.put(f"{url}/files/rules.yml", content="groups: []\n", headers={"If-None-Match": "*"})
            found = await client.get(made.url.join(made.headers["location"]))

    assert (release.status_code, made.status_code, found.status_code) == (200, 201, 200)
    assert httpx.URL(made.headers["location"]).is_relative_url


def test_the_document_is_json() -> None:
    assert json.loads(json.dumps(shared_app().openapi()))["openapi"].startswith("3.1")
