"""The command `config import`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from apm_s3._naming import split_s3
from apm_s3.cli._arguments import Author, Create, DryRun, Message, ToolHint, Yes, as_tool
from apm_s3.cli._call import Call, in_production, this_command
from apm_s3.cli._config.differences import show_blocked
from apm_s3.cli._config.push import Force, check_new
from apm_s3.cli._output import counted, make_changes
from apm_s3.cli._statuses import Status, clean

if TYPE_CHECKING:
    from rich.text import Text

    from apm_s3._manager import S3Manager
    from apm_s3.configs import ConfigStore, ImportBundle, ImportPlan

_SHOWN = 20


def import_(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A directory, a Git checkout, or s3://BUCKET/PREFIX.")
    ],
    tool: ToolHint = None,
    history: Annotated[bool, typer.Option("--history", help="Import each commit of a checkout as a revision.")] = False,
    ref: Annotated[str, typer.Option(help="With --history: commit, branch or tag.")] = "HEAD",
    create: Create = False,
    force: Force = None,
    author: Author = None,
    message: Message = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> Status:
    """Take over an existing layout byte for byte.

    Bundles are in {environment}/{tool}/; with --environment in {tool}/; with --tool as well, SOURCE is one bundle.
    Repeated, it commits nothing twice.

    Example:
        apm-s3 config import . --history --ref main
    """
    call = Call.of(ctx)
    # Not from the environment or the project file: it changes what SOURCE is taken for.
    environment = call.options.get("environment")
    store_of = call.store_of()

    async def planned(s3: S3Manager) -> ImportPlan:
        store = store_of(s3)
        await check_new(store, environment, create=create)
        return await store.plan_import(
            _source(s3, source), environment, tool=None if tool is None else as_tool(tool), history=history, ref=ref
        )

    plan = call.run(planned)
    document = {"plan": plan, "blocked": plan.blocked}
    if dry_run or not plan.changes:
        call.print({"dry_run": dry_run, **document}, *_shown(plan))
        if any(each.blocked for each in plan.bundles):
            return Status.CONFLICT
        return Status.INVALID if force is None and any(each.errors for each in plan.bundles) else Status.DONE
    names = dict.fromkeys(each.environment for each in plan.revisions)
    name = next(filter(None, map(in_production, names)), None)
    if name is not None:
        call.confirm(f"Import {counted(len(plan.revisions), 'revision')}?", yes=yes, name=name)
    by, why = call.author(author), message or ""
    call.changes = True
    call.go_on = f"Revisions that were committed stay. Continue with the same command: {this_command()}"
    with call.store_progress() as told:
        releases = call.run_on_store(
            lambda store: store.import_configs(plan, author=by, message=why, force=force, on_progress=told)
        )
    invalid = [each for each in releases if each.forced is not None]
    for each in invalid[:_SHOWN]:
        error = next((line for line in each.warnings if ": error: " in line), each.forced)
        call.note(f"warning: revision {each.revision} of {each.tool} in {each.environment} is invalid: {error}")
    if len(invalid) > _SHOWN:
        call.note(f"warning: {len(invalid) - _SHOWN} more are invalid; apm-s3 config history TOOL marks them as forced")
    call.print({**document, "releases": releases}, f"imported {counted(len(releases), 'revision')} of {source}")
    return Status.DONE


def _source(s3: S3Manager, text: str) -> str | ConfigStore:
    """Return the source for the library: a path, or the store of a prefix."""
    place = split_s3(text)
    if place is None:
        return text
    bucket, prefix = place
    return s3.configs(bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else "")


def _shown(plan: ImportPlan) -> list[Text]:
    from rich.text import Text  # noqa: PLC0415 - JSON output does without it

    summary = f"Import of {plan.source}: {counted(len(plan.revisions), 'revision')} to commit"
    lines = [_line(each) for each in plan.bundles]
    shown = [make_changes(summary, lines)]
    shown += show_blocked(plan.blocked)
    if plan.left_out:
        more = f" and {len(plan.left_out) - _SHOWN} more" if len(plan.left_out) > _SHOWN else ""
        shown.append(Text(clean(f"Left out: {', '.join(plan.left_out[:_SHOWN])}{more}", line=True)))
    return shown


def _line(bundle: ImportBundle) -> tuple[str, str]:
    left = bundle.found - bundle.done
    sign = " " if not left else "~" if bundle.current_revision else "+"
    done = f", {bundle.done} imported before" if bundle.done else ""
    return sign, f"{bundle.environment}/{bundle.tool}: {counted(left, 'revision')}{done}"
