"""Deploys: what one environment has, into another, planned first, then committed for all tools at once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from apm_s3._naming import check_environment
from apm_s3._plans import PlanDocument, canonical_hash, plan_document
from apm_s3._tasks import run_all
from apm_s3._tools import Tool
from apm_s3.configs._checks import keep_checks, report_bundle
from apm_s3.configs._content.diff import BundleDiff
from apm_s3.configs._content.overlays import (
    OVERLAY,
    Overlaid,
    Touched,
    apply_overlay,
    base_files,
    is_reserved,
    undeclared,
)
from apm_s3.configs._content.sources import check_tools
from apm_s3.configs._models import Deployed, Origin, Release, ReleaseRef
from apm_s3.configs._protocol.calls import Call
from apm_s3.configs._protocol.changes import check_base
from apm_s3.configs._protocol.publish import Draft, Publisher
from apm_s3.configs._protocol.reader import Gone, Reader
from apm_s3.configs._protocol.settings import encode_settings
from apm_s3.configs._protocol.snapshots import Snapshot
from apm_s3.configs._settings import EnvironmentSettings, ValidationRules, check_level, check_rule_names
from apm_s3.configs._views import compare
from apm_s3.errors import ConfigInvalid, ConfigNotFound, DeployRefused, InvalidOption, PlanOutdated
from apm_s3.reports import ValidationReport
from apm_s3.validators._hints import did_you_mean
from apm_s3.validators._validate import Level

KIND = "apm-s3/deploy-plan"


@dataclass(frozen=True, slots=True)
class Side:
    """A store, as a deploy needs it: the source or the target."""

    bucket: str
    prefix: str
    reader: Reader
    publisher: Publisher


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """What a deploy would do for one tool.

    Attributes:
        source, target: the releases on both sides; `target` is None where there is none yet.
        files: what the target would hold, with its overlay applied.
        diff: from what the target has now.
        report: validation of `files`.
        touched: the files that the target's overlay changes, with base and result.
        changes: whether there is anything to do.
        drifted: the target was changed by hand since its last deploy.
        blocked: why the deploy is refused; empty where it is not.
        hashes: the SHA-256 of each of `files`.
    """

    tool: Tool
    source: Release
    target: Release | None
    files: Mapping[str, bytes] = field(repr=False)
    diff: BundleDiff = field(repr=False)
    report: ValidationReport
    touched: tuple[Touched, ...]
    changes: bool
    drifted: bool
    blocked: tuple[str, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def source_revision(self) -> int:
        """The revision that would be deployed."""
        return self.source.revision

    @property
    def target_revision(self) -> int:
        """The revision that would be replaced (0: none)."""
        return 0 if self.target is None else self.target.revision


@dataclass(frozen=True, slots=True)
class DeployPlan:
    """A deploy as it would be now. It is the dry run, and what `deploy` takes.

    Attributes:
        frozen: why the target takes no change at all; None where it does.
        refused: why the target's settings do not allow it; None where they do.
        settings: the target's, by which it is validated.
        variables: the names of those that were given.
        level, warnings_as_errors: what was asked for beyond the target's settings.
        create: whether the target may be an environment that does not exist yet.
    """

    source_environment: str
    target_environment: str
    source_bucket: str
    target_bucket: str
    tools: tuple[ToolPlan, ...]
    frozen: str | None = None
    refused: str | None = None
    settings: EnvironmentSettings = field(default_factory=EnvironmentSettings, repr=False)
    variables: tuple[str, ...] = ()
    level: Level | None = None
    warnings_as_errors: tuple[str, ...] = ()
    create: bool = False
    source_prefix: str = ""
    target_side: Side = field(repr=False, compare=False, kw_only=True)

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return any(each.changes for each in self.tools)

    @property
    def blocked(self) -> tuple[str, ...]:
        """Why the deploy would be refused; empty where it would not."""
        reasons = [f"{each.tool}: {reason}" for each in self.tools for reason in each.blocked]
        reasons += [] if self.refused is None else [self.refused]
        return (*reasons, *([] if self.frozen is None else [f"frozen: {self.frozen}"]))

    def to_dict(self) -> dict[str, Any]:
        """The plan as a JSON document: ids, revisions, hashes, names and counts, and a hash of all of it.

        It can be stored, reviewed and approved elsewhere; `from_dict` brings it back. It holds no content of a file
        and no value of a variable.
        """
        return plan_document(
            KIND,
            {
                "source": {
                    "bucket": self.source_bucket,
                    "prefix": self.source_prefix,
                    "environment": self.source_environment,
                },
                "target": {
                    "bucket": self.target_bucket,
                    "prefix": self.target_side.prefix,
                    "environment": self.target_environment,
                },
                "create": self.create,
                "variables": sorted(self.variables),
                "level": self.level,
                "warnings_as_errors": sorted(self.warnings_as_errors),
                "settings": canonical_hash(encode_settings(self.settings)),
                "frozen": self.frozen is not None,
                "refused": self.refused is not None,
                "tools": {each.tool: _described(each) for each in self.tools},
            },
        )

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> PlanDocument:
        """A plan that was written down, for `deploy`, which plans anew and carries it out only if nothing is different.

        Raises:
            InvalidOption: it is no plan of a deploy, or was changed.
            FormatTooNew: a later version of this library made it.
        """
        return PlanDocument.read(KIND, document)

    @property
    def hash(self) -> str:
        """Names the plan, and everything that it says. The log keeps it."""
        name: str = self.to_dict()["hash"]
        return name


@dataclass(frozen=True, slots=True)
class DeployResult:
    """A deploy that was committed: the new releases, all of one commit; none where nothing had changed.

    Attributes:
        plan: what was carried out; the document itself where its `write_id` had committed it before.
    """

    plan: DeployPlan | PlanDocument
    releases: tuple[Release, ...]


async def make_plan(
    source: Side,
    target: Side,
    source_environment: str,
    target_environment: str,
    *,
    tools: Sequence[str] | None,
    variables: Mapping[str, str],
    create: bool,
    level: Level | None = None,
    warnings_as_errors: tuple[str, ...] = (),
    call: Call | None = None,
) -> DeployPlan:
    """See `ConfigStore.plan_deploy`; `call` is what it is made for, which gets the time that it may take."""
    same_store = (source.bucket, source.prefix) == (target.bucket, target.prefix)
    if same_store and source_environment == target_environment:
        raise InvalidOption(f"'{source_environment}' is source and target at once", hint="name another target")
    taken, there = await _both_sides(source, target, source_environment, target_environment, tools, call, create=create)
    planned = await run_all(
        _plan_tool(
            release,
            files,
            there.current.get(tool),
            target.reader,
            variables,
            there.settings.rules(tool, level=level, warnings_as_errors=warnings_as_errors),
        )
        for tool, (release, files) in taken.items()
    )
    plans = [plan for plan, _ in planned]
    declared = {name for _, names in planned for name in names}
    _check_variables(variables, declared, plans)
    return DeployPlan(
        source_environment,
        target_environment,
        source.bucket,
        target.bucket,
        tuple(plans),
        there.frozen,
        there.settings.refuses_source(source_environment),
        there.settings,
        tuple(variables),
        level,
        warnings_as_errors,
        create,
        source.prefix,
        target_side=target,
    )


def _check_variables(variables: Mapping[str, str], declared: set[str], plans: Sequence[ToolPlan]) -> None:
    # An overlay that is wrong blocks the plan, and declares nothing.
    if any(plan.report.kind == "overlay" for plan in plans):
        return
    for name in sorted(variables.keys() - declared):
        hint = did_you_mean(name, declared) or f"declare it in {OVERLAY} of the target, or leave it out"
        raise InvalidOption(f"variables: no overlay of these tools declares {name[:80]!r}", hint=hint)


async def _plan_again(
    document: PlanDocument, source: Side, target: Side, variables: Mapping[str, str], call: Call
) -> DeployPlan:
    """The plan that `document` describes, made anew, if nothing is different.

    Raises:
        PlanOutdated: something is.
        InvalidOption: it is a plan of other stores, or needs other variables.
    """
    for side, name in ((source, "source"), (target, "target")):
        document.require_store(name, side.bucket, side.prefix)
    needed = document.names("variables")
    if sorted(variables) != needed:
        raise InvalidOption(
            f"the plan was made with the variables {', '.join(needed) or '(none)'}",
            hint="give variables= the same ones",
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
    """See `ConfigStore.deploy`; `target` and `variables` are those of a plan that came back."""
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
                # What has changed since may be what this very call has committed before.
                done = await _made_before(document, environment, publisher, call)
                if not done:
                    raise
                return DeployResult(document, tuple(done))
        return await _carry_out(
            plan, source, call, author=author, message=message, allow_drift=allow_drift, force=force
        )


async def _made_before(document: PlanDocument, environment: str, publisher: Publisher, call: Call) -> list[Release]:
    tools = document.content.get("tools")
    named = tools.items() if isinstance(tools, Mapping) else ()
    changed = [tool for tool, told in named if isinstance(told, Mapping) and told.get("changes") is True]
    # The hash names all that the plan says.
    return await publisher.repeated(environment, changed, call=call, same=lambda old: old.origin.plan == document.hash)


async def _carry_out(
    plan: DeployPlan,
    source: Side,
    call: Call,
    *,
    author: str | None,
    message: str,
    allow_drift: bool,
    force: str | None,
) -> DeployResult:
    changed = [each for each in plan.tools if each.changes]
    reasons = tuple(reason for each in changed for reason in _refusals(each, allow_drift=allow_drift, force=force))
    if changed and plan.refused is not None:
        reasons = (plan.refused, *reasons)
    if reasons:
        raise DeployRefused(
            f"'{plan.source_environment}' is not deployed into '{plan.target_environment}': {'; '.join(reasons)}",
            reasons=reasons,
            environment=plan.target_environment,
            bucket=plan.target_bucket,
            hint="nothing was changed",
        )
    publisher, name = plan.target_side.publisher, plan.hash
    if not changed:
        # Planned again after it was carried out, there is nothing left to do.
        done = await publisher.repeated(
            plan.target_environment,
            None,
            call=call,
            same=lambda old: any(_makes(each, plan, old) for each in plan.tools),
        )
        return DeployResult(plan, tuple(done))

    async def make(begun: Snapshot, bases: Mapping[str, Release | None]) -> list[Draft]:
        if begun.current.settings != plan.settings:
            raise DeployRefused(
                f"the settings of '{plan.target_environment}' have changed since the plan was made",
                reasons=("the target's settings have changed",),
                environment=plan.target_environment,
                bucket=plan.target_bucket,
                hint="nothing was changed; make a new plan",
            )
        # A message that is made up here is none that anybody gave.
        plan.settings.check_note(plan.target_environment, author, message)
        for each in changed:
            check_base(each.tool, begun.environment, begun.current.tools.get(each.tool), _ref(each.target), None)
        # As late as can be: afterwards the source may move unseen.
        await _check_source(plan, source.reader, changed)
        return [await _draft(plan, name, each, bases[each.tool], force, author, message) for each in changed]

    expect: dict[str, int | None] = {each.tool: each.target_revision for each in changed}

    def same(release: Release) -> bool:
        return any(_makes(each, plan, release) for each in changed)

    releases = await publisher.publish(plan.target_environment, make, expect, call=call, same=same)
    return DeployResult(plan, tuple(releases))


# --------------------------------------------------------------------------------------------------------------
# The plan


_Current = tuple[Release, Mapping[str, bytes]]
"""A tool's release and files: all of them, or what is needed of them."""


