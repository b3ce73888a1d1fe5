"""Output of the command line: headings, tables, diffs, results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table


def heading(console: Console, number: int, title: str) -> None:
    """Print the title of a step."""
    console.print(f"\n[bold]{number}. {escape(title)}[/bold]")


def table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers are right-aligned, None is left empty."""
    body = [["" if cell is None else cell for cell in row] for row in rows]
    grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], int) for row in body)
        grid.add_column(escape(column), justify="right" if numeric else "left", overflow="fold")
    for row in body:
        grid.add_row(*(escape(str(cell)) for cell in row))
    console.print(grid)


def unified_diff(console: Console, text: str) -> None:
    """Print a unified diff, in colour if the terminal supports it."""
    console.print(Syntax(text.rstrip("\n"), "diff", background_color="default", word_wrap=True))


def success(console: Console, text: str) -> None:
    """A good end."""
    console.print(f"\n[bold green]{escape(text)}[/bold green]")


def failure(console: Console, text: str) -> None:
    """Print an error."""
    console.print(f"[bold red]Failed:[/bold red] {escape(text)}")
