"""Runs promtool or amtool, if they are on the path.

Each runs without a shell, in its own temporary folder, on a copy of the document, with a deadline. Each of its messages
is reported at its line. Quoted text is removed unless it is in the document, where the secrets are known.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from apm_s3._processes import clean_environment, find_program
from apm_s3.reports import Issue, Severity
from apm_s3.validators._checking.context import Context, Version

DEADLINE = 20.0
"""Seconds; promtool needs 0.2 for 500 KB."""
_NEWEST: dict[str, Version] = {"promtool": (3, 14), "amtool": (0, 34)}
_COMMANDS = {
    ("prometheus", "config"): ("promtool", "check", "config", "--syntax-only", "--lint=none"),
    ("prometheus", "rules"): ("promtool", "check", "rules", "--lint=none"),
    ("alertmanager", "config"): ("amtool", "check-config"),
}
_OPTIONS = {"classic": ("--enable-feature=classic-mode",), "utf8-strict": ("--enable-feature=utf8-strict-mode",)}
"""Options of amtool, by matcher mode."""
_QUOTED = re.compile(r"`[^`]*`|\"(?:[^\"\\]|\\.)*\"|'[^']*'")
_LINE = re.compile(r"\bline (\d{1,9})\b")
_PLACE = re.compile(r"line (?P<line>\d{1,9}): |(?P<at>\d{1,9}):(?P<column>\d{1,9}): ")
_FRAME = re.compile(
    r"^Checking '?\S*document\.yml'?|\bFAILED:|\bparsing YAML file (?=\S*document\.yml)"
    r"|\S*document\.yml:?|yaml: (?=line )"
)
_CLOSING = ("yaml: unmarshal errors:", "amtool: error: failed to validate", "time=")
"""Lines without a reason: the heading of a list, amtool's last line, and log lines."""
_LONGEST = 500


def ask_tool(tool: str, kind: str, text: str, context: Context) -> None:
    """Report the problems that the tool's own checker finds in `text`.

    They are errors if the checker's release is the target release or newer. If it is older they are warnings, because
    the checker may not know newer features.
    """
    command = _COMMANDS.get((tool, kind))
    if command is None:
        return
    program = find_program(command[0])
    if program is None:
        context.skip(f"{command[0]} was not run: it is not on the path")
        return
    try:
        with tempfile.TemporaryDirectory(prefix="apm-s3-") as folder:
            version = _version(program)
            path = Path(folder, "document.yml")
            path.write_text(text, encoding="utf-8")
            options = _OPTIONS.get(context.matchers, ()) if command[0] == "amtool" else ()
            done = _run([program, *command[1:], *options, str(path)], folder)
    except (OSError, subprocess.SubprocessError) as exc:
        context.skip(f"{command[0]} gave no result: {type(exc).__name__}")
        return
    if done.returncode:
        for issue in _issues(command[0], version, done.stdout + "\n" + done.stderr, text, context):
            context.add(issue)


def _run(command: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - no shell, and an absolute path
        command, cwd=folder, env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=DEADLINE, check=False,
    )  # fmt: skip


def _version(program: str) -> Version:
    done = _run([program, "--version"], tempfile.gettempdir())
    match = re.search(r"version (\d+)\.(\d+)", done.stdout + done.stderr)
    return (int(match[1]), int(match[2])) if match else (0,)


def _issues(program: str, version: Version, output: str, text: str, context: Context) -> Iterator[Issue]:
    severity = Severity.ERROR if version >= (context.target or _NEWEST[program]) else Severity.WARNING
    release = ".".join(map(str, version))
    for line, column, reason in _reasons(program, output):
        shown = _QUOTED.sub(lambda quoted: quoted[0] if quoted[0][1:-1] in text else "…", reason)
        yield Issue(severity, "", line, column, program, f"{program} {release} refuses it: {shown[:_LONGEST]}")


def _reasons(program: str, output: str) -> list[tuple[int | None, int | None, str]]:
    """Parse a checker's output into (line, column, reason)."""
    found: list[tuple[int | None, int | None, str]] = []
    for raw in output.splitlines():
        said = _FRAME.sub("", raw).strip()
        if not said or "SUCCESS" in said or said.startswith(_CLOSING):
            continue
        place = _PLACE.match(said)
        if place is not None and place["at"] and program == "amtool":
            place = None  # The first and last character in a matcher, not a place in the file.
        if place is None and found and raw[:1].isspace() and found[-1][0] is not None:
            line, column, reason = found.pop()
            found.append((line, column, f"{reason} {said}"))
            continue
        inner = _LINE.search(said)
        if place is not None:
            line, column = int(place["line"] or place["at"]), int(place["column"]) if place["column"] else None
            said = said[place.end() :]
        else:
            line, column = (int(inner[1]), None) if inner else (None, None)
        found.append((line or None, column or None, said))
    return found or [(None, None, "no reason was given")]
