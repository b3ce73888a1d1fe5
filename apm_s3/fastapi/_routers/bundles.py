"""Routes of whole bundles: get as archives, put, validate, remove."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from starlette.responses import JSONResponse, Response

from apm_s3.configs import Bundle
from apm_s3.errors import ConfigNotFound
from apm_s3.fastapi import _examples
from apm_s3.fastapi._archives import tar_pieces, tar_size, zip_pieces
from apm_s3.fastapi._bodies import BundleBody, FilesBody
from apm_s3.fastapi._calls import Call, CallDep
from apm_s3.fastapi._conditions import CONDITION, KNOWN, PRIVATE, expect_bundle, not_modified, revision_header
from apm_s3.fastapi._masking import mask_files, refuse_masked
from apm_s3.fastapi._models import ReleaseModel, ReportModel, bundle_etag
from apm_s3.fastapi._parameters import CreateQuery, EnvironmentPath, MessageQuery, RevisionQuery, ToolPath, WriteIdQuery
from apm_s3.fastapi._permissions import Action
from apm_s3.fastapi._problems import ProblemError
from apm_s3.fastapi._routers.files import release_response, upload
from apm_s3.fastapi._routes import Endpoint
from apm_s3.fastapi._streams import Stream

MAX_BUNDLE_JSON = 8 * 1024**2
"""Maximum bytes of a bundle that a caller sends: JSON is read in one piece, which holds the event loop."""

_BUNDLE = "/environments/{environment}/tools/{tool}/bundle"

Format = Literal["tar", "zip", "json"]


async def get_bundle(
    request: Request,
    call: CallDep,
    environment: EnvironmentPath,
    tool: ToolPath,
    revision: RevisionQuery = None,
    format: Annotated[Format, Query(description="The kind of archive; JSON has each file's text by name.")] = "tar",  # noqa: A002 - the parameter's name in the API
) -> Response:
    """Return all files of one revision. Without the permission to read secrets they are masked."""
    bundle = await call.configs.download_bundle(tool, environment, revision=revision)
    sees = await call.sees_secrets(environment, tool)
    etag = bundle_etag(bundle.release, f".{format}" if sees else f".{format}.masked")
    headers = {**PRIVATE, **revision_header(bundle.release), "X-Content-Type-Options": "nosniff"}
    known = not_modified(request, etag, headers)
    if known is not None:
        return known
    files = {name: file.raw for name, file in bundle.files.items()} if sees else await mask_files(call, bundle)
    return archive_response(bundle, files, format, {**headers, "ETag": etag})


def archive_response(bundle: Bundle, files: dict[str, bytes], kind: Format, headers: dict[str, str]) -> Response:
    """Return files of a bundle as an archive."""
    release = bundle.release
    if kind == "json":
        try:
            texts = {name: raw.decode() for name, raw in files.items()}
        except UnicodeDecodeError as exc:
            raise ProblemError(409, "not-text", "A file of the bundle is not UTF-8 text; use tar or zip.") from exc
        return JSONResponse({"revision": release.revision, "files": texts}, headers=headers)
    named = f"{release.environment}-{release.tool}-{release.revision}.{kind}"
    headers = {**headers, "Content-Disposition": f'attachment; filename="{named}"'}
    pieces: AsyncIterator[bytes]
    if kind == "tar":
        headers["Content-Length"] = str(tar_size(files, release.created_at))
        pieces = tar_pieces(files, release.created_at)
        return Stream(pieces, media_type="application/x-tar", headers=headers)
    return Stream(zip_pieces(files, release.created_at), media_type="application/zip", headers=headers)


async def put_bundle(
    request: Request,
    call: CallDep,
    environment: EnvironmentPath,
    tool: ToolPath,
    given: BundleBody,
    create: CreateQuery = False,
) -> Response:
    """Replace the whole bundle. `If-Match` has the ETag of the release; a new configuration needs none."""
    if given.write_id is not None:
        await call.require_to_compare(environment, tool)
    expected = await expect_bundle(request, call.configs, tool, environment, given.write_id)
    old = await _current_files(call, tool, environment)
    for name, text in given.files.items():
        refuse_masked(name, _encoded(name, text), old.get(name, b""))
    release = await upload(
        call,
        tool,
        environment,
        files={name: _encoded(name, text) for name, text in given.files.items()},
        author=call.author,
        message=given.message,
        expect_revision=expected.revision,
        force=given.force,
        create=create,
        timeout=call.timeout,
        write_id=given.write_id,
    )
    model = ReleaseModel.of(release, secrets=await call.sees_secrets(environment, tool))
    created = expected.release is None or expected.release.removed
    return release_response(model, created=created, headers={**revision_header(release), "ETag": model.etag})


def _encoded(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise ProblemError(422, "request-invalid", f"'{name:.80}' contains a lone surrogate.") from exc


async def _current_files(call: Call, tool: Any, environment: str) -> dict[str, bytes]:
    try:
        bundle = await call.configs.download_bundle(tool, environment, refresh=True)
    except ConfigNotFound:
        return {}
    return {name: file.raw for name, file in bundle.files.items()}


async def validate_bundle(
    call: CallDep,
    environment: EnvironmentPath,  # noqa: ARG001 - the guard authorises it
    tool: ToolPath,
    given: FilesBody,
) -> ReportModel:
    """Validate a whole bundle without storing it. It answers 200 for invalid bundles too: see `ok`."""
    files = {name: _encoded(name, text) for name, text in given.files.items()}
    return ReportModel.of(await call.configs.validate(tool, files=files))


async def remove_bundle(
    request: Request,
    call: CallDep,
    environment: EnvironmentPath,
    tool: ToolPath,
    message: MessageQuery = "",
    write_id: WriteIdQuery = None,
) -> Response:
    """Remove the configuration, with a revision without files. Its history is kept."""
    expected = await expect_bundle(request, call.configs, tool, environment, write_id)
    release = await call.configs.remove(
        tool,
        environment,
        author=call.author,
        message=message,
        expect_revision=expected.revision,
        timeout=call.timeout,
        write_id=write_id,
    )
    model = ReleaseModel.of(release, secrets=False)
    return release_response(model, headers={**revision_header(release), "ETag": model.etag})


_ARCHIVES: dict[str, Any] = {
    "application/x-tar": {"schema": {"type": "string", "format": "binary"}},
    "application/zip": {"schema": {"type": "string", "format": "binary"}},
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
_CHANGED: dict[int | str, dict[str, Any]] = {200: {"description": "The new release.", "model": ReleaseModel}}

ENDPOINTS = (
    Endpoint(
        "GET", _BUNDLE, get_bundle, "Get a bundle", Action.READ,
        errors=(404, 409),
        options={
            "response_class": Response,
            "openapi_extra": {"parameters": KNOWN},
            "responses": {
                200: {"description": "All files.", "content": _ARCHIVES},
                304: {"description": "The client has it."},
            },
        },
    ),
    Endpoint(
        "PUT", _BUNDLE, put_bundle, "Put a bundle", Action.WRITE,
        errors=(404, 409, 412, 413, 423, 428), body=BundleBody, limit=MAX_BUNDLE_JSON, example=_examples.RELEASE,
        options={
            "response_class": Response,
            "openapi_extra": {"parameters": CONDITION},
            "responses": {**_CHANGED, 201: {"description": "The configuration is new.", "model": ReleaseModel}},
        },
    ),
    Endpoint(
        "POST", f"{_BUNDLE}/validate", validate_bundle, "Validate a bundle", Action.READ,
        errors=(413,), body=FilesBody, limit=MAX_BUNDLE_JSON, example=_examples.REPORT,
    ),
    Endpoint(
        "DELETE", "/environments/{environment}/tools/{tool}", remove_bundle, "Remove a configuration", Action.WRITE,
        errors=(404, 409, 412, 423, 428), example=_examples.REMOVED,
        options={"response_class": Response, "openapi_extra": {"parameters": CONDITION}, "responses": _CHANGED},
    ),
)  # fmt: skip
