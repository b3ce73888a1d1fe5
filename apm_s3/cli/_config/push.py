"""The commands `config push|pull|diff`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from apm_s3._naming import check_environment
from apm_s3._tools import Tool
from apm_s3.cli._arguments import Author, Create, DryRun, ExitCode, ExpectRevision, Message, Revision, ToolHint, Yes
from apm_s3.cli._call import Call, in_production, suggest_environment
from apm_s3.cli._config.differences import show_diff
from apm_s3.cli._output import counted
from apm_s3.cli._statuses import Status, UsageFailed

if TYPE_CHECKING:
    from apm_s3.configs import BundleDiff, ConfigStore, Release

T = TypeVar("T")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The directory of the bundle.")]
Force = Annotated[str | None, typer.Option(metavar="REASON", help="Store errors too, and why.")]
WriteId = Annotated[str | None, typer.Option(help="An id; repeated with it, it commits at most once.")]


def push(
    ctx: typer.Context,
    directory: Folder,
    tool: ToolHint = None,
    expect_revision: ExpectRevision = None,
    force: Force = None,
    skip_unchanged: Annotated[bool, typer.Option("--skip-unchanged", help="No revision if nothing changed.")] = False,
    create: Create = False,
    write_id: WriteId = None,
    author: Author = None,
    message: Message = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> Status:
    """Store a directory as the new revision of a tool's configuration.

    The whole bundle is validated first. Production asks for its name.

    Example:
        apm-s3 config push ./prometheus -e staging -m "Scrape the new nodes"
    """
    from apm_s3.errors import ConfigNotFound  # noqa: PLC0415 - the help does without it

    call = Call.of(ctx)
    if not directory.is_dir():
        raise UsageFailed(f"'{directory}' is not a directory", "pass a directory with the configuration's files")
    environment, chosen = call.environment, tool_of(directory, tool)
    if dry_run:
        return _dry_push(call, environment, chosen, directory, force, create=create)
    if name := in_production(environment):
        call.confirm(f"Change {chosen} in {environment}?", yes=yes, name=name)
    why = call.message(message, f"Store {directory} as {chosen} in {environment}.")
    by = call.author(author)

    def store(*, create: bool) -> Release:
        return change(
            call,
            environment,
            write_id,
            lambda store, used: store.upload_dir(
                chosen, environment, directory, author=by, message=why, expect_revision=expect_revision, force=force,
                skip_unchanged=skip_unchanged, create=create, write_id=used,
            ),
        )  # fmt: skip

    try:
        release = store(create=create)
    except ConfigNotFound as exc:
        if exc.environment != environment or create or not call.can_ask:
            raise
        near = (exc.hint or "").removesuffix("--create allows a new one").rstrip("; ")
        call.confirm(f"There is no environment '{environment}' ({near}). Create it?")
        release = store(create=True)
    for warning in release.warnings:
        call.note(f"warning: {warning}")
    call.print(release, f"{chosen} in {environment} is at revision {release.revision}")
    return Status.DONE


async def check_new(store: ConfigStore, environment: str | None, *, create: bool) -> None:
    """Refuse an environment that a store with others does not have, unless it may be created.

    Raises:
        InvalidKey: it is no name of an environment.
        ConfigNotFound: there are others, but not this one.
    """
    from apm_s3.errors import ConfigNotFound  # noqa: PLC0415 - the help does without it

    if environment is None or create:
        return
    check_environment(environment)
    known = await store.environments()
    if known and environment not in known:
        refused = ConfigNotFound(f"there is no environment '{environment}'", environment=environment, hint="--create")
        await suggest_environment(store, refused)
        raise refused


def _dry_push(call: Call, environment: str, tool: Tool, directory: Path, force: str | None, *, create: bool) -> Status:
    from apm_s3.cli._config.checking import check_all  # noqa: PLC0415 - it brings the validators
    from apm_s3.cli._config.formats import Format, render  # noqa: PLC0415 - as above
    from apm_s3.cli._subjects import Search  # noqa: PLC0415 - as above
    from apm_s3.reports import Severity  # noqa: PLC0415 - as above

    async def work(store: ConfigStore) -> BundleDiff:
        await check_new(store, environment, create=create)
        rules = await _target_version(store, tool, environment)
        targets.update({} if rules is None else {tool: rules})
        return await diff_with(store, tool, environment, directory)

    targets: dict[Tool, str] = {}
    diff = call.run_on_store(work)
    findings = check_all(Search((directory,), tool=tool), targets, bytes)
    if told := render(findings, Format.text).rstrip():
        call.note(told)
    valid = not findings.counts[Severity.ERROR] or force is not None
    document = {"dry_run": True, "valid": valid, "diff": diff.to_dict()}
    call.print(document, *show_diff(f"Would change {tool} in {environment}", diff), paged=True)
    return Status.DONE if valid else Status.INVALID


def pull(
    ctx: typer.Context,
    directory: Folder,
    tool: ToolHint = None,
    revision: Revision = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a directory that is not empty; its contents are deleted.")
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Write a tool's configuration to a directory, all files at once.

    Whoever reads the directory sees the old files or the new ones, never a mixture.

    Example:
        apm-s3 config pull ./prometheus -e production --replace
    """
    call = Call.of(ctx)
    environment, chosen = call.environment, tool_of(directory, tool)
    if dry_run:
        diff = call.run_on_store(lambda store: diff_with(store, chosen, environment, directory, revision, back=True))
        call.print({"dry_run": True, "diff": diff.to_dict()}, *show_diff(f"Would change {directory}", diff), paged=True)
        return
    if replace and directory.is_dir() and any(directory.iterdir()):
        call.confirm(f"Replace all files in {directory}?", yes=yes)
    call.go_on = f"{directory} was not changed."
    release = call.run_on_store(
        lambda store: store.download_dir(chosen, environment, directory, revision=revision, replace=replace)
    )
    files = counted(len(release.files), "file")
    call.print(release, f"wrote revision {release.revision} of {chosen} in {environment} to {directory}: {files}")


