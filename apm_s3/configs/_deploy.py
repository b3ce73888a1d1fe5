"""Deploys: the plan and its document, planning, carrying out."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from apm_s3._hints import Advice
from apm_s3._naming import OVERLAY, check_environment, counted
from apm_s3._plans import PlanDocument, canonical_hash, plan_document
from apm_s3._tasks import run_all
from apm_s3._tools import Tool
from apm_s3.configs._checks import check_bundle, keep_checks
from apm_s3.configs._content.diff import BundleDiff
from apm_s3.configs._content.files import check_tools
from apm_s3.configs._content.overlays import (
    Overlaid,
    Touched,
    apply_overlay,
    base_files,
    is_internal,
    is_reserved,
    undeclared,
)
from apm_s3.configs._models import (
    Deployed,
    EnvironmentSettings,
    Origin,
    Release,
    ReleaseRef,
    check_rule_names,
)
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.changes import check_base
from apm_s3.configs._protocol.commit import WriteCall
from apm_s3.configs._protocol.encoding import encode_settings, read_entry
from apm_s3.configs._protocol.publish import Draft, Publisher
from apm_s3.configs._protocol.reader import Gone, Reader, Snapshot
from apm_s3.configs._reads import compare
from apm_s3.configs._uploads import ChangeOptions
from apm_s3.errors import ConfigInvalid, ConfigNotFound, DeployRefused, InvalidOption, PlanOutdated, StoreDamaged
from apm_s3.reports import ValidationReport
from apm_s3.validators import ValidationOptions
from apm_s3.validators._checking import did_you_mean
from apm_s3.validators._validation.offload import run_quick
from apm_s3.validators._validation.validate import Level, check_level

KIND = "apm-s3/deploy-plan"

DRIFT = "the target was changed by hand since its last deploy"


@dataclass(frozen=True, slots=True)
class Side:
    """The parts of a store that a deploy needs, for the source and the target."""

    bucket: str
    prefix: str
    reader: Reader
    publisher: Publisher


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """What a deploy would do for one tool.

    Attributes:
        source, target: the releases on both sides; `target` is None if there is none yet.
        files: the target's new files, with its overlay applied.
        diff: the differences from the target's current files.
        report: the validation of `files`.
        touched: the files that the target's overlay changes, with base and result.
        changes: whether there is anything to do.
        drifted: whether the target was changed by hand since its last deploy.
        blocked: why the deploy is refused; empty if it is not.
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
        """Return the revision that would be deployed."""
        return self.source.revision

    @property
    def target_revision(self) -> int:
        """Return the revision that would be replaced (0: none)."""
        return 0 if self.target is None else self.target.revision


@dataclass(frozen=True, slots=True, weakref_slot=True)
class DeployPlan:
    """A planned deploy: a dry run, and the argument of `deploy`. It is data: the store that made it knows the target.

    Attributes:
        frozen: why the target is frozen; None if it is not.
        refused: why the target's settings do not allow the deploy; None if they do.
        settings: the target's settings, used for validation.
        variables: the names of the given variables.
        level, warnings_as_errors: arguments that are stricter than the target's settings.
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
    target_prefix: str = ""

    @property
    def changes(self) -> bool:
        """Return whether there is anything to do."""
        return any(each.changes for each in self.tools)

    @property
    def blocked(self) -> tuple[str, ...]:
        """Return why the deploy would be refused; empty if it would not."""
        return self.refusals()

    def refusals(self, *, allow_drift: bool = False, force: str | None = None) -> tuple[str, ...]:
        """Return why the deploy would be refused with these arguments of `deploy`; empty if it would not."""
        if not self.changes:
            return ()
        reasons = [] if self.refused is None else [self.refused]
        for each in self.tools:
            reasons += _refusals(each, allow_drift=allow_drift, force=force) if each.changes else []
        return (*reasons, *([] if self.frozen is None else [f"frozen: {self.frozen}"]))

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as a JSON document: ids, revisions, hashes, names and counts, and a hash of everything.

        It can be stored, reviewed and approved elsewhere; `from_dict` reads it. It contains no file content and no
        variable values.
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
                    "prefix": self.target_prefix,
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
        """Read a plan's document for `deploy`, which makes the plan again and carries it out only if it is the same.

        The hash protects from damage, not from an author: a plan that was edited and hashed again is accepted if it is
        one that the environments make. Compare the hash with the approved one.

        Raises:
            InvalidOption: it is not a deploy plan, or was modified without a new hash.
            FormatTooNew: a newer version of this library made it.
        """
        return PlanDocument.read(KIND, document)

    @property
    def hash(self) -> str:
        """Return the hash of the plan's whole content, which is stored in the log."""
        name: str = self.to_dict()["hash"]
        return name


