"""The commands `config ls|show|history|log|status|watch`."""

from __future__ import annotations

import sys
from contextlib import aclosing
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

import click

from apm_s3._naming import counted
from apm_s3.cli import _arguments as args
from apm_s3.cli._call import Call, Output
from apm_s3.cli._output import in_age, in_local_time, json_text, make_table
from apm_s3.cli._s3.object import content_document
from apm_s3.cli._statuses import Status, UsageFailed, clean
from apm_s3.errors import StoreDamaged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from rich.text import Text

    from apm_s3._tools import Tool
    from apm_s3.configs import ConfigStore, LogEntry, Release, ToolStatus


T = TypeVar("T")

limit_option = args.option("--limit", "-n", type=click.IntRange(min=1), help="At most this many.")
all_environments = args.flag("--all", "-a", "everywhere", help="All environments.")


@all_environments
def ls(call: Call, *, everywhere: bool) -> None:
    """List the current release of each tool.

    Without an environment in the settings, it lists all environments.

    Example:
        apm-s3 config ls -e production
    """
    environment = None if everywhere else call.settings.get("environment")
    releases, others = call.run_on_store(lambda store: _with_others(call, store, environment, store.list))
    rows = [(release.environment, release.tool, *_release_row(release)) for release in releases]
    columns = ("environment", "tool", "revision", "created", "author", "action", "files", "state", "message")
    call.print({"releases": releases}, make_table(columns, rows))
    if not releases:
        call.note("note: there are no configurations yet: apm-s3 config push stores one")
    _tell_others(call, others)


async def _with_others(
    call: Call,
    store: ConfigStore,
    environment: str | None,
    read: Callable[[str | None], Awaitable[Sequence[T]]],
) -> tuple[Sequence[T], list[str]]:
    """Return what `read` returns for `environment`, and for people the names of the other environments."""
    if environment is None or call.output is Output.json:
        return await read(environment), []
    found = await read(environment)
    return found, [name for name in await store.environments() if name != environment]


def _tell_others(call: Call, others: Sequence[str]) -> None:
    if others:
        call.note(f"note: the store has {counted(len(others), 'other environment')}; --all shows all")


@args.tool_name
@args.argument("name", metavar="[FILE]", required=False, help="By default the tool's main file.")
@args.revision
@args.flag("--list", "-l", "files", help="List the files instead.")
def show(call: Call, *, tool: Tool, name: str | None, revision: int | None, files: bool) -> None:
    """Print a file of a configuration, byte for byte.

    With --output json, the document has it as "text", or as "base64" if it is not UTF-8.

    Examples:
        apm-s3 config show prometheus rules/checkout.yml --revision 3
        apm-s3 config show prometheus --list
    """
    environment = call.environment
    if files:
        bundle = call.run_on_store(lambda store: store.download_bundle(tool, environment, revision=revision))
        rows = [(each.name, each.size, each.sha256) for each in bundle.files.values()]
        call.print({"release": bundle.release}, make_table(("file", "bytes", "sha256"), rows))
        return
    file = call.run_on_store(lambda store: store.download(tool, environment, name, revision=revision))
    facts = {"name": file.name, "revision": file.revision, "size": file.size, "sha256": file.sha256}
    call.print_content(file.raw, {**facts, **content_document(file.raw)})


@args.tool_name
@limit_option
def history(call: Call, *, tool: Tool, limit: int | None) -> None:
    """List the releases of a tool, newest first.

    A revision that was stored despite errors is marked as forced, one that has lost files as damaged.

    Example:
        apm-s3 config history prometheus -e production -n 10
    """
    environment = call.environment
    releases: Sequence[Release]
    lost: Mapping[int, str] = {}
    try:
        releases = call.run_on_store(lambda store: store.history(tool, environment, limit=limit))
    except StoreDamaged as exc:
        if not exc.lost:
            raise
        releases, lost = exc.releases, exc.lost
    rows = [_release_row(each) for each in releases]
    rows += [(revision, "", None, "", "", "damaged", problem) for revision, problem in lost.items()]
    columns = ("revision", "created", "author", "action", "files", "state", "message")
    table = make_table(columns, sorted(rows, key=itemgetter(0), reverse=True))
    call.print({"releases": releases, **({"damaged": lost} if lost else {})}, table, paged=True)
    if lost:
        call.note("note: see what a repair would do: apm-s3 config repair --dry-run")


def _release_row(release: Release) -> tuple[object, ...]:
    origin = release.origin
    action = origin.action
    if origin.environment is not None and origin.environment != release.environment:
        action = f"{action} from {origin.environment}@{origin.revision}"  # type: ignore[assignment]
    elif origin.revision is not None:
        action = f"{action} to {origin.revision}"  # type: ignore[assignment]
    files = "removed" if release.removed else len(release.files)
    # Errors are stored only if they were forced.
    state = ", ".join(name for holds, name in ((release.damaged, "damaged"), (release.forced, "forced")) if holds)
    message = release.message.partition("\n")[0]
    return (release.revision, in_local_time(release.created_at), release.author, action, files, state, message)


@limit_option
@args.tool_option
@args.option("--since", help="After this entry, or from this time: 2026-01-31T12:00.")
def log(call: Call, *, limit: int | None, tool: Tool | None, since: str | None) -> None:
    """Show who changed what in an environment, when and why.

    Example:
        apm-s3 config log -e production -n 20
    """
    environment, start = call.environment, _parse_since(since)
    entries = call.run_on_store(lambda store: store.log(environment, limit=limit, tool=tool, since=start))
    columns = ("entry", "at", "action", "author", "tools", "message")
    call.print({"entries": entries}, make_table(columns, map(entry_row, entries)), paged=True)