@dataclass(frozen=True, slots=True)
class _There:
    """What the target has now: its releases by tool, with their overlays, and why it is frozen."""

    current: Mapping[str, _Current]
    frozen: str | None = None
    settings: EnvironmentSettings = field(default_factory=EnvironmentSettings)


async def _both_sides(
    source: Side,
    target: Side,
    source_environment: str,
    target_environment: str,
    tools: Sequence[str] | None,
    call: Call | None,
    *,
    create: bool,
) -> tuple[Mapping[str, _Current], _There]:
    """What the source has, and what the target has of it: both sides read at the same time."""
    here, there = await run_all(
        [source.reader.require(source_environment), _look(target.reader, target_environment, create=create)]
    )
    if here is None:
        raise AssertionError("an environment that is required is there")

    async def take() -> tuple[Mapping[str, _Current], _There | None]:
        taken = await source.reader.settled(
            source_environment,
            lambda snapshot: _take(source.reader, snapshot, tools, call),
            begin=_first(source.reader, here),
        )
        return taken, None

    async def compare_with(names: Sequence[str], begun: Snapshot | None) -> tuple[Mapping[str, _Current], _There]:
        if begun is None:
            return {}, _There({})
        read = await target.reader.settled(
            target_environment, lambda snapshot: _there(target.reader, snapshot, names),
            begin=_first(target.reader, begun),
        )  # fmt: skip
        return {}, read

    names = tuple(here.current.tools) if tools is None else tuple(dict.fromkeys(tools))
    (taken, _), (_, found) = await run_all([take(), compare_with(names, there)])
    if found is None:
        raise AssertionError("the target was read")
    if taken.keys() - set(names):
        # The source has changed meanwhile: it has a tool more.
        _, found = await compare_with(tuple(taken), there)
    return taken, found


