"""Routes of single files and of whole bundles: get, put, remove, validate."""

from __future__ import annotations

import json
import tarfile
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from starlette.responses import JSONResponse, Response

from apm_s3._tools import MAIN_FILES, Tool
from apm_s3.configs import Bundle, ConfigFile, Release
from apm_s3.configs._content.files import MAX_FILE
from apm_s3.configs._content.overlays import is_internal
from apm_s3.configs._models import masking_inputs
from apm_s3.errors import ConfigInvalid, ConfigNotFound
from apm_s3.fastapi._authorisation import Action, HttpCall
from apm_s3.fastapi._bodies import BundleGiven, FilesGiven
from apm_s3.fastapi._masking import mask_file, mask_files, masked_etag, parsed, refuse_masked
from apm_s3.fastapi._models import EXAMPLES, ReleaseModel, ReportModel, bundle_etag
from apm_s3.fastapi._parameters import (
    ConditionsDep,
    CreateQuery,
    EnvironmentPath,
    ForceQuery,
    MessageQuery,
    NamePath,
    RevisionQuery,
    ToolPath,
    WriteIdQuery,
    expect_bundle,
    expect_file,
    file_etag,
    raw_body,
    read_current,
    revision_header,
    tagged,
)
from apm_s3.fastapi._problems import ProblemError
from apm_s3.fastapi._routes import Endpoint, own_response
from apm_s3.fastapi._supervision import Stream
from apm_s3.validators._validation.offload import Busy, run_quick

_MEDIA_TYPES = {"yml": "application/yaml", "yaml": "application/yaml", "json": "application/json"}

_FILE = "/environments/{environment}/tools/{tool}/files/{name:path}"
_PARSED = "p"
"""In the ETag of a parsed file."""


def media_type_of(name: str) -> str:
    """Return the media type of a file, by the ending of its name."""
    return _MEDIA_TYPES.get(name.rpartition(".")[2].lower(), "text/plain; charset=utf-8")


_SAFE = {"X-Content-Type-Options": "nosniff"}


def file_headers(file: ConfigFile) -> dict[str, str]:
    """Return the headers that depend on a file."""
    headers = {**_SAFE, **revision_header(file)}
    if file.stale_since is not None:
        headers["X-Config-Stale-Since"] = file.stale_since.isoformat()
    return headers


async def get_file(
    call: HttpCall,
    environment: EnvironmentPath,
    tool: ToolPath,
    name: NamePath,
    revision: RevisionQuery = None,
    view: Annotated[Literal["raw", "parsed"], Query(description="The bytes as stored, or their data as JSON.")] = "raw",
) -> Response:
    """Return one file. Without the permission to read secrets they are masked, and the ETag is another one."""
    sees = await call.sees_secrets(environment, tool)
    if not sees and is_internal(name):
        raise ConfigNotFound(f"{tool} in {environment} has no file '{name:.80}'")
    file = await call.configs.download(tool, environment, name, revision=revision)
    variant = _PARSED if view == "parsed" else ""
    if sees:
        content, etag = file.raw, file_etag(file, variant)
    else:
        content = await mask_file(call, file)
        etag = masked_etag(file.revision, content, variant)
    headers = tagged(call.known, etag, file_headers(file))
    if variant:
        return Response(await _as_json(name, content), 200, headers, "application/json")
    return Response(content, 200, headers, media_type_of(name))


async def _as_json(name: str, content: bytes) -> bytes:
    try:
        data = await parsed(name, content)
        return await run_quick(partial(_dumped, data))
    except (ConfigInvalid, ValueError) as exc:
        # The message could quote a secret.
        raise ProblemError(
            409, "not-parsable", f"'{name}' cannot be parsed, or has values that JSON lacks; get it raw."
        ) from exc


def _dumped(data: Any) -> bytes:
    return json.dumps(data, ensure_ascii=False, allow_nan=False).encode()


