"""The reference document of an environment: its tools, its settings, its log, and whether it is frozen. All frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from apm_s3.configs._models.extra import Extra, nothing
from apm_s3.configs._models.log import Log
from apm_s3.configs._models.releases import ReleaseRef
from apm_s3.configs._models.settings import EnvironmentSettings


@dataclass(frozen=True, slots=True)
class Freeze:
    """Why an environment is frozen.

    Attributes:
        removed: whether the environment was removed, and is listed no longer.
        extra: fields of a newer version.
    """

    reason: str
    by: str | None
    since: datetime
    removed: bool = False
    extra: Extra = field(default_factory=nothing, repr=False)


@dataclass(frozen=True, slots=True)
class Damage:
    """Consecutive revisions of a tool that are permanently lost, as found by a repair.

    Attributes:
        first, last: the revisions.
        lost: "documents": their release documents; "files": some of their files.
        older: if documents are lost, the release before them, at which the history continues; None if there is none.
        extra: fields of a newer version.
    """

    first: int
    last: int
    lost: Literal["documents", "files"]
    older: ReleaseRef | None = None
    extra: Extra = field(default_factory=nothing, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ToolState:
    """The state of one tool in the reference document.

    Attributes:
        release, parent: the current release and the one that it replaced.
        good: the release that was marked good.
        oldest: the oldest revision that is kept.
        damaged: the revisions that a repair could not recover, in order.
        extra: fields of a newer version.
    """

    release: ReleaseRef
    parent: ReleaseRef | None = None
    good: ReleaseRef | None = None
    oldest: int = 1
    damaged: tuple[Damage, ...] = ()
    extra: Extra = field(default_factory=nothing, repr=False)

    def damage_of(self, revision: int) -> Damage | None:
        """Return why `revision` cannot be read; None if no repair found it damaged."""
        return next((each for each in self.damaged if each.first <= revision <= each.last), None)


@dataclass(frozen=True, slots=True)
class Current:
    """The reference document of an environment, with its current state.

    Attributes:
        sequence: increases by one with each write.
        earlier: ids of writes before the log began, oldest first, while they are among the last 64.
        home: the bucket to which it was written; in any other bucket it is a replica.
        freeze: set while the environment is frozen.
        settings: the environment's rules for changes.
        log: the newest entries of the log, one for each write.
        features: features that readers of the document must know, each with the first version of this library that
            knows it.
        extra: fields of a newer version.
    """

    sequence: int
    earlier: tuple[str, ...]
    home: str
    freeze: Freeze | None = None
    tools: Mapping[str, ToolState] = field(default_factory=nothing)
    settings: EnvironmentSettings = field(default_factory=EnvironmentSettings)
    log: Log = field(default_factory=Log)
    features: Mapping[str, str] = field(default_factory=nothing)
    extra: Extra = field(default_factory=nothing, repr=False)

    @property
    def writers(self) -> tuple[str, ...]:
        """Return the ids of at least the last 64 writes, oldest first."""
        return (*self.earlier, *(entry["id"] for entry in self.log.entries))
