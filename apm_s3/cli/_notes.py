"""Who changes something, and why: the author and the message of a change."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from apm_s3._processes import ROOT, find_program, user_environment
from apm_s3.cli._statuses import UsageFailed

_TEMPLATE = """
# {about}
# Write why you change this. Lines that begin with '#' are left out.
# An empty message stops the command.
"""


def find_author(given: str | None) -> str:
    """Return the author of a change: `given`, or git's user as "Name <mail>", or the login."""
    if given is not None:
        return given
    name, mail = _git("config", "user.name"), _git("config", "user.email")
    if name and mail:
        return f"{name} <{mail}>"
    return name or mail or _login()


def _login() -> str:
    """Return the name of the user, or the number if it has no name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def find_message(given: str | None, about: str) -> str:
    """Return the message of a change: `given`, or what the user writes in an editor, or nothing without a terminal.

    Args:
        about: what will change, in one sentence; a comment in the editor.

    Raises:
        Abort: the message is empty.
        UsageFailed: the editor failed.
    """
    if given is not None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return given or ""
    with tempfile.TemporaryDirectory(prefix="apm-s3-") as folder:
        path = Path(folder) / "MESSAGE"
        path.write_text(_TEMPLATE.format(about=about), encoding="utf-8")
        _edit(path)
        text = path.read_text(encoding="utf-8")
    message = "\n".join(line.rstrip() for line in text.splitlines() if not line.startswith("#")).strip()
    if not message:
        raise click.Abort
    return message


def _edit(path: Path) -> None:
    """Open the editor that git would open outside of all repositories, and wait until it ends."""
    # The settings of a repository come with a copy of its folder, and name programs.
    editor = _git("-C", str(ROOT), "var", "GIT_EDITOR") or os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    # As git does it: the editor is a shell command, to which the file's name is added.
    command = f"{editor} {shlex.quote(str(path))}"
    status = subprocess.run(command, shell=True, check=False, env=user_environment()).returncode  # noqa: S602 - the user's own setting
    if status != 0:
        raise UsageFailed(f"the editor '{editor}' ended with status {status}", "use --message TEXT")


def _git(*arguments: str) -> str:
    """Return what git prints; nothing if it fails, or is not installed."""
    program = find_program("git")
    if program is None:
        return ""
    done = subprocess.run(  # noqa: S603 - an absolute path
        [program, *arguments], capture_output=True, text=True, check=False, env=user_environment()
    )
    return done.stdout.strip() if done.returncode == 0 else ""
