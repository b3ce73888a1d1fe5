"""Changes of the reference document, applied to whatever document a write finds. Pure.

A change only affects its own fields, so that it can be repeated on a document that others have changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from apm_s3.configs._models.current import Current, Freeze, ToolState
from apm_s3.configs._models.releases import Release, ReleaseRef
from apm_s3.configs._models.settings import EnvironmentSettings, SettingsChange
from apm_s3.errors import ConfigNotFound, EnvironmentFrozen, InvalidOption, RevisionConflict

Change = Callable[[Current], Current]
"""Returns the changed document. If the document does not allow the change, it raises, and nothing is written."""


@dataclass(frozen=True, slots=True)
class NewReleases:
    """Make each of `releases` the current one of its tool, if its parent is still current.

    Attributes:
        expected: the revision that the caller built on, by tool, for the error.
    """

    environment: str
    releases: tuple[Release, ...]
    expected: Mapping[str, int | None]

    def __call__(self, current: Current) -> Current:
        """Return the document with the new releases.

        Raises:
            EnvironmentFrozen: the environment is frozen.
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
        at = f"{freeze.since:%Y-%m-%d %H:%M} UTC"
        told = f"was removed{by} at {at}" if freeze.removed else f"has been frozen{by} since {at}"
        raise EnvironmentFrozen(
            f"'{environment}' {told}{': ' if freeze.reason else ''}{freeze.reason}",
            environment=environment,
            hint=f"nothing was changed; {'thaw brings it back' if freeze.removed else 'thaw it first, or wait'}",
        )


def check_base(
    tool: str, environment: str, state: ToolState | None, base: ReleaseRef | None, expected: int | None
) -> None:
    """Refuse a tool whose current release is no longer `base`."""
    if (None if state is None else state.release.key) == (None if base is None else base.key):
        return
    revision = 0 if state is None else state.release.revision
    built_on = 0 if base is None else base.revision
    raise RevisionConflict(
        f"{tool} in '{environment}' is at revision {revision} now, not {built_on}: another writer was faster",
        expected_revision=expected if expected is not None else built_on,
        current_revision=revision,
        tool=tool,
        environment=environment,
    )


def check_expected(tool: str, environment: str, state: ToolState | None, expected: int | None) -> None:
    """Refuse a tool whose revision is not the expected one (0: none yet)."""
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
    """Freeze or thaw the environment."""

    environment: str
    freeze: Freeze | None

    def __call__(self, current: Current) -> Current:
        """Return the document with the freeze.

        Raises:
            EnvironmentFrozen: the environment was removed, and would be listed again.
        """
        if self.freeze is not None and current.freeze is not None and current.freeze.removed:
            check_thawed(self.environment, current)
        return replace(current, freeze=self.freeze)


@dataclass(frozen=True, slots=True)
class RemoveEnvironment:
    """Freeze the environment as removed, if none of its tools has a configuration.

    Attributes:
        removed: the releases that were found to have no files.
    """

    environment: str
    freeze: Freeze
    removed: frozenset[str]

    def __call__(self, current: Current) -> Current:
        """Return the document with the freeze.

        Raises:
            EnvironmentFrozen: the environment is frozen, or was removed.
            InvalidOption: a tool has a configuration.
        """
        check_thawed(self.environment, current)
        for tool, state in current.tools.items():
            if state.release.key not in self.removed:
                raise InvalidOption(
                    f"'{self.environment}' still has a configuration of {tool}",
                    hint=f"remove it first: remove({tool!r}, {self.environment!r})",
                )
        return replace(current, freeze=self.freeze)


@dataclass(frozen=True, slots=True)
class SetSettings:
    """Replace the environment's settings, or compute them from the current ones."""

    environment: str
    settings: SettingsChange

    def __call__(self, current: Current) -> Current:
        """Return the document with the new settings.

        Raises:
            EnvironmentFrozen: the environment is frozen.
            InvalidRequest: the settings are not valid.
        """
        check_thawed(self.environment, current)
        given = self.settings if isinstance(self.settings, EnvironmentSettings) else self.settings(current.settings)
        if not isinstance(given, EnvironmentSettings):
            raise InvalidOption(f"the function returned a {type(given).__name__}", hint="return EnvironmentSettings")
        given.check()
        # Keep settings of a newer version, which this writer does not know.
        return replace(current, settings=replace(given, extra=current.settings.extra))


@dataclass(frozen=True, slots=True)
class MarkGood:
    """Mark a release as good."""

    environment: str
    tool: str
    release: ReleaseRef

    def __call__(self, current: Current) -> Current:
        """Return the document with the mark.

        Raises:
            ConfigNotFound: the release was pruned meanwhile.
        """
        state = current.tools.get(self.tool)
        kept = state is not None and (
            state.oldest <= self.release.revision <= state.release.revision or state.good == self.release
        )
        if state is None or not kept:
            raise ConfigNotFound(
                f"{self.tool} in '{self.environment}' no longer has revision {self.release.revision}",
                tool=self.tool,
                environment=self.environment,
                hint="it was pruned; mark a newer one",
            )
        tools = {**current.tools, self.tool: replace(state, good=self.release)}
        return replace(current, tools=MappingProxyType(tools))
