"""The command `config validate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from apm_s3.cli._arguments import ToolHint
from apm_s3.cli._call import Call, Output, writing
from apm_s3.cli._config.checking import check_all, parse_targets
from apm_s3.cli._config.formats import Format, render
from apm_s3.cli._statuses import Status, UsageFailed, in_colour
from apm_s3.cli._subjects import Search
from apm_s3.reports import Severity

if TYPE_CHECKING:
    from apm_s3._tools import Tool
    from apm_s3.cli._settings import Project


def validate(
    ctx: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Files, bundles, trees {environment}/{tool}/, -; default: here."),
    ] = None,
    tool: ToolHint = None,
    target_version: Annotated[
        list[str] | None, typer.Option(metavar="TOOL=VERSION", help="Check for this release. Repeatable.")
    ] = None,
    fail_on: Annotated[Severity | None, typer.Option(help="Severity for status 3; default: error.")] = None,
    form: Annotated[Format, typer.Option("--format", help="How to print the issues.")] = Format.text,
    whole_bundle: Annotated[bool, typer.Option("--whole-bundle", help="Check the rest of files' bundles too.")] = False,
    stdin_name: Annotated[str | None, typer.Option(metavar="NAME", help="The name of standard input.")] = None,
) -> Status:
    """Check configurations offline, as the tools do.

    The table "validate" of the project file can set fail-on and target-version.

    Examples:
        apm-s3 config validate prometheus.yml --target-version prometheus=2.53
        apm-s3 config validate configs/ --format github --fail-on warning
        generate | apm-s3 config validate - --tool loki
    """
    call = Call.of(ctx)
    least, targets = _defaults(call.settings.project)
    wanted = Format.json if call.output is Output.json and form is Format.text else form
    search = Search(
        tuple(paths or (Path(),)), tool=cast("Tool | None", tool), stdin_name=stdin_name, whole=whole_bundle
    )
    targets |= parse_targets(target_version or ())
    findings = check_all(search, targets, sys.stdin.buffer.read)
    with writing():
        sys.stdout.write(render(findings, wanted, coloured=in_colour(sys.stdout.isatty())))
    for reason in findings.skipped:
        call.note(f"skipped: {reason}")
    if wanted is Format.text:
        call.note(findings.summary)
    failing = list(Severity)[: list(Severity).index(fail_on or least) + 1]
    return Status.INVALID if any(findings.counts[each] for each in failing) else Status.DONE


def _defaults(project: Project) -> tuple[Severity, dict[Tool, str]]:
    """Return the least severity that fails, and the releases to check for, by the project file.

    Raises:
        UsageFailed: its table is not valid.
    """
    table = project.table("validate")
    known = ("fail-on", "target-version")
    for name in table:
        if name not in known:
            raise UsageFailed(f"{project.path}: unknown key 'validate.{name}'", f"known keys: {', '.join(known)}")
    least, versions = table.get("fail-on", "error"), table.get("target-version", {})
    if least not in list(Severity):
        raise UsageFailed(f"{project.path}: validate.fail-on is {least!r}", f"choose from {', '.join(Severity)}")
    if not isinstance(versions, dict) or not all(isinstance(each, str) for each in versions.values()):
        raise UsageFailed(
            f"{project.path}: validate.target-version is not a table of releases", 'write {prometheus = "2.53"}'
        )
    return Severity(least), parse_targets(f"{tool}={version}" for tool, version in versions.items())
