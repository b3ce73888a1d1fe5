"""The methods of `ConfigStore` about deploys."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import NoneType

from apm_s3._naming import check_environment
from apm_s3._plans import PlanDocument
from apm_s3._tools import Tool
from apm_s3.configs._content.sources import check_notes, check_tools, check_type
from apm_s3.configs._deploy import DeployPlan, DeployResult, Side, carry_out, make_plan, plan_again
from apm_s3.configs._settings import check_rule_names
from apm_s3.errors import InvalidOption
from apm_s3.validators._validate import Level


class DeployMethods:
    """Deploys from one environment to another. A part of `ConfigStore`."""

    _side: Side

    async def plan_deploy(
        self,
        source_environment: str,
        target_environment: str,
        *,
        tools: Sequence[Tool] | None = None,
        target: DeployMethods | None = None,
        variables: Mapping[str, str] | None = None,
        create: bool = False,
        level: Level | None = None,
        warnings_as_errors: Collection[str] = (),
    ) -> DeployPlan:
        """What a deploy would do: files, diff, validation, and what blocks it. Nothing is changed.

        Args:
            tools: by default every tool of the source.
            target: the store of the target, in another bucket or region; by default this one.
            variables: values for those that the target's overlays declare; the report of each tool tells what nothing
                replaces.
            create: the target may be an environment that does not exist yet.
            level, warnings_as_errors: stricter than the target's settings. See `upload`.

        Raises:
            InvalidOption: source and target are the same, or no overlay declares one of `variables`.
            ConfigNotFound: there is no such environment or tool, or the source is empty.
            StoreDamaged: what is stored cannot be read.
        """
        check_type("target", target, DeployMethods, NoneType)
        check_type("variables", variables, Mapping, NoneType)
        return await make_plan(
            self._side,
            (target or self)._side,  # noqa: SLF001 - another store of this class
            check_environment(source_environment),
            check_environment(target_environment),
            tools=check_tools(tools),
            variables=variables or {},
            create=create,
            level=level,
            warnings_as_errors=check_rule_names(warnings_as_errors),
        )

    async def deploy(
        self,
        plan: DeployPlan | PlanDocument,
        *,
        author: str | None = None,
        message: str = "",
        allow_drift: bool = False,
        force: str | None = None,
        target: DeployMethods | None = None,
        variables: Mapping[str, str] | None = None,
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> DeployResult:
        """Carry out a plan of this store: one commit for all its tools, or nothing.

        Time, id (one of the target environment) and cancellation are as for `upload`.

        Args:
            plan: what `plan_deploy` made; or what `DeployPlan.from_dict` brought back, which is planned anew first.
            allow_drift: overwrite what was changed in the target by hand since its last deploy.
            force: deploy in spite of validation's errors, for this reason, which is kept.
            target, variables: as they were given to `plan_deploy`; only for a plan that `from_dict` brought back.

        Raises:
            PlanOutdated: planned anew, something is different; nothing was changed.
            DeployRefused: the plan is blocked, or its source has moved; nothing was changed.
            RevisionConflict: the target has moved; nothing was changed.
            EnvironmentFrozen, CommitUnknown, StoreDamaged: see `upload`.
        """
        check_type("plan", plan, DeployPlan, PlanDocument)
        check_type("target", target, DeployMethods, NoneType)
        check_type("variables", variables, Mapping, NoneType)
        check_notes(author, message, force)
        if isinstance(plan, PlanDocument):
            other = (target or self)._side  # noqa: SLF001 - another store of this class
            plan = await plan_again(plan, self._side, other, variables or {})
        elif target is not None or variables is not None:
            raise InvalidOption("this plan has its target and variables already", hint="leave them out")
        return await carry_out(
            plan,
            self._side,
            author=author,
            message=message,
            allow_drift=allow_drift,
            force=force,
            timeout=timeout,
            write_id=write_id,
        )