async def put_file(
    request: Request,
    call: HttpCall,
    environment: EnvironmentPath,
    tool: ToolPath,
    name: NamePath,
    conditions: ConditionsDep,
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
    current = await read_current(call.configs, tool, environment, [name])
    old = current.file(name)
    tags = () if old is None else await _etags_for(call, old, current.release)
    expected = expect_file(conditions, current, name, tags, write_id)
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
        expect_revision=expected,
        force=force,
        skip_unchanged=skip_unchanged,
        create=create,
        **call.change(message, write_id),
    )
    created = old is None and release.revision != expected
    made = ConfigFile(name, body, release.revision, tool, environment)
    # It is committed, so the response must not be a refusal, even if the caller may not read the content, or if
    # masking it would have to wait.
    try:
        etag = next(iter(await _etags_for(call, made, release)), None)
    except Busy:
        etag = None
    return _answer(await call.shown(release), created=created, etag=etag)


async def upload(call: HttpCall, tool: Tool, environment: str, *content: bytes, **options: Any) -> Release:
    """Upload for a caller; a refusal to create an environment names only those that the caller may read."""
    try:
        return await call.configs.upload(tool, environment, *content, **options)
    except ConfigNotFound as exc:
        if exc.tool is None:
            raise await call.unknown_environment(environment) from exc
        raise


async def delete_file(
    call: HttpCall,
    environment: EnvironmentPath,
    tool: ToolPath,
    name: NamePath,
    conditions: ConditionsDep,
    message: MessageQuery = "",
    force: ForceQuery = None,
    write_id: WriteIdQuery = None,
) -> Response:
    """Remove one file from the bundle, which is validated without it."""
    current = await read_current(call.configs, tool, environment, [name])
    old = current.file(name)
    tags = () if old is None else await _etags_for(call, old, current.release)
    expected = expect_file(conditions, current, name, tags, write_id)
    if old is None and write_id is None:
        raise ProblemError(404, "config-not-found", f"{tool} in {environment} has no file '{name}'.")
    release = await call.configs.upload(
        tool,
        environment,
        remove=[name],
        expect_revision=expected,
        force=force,
        **call.change(message, write_id),
    )
    return _answer(await call.shown(release))


async def validate_file(
    request: Request,
    call: HttpCall,
    environment: EnvironmentPath,  # noqa: ARG001 - the guard authorises it
    tool: ToolPath,
    name: Annotated[str | None, Query(max_length=512, description="By default the main file.")] = None,
) -> ReportModel:
    """Validate one file without storing it. It answers 200 for invalid files too: see `ok`."""
    body = await request.body()
    return ReportModel.showing(await call.configs.validate(tool, body, name=name or MAIN_FILES[tool]))


def _answer(release: ReleaseModel, *, created: bool = False, etag: str | None = None) -> Response:
    """Return the response to a change, with its new release."""
    response = Response(release.model_dump_json(), 201 if created else 200, media_type="application/json")
    response.headers.update(revision_header(release))
    if created:
        # Relative to the request's own path, so that it holds behind any prefix.
        response.headers["Location"] = f"?revision={release.revision}"
    if etag is not None:
        response.headers["ETag"] = etag
    return response


async def _etags_for(call: HttpCall, file: ConfigFile, release: Release | None) -> tuple[str, ...]:
    """Return the ETags under which the caller may know a file."""
    if await call.sees_secrets(file.environment, file.tool):
        return (file_etag(file), file_etag(file, _PARSED))
    try:
        masked = await mask_file(call, file, () if release is None else masking_inputs(release, file.name))
    except ProblemError:
        return ()
    return (masked_etag(file.revision, masked), masked_etag(file.revision, masked, _PARSED))


FILE_CONTENT: dict[str, Any] = {
    "application/yaml": {},
    "application/json": {},
    "text/plain": {"schema": {"type": "string"}},
}
ARCHIVE = {"schema": {"type": "string", "format": "binary"}}
_CHANGED: dict[int | str, dict[str, Any]] = {200: {"description": "The new release.", "model": ReleaseModel}}


