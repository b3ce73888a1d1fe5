"""What a store remembers of documents and blobs.

A cached reference document is used only for reads that accept its age; otherwise it is first confirmed by its ETag. The
cache never decides that something is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from apm_s3._cache import Cache, CacheRead, Entry, Group, Key, Policy, SharedLevel, object_group
from apm_s3.configs._content.serialise import Content
from apm_s3.configs._models import ConfigFile, Current, FileEntry, Release, ReleaseRef
from apm_s3.configs._protocol import keys
from apm_s3.errors import ObjectNotFound


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The reference document of an environment as it was read.

    Attributes:
        server_time: the server's clock at the response, Unix seconds.
        asked_at: the event loop's clock before the request.
        stale_since: when this was current, if S3 cannot be reached.
        doubtful: whether its MD5 is not its ETag, which it is on most servers: writers ask before they build on it.
    """

    environment: str
    current: Current
    etag: str
    server_time: float
    asked_at: float
    stale_since: datetime | None = None
    doubtful: bool = False


_KEPT = 24 * 3600.0
"""Seconds for which a reference document is kept, to be confirmed by its ETag."""

_FOR_EVER = float("inf")
_DOCUMENT_FACTOR = 6
"""Approximate size of a decoded document in CPython, as a multiple of its bytes."""

_FILE_BYTES = 400
"""Approximate size in CPython of an entry of a release's files."""

_CONTENT_BYTES = 600
"""Approximate size in CPython of a content without its bytes."""

_READ_BYTES = 700
"""Approximate size in CPython of the fields of a file that was read by its name."""


class Known:
    """A cached reference document, and the cache entries of files that were read through it, by tool and name.

    Attributes:
        size: bytes of the document.
    """

    __slots__ = ("files", "size", "snapshot")

    def __init__(self, snapshot: Snapshot, size: int) -> None:
        self.snapshot = snapshot
        self.size = size
        self.files: dict[tuple[str, str | None], tuple[Entry, tuple[str, str, str | None]]] = {}


