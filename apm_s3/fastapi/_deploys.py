"""Routes of deploys: plan, and carry out the plan that was seen.

Nobody stores a plan: its id and its hash cover both sides' releases, every file and the target's settings, so that any
worker makes it again, and carries it out only if it is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Annotated, cast

from fastapi import Path, Query
from pydantic import BaseModel

from apm_s3._plans import canonical_hash
from apm_s3._tools import Tool
from apm_s3.configs import DeployPlan, Release, ToolPlan
from apm_s3.configs._content.overlays import is_internal
from apm_s3.configs._deploy import blocked, was_touched
from apm_s3.errors import ApmS3Error, ConfigNotFound
from apm_s3.fastapi._authorisation import Action, HttpCall
from apm_s3.fastapi._bodies import DeployGiven, PlanGiven
from apm_s3.fastapi._models import EXAMPLES, DiffModel, ReleaseModel, ReportModel, Shown
from apm_s3.fastapi._parameters import EnvironmentPath, ToolsQuery, intact_history
from apm_s3.fastapi._problems import ProblemError
from apm_s3.fastapi._routes import MAX_JSON, Endpoint

_DEPLOYS = "/environments/{environment}/deploys"

_LOOKED_BACK = 1_000
"""Commits among which a repeated request looks for its first one: many more than there are in a write's 15 minutes."""

SourceQuery = Annotated[str, Query(max_length=63, description="The environment to deploy from.", examples=["staging"])]


class ToolPlanModel(Shown):
    """What a deploy would do for one tool.

    For callers that may not read secrets, `drifted` says whether there was any change since the last deploy: a change
    that only a secret undoes would confirm guesses.
    """

    tool: Tool
    source_revision: int
    target_revision: int
    changes: bool
    drifted: bool
    blocked: list[str]
    files: list[str]
    report: ReportModel
    diff: DiffModel

    @classmethod
    def of(cls, plan: ToolPlan, *, secrets: bool) -> ToolPlanModel:
        """Return the document of `plan`, with the hashes in names if the caller may read `secrets`."""
        names = [name for name in plan.files if secrets or not is_internal(name)]
        return cls.showing(plan, files=names, diff=DiffModel.of(plan.diff))


class PlanModel(Shown):
    """A planned deploy. `hash` covers both sides' releases, every file and the target's settings; `id` begins it."""

    id: str
    hash: str
    source: str
    target: str
    changes: bool
    blocked: list[str]
    tools: list[ToolPlanModel]

    @classmethod
    def of(cls, plan: DeployPlan, digest: str, seen: Collection[str]) -> PlanModel:
        """Return the document of `plan` for a caller that sees the secrets of the tools in `seen`."""
        tools = [ToolPlanModel.of(each, secrets=each.tool in seen) for each in plan.tools]
        sides = {"source": plan.source_environment, "target": plan.target_environment}
        return cls.showing(plan, id=plan_id(digest), hash=digest, tools=tools, **sides)


def plan_id(digest: str) -> str:
    """Return the id of the plan with this hash. Any worker makes the same plan again, so nobody stores it."""
    return digest[:16]


def _hash_of_references(plan: DeployPlan, variables: Mapping[str, str] | None) -> str:
    """Return a hash of everything that makes the plan what it is, but of no content: nobody can guess contents by it.

    A release's key names its content, for it is never used again.
    """
    document = plan.to_dict()
    for each in plan.tools:
        told = document["tools"][each.tool]
        refs = {side: told[side] and told[side]["key"] for side in ("source", "target")}
        document["tools"][each.tool] = {**refs, "errors": told["errors"], "warnings": told["warnings"]}
    return canonical_hash({**document, "hash": None, "variables": dict(variables or {})})


class DeployedModel(BaseModel):
    """A committed deploy: the new releases; none if nothing had changed."""

    plan: str
    releases: list[ReleaseModel]


async def plan_deploy(
    call: HttpCall,
    environment: EnvironmentPath,
    source: SourceQuery,
    given: PlanGiven,
    tool: ToolsQuery = None,
) -> PlanModel:
    """Plan a deploy to the environment: its diff, validation, and what blocks it. Nothing is changed."""
    plan = await _plan(call, environment, source, given, tool)
    seen = await _seen(call, plan)
    sees_all = len(seen) == len(plan.tools)
    digest = plan.hash if sees_all else _hash_of_references(plan, given.variables)
    return PlanModel.of(_as_seen(plan, seen), digest, seen)


