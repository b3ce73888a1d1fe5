"""Plans a deploy: reads both sides, applies the overlay, validates the result and compares."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from apm_s3._naming import OVERLAY
from apm_s3._tasks import run_all
from apm_s3._tools import Tool
from apm_s3.configs._content.diff import BundleDiff
from apm_s3.configs._content.overlays import Overlaid, apply_overlay, base_files, is_internal, is_reserved, undeclared
from apm_s3.configs._deploy.plans import DeployPlan, Side, ToolPlan, blocked
from apm_s3.configs._models.releases import Release
from apm_s3.configs._models.settings import EnvironmentSettings, ValidationRules
from apm_s3.configs._protocol.commit.calls import Call
from apm_s3.configs._protocol.reading.reader import Gone, Reader
from apm_s3.configs._protocol.reading.snapshots import Snapshot
from apm_s3.configs._reads.views import compare
from apm_s3.configs._writes.checks import report_bundle
from apm_s3.errors import ConfigInvalid, ConfigNotFound, InvalidOption, StoreDamaged
from apm_s3.reports import ValidationReport
from apm_s3.validators._checking import did_you_mean
from apm_s3.validators._validation.validate import Level

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
    call: Call | None = None,
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
        target_side=target,
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
    call: Call | None,
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
        hint = "check its name, the bucket and the prefix; create=True allows an environment that does not exist yet"
        raise ConfigNotFound(exc.problem, environment=environment, hint=hint) from exc


async def _take(
    reader: Reader, snapshot: Snapshot, tools: Sequence[str] | None, call: Call | None
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
            hint="see list() for what exists",
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
    rules: ValidationRules,
) -> tuple[ToolPlan, frozenset[str]]:
    """Return the plan for one tool, and the variables that the target's overlay declares."""
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
    # What overlays made tells where secrets are.
    needed = {name for name in entries if name in different or (different and is_internal(name))}
    old = await _contents(reader, target, needed)
    report = failed or await _report(release.tool, result, overlaid, rules)
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
    tool: Tool, result: Mapping[str, bytes], overlaid: Overlaid, rules: ValidationRules
) -> ValidationReport:
    """Validate the result, and add unintended effects of the overlay."""
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
