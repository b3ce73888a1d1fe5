"""The command `config watch`."""

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apm_s3.cli._arguments import ToolOption, as_tool
from apm_s3.cli._call import Call, Output
from apm_s3.cli._output import in_local_time, json_text
from apm_s3.cli._statuses import clean

if TYPE_CHECKING:
    from apm_s3.configs import ConfigStore, LogEntry, Release


def watch(
    ctx: typer.Context,
    tool: ToolOption = None,
    log: Annotated[bool, typer.Option("--log", help="Every entry of the log instead of the releases.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two checks.")] = 10.0,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after this many.")] = None,
) -> None:
    """Print each new release as soon as it is there.

    It begins with the current releases and ends with Ctrl-C. With --output json, each line is a document.

    Example:
        apm-s3 config watch -e production --output json
    """
    call = Call.of(ctx)
    environment = call.environment
    call.go_on = "It only watched."

    async def work(store: ConfigStore) -> None:
        tools = None if tool is None else [as_tool(tool)]
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
