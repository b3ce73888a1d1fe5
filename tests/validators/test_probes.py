"""Pieces at the limits of what promtool and amtool accept get their verdict."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from apm_s3.validators import validate_config
from tests.validators.probes import BAD, GOOD, PLACES

RELEASES = {"promtool": "2.53", "amtool": "0.28"}
COMMANDS = {
    "config": ("promtool", "check", "config", "--syntax-only", "--lint=none"),
    "rules": ("promtool", "check", "rules", "--lint=none"),
    "alertmanager": ("amtool", "check-config"),
}


def takes(kind: str, text: str) -> bool:
    tool, kind = ("alertmanager", "config") if kind == "alertmanager" else ("prometheus", kind)
    release = RELEASES["amtool" if tool == "alertmanager" else "promtool"]
    return validate_config(tool, text, kind=kind, target_version=release).ok


@pytest.mark.parametrize("place", PLACES)
def test_each_probe_gets_the_recorded_verdict(place: str) -> None:
    kind, write = PLACES[place].kind, PLACES[place].write

    assert [piece for piece in GOOD[place] if not takes(kind, write(piece))] == []
    assert [piece for piece in BAD[place] if takes(kind, write(piece))] == []


@pytest.mark.parametrize("place", PLACES)
def test_the_recorded_verdicts_are_the_verdicts_of_the_tools(place: str, tmp_path: Path) -> None:
    kind, write = PLACES[place].kind, PLACES[place].write
    program = COMMANDS[kind][0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True)
    if f"version {RELEASES[program]}." not in shown.stdout + shown.stderr:
        pytest.skip(f"{program} is another release than that of the verdicts")
    pieces = [*GOOD[place], *BAD[place]]
    paths = []
    for index, piece in enumerate(pieces):
        paths.append(tmp_path / f"{index:03}.yml")
        paths[-1].write_text(write(piece), encoding="utf-8")

    done = subprocess.run([*COMMANDS[kind], *map(str, paths)], capture_output=True, text=True, timeout=60, check=False)

    parts = done.stdout.split("Checking ")[1:]
    assert ["SUCCESS" in part for part in parts] == [piece in GOOD[place] for piece in pieces]
