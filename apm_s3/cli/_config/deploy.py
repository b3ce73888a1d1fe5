"""The commands `config plan|deploy|rollback|rm|outcome`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apm_s3._naming import counted
from apm_s3.cli import _arguments as args
from apm_s3.cli._arguments import pairs
from apm_s3.cli._call import Call, in_production
from apm_s3.cli._config.push import SIGN_OF, show_plan
from apm_s3.cli._output import make_changes
from apm_s3.cli._statuses import Status, UsageFailed
from apm_s3.errors import CommitUnknown, ConfigNotFound, PlanOutdated, S3Error, TransportError

if TYPE_CHECKING:
    from rich.text import Text

    from apm_s3._plans import PlanDocument
    from apm_s3._tools import Tool
    from apm_s3.configs import ConfigStore, DeployPlan, Release
    from apm_s3.reports import ValidationReport


variables = args.option("--var", metavar="NAME=VALUE", multiple=True, help="A variable of the overlays. Repeatable.")


@args.argument("source", help="The environment to deploy from.")
@args.argument("target", required=False, help="The environment to deploy to; by default --environment.")
@args.option("--tool", type=args.TOOL, multiple=True, help="Only this tool. Repeatable.")
@variables
@args.create_environment
@args.option("--out", metavar="FILE", type=args.PATH, help="Write the plan there, for config deploy.")
@args.exit_code
def plan(
    call: Call,
    *,
    source: str,
    target: str | None,
    tool: tuple[Tool, ...],
    var: tuple[str, ...],
    create: bool,
    out: Path | None,
    exit_code: bool,
) -> Status:
    """Show what a deploy would change, for review.

    The file of --out has ids and hashes, no contents and no values of variables. It exits with 4 if a deploy would be
    refused.

    Examples:
        apm-s3 config plan staging production --out deploy.plan
        apm-s3 config plan staging production --tool prometheus --exit-code
    """
    there = target or call.environment
    tools = tool or None
    variables = pairs(var, "--var")
    made = call.run_on_store(
        lambda store: store.plan_deploy(source, there, tools=tools, variables=variables, create=create)
    )
    if out is not None:
        write_text(out, json.dumps(made.to_dict(), indent=2) + "\n")
    call.print(plan_document(made, made.blocked), *show_plan(made, made.blocked), paged=True)
    if out is not None:
        call.note(f"\nWrote plan {made.hash[:12]} to {out}. {_next_step(made, out)}")
    if made.blocked:
        return Status.CONFLICT
    return Status.DIFFERENT if exit_code and made.changes else Status.DONE


def _next_step(plan: DeployPlan, file: Path) -> str:
    """Return what to do with a plan: carry it out, if need be with the options without which it is refused."""
    deploy = f"apm-s3 config deploy {file}"
    if not plan.changes:
        return "There is nothing to carry out."
    if not plan.blocked:
        return f"Carry it out with: {deploy}"
    for needed, arguments in (
        ("--allow-drift", {"allow_drift": True}),
        ("--force REASON", {"force": ""}),
        ("--allow-drift --force REASON", {"allow_drift": True, "force": ""}),
    ):
        if not plan.refusals(**arguments):
            return f"A deploy refuses it, unless with: {deploy} {needed}"
    return "A deploy refuses it: resolve the reasons, and make a new plan."


def _plan_file(_: click.Context, __: click.Parameter, file: Path) -> Path:
    if file.is_file():
        return file
    raise click.BadParameter(f"there is no file '{file}'; apm-s3 config plan SOURCE TARGET --out FILE writes a plan")


@args.argument("file", metavar="PLAN", type=args.PATH, callback=_plan_file, help="The file of config plan --out.")
@variables
@args.flag("--allow-drift", help="Overwrite manual changes of the target.")
@args.force
@args.of_write
def deploy(call: Call, *, file: Path, var: tuple[str, ...], allow_drift: bool, force: str | None) -> Status:
    """Carry out a plan of config plan, all its tools at once.

    The plan is refused (status 4) if anything that it describes has changed since. If it was carried out before, there
    is nothing to do. Production asks for its name.

    Example:
        apm-s3 config deploy deploy.plan -m "Release 42"
    """
    document = read_plan(file)
    source, target = document.text("source", "environment"), document.text("target", "environment")
    variables = pairs(var, "--var")
    if call.dry_run:
        with _new_plan_for(source, target):
            made = call.run_on_store(lambda store: plan_again(store, document, variables))
        refused = made.refusals(allow_drift=allow_drift, force=force)
        call.print({"dry_run": True, **plan_document(made, refused)}, *show_plan(made, refused), paged=True)
        return Status.CONFLICT if refused else Status.DONE
    tools = document.content["tools"]
    changed = [name for name, told in tools.items() if told["changes"]]
    what = f"plan {document.hash[:12]} ({', '.join(changed) or 'nothing'})"
    call.confirm(f"Deploy {what} from {source} to {target}?", name=in_production(target))
    how = call.begin_write(target, f"Deploy {source} to {target}: {', '.join(changed)}.")
    how |= {"allow_drift": allow_drift, "force": force, "variables": variables}
    try:
        with _new_plan_for(source, target):
            result = call.run_on_store(lambda store: store.deploy(document, **how))
    except PlanOutdated as exc:
        if not exc.carried_out:
            raise
        call.print({"plan": document.hash, "releases": [], "carried_out": exc.carried_out}, exc.problem)
        return Status.DONE
    told = [f"{each.tool} is at revision {each.revision}" for each in result.releases]
    done = (
        f"deployed {source} to {target}: {', '.join(told)}" if told else f"nothing to deploy from {source} to {target}"
    )
    call.print({"plan": result.plan.hash, "releases": result.releases}, done)
    return Status.DONE


@contextmanager
def _new_plan_for(source: str, target: str) -> Iterator[None]:
    """Name the command that plans a deploy to a new environment if the target of the plan has gone meanwhile."""
    try:
        yield
    except ConfigNotFound as exc:
        if exc.environment == target:
            exc.hint = f"to create it, make a new plan: apm-s3 config plan {source} {target} --create --out FILE"
        raise


def read_plan(file: Path) -> PlanDocument:
    """Read the file of a plan.

    Raises:
        UsageFailed: it is not JSON.
        InvalidOption: it is not a plan of a deploy, or was changed.
    """
    from apm_s3.configs import DeployPlan  # noqa: PLC0415 - it brings the validators

    try:
        document = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as exc:
        raise UsageFailed(
            f"{file} is not a plan: it is not JSON", "make one: apm-s3 config plan SOURCE TARGET --out FILE"
        ) from exc
    return DeployPlan.from_dict(document)


async def plan_again(store: ConfigStore, document: PlanDocument, variables: Mapping[str, str]) -> DeployPlan:
    """Return the plan in `document`, made again.

    Raises:
        PlanOutdated: it would be different now.
    """
    from apm_s3.configs._content.files import check_tools  # noqa: PLC0415 - it brings the validators

    for side in ("source", "target"):
        document.require_store(side, store.bucket, store.prefix)
    fresh = await store.plan_deploy(
        document.text("source", "environment"),
        document.text("target", "environment"),
        tools=check_tools(document.names("tools")),
        variables=variables,
        create=document.content.get("create") is True,
        level=document.content.get("level"),
        warnings_as_errors=document.names("warnings_as_errors"),
    )
    document.require_same(fresh.to_dict(), bucket=store.bucket)
    return fresh


def plan_document(plan: DeployPlan, refused: Sequence[str]) -> dict[str, Any]:
    """Return a plan as JSON: what `--out` writes, with differences, issues and what blocks it."""
    return {
        "plan": plan.to_dict(),
        "changes": plan.changes,
        "blocked": refused,
        "tools": {
            each.tool: {"diff": each.diff.to_dict(), "issues": each.report.issues, "drifted": each.drifted}
            for each in plan.tools
        },
    }


def write_text(path: Path, text: str) -> None:
    """Write a file at once: readers see the old content or the new one. To devices and pipes, it just writes."""
    if (path.exists() and not path.is_file()) or path.absolute().parent == Path("/dev"):
        path.write_text(text, encoding="utf-8")
        return
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


@args.tool_name
@args.option("--to", type=click.IntRange(min=1), help="The revision; by default the one marked good.")
@args.expect_revision
@args.force
@args.of_change
def rollback(call: Call, *, tool: Tool, to: int | None, force: str | None, **options: Any) -> Status:
    """Return to an old revision, by default the good one.

    It creates a new revision with the old files, which are validated first; production asks for its name.

    Example:
        apm-s3 config rollback prometheus --to 41 -e production -m "Alerts are late"
    """
    environment = call.environment
    name = in_production(environment)
    if call.dry_run or (name is not None and not call.yes):
        current, target, report = call.run_on_store(lambda store: _both(store, tool, environment, to))
        if call.dry_run:
            for issue in (*report.errors, *report.warnings):
                call.note(issue.render(report.name))
            valid = report.ok or force is not None
            document = {"dry_run": True, "valid": valid, "current": current, "target": target}
            call.print(document, _changes(f"Would return {tool} in {environment} to revision", current, target))
            return Status.DONE if valid else Status.INVALID
        call.confirm(f"Return {tool} in {environment} to revision {target.revision}?", name=name)
    release = call.change(
        environment,
        f"Return {tool} in {environment} to revision {to or 'marked good'}.",
        lambda store, how: store.rollback(tool, environment, to_revision=to, force=force, **options, **how),
    )
    for warning in release.warnings:
        call.note(f"warning: {warning}")
    old = release.origin.revision
    call.print(release, f"{tool} in {environment} is at revision {release.revision}, with the files of revision {old}")
    return Status.DONE


async def _both(
    store: ConfigStore, tool: Tool, environment: str, to: int | None
) -> tuple[Release, Release, ValidationReport]:
    """Return the current release, the one to which a rollback would return, and the validation of its files."""
    from apm_s3.configs._checks import check_bundle  # noqa: PLC0415 - it brings the validators

    wanted = to
    if wanted is None:
        found = [each for each in await store.status(environment) if each.tool == tool]
        wanted = found[0].good_revision if found else None
        if wanted is None:
            raise ConfigNotFound(f"no revision of {tool} in {environment} is marked good", hint="name one with --to")
    [current] = await store.history(tool, environment, limit=1)
    target = await store.download_bundle(tool, environment, revision=wanted)
    rules = (await store.settings(environment)).rules(tool)
    files = {name: file.raw for name, file in target.files.items()}
    return current, target.release, await check_bundle(tool, files, rules)


def _changes(what: str, current: Release, target: Release) -> Text:
    from apm_s3.configs import changed_files  # noqa: PLC0415 - it brings the validators

    changes = changed_files(current, target)
    summary = f"{what} {target.revision}: {counted(len(changes), 'file')} would change"
    return make_changes(summary, [(SIGN_OF[kind], name) for name, kind in changes.items()])


@args.tool_argument
@args.flag("--all", "-a", "everything", help="All tools, and the environment.")
@args.expect_revision
@args.of_change
def rm(call: Call, *, tool: Tool | None, everything: bool, expect_revision: int | None) -> None:
    """Remove a tool's configuration, or an environment; the history is kept.

    It creates a revision without files, from which a rollback returns. With --all, the environment is listed no longer
    and refuses changes; config thaw brings it back.

    Examples:
        apm-s3 config rm jaeger -e staging -m "Jaeger was turned off"
        apm-s3 config rm --all -e stagign -m "A typing error"
    """
    if everything == (tool is not None) or (everything and expect_revision is not None):
        raise UsageFailed(
            "what to remove is not clear",
            f"name a tool, or remove the whole environment: apm-s3 config rm --all -e {call.environment}",
        )
    if tool is None:
        _remove_all(call)
        return
    environment = call.environment
    if call.dry_run:
        bundle = call.run_on_store(lambda store: store.download_bundle(tool, environment))
        changes = [("-", name) for name in bundle.files]
        summary = f"Would remove {tool} from {environment}: {counted(len(changes), 'file')}"
        call.print({"dry_run": True, "current": bundle.release}, make_changes(summary, changes))
        return
    call.confirm(f"Remove {tool} from {environment}?", name=in_production(environment))
    release = call.change(
        environment,
        f"Remove {tool} from {environment}.",
        lambda store, how: store.remove(tool, environment, expect_revision=expect_revision, **how),
    )
    call.print(release, f"removed {tool} from {environment} with revision {release.revision}")


def _remove_all(call: Call) -> None:
    environment = call.environment
    tools = [release.tool for release in call.run_on_store(lambda store: store.list(environment))]
    if call.dry_run:
        summary = f"Would remove {environment}: {counted(len(tools), 'tool')}"
        call.print(
            {"dry_run": True, "environment": environment, "tools": tools},
            make_changes(summary, [("-", tool) for tool in tools]),
        )
        return
    call.confirm(f"Remove {environment}, with {counted(len(tools), 'tool')}?", name=in_production(environment))
    how = call.signed(f"Remove {environment}.")

    async def work(store: ConfigStore) -> None:
        for tool in tools:
            await store.remove(tool, environment, **how)
        await store.remove_environment(environment, **how)

    call.changes, call.resume_hint = True, "Run it again: it removes what is left."
    call.run_on_store(work)
    call.print(
        {"environment": environment, "removed": True, "tools": tools},
        f"removed {environment}: {', '.join(tools) or 'it had no tools'}",
    )


_OUTCOMES = {
    "won": (Status.DONE, "it was committed"),
    "lost": (Status.FAILED, "it was not committed, and never will be"),
    "pending": (Status.UNKNOWN, "it is not known yet; ask again in a minute"),
    "expired": (Status.UNKNOWN, "it cannot be determined any more; see apm-s3 config log"),
}


@args.argument("write_id", metavar="WRITE-ID", help="The id in the hint of status 5, or of --write-id.")
def outcome(call: Call, *, write_id: str) -> Status:
    """Find out what became of a write whose response was lost.

    It exits with 0 if the write was committed, 1 if it was not, and 5 if that is not known.

    Example:
        apm-s3 config outcome production.0123456789abcdef0123
    """
    try:
        found = call.run_on_store(lambda store: store.outcome(write_id))
    except (TransportError, S3Error) as exc:
        # Status 1 would say that it was not committed.
        raise CommitUnknown(f"what became of it cannot be read now: {exc.problem}", write_id=write_id) from exc
    status, text = _OUTCOMES[found.value]
    call.print({"write_id": write_id, "outcome": found}, f"{found.value}: {text}")
    return status
