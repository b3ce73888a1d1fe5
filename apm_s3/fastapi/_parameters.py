"""Parameters that several routes share, with their examples."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError

from apm_s3._tools import TOOLS, Tool

EnvironmentPath = Annotated[
    str,
    Path(
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        max_length=63,
        description="An environment.",
        examples=["production"],
    ),
]
ToolPath = Annotated[Tool, Path(description="A tool.", examples=["prometheus"])]
NamePath = Annotated[
    str,
    Path(min_length=1, max_length=512, description="The name of a file, with slashes.", examples=["rules/api.yml"]),
]
RevisionQuery = Annotated[
    int | None, Query(ge=1, le=99_999_999, description="A revision; by default the current one.", examples=[3])
]
ToolsQuery = Annotated[
    list[Tool] | None, Query(alias="tool", description="Only these tools; repeatable.", examples=[["prometheus"]])
]
LimitQuery = Annotated[int, Query(ge=1, le=1_000, description="The maximum number of entries.")]
MessageQuery = Annotated[
    str, Query(max_length=10_000, description="Why the change is made.", examples=["lower the scrape interval"])
]
ForceQuery = Annotated[str | None, Query(max_length=1_000, description="The reason for storing despite errors.")]
CreateQuery = Annotated[
    bool, Query(description="Allow an environment that does not exist yet; needed if there are others.")
]
WriteIdQuery = Annotated[
    str | None, Query(max_length=100, description="From `POST .../writes`: makes repeating the request safe.")
]
WriteIdPath = Annotated[
    str,
    Path(max_length=100, description="The id of a write.", examples=["production.0123456789abcdef0123"]),
]


class FileQuery(BaseModel):
    """The query of a route that reads its parameters itself."""

    revision: int | None = Field(default=None, ge=1, le=99_999_999)
    view: Literal["raw", "parsed"] = "raw"


_NO_QUERY = FileQuery()


def read_query(request: Request) -> FileQuery:
    """Return the parameters in the query of a file.

    Raises:
        RequestValidationError: they are not valid.
    """
    if not request.scope["query_string"]:
        return _NO_QUERY
    try:
        return FileQuery.model_validate(dict(request.query_params))
    except ValidationError as exc:
        raise RequestValidationError([{**each, "loc": ("query", *each["loc"])} for each in exc.errors()]) from exc


def file_parameters(*, view: bool) -> list[dict[str, Any]]:
    """Return the OpenAPI description of the parameters of a file."""
    environment = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", "maxLength": 63}
    name = {"type": "string", "minLength": 1, "maxLength": 512}
    revision = {"type": "integer", "minimum": 1, "maximum": 99_999_999}
    views = {"type": "string", "enum": ["raw", "parsed"], "default": "raw"}
    found = [
        _parameter("path", "environment", environment, "An environment.", "production"),
        _parameter("path", "tool", {"type": "string", "enum": [*TOOLS]}, "A tool.", "prometheus"),
        _parameter("path", "name", name, "The name of a file, with slashes.", "rules/api.yml"),
        _parameter("query", "revision", revision, "A revision; by default the current one.", 3),
    ]
    return [*found, _parameter("query", "view", views, "The bytes as stored, or their data as JSON.", "raw")][
        : 4 + view
    ]


def _parameter(place: str, name: str, schema: dict[str, Any], description: str, example: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": schema,
        "description": description,
        "example": example,
    }


def raw_body(description: str) -> dict[str, Any]:
    """Return the OpenAPI description of a body of bytes."""
    schema = {"type": "string", "format": "binary"}
    content = {"application/octet-stream": {"schema": schema, "example": "global:\n  scrape_interval: 15s\n"}}
    return {"required": True, "description": description, "content": content}