def _first(reader: Reader, snapshot: Snapshot) -> Callable[[str], Awaitable[Snapshot]]:
    """`Reader.require`, which gives what was just read at first."""
    read = [snapshot]

    async def begin(environment: str) -> Snapshot:
        return read.pop() if read else await reader.require(environment)

    return begin


async def _look(reader: Reader, environment: str, *, create: bool) -> Snapshot | None:
    """The target's reference document; None where there is none and it may be created."""
    if create:
        snapshot = await reader.current(environment)
        if snapshot is None:
            await reader.check_empty(environment)
        return snapshot
    try:
        return await reader.require(environment)
    except ConfigNotFound as exc:
        hint = (
            "check its name, the bucket and the prefix; create=True deploys into an environment that is not there yet"
        )
        raise ConfigNotFound(exc.problem, environment=environment, hint=hint) from exc


async def _take(
    reader: Reader, snapshot: Snapshot, tools: Sequence[str] | None, call: Call | None
) -> Mapping[str, _Current]:
    """The source's releases and files, of one and the same state."""

    async def take(tool: str) -> _Current | None:
        release = await reader.newest(snapshot, tool)
        if release is not None and not release.removed:
            if call is not None:
                # The files of the source, and as much of the target's.
                call.allow(2 * release.size)
            return release, await reader.files(release)
        if tools is None:
            return None
        raise ConfigNotFound(
            f"there is no {tool} in '{snapshot.environment}' to deploy",
            tool=tool,
            environment=snapshot.environment,
            hint="list() shows what there is",
        )

    names = sorted(snapshot.current.tools) if tools is None else list(dict.fromkeys(tools))
    found = await run_all(take(tool) for tool in names)
    taken = {tool: each for tool, each in zip(names, found, strict=True) if each is not None}
    if not taken:
        raise ConfigNotFound(
            f"'{snapshot.environment}' is empty: there is nothing to deploy",
            environment=snapshot.environment,
            hint="upload something first, or name another source",
        )
    return taken


