"""What callers read: views of releases and of the log, and watches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from contextvars import Context
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Generic, TypeVar

from apm_s3._backoff import spread
from apm_s3._cache import Entry
from apm_s3._hints import Advice
from apm_s3._naming import check_environment, check_file_name
from apm_s3._tasks import run_all
from apm_s3._tools import MAIN_FILES, Tool
from apm_s3.configs._content.diff import BundleDiff, diff_bundles
from apm_s3.configs._content.overlays import is_internal, is_reserved
from apm_s3.configs._models import Bundle, ConfigFile, FileEntry, LogEntry, RawEntry, Release, masking_inputs
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.archive import Archive
from apm_s3.configs._protocol.encoding import read_entry
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reader import PARALLEL, Gone, Reader, Snapshot
from apm_s3.errors import ApmS3Error, ConfigNotFound, FormatTooNew, StoreDamaged, UsageError
from apm_s3.validators._checking import did_you_mean
from apm_s3.validators._validation.offload import run_large


class Views:
    """Reads of one store; each returns one consistent state."""

    def __init__(self, objects: ObjectStore, reader: Reader) -> None:
        self._objects = objects
        self._reader = reader
        self._archive = Archive(objects, reader)

    async def find(self, snapshot: Snapshot, tool: str, revision: int | None, *, good: bool = False) -> Release:
        """Return a release of a tool: the current one, `revision`, or the one marked good.

        Raises:
            ConfigNotFound: it does not exist.
            Gone: a document is missing, or its bytes differ.
            StoreDamaged: a repair found that it is damaged.
        """
        state = snapshot.current.tools.get(tool)
        if state is None:
            raise _missing(tool, snapshot.environment, "has no configuration", "upload one first")
        if good and state.good is None:
            raise _missing(tool, snapshot.environment, "has no revision marked good", "name the revision")
        if good and state.good is not None:
            self._reader.check_whole(snapshot, tool, state.good.revision)
            return await self._reader.release(state.good)
        release = (
            await self._reader.newest(snapshot, tool)
            if revision is None
            else await self._reader.find(snapshot, tool, revision)
        )
        if release is None:
            kept = f"revisions {state.oldest} to {state.release.revision} are kept"
            raise _missing(tool, snapshot.environment, f"has no revision {revision}", kept)
        return release

    async def wanted(self, tool: str, environment: str, revision: int | None, *, good: bool = False) -> Release:
        """Return a release as `find` does, but read again if a document is gone.

        Raises:
            ConfigNotFound: it does not exist.
            StoreDamaged: its documents differ from what was stored.
        """

        async def read(snapshot: Snapshot) -> Release:
            return await self.find(snapshot, tool, revision, good=good)

        return await self._reader.read_consistently(environment, read)

    async def current(self, tool: str, environment: str) -> Release:
        """Return the current release, which must have files."""
        return _present(await self.wanted(tool, environment, None))

    async def file(
        self, tool: Tool, environment: str, name: str | None, revision: int | None, *, refresh: bool = False
    ) -> ConfigFile:
        """Return one file of a release."""
        wanted = MAIN_FILES[tool] if name is None else check_file_name(name)
        first, known = (None, None) if refresh else await self._reader.recent(environment)

        async def read(snapshot: Snapshot) -> ConfigFile:
            release = _present(await self.find(snapshot, tool, revision))
            entry = release.files.get(wanted)
            if entry is None:
                names = [each for each in release.files if not is_internal(each)]
                more = ", ..." if len(names) > 10 else ""
                raise _missing(
                    tool, environment, f"has no file '{wanted}' in revision {release.revision}",
                    f"it has {', '.join(names[:10])}{more}",
                )  # fmt: skip
            file, held = await self._file(release, wanted, entry, snapshot)
            vars(file)["inputs"] = masking_inputs(release, wanted)
            if revision is None:
                self._reader.keep_file(file, (tool, name), snapshot, known, held)
            return file

        return await self._reader.read_consistently(environment, read, first=first)

    async def bundle(self, tool: str, environment: str, revision: int | None, *, refresh: bool = False) -> Bundle:
        """Return all files of a release."""
        first, _ = (None, None) if refresh else await self._reader.recent(environment)

        async def read(snapshot: Snapshot) -> Bundle:
            return await self._bundle(_present(await self.find(snapshot, tool, revision)), snapshot)

        return await self._reader.read_consistently(environment, read, first=first)

    async def files_of(self, tool: str, environment: str, revision: int | None) -> tuple[str, dict[str, bytes]]:
        """Return all files of a release, those made by overlays included, and a label. Revision 0 is empty."""
        if revision == 0:
            return "nothing", {}

        async def read(snapshot: Snapshot) -> tuple[str, dict[str, bytes]]:
            release = await self.find(snapshot, tool, revision)
            return f"{environment}#{release.revision}", dict(await self._reader.files(release))

        return await self._reader.read_consistently(environment, read)

    async def environment(
        self, environment: str, tools: Sequence[str] | None, *, refresh: bool = False
    ) -> dict[str, Bundle]:
        """Return all tools of an environment, from the same state."""
        first, _ = (None, None) if refresh else await self._reader.recent(environment)

        async def read(snapshot: Snapshot) -> dict[str, Bundle]:
            bundles = {}
            for tool in snapshot.current.tools if tools is None else tools:
                release = await self.find(snapshot, tool, None)
                if tools is None and release.removed:
                    continue
                bundles[tool] = await self._bundle(_present(release), snapshot)
            return bundles

        return await self._reader.read_consistently(environment, read, first=first)

    async def _bundle(self, release: Release, snapshot: Snapshot) -> Bundle:
        files = await run_all(
            (self._file(release, name, entry, snapshot) for name, entry in release.files.items()), limit=PARALLEL
        )
        return Bundle(release, MappingProxyType({file.name: file for file, _ in files}), snapshot.stale_since)

    async def _file(
        self, release: Release, name: str, entry: FileEntry, snapshot: Snapshot
    ) -> tuple[ConfigFile, Entry | None]:
        """Return a file of a release, and its cache entry."""
        raw, held = await self._reader.cached_blob(release.environment, release.tool, entry)
        file = ConfigFile(name, raw, release.revision, release.tool, release.environment, snapshot.stale_since)
        vars(file)["sha256"] = entry.sha256  # already verified
        if held is not None and held.held:
            vars(file)["shared"] = held.value
        return file, held

    async def environments(self) -> list[str]:
        """Return the names of the environments, damaged ones too, but not removed ones."""
        async with aclosing(self._objects.list_folders("configs/")) as folders:
            names = [name async for name in folders if _is_environment(name)]
        there = await run_all((self._is_there(name) for name in names), limit=PARALLEL)
        return [name for name, is_there in zip(names, there, strict=True) if is_there]

    async def _is_there(self, name: str) -> bool:
        try:
            snapshot = await self._reader.current(name)
            if snapshot is None:
                await self._reader.check_empty(name)
                return False
        except (StoreDamaged, FormatTooNew):
            return True
        return snapshot.current.freeze is None or not snapshot.current.freeze.removed

    async def check_may_begin(self, environment: str) -> None:
        """Refuse a new environment in a store that has others.

        Raises:
            ConfigNotFound: it has others.
        """
        others = [name for name in await self.environments() if name != environment]
        if others:
            hint = Advice.CREATE_ENVIRONMENT(near=did_you_mean(environment, others) or "check its name;")
            raise ConfigNotFound(f"there is no environment '{environment}'", environment=environment, hint=hint)

    async def releases(self, environment: str | None) -> list[Release]:
        """Return the current release of each tool."""
        names = await self.environments() if environment is None else [environment]
        found = await run_all((self._list_one(name) for name in names), limit=PARALLEL)
        return [release for releases in found for release in releases if not release.removed]

    async def _list_one(self, environment: str) -> list[Release]:
        async def read(snapshot: Snapshot) -> list[Release]:
            tools = sorted(snapshot.current.tools)
            return await run_all(self.find(snapshot, tool, None) for tool in tools)

        return await self._reader.read_consistently(environment, read)

    async def history(self, tool: str, environment: str, limit: int | None) -> list[Release]:
        """Return the kept releases, newest first."""

        async def read(snapshot: Snapshot) -> list[Release]:
            state = snapshot.current.tools.get(tool)
            if state is None:
                raise _missing(tool, environment, "has no configuration", "upload one first")
            last = 1 if limit is None else state.release.revision - limit + 1
            return await self._reader.chain(snapshot, tool, down_to=last)

        return await self._reader.read_consistently(environment, read)

    async def log(
        self, environment: str, limit: int | None, tool: str | None, since: int | datetime | None
    ) -> list[LogEntry]:
        """Return the entries of the log, newest first."""
        where = self._reader.where(keys.current(environment))
        after = since if isinstance(since, int) else -1

        def wanted(raw: RawEntry) -> bool:
            about = (raw.get(name) for name in ("tools", "good", "oldest"))
            return tool is None or any(isinstance(moves, dict) and tool in moves for moves in about)

        def is_older(raw: RawEntry) -> bool:
            return isinstance(since, datetime) and read_entry(raw, where).at < since

        async def read(snapshot: Snapshot) -> list[LogEntry]:
            found = await self._archive.newest(snapshot, wanted=wanted, is_older=is_older, limit=limit, after=after)
            return [read_entry(raw, where) for raw in found]

        return await self._reader.read_consistently(environment, read)


async def compare(old: tuple[str, Mapping[str, bytes]], new: tuple[str, Mapping[str, bytes]]) -> BundleDiff:
    """Compare two bundles, each with its label, outside the event loop.

    Files made by overlays only tell what is a secret.
    """
    (old_label, before), (new_label, after) = old, new
    shown = [{name: raw for name, raw in side.items() if not is_internal(name)} for side in (before, after)]
    inputs = _reserved(before), _reserved(after)
    compared = partial(diff_bundles, *shown, old_label=old_label, new_label=new_label, inputs=inputs)
    return await run_large(compared, sum(len(raw) for side in shown for raw in side.values()))


def _reserved(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: raw for name, raw in files.items() if is_reserved(name)}


def _is_environment(name: str) -> bool:
    try:
        check_environment(name)
    except ApmS3Error:
        return False
    return True


def _present(release: Release) -> Release:
    if release.removed:
        raise _missing(
            release.tool, release.environment, f"was removed in revision {release.revision}",
            "rollback brings an older revision back",
        )  # fmt: skip
    return release


def _missing(tool: str, environment: str, problem: str, hint: str) -> ConfigNotFound:
    return ConfigNotFound(f"{tool} in '{environment}' {problem}", tool=tool, environment=environment, hint=hint)


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
            return await self._reader.read_consistently(environment, read)

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
