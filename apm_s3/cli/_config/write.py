"""The commands `config rollback|rm|outcome`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from apm_s3.cli._arguments import Author, DryRun, ExpectRevision, Message, ToolArgument, ToolName, Yes, as_tool
from apm_s3.cli._call import Call, in_production
from apm_s3.cli._config.push import Force
from apm_s3.cli._output import counted, make_changes
from apm_s3.cli._statuses import Status, UsageFailed

if TYPE_CHECKING:
    from rich.text import Text

    from apm_s3._tools import Tool
    from apm_s3.configs import ConfigStore, Release
    from apm_s3.reports import ValidationReport

_SIGNS = {"added": "+", "changed": "~", "removed": "-"}


def rollback(
    ctx: typer.Context,
    tool: ToolName,
    to: Annotated[int | None, typer.Option("--to", min=1, help="The revision; by default the one marked good.")] = None,
    expect_revision: ExpectRevision = None,
    force: Force = None,
    author: Author = None,
    message: Message = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> Status:
    """Return to an old revision, by default the good one.

    It creates a new revision with the old files, which are validated first; production asks for its name.

    Example:
        apm-s3 config rollback prometheus --to 41 -e production -m "Alerts are late"
    """
    call = Call.of(ctx)
    environment, chosen = call.environment, as_tool(tool)
    name = in_production(environment)
    if dry_run or (name is not None and not yes):
        current, target, report = call.run_on_store(lambda store: _both(store, chosen, environment, to))
        if dry_run:
            for issue in (*report.errors, *report.warnings):
                call.note(issue.render(report.name))
            valid = report.ok or force is not None
            document = {"dry_run": True, "valid": valid, "current": current, "target": target}
            call.print(document, _changes(f"Would return {tool} in {environment} to revision", current, target))
            return Status.DONE if valid else Status.INVALID
        call.confirm(f"Return {tool} in {environment} to revision {target.revision}?", yes=yes, name=name)
    why = call.message(message, f"Return {tool} in {environment} to revision {to or 'marked good'}.")
    by = call.author(author)
    release = call.change(
        lambda store, write_id: store.rollback(
            chosen,
            environment,
            to_revision=to,
            expect_revision=expect_revision,
            force=force,
            author=by,
            message=why,
            write_id=write_id,
        )
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
    from apm_s3.configs._checks import report_bundle  # noqa: PLC0415 - it brings the validators
    from apm_s3.errors import ConfigNotFound  # noqa: PLC0415 - the help does without it

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
    return current, target.release, await report_bundle(tool, files, rules)


def _changes(what: str, current: Release, target: Release) -> Text:
    from apm_s3.configs import changed_files  # noqa: PLC0415 - it brings the validators

    changes = changed_files(current, target)
    summary = f"{what} {target.revision}: {counted(len(changes), 'file')} would change"
    return make_changes(summary, [(_SIGNS[kind], name) for name, kind in changes.items()])


def rm(
    ctx: typer.Context,
    tool: ToolArgument = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="All tools, and the environment.")] = False,
    expect_revision: ExpectRevision = None,
    author: Author = None,
    message: Message = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Remove a tool's configuration, or an environment; the history is kept.

    It creates a revision without files, from which a rollback returns. With --all, the environment is listed no longer
    and refuses changes; config thaw brings it back.

    Examples:
        apm-s3 config rm jaeger -e staging -m "Jaeger was turned off"
        apm-s3 config rm --all -e stagign -m "A typing error"
    """
    call = Call.of(ctx)
    if everything == (tool is not None) or (everything and expect_revision is not None):
        raise UsageFailed("what to remove is not clear", "name a tool, or use --all without a tool and a revision")
    if tool is None:
        _remove_all(call, author, message, yes=yes, dry_run=dry_run)
        return
    environment, chosen = call.environment, as_tool(tool)
    if dry_run:
        bundle = call.run_on_store(lambda store: store.download_bundle(chosen, environment))
        changes = [("-", name) for name in bundle.files]
        summary = f"Would remove {tool} from {environment}: {counted(len(changes), 'file')}"
        call.print({"dry_run": True, "current": bundle.release}, make_changes(summary, changes))
        return
    call.confirm(f"Remove {tool} from {environment}?", yes=yes, name=in_production(environment))
    why = call.message(message, f"Remove {tool} from {environment}.")
    by = call.author(author)
    release = call.change(
        lambda store, write_id: store.remove(
            chosen,
            environment,
            author=by,
            message=why,
            expect_revision=expect_revision,
            write_id=write_id,
        )
    )
    call.print(release, f"removed {tool} from {environment} with revision {release.revision}")


def _remove_all(call: Call, author: str | None, message: str | None, *, yes: bool, dry_run: bool) -> None:
    environment = call.environment
    tools = [release.tool for release in call.run_on_store(lambda store: store.list(environment))]
    if dry_run:
        summary = f"Would remove {environment}: {counted(len(tools), 'tool')}"
        call.print(
            {"dry_run": True, "environment": environment, "tools": tools},
            make_changes(summary, [("-", tool) for tool in tools]),
        )
        return
    call.confirm(f"Remove {environment}, with {counted(len(tools), 'tool')}?", yes=yes, name=in_production(environment))
    why = call.message(message, f"Remove {environment}.")
    by = call.author(author)

    async def work(store: ConfigStore) -> None:
        for tool in tools:
            await store.remove(tool, environment, author=by, message=why)
        await store.remove_environment(environment, author=by, message=why)

    call.changes, call.go_on = True, "Run it again: it removes what is left."
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


def outcome(
    ctx: typer.Context,
    write_id: Annotated[
        str, typer.Argument(metavar="WRITE-ID", help="The id in the hint of status 5, or of --write-id.")
    ],
) -> Status:
    """Find out what became of a write whose response was lost.

    It exits with 0 if the write was committed, 1 if it was not, and 5 if that is not known.

    Example:
        apm-s3 config outcome production.0123456789abcdef0123
    """
    call = Call.of(ctx)
    found = call.run_on_store(lambda store: store.outcome(write_id))
    status, text = _OUTCOMES[found.value]
    call.print({"write_id": write_id, "outcome": found}, f"{found.value}: {text}")
    return status
