"""Changes of the reference document: what a write wants, decided on whatever document it meets. Pure.

A change touches its own fields only, so that it can be made again on a document that others have changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from apm_s3.configs._models import Current, Freeze, Release, ReleaseRef, ToolState
from apm_s3.configs._settings import EnvironmentSettings, SettingsChange
from apm_s3.errors import ConfigNotFound, EnvironmentFrozen, InvalidOption, RevisionConflict

Change = Callable[[Current], Current]
"""The document with the change made. Raises where the document does not allow it: nothing is written then."""


@dataclass(frozen=True, slots=True)
class NewReleases:
    """Make each of `releases` the current one of its tool, if its parent still is.

    Attributes:
        expected: by tool, the revision that the caller built on, for the error.
    """

    environment: str
    releases: tuple[Release, ...]
    expected: Mapping[str, int | None]

    def __call__(self, current: Current) -> Current:
        """See `Change`.

        Raises:
            EnvironmentFrozen: it takes no change.
            RevisionConflict: one of the tools has another release.
        """
        check_thawed(self.environment, current)
        tools = dict(current.tools)
        for release in self.releases:
            state = tools.get(release.tool)
            check_base(release.tool, self.environment, state, release.parent, self.expected.get(release.tool))
            if release.ref is None:
                raise AssertionError("a release document has been put before it is committed")
            tools[release.tool] = (
                ToolState(release.ref, oldest=release.revision)
                if state is None
                else replace(state, release=release.ref, parent=release.parent)
            )
        return replace(current, tools=MappingProxyType(tools))


def check_thawed(environment: str, current: Current) -> None:
    """Refuse a frozen environment."""
    freeze = current.freeze
    if freeze is not None:
        by = f" by {freeze.by}" if freeze.by else ""
        raise EnvironmentFrozen(
            f"'{environment}' has been frozen{by} since {freeze.since:%Y-%m-%d %H:%M} UTC: {freeze.reason}",
            environment=environment,
            hint="nothing was changed; thaw it first, or wait",
        )


def check_base(
    tool: str, environment: str, state: ToolState | None, base: ReleaseRef | None, expected: int | None
) -> None:
    """Refuse a tool whose release is not `base` any more."""
    if (None if state is None else state.release.key) == (None if base is None else base.key):
        return
    revision = 0 if state is None else state.release.revision
    built_on = 0 if base is None else base.revision
    raise RevisionConflict(
        f"{tool} in '{environment}' is at revision {revision} now, not {built_on}: somebody else was faster",
        expected_revision=expected if expected is not None else built_on,
        current_revision=revision,
        tool=tool,
        environment=environment,
    )


def check_expected(tool: str, environment: str, state: ToolState | None, expected: int | None) -> None:
    """Refuse a tool that is not at the revision which the caller expects (0: none yet)."""
    revision = 0 if state is None else state.release.revision
    if expected is not None and expected != revision:
        raise RevisionConflict(
            f"{tool} in '{environment}' is at revision {revision}, not {expected}",
            expected_revision=expected,
            current_revision=revision,
            tool=tool,
            environment=environment,
        )


@dataclass(frozen=True, slots=True)
class SetFreeze:
    """Freeze the environment, or thaw it."""

    freeze: Freeze | None

    def __call__(self, current: Current) -> Current:
        return replace(current, freeze=self.freeze)


@dataclass(frozen=True, slots=True)
class SetSettings:
    """Give the environment other settings, or make them of those that are there."""

    environment: str
    settings: SettingsChange

    def __call__(self, current: Current) -> Current:
        """See `Change`.

        Raises:
            EnvironmentFrozen: it takes no change.
            InvalidRequest: the settings cannot be.
        """
        check_thawed(self.environment, current)
        given = self.settings if isinstance(self.settings, EnvironmentSettings) else self.settings(current.settings)
        if not isinstance(given, EnvironmentSettings):
            raise InvalidOption(f"settings became a {type(given).__name__}", hint="return EnvironmentSettings")
        given.check()
        # Settings of a later version stay: whoever wrote these did not know them.
        return replace(current, settings=replace(given, extra=current.settings.extra))


@dataclass(frozen=True, slots=True)
class MarkGood:
    """Mark a release as the last known good one."""

    environment: str
    tool: str
    release: ReleaseRef

    def __call__(self, current: Current) -> Current:
        """See `Change`.

        Raises:
            ConfigNotFound: it was pruned meanwhile.
        """
        state = current.tools.get(self.tool)
        kept = state is not None and (
            state.oldest <= self.release.revision <= state.release.revision or state.good == self.release
        )
        if state is None or not kept:
            raise ConfigNotFound(
                f"{self.tool} in '{self.environment}' has no revision {self.release.revision} any more",
                tool=self.tool,
                environment=self.environment,
                hint="it was pruned; mark a newer one",
            )
        tools = {**current.tools, self.tool: replace(state, good=self.release)}
        return replace(current, tools=MappingProxyType(tools))
