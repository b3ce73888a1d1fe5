"""The commands `config plan|deploy`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apm_s3.cli._arguments import Author, Create, DryRun, ExitCode, Message, Yes, as_tool, pairs
from apm_s3.cli._call import Call, in_production
from apm_s3.cli._config.differences import show_plan
from apm_s3.cli._config.push import Force, WriteId, change
from apm_s3.cli._statuses import Status, UsageFailed

if TYPE_CHECKING:
    from apm_s3._plans import PlanDocument
    from apm_s3.configs import ConfigStore, DeployPlan

Variable = Annotated[
    list[str] | None, typer.Option("--var", metavar="NAME=VALUE", help="A variable of the overlays. Repeatable.")
]


def plan(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The environment to deploy from.")],
    target: Annotated[
        str | None, typer.Argument(metavar="[TARGET]", help="The environment to deploy to; by default --environment.")
    ] = None,
    tool: Annotated[list[str] | None, typer.Option(help="Only this tool. Repeatable.")] = None,
    var: Variable = None,
    create: Create = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the plan there, for config deploy.")] = None,
    exit_code: ExitCode = False,
) -> Status:
    """Show what a deploy would change, for review.

    The file of --out has ids and hashes, no contents and no values of variables. It exits with 4 if a deploy would be
    refused.

    Examples:
        apm-s3 config plan staging production --out deploy.plan
        apm-s3 config plan staging production --tool prometheus --exit-code
    """
    call = Call.of(ctx)
    there = target or call.environment
    tools = None if tool is None else [as_tool(each) for each in tool]
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
    if not plan.blocked:
        return f"Carry it out with: {deploy}"
    for option, arguments in (
        ("--allow-drift", {"allow_drift": True}),
        ("--force REASON", {"force": ""}),
        ("--allow-drift --force REASON", {"allow_drift": True, "force": ""}),
    ):
        if not plan.refusals(**arguments):
            return f"A deploy refuses it, unless with: {deploy} {option}"
    return "A deploy refuses it: resolve the reasons, and make a new plan."


def deploy(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="PLAN", help="The file of config plan --out.", exists=True, dir_okay=False)
    ],
    var: Variable = None,
    allow_drift: Annotated[bool, typer.Option("--allow-drift", help="Overwrite manual changes of the target.")] = False,
    force: Force = None,
    write_id: WriteId = None,
    author: Author = None,
    message: Message = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> Status:
    """Carry out a plan of config plan, all its tools at once.

    The plan is refused (status 4) if anything that it describes has changed since. Production asks for its name.

    Example:
        apm-s3 config deploy deploy.plan -m "Release 42"
    """
    call = Call.of(ctx)
    document = read_plan(file)
    source, target = document.text("source", "environment"), document.text("target", "environment")
    variables = pairs(var, "--var")
    if dry_run:
        made = call.run_on_store(lambda store: plan_again(store, document, variables))
        refused = made.refusals(allow_drift=allow_drift, force=force)
        call.print({"dry_run": True, **plan_document(made, refused)}, *show_plan(made, refused), paged=True)
        return Status.CONFLICT if refused else Status.DONE
    tools = document.content["tools"]
    changed = [name for name, told in tools.items() if told["changes"]]
    call.confirm(
        f"Deploy plan {document.hash[:12]} ({', '.join(changed) or 'nothing'}) from {source} to {target}?",
        yes=yes, name=in_production(target),
    )  # fmt: skip
    why = call.message(message, f"Deploy {source} to {target}: {', '.join(changed)}.")
    by = call.author(author)
    result = change(
        call,
        target,
        write_id,
        lambda store, used: store.deploy(
            document, author=by, message=why, allow_drift=allow_drift, force=force, variables=variables, write_id=used
        ),
    )
    told = [f"{each.tool} is at revision {each.revision}" for each in result.releases]
    done = (
        f"deployed {source} to {target}: {', '.join(told)}" if told else f"nothing to deploy from {source} to {target}"
    )
    call.print({"plan": result.plan.hash, "releases": result.releases}, done)
    return Status.DONE


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
        raise UsageFailed(f"{file} is not a plan: it is not JSON", "make one: apm-s3 config plan --out FILE") from exc
    return DeployPlan.from_dict(document)


async def plan_again(store: ConfigStore, document: PlanDocument, variables: Mapping[str, str]) -> DeployPlan:
    """Return the plan in `document`, made again.

    Raises:
        PlanOutdated: it would be different now.
    """
    from apm_s3._tools import Tool  # noqa: F401, PLC0415
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
