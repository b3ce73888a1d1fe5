"""Which file of an existing layout belongs to which bundle. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from apm_s3._directories import is_part
from apm_s3._naming import check_environment
from apm_s3._tools import TOOLS, Tool
from apm_s3.errors import InvalidKey, InvalidOption


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the bundles are below the root of a layout.

    Without an environment and a tool they are in `{environment}/{tool}/`; with an environment, in `{tool}/`; with both,
    the root is the bundle.
    """

    environment: str | None = None
    tool: Tool | None = None
    exclude: Collection[str] = ()

    def __post_init__(self) -> None:
        if self.tool is not None and self.environment is None:
            raise InvalidOption("a tool is set without an environment", hint="name the environment as well")

    @property
    def form(self) -> str:
        """Describe where files are expected."""
        if self.tool is not None:
            return "the files of one bundle"
        return "{environment}/{tool}/" if self.environment is None else "{tool}/"

    def place_of(self, path: str) -> tuple[str, Tool, str] | None:
        """Return environment, tool and name of the file at `path`; None if it is not part of a bundle."""
        environment, tool, name = self.environment, self.tool, path
        if environment is None:
            environment, _, name = name.partition("/")
        if tool is None:
            first, _, name = name.partition("/")
            if first not in TOOLS:
                return None
            tool = first
        if not name or not is_part(name, self.exclude) or not _is_environment(environment):
            return None
        return environment, tool, name

    def sort(self, paths: Iterable[str]) -> Sorted:
        """Sort the files of a layout into bundles."""
        bundles: dict[tuple[str, Tool], dict[str, str]] = {}
        left_out = []
        for path in sorted(paths):
            place = self.place_of(path)
            if place is None:
                left_out.append(path)
            else:
                bundles.setdefault(place[:2], {})[place[2]] = path
        return Sorted(bundles, tuple(left_out))


@dataclass(frozen=True, slots=True)
class Sorted:
    """The files of a layout by bundle.

    Attributes:
        bundles: by environment and tool, the path of each file by its name in the bundle.
        left_out: the paths of all other files.
    """

    bundles: Mapping[tuple[str, Tool], Mapping[str, str]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def _is_environment(name: str) -> bool:
    try:
        check_environment(name)
    except InvalidKey:
        return False
    return True
