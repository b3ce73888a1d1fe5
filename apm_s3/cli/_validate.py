"""The command `config validate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, cast

import typer

from apm_s3._tools import Tool
from apm_s3.cli._arguments import ToolHint
from apm_s3.cli._call import Call, Output
from apm_s3.cli._checking import check_all, parse_targets
from apm_s3.cli._formats import Format, render
from apm_s3.cli._statuses import Status, in_colour
from apm_s3.cli._subjects import Search
from apm_s3.reports import Severity


def validate(
    ctx: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Files, bundles, trees {environment}/{tool}/, or -; by default here."),
    ] = None,
    tool: ToolHint = None,
    target_version: Annotated[
        list[str] | None, typer.Option(metavar="TOOL=VERSION", help="Check for this release. Repeatable.")
    ] = None,
    fail_on: Annotated[Severity, typer.Option(help="The least severity that makes the exit status 3.")] = (
        Severity.ERROR
    ),
    form: Annotated[Format, typer.Option("--format", help="How to print the issues.")] = Format.text,
    whole_bundle: Annotated[
        bool, typer.Option("--whole-bundle", help="Check files together with the rest of their bundles.")
    ] = False,
    stdin_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name of the file on standard input.")
    ] = None,
) -> Status:
    """Check configurations offline, as their tools do.

    Examples:
        apm-s3 config validate prometheus.yml --target-version prometheus=2.53
        apm-s3 config validate configs/ --format github --fail-on warning
        generate | apm-s3 config validate - --tool loki
    """
    call = Call.of(ctx)
    wanted = Format.json if call.output is Output.json and form is Format.text else form
    search = Search(
        tuple(paths or (Path(),)), tool=cast("Tool | None", tool), stdin_name=stdin_name, whole=whole_bundle
    )
    findings = check_all(search, parse_targets(target_version or ()), sys.stdin.buffer.read)
    sys.stdout.write(render(findings, wanted, coloured=in_colour(sys.stdout.isatty())))
    for reason in findings.skipped:
        call.note(f"skipped: {reason}")
    if wanted is Format.text:
        call.note(findings.summary)
    failing = list(Severity)[: list(Severity).index(fail_on) + 1]
    return Status.INVALID if any(findings.counts[each] for each in failing) else Status.DONE
