"""The commands `config fsck|repair|gc`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from apm_s3.cli._arguments import Author, DryRun, Note, Yes, pairs
from apm_s3.cli._call import Call, in_production
from apm_s3.cli._config.push import WriteId, change
from apm_s3.cli._config.settings import parse_period
from apm_s3.cli._output import counted, make_changes, make_table
from apm_s3.cli._progress import in_bytes
from apm_s3.cli._statuses import Status

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from apm_s3.configs import ConfigStore, FsckReport, GarbageReport, RepairReport


def fsck(ctx: typer.Context) -> Status:
    """Check every document, blob and live copy of an environment.

    It changes nothing, and exits with 1 if something needs a repair.

    Example:
        apm-s3 config fsck -e production
    """
    call = Call.of(ctx)
    environment = call.environment
    with call.store_progress() as told:
        report = call.run_on_store(lambda store: store.fsck(environment, on_progress=told))
    call.print({"ok": report.ok, **_document(report)}, *_shown(report))
    return Status.DONE if report.ok else Status.FAILED


def repair(
    ctx: typer.Context,
    choose: Annotated[
        list[str] | None,
        typer.Option(metavar="TOOL=REVISION", help="What to go on from, if a repair asks. Repeatable."),
    ] = None,
    write_id: WriteId = None,
    author: Author = None,
    message: Note = "",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> Status:
    """Repair what fsck finds, and update the live copies.

    Example:
        apm-s3 config repair -e production
    """
    call = Call.of(ctx)
    environment = call.environment
    chosen = {tool: int(each) if each.isdecimal() else each for tool, each in pairs(choose, "--choose").items()}
    by = call.author(author)
    if dry_run:

        async def plan(store: ConfigStore) -> tuple[FsckReport, RepairReport]:
            before = await store.fsck(environment, on_progress=told)
            return before, await store.repair(environment, choose=chosen, author=by, message=message, dry_run=True)

        with call.store_progress() as told:
            before, would = call.run_on_store(plan)
        text = _actions(f"a repair of {environment} would do this", would)
        document = {"dry_run": True, "ok": before.ok, **_document(before)}
        call.print({**document, "actions": would.actions, "after": _document(would.after)}, *_shown(before), text)
        return Status.DONE
    if name := in_production(environment):
        call.confirm(f"Repair {environment}?", yes=yes, name=name)
    done = change(
        call,
        environment,
        write_id,
        lambda store, used: store.repair(environment, choose=chosen, author=by, message=message, write_id=used),
    )
    document = {"ok": done.after.ok, "actions": done.actions, "after": _document(done.after)}
    call.print(document, _actions(f"repaired {environment}", done), *_shown(done.after))
    return Status.DONE if done.after.ok else Status.FAILED


def _actions(said: str, report: RepairReport) -> Text:
    actions = [("~", action) for action in report.actions]
    return make_changes(f"{said}: {counted(len(actions), 'action')}", actions)


def _document(report: FsckReport) -> dict[str, object]:
    return {
        "environment": report.environment,
        "releases": report.releases,
        "blobs": report.blobs,
        "copies": report.copies,
        "entries": report.entries,
        "findings": report.findings,
        "lost": report.lost,
        "newer": report.newer,
        "leftovers": report.leftovers,
        "retired": report.retired,
    }


def _shown(report: FsckReport) -> list[RenderableType]:
    checked = f"{report.environment}: {report.releases} releases, {report.blobs} blobs, {report.copies} live copies, "
    checked += f"{report.entries} log entries"
    found = [*report.findings, *report.newer, *report.lost]
    if not found:
        return [f"{checked}: all intact"]
    rows = [(each.severity, each.tool, each.key, each.problem) for each in found]
    return [checked, make_table(("severity", "tool", "key", "problem"), rows)]


def gc(
    ctx: typer.Context,
    keep_revisions: Annotated[int | None, typer.Option(min=1, help="Keep at least this many of each tool.")] = None,
    older_than: Annotated[str | None, typer.Option(help="Keep what is younger: 30d; at least 24h.")] = None,
    keep_log: Annotated[str | None, typer.Option(help="How long log entries are kept: 365d.")] = None,
    write_id: WriteId = None,
    author: Author = None,
    message: Note = "",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Delete old revisions, log entries, and leftovers.

    Leftovers are objects of interrupted writes and backups. The current, the good and the newest revisions stay, as do
    all that the settings of the environment keep.

    Examples:
        apm-s3 config gc -e staging --keep-revisions 20 --older-than 30d --dry-run
        apm-s3 config gc -e staging --keep-revisions 20 --older-than 30d --yes
    """
    call = Call.of(ctx)
    environment, by = call.environment, call.author(author)
    older = None if older_than is None else parse_period("--older-than", older_than)
    entries = None if keep_log is None else parse_period("--keep-log", keep_log)

    if dry_run:
        with call.store_progress() as told:
            planned = call.run_on_store(
                lambda store: store.collect_garbage(
                    environment, keep_revisions=keep_revisions, older_than=older, keep_log=entries, dry_run=True,
                    on_progress=told,
                )
            )  # fmt: skip
        call.print(planned, make_changes(f"Would delete {_told(planned)}", _lines(planned)), paged=True)
        return
    call.confirm(f"Delete old revisions of {environment} for good?", yes=yes, name=in_production(environment))
    with call.store_progress() as told:
        report = change(
            call,
            environment,
            write_id,
            lambda store, used: store.collect_garbage(
                environment, keep_revisions=keep_revisions, older_than=older, keep_log=entries, author=by,
                message=message, write_id=used, on_progress=told,
            ),
        )  # fmt: skip
    call.print(report, make_changes(f"deleted {_told(report)}", _lines(report)), paged=True)


def _told(report: GarbageReport) -> str:
    number = sum(map(len, (report.releases, report.blobs, report.log_parts, report.backups, report.others)))
    return f"{counted(number, 'object')} ({in_bytes(report.size)}) of {report.environment}"


def _lines(report: GarbageReport) -> list[tuple[str, str]]:
    keys = (*report.releases, *report.blobs, *report.log_parts, *report.backups, *report.others)
    kept = [(" ", f"{key}: kept, {reason}") for key, reason in report.undeleted.items()]
    return [("-", key) for key in keys] + kept
