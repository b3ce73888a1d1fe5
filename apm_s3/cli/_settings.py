"""Where a command's settings come from: its options, then the environment, then the project file.

What none of them sets is left to the AWS configuration chain. A project file comes with a checkout, so somebody else
may have written it: the settings that decide where credentials and configurations are sent count only after
`apm-s3 trust FILE`.

A file is trusted by its place and its whole content, as in direnv: after any change, by a pull request for example, it
has to be trusted again. Trust is recorded outside of every checkout, in `$XDG_STATE_HOME/apm-s3/trusted` (by default
`~/.local/state/...`), as a file whose name is the SHA-256 of both, and whose text is the path. Who removes it ends the
trust.
"""

from __future__ import annotations

import os
import shlex
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from apm_s3._redaction import redacted
from apm_s3.cli import _arguments as args
from apm_s3.cli._call import Call
from apm_s3.cli._output import make_table
from apm_s3.cli._statuses import UsageFailed, did_you_mean

PROJECT_FILE = "apm-s3.toml"
VARIABLES: Mapping[str, tuple[str, ...]] = {
    "bucket": ("APM_S3_BUCKET",),
    "prefix": ("APM_S3_PREFIX",),
    "environment": ("APM_S3_ENVIRONMENT",),
    "bucket-owner": ("APM_S3_BUCKET_OWNER",),
    "profile": ("AWS_PROFILE",),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "endpoint-url": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
}
"""The settings, and the environment variables that set them: the first that is set applies."""
HARMLESS = ("environment",)
"""Settings that need no trust: they do not decide where requests go, and with which credentials."""
TABLES = ("validate",)
"""Tables of the project file that single commands read. Those that start programs must call `Project.require_trust`."""
MAX_BYTES = 1024**2


@dataclass(frozen=True)
class Project:
    """The project file.

    Attributes:
        path: None if there is none.
        values: its keys, checked.
        content: the whole file, which is what `apm-s3 trust` trusts.
    """

    path: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    content: bytes = field(default=b"", repr=False)

    def require_trust(self, what: str, instead: str = "") -> None:
        """Refuse to use `what` of the file unless the user trusts its content.

        Args:
            instead: how to do without the file, for the hint.

        Raises:
            UsageFailed: the content is not trusted.
        """
        if self.path is not None and not is_trusted(self.path, self.content):
            raise UsageFailed(
                f"this needs {what} from {self.path}, whose content is not trusted: whoever wrote it decides where "
                "credentials and configurations are sent",
                f"read the file, then run: {shlex.join(['apm-s3', 'trust', str(self.path)])}{instead}",
            )

    def table(self, name: str) -> Mapping[str, Any]:
        """Return one of `TABLES`; empty if the file does not have it."""
        found: Mapping[str, Any] = self.values.get(name, {})
        return found


@dataclass(frozen=True)
class Settings:
    """What a command works on, and how it reaches S3. None leaves a value to the AWS configuration.

    Attributes:
        values: by the names in `VARIABLES`, trusted or not: `get` checks it.
        sources: for each setting, where its value comes from.
    """

    values: Mapping[str, str | None]
    sources: Mapping[str, str]
    project: Project = field(default_factory=Project)

    def get(self, name: str) -> str | None:
        """Return a setting.

        Raises:
            UsageFailed: it comes from a project file that is not trusted.
        """
        if name not in HARMLESS and self.sources[name] == str(self.project.path):
            option = "" if name == "bucket-owner" else f"--{name} or "
            self.project.require_trust(f"'{name}'", f"; or set {option}{VARIABLES[name][0]}")
        return self.values[name]

    @property
    def prefix(self) -> str:
        """Return the prefix of the store in the bucket."""
        return self.get("prefix") or ""

    def lines(self) -> list[str]:
        """Return one line for each setting: its value and its source, without a password in a URL."""
        where = self.project.path
        lines = [f"project file: {where if where is not None else 'none found'}"]
        for name, value in self.values.items():
            shown = f"{redacted(value)!r} from {self.sources[name]}" if value else self.sources[name]
            lines.append(f"{name}: {shown}")
        return lines


def load_settings(
    options: Mapping[str, str | None], environ: Mapping[str, str] | None = None, directory: Path | None = None
) -> Settings:
    """Combine `options`, the environment and the project file.

    Args:
        options: values by the names in `VARIABLES`; None if an option was not given.
        environ: by default that of the process.
        directory: where to look for the project file first, by default the working directory.

    Raises:
        UsageFailed: the project file is refused or not valid, or the working directory was deleted.
    """
    variables = os.environ if environ is None else environ
    project = find_project(directory or _working_directory())
    found = {name: _resolve(name, options.get(name), variables, project) for name in VARIABLES}
    values = {name: value for name, (value, _) in found.items()}
    return Settings(values, {name: source for name, (_, source) in found.items()}, project)


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as exc:
        raise UsageFailed("the working directory was deleted", "change to another directory") from exc


