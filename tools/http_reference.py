"""Writes the reference of the HTTP API from its OpenAPI document: `python -m tools.http_reference`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer

from apm_s3.fastapi import Principal, config_router, feed_router, health_router, metrics_router

MARK = "<!-- docs/conf.py puts the description of every route here -->"
"""The place for the reference in docs/http-api.md."""

Schema = dict[str, Any]


def document() -> Schema:
    """Return the OpenAPI document of an application with all routers."""

    def authorize(_token: Annotated[object, Depends(HTTPBearer())]) -> Principal:
        raise NotImplementedError

    app = FastAPI()
    app.include_router(config_router(authorize=authorize))
    app.include_router(feed_router(authorize=authorize))
    app.include_router(health_router())
    app.include_router(metrics_router())
    return app.openapi()


def reference() -> str:
    """Return a section for each route, by router, and one for each document."""
    described = document()
    sections: dict[str, list[str]] = {}
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            lines = _route(f"{method.upper()} {path}", operation)
            sections.setdefault(operation["tags"][0], []).append("\n".join(lines))
    routes = "\n".join(f"## Routes: {tag}\n\n" + "\n".join(texts) for tag, texts in sections.items())
    schemas = described["components"]["schemas"]
    models = "\n".join(f"### {name}\n\n" + "\n".join(_fields(schemas[name])) for name in sorted(schemas))
    return f"{routes}\n## Documents\n\n{models}"


def _route(heading: str, operation: Schema) -> Iterator[str]:
    yield f"### {heading}\n"
    yield f"{operation['description']}\n"
    parameters = operation.get("parameters", [])
    if parameters:
        yield "| parameter | in | type | |\n|---|---|---|---|"
        for each in parameters:
            required = ", required" if each["required"] else ""
            place, kind = each["in"] + required, _type(each["schema"])
            yield f"| `{each['name']}` | {place} | {kind} | {each.get('description', '')} |"
        yield ""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body: `{media_type}`.\n"
        if "properties" in content["schema"]:
            yield from _fields(content["schema"])
    problems, has_example = [], False
    for status, response in operation["responses"].items():
        if int(status) >= 400:
            problems.append(status)
            continue
        contents = response.get("content", {})
        kinds = ", ".join(f"`{media_type}`{_named(content)}" for media_type, content in contents.items())
        yield f"{status}: {response['description']} {kinds}".rstrip() + "\n"
        examples = [content["example"] for content in contents.values() if "example" in content]
        if examples and not has_example:
            has_example = True
            yield _block(examples[0])
    if problems:
        yield f"Problems: {', '.join(problems)}.\n"


def _named(content: Schema) -> str:
    kind = _type(content.get("schema", {}))
    return f": {kind}" if "[" in kind else ""


def _block(example: Any) -> str:
    if isinstance(example, str):
        return f"```text\n{example.rstrip()}\n```\n"
    return f"```json\n{json.dumps(example, indent=2)}\n```\n"


def _fields(schema: Schema) -> Iterator[str]:
    if "description" in schema:
        yield f"{schema['description']}\n"
    yield "| field | type | |\n|---|---|---|"
    for name, each in schema["properties"].items():
        kind = _type(each) + (", required" if name in schema.get("required", ()) else "")
        yield f"| `{name}` | {kind} | {each.get('description', '')} |"
    yield ""


def _type(schema: Schema) -> str:
    match schema:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            return f"[{name}](#{name.lower()})"
        case {"anyOf": list(kinds)}:
            return " or ".join(_type(each) for each in kinds)
        case {"enum": list(values)}:
            return " or ".join(f"`{each}`" for each in values)
        case {"const": value}:
            return f"`{value}`"
        case {"type": "array", "items": dict(items)}:
            return f"list of {_type(items)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"object of {_type(values)}"
        case {"type": str(kind)}:
            return kind
    return "any"


if __name__ == "__main__":
    sys.stdout.write(reference())
