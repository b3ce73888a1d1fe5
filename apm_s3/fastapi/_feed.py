"""`feed_router`: configurations for the tools that use them, and for sidecars, with a token of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from apm_s3.configs import Bundle
from apm_s3.configs._content.overlays import is_reserved
from apm_s3.errors import ConfigInvalid, ConfigNotFound
from apm_s3.fastapi._authorisation import Action, HttpCall
from apm_s3.fastapi._files import ARCHIVE, FILE_CONTENT, archive_response, file_headers, media_type_of
from apm_s3.fastapi._masking import parsed
from apm_s3.fastapi._models import EXAMPLES, bundle_etag
from apm_s3.fastapi._parameters import (
    EnvironmentPath,
    NamePath,
    RevisionQuery,
    ToolPath,
    file_etag,
    revision_header,
    tagged,
)
from apm_s3.fastapi._problems import ProblemError
from apm_s3.fastapi._routes import DEADLINE, Endpoint, check_authorize, make_router, own_response
from apm_s3.validators._validation.offload import run_quick

TAG = "feed"

_TOOL = "/{environment}/{tool}"
_TARGETS = "t"
"""In the ETag of service discovery."""


class IndexFileModel(BaseModel):
    """One file, with its size in bytes."""

    name: str
    size: int
    sha256: str


class IndexModel(BaseModel):
    """The files of one revision. Paths are relative to the index."""

    revision: int
    files: list[IndexFileModel]


async def get_index(
    response: Response, call: HttpCall, environment: EnvironmentPath, tool: ToolPath,
    revision: RevisionQuery = None,
) -> IndexModel:  # fmt: skip
    """List the files of a revision, for sidecars: get each with the same `revision`, to have all of one moment."""
    bundle = await call.configs.download_bundle(tool, environment, revision=revision)
    release = bundle.release
    response.headers.update(tagged(call.known, bundle_etag(release, ".index"), revision_header(release)))
    files = [
        IndexFileModel(name=name, size=entry.size, sha256=entry.sha256)
        for name, entry in release.files.items()
        if not is_reserved(name)
    ]
    return IndexModel(revision=release.revision, files=files)


async def fetch_file(
    call: HttpCall, environment: EnvironmentPath, tool: ToolPath, name: NamePath,
    revision: RevisionQuery = None,
) -> Response:  # fmt: skip
    """Return one file, byte for byte."""
    _refuse_reserved(name)
    file = await call.configs.download(tool, environment, name, revision=revision)
    headers = tagged(call.known, file_etag(file), file_headers(file))
    return Response(file.raw, 200, headers, media_type_of(file.name))


async def fetch_bundle(
    call: HttpCall, environment: EnvironmentPath, tool: ToolPath, revision: RevisionQuery = None,
) -> Response:  # fmt: skip
    """Return a tar archive of all files of one revision."""
    bundle = await call.configs.download_bundle(tool, environment, revision=revision)
    headers = tagged(call.known, bundle_etag(bundle.release, ".feed.tar"), revision_header(bundle.release))
    return await archive_response(bundle, _read_by_tool(bundle), "tar", headers)


async def http_sd(call: HttpCall, environment: EnvironmentPath, tool: ToolPath, name: NamePath) -> Response:
    """Return the target groups in a file of the bundle, for Prometheus's `http_sd_configs`.

    https://prometheus.io/docs/prometheus/latest/http_sd/. The file has the format of `file_sd_configs`.
    """
    _refuse_reserved(name)
    file = await call.configs.download(tool, environment, name)
    headers = tagged(call.known, file_etag(file, _TARGETS), file_headers(file))
    try:
        groups = await parsed(name, file.raw)
    except ConfigInvalid as exc:
        raise ProblemError(409, "not-parsable", f"'{name}' cannot be parsed.") from exc
    body = await run_quick(partial(json.dumps, _target_groups(name, groups)))
    return Response(body, 200, headers, "application/json")


def _target_groups(name: str, groups: Any) -> list[dict[str, Any]]:
    """Return the target groups of a file, as Prometheus reads them.

    Raises:
        ProblemError: it has another form.
    """
    found: list[dict[str, Any]] = []
    for group in groups if isinstance(groups, list) else [groups]:
        targets = group.get("targets") if isinstance(group, dict) else None
        labels = group.get("labels") or {} if isinstance(group, dict) else None
        if not _all_text(targets) or not isinstance(labels, dict) or not _all_text([*labels.values()]):
            raise ProblemError(409, "no-targets", f"'{name}' is not a list of groups with 'targets' and 'labels'.")
        found.append({"targets": targets, "labels": labels})
    return found


def _all_text(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(each, str) for each in values)


def _read_by_tool(bundle: Bundle) -> dict[str, bytes]:
    return {name: file.raw for name, file in bundle.files.items() if not is_reserved(name)}


def _refuse_reserved(name: str) -> None:
    if is_reserved(name):
        raise ConfigNotFound(f"tools do not read '{name}'", hint="see the index")


_GROUPS: dict[str, Any] = {
    "application/json": {
        "schema": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["targets", "labels"],
                "properties": {
                    "targets": {"type": "array", "items": {"type": "string"}},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
        },
        "example": [{"targets": ["10.0.0.1:9100"], "labels": {"job": "node"}}],
    }
}

ENDPOINTS = (
    Endpoint(
        "GET", f"{_TOOL}/", get_index, "List the files", Action.FETCH,
        errors=(404,), example=EXAMPLES["index"],
        options={"responses": {304: {"description": "It is known."}}},
    ),
    Endpoint(
        "GET", f"{_TOOL}/bundle.tar", fetch_bundle, "Fetch all files", Action.FETCH,
        errors=(404,),
        options=own_response("A tar archive.", {"application/x-tar": ARCHIVE}, "It is known."),
    ),
    Endpoint(
        "GET", f"{_TOOL}/files/{{name:path}}", fetch_file, "Fetch a file", Action.FETCH,
        errors=(404,), options=own_response("The file.", FILE_CONTENT, "It is known."),
    ),
    Endpoint(
        "GET", f"{_TOOL}/http_sd/{{name:path}}", http_sd, "Discover targets", Action.FETCH,
        errors=(404, 409),
        options=own_response("Target groups.", _GROUPS, "It is known."),
    ),
)  # fmt: skip
"""Every route of `feed_router`."""


def feed_router(*, authorize: Callable[..., Any], deadline: float = DEADLINE, tag: str = TAG) -> APIRouter:
    """Return a router with read-only routes for tools and sidecars, whose tokens need no other permission.

    Args:
        authorize: a dependency, as that of `config_router`; its principals need the permission to `FETCH`.
        deadline: seconds for a request, after which its work is cancelled.
        tag: see `config_router`.

    Raises:
        InvalidOption: `authorize` is not a callable, or `deadline` is not above 0.
    """
    check_authorize(authorize, "feed_router")
    return make_router(ENDPOINTS, tag=tag, default_tag=TAG, deadline=deadline, authorize=authorize)