def diff(
    ctx: typer.Context,
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Compare with this directory.", exists=True)
    ] = None,
    tool: ToolHint = None,
    old: Annotated[int | None, typer.Option("--from", min=1, help="A revision; by default the current one.")] = None,
    new: Annotated[int | None, typer.Option("--to", min=1, help="Compare with this revision.")] = None,
    to_environment: Annotated[str | None, typer.Option(help="Compare with the current one there.")] = None,
    exit_code: ExitCode = False,
) -> Status:
    """Compare with a directory, a revision, or another environment.

    Without any of them: the current revision and the one before. Secrets are masked.

    Examples:
        apm-s3 config diff ./prometheus -e production --exit-code
        apm-s3 config diff --tool prometheus --from 3 --to 5
        apm-s3 config diff --tool loki -e staging --to-environment production
    """
    call = Call.of(ctx)
    environment, chosen = call.environment, tool_of(directory, tool)
    if directory is not None and (new is not None or to_environment is not None):
        raise UsageFailed("a directory cannot be compared with --to or --to-environment", "use one of them")
    folder = directory

    async def work(store: ConfigStore) -> BundleDiff:
        if folder is not None:
            return await diff_with(store, chosen, environment, folder, old)
        return await store.diff(chosen, environment, old, new, to_environment=to_environment)

    found = call.run_on_store(work)
    call.print(found.to_dict(), *show_diff(f"{found.old} and {found.new}", found), paged=True)
    return Status.DIFFERENT if exit_code and found.files else Status.DONE


def tool_of(directory: Path | None, given: str | None) -> Tool:
    """Return the tool of a bundle: the given one, or by the directory's name and main file.

    Raises:
        UsageFailed: that does not tell.
    """
    from apm_s3.cli._arguments import as_tool  # noqa: PLC0415 - only for this
    from apm_s3.cli._subjects import tool_of_folder  # noqa: PLC0415 - it brings the validators

    if given is not None:
        return as_tool(given)
    found = None if directory is None else tool_of_folder(directory)
    if found is None:
        what = "no directory is given" if directory is None else f"'{directory}' does not tell"
        raise UsageFailed(f"the tool is not known: {what}", "use --tool")
    return found


async def diff_with(
    store: ConfigStore,
    tool: Tool,
    environment: str,
    directory: Path,
    revision: int | None = None,
    *,
    back: bool = False,
) -> BundleDiff:
    """Compare what is stored with a directory; what does not exist yet counts as empty.

    Args:
        back: the other way round: from the directory to what is stored.
    """
    from apm_s3.configs._content.diff import diff_bundles  # noqa: PLC0415 - as above
    from apm_s3.configs._content.overlays import is_reserved  # noqa: PLC0415 - as above
    from apm_s3.errors import ConfigNotFound  # noqa: PLC0415 - as above

    if back:
        bundle = await store.download_bundle(tool, environment, revision=revision)
        there = _files_in(directory)
        files = {name: file.raw for name, file in bundle.files.items() if not is_reserved(name)}
        label = f"{environment}#{bundle.release.revision}"
        return diff_bundles(there, files, old_label=str(directory), new_label=label)
    try:
        return await store.diff(tool, environment, revision, directory=directory)
    except ConfigNotFound:
        if revision is not None:
            raise
    return diff_bundles({}, _files_in(directory), old_label="nothing", new_label=str(directory))


def _files_in(directory: Path) -> Mapping[str, bytes]:
    """Return the files of a directory; none if it does not exist, or is empty."""
    from apm_s3._directories import read_files  # noqa: PLC0415 - only for this

    return read_files(directory).files if directory.is_dir() and any(directory.iterdir()) else {}


async def _target_version(store: ConfigStore, tool: Tool, environment: str) -> str | None:
    from apm_s3.errors import ConfigNotFound  # noqa: PLC0415 - the help does without it

    try:
        return (await store.settings(environment)).rules(tool).target_version
    except ConfigNotFound:
        return None


def change(call: Call, environment: str, given: str | None, work: Callable[[ConfigStore, str], Awaitable[T]]) -> T:
    """Return the result of a change in `environment` under the write id `given`, or a new one."""
    from apm_s3.configs import ConfigStore  # noqa: PLC0415 - it brings the validators

    write_id = given or ConfigStore.new_write_id(environment)
    call.changes = True
    call.go_on = f"See whether it was committed: apm-s3 config outcome {write_id}"
    return call.run_on_store(lambda store: work(store, write_id))
