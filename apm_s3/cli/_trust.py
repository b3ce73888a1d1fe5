"""The command `trust`, and which project files the user trusts.

A file is trusted by its place and its whole content, as in direnv: after any change, by a pull request for example, it
has to be trusted again. Trust is recorded outside of every checkout, in `$XDG_STATE_HOME/apm-s3/trusted` (by default
`~/.local/state/...`), as a file whose name is the SHA-256 of both, and whose text is the path. Who removes it ends the
trust.
"""

from __future__ import annotations

import os
import stat
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from apm_s3._redaction import redacted
from apm_s3.cli._call import Call
from apm_s3.cli._output import make_table
from apm_s3.cli._settings import VARIABLES, read_project
from apm_s3.cli._statuses import UsageFailed


def trust(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="apm-s3.toml, or a pyproject.toml with a [tool.apm-s3].", exists=True)],
) -> None:
    """Trust a project file as it is now.

    Until then, its endpoint-url, profile, region, bucket, prefix and bucket-owner are not used. After any change of the
    file, it has to be trusted again.

    Example:
        apm-s3 trust apm-s3.toml
    """
    call = Call.of(ctx)
    path = file.parent.resolve() / file.name
    project = read_project(path) if path.is_file() else None
    if project is None:
        raise UsageFailed(f"{path} is no project file", "name an apm-s3.toml, or a pyproject.toml with [tool.apm-s3]")
    record = add_trust(path, project.content)
    sets = {name: redacted(value) for name, value in project.values.items() if name in VARIABLES}
    call.print(
        {"path": str(path), "record": str(record), "settings": sets},
        f"Trusted as it is now: {path}",
        make_table(("setting", "value"), sets.items()),
        f"To withdraw this, remove {record}",
    )


def is_trusted(path: Path, content: bytes) -> bool:
    """Return whether the user trusts this content of the file at `path`, an absolute path."""
    record = _record(path, content)
    try:
        return _is_private(record.parent) and _is_private(record)
    except OSError:
        return False


def add_trust(path: Path, content: bytes) -> Path:
    """Trust this content of the file at `path`, an absolute path, and return where that is recorded.

    Raises:
        UsageFailed: others may write where trust is recorded.
        OSError: it cannot be recorded.
    """
    record = _record(path, content)
    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_private(record.parent):
        raise UsageFailed(f"others may write to {record.parent}, or it is not yours", "make it yours, with mode 700")
    descriptor, temporary = tempfile.mkstemp(dir=record.parent)  # mode 600
    with os.fdopen(descriptor, "wb") as file:
        file.write(os.fsencode(path) + b"\n")
    Path(temporary).replace(record)
    return record


def _record(path: Path, content: bytes) -> Path:
    name = sha256(os.fsencode(path.parent.resolve() / path.name) + b"\0" + content).hexdigest()
    # https://specifications.freedesktop.org/basedir-spec/latest/: relative paths are not valid; a checkout could hold
    # one.
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        state = Path(os.path.expanduser("~/.local/state"))  # noqa: PTH111 - unlike Path, it returns "~" without a home
    if not state.is_absolute():
        raise UsageFailed("HOME is not an absolute path, and trust has no place", "set HOME or XDG_STATE_HOME")
    return state / "apm-s3" / "trusted" / name


def _is_private(path: Path) -> bool:
    """Return whether nobody else can have written `path`."""
    status = path.lstat()
    if not hasattr(os, "geteuid"):
        return True  # Windows: the user's home is the user's
    writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return status.st_uid == os.geteuid() and not stat.S_ISLNK(status.st_mode) and not writable
