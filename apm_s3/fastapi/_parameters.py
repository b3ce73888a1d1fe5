"""Parameters that several routes share, with their examples."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query

from apm_s3._tools import Tool

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
WriteIdQuery = Annotated[
    str | None, Query(max_length=100, description="From `POST .../writes`: makes repeating the request safe.")
]
WriteIdPath = Annotated[
    str,
    Path(max_length=100, description="The id of a write.", examples=["production.0123456789abcdef0123"]),
]


def raw_body(description: str) -> dict[str, Any]:
    """Return the OpenAPI description of a body of bytes."""
    content = {
        media_type: {"schema": {"type": "string"}, "example": "global:\n  scrape_interval: 15s\n"}
        for media_type in ("application/yaml", "application/octet-stream")
    }
    return {"required": True, "description": description, "content": content}
