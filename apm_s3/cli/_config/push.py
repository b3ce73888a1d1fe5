"""The commands `config push|pull|diff|import`, and how differences and plans are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apm_s3._hints import Advice, Hint
from apm_s3._naming import check_environment, counted, split_s3
from apm_s3._tools import Tool
from apm_s3.cli import _arguments as args
from apm_s3.cli._call import Call, in_production, suggest_environment, this_command
from apm_s3.cli._output import SIGNS, make_changes
from apm_s3.cli._statuses import Status, UsageFailed, clean
from apm_s3.errors import ConfigNotFound

if TYPE_CHECKING:
    from rich.text import Text

    from apm_s3._manager import S3Manager
    from apm_s3.cli._config.validate import Subject
    from apm_s3.configs import (
        BundleDiff,
        ConfigStore,
        DeployPlan,
        FileDiff,
        ImportBundle,
        ImportPlan,
        Release,
        ToolPlan,
    )
    from apm_s3.reports import ValidationReport
    from apm_s3.validators import ValidationOptions


SIGN_OF = {"added": "+", "changed": "~", "removed": "-"}
_COLOURS = (("+++", "bold"), ("---", "bold"), ("@@", "cyan"), ("+", SIGNS["+"]), ("-", SIGNS["-"]))


def signs_of(files: Iterable[FileDiff], folder: str = "") -> list[tuple[str, str]]:
    """Return a sign and a name for each file that differs."""
    return [(SIGN_OF[each.kind], f"{folder}{each.name}") for each in files]


def make_diff(diff: BundleDiff) -> Text:
    """Return a unified diff in colours, after an empty line; secrets are masked already."""
    from rich.text import Text  # noqa: PLC0415 - JSON output does without it

    text = Text("\n")
    for line in str(diff).splitlines():
        style = next((colour for mark, colour in _COLOURS if line.startswith(mark)), "")
        text.append(f"{line}\n", style=style)
    text.rstrip()
    return text


def counts_of(files: Iterable[FileDiff]) -> str:
    """Return the numbers of files as Terraform says them: "1 to add, 2 to change, 0 to remove"."""
    kinds = [each.kind for each in files]
    return ", ".join(
        f"{kinds.count(kind)} to {verb}"  # type: ignore[arg-type]  # the kinds are these three
        for kind, verb in (("added", "add"), ("changed", "change"), ("removed", "remove"))
    )


def show_diff(title: str, diff: BundleDiff) -> list[Text]:
    """Return a difference for people: the summary first."""
    if not diff.files:
        return [make_changes(f"{title}: no differences", [])]
    return [make_changes(f"{title}: {counts_of(diff.files)}", signs_of(diff.files)), make_diff(diff)]


def show_plan(plan: DeployPlan, refused: Iterable[str]) -> list[Text]:
    """Return a plan of a deploy for people: the summary first, what blocks it last."""
    where = f"{plan.source_environment} to {plan.target_environment}"
    files = [file for each in plan.tools if each.changes for file in each.diff.files]
    if not plan.changes:
        return [make_changes(f"Plan: nothing to deploy from {where}", []), *show_blocked(refused)]
    tools = counted(sum(each.changes for each in plan.tools), "tool")
    lines = [line for each in plan.tools if each.changes for line in _lines_of(each)]
    shown = [make_changes(f"Plan: {tools} from {where}; files: {counts_of(files)}", lines)]
    shown += [make_diff(each.diff) for each in plan.tools if each.changes and each.diff.files]
    return [*shown, *show_blocked(refused)]


def _lines_of(plan: ToolPlan) -> Iterator[tuple[str, str]]:
    new = "revision 1" if plan.target is None else f"revision {plan.target_revision} -> {plan.target_revision + 1}"
    sign = "+" if plan.target is None else "~"
    yield sign, f"{plan.tool}: {new}, from revision {plan.source_revision}"
    yield from ((sign, f"  {name}") for sign, name in signs_of(plan.diff.files))
    if plan.report.warnings:
        yield " ", f"  {counted(len(plan.report.warnings), 'warning')}"


def show_blocked(reasons: Iterable[str]) -> list[Text]:
    """Return a line for each reason for which a change would be refused."""
    from rich.text import Text  # noqa: PLC0415 - JSON output does without it

    return [Text.assemble(("Blocked: ", "bold red"), reason) for reason in reasons]


directory_argument = args.argument("directory", metavar="DIR", type=args.PATH, help="The directory of the bundle.")


@directory_argument
@args.tool_hint
@args.expect_revision
@args.force
@args.flag("--skip-unchanged", help="No revision if nothing changed.")
@args.create_environment
@args.of_write
def push(call: Call, *, directory: Path, tool: Tool | None, force: str | None, create: bool, **options: Any) -> Status:
    """Store a directory as the new revision of a tool's configuration.

    The whole bundle is validated first. Production asks for its name.

    Example:
        apm-s3 config push ./prometheus -e staging -m "Scrape the new nodes"
    """
    if not directory.is_dir():
        raise UsageFailed(f"'{directory}' is not a directory", "pass a directory with the configuration's files")
    environment, chosen = call.environment, tool_of(directory, tool)
    if call.dry_run:
        return _dry_push(call, environment, chosen, directory, force, create=create)
    if name := in_production(environment):
        call.confirm(f"Change {chosen} in {environment}?", name=name)
    how = call.begin_write(environment, f"Store {directory} as {chosen} in {environment}.")
    how |= {"force": force, **options}

    def store(*, create: bool) -> Release:
        return call.run_on_store(lambda store: store.upload_dir(chosen, environment, directory, create=create, **how))

    try:
        release = store(create=create)
    except ConfigNotFound as exc:
        if exc.environment != environment or create or not call.can_ask:
            raise
        near = exc.hint.values["near"].rstrip(";") if isinstance(exc.hint, Hint) else exc.hint
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
    if environment is None or create:
        return
    check_environment(environment)
    known = await store.environments()
    if known and environment not in known:
        refused = ConfigNotFound(
            f"there is no environment '{environment}'", environment=environment, hint=Advice.CREATE_ENVIRONMENT(near="")
        )
        await suggest_environment(store, refused)
        raise refused


def _dry_push(call: Call, environment: str, tool: Tool, directory: Path, force: str | None, *, create: bool) -> Status:
    from apm_s3.cli._config.formats import Format, render  # noqa: PLC0415 - as the next
    from apm_s3.cli._config.validate import Search, findings_of  # noqa: PLC0415 - it brings the validators
    from apm_s3.configs._checks import check_bundle  # noqa: PLC0415 - as above
    from apm_s3.reports import Severity  # noqa: PLC0415 - as above

    async def work(store: ConfigStore) -> BundleDiff:
        await check_new(store, environment, create=create)
        rules = await _rules(store, tool, environment)
        diff = await diff_with(store, tool, environment, directory)
        bundles = Search((directory,), tool=tool).subjects(bytes)
        checked.extend([(each, await check_bundle(tool, each.files, rules)) for each in bundles])
        return diff

    checked: list[tuple[Subject, ValidationReport]] = []
    diff = call.run_on_store(work)
    findings = findings_of(checked)
    if told := render(findings, Format.text).rstrip():
        call.note(told)
    valid = not findings.counts[Severity.ERROR] or force is not None
    document = {"dry_run": True, "valid": valid, "diff": diff.to_dict()}
    call.print(document, *show_diff(f"Would change {tool} in {environment}", diff), paged=True)
    return Status.DONE if valid else Status.INVALID


@directory_argument
@args.tool_hint
@args.revision
@args.flag("--replace", help="Replace a directory that is not empty; its contents are deleted.")
@args.yes
@args.dry_run
def pull(call: Call, *, directory: Path, tool: Tool | None, revision: int | None, replace: bool) -> None:
    """Write a tool's configuration to a directory, all files at once.

    Whoever reads the directory sees the old files or the new ones, never a mixture.

    Example:
        apm-s3 config pull ./prometheus -e production --replace
    """
    environment, chosen = call.environment, tool_of(directory, tool)
    if call.dry_run:
        diff = call.run_on_store(lambda store: diff_with(store, chosen, environment, directory, revision, back=True))
        call.print({"dry_run": True, "diff": diff.to_dict()}, *show_diff(f"Would change {directory}", diff), paged=True)
        return
    if replace and directory.is_dir() and any(directory.iterdir()):
        call.confirm(f"Replace all files in {directory}?")
    call.resume_hint = f"{directory} was not changed."
    release = call.run_on_store(
        lambda store: store.download_dir(chosen, environment, directory, revision=revision, replace=replace)
    )
    files = counted(len(release.files), "file")
    call.print(release, f"wrote revision {release.revision} of {chosen} in {environment} to {directory}: {files}")


@args.argument(
    "directory",
    metavar="[DIR]",
    required=False,
    type=click.Path(path_type=Path, exists=True),
    help="Compare with this directory.",
)
@args.tool_hint
@args.option("--from", "old", type=click.IntRange(min=1), help="A revision; by default the current one.")
@args.option("--to", "new_revision", type=click.IntRange(min=1), help="Compare with this revision.")
@args.option("--to-environment", help="Compare with the current one there.")
@args.exit_code
def diff(
    call: Call, *, directory: Path | None, tool: Tool | None, old: int | None, exit_code: bool, **others: Any
) -> Status:
    """Compare with a directory, a revision, or another environment.

    Without any of them: the current revision and the one before. Secrets are masked.

    Examples:
        apm-s3 config diff ./prometheus -e production --exit-code
        apm-s3 config diff --tool prometheus --from 3 --to 5
        apm-s3 config diff --tool loki -e staging --to-environment production
    """
    environment, chosen = call.environment, tool_of(directory, tool)
    if directory is not None and any(each is not None for each in others.values()):
        raise UsageFailed("a directory cannot be compared with --to or --to-environment", "use one of them")
    folder = directory

    async def work(store: ConfigStore) -> BundleDiff:
        if folder is not None:
            return await diff_with(store, chosen, environment, folder, old)
        return await store.diff(chosen, environment, old, **others)

    found = call.run_on_store(work)
    call.print(found.to_dict(), *show_diff(f"{found.old} and {found.new}", found), paged=True)
    return Status.DIFFERENT if exit_code and found.files else Status.DONE


def tool_of(directory: Path | None, given: Tool | None) -> Tool:
    """Return the tool of a bundle: the given one, or by the directory's name and main file.

    Raises:
        UsageFailed: that does not tell.
    """
    from apm_s3.cli._config.validate import tool_of_folder  # noqa: PLC0415 - it brings the validators

    if given is not None:
        return given
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


async def _rules(store: ConfigStore, tool: Tool, environment: str) -> ValidationOptions:
    from apm_s3.validators._validation.validate import LENIENT_RULES  # noqa: PLC0415 - it brings the validators

    try:
        return (await store.settings(environment)).rules(tool)
    except ConfigNotFound:
        return LENIENT_RULES


_SHOWN = 20


@args.argument("source", help="A directory, a Git checkout, or s3://BUCKET/PREFIX.")
@args.tool_hint
@args.flag("--history", help="Import each commit of a checkout as a revision.")
@args.option("--ref", default="HEAD", help="With --history: commit, branch or tag.")
@args.create_environment
@args.force
@args.of_change
def import_(
    call: Call, *, source: str, tool: Tool | None, history: bool, ref: str, create: bool, force: str | None
) -> Status:
    """Take over an existing layout byte for byte.

    Bundles are in {environment}/{tool}/; with --environment in {tool}/; with --tool as well, SOURCE is one bundle.
    Repeated, it commits nothing twice.

    Example:
        apm-s3 config import . --history --ref main
    """
    # Not from the environment or the project file: it changes what SOURCE is taken for.
    environment = call.options.get("environment")
    store_of = call.store_of()

    async def planned(s3: S3Manager) -> ImportPlan:
        store = store_of(s3)
        await check_new(store, environment, create=create)
        return await store.plan_import(_source(s3, source), environment, tool=tool, history=history, ref=ref)

    plan = call.run(planned)
    document = {"plan": plan, "blocked": plan.blocked}
    if call.dry_run or not plan.changes:
        call.print({"dry_run": call.dry_run, **document}, *_shown(plan))
        if any(each.blocked for each in plan.bundles):
            return Status.CONFLICT
        return Status.INVALID if force is None and any(each.errors for each in plan.bundles) else Status.DONE
    names = dict.fromkeys(each.environment for each in plan.revisions)
    name = next(filter(None, map(in_production, names)), None)
    if name is not None:
        call.confirm(f"Import {counted(len(plan.revisions), 'revision')}?", name=name)
    how = call.signed()
    call.changes = True
    call.resume_hint = f"Revisions that were committed stay. Continue with the same command: {this_command()}"
    with call.store_progress() as told:
        releases = call.run_on_store(lambda store: store.import_configs(plan, force=force, on_progress=told, **how))
    invalid = [each for each in releases if each.forced is not None]
    for each in invalid[:_SHOWN]:
        # Errors come first among the stored results of the checks.
        call.note(
            f"warning: revision {each.revision} of {each.tool} in {each.environment} is invalid: {each.warnings[0]}"
        )
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
