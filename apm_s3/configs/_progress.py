"""How far the long calls of a store have come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeAlias, TypeVar

from apm_s3.events import report_progress

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoreProgress:
    """How far a backup, a restore, a check, a collection or an import has come.

    Attributes:
        environment: the environment that is read or written; empty in an import, which may be of several.
        phase: what is done at the moment, in words: "copying files", "checking blobs". Each phase counts from 0.
        done: the finished files, objects, tools or revisions of this phase.
        total: how many this phase has; None if that is not known before its end.
    """

    environment: str
    phase: str
    done: int
    total: int | None


OnStoreProgress: TypeAlias = Callable[[StoreProgress], object]
"""Called in the event loop after each step; it must be quick and must not block. Exceptions are logged."""


class Steps:
    """Counts the steps of a call, phase by phase. Without `tell`, it does nothing."""

    def __init__(self, tell: OnStoreProgress | None) -> None:
        self._tell = tell
        self._environment = self._phase = ""
        self._done = 0
        self._total: int | None = None

    def begin(self, environment: str, phase: str, total: int | None = None) -> None:
        """Begin a phase. One that has nothing to do is not told."""
        if self._tell is not None and total != 0:
            self._environment, self._phase, self._done, self._total = environment, phase, 0, total
            self._report(self._tell)

    def step(self, count: int = 1) -> None:
        """Count what is done."""
        if self._tell is not None:
            self._done += count
            self._report(self._tell)

    async def count(self, work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of `work`, and count it."""
        result = await work(*args, **kwargs)
        self.step()
        return result

    def _report(self, tell: OnStoreProgress) -> None:
        report_progress(tell, StoreProgress(self._environment, self._phase, self._done, self._total))


QUIET = Steps(None)
"""Tells nobody."""
