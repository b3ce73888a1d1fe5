"""Changes of current.json: what a write changes, what it checks first, and what its calls share.

Such changes create no release, so only the log entry, which is written with the change, shows that one was made.

A change only affects its own fields, so that it can be repeated on a document that others have changed meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

from apm_s3._hints import Advice
from apm_s3._plans import canonical_hash
from apm_s3.configs._models import (
    Current,
    EnvironmentSettings,
    Freeze,
    Note,
    RawEntry,
    Release,
    ReleaseRef,
    SettingsChange,
    ToolState,
)
from apm_s3.configs._protocol import keys
from apm_s3.errors import (
    ConfigNotFound,
    DeadlineExceeded,
    EnvironmentFrozen,
    InvalidOption,
    RevisionConflict,
)


def request_hash(write_id: str | None, arguments: Mapping[str, Any]) -> str | None:
    """Return the value of `Note.request` for a call with `arguments`; None if the caller gave no write id."""
    return None if write_id is None else canonical_hash(arguments)


def check_same(entry: RawEntry | None, note: Note, write_id: str, environment: str) -> RawEntry:
    """Return `entry`, which was committed under the same write id, if it records the same change as `note`.

    Raises:
        InvalidOption: it records a different change, or there is no entry.
    """
    if entry is None or entry.get("action") != note.action or entry.get("request") != note.request:
        raise used(write_id, environment)
    return entry


def used(write_id: str, environment: str) -> InvalidOption:
    """Return the error for a write id that a different write has used."""
    return InvalidOption(
        f"the write id {write_id!r} belongs to another write in '{environment}'",
        hint=Advice.NEW_WRITE_ID(),
    )


T = TypeVar("T")

log = logging.getLogger(__name__)


def check_write_id(write_id: str | None, environment: str) -> None:
    """Check that `write_id` is a write id of the environment.

    Raises:
        InvalidOption: it is not.
    """
    if write_id is not None and not keys.is_write_id(write_id, environment):
        raise InvalidOption(
            f"{write_id[:120]!r} is not a valid write id for '{environment}'",
            hint=Advice.WRITE_ID_FORM(environment=environment),
        )


@asynccontextmanager
async def within(timeout: float | None, environment: str, done: str) -> AsyncIterator[None]:
    """Limit the time of work whose steps can each be repeated. None means no limit.

    Raises:
        DeadlineExceeded: the deadline has passed. Completed steps are kept.
        InvalidOption: the timeout is not valid.
    """
    if timeout is None:
        yield
        return
    if not timeout > 0:
        raise InvalidOption("timeout is not more than 0 seconds", hint="leave it out for no limit")
    try:
        async with asyncio.timeout(timeout):
            yield
    except TimeoutError as exc:
        raise DeadlineExceeded(
            f"'{environment}' was not {done} within {timeout:g} s; what was done by then stays",
            operation="commit",
            hint=Advice.MORE_TIME(),
        ) from exc


class PostCommitTasks:
    """Commits and the work after them: a cancelled caller does not interrupt them, and closing waits for them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def unfinished(self) -> bool:
        """Return whether anything is still running."""
        return bool(self._tasks)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` in the background; the caller may wait for it, and may be cancelled."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Retrieve the exception, so that the event loop does not log it if nobody waits any more.
        if not task.cancelled() and task.exception() is not None:
            log.debug("a write ended with %r", task.exception())

    async def finish(self, timeout: float) -> None:
        """Wait until everything has finished, and cancel it after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while self._tasks and loop.time() < end:
            await asyncio.wait(self._tasks, timeout=end - loop.time())
        left = set(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)


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
            hint=(Advice.THAW_REMOVED if freeze.removed else Advice.THAW)(environment=environment),
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
                    hint=Advice.REMOVE_TOOL_FIRST(tool=tool, environment=self.environment),
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
