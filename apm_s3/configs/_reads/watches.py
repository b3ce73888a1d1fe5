"""Watches environments with one conditional request per interval, for any number of watchers in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection
from contextlib import suppress
from contextvars import Context
from typing import Generic, TypeVar

from apm_s3._backoff import spread
from apm_s3.configs._models.log import LogEntry
from apm_s3.configs._models.releases import Release
from apm_s3.configs._protocol.documents import keys
from apm_s3.configs._protocol.documents.log import read_entry
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reading.archive import Archive
from apm_s3.configs._protocol.reading.reader import Gone, Reader
from apm_s3.configs._protocol.reading.snapshots import Snapshot
from apm_s3.errors import ApmS3Error, UsageError

T = TypeVar("T")

log = logging.getLogger(__name__)


class Watches:
    """The watches of one store; watchers of the same environment share a poll."""

    def __init__(self, objects: ObjectStore, reader: Reader) -> None:
        self._reader = reader
        self._archive = Archive(objects, reader)
        self._polls: dict[str, _Poll] = {}

    def notify(self, environment: str) -> None:
        poll = self._polls.get(environment)
        if poll is not None:
            poll.ask_now()

    async def watch(
        self, environment: str, tools: Collection[str] | None, interval: float
    ) -> AsyncGenerator[Release, None]:
        poll = self._poll(environment)
        watcher = _ReleaseWatcher(tools, interval)
        poll.join(watcher)
        try:
            while True:
                yield await watcher.next()
        finally:
            await self._leave(environment, poll, watcher)

    async def watch_log(self, environment: str, since: int | None, interval: float) -> AsyncGenerator[LogEntry, None]:
        poll = self._poll(environment)
        watcher = _LogWatcher(interval)
        poll.join(watcher)
        try:
            while True:
                snapshot = await watcher.next()
                sequence = snapshot.current.sequence
                # An environment that was created again starts counting again.
                after = sequence if since is None else since if since <= sequence else -1
                for entry in await self._entries(snapshot, after):
                    since = entry.sequence
                    yield entry
                since = after if since is None else max(since, after)
        finally:
            await self._leave(environment, poll, watcher)

    async def _entries(self, snapshot: Snapshot, after: int) -> list[LogEntry]:
        """Return the entries after one, oldest first; old ones are not in the reference document any more."""
        environment = snapshot.environment
        where = self._reader.where(keys.current(environment))
        if snapshot.current.sequence <= after:
            return []

        async def read(at: Snapshot) -> list[LogEntry]:
            found = await self._archive.newest(
                at, wanted=lambda _: True, is_older=lambda _: False, limit=None, after=after
            )
            return [read_entry(raw, where) for raw in reversed(found)]

        try:
            return await read(snapshot)
        except Gone:
            return await self._reader.settled(environment, read)

    def _poll(self, environment: str) -> _Poll:
        poll = self._polls.get(environment)
        if poll is None or poll.has_ended:
            poll = self._polls[environment] = _Poll(self._reader, environment)
        return poll

    async def _leave(self, environment: str, poll: _Poll, watcher: _ReleaseWatcher | _LogWatcher) -> None:
        await poll.leave(watcher)
        if poll.has_ended and self._polls.get(environment) is poll:
            del self._polls[environment]


class _Watcher(Generic[T]):
    """What a watcher has not seen yet: the last news under each name."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._unseen: dict[str, T] = {}
        self._news = asyncio.Event()
        self._error: ApmS3Error | None = None

    def tell(self, name: str, news: T) -> None:
        self._unseen[name] = news
        self._news.set()

    def fail(self, error: ApmS3Error) -> None:
        self._error = error
        self._news.set()

    async def next(self) -> T:
        while not self._unseen:
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        return self._unseen.pop(next(iter(self._unseen)))


class _ReleaseWatcher(_Watcher[Release]):
    """A watcher of releases, by tool."""

    def __init__(self, tools: Collection[str] | None, interval: float) -> None:
        super().__init__(interval)
        self._tools = tools

    def tell(self, name: str, news: Release) -> None:
        if self._tools is None or name in self._tools:
            super().tell(name, news)


class _LogWatcher(_Watcher[Snapshot]):
    """A watcher of the log, which reads its entries from the newest reference document."""


class _Poll:
    """Polls one environment's reference document while there are watchers."""

    def __init__(self, reader: Reader, environment: str) -> None:
        self._reader = reader
        self._environment = environment
        self._watchers: set[_ReleaseWatcher | _LogWatcher] = set()
        self._snapshot: Snapshot | None = None
        self._releases: dict[str, Release] = {}
        self._etag: str | None = None
        self._asked_at = float("-inf")
        self._has_answered = False
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def has_ended(self) -> bool:
        """Return whether there are no watchers any more, or it failed permanently."""
        return self._task is None or self._task.done()

    def join(self, watcher: _ReleaseWatcher | _LogWatcher) -> None:
        self._watchers.add(watcher)
        if isinstance(watcher, _ReleaseWatcher):
            for release in self._releases.values():
                watcher.tell(release.tool, release)
            if not self._releases:
                # Watchers of the log have not read a release, so the next response must have the document.
                self._etag = None
        elif self._snapshot is not None:
            watcher.tell(self._environment, self._snapshot)
        self._hurry.set()
        if self._task is None:
            # Without the context of the watcher that happens to be the first: it polls for all of them, and for days.
            self._task = asyncio.create_task(
                self._run(), name=f"apm_s3 watch of {self._environment}", context=Context()
            )

    def ask_now(self) -> None:
        """Poll again after the request in progress, which may have been too early."""
        self._asked_at = float("-inf")
        self._hurry.set()

    async def leave(self, watcher: _ReleaseWatcher | _LogWatcher) -> None:
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
                # An outage is temporary; a refusal of the first request or a closed manager is not.
                if isinstance(error, UsageError) or not (self._has_answered or error.retryable):
                    for watcher in self._watchers:
                        watcher.fail(error)
                    return
                log.warning("watch of %s: %s", self._environment, error)

    async def _wait(self) -> None:
        """Wait for the shortest interval of all watchers, including new ones."""
        loop = asyncio.get_running_loop()
        stretch = spread(1)
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
        self._snapshot = snapshot
        for each in self._watchers:
            if isinstance(each, _LogWatcher):
                each.tell(self._environment, snapshot)
        if not any(isinstance(each, _ReleaseWatcher) for each in self._watchers):
            self._etag = snapshot.etag
            return
        for tool, state in snapshot.current.tools.items():
            known = self._releases.get(tool)
            if known is not None and known.ref is not None and known.ref.key == state.release.key:
                continue
            try:
                release = await self._reader.newest(snapshot, tool)
            except Gone:
                # The document has changed already: with the old ETag, the next response has everything.
                return
            if release is not None and release != known:
                self._releases[tool] = release
                for watcher in self._watchers:
                    if isinstance(watcher, _ReleaseWatcher):
                        watcher.tell(release.tool, release)
        self._etag = snapshot.etag