def _resolve(name: str, option: str | None, variables: Mapping[str, str], project: Project) -> tuple[str | None, str]:
    """Return the value of a setting and where it comes from."""
    if option is not None:
        return option, f"the option --{name}"
    for variable in VARIABLES[name]:
        if variables.get(variable):
            return variables[variable], f"the environment variable {variable}"
    if name in project.values:
        return project.values[name], str(project.path)
    aws = name in {"profile", "region", "endpoint-url"}
    return None, "left to the AWS configuration" if aws else "not set"


def find_project(directory: Path) -> Project:
    """Return the nearest project file in `directory` or above it, up to the root of its repository.

    Outside a repository, only `directory` is looked at: a folder above it may be anybody's.

    Raises:
        UsageFailed: it cannot be read, is refused, or has keys or values that are not valid.
    """
    folders = (directory, *directory.parents)
    root = next((at for at, folder in enumerate(folders) if os.path.lexists(folder / ".git")), 0)
    for folder in folders[: root + 1]:
        for name in (PROJECT_FILE, "pyproject.toml"):
            path = folder / name
            if path.is_file() and (project := read_project(path)) is not None:
                return project
    return Project()


def read_project(path: Path) -> Project | None:
    """Return a project file; None for a pyproject.toml without our section.

    Raises:
        UsageFailed: it cannot be read, others may change it, or it has keys or values that are not valid.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
        status = os.fstat(file.fileno())
    if len(content) > MAX_BYTES:
        raise UsageFailed(f"{path} is longer than {MAX_BYTES} bytes", "it is no project file")
    try:
        values: Any = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as exc:  # ValueError: also a number of too many digits for int
        raise UsageFailed(f"{path} is not valid TOML: {exc}") from exc
    if path.name == "pyproject.toml":
        tool = values.get("tool", {})
        values = tool.get("apm-s3") if isinstance(tool, dict) else None
        if values is None:
            return None
    _refuse_strangers(path, status)
    return Project(path, _check(values, path), content)


def _refuse_strangers(path: Path, status: os.stat_result) -> None:
    """Refuse a file that somebody else owns, may write to, or may replace; the superuser may everything anyway.

    Raises:
        UsageFailed: it is such a file.
    """
    if not hasattr(os, "geteuid"):
        return  # Windows has no such owners and modes
    own = (0, os.geteuid())
    if status.st_uid not in own or path.lstat().st_uid not in own:
        raise UsageFailed(f"{path} belongs to another user, and is refused", "make it yours (chown), or remove it")
    refuse_writable(path, path, path.parent, path.resolve().parent)


def refuse_writable(path: Path, *places: Path) -> None:
    """Refuse the project file `path` if everybody may write to one of `places`: itself, or a folder.

    Raises:
        UsageFailed: everybody may.
    """
    for place in places:
        if hasattr(os, "geteuid") and place.stat().st_mode & stat.S_IWOTH:
            raise UsageFailed(
                f"{path} is refused: everybody may write to {place}", f"run: {shlex.join(['chmod', 'o-w', str(place)])}"
            )


def _check(values: object, path: Path) -> Mapping[str, Any]:
    """Return `values` if all keys and types are valid."""
    if not isinstance(values, dict):
        raise UsageFailed(f"{path}: tool.apm-s3 is not a table")
    known = (*VARIABLES, *TABLES)
    for name, value in values.items():
        if name not in known:
            raise UsageFailed(f"{path}: unknown key '{name}'", _known(name, known))
        wanted = dict if name in TABLES else str
        if not isinstance(value, wanted):
            raise UsageFailed(f"{path}: '{name}' must be a {'table' if wanted is dict else 'string'}")
    return values


def _known(name: str, known: Sequence[str]) -> str:
    return did_you_mean(name, known) or f"known keys: {', '.join(known)}"


@args.argument(
    "file", type=click.Path(path_type=Path, exists=True), help="apm-s3.toml, or a pyproject.toml with a [tool.apm-s3]."
)
def trust(call: Call, *, file: Path) -> None:
    """Trust a project file as it is now.

    Until then, its endpoint-url, profile, region, bucket, prefix and bucket-owner are not used. After any change of the
    file, it has to be trusted again.

    Example:
        apm-s3 trust apm-s3.toml
    """
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
    import tempfile  # noqa: PLC0415 - only this needs it, and it loads much

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