@dataclass(frozen=True, slots=True)
class DeployResult:
    """A committed deploy: the new releases of one commit; none if nothing had changed.

    Attributes:
        plan: the document of the plan. Its hash is `origin.plan` of the releases.
    """

    plan: PlanDocument
    releases: tuple[Release, ...]


def blocked(report: ValidationReport, *, drifted: bool) -> tuple[str, ...]:
    """Return why a deploy of a tool is refused, unless it is forced."""
    errors = len(report.errors)
    first = "" if errors == 1 else ", the first"
    reasons = [f"{counted(errors, 'error')}{first}: {report.errors[0].render(report.name)}"] if errors else []
    return (*reasons, *([DRIFT] if drifted else []))


def was_touched(plan: ToolPlan) -> bool:
    """Return whether the target has a newer release than its last deploy, whatever that contains."""
    target = plan.target
    return target is not None and target.deployed is not None and target.deployed.revision != target.revision


def _refusals(plan: ToolPlan, *, allow_drift: bool, force: str | None) -> list[str]:
    """Return why a deploy of a tool is refused despite what the caller allows."""
    forced = force is not None and plan.report.kind != "overlay"
    reasons = plan.blocked if plan.report.ok or not forced else plan.blocked[1:]
    return [f"{plan.tool}: {reason}" for reason in reasons if reason != DRIFT or not allow_drift]


def _described(plan: ToolPlan) -> dict[str, Any]:
    """Return one tool of a plan, for its document."""
    old = {} if plan.target is None else {name: entry.sha256 for name, entry in plan.target.files.items()}
    new = plan.hashes
    return {
        "source": _named(plan.source.ref),
        "target": _named(ref_of(plan.target)),
        "changes": plan.changes,
        "drifted": plan.drifted,
        "errors": len(plan.report.errors),
        "warnings": len(plan.report.warnings),
        "files": {name: {"before": old.get(name), "after": new.get(name)} for name in sorted(old.keys() | new.keys())},
    }


def _named(ref: ReleaseRef | None) -> dict[str, Any] | None:
    return None if ref is None else {"revision": ref.revision, "key": ref.key, "sha256": ref.sha256}


def ref_of(release: Release | None) -> ReleaseRef | None:
    """Return the reference to a release for documents."""
    return None if release is None else release.ref


_EXPAND = frozenset(("grafana", "jaeger", "loki"))
"""The tools that replace `${NAME}` themselves, with environment variables."""

_Current = tuple[Release, Mapping[str, bytes]]
"""A tool's release and files: all of them, or those that are needed."""


@dataclass(frozen=True, slots=True)
class _There:
    """The current state of the target: its releases by tool, with their overlays, and why it is frozen."""

    current: Mapping[str, _Current]
    frozen: str | None = None
    settings: EnvironmentSettings = field(default_factory=EnvironmentSettings)