async def _there(reader: Reader, snapshot: Snapshot, tools: Sequence[str]) -> _There:
    async def take(tool: str) -> _Current | None:
        release = await reader.newest(snapshot, tool)
        if release is None:
            return None
        overlay = {name: entry for name, entry in release.files.items() if name == OVERLAY}
        return release, await reader.files(release, overlay)

    found = await run_all(take(tool) for tool in tools)
    freeze = snapshot.current.freeze
    current = {tool: each for tool, each in zip(tools, found, strict=True) if each is not None}
    return _There(current, None if freeze is None else freeze.reason, snapshot.current.settings)


async def _plan_tool(
    release: Release,
    files: Mapping[str, bytes],
    current: _Current | None,
    reader: Reader,
    variables: Mapping[str, str],
    rules: ValidationRules,
) -> tuple[ToolPlan, frozenset[str]]:
    """The plan for one tool, and the variables that the target's overlay declares."""
    target, overlay = (None, {}) if current is None else current
    entries = {} if target is None else target.files
    base = base_files(files)
    failed: ValidationReport | None = None
    try:
        overlaid = await asyncio.to_thread(apply_overlay, base, overlay.get(OVERLAY), variables)
    except ConfigInvalid as invalid:
        failed, overlaid = invalid.report, Overlaid(base, overlay=overlay.get(OVERLAY))
    result = overlaid.release_files()
    hashes = await asyncio.to_thread(lambda: {name: hashlib.sha256(raw).hexdigest() for name, raw in result.items()})
    old_hashes = {name: entry.sha256 for name, entry in entries.items()}
    different = {name for name in hashes.keys() | old_hashes.keys() if hashes.get(name) != old_hashes.get(name)}
    old = await _contents(reader, target, different & entries.keys())
    report = failed or await _report(release.tool, result, overlaid, rules)
    drifted = target is not None and target.drifted
    plan = ToolPlan(
        tool=release.tool,
        source=release,
        target=target,
        files=MappingProxyType(result),
        diff=await _diff(old, {name: result[name] for name in different & result.keys()}, release, target),
        report=report,
        touched=overlaid.touched,
        changes=target is None or bool(different),
        drifted=drifted,
        blocked=_blocked(report, drifted=drifted),
        hashes=MappingProxyType(hashes),
    )
    return plan, overlaid.declared


