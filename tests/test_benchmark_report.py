"""The report of the benchmarks: tables for the terminal and in Markdown, and charts that are valid SVG."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.report import COLLECTED, Table, collected, number, show, write

RATES = Table(
    "Small <objects>",
    "Requests a second",
    ("put", "list", "server"),
    {"apm_s3": (4000.0, 50.0, "weed"), "other & Co": (1000.0, None, "weed")},
    ratios=True,
    plotted=("put", "list"),
    note="Medians.",
)
TIMES = Table("Small <objects>", "Milliseconds", ("ms",), {"apm_s3": (0.0,)})


def test_a_table_is_printed_with_ratios_to_the_first_row(capsys: pytest.CaptureFixture[str]) -> None:
    show(RATES)

    assert capsys.readouterr().out.splitlines() == [
        "",
        "Small <objects>: Requests a second",
        "                     put         list  server",
        "apm_s3      4 000 (1.00)  50.0 (1.00)    weed",
        "other & Co  1 000 (0.25)            -    weed",
    ]


def test_a_run_collects_the_tables_of_its_benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COLLECTED, str(tmp_path / "results"))
    show(RATES)
    show(TIMES)

    assert collected(tmp_path / "results") == [RATES, TIMES]


def test_the_report_has_a_heading_for_each_section_and_a_chart_for_plotted_columns(tmp_path: Path) -> None:
    pictures = tmp_path / "images" / "benchmarks"
    pictures.mkdir(parents=True)
    (pictures / "of-an-earlier-run.svg").write_text("")

    write([RATES, TIMES], tmp_path / "page.md", pictures, "On a quiet machine.")

    assert (tmp_path / "page.md").read_text() == (
        "# Benchmarks\n\nOn a quiet machine.\n\n## Small <objects>\n\n**Requests a second.** Medians.\n\n"
        "|  | put | list | server |\n| --- | --: | --: | --: |\n"
        "| apm_s3 | 4 000 (1.00) | 50.0 (1.00) | weed |\n| other & Co | 1 000 (0.25) | - | weed |\n\n"
        "![Small <objects>: Requests a second](images/benchmarks/01-small-objects.svg)\n\n"
        "**Milliseconds.**\n\n|  | ms |\n| --- | --: |\n| apm_s3 | 0 |\n"
    )
    (chart,) = pictures.iterdir()
    drawn = ET.fromstring(chart.read_text())
    bars = [bar for bar in drawn.iter("{http://www.w3.org/2000/svg}rect") if bar.get("class") in ("ours", "other")]
    # Three figures; the second is a quarter of the first, and each panel has a scale of its own.
    assert [bar.get("class") for bar in bars] == ["ours", "other", "ours"]
    widths = [float(bar.get("width", "")) for bar in bars]
    assert widths[0] == widths[2] == 4 * widths[1] > 0


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (12345.6, "12 346"), (99.94, "99.9"), (1.234, "1.23"), (0.00123, "0.0012")]
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text
