"""Routes of releases: list, show, history, diff, roll back, mark good."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from apm_s3.errors import ConfigNotFound
from apm_s3.fastapi import _examples
from apm_s3.fastapi._bodies import MarkBody, RollbackBody
from apm_s3.fastapi._calls import Call, CallDep
from apm_s3.fastapi._conditions import KNOWN, PRIVATE, not_modified, revision_header
from apm_s3.fastapi._models import DiffModel, ReleaseModel
from apm_s3.fastapi._parameters import EnvironmentPath, LimitQuery, ToolPath
from apm_s3.fastapi._permissions import Action, Permission
from apm_s3.fastapi._routes import MAX_JSON, Endpoint

_TOOL = "/environments/{environment}/tools/{tool}"


async def list_releases(call: CallDep, environment: EnvironmentPath) -> list[ReleaseModel]:
    """Return the current release of each tool in an environment."""
    releases = await call.configs.list(environment)
    return [ReleaseModel.of(each, secrets=await call.sees_secrets(environment, each.tool)) for each in releases]


async def get_release(
    request: Request, response: Response, call: CallDep, environment: EnvironmentPath, tool: ToolPath
) -> Response | ReleaseModel:
    """Return the current release of a tool. Its ETag is the value for If-Match in changes of the bundle."""
    release = (await call.configs.history(tool, environment, limit=1))[0]
    if release.removed:
        raise ConfigNotFound(f"{tool} in {environment} was removed", hint="see its history")
    model = ReleaseModel.of(release, secrets=await call.sees_secrets(environment, tool))
    headers = {**PRIVATE, **revision_header(release)}
    known = not_modified(request, model.etag, headers)
    if known is not None:
        return known
    response.headers.update({**headers, "ETag": model.etag})
    return model


async def get_history(
    call: CallDep, environment: EnvironmentPath, tool: ToolPath, limit: LimitQuery = 100
) -> list[ReleaseModel]:
    """Return the kept releases of a tool, newest first."""
    sees = await call.sees_secrets(environment, tool)
    return [ReleaseModel.of(each, secrets=sees) for each in await call.configs.history(tool, environment, limit=limit)]


RevisionOf = Annotated[
    int | None, Query(ge=0, le=99_999_999, description="A revision; 0 is an empty bundle.", examples=[3])
]


async def get_diff(
    call: CallDep,
    environment: EnvironmentPath,
    tool: ToolPath,
    old: RevisionOf = None,
    new: RevisionOf = None,
    to_environment: Annotated[
        str | None, Query(max_length=63, description="Compare with this environment.", examples=["staging"])
    ] = None,
) -> DiffModel:
    """Compare two revisions, by default the current one with the one before, or two environments.

    Secrets are masked.
    """
    if to_environment is not None:
        await call.require(Permission(Action.READ, to_environment, tool))
    return DiffModel.of(await call.configs.diff(tool, environment, old, new, to_environment=to_environment))


async def roll_back(call: CallDep, environment: EnvironmentPath, tool: ToolPath, given: RollbackBody) -> ReleaseModel:
    """Create a new revision with the files of an old one, by default of the one marked good."""
    release = await call.configs.rollback(
        tool,
        environment,
        to_revision=given.to_revision,
        author=call.author,
        message=given.message,
        expect_revision=given.expect_revision,
        force=given.force,
        timeout=call.timeout,
        write_id=given.write_id,
    )
    return ReleaseModel.of(release, secrets=await _sees(call, environment, tool))


async def mark_good(call: CallDep, environment: EnvironmentPath, tool: ToolPath, given: MarkBody) -> ReleaseModel:
    """Mark a revision as good, by default the current one: a rollback returns to it."""
    release = await call.configs.mark_good(
        tool,
        environment,
        given.revision,
        author=call.author,
        message=given.message,
        timeout=call.timeout,
        write_id=given.write_id,
    )
    return ReleaseModel.of(release, secrets=await _sees(call, environment, tool))


async def _sees(call: Call, environment: str, tool: str) -> bool:
    return await call.sees_secrets(environment, tool)


ENDPOINTS = (
    Endpoint(
        "GET", "/environments/{environment}/tools", list_releases, "List the current releases", Action.READ,
        errors=(404,), example=[_examples.RELEASE],
    ),
    Endpoint(
        "GET", _TOOL, get_release, "Get the current release", Action.READ,
        errors=(404,), example=_examples.RELEASE,
        options={
            "response_model": ReleaseModel,
            "openapi_extra": {"parameters": KNOWN},
            "responses": {304: {"description": "The client has it."}},
        },
    ),
    Endpoint(
        "GET", f"{_TOOL}/history", get_history, "Get the history", Action.READ,
        errors=(404,), example=[_examples.RELEASE],
    ),
    Endpoint("GET", f"{_TOOL}/diff", get_diff, "Compare", Action.READ, errors=(404,), example=_examples.DIFF),
    Endpoint(
        "POST", f"{_TOOL}/rollback", roll_back, "Roll back", Action.WRITE,
        errors=(404, 409, 413, 423), body=RollbackBody, limit=MAX_JSON, example=_examples.ROLLED_BACK,
    ),
    Endpoint(
        "POST", f"{_TOOL}/good", mark_good, "Mark a revision good", Action.WRITE,
        errors=(404, 409, 413, 423), body=MarkBody, limit=MAX_JSON, example=_examples.RELEASE,
    ),
)  # fmt: skip
