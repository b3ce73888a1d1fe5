"""Carries out a plan: checks that it still applies, and commits all its tools at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from apm_s3._naming import check_environment
from apm_s3._plans import PlanDocument
from apm_s3.configs._content.sources import check_tools
from apm_s3.configs._deploy.planning import make_plan
from apm_s3.configs._deploy.plans import DRIFT, DeployPlan, DeployResult, Side, ToolPlan, ref_of
from apm_s3.configs._models.releases import Deployed, Origin, Release
from apm_s3.configs._models.settings import check_level, check_rule_names
from apm_s3.configs._protocol.commit.calls import Call
from apm_s3.configs._protocol.commit.changes import check_base
from apm_s3.configs._protocol.publish import Draft, Publisher
from apm_s3.configs._protocol.reading.reader import Reader
from apm_s3.configs._protocol.reading.snapshots import Snapshot
from apm_s3.configs._writes.checks import keep_checks
from apm_s3.errors import ConfigNotFound, DeployRefused, InvalidOption, PlanOutdated


async def deploy(
    plan: DeployPlan | PlanDocument,
    source: Side,
    target: Side,
    variables: Mapping[str, str],
    *,
    author: str | None,
    message: str,
    allow_drift: bool,
    force: str | None,
    timeout: float | None,
    write_id: str | None,
) -> DeployResult:
    """Carry out a plan. `target` and `variables` are used only for a plan that was read from a document."""
    if isinstance(plan, DeployPlan):
        environment, publisher = plan.target_environment, plan.target_side.publisher
    else:
        environment, publisher = check_environment(plan.text("target", "environment")), target.publisher
    async with publisher.call(environment, timeout, write_id) as call:
        if isinstance(plan, PlanDocument):
            document = plan
            try:
                plan = await _plan_again(document, source, target, variables, call)
            except (PlanOutdated, ConfigNotFound):
                # The change since the plan may be an earlier commit of this same call.
                done = await _made_before(document, environment, publisher, call)
                if not done:
                    raise
                return DeployResult(document, tuple(done))
        changed = [each for each in plan.tools if each.changes]
        execution = _Execution(plan, changed, source.reader, author, message, force)
        written = DeployPlan.from_dict(plan.to_dict())
        return DeployResult(written, tuple(await execution.run(call, allow_drift=allow_drift)))


async def _plan_again(
    document: PlanDocument, source: Side, target: Side, variables: Mapping[str, str], call: Call
) -> DeployPlan:
    """Make the plan in `document` again, and require that it is unchanged.

    Raises:
        PlanOutdated: the new plan differs.
        InvalidOption: the plan is for other stores, or needs other variables.
    """
    for side, name in ((source, "source"), (target, "target")):
        document.require_store(name, side.bucket, side.prefix)
    needed = document.names("variables")
    if sorted(variables) != needed:
        raise InvalidOption(
            f"the plan was made with the variables {', '.join(needed) or '(none)'}",
            hint="pass the same ones as variables=",
        )
    fresh = await make_plan(
        source,
        target,
        check_environment(document.text("source", "environment")),
        check_environment(document.text("target", "environment")),
        tools=check_tools(document.names("tools")),
        variables=variables,
        create=document.content.get("create") is True,
        level=check_level(document.content.get("level")),
        warnings_as_errors=check_rule_names(document.names("warnings_as_errors")),
        call=call,
    )
    document.require_same(fresh.to_dict(), bucket=target.bucket)
    return fresh


async def _made_before(document: PlanDocument, environment: str, publisher: Publisher, call: Call) -> list[Release]:
    tools = document.content.get("tools")
    named = tools.items() if isinstance(tools, Mapping) else ()
    changed = [tool for tool, told in named if isinstance(told, Mapping) and told.get("changes") is True]
    # The hash covers the whole plan.
    return await publisher.repeated(environment, changed, call=call, same=lambda old: old.origin.plan == document.hash)


@dataclass(frozen=True, slots=True)
class _Execution:
    """Carries out one plan. `changed` are the tools that it changes."""

    plan: DeployPlan
    changed: Sequence[ToolPlan]
    reader: Reader
    author: str | None
    message: str
    force: str | None

    async def run(self, call: Call, *, allow_drift: bool) -> list[Release]:
        self._check(allow_drift=allow_drift)
        environment, publisher = self.plan.target_environment, self.plan.target_side.publisher
        if not self.changed:
            # A plan that was made again after it was carried out has nothing left to do.
            return await publisher.repeated(environment, None, call=call, same=self._makes)
        expect: dict[str, int | None] = {each.tool: each.target_revision for each in self.changed}
        return list(await publisher.publish(environment, self._make, expect, call=call, same=self._makes))

    def _check(self, *, allow_drift: bool) -> None:
        plan = self.plan
        # Whether it is frozen now, the commit finds out.
        reasons = replace(plan, frozen=None).refusals(allow_drift=allow_drift, force=self.force)
        if reasons:
            overwrite = "allow_drift=True overwrites changes made by hand"
            drifted = any(reason.endswith(DRIFT) for reason in reasons)
            raise DeployRefused(
                f"'{plan.source_environment}' cannot be deployed to '{plan.target_environment}': {'; '.join(reasons)}",
                reasons=reasons,
                environment=plan.target_environment,
                bucket=plan.target_bucket,
                hint=f"nothing was changed; {overwrite if drifted else 'resolve the reasons, and make a new plan'}",
            )

    async def _make(self, begun: Snapshot, bases: Mapping[str, Release | None]) -> list[Draft]:
        plan, current = self.plan, begun.current
        if current.settings != plan.settings:
            raise DeployRefused(
                f"the settings of '{plan.target_environment}' have changed since the plan was made",
                reasons=("the target's settings have changed",),
                environment=plan.target_environment,
                bucket=plan.target_bucket,
                hint="nothing was changed; make a new plan",
            )
        # A generated message does not count as a message of the caller.
        plan.settings.check_note(plan.target_environment, self.author, self.message)
        for each in self.changed:
            check_base(each.tool, begun.environment, current.tools.get(each.tool), ref_of(each.target), None)
        # As late as possible: later changes of the source are not noticed.
        await _check_source(plan, self.reader, self.changed)
        name = plan.hash
        return [await self._draft(each, bases[each.tool], name) for each in self.changed]

    async def _draft(self, each: ToolPlan, base: Release | None, name: str) -> Draft:
        plan = self.plan
        known = [each.source] if base is None else [each.source, base]
        checks = await keep_checks([each.report], each.files, known, force=self.force)
        bucket = None if plan.source_bucket == plan.target_bucket else plan.source_bucket
        return Draft(
            tool=each.tool,
            base=base,
            files=each.files,
            origin=Origin("deploy", plan.source_environment, each.source_revision, bucket, plan=name),
            author=self.author,
            message=self.message or f"deploy of {plan.source_environment} revision {each.source_revision}",
            warnings=checks.warnings,
            forced=checks.forced,
            deploy=Deployed(0, "", plan.source_environment, each.source_revision, each.source.digest, bucket),
            expect=each.target_revision,
        )

    def _makes(self, release: Release) -> bool:
        """Return whether the plan creates such a release."""
        return any(_makes(each, self.plan, release) for each in self.changed or self.plan.tools)


async def _check_source(plan: DeployPlan, reader: Reader, changed: Sequence[ToolPlan]) -> None:
    snapshot = await reader.require(plan.source_environment)
    moved = []
    for each in changed:
        state = snapshot.current.tools.get(each.tool)
        if state is None or state.release != each.source.ref:
            revision = "removed" if state is None else f"at revision {state.release.revision} now"
            moved.append(f"{each.tool}: the source was at revision {each.source_revision} and is {revision}")
    if moved:
        raise DeployRefused(
            f"'{plan.source_environment}' has changed since the plan was made: {'; '.join(moved)}",
            reasons=tuple(moved),
            environment=plan.source_environment,
            bucket=plan.source_bucket,
            hint="nothing was changed; make a new plan",
        )


def _makes(each: ToolPlan, plan: DeployPlan, release: Release) -> bool:
    """Return whether this part of the plan creates such a release."""
    origin = (release.tool, release.origin.action, release.origin.environment, release.origin.revision)
    hashes = {name: hashlib.sha256(raw).hexdigest() for name, raw in each.files.items()}
    return origin == (each.tool, "deploy", plan.source_environment, each.source_revision) and hashes == {
        name: entry.sha256 for name, entry in release.files.items()
    }
