"""The pictures of the command line."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOTS = ("deploy", "diff", "migrate", "plan", "recording", "status", "validate")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_picture_shows_the_command_and_what_the_terminal_showed() -> None:
    from tools.screenshots import draw

    picture = draw("apm-s3 config plan", "\x1b[1mPlan\x1b[0m: <1> tool & more\n  ~ prometheus.yml", title="plan")

    text = "".join(ET.fromstring(picture).itertext()).replace("\xa0", " ")
    assert "$ apm-s3 config plan" in text
    assert "Plan: <1> tool & more" in text
    assert "font-face" not in picture


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_the_lines_of_a_recording_appear_after_their_commands() -> None:
    from tools.screenshots import record

    wide = "a line that is longer than the terminal is wide " * 5
    picture = record([f"apm-s3 one\n{wide}", "apm-s3 two\nsecond"], title="both")

    ET.fromstring(picture)
    moments = {
        int(line): float(at) for line, at in re.findall(r"line-(\d+)\)'\] \{ animation: appear ([\d.]+)s", picture)
    }
    drawn = re.findall(r"line-(\d+)\)\">([^<]*)", picture)
    shown = {text.replace("&#160;", " ").strip(): moments[int(line)] for line, text in drawn}
    one, two = shown["apm-s3 one"], shown["apm-s3 two"]
    assert one < min(at for text, at in shown.items() if text.startswith("a line")) < two < shown["second"]
    assert "prefers-reduced-motion" in picture


@pytest.mark.parametrize("name", SHOTS)
def test_each_picture_of_the_documentation_is_there_and_loads_nothing_from_elsewhere(name: str) -> None:
    picture = (ROOT / "docs/images" / f"{name}.svg").read_text()

    ET.fromstring(picture)
    assert "url(" not in picture.replace("url(#", "")
    pages = (ROOT / "README.md").read_text() + (ROOT / "docs" / "cli.md").read_text()
    assert f"images/{name}.svg" in pages
