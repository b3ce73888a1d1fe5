"""Output of the demo: headings, tables, diffs, results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from apm_s3.cli._output import make_table


def heading(console: Console, number: int, title: str) -> None:
    """Print the title of a step."""
    console.print(Text(f"\n{number}. {title}", style="bold"))


def table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table as all commands print it."""
    console.print(make_table(columns, rows))


def unified_diff(console: Console, text: str) -> None:
    """Print a unified diff, in colour if the terminal supports it."""
    console.print(Syntax(text.rstrip("\n"), "diff", background_color="default", word_wrap=True))


def success(console: Console, text: str) -> None:
    """A good end."""
    console.print(Text(f"\n{text}", style="bold green"))


def failure(console: Console, text: str) -> None:
    """Print an error."""
    console.print(Text.assemble(("Failed: ", "bold red"), text))
