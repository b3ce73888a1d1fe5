"""One write: its deadline, its id, and the work that continues after a cancellation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from apm_s3.configs._models.log import RawEntry
from apm_s3.configs._protocol.documents import keys
from apm_s3.errors import ApmS3Error, DeadlineExceeded, InvalidOption
from apm_s3.settings import SLOWEST_RATE

T = TypeVar("T")

log = logging.getLogger(__name__)

CLEAN_UP = 10.0
"""Maximum seconds that a write without a commit waits for its clean-up."""


def check_write_id(write_id: str | None, environment: str) -> None:
    """Check that `write_id` is a write id of the environment.

    Raises:
        InvalidOption: it is not.
    """
    if write_id is not None and not keys.is_write_id(write_id, environment):
        raise InvalidOption(
            f"{write_id[:120]!r} is not a valid write id for '{environment}'",
            hint=f"create one with new_write_id({environment!r}): the environment, a dot and 20 hexadecimal digits",
        )


class Call:
    """The deadline and the write id of one call: `async with Call(...) as call`.

    Until `commit_begins`, the deadline cancels the call, and nothing was changed. After that, the commit itself
    observes the deadline, because only the commit knows whether something was changed.

    Args:
        timeout: seconds for the whole call; None means `default`, plus a second per 64 KiB passed to `allow`.
        write_id: the caller's id; None means a new one for every try.
        clean_up: waits, for the given seconds, for work that was started alongside the write; called if the write
            fails, or ends without a commit.

    Attributes:
        deadline: by the event loop's clock.
        earlier: the log entry of a change without a release, if this or another call has made it under the call's
            write id.
        sent: whether the commit was sent, and may have been carried out. Until then, what was stored is seen by nobody.
    """

    def __init__(
        self,
        environment: str,
        *,
        default: float,
        timeout: float | None,
        write_id: str | None,
        clean_up: Callable[[float], Awaitable[None]],
    ) -> None:
        check_write_id(write_id, environment)
        if timeout is not None and not timeout > 0:
            raise InvalidOption("timeout must be more than 0 seconds", hint="omit it to use the store's deadline")
        self.environment: str = environment
        self.write_id: str | None = write_id
        self.deadline: float = 0.0
        self.earlier: RawEntry | None = None
        self.sent: bool = False
        self._seconds = default if timeout is None else timeout
        self._grows = timeout is None
        self._clean_up = clean_up
        self._timeout: asyncio.Timeout | None = None

    async def __aenter__(self) -> Self:
        self.deadline = asyncio.get_running_loop().time() + self._seconds
        self._timeout = asyncio.timeout_at(self.deadline)
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timeout is None:
            return
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as exc:
            raise DeadlineExceeded(
                f"'{self.environment}' was not written within {self._seconds:g} s; nothing was changed",
                operation="commit",
                sent=False,
                hint="make the call again, or give it more time with timeout=",
            ) from exc
        if isinstance(error, ApmS3Error) and not self.sent:
            error.changed_nothing = True
        if isinstance(error, Exception) or (error is None and not self.sent):
            await self._clean_up(min(self.left, CLEAN_UP))

    def allow(self, size: int) -> None:
        """Extend the deadline of a call without a timeout by the time for transferring `size` bytes."""
        if self._grows and self._timeout is not None and self._timeout.when() is not None:
            self._seconds += size / SLOWEST_RATE
            self.deadline += size / SLOWEST_RATE
            self._timeout.reschedule(self.deadline)

    def commit_begins(self) -> None:
        """From now on, do not cancel the call at its deadline."""
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(None)

    @property
    def left(self) -> float:
        """Return the seconds until the deadline; 0 if it has passed."""
        return max(0.0, self.deadline - asyncio.get_running_loop().time())


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
            hint="make the call again, or give it more time with timeout=",
        ) from exc


class Afterwards:
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