MAX_BUNDLE_JSON = 8 * 1024**2
"""Maximum bytes of a bundle that a caller sends: JSON is read in one piece, which holds the event loop."""

_BUNDLE = "/environments/{environment}/tools/{tool}/bundle"

Format = Literal["tar", "json"]


async def get_bundle(
    call: HttpCall,
    environment: EnvironmentPath,
    tool: ToolPath,
    revision: RevisionQuery = None,
    format: Annotated[Format, Query(description="An archive, or JSON, which has each file's text by name.")] = "tar",  # noqa: A002 - the parameter's name in the API
) -> Response:
    """Return all files of one revision. Without the permission to read secrets they are masked."""
    bundle = await call.configs.download_bundle(tool, environment, revision=revision)
    sees = await call.sees_secrets(environment, tool)
    etag = bundle_etag(bundle.release, f".{format}" if sees else f".{format}.masked")
    headers = tagged(call.known, etag, {**_SAFE, **revision_header(bundle.release)})
    files = {name: file.raw for name, file in bundle.files.items()} if sees else await mask_files(call, bundle)
    return await archive_response(bundle, files, format, headers)


async def archive_response(bundle: Bundle, files: dict[str, bytes], kind: Format, headers: dict[str, str]) -> Response:
    """Return files of a bundle as an archive."""
    release = bundle.release
    if kind == "json":
        try:
            texts = {name: raw.decode() for name, raw in files.items()}
        except UnicodeDecodeError as exc:
            raise ProblemError(409, "not-text", "A file of the bundle is not UTF-8 text; use tar.") from exc
        return JSONResponse({"revision": release.revision, "files": texts}, headers=headers)
    named = f"{release.environment}-{release.tool}-{release.revision}.tar"
    pieces = await run_quick(partial(_tar, files, release.created_at))
    told = {"Content-Disposition": f'attachment; filename="{named}"', "Content-Length": str(sum(map(len, pieces)))}
    return Stream(_each(pieces), media_type="application/x-tar", headers={**headers, **told})


