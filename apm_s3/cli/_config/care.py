"""The commands `config backup|backups|verify|drill|restore|fsck|repair|gc`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from apm_s3._naming import counted
from apm_s3.cli import _arguments as args
from apm_s3.cli._arguments import pairs
from apm_s3.cli._call import Call, in_production, this_command
from apm_s3.cli._config.push import check_new, counts_of, make_diff, show_blocked, signs_of
from apm_s3.cli._config.settings import parse_period
from apm_s3.cli._output import as_document, in_bytes, in_local_time, make_changes, make_table
from apm_s3.cli._statuses import Status, UsageFailed

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from apm_s3._manager import S3Manager
    from apm_s3._tools import Tool
    from apm_s3.configs import Backup, ConfigStore, FsckReport, GarbageReport, RepairReport, RestorePlan


T = TypeVar("T")

backup_bucket = args.option("--backup-bucket", help="Where backups are, if not in --bucket.")
backup_key = args.argument("key", help="The backup, as config backups lists it.")


@args.tool_option
@args.flag("--all", "-a", "everything", help="Every environment.")
@backup_bucket
@args.option("--retain", help="Lock the backup for this time: 30d.")
@args.of_note
def backup(call: Call, *, tool: Tool | None, everything: bool, backup_bucket: str | None, retain: str | None) -> None:
    """Make a self-contained copy of an environment as it is now.

    Examples:
        apm-s3 config backup -e production -m "Before the upgrade"
        apm-s3 config backup --all --backup-bucket apm-backups --retain 30d
    """
    environment = "" if everything else call.environment
    how = {**call.signed(), "retain": None if retain is None else parse_period("--retain", retain)}

    if call.dry_run:
        releases = call.run_on_store(lambda store: store.list(None if everything else environment))
        kept = [each for each in releases if tool in (None, each.tool) and not each.removed]
        lines = [("+", f"{each.environment}/{each.tool}: revision {each.revision}") for each in kept]
        summary = f"Would back up {counted(len(kept), 'configuration')}"
        call.print({"dry_run": True, "releases": kept}, make_changes(summary, lines))
        return

    call.changes = True
    call.resume_hint = "An unfinished backup is not listed; run it again."
    with call.store_progress() as told:

        async def work(store: ConfigStore, there: ConfigStore) -> tuple[Backup, ...]:
            if everything:
                return await store.backup_all(target=there, on_progress=told, **how)
            return (await store.backup(tool, environment, target=there, on_progress=told, **how),)

        made = on_stores(call, backup_bucket, work)
    call.print({"backups": made}, *[f"{each.key}: {_contents(each)}" for each in made])


@args.flag("--all", "-a", "everywhere", help="All environments.")
@backup_bucket
def backups(call: Call, *, everywhere: bool, backup_bucket: str | None) -> None:
    """List the backups, newest first.

    Example:
        apm-s3 config backups -e production
    """
    environment = None if everywhere else call.settings.get("environment")

    async def work(_: ConfigStore, there: ConfigStore) -> tuple[Backup, ...]:
        return await there.list_backups(environment)

    found = on_stores(call, backup_bucket, work)
    call.print({"backups": found}, _table(found), paged=True)


def _table(found: tuple[Backup, ...]) -> Table:
    rows = [
        (each.key, in_local_time(each.created_at), _contents(each), each.author, each.damage or "", each.message)
        for each in found
    ]
    return make_table(("key", "created", "contents", "author", "damage", "message"), rows)


def _contents(backup: Backup) -> str:
    return ", ".join(f"{tool} revision {held.revision}" for tool, held in backup.tools.items())


@backup_key
@backup_bucket
def verify(call: Call, *, key: str, backup_bucket: str | None) -> None:
    """Check every file of a backup by its SHA-256.

    Example:
        apm-s3 config verify backups/production/20260102T030405Z-production.018f6f0e
    """
    found = _verified(call, key, backup_bucket)
    files = sum(len(held.files) for held in found.tools.values())
    call.print({"ok": True, "backup": found}, f"{key} is intact: {counted(files, 'file')}, {_contents(found)}")


def _verified(call: Call, key: str, backup_bucket: str | None) -> Backup:
    with call.store_progress() as told:
        return on_stores(call, backup_bucket, lambda _, there: there.verify_backup(key, on_progress=told))


@backup_key
@args.tool_option
@backup_bucket
@args.author
@args.dry_run
def drill(call: Call, *, key: str, tool: Tool | None, backup_bucket: str | None) -> None:
    """Test that a backup can be restored, without changing anything.

    It is restored to a scratch environment, compared byte by byte, and removed again.

    Example:
        apm-s3 config drill backups/production/20260102T030405Z-production.018f6f0e
    """
    tools = None if tool is None else [tool]
    by = call.author

    if call.dry_run:
        found = _verified(call, key, backup_bucket)
        call.print({"dry_run": True, "backup": found}, f"Would restore and remove {_contents(found)}")
        return
    call.changes = True
    call.resume_hint = "Run it again: a drill removes what an interrupted one has left."
    with call.store_progress() as told:
        releases = on_stores(
            call,
            backup_bucket,
            lambda store, there: store.restore_environment(
                key, tools=tools, source=there, author=by, drill=True, on_progress=told
            ),
        )
    names = ", ".join(each.tool for each in releases)
    call.print({"ok": True, "releases": releases}, f"{key} can be restored: every byte of {names} came back")


@backup_key
@args.tool_option
@backup_bucket
@args.create_environment
@args.of_write
def restore(call: Call, *, key: str, tool: Tool | None, backup_bucket: str | None, create: bool) -> Status:
    """Restore a backup to its environment, or to --environment.

    Every hash is verified first; then one commit brings back all tools. Tools that are not in the backup stay.

    Examples:
        apm-s3 config restore backups/production/20260102T030405Z-production.018f6f0e
        apm-s3 config restore KEY --backup-bucket apm-backups -m "The bucket was lost"
    """
    # Only the option: a default for other commands must not decide where a backup goes.
    wanted = call.options.get("environment")
    tools = None if tool is None else [tool]

    with call.store_progress() as told:

        async def planned(store: ConfigStore, there: ConfigStore) -> RestorePlan:
            # The environment of the backup itself is no typing error.
            await check_new(store, wanted, create=create)
            return await store.plan_restore(key, environment=wanted, tools=tools, source=there, on_progress=told)

        plan = on_stores(call, backup_bucket, planned)
    environment = plan.environment
    if call.dry_run:
        document = {"dry_run": True, "plan": plan.to_dict(), "blocked": plan.blocked}
        diffs = {name: each.to_dict() for name, each in plan.diffs.items()}
        call.print({**document, "diffs": diffs}, *_shown(plan), paged=True)
        return Status.CONFLICT if plan.blocked else Status.DONE
    call.confirm(f"Restore {_contents(plan.backup)} to {environment}?", name=in_production(environment))
    how = call.begin_write(environment, f"Restore {key} to {environment}.")
    with call.store_progress() as told:
        releases = on_stores(
            call,
            backup_bucket,
            lambda store, there: store.restore_environment(plan, source=there, on_progress=told, **how),
        )
    now = ", ".join(f"{each.tool} is at revision {each.revision}" for each in releases)
    call.print({"releases": releases}, f"restored {environment}: {now}")
    return Status.DONE


def _shown(plan: RestorePlan) -> Iterator[Text]:
    files = [file for each in plan.diffs.values() for file in each.files]
    lines = [line for tool, each in plan.diffs.items() for line in signs_of(each.files, f"{tool}/")]
    yield make_changes(f"Would restore {plan.backup.key} to {plan.environment}; files: {counts_of(files)}", lines)
    for each in plan.diffs.values():
        if each.files:
            yield make_diff(each)
    yield from show_blocked(plan.blocked)


def on_stores(call: Call, other: str | None, work: Callable[[ConfigStore, ConfigStore], Awaitable[T]]) -> T:
    """Return the result of `work` with the store, and with the one in the bucket of the backups."""
    store_of = call.store_of()

    async def with_s3(s3: S3Manager) -> T:
        store = store_of(s3)
        return await work(store, store if other is None else s3.configs(other, call.settings.prefix))

    return call.run(with_s3)


def fsck(call: Call) -> Status:
    """Check every document, blob and live copy of an environment.

    It changes nothing, and exits with 1 if something needs a repair.

    Example:
        apm-s3 config fsck -e production
    """
    environment = call.environment
    with call.store_progress() as told:
        report = call.run_on_store(lambda store: store.fsck(environment, on_progress=told))
    call.print({"ok": report.ok, **as_document(report)}, *_checked(report))
    return Status.DONE if report.ok else Status.FAILED


@args.option(
    "--choose", metavar="TOOL=REVISION", multiple=True, help="What to go on from, if a repair asks. Repeatable."
)
@args.of_care
def repair(call: Call, *, choose: tuple[str, ...]) -> Status:
    """Repair what fsck finds, and update the live copies.

    Example:
        apm-s3 config repair -e production
    """
    environment = call.environment
    chosen = {tool: int(each) if each.isdecimal() else each for tool, each in pairs(choose, "--choose").items()}
    if call.dry_run:

        async def plan(store: ConfigStore) -> tuple[FsckReport, RepairReport]:
            before = await store.fsck(environment, on_progress=told)
            return before, await store.repair(environment, choose=chosen, dry_run=True, **call.signed())

        with call.store_progress() as told:
            before, would = call.run_on_store(plan)
        shown = _actions(f"a repair of {environment} would do this", would)
        text = shown if would.actions else f"a repair of {environment} would change nothing"
        document = {"dry_run": True, "ok": before.ok, **as_document(before)}
        call.print({**document, "actions": would.actions, "after": as_document(would.after)}, *_checked(before), text)
        return Status.DONE
    if name := in_production(environment):
        if not call.yes and not call.can_ask:
            checked = call.run_on_store(lambda store: store.fsck(environment))
            if not (found := [*checked.findings, *checked.lost]):
                call.print({"ok": checked.ok, "actions": (), "after": as_document(checked)}, *_checked(checked))
                return Status.DONE
            raise UsageFailed(
                f"{environment} has {counted(len(found), 'problem')}, the first: '{found[0].key}': {found[0].problem}; "
                "a repair needs a confirmation, and there is no terminal to ask on",
                f"see what it would do: {this_command('--dry-run')}; carry it out: {this_command('--yes')}",
            )
        call.confirm(f"Repair {environment}?", name=name)
    done = call.change(environment, "", lambda store, how: store.repair(environment, choose=chosen, **how))
    document = {"ok": done.after.ok, "actions": done.actions, "after": as_document(done.after)}
    call.print(document, _actions(f"repaired {environment}", done), *_checked(done.after))
    return Status.DONE if done.after.ok else Status.FAILED


def _actions(said: str, report: RepairReport) -> Text:
    actions = [("~", action) for action in report.actions]
    return make_changes(f"{said}: {counted(len(actions), 'action')}", actions)


def _checked(report: FsckReport) -> list[RenderableType]:
    numbers = (
        counted(report.releases, "release"),
        counted(report.blobs, "blob"),
        counted(report.copies, "live copy", "live copies"),
        counted(report.entries, "log entry", "log entries"),
    )
    checked = f"{report.environment}: {', '.join(numbers)}"
    found = [*report.findings, *report.newer, *report.lost]
    if not found:
        return [f"{checked}: all intact"]
    rows = [(each.severity, each.tool, each.key, each.problem) for each in found]
    return [checked, make_table(("severity", "tool", "key", "problem"), rows)]


@args.option("--keep-revisions", type=click.IntRange(min=1), help="Keep at least this many of each tool.")
@args.option("--older-than", help="Keep what is younger: 30d; at least 24h.")
@args.option("--keep-log", help="How long log entries are kept: 365d.")
@args.of_care
def gc(call: Call, *, keep_revisions: int | None, older_than: str | None, keep_log: str | None) -> None:
    """Delete old revisions, log entries, and leftovers.

    Leftovers are objects of interrupted writes and backups. The current, the good and the newest revisions stay, as do
    all that the settings of the environment keep.

    Examples:
        apm-s3 config gc -e staging --keep-revisions 20 --older-than 30d --dry-run
        apm-s3 config gc -e staging --keep-revisions 20 --older-than 30d --yes
    """
    environment = call.environment
    kept = {
        "keep_revisions": keep_revisions,
        "older_than": None if older_than is None else parse_period("--older-than", older_than),
        "keep_log": None if keep_log is None else parse_period("--keep-log", keep_log),
    }
    how: dict[str, Any] = {**kept, "dry_run": True}

    async def collect(store: ConfigStore) -> GarbageReport:
        with call.store_progress() as told:
            return await store.collect_garbage(environment, on_progress=told, **how)

    if call.dry_run:
        planned = call.run_on_store(collect)
        call.print(planned, make_changes(f"Would delete {_described(planned)}", _lines(planned)), paged=True)
        return
    call.confirm(f"Delete old revisions of {environment} for good?", name=in_production(environment))
    how = {**kept, **call.begin_write(environment)}
    report = call.run_on_store(collect)
    call.print(report, make_changes(f"deleted {_described(report)}", _lines(report)), paged=True)


def _described(report: GarbageReport) -> str:
    number = sum(map(len, (report.releases, report.blobs, report.log_parts, report.backups, report.others)))
    return f"{counted(number, 'object')} ({in_bytes(report.size)}) of {report.environment}"


def _lines(report: GarbageReport) -> list[tuple[str, str]]:
    keys = (*report.releases, *report.blobs, *report.log_parts, *report.backups, *report.others)
    kept = [(" ", f"{key}: kept, {reason}") for key, reason in report.undeleted.items()]
    return [("-", key) for key in keys] + kept