async def _report(
    tool: Tool, result: Mapping[str, bytes], overlaid: Overlaid, rules: ValidationRules
) -> ValidationReport:
    """What validation says of the result, and what the overlay's author may not have meant."""
    report = await report_bundle(tool, result, rules)
    notes = list(overlaid.notes)
    if tool not in _EXPAND:
        notes += [issue for _, issue in undeclared(overlaid.files, overlaid.declared)]
    return rules.applied(replace(report, issues=(*report.issues, *notes)))


async def _contents(reader: Reader, release: Release | None, names: AbstractSet[str]) -> Mapping[str, bytes]:
    if release is None or not names:
        return {}
    wanted = {name: release.files[name] for name in names}
    try:
        return await reader.files(release, wanted)
    except Gone:
        # Damaged; or the target has moved on, and a collector has come by.
        return await reader.settled(release.environment, lambda _: reader.files(release, wanted))


async def _diff(
    old: Mapping[str, bytes], new: Mapping[str, bytes], source: Release, target: Release | None
) -> BundleDiff:
    label = "nothing" if target is None else f"{target.environment}#{target.revision}"
    return await compare((label, _read_by_tool(old)), (f"{source.environment}#{source.revision}", _read_by_tool(new)))


def _read_by_tool(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: raw for name, raw in files.items() if not is_reserved(name)}


