"""Watching an environment: one conditional request an interval, however many watch it in this process."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Collection
from contextlib import suppress

from apm_s3.configs._models import Release
from apm_s3.configs._protocol.reader import Gone, Reader, Snapshot
from apm_s3.errors import ApmS3Error, UsageError

_JITTER = 0.2
"""Part of the interval that is added at random, so that many processes do not ask at the same moment."""

log = logging.getLogger(__name__)


class Watches:
    """The watches of one store; those of one environment share a poll."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._polls: dict[str, _Poll] = {}

    async def watch(
        self, environment: str, tools: Collection[str] | None, interval: float
    ) -> AsyncGenerator[Release, None]:
        """See `ConfigStore.watch`."""
        poll = self._polls.get(environment)
        if poll is None or poll.has_ended:
            poll = self._polls[environment] = _Poll(self._reader, environment)
        watcher = _Watcher(tools, interval)
        poll.join(watcher)
        try:
            while True:
                yield await watcher.next()
        finally:
            await poll.leave(watcher)
            if poll.has_ended and self._polls.get(environment) is poll:
                del self._polls[environment]


class _Watcher:
    """What one watcher has not seen yet: only the last release of each tool counts."""

    def __init__(self, tools: Collection[str] | None, interval: float) -> None:
        self.interval = interval
        self._tools = tools
        self._unseen: dict[str, Release] = {}
        self._news = asyncio.Event()
        self._error: ApmS3Error | None = None

    def tell(self, release: Release) -> None:
        if self._tools is None or release.tool in self._tools:
            self._unseen[release.tool] = release
            self._news.set()

    def fail(self, error: ApmS3Error) -> None:
        self._error = error
        self._news.set()

    async def next(self) -> Release:
        while not self._unseen:
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        return self._unseen.pop(next(iter(self._unseen)))


class _Poll:
    """Asks for one environment's reference document, as long as anybody watches."""

    def __init__(self, reader: Reader, environment: str) -> None:
        self._reader = reader
        self._environment = environment
        self._watchers: set[_Watcher] = set()
        self._releases: dict[str, Release] = {}
        self._etag: str | None = None
        self._asked_at = float("-inf")
        self._has_answered = False
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nobody watches any more, or it failed for good."""
        return self._task is None or self._task.done()

    def join(self, watcher: _Watcher) -> None:
        self._watchers.add(watcher)
        for release in self._releases.values():
            watcher.tell(release)
        self._hurry.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"apm_s3 watch of {self._environment}")

    async def leave(self, watcher: _Watcher) -> None:
        self._watchers.discard(watcher)
        if not self._watchers and self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            await self._wait()
            self._asked_at = asyncio.get_running_loop().time()
            try:
                await self._ask()
            except ApmS3Error as error:
                # An outage passes; what was refused from the start, or a closed manager, does not.
                if isinstance(error, UsageError) or not (self._has_answered or error.retryable):
                    for watcher in self._watchers:
                        watcher.fail(error)
                    return
                log.warning("watch of %s: %s", self._environment, error)

    async def _wait(self) -> None:
        """Until the shortest interval of all watchers is over, whoever joins meanwhile."""
        loop = asyncio.get_running_loop()
        stretch = 1 + random.uniform(0, _JITTER)  # noqa: S311 - spreads requests, no secret
        while True:
            self._hurry.clear()
            due = self._asked_at + min(watcher.interval for watcher in self._watchers) * stretch
            if loop.time() >= due:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._hurry.wait()

    async def _ask(self) -> None:
        snapshot = await self._reader.current(self._environment, if_none_match=self._etag)
        self._has_answered = True
        if snapshot is not None:
            await self._take(snapshot)

    async def _take(self, snapshot: Snapshot) -> None:
        for tool, state in snapshot.current.tools.items():
            known = self._releases.get(tool)
            if known is not None and known.ref is not None and known.ref.key == state.release.key:
                continue
            try:
                release = await self._reader.newest(snapshot, tool)
            except Gone:
                # The document has moved on already: asked without the ETag, the next answer has all.
                self._etag = None
                return
            if release is not None and release != known:
                self._releases[tool] = release
                for watcher in self._watchers:
                    watcher.tell(release)
        self._etag = snapshot.etag