async def deploy(
    call: HttpCall,
    environment: EnvironmentPath,
    plan: Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="The plan's id.", examples=["0" * 16])],
    source: SourceQuery,
    given: DeployGiven,
    tool: ToolsQuery = None,
) -> DeployedModel:
    """Carry out the plan in one commit of all its tools. Any other plan is refused, also one that is outdated."""
    if plan_id(given.hash) != plan:
        raise ProblemError(409, "plan-outdated", "The hash belongs to another plan.")
    outdated = ProblemError(409, "plan-outdated", "The plan would be different now. Make a new plan, and review it.")
    try:
        fresh = await _plan(call, environment, source, given, tool)
        if not await _is_same(call, fresh, given):
            raise outdated
    except (ApmS3Error, ProblemError) as exc:
        # Whatever is in the way of the plan now may have come after an earlier commit of the same request.
        refused = exc is not outdated and isinstance(exc, ProblemError)
        done = () if refused else await _made_before(call, environment, source, given, tool)
        if not done:
            raise (outdated if isinstance(exc, ConfigNotFound) else exc) from exc.__cause__
        return await _deployed(call, given.hash, done)
    await _refuse_touched(call, fresh, given)
    result = await call.configs.deploy(
        fresh,
        allow_drift=given.allow_drift,
        force=given.force,
        **call.change(given.message, given.write_id),
    )
    return await _deployed(call, given.hash, result.releases)


async def _plan(call: HttpCall, target: str, source: str, given: PlanGiven, tools: list[Tool] | None) -> DeployPlan:
    wanted: list[str | None] = [*tools] if tools else [None]
    await call.require_to_copy(source, target, wanted)
    for tool in wanted if given.variables else ():
        # Each value would be a guess of what is stored, without a commit that anybody sees.
        await call.require_to_compare(target, tool)
    return await call.configs.plan_deploy(
        source, target, tools=sorted(set(tools)) if tools else None, variables=given.variables, create=given.create
    )


async def _seen(call: HttpCall, plan: DeployPlan) -> set[str]:
    """Return the tools of whose secrets the caller reads the target's, and so the source's."""
    return {each.tool for each in plan.tools if await call.sees_secrets(plan.target_environment, each.tool)}


async def _is_same(call: HttpCall, plan: DeployPlan, given: DeployGiven) -> bool:
    if given.hash == _hash_of_references(plan, given.variables):
        return True
    # Otherwise, a guess of the whole content could be confirmed by its hash.
    return len(await _seen(call, plan)) == len(plan.tools) and given.hash == plan.hash


async def _refuse_touched(call: HttpCall, plan: DeployPlan, given: DeployGiven) -> None:
    """Refuse to overwrite a change that the caller may not tell from none.

    Raises:
        ProblemError: there is one, and the caller does not allow it.
    """
    seen = await _seen(call, plan)
    reasons = list(_as_seen(plan, seen).refusals(allow_drift=given.allow_drift, force=given.force))
    if reasons and len(seen) < len(plan.tools):
        raise ProblemError(409, "deploy-refused", f"The deploy is refused: {'; '.join(reasons)}.", reasons=reasons)


def _as_seen(plan: DeployPlan, seen: Collection[str]) -> DeployPlan:
    """Return the plan in which any change of the target since its last deploy is a drift, but for tools in `seen`."""
    tools = [
        each
        if each.tool in seen
        else replace(each, drifted=was_touched(each), blocked=blocked(each.report, drifted=was_touched(each)))
        for each in plan.tools
    ]
    return replace(plan, tools=tuple(tools))


async def _made_before(
    call: HttpCall, environment: str, source: str, given: DeployGiven, tools: list[Tool] | None
) -> tuple[Release, ...]:
    """Return the releases of an earlier commit of the same request, whose answer was lost."""
    if given.write_id is None:
        return ()
    # Somebody else may have changed the tools since: the log knows, not the current state.
    try:
        entries = await call.configs.log(environment, limit=_LOOKED_BACK)
    except ConfigNotFound:
        return ()
    entry = next((each for each in entries if each.write_id == given.write_id), None)
    found = []
    for each in () if entry is None else entry.tools:
        # The principal may read no others.
        if not tools or each in tools:
            history, _ = await intact_history(call.configs, cast("Tool", each), environment)
            found += [release for release in history if release.write_id == given.write_id]
    return tuple(
        [
            each
            for each in found
            # Without access to secrets, the caller knows the plan by another hash.
            if (each.origin.plan == given.hash or not await call.sees_secrets(environment, each.tool))
            and (each.origin.action, each.origin.environment) == ("deploy", source)
        ]
    )


async def _deployed(call: HttpCall, digest: str, releases: tuple[Release, ...]) -> DeployedModel:
    return DeployedModel(plan=digest, releases=[await call.shown(each) for each in releases])


ENDPOINTS = (
    Endpoint(
        "POST", f"{_DEPLOYS}/plan", plan_deploy, "Plan a deploy", Action.DEPLOY, by_tools=True,
        errors=(404, 409, 413), limit=MAX_JSON, example=EXAMPLES["plan"],
    ),
    Endpoint(
        "POST", f"{_DEPLOYS}/{{plan}}", deploy, "Deploy", Action.DEPLOY, by_tools=True,
        errors=(404, 409, 413, 423), limit=MAX_JSON,
        example=EXAMPLES["deploy"],
    ),
)  # fmt: skip
