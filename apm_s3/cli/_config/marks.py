"""The commands `config good|freeze|thaw`."""

from __future__ import annotations

import typer

from apm_s3.cli._arguments import Author, DryRun, Message, Note, Revision, ToolName, as_tool
from apm_s3.cli._call import Call
from apm_s3.cli._statuses import UsageFailed

_AGAIN = "Run it again: doing it twice is harmless."


def good(
    ctx: typer.Context,
    tool: ToolName,
    revision: Revision = None,
    author: Author = None,
    message: Note = "",
    dry_run: DryRun = False,
) -> None:
    """Mark a revision as good: rollbacks return to it.

    Example:
        apm-s3 config good prometheus -e production
    """
    call = Call.of(ctx)
    environment, chosen = call.environment, as_tool(tool)
    if dry_run:
        bundle = call.run_on_store(lambda store: store.download_bundle(chosen, environment, revision=revision))
        text = f"would mark revision {bundle.release.revision} of {tool} in {environment} as good"
        call.print({"dry_run": True, "release": bundle.release}, text)
        return
    call.changes, call.go_on, by = True, _AGAIN, call.author(author)
    release = call.run_on_store(
        lambda store: store.mark_good(chosen, environment, revision, author=by, message=message)
    )
    call.print(release, f"revision {release.revision} of {tool} in {environment} is marked good")


def freeze(ctx: typer.Context, author: Author = None, message: Message = None, dry_run: DryRun = False) -> None:
    """Block all changes to an environment.

    The message is the reason, which everybody sees whose change is refused.

    Example:
        apm-s3 config freeze -e production -m "Christmas"
    """
    call = Call.of(ctx)
    environment = call.environment
    reason = call.message(message, f"Freeze {environment}.")
    if not reason:
        raise UsageFailed("a freeze needs a reason", "use --message REASON")
    if not dry_run:
        call.changes, call.go_on, by = True, _AGAIN, call.author(author)
        call.run_on_store(lambda store: store.freeze(environment, reason, author=by))
    verb = "would freeze" if dry_run else "froze"
    call.print({"environment": environment, "frozen": not dry_run, "reason": reason}, f"{verb} {environment}: {reason}")


def thaw(ctx: typer.Context, author: Author = None, message: Note = "", dry_run: DryRun = False) -> None:
    """Allow changes to an environment again.

    Example:
        apm-s3 config thaw -e production
    """
    call = Call.of(ctx)
    environment = call.environment
    if not dry_run:
        call.changes, call.go_on, by = True, _AGAIN, call.author(author)
        call.run_on_store(lambda store: store.thaw(environment, author=by, message=message))
    document = {"environment": environment, "frozen": False, "dry_run": dry_run}
    call.print(document, f"{'would thaw' if dry_run else 'thawed'} {environment}")