async def _each(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def put_bundle(
    call: HttpCall,
    environment: EnvironmentPath,
    tool: ToolPath,
    given: BundleGiven,
    conditions: ConditionsDep,
    create: CreateQuery = False,
) -> Response:
    """Replace the whole bundle. `If-Match` has the ETag of the release; a new configuration needs none."""
    if given.write_id is not None:
        await call.require_to_compare(environment, tool)
    current = await read_current(call.configs, tool, environment, None)
    expected = expect_bundle(conditions, current, given.write_id)
    for name, text in given.files.items():
        refuse_masked(name, _encoded(name, text), current.files.get(name, b""))
    release = await upload(
        call,
        tool,
        environment,
        files={name: _encoded(name, text) for name, text in given.files.items()},
        expect_revision=expected,
        force=given.force,
        create=create,
        **call.change(given.message, given.write_id),
    )
    created = current.release is None or current.release.removed
    return _answer(await call.shown(release), created=created, etag=bundle_etag(release))


def _encoded(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise ProblemError(422, "request-invalid", f"'{name:.80}' contains a lone surrogate.") from exc


async def validate_bundle(
    call: HttpCall,
    environment: EnvironmentPath,  # noqa: ARG001 - the guard authorises it
    tool: ToolPath,
    given: FilesGiven,
) -> ReportModel:
    """Validate a whole bundle without storing it. It answers 200 for invalid bundles too: see `ok`."""
    files = {name: _encoded(name, text) for name, text in given.files.items()}
    return ReportModel.showing(await call.configs.validate(tool, files=files))


async def remove_bundle(
    call: HttpCall,
    environment: EnvironmentPath,
    tool: ToolPath,
    conditions: ConditionsDep,
    message: MessageQuery = "",
    write_id: WriteIdQuery = None,
) -> Response:
    """Remove the configuration, with a revision without files. Its history is kept."""
    current = await read_current(call.configs, tool, environment)
    expected = expect_bundle(conditions, current, write_id)
    release = await call.configs.remove(
        tool,
        environment,
        expect_revision=expected,
        **call.change(message, write_id),
    )
    return _answer(ReleaseModel.of(release, secrets=False), etag=bundle_etag(release))


_ARCHIVES: dict[str, Any] = {
    "application/x-tar": ARCHIVE,
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["revision", "files"],
            "properties": {
                "revision": {"type": "integer"},
                "files": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
        "example": {"revision": 3, "files": {"prometheus.yml": "global:\n  scrape_interval: 15s\n"}},
    },
}


_BLOCK = 512
_RECORD = 20 * _BLOCK


def _tar(files: Mapping[str, bytes], moment: datetime) -> list[bytes]:
    """Return the pieces of a tar archive (POSIX.1-2001) of files, all from `moment`; their contents are not copied."""
    pieces = []
    for name, raw in files.items():
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = len(raw), int(moment.timestamp()), 0o644
        pieces += [info.tobuf(tarfile.PAX_FORMAT), raw, b"\0" * (-len(raw) % _BLOCK)]
    end = 2 * _BLOCK
    pieces.append(b"\0" * (end + -(sum(map(len, pieces)) + end) % _RECORD))
    return pieces


ENDPOINTS = (
    Endpoint(
        "GET", _FILE, get_file, "Get a file", Action.READ,
        errors=(404, 409),
        options=own_response("The file.", FILE_CONTENT, "The client has it."),
    ),
    Endpoint(
        "PUT", _FILE, put_file, "Put a file", Action.WRITE,
        errors=(404, 409, 412, 413, 423, 428), limit=MAX_FILE, example=EXAMPLES["release"],
        options={
            "response_class": Response,
            "openapi_extra": {"requestBody": raw_body("The content, stored byte for byte.")},
            "responses": {**_CHANGED, 201: {"description": "The file is new.", "model": ReleaseModel}},
        },
    ),
    Endpoint(
        "DELETE", _FILE, delete_file, "Remove a file", Action.WRITE,
        errors=(404, 409, 412, 423, 428), example=EXAMPLES["release"],
        options={"response_class": Response, "responses": _CHANGED},
    ),
    Endpoint(
        "POST", "/environments/{environment}/tools/{tool}/validate", validate_file, "Validate a file", Action.READ,
        errors=(413,), limit=MAX_FILE, example=EXAMPLES["report"],
        options={"openapi_extra": {"requestBody": raw_body("The content.")}},
    ),
    Endpoint(
        "GET", _BUNDLE, get_bundle, "Get a bundle", Action.READ,
        errors=(404, 409),
        options=own_response("All files.", _ARCHIVES, "The client has it."),
    ),
    Endpoint(
        "PUT", _BUNDLE, put_bundle, "Put a bundle", Action.WRITE,
        errors=(404, 409, 412, 413, 423, 428), limit=MAX_BUNDLE_JSON, example=EXAMPLES["release"],
        options={
            "response_class": Response,
            "responses": {**_CHANGED, 201: {"description": "The configuration is new.", "model": ReleaseModel}},
        },
    ),
    Endpoint(
        "POST", f"{_BUNDLE}/validate", validate_bundle, "Validate a bundle", Action.READ,
        errors=(413,), limit=MAX_BUNDLE_JSON, example=EXAMPLES["report"],
    ),
    Endpoint(
        "DELETE", "/environments/{environment}/tools/{tool}", remove_bundle, "Remove a configuration", Action.WRITE,
        errors=(404, 409, 412, 423, 428), example=EXAMPLES["removed"],
        options={"response_class": Response, "responses": _CHANGED},
    ),
)  # fmt: skip