class StoreCache:
    """The cached data of the store under `prefix` of `bucket`.

    Args:
        staleness: maximum age in seconds of a reference document for reads that accept one.
        stale_if_error: additional seconds while S3 cannot be reached.
        shared: the second level for immutable data.
    """

    def __init__(
        self,
        cache: Cache,
        bucket: str,
        prefix: str,
        *,
        staleness: float = 0.0,
        stale_if_error: float = 0.0,
        shared: SharedLevel | None = None,
    ) -> None:
        self._shared = shared
        self._cache = cache
        self._clock = cache.clock
        self._bucket = bucket
        self._prefix = prefix
        self._known: dict[str, Entry] = {}
        self._currents: Policy[Known] = Policy(
            cost=lambda known: known.size * _DOCUMENT_FACTOR,
            ttl=staleness,
            keep=_KEPT,
            stale_if_error=stale_if_error,
            absent=(ObjectNotFound,),
        )
        self._releases: Policy[Release] = Policy(cost=_release_bytes, ttl=_FOR_EVER)
        self._contents: Policy[Content] = Policy(cost=lambda content: _CONTENT_BYTES + len(content.raw), ttl=_FOR_EVER)

    def group(self, key: str) -> Group:
        """Return the cache group of an object, which a write invalidates."""
        return object_group(self._bucket, self._prefix + key)

    # Reference documents ----------------------------------------------------------------------------------------------

    async def current(
        self, environment: str, load: Callable[[Known | None], Awaitable[Known]], *, recent: bool
    ) -> tuple[Snapshot, Entry | None]:
        """Return a reference document, confirmed now or, with `recent`, as old as the settings accept.

        Raises:
            ObjectNotFound: it does not exist.
        """
        key = Key(self.group(keys.current(environment)), "current")
        found: CacheRead[Known] = await self._cache.fetch(key, self._currents, load, refresh=not recent)
        snapshot = found.value.snapshot
        if found.stale_since is not None:
            snapshot = replace(snapshot, stale_since=found.stale_since)
        return snapshot, found.entry

    def forget_current(self, environment: str) -> None:
        """Remove a reference document that was replaced, and do not cache the reads in progress."""
        self._cache.forget(self.group(keys.current(environment)))

    async def shared_body(self, key: str) -> bytes | None:
        """Return the second level's bytes of an immutable object, which must be verified by hash."""
        return None if self._shared is None else await self._shared.get(self._bucket, self._prefix + key)

    def share(self, key: str, body: bytes) -> None:
        """Store a verified immutable object in the second level."""
        if self._shared is not None:
            self._shared.put(self._bucket, self._prefix + key, body)

    # Immutable data ---------------------------------------------------------------------------------------------------

    async def release(self, ref: ReleaseRef, load: Callable[[ReleaseRef], Awaitable[Release]]) -> Release:
        """Return the release document at `ref`."""
        key = Key(self.group(ref.key), ("release", ref.sha256))
        found = await self._cache.fetch(key, self._releases, lambda _: load(ref))
        return found.value

    def known_release(self, ref: ReleaseRef) -> Release | None:
        """Return the release document at `ref`, if it is cached."""
        entry = self._cache.peek(Key(self.group(ref.key), ("release", ref.sha256)))
        return entry.value if entry is not None and entry.held and isinstance(entry.value, Release) else None

    async def content(
        self, key: str, entry: FileEntry, load: Callable[[], Awaitable[bytes]]
    ) -> tuple[bytes, Entry | None]:
        """Return the plain content of the blob under `key`."""

        async def read(_: Content | None) -> Content:
            return Content(await load(), partial(self._told, asyncio.get_running_loop(), wanted))

        wanted = Key(self.group(key), ("content", entry.sha256, entry.size))
        found = await self._cache.fetch(wanted, self._contents, read)
        return found.value.raw, found.entry

    def _told(self, loop: asyncio.AbstractEventLoop, key: Key, content: Content, by: int) -> None:
        # Parsing may happen in another thread, even after the event loop was closed.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._grow, key, content, by)

    def _grow(self, key: Key, content: Content, by: int) -> None:
        entry = self._cache.peek(key)
        if entry is not None and entry.value is content:
            self._cache.grow(entry, by)

    # Files ------------------------------------------------------------------------------------------------------------

    def keep_file(
        self,
        file: ConfigFile,
        wanted: tuple[str, str | None],
        snapshot: Snapshot,
        current: Entry | None,
        content: Entry | None,
    ) -> None:
        """Cache that `wanted`, a tool and a name, is `file` while `current` is held."""
        if current is None or content is None or not (current.held and content.held):
            return
        known: Known = current.value
        if known.snapshot.etag != snapshot.etag or snapshot.stale_since is not None:
            return
        place = (snapshot.environment, *wanted)
        files = content.value.files
        more = 0 if place in files else _READ_BYTES
        files[place] = dict(vars(file))
        known.files[wanted] = content, place
        self._known[snapshot.environment] = current
        self._cache.grow(content, more)

    def file(self, tool: str, environment: str, name: str | None) -> ConfigFile | None:
        """Return a file that was read before, if everything it depends on is fresh; None if it must be read.

        This is the hottest path: that of a `download` within `current_staleness`.
        """
        current = self._known.get(environment)
        if current is None:
            return None
        if not current.held:
            del self._known[environment]
            return None
        if self._clock() >= current.fresh_until:
            return None
        hit = current.value.files.get((tool, name))
        if hit is None:
            return None
        entry, place = hit
        if not entry.held:
            return None
        cache = self._cache
        cache.hits += 1
        cache.touch(current)
        cache.touch(entry)
        file: ConfigFile = _new(ConfigFile)
        fields = file.__dict__
        fields |= entry.value.files[place]  # faster than update()
        return file


_new = object.__new__


def _release_bytes(release: Release) -> int:
    texts = len(release.message) + sum(map(len, release.warnings))
    return 2000 + texts + _FILE_BYTES * len(release.files)