def _parse_since(text: str | None) -> int | datetime | None:
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    try:
        when = datetime.fromisoformat(text)
    except ValueError as exc:
        raise UsageFailed(f"--since '{text}' is neither an entry nor a time", "write 42 or 2026-01-31T12:00") from exc
    return when.astimezone(UTC)


def entry_row(entry: LogEntry) -> tuple[object, ...]:
    """Return an entry of the log as a row of a table."""
    moves = [f"{tool} {old}→{new}" for tool, (old, new) in entry.tools.items()]
    moves += [f"{tool} good {new}" for tool, (_, new) in entry.good.items()]
    moves += [name.replace("_", "-") for name in entry.settings]
    message = entry.message.partition("\n")[0]
    return (
        entry.sequence,
        in_local_time(entry.at),
        entry.action.replace("_", " "),
        entry.author,
        ", ".join(moves),
        message,
    )


@all_environments
@args.exit_code
def status(call: Call, *, everywhere: bool, exit_code: bool) -> Status:
    """Show revision, age, drift, good mark and backup of each tool.

    Differences are drift (a change by hand since the last deploy), damage, and live copies that are behind.

    Example:
        apm-s3 config status -e production --exit-code
    """
    environment = None if everywhere else call.settings.get("environment")
    found, others = call.run_on_store(lambda store: _with_others(call, store, environment, store.status))
    columns = ("environment", "tool", "revision", "age", "author", "state", "good", "last backup")
    frozen = {each.environment: each.freeze for each in found if each.freeze is not None}
    notes = [
        f"{name} is frozen by {freeze.by or 'somebody'} since {in_local_time(freeze.since)}: {freeze.reason}"
        for name, freeze in frozen.items()
    ]
    for each in found:
        if each.damaged:
            notes.append(f"{each.tool} in {each.environment} is damaged: {each.damaged}")
            notes.append(f"  see how to repair it: apm-s3 config repair -e {each.environment} --dry-run")
    call.print({"tools": found}, make_table(columns, map(_status_row, found)), *notes)
    _tell_others(call, others)
    different = any(each.drifted or each.live_behind or each.damaged for each in found)
    return Status.DIFFERENT if exit_code and different else Status.DONE


def _status_row(found: ToolStatus) -> tuple[object, ...]:
    good = "yes" if found.good else "" if found.good_revision is None else f"revision {found.good_revision}"
    backup = in_local_time(found.last_backup) or "none"
    return (
        *(found.environment, found.tool, found.revision, "" if found.age is None else in_age(found.age), found.author),
        *(_state(found), good, backup),
    )


def _state(found: ToolStatus) -> Text:
    from rich.text import Text  # noqa: PLC0415 - the help does without it

    problems = [
        (found.damaged, "damaged", "bold red"),
        (found.drifted, "drifted", "bold red"),
        (found.live_behind, "live copy behind", "yellow"),
        (found.behind_source, "source is newer", "yellow"),
        (found.forced, "forced", "yellow"),
        (found.warnings, counted(found.warnings, "warning"), "yellow"),
        (found.freeze, "frozen", "cyan"),
    ]
    parts = [(text, style) for holds, text, style in problems if holds] or [("ok", "green")]
    return Text(", ").join(Text(text, style=style) for text, style in parts)


@args.tool_option
@args.flag("--log", help="Every entry of the log instead of the releases.")
@args.option("--interval", default=10.0, type=click.FloatRange(min=0.1), help="Seconds between two checks.")
@args.option("--count", type=click.IntRange(min=1), help="Stop after this many.")
def watch(call: Call, *, tool: Tool | None, log: bool, interval: float, count: int | None) -> None:
    """Print each new release as soon as it is there.

    It begins with the current releases and ends with Ctrl-C. With --output json, each line is a document.

    Example:
        apm-s3 config watch -e production --output json
    """
    environment = call.environment
    call.resume_hint = "It only watched."

    async def work(store: ConfigStore) -> None:
        tools = None if tool is None else [tool]
        stream: Any = (
            store.watch_log(environment, interval=interval)
            if log
            else store.watch(environment, tools, interval=interval)
        )
        left = count
        async with aclosing(stream) as found:
            async for each in found:
                _print_line(call, each, _entry_line(each) if log else _release_line(each))
                left = None if left is None else left - 1
                if left == 0:
                    return

    call.run_on_store(work)


def _print_line(call: Call, value: Release | LogEntry, text: str) -> None:
    line = json_text(value) if call.output is Output.json else clean(text, line=True)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _release_line(release: Release) -> str:
    what = "removed" if release.removed else f"revision {release.revision}"
    by = f" by {release.author}" if release.author else ""
    message = f": {release.message.partition(chr(10))[0]}" if release.message else ""
    return f"{in_local_time(release.created_at)} {release.environment}/{release.tool} {what}{by}{message}"


def _entry_line(entry: LogEntry) -> str:
    tools = ", ".join(f"{tool} {old}→{new}" for tool, (old, new) in entry.tools.items())
    by = f" by {entry.author}" if entry.author else ""
    message = f": {entry.message.partition(chr(10))[0]}" if entry.message else ""
    return f"{in_local_time(entry.at)} {entry.sequence} {entry.action} {tools}{by}{message}"