class _TargetChanged(Exception):
    """The target is no longer what the plan compares with, and that can no longer be read."""


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
    call: WriteCall | None = None,
) -> DeployPlan:
    """Plan a deploy for `ConfigStore.plan_deploy`; it extends the deadline of `call`."""
    same_store = (source.bucket, source.prefix) == (target.bucket, target.prefix)
    if same_store and source_environment == target_environment:
        raise InvalidOption(f"'{source_environment}' is both source and target", hint="use another target")
    planned: list[tuple[ToolPlan, frozenset[str]]] | None = None
    while planned is None:
        taken, there = await _both_sides(
            source, target, source_environment, target_environment, tools, call, create=create
        )
        with suppress(_TargetChanged):
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
        target.prefix,
    )


def _check_variables(variables: Mapping[str, str], declared: set[str], plans: Sequence[ToolPlan]) -> None:
    # An invalid overlay blocks the plan, and declares nothing.
    if any(plan.report.kind == "overlay" for plan in plans):
        return
    for name in sorted(variables.keys() - declared):
        hint = did_you_mean(name, declared) or f"declare it in {OVERLAY} of the target, or omit it"
        raise InvalidOption(f"variables: no overlay of these tools declares {name[:80]!r}", hint=hint)


async def _both_sides(
    source: Side,
    target: Side,
    source_environment: str,
    target_environment: str,
    tools: Sequence[str] | None,
    call: WriteCall | None,
    *,
    create: bool,
) -> tuple[Mapping[str, _Current], _There]:
    """Read the source, and the same tools of the target, concurrently."""
    here, there = await run_all(
        [source.reader.require(source_environment), _look(target.reader, target_environment, create=create)]
    )
    if here is None:
        raise AssertionError("an environment that is required is there")

    async def take() -> tuple[Mapping[str, _Current], _There | None]:
        taken = await source.reader.read_consistently(
            source_environment,
            lambda snapshot: _take(source.reader, snapshot, tools, call),
            begin=_first(source.reader, here),
        )
        return taken, None

    async def compare_with(names: Sequence[str], begun: Snapshot | None) -> tuple[Mapping[str, _Current], _There]:
        if begun is None:
            return {}, _There({})
        read = await target.reader.read_consistently(
            target_environment, lambda snapshot: _there(target.reader, snapshot, names),
            begin=_first(target.reader, begun),
        )  # fmt: skip
        return {}, read

    names = tuple(here.current.tools) if tools is None else tuple(dict.fromkeys(tools))
    (taken, _), (_, found) = await run_all([take(), compare_with(names, there)])
    if found is None:
        raise AssertionError("the target was read")
    if taken.keys() - set(names):
        # The source has changed meanwhile and has another tool.
        _, found = await compare_with(tuple(taken), there)
    return taken, found


def _first(reader: Reader, snapshot: Snapshot) -> Callable[[str], Awaitable[Snapshot]]:
    """Return a function like `Reader.require` that first returns what was just read."""
    read = [snapshot]

    async def begin(environment: str) -> Snapshot:
        return read.pop() if read else await reader.require(environment)

    return begin


async def _look(reader: Reader, environment: str, *, create: bool) -> Snapshot | None:
    """Return the target's reference document; None if it does not exist and may be created."""
    if create:
        snapshot = await reader.current(environment)
        if snapshot is None:
            await reader.check_empty(environment)
        return snapshot
    try:
        return await reader.require(environment)
    except ConfigNotFound as exc:
        hint = Advice.CREATE_TARGET_ENVIRONMENT()
        raise ConfigNotFound(exc.problem, environment=environment, hint=hint) from exc


