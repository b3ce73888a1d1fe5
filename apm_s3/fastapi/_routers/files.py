"""Routes of single files: get, put, remove, validate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import Response

from apm_s3._tools import MAIN_FILES, Tool
from apm_s3.configs import ConfigFile, ConfigStore, Release
from apm_s3.configs._content.overlays import is_internal
from apm_s3.configs._content.sources import MAX_FILE
from apm_s3.configs._models.releases import masking_inputs
from apm_s3.errors import ConfigInvalid, ConfigNotFound
from apm_s3.fastapi import _examples
from apm_s3.fastapi._calls import Call, CallDep
from apm_s3.fastapi._conditions import (
    CONDITION,
    KNOWN,
    PRIVATE,
    expect_file,
    file_etag,
    not_modified,
    revision_header,
)
from apm_s3.fastapi._masking import Inputs, mask_file, masked_etag, parsed, refuse_masked
from apm_s3.fastapi._models import ReleaseModel, ReportModel
from apm_s3.fastapi._parameters import (
    CreateQuery,
    EnvironmentPath,
    ForceQuery,
    MessageQuery,
    NamePath,
    ToolPath,
    WriteIdQuery,
    file_parameters,
    raw_body,
    read_query,
)
from apm_s3.fastapi._permissions import Action, Permission
from apm_s3.fastapi._problems import ProblemError
from apm_s3.fastapi._routes import Endpoint
from apm_s3.validators._checking import did_you_mean

_MEDIA_TYPES = {"yml": "application/yaml", "yaml": "application/yaml", "json": "application/json"}

_FILE = "/environments/{environment}/tools/{tool}/files/{name:path}"
_PARSED = "p"
"""In the ETag of a parsed file."""


def media_type_of(name: str) -> str:
    """Return the media type of a file, by the ending of its name."""
    return _MEDIA_TYPES.get(name.rpartition(".")[2].lower(), "text/plain; charset=utf-8")


_SAFE = {**PRIVATE, "X-Content-Type-Options": "nosniff"}


def file_headers(file: ConfigFile, etag: str) -> dict[str, str]:
    """Return the headers that depend on a file."""
    headers = {"ETag": etag, **revision_header(file)}
    if file.stale_since is not None:
        headers["X-Config-Stale-Since"] = file.stale_since.isoformat()
    return headers


class FileResponse(Response):
    """A file. Its headers are made once, as bytes: this is the most frequent response."""

    def __init__(self, content: bytes, headers: Mapping[str, str], media_type: str) -> None:
        self.status_code = 200
        self.background = None
        self.body = content
        self.raw_headers = [
            *_FIXED_HEADERS,
            (b"content-length", str(len(content)).encode()),
            (b"content-type", media_type.encode()),
            *[(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
        ]


_FIXED_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _SAFE.items()]


async def get_file(request: Request, call: Call) -> Response:
    """Return one file. Without the permission to read secrets they are masked, and the ETag is another one."""
    place, query = request.path_params, read_query(request)
    environment, tool, name = place["environment"], place["tool"], place["name"]
    sees = await call.sees_secrets(environment, tool)
    if not sees and is_internal(name):
        raise ConfigNotFound(f"{tool} in {environment} has no file '{name:.80}'")
    file = await call.configs.download(tool, environment, name, revision=query.revision)
    variant = _PARSED if query.view == "parsed" else ""
    if sees:
        content, etag = file.raw, file_etag(file, variant)
    else:
        content = await mask_file(call, file)
        etag = masked_etag(file.revision, content, variant)
    headers = file_headers(file, etag)
    known = not_modified(request, etag, headers)
    if known is not None:
        return known
    if variant:
        return FileResponse(await _as_json(name, content), headers, "application/json")
    return FileResponse(content, headers, media_type_of(name))


async def _as_json(name: str, content: bytes) -> bytes:
    try:
        data = await parsed(name, content)
        return await asyncio.to_thread(_dumped, data)
    except (ConfigInvalid, ValueError) as exc:
        # The message could quote a secret.
        raise ProblemError(
            409, "not-parsable", f"'{name}' cannot be parsed, or has values that JSON lacks; get it raw."
        ) from exc


def _dumped(data: Any) -> bytes:
    return json.dumps(data, ensure_ascii=False, allow_nan=False).encode()


async def put_file(
    request: Request,
    call: CallDep,
    environment: EnvironmentPath,
    tool: ToolPath,
    name: NamePath,
    message: MessageQuery = "",
    force: ForceQuery = None,
    write_id: WriteIdQuery = None,
    skip_unchanged: Annotated[bool, Query(description="Create no revision if nothing would change.")] = False,
    create: CreateQuery = False,
) -> Response:
    """Store one file; the others of the bundle are kept. The bundle is validated first.

    `If-Match` has the ETag of the file, or of the bundle; a new file needs `If-None-Match: *`, and the first file of a
    new configuration needs neither.
    """
    if skip_unchanged or write_id is not None:
        await call.require_to_compare(environment, tool)
    old = await _current_file(call.configs, tool, environment, name)
    tags = () if old is None else await _etags_for(call, old)
    expected = await expect_file(request, call.configs, tool, environment, name, tags, write_id)
    body = await request.body()
    if not body and "content-length" not in request.headers:
        # A client that forgot the body would empty the file.
        raise ProblemError(422, "request-invalid", "There is no body; an empty file needs Content-Length: 0.")
    refuse_masked(name, body, b"" if old is None else old.raw)
    release = await upload(
        call,
        tool,
        environment,
        body,
        name=name,
        author=call.author,
        message=message,
        expect_revision=expected.revision,
        force=force,
        skip_unchanged=skip_unchanged,
        create=create,
        timeout=call.timeout,
        write_id=write_id,
    )
    created = old is None and release.revision != expected.revision
    sees = await call.sees_secrets(environment, tool)
    made = ConfigFile(name, body, release.revision, tool, environment)
    # It is committed, so the response must not be a refusal, even if the caller may not read the content.
    etags = await _etags_for(call, made, masking_inputs(release, name))
    headers = {**revision_header(release), **({"ETag": etags[0]} if etags else {})}
    return release_response(ReleaseModel.of(release, secrets=sees), created=created, headers=headers)


async def upload(call: Call, tool: Tool, environment: str, *content: bytes, **options: Any) -> Release:
    """Upload for a caller; a refusal to create an environment names only those that the caller may read."""
    try:
        return await call.configs.upload(tool, environment, *content, **options)
    except ConfigNotFound as exc:
        if exc.tool is None:
            names = await call.configs.environments()
            known = [name for name in names if await call.allows(Permission(Action.READ, name, None))]
            exc.hint = f"{did_you_mean(environment, known) or 'check its name;'} create=true creates a new one"
        raise


async def delete_file(
    request: Request,
    call: CallDep,
    environment: EnvironmentPath,
    tool: ToolPath,
    name: NamePath,
    message: MessageQuery = "",
    force: ForceQuery = None,
    write_id: WriteIdQuery = None,
) -> Response:
    """Remove one file from the bundle, which is validated without it."""
    old = await _current_file(call.configs, tool, environment, name)
    tags = () if old is None else await _etags_for(call, old)
    expected = await expect_file(request, call.configs, tool, environment, name, tags, write_id)
    if old is None and write_id is None:
        raise ProblemError(404, "config-not-found", f"{tool} in {environment} has no file '{name}'.")
    release = await call.configs.upload(
        tool,
        environment,
        remove=[name],
        author=call.author,
        message=message,
        expect_revision=expected.revision,
        force=force,
        timeout=call.timeout,
        write_id=write_id,
    )
    model = ReleaseModel.of(release, secrets=await call.sees_secrets(environment, tool))
    return release_response(model, headers=revision_header(release))


async def validate_file(
    request: Request,
    call: CallDep,
    environment: EnvironmentPath,  # noqa: ARG001 - the guard authorises it
    tool: ToolPath,
    name: Annotated[str | None, Query(max_length=512, description="By default the main file.")] = None,
) -> ReportModel:
    """Validate one file without storing it. It answers 200 for invalid files too: see `ok`."""
    body = await request.body()
    return ReportModel.of(await call.configs.validate(tool, body, name=name or MAIN_FILES[tool]))


def release_response(model: ReleaseModel, *, created: bool = False, headers: dict[str, str]) -> Response:
    """Return the new release of a change."""
    # Relative to the request's own path, so that it holds behind any prefix.
    place = {"Location": f"?revision={model.revision}"} if created else {}
    return Response(
        model.model_dump_json(),
        HTTPStatus.CREATED if created else HTTPStatus.OK,
        {**PRIVATE, **headers, **place},
        "application/json",
    )


async def _current_file(configs: ConfigStore, tool: Tool, environment: str, name: str) -> ConfigFile | None:
    try:
        return await configs.download(tool, environment, name, refresh=True)
    except ConfigNotFound:
        return None


async def _etags_for(call: Call, file: ConfigFile, inputs: Inputs | None = None) -> tuple[str, ...]:
    """Return the ETags under which the caller may know a file."""
    if await call.sees_secrets(file.environment, file.tool):
        return (file_etag(file), file_etag(file, _PARSED))
    try:
        masked = await mask_file(call, file, inputs)
    except ProblemError:
        return ()
    return (masked_etag(file.revision, masked), masked_etag(file.revision, masked, _PARSED))


_BODY: dict[str, Any] = {"application/yaml": {}, "application/json": {}, "text/plain": {"schema": {"type": "string"}}}
_CHANGED: dict[int | str, dict[str, Any]] = {200: {"description": "The new release.", "model": ReleaseModel}}

ENDPOINTS = (
    Endpoint(
        "GET", _FILE, get_file, "Get a file", Action.READ,
        errors=(404, 409), is_bare=True,
        options={
            "response_class": Response,
            "openapi_extra": {"parameters": [*file_parameters(view=True), *KNOWN]},
            "responses": {
                200: {"description": "The file.", "content": _BODY},
                304: {"description": "The client has it."},
            },
        },
    ),
    Endpoint(
        "PUT", _FILE, put_file, "Put a file", Action.WRITE,
        errors=(404, 409, 412, 413, 423, 428), limit=MAX_FILE, example=_examples.RELEASE,
        options={
            "response_class": Response,
            "openapi_extra": {"parameters": CONDITION, "requestBody": raw_body("The content, stored byte for byte.")},
            "responses": {**_CHANGED, 201: {"description": "The file is new.", "model": ReleaseModel}},
        },
    ),
    Endpoint(
        "DELETE", _FILE, delete_file, "Remove a file", Action.WRITE,
        errors=(404, 409, 412, 423, 428), example=_examples.RELEASE,
        options={"response_class": Response, "openapi_extra": {"parameters": CONDITION}, "responses": _CHANGED},
    ),
    Endpoint(
        "POST", "/environments/{environment}/tools/{tool}/validate", validate_file, "Validate a file", Action.READ,
        errors=(413,), limit=MAX_FILE, example=_examples.REPORT,
        options={"openapi_extra": {"requestBody": raw_body("The content.")}},
    ),
)  # fmt: skip
