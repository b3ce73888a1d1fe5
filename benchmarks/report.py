"""What benchmarks find: tables for the terminal, and one report of them in Markdown, with bar charts as SVG.

A benchmark calls `show` with its tables. `python -m benchmarks.all` sets `BENCHMARK_RESULTS` to a file that collects them,
and turns that into the report.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path

Value = float | str | None
"""A figure, a text, or None if there is none."""

COLLECTED = "BENCHMARK_RESULTS"


@dataclass(frozen=True, slots=True)
class Table:
    """Figures of several contenders, of which the first is this library.

    Attributes:
        section: the heading above; tables that follow each other may share it.
        title: what the figures are, with their unit, and whether more or less is better.
        rows: by contender, a value for each column.
        ratios: whether each figure is also told in proportion to the first row's.
        plotted: the columns that are drawn, each in a panel of its own.
        note: how it was measured.
    """

    section: str
    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[Value, ...]]
    ratios: bool = False
    plotted: tuple[str, ...] = ()
    note: str = ""

    def cells(self) -> list[list[str]]:
        """The header and the rows, as texts."""
        first = next(iter(self.rows.values()))
        lines = [["", *self.columns]]
        for contender, values in self.rows.items():
            ratios = first if self.ratios else (None,) * len(values)
            lines.append([contender, *map(_cell, values, ratios)])
        return lines


def show(*tables: Table) -> None:
    """Print tables, and add them to the file of a whole run if there is one."""
    for table in tables:
        lines = table.cells()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        print(f"\n{table.section}: {table.title}")
        for line in lines:
            print(
                line[0].ljust(widths[0])
                + "".join(f"  {cell:>{w}}" for cell, w in zip(line[1:], widths[1:], strict=True))
            )
        if COLLECTED in os.environ:
            with Path(os.environ[COLLECTED]).open("a") as file:
                file.write(json.dumps(asdict(table)) + "\n")


def collected(path: Path) -> list[Table]:
    """The tables that a run has added to a file."""
    tables = []
    for line in path.read_text().splitlines():
        stored = json.loads(line)
        stored["rows"] = {contender: tuple(values) for contender, values in stored["rows"].items()}
        tables.append(Table(**{**stored, "columns": tuple(stored["columns"]), "plotted": tuple(stored["plotted"])}))
    return tables


def write(tables: Iterable[Table], page: Path, pictures: Path, introduction: str) -> None:
    """Write the report, and its charts into the folder `pictures`, whose earlier charts are removed."""
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.glob("*.svg"):
        old.unlink()
    lines, section = [f"# Benchmarks\n\n{introduction}"], ""
    for index, table in enumerate(tables, start=1):
        if table.section != section:
            section = table.section
            lines.append(f"## {section}")
        lines.append(f"**{table.title}.** {table.note}".rstrip())
        header, *rows = table.cells()
        rule = ["---", *("--:" for _ in table.columns)]
        lines.append("\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows)))
        if table.plotted:
            name = re.sub(r"\W+", "-", table.section.lower()).strip("-")
            chart = pictures / f"{index:02}-{name}.svg"
            chart.write_text(bars(table))
            lines.append(f"![{table.section}: {table.title}]({chart.relative_to(page.parent).as_posix()})")
    page.write_text("\n\n".join(lines) + "\n")


def number(value: float) -> str:
    """A figure with three digits, or all of those before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.2g}"


def _cell(value: Value, first: Value) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    told = number(value)
    return f"{told} ({value / first:.2f})" if isinstance(first, int | float) and first else told


PANEL, ROW, ACROSS, LABEL = 400, 20, 2, 150
"""Sizes in pixels, and panels side by side. A chart has a background of its own, so that any page may show it."""
STYLE = """
text { font: 12px Helvetica, Arial, sans-serif; fill: #24292f } .title { font-weight: bold } .back { fill: #ffffff }
.ours { fill: #1a7f5a } .other { fill: #9aa7b4 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .back { fill: #161b22 } .ours { fill: #3fb98a } .other { fill: #5b6875 }
}"""


def bars(table: Table) -> str:
    """A chart with a panel for each plotted column, and a bar in it for each contender that has a figure there."""
    panels = [(column, _figures(table, column)) for column in table.plotted]
    height = 44 + ROW * max(len(figures) for _, figures in panels)
    width, total = PANEL * min(ACROSS, len(panels)), 28 + height * -(-len(panels) // ACROSS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{total}" viewBox="0 0 {width} {total}">',
        f"<style>{STYLE}</style>",
        f'<rect class="back" width="{width}" height="{total}" rx="8"/>',
        f'<text class="title" x="16" y="24">{escape(f"{table.section}: {table.title}")}</text>',
    ]
    for index, (column, figures) in enumerate(panels):
        left, top = 16 + PANEL * (index % ACROSS), 52 + height * (index // ACROSS)
        parts.append(f'<text x="{left}" y="{top}">{escape(column)}</text>')
        parts += _panel(figures, next(iter(table.rows)), left, top + 8)
    return "\n".join([*parts, "</svg>\n"])


def _figures(table: Table, column: str) -> dict[str, float]:
    at = table.columns.index(column)
    found = ((contender, values[at]) for contender, values in table.rows.items())
    return {contender: value for contender, value in found if isinstance(value, int | float)}


def _panel(figures: Mapping[str, float], ours: str, left: int, top: int) -> Iterable[str]:
    most = max([*figures.values(), 1e-9])
    for row, (contender, value) in enumerate(figures.items()):
        y, length = top + ROW * row, max(value / most, 0) * (PANEL - LABEL - 90)
        kind = "ours" if contender == ours else "other"
        yield f'<text x="{left + LABEL - 6}" y="{y + 14}" text-anchor="end">{escape(contender)}</text>'
        yield f'<rect class="{kind}" x="{left + LABEL}" y="{y + 3}" width="{length:.1f}" height="{ROW - 6}"/>'
        yield f'<text x="{left + LABEL + length + 6:.1f}" y="{y + 14}">{number(value)}</text>'