def _described(plan: ToolPlan) -> dict[str, Any]:
    """One tool of a plan, for its document."""
    old = {} if plan.target is None else {name: entry.sha256 for name, entry in plan.target.files.items()}
    new = plan.hashes
    return {
        "source": _named(plan.source.ref),
        "target": _named(_ref(plan.target)),
        "changes": plan.changes,
        "drifted": plan.drifted,
        "errors": len(plan.report.errors),
        "warnings": len(plan.report.warnings),
        "files": {name: {"before": old.get(name), "after": new.get(name)} for name in sorted(old.keys() | new.keys())},
    }


def _named(ref: ReleaseRef | None) -> dict[str, Any] | None:
    return None if ref is None else {"revision": ref.revision, "key": ref.key, "sha256": ref.sha256}


_EXPAND = frozenset(("grafana", "jaeger", "loki"))
"""The tools that replace `${NAME}` themselves, by their environment's variables."""
_DRIFT = "the target was changed by hand since its last deploy"


def _blocked(report: ValidationReport, *, drifted: bool) -> tuple[str, ...]:
    errors = len(report.errors)
    counted = "1 error" if errors == 1 else f"{errors} errors, the first"
    reasons = [f"{counted}: {report.errors[0].render(report.name)}"] if errors else []
    return (*reasons, *([_DRIFT] if drifted else []))


# --------------------------------------------------------------------------------------------------------------
# The deploy


def _refusals(plan: ToolPlan, *, allow_drift: bool, force: str | None) -> list[str]:
    reasons = []
    if not plan.report.ok and (force is None or plan.report.kind == "overlay"):
        reasons.append(f"{plan.tool}: {plan.blocked[0]}")
    if plan.drifted and not allow_drift:
        reasons.append(f"{plan.tool}: {_DRIFT} (allow_drift=True overwrites that)")
    return reasons


async def _check_source(plan: DeployPlan, reader: Reader, changed: Sequence[ToolPlan]) -> None:
    snapshot = await reader.require(plan.source_environment)
    moved = []
    for each in changed:
        state = snapshot.current.tools.get(each.tool)
        if state is None or state.release != each.source.ref:
            revision = "gone" if state is None else f"revision {state.release.revision} now"
            moved.append(f"{each.tool}: the source was at revision {each.source_revision} and is {revision}")
    if moved:
        raise DeployRefused(
            f"'{plan.source_environment}' has moved since the plan was made: {'; '.join(moved)}",
            reasons=tuple(moved),
            environment=plan.source_environment,
            bucket=plan.source_bucket,
            hint="nothing was changed; make a new plan",
        )


async def _draft(
    plan: DeployPlan,
    name: str,
    each: ToolPlan,
    base: Release | None,
    force: str | None,
    author: str | None,
    message: str,
) -> Draft:
    known = [each.source] if base is None else [each.source, base]
    checks = await keep_checks([each.report], each.files, known, force=force)
    bucket = None if plan.source_bucket == plan.target_bucket else plan.source_bucket
    return Draft(
        tool=each.tool,
        base=base,
        files=each.files,
        origin=Origin("deploy", plan.source_environment, each.source_revision, bucket, plan=name),
        author=author,
        message=message or f"deploy of {plan.source_environment} revision {each.source_revision}",
        warnings=checks.warnings,
        forced=checks.forced,
        deploy=Deployed(0, "", plan.source_environment, each.source_revision, each.source.digest, bucket),
        expect=each.target_revision,
    )


def _makes(each: ToolPlan, plan: DeployPlan, release: Release) -> bool:
    """Whether a release is what this part of the plan makes."""
    origin = (release.tool, release.origin.action, release.origin.environment, release.origin.revision)
    hashes = {name: hashlib.sha256(raw).hexdigest() for name, raw in each.files.items()}
    return origin == (each.tool, "deploy", plan.source_environment, each.source_revision) and hashes == {
        name: entry.sha256 for name, entry in release.files.items()
    }


def _ref(release: Release | None) -> ReleaseRef | None:
    return None if release is None else release.ref
