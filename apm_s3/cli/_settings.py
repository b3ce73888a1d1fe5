"""Where a command's settings come from: its options, then the environment, then the project file.

What none of them sets is left to the AWS configuration chain.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apm_s3._redaction import redacted
from apm_s3.cli._statuses import UsageFailed, did_you_mean

PROJECT_FILE = "apm-s3.toml"
VARIABLES: Mapping[str, tuple[str, ...]] = {
    "bucket": ("APM_S3_BUCKET",),
    "prefix": ("APM_S3_PREFIX",),
    "environment": ("APM_S3_ENVIRONMENT",),
    "profile": ("AWS_PROFILE",),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "endpoint-url": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
}
"""The settings, and the environment variables that set them: the first that is set applies."""
TABLES = ("validate",)
"""Tables of the project file that single commands read."""


@dataclass(frozen=True)
class Project:
    """The project file.

    Attributes:
        path: None if there is none.
        values: its keys, checked.
    """

    path: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def table(self, name: str) -> Mapping[str, Any]:
        """Return one of `TABLES`; empty if the file does not have it."""
        found: Mapping[str, Any] = self.values.get(name, {})
        return found


@dataclass(frozen=True)
class Settings:
    """What a command works on, and how it reaches S3. None leaves a value to the AWS configuration.

    Attributes:
        sources: for each setting, where its value comes from.
    """

    bucket: str | None = None
    prefix: str = ""
    environment: str | None = None
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    project: Project = field(default_factory=Project)
    sources: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return one line for each setting: its value and its source, without a password in a URL."""
        where = self.project.path
        lines = [f"project file: {where if where is not None else 'none found'}"]
        for name in VARIABLES:
            value = getattr(self, name.replace("-", "_"))
            if value:
                value = redacted(value)
            lines.append(f"{name}: {value!r} from {self.sources[name]}" if value else f"{name}: {self.sources[name]}")
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
        UsageFailed: the project file is not valid, or the working directory was deleted.
    """
    variables = os.environ if environ is None else environ
    project = find_project(directory or _working_directory())
    values: dict[str, str | None] = {}
    sources: dict[str, str] = {}
    for name in VARIABLES:
        values[name], sources[name] = _resolve(name, options.get(name), variables, project)
    return Settings(
        bucket=values["bucket"],
        prefix=values["prefix"] or "",
        environment=values["environment"],
        profile=values["profile"],
        region=values["region"],
        endpoint_url=values["endpoint-url"],
        project=project,
        sources=sources,
    )


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
    """Return the nearest project file in `directory` or above it.

    Raises:
        UsageFailed: it cannot be read, or has keys or values that are not valid.
    """
    for folder in (directory, *directory.parents):
        own = folder / PROJECT_FILE
        if own.is_file():
            return Project(own, _check(_read(own), own))
        shared = folder / "pyproject.toml"
        if shared.is_file():
            section = _read(shared).get("tool", {}).get("apm-s3")
            if section is not None:
                return Project(shared, _check(section, shared))
    return Project()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise UsageFailed(f"{path} is not valid TOML: {exc}") from exc


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
