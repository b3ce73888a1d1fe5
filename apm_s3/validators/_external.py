"""A second opinion: promtool or amtool, where they are on the path.

Each runs without a shell, in a temporary folder of its own, on a copy of the document, with a deadline. What it
quotes is cut out of its message, since it may be a secret.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from apm_s3.reports import Issue, Severity
from apm_s3.validators._context import Context, Version

DEADLINE = 20.0
"""Seconds; promtool needs 0.2 for 500 KB."""
_NEWEST: dict[str, Version] = {"promtool": (3, 14), "amtool": (0, 34)}
_COMMANDS = {
    ("prometheus", "config"): ("promtool", "check", "config", "--syntax-only", "--lint=none"),
    ("prometheus", "rules"): ("promtool", "check", "rules", "--lint=none"),
    ("alertmanager", "config"): ("amtool", "check-config"),
}
_QUOTED = re.compile(r"`[^`]*`|\"(?:[^\"\\]|\\.)*\"|'[^']*'")
_LINE = re.compile(r"\bline (\d{1,9})\b|:(\d{1,9}):\d{1,9}:")
_LONGEST = 500


def ask_tool(tool: str, kind: str, text: str, context: Context) -> None:
    """Report what the tool's own checker says against `text`.

    That is an error when the checker is of the release that is aimed at or newer, and a warning when it is older,
    since it may only not know something yet.
    """
    command = _COMMANDS.get((tool, kind))
    if command is None:
        return
    program = shutil.which(command[0])
    if program is None:
        context.skip(f"{command[0]} was not asked: it is not on the path")
        return
    try:
        with tempfile.TemporaryDirectory(prefix="apm-s3-") as folder:
            version = _version(program)
            path = Path(folder, "document.yml")
            path.write_text(text, encoding="utf-8")
            done = _run([program, *command[1:], str(path)], folder)
    except (OSError, subprocess.SubprocessError) as exc:
        context.skip(f"{command[0]} gave no answer: {type(exc).__name__}")
        return
    if done.returncode:
        context.add(_issue(command[0], version, done.stdout + "\n" + done.stderr, context))


def _run(command: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - no shell, and the program is the one on the path
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE, check=False
    )


def _version(program: str) -> Version:
    done = _run([program, "--version"], tempfile.gettempdir())
    match = re.search(r"version (\d+)\.(\d+)", done.stdout + done.stderr)
    return (int(match[1]), int(match[2])) if match else (0,)


def _issue(program: str, version: Version, output: str, context: Context) -> Issue:
    lines = [line.strip() for line in output.splitlines()]
    said = " ".join(line for line in lines if line and not line.startswith("Checking") and "SUCCESS" not in line)
    said = re.sub(r"\S*/document\.yml:?\s*", "", said).replace("FAILED:", "").strip()
    place = _LINE.search(output)
    line = int(place[1] or place[2]) if place else None
    severity = Severity.ERROR if version >= (context.target or _NEWEST[program]) else Severity.WARNING
    shown = f"{program} {'.'.join(map(str, version))} refuses it: {_QUOTED.sub('…', said)[:_LONGEST]}"
    return Issue(severity, "", line or None, None, program, shown)
