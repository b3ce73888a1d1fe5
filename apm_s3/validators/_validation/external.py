"""Runs promtool or amtool, if they are on the path.

Each runs without a shell, in its own temporary folder, on a copy of the document, with limits of time, memory and
output; a document that names files elsewhere is not given to it. Each of its messages is reported at its line. Quoted
text is removed unless it is in the document, where the secrets are known.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from apm_s3._processes import clean_environment, find_program, limit_process
from apm_s3.reports import Issue, Severity
from apm_s3.validators._checking import Context, Version
from apm_s3.validators._reading.nodes import MAPPING, SEQUENCE, Node, decode_binary

Program = Literal["promtool", "amtool"]

DEADLINE = 20.0
"""Seconds; promtool needs 0.2 for 500 KB."""
MEMORY = 1024**3
"""Bytes; promtool needs 60 MB for 500 KB."""
_MAX_OUTPUT = 1024**2
_NEWEST: dict[str, Version] = {"promtool": (3, 14), "amtool": (0, 34)}
_COMMANDS: dict[tuple[str, str], tuple[Program, *tuple[str, ...]]] = {
    ("prometheus", "config"): ("promtool", "check", "config", "--syntax-only", "--lint=none"),
    ("prometheus", "rules"): ("promtool", "check", "rules", "--lint=none"),
    ("alertmanager", "config"): ("amtool", "check-config"),
}
_OPTIONS = {"classic": ("--enable-feature=classic-mode",), "utf8-strict": ("--enable-feature=utf8-strict-mode",)}
"""Options of amtool, by matcher mode."""
_STATUSES = (0, 1, 3)
"""Valid, invalid, and invalid by promtool's lint; Go's crashes and signals have others."""
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
_NAMES_FILES = re.compile(r"(?:.*_)?files?|templates")
"""Fields with paths in both tools: `templates`, `rule_files`, `scrape_config_files`, `files`, `ca_file` ..."""
_LEADS_OUT = re.compile(r"[/\\]|[A-Za-z]:|(?:.*[/\\])?\.\.(?:[/\\]|$)", re.DOTALL)
"""A path that is absolute, on any system, or has a step up, which a pattern of Go cannot match."""
_FREE = {"external_labels", "labels", "params", "headers"}
"""Mappings whose keys the user chooses."""


def ask_tool(tool: str, kind: str, text: str, root: Node | None, context: Context) -> None:
    """Report the problems that the tool's own checker finds in `text`, which was read as `root`.

    They are errors if the checker's release is the target release or newer. If it is older they are warnings, because
    the checker may not know newer features. If the document names a file outside its folder, which the checker might
    open, this is a warning, and the checker is not run.
    """
    command = _COMMANDS.get((tool, kind))
    if command is None:
        return
    program = find_program(command[0])
    if program is None:
        context.skip("program", command[0], "was not run: it is not on the path")
        return
    if kind == "config" and _refuses(command[0], root, context):
        return
    try:
        with tempfile.TemporaryDirectory(prefix="apm-s3-") as folder:
            version = _version(program, folder)
            path = Path(folder, "document.yml")
            path.write_text(text, encoding="utf-8")
            options = _OPTIONS.get(context.matchers, ()) if command[0] == "amtool" else ()
            status, output = _run([program, *command[1:], *options, str(path)], folder)
    except (OSError, subprocess.SubprocessError) as exc:
        context.skip("program", command[0], f"gave no result: {type(exc).__name__}")
        return
    if status not in _STATUSES:
        context.skip("program", command[0], f"gave no result: it ended with status {status}")
    elif status:
        for issue in _issues(command[0], version, output, text, context):
            context.add(issue)


def _refuses(program: Program, root: Node | None, context: Context) -> bool:
    """Report a path that leads out of the document's folder, and return whether there is one."""
    for name, node in _paths(root):
        if _leads_out(node):
            message = f"{program} was not run, because '{name}' leads out of the bundle"
            context.warn(node, None, program, message, "use a path below the main file, or leave out level='external'")
            return True
    return False


def _leads_out(node: Node) -> bool:
    try:
        text = decode_binary(node.text) if node.tag == "!!binary" else node.text
    except ValueError:
        return True
    return _LEADS_OUT.match(text) is not None


def _paths(root: Node | None) -> Iterator[tuple[str, Node]]:
    """Yield the scalars of all fields with paths, wherever they are, with the names of the fields."""
    left, seen = [("", root)], set[tuple[str, int]]()
    while left:
        name, node = left.pop()
        if node is None or (name, id(node)) in seen:
            continue
        seen.add((name, id(node)))
        if node.kind == SEQUENCE:
            left += [(name, item) for item in node.items]
        elif node.kind == MAPPING:
            for key, value in _members(node):
                if key == "http_headers" and value.kind == MAPPING:
                    # A header may have any name, also one of the others, and has files.
                    left += [("", header) for _, header in _members(value)]
                elif key not in _FREE:
                    left.append((_field(key) or name, value))
        elif name:
            yield name, node


def _members(node: Node) -> list[tuple[str, Node]]:
    """Return the values of a mapping by their keys, with those that another value hides."""
    return [
        *((key, value) for key, (_, value) in node.entries.items()),
        *((key.text, value) for key, value in node.shadowed),
    ]


def _field(key: str) -> str | None:
    return key if _NAMES_FILES.fullmatch(key) else None


def _run(command: list[str], folder: str) -> tuple[int, str]:
    """Run a checker, and return its status and the beginning of what it printed."""
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        subprocess.Popen(  # noqa: S603 - no shell, and an absolute path
            command, cwd=folder, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=err
        ) as process,
    ):
        try:
            limit_process(process.pid, memory=MEMORY, seconds=int(DEADLINE) + 1, written=16 * _MAX_OUTPUT)
            status = process.wait(DEADLINE)
        except BaseException:
            process.kill()
            raise
        printed = []
        for file in (out, err):
            file.seek(0)
            printed.append(file.read(_MAX_OUTPUT).decode(errors="replace"))
        return status, "\n".join(printed)


def _version(program: str, folder: str) -> Version:
    match = re.search(r"version (\d+)\.(\d+)", _run([program, "--version"], folder)[1])
    return (int(match[1]), int(match[2])) if match else (0,)


def _issues(program: Program, version: Version, output: str, text: str, context: Context) -> Iterator[Issue]:
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