async def _take(
    reader: Reader, snapshot: Snapshot, tools: Sequence[str] | None, call: WriteCall | None
) -> Mapping[str, _Current]:
    """Return the source's releases and files, from the same state."""

    async def take(tool: str) -> _Current | None:
        release = await reader.newest(snapshot, tool)
        if release is not None and not release.removed:
            if call is not None:
                # The files of the source, and about as much of the target's.
                call.allow(2 * release.size)
            return release, await reader.files(release)
        if tools is None:
            return None
        raise ConfigNotFound(
            f"there is no {tool} in '{snapshot.environment}' to deploy",
            tool=tool,
            environment=snapshot.environment,
            hint=Advice.LIST(),
        )

    names = sorted(snapshot.current.tools) if tools is None else list(dict.fromkeys(tools))
    found = await run_all(take(tool) for tool in names)
    taken = {tool: each for tool, each in zip(names, found, strict=True) if each is not None}
    if not taken:
        raise ConfigNotFound(
            f"'{snapshot.environment}' is empty: there is nothing to deploy",
            environment=snapshot.environment,
            hint="upload something first, or use another source",
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
    options: ValidationOptions,
) -> tuple[ToolPlan, frozenset[str]]:
    """Return the plan for one tool, and the variables that the target's overlay declares."""
    target, overlay = (None, {}) if current is None else current
    entries = {} if target is None else target.files
    base = base_files(files)
    failed: ValidationReport | None = None
    try:
        overlaid = await run_quick(partial(apply_overlay, base, overlay.get(OVERLAY), variables))
    except ConfigInvalid as invalid:
        failed, overlaid = invalid.report, Overlaid(base, overlay=overlay.get(OVERLAY))
    result = overlaid.release_files()
    hashes = await asyncio.to_thread(lambda: {name: hashlib.sha256(raw).hexdigest() for name, raw in result.items()})
    old_hashes = {name: entry.sha256 for name, entry in entries.items()}
    different = {name for name in hashes.keys() | old_hashes.keys() if hashes.get(name) != old_hashes.get(name)}
    # What overlays made tells where secrets are.
    needed = {name for name in entries if name in different or (different and is_internal(name))}
    old = await _contents(reader, target, needed)
    report = failed or await _report(release.tool, result, overlaid, options)
    drifted = target is not None and target.drifted
    plan = ToolPlan(
        tool=release.tool,
        source=release,
        target=target,
        files=MappingProxyType(result),
        diff=await _diff({**old, **overlay}, _compared(result, different), release, target),
        report=report,
        touched=overlaid.touched,
        changes=target is None or bool(different),
        drifted=drifted,
        blocked=blocked(report, drifted=drifted),
        hashes=MappingProxyType(hashes),
    )
    return plan, overlaid.declared


async def _report(
    tool: Tool, result: Mapping[str, bytes], overlaid: Overlaid, options: ValidationOptions
) -> ValidationReport:
    """Validate the result, and add unintended effects of the overlay."""
    report = await check_bundle(tool, result, options)
    notes = list(overlaid.notes)
    if tool not in _EXPAND:
        notes += [issue for _, issue in undeclared(overlaid.files, overlaid.declared)]
    return options.applied(replace(report, issues=(*report.issues, *notes)))


async def _contents(reader: Reader, release: Release | None, names: AbstractSet[str]) -> Mapping[str, bytes]:
    if release is None or not names:
        return {}
    wanted = {name: release.files[name] for name in names}
    try:
        return await reader.files(release, wanted)
    except Gone as gone:
        snapshot = await reader.require(release.environment)
        state = snapshot.current.tools.get(release.tool)
        if state is None or state.release != release.ref:
            # The target has changed, and a collector has deleted the blobs of what it was.
            raise _TargetChanged from gone
        raise StoreDamaged(gone.problem, environment=release.environment) from gone


def _compared(result: Mapping[str, bytes], different: AbstractSet[str]) -> dict[str, bytes]:
    """Return the files that differ, and those that show what is a secret."""
    return {name: raw for name, raw in result.items() if name in different or (different and is_reserved(name))}


async def _diff(
    old: Mapping[str, bytes], new: Mapping[str, bytes], source: Release, target: Release | None
) -> BundleDiff:
    label = "nothing" if target is None else f"{target.environment}#{target.revision}"
    return await compare((label, old), (f"{source.environment}#{source.revision}", new))


