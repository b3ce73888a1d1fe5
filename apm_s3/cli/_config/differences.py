"""Shows differences and plans: a summary, a line for each file with its sign, and coloured diffs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from apm_s3.cli._output import SIGNS, counted, make_changes

if TYPE_CHECKING:
    from rich.text import Text

    from apm_s3.configs import BundleDiff, DeployPlan, FileDiff, ToolPlan

_SIGN_OF = {"added": "+", "changed": "~", "removed": "-"}
_COLOURS = (("+++", "bold"), ("---", "bold"), ("@@", "cyan"), ("+", SIGNS["+"]), ("-", SIGNS["-"]))


def signs_of(files: Iterable[FileDiff], folder: str = "") -> list[tuple[str, str]]:
    """Return a sign and a name for each file that differs."""
    return [(_SIGN_OF[each.kind], f"{folder}{each.name}") for each in files]


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