async def deploy(
    plan: DeployPlan | PlanDocument,
    source: Side,
    target: Side,
    variables: Mapping[str, str],
    change: ChangeOptions,
    *,
    allow_drift: bool,
    force: str | None,
) -> DeployResult:
    """Carry out a plan of these sides. `variables` are used only for a plan that was read from a document."""
    publisher = target.publisher
    if isinstance(plan, DeployPlan):
        environment = plan.target_environment
    else:
        environment = check_environment(plan.text("target", "environment"))
    async with publisher.committer.call(environment, change.timeout, change.write_id) as call:
        if isinstance(plan, PlanDocument):
            document = plan
            try:
                plan = await _plan_again(document, source, target, variables, call)
            except (PlanOutdated, ConfigNotFound) as exc:
                # The change since the plan may be an earlier commit of this same call.
                done = await _made_before(document, environment, publisher, call)
                if not done:
                    if isinstance(exc, PlanOutdated):
                        await _tell_if_carried_out(exc, document, environment, target.reader)
                    raise
                return DeployResult(document, tuple(done))
        changed = [each for each in plan.tools if each.changes]
        execution = _Execution(plan, changed, source.reader, publisher, change, force)
        written = DeployPlan.from_dict(plan.to_dict())
        return DeployResult(written, tuple(await execution.run(call, allow_drift=allow_drift)))


async def _plan_again(
    document: PlanDocument, source: Side, target: Side, variables: Mapping[str, str], call: WriteCall
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
            hint=Advice.PASS_VARIABLES(),
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


async def _made_before(
    document: PlanDocument, environment: str, publisher: Publisher, call: WriteCall
) -> list[Release]:
    tools = document.content.get("tools")
    named = tools.items() if isinstance(tools, Mapping) else ()
    changed = [tool for tool, told in named if isinstance(told, Mapping) and told.get("changes") is True]
    # The hash covers the whole plan.
    return await publisher.repeated(environment, changed, call=call, same=lambda old: old.origin.plan == document.hash)


async def _tell_if_carried_out(error: PlanOutdated, document: PlanDocument, environment: str, reader: Reader) -> None:
    """Say so in `error` if the recent log of the target has a deploy of this same plan."""
    snapshot = await reader.require(environment)
    where = reader.where(keys.current(environment))
    entries = [read_entry(raw, where) for raw in snapshot.current.log.entries if raw.get("plan") == document.hash]
    if not entries:
        return
    made = {tool: new for tool, (_, new) in entries[-1].tools.items()}
    now = {tool: state.release.revision for tool, state in snapshot.current.tools.items()}
    told = ", ".join(f"{tool} as revision {revision}" for tool, revision in made.items())
    moved = [f"{tool} at revision {now.get(tool, 0)}" for tool in made if now.get(tool) != made[tool]]
    error.problem = f"plan {document.hash[:12]} was already carried out: {told}"
    if moved:
        error.problem += f"; since then, '{environment}' has changed and has {', '.join(moved)}"
    else:
        error.carried_out, error.hint = made, "nothing is left to do"


@dataclass(frozen=True, slots=True)
class _Execution:
    """Carries out one plan. `changed` are the tools that it changes."""

    plan: DeployPlan
    changed: Sequence[ToolPlan]
    reader: Reader
    publisher: Publisher
    change: ChangeOptions
    force: str | None

    async def run(self, call: WriteCall, *, allow_drift: bool) -> list[Release]:
        self._check(allow_drift=allow_drift)
        environment, publisher = self.plan.target_environment, self.publisher
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
            drifted = not allow_drift and any(each.changes and DRIFT in each.blocked for each in plan.tools)
            raise DeployRefused(
                f"'{plan.source_environment}' cannot be deployed to '{plan.target_environment}': {'; '.join(reasons)}",
                reasons=reasons,
                environment=plan.target_environment,
                bucket=plan.target_bucket,
                hint=Advice.ALLOW_DRIFT() if drifted else Advice.RESOLVE_REASONS(),
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
        plan.settings.check_note(plan.target_environment, self.change.author, self.change.message)
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
            author=self.change.author,
            message=self.change.message or f"deploy of {plan.source_environment} revision {each.source_revision}",
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
