"""Reads the reference document, then a release, then blobs; verifies every hash, and caches what it has read.

A reader never sees a partial state, because everything that the reference document names was stored before it. If an
object is missing, it was collected since, so the reader starts again, while the document keeps changing.

The rules of the cache:

- A cached reference document is used only for reads that accept its age (`recent`); every other read confirms it by its
  ETag, which costs a round trip and no bytes. Writers always confirm: a commit that builds on an old document can only
  lose, and a check against an old one refuses what is allowed by now.
- Releases and blobs are immutable, and the reference document names them by SHA-256, so they never become stale. Only
  evictions, and this process's own deletions, remove them.
- The cache never decides that something is gone. An object that a cached document names may have been collected since,
  so absence leads to another look at the bucket (`read_consistently`), and only an unchanged document makes it damage.
- What the process itself writes is forgotten below, by `InvalidatingTransport`: both sides name an object with
  `object_group`.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
import zlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from apm_s3._cache import Cache, CacheRead, Entry, Group, Key, Policy, SharedLevel, object_group
from apm_s3._hints import Advice
from apm_s3._tasks import run_all
from apm_s3.configs._content.serialise import Content
from apm_s3.configs._models import ConfigFile, Current, FileEntry, Release, ReleaseRef, ToolState
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.encoding import decode_current, decode_release
from apm_s3.configs._protocol.keys import MAX_DOCUMENT
from apm_s3.configs._protocol.objects import ObjectStore, server_time
from apm_s3.errors import (
    BackupInvalid,
    ConfigNotFound,
    FormatTooNew,
    NotModified,
    ObjectNotFound,
    ObjectTooLarge,
    StoreDamaged,
    UnsupportedByServer,
)
from apm_s3.events import expecting
from apm_s3.models import FileInfo


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


@dataclass(frozen=True, slots=True)
class StoreCache:
    """Where the store under `prefix` caches what it reads; without a cache, it reads everything from the bucket.

    Attributes:
        staleness: maximum age in seconds of a reference document for reads that accept one.
        stale_if_error: additional seconds while S3 cannot be reached.
        shared: the second level for immutable data.
    """

    cache: Cache | None = None
    prefix: str = ""
    staleness: float = 0.0
    stale_if_error: float = 0.0
    shared: SharedLevel | None = None


_new = object.__new__


def _release_bytes(release: Release) -> int:
    texts = len(release.message) + sum(map(len, release.warnings))
    return 2000 + texts + _FILE_BYTES * len(release.files)


_RELEASES: Policy[Release] = Policy(cost=_release_bytes, ttl=_FOR_EVER)
_CONTENTS: Policy[Content] = Policy(cost=lambda content: _CONTENT_BYTES + len(content.raw), ttl=_FOR_EVER)


PARALLEL = 32
"""Maximum requests of one call in flight."""

NEAR = 3
"""Parts of the log that are fetched sequentially; for more, a listing and parallel requests are faster."""

INLINE = 256 * 1024
"""Size up to which data is hashed or decompressed in the event loop (about a millisecond); then in a thread."""

_MD5 = re.compile(r'"?([0-9a-fA-F]{32})"?', re.ASCII)

OTHER_MD5 = "its bytes do not have the MD5 that is its ETag"

T = TypeVar("T")


class Gone(Exception):
    """An object that the reference document leads to is missing, or has other content."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class Reader:
    """Reads the documents and blobs of one store.

    Args:
        cache: the cache; without it, everything is read from the bucket.

    Attributes:
        etags_tell: False once it is known that ETags of this bucket that look like an MD5 are none.
    """

    def __init__(self, objects: ObjectStore, cache: StoreCache | None = None) -> None:
        self.etags_tell: bool = True
        self._objects = objects
        limits = cache or StoreCache()
        self._cache, self._shared, self._prefix = limits.cache, limits.shared, limits.prefix
        self._known: dict[str, Entry] = {}
        self._currents: Policy[Known] = Policy(
            cost=lambda known: known.size * _DOCUMENT_FACTOR,
            ttl=limits.staleness,
            keep=_KEPT,
            stale_if_error=limits.stale_if_error,
            absent=(ObjectNotFound,),
        )

    # The cache --------------------------------------------------------------------------------------------------------

    def _group(self, key: str) -> Group:
        return object_group(self._objects.bucket, self._prefix + key)

    async def _fetch(
        self,
        key: str,
        detail: Any,
        policy: Policy[T],
        load: Callable[[T | None], Awaitable[T]],
        *,
        refresh: bool = False,
    ) -> CacheRead[T]:
        if self._cache is None:
            return CacheRead(await load(None))
        return await self._cache.fetch(Key(self._group(key), detail), policy, load, refresh=refresh)

    async def _shared_body(self, key: str) -> bytes | None:
        """Return the second level's bytes of an immutable object, which must be verified by hash."""
        return None if self._shared is None else await self._shared.get(self._objects.bucket, self._prefix + key)

    def _share(self, key: str, body: bytes) -> None:
        """Store a verified immutable object in the second level."""
        if self._shared is not None:
            self._shared.put(self._objects.bucket, self._prefix + key, body)

    def keep_file(
        self,
        file: ConfigFile,
        wanted: tuple[str, str | None],
        snapshot: Snapshot,
        current: Entry | None,
        content: Entry | None,
    ) -> None:
        """Cache that `wanted`, a tool and a name, is `file` while `current` and `content` are held."""
        if self._cache is None or current is None or content is None or not (current.held and content.held):
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
        current, cache = self._known.get(environment), self._cache
        if current is None or cache is None:
            return None
        if not current.held:
            del self._known[environment]
            return None
        if cache.clock() >= current.fresh_until:
            return None
        hit = current.value.files.get((tool, name))
        if hit is None:
            return None
        entry, place = hit
        if not entry.held:
            return None
        cache.hits += 1
        cache.touch(current)
        cache.touch(entry)
        file: ConfigFile = _new(ConfigFile)
        fields = file.__dict__
        fields |= entry.value.files[place]  # faster than update()
        return file

    # The reference document -------------------------------------------------------------------------------------------

    async def current(self, environment: str, *, if_none_match: str | None = None) -> Snapshot | None:
        """Read the reference document; None if there is none, or if its ETag is still `if_none_match`."""
        try:
            snapshot = await self.current_or_none(environment, if_none_match=if_none_match)
        except NotModified:
            return None
        return None if snapshot.current.sequence < 0 else snapshot

    async def current_or_none(self, environment: str, *, if_none_match: str | None = None) -> Snapshot:
        """Read the reference document; an empty one without an ETag if the environment has none.

        Raises:
            NotModified: its ETag is still `if_none_match`.
        """
        try:
            with expecting(ObjectNotFound):
                if if_none_match is None:
                    return (await self._confirmed(environment, recent=False))[0]
                snapshot, _ = await self._ask(environment, if_none_match)
        except ObjectNotFound as exc:
            now = time.time() if exc.server_time is None else exc.server_time
            asked_at = asyncio.get_running_loop().time()
            return Snapshot(environment, Current(-1, (), self._objects.bucket), "", now, asked_at)
        if self._cache is not None:
            # A caller that a watch has told of this state must not read an older one afterwards.
            self._cache.forget(self._group(keys.current(environment)))
        return snapshot

    async def recent(self, environment: str) -> tuple[Snapshot, Entry | None]:
        """Return the reference document, as old as the settings accept, and its cache entry.

        Raises:
            ConfigNotFound, StoreDamaged: see `require`.
        """
        if self._cache is not None:
            with suppress(ObjectNotFound):
                return await self._confirmed(environment, recent=True)
        return await self.require(environment), None

    async def _confirmed(self, environment: str, *, recent: bool) -> tuple[Snapshot, Entry | None]:
        """Return the reference document, confirmed now or, with `recent`, as old as the settings accept.

        Raises:
            ObjectNotFound: it does not exist.
        """
        confirm = partial(self._confirm, environment)
        found = await self._fetch(keys.current(environment), "current", self._currents, confirm, refresh=not recent)
        snapshot = found.value.snapshot
        if found.stale_since is not None:
            snapshot = replace(snapshot, stale_since=found.stale_since)
        return snapshot, found.entry

    async def _confirm(self, environment: str, known: Known | None) -> Known:
        """Return the current reference document; `known` itself if that is still current."""
        etag = None if known is None or known.snapshot.doubtful else known.snapshot.etag or None
        asked_at = asyncio.get_running_loop().time()
        try:
            snapshot, size = await self._ask(environment, etag)
        except NotModified as exc:
            if known is None:
                raise
            now = time.time() if exc.server_time is None else exc.server_time
            known.snapshot = replace(known.snapshot, server_time=now, asked_at=asked_at)
            return known
        return Known(snapshot, size)

    async def _ask(self, environment: str, if_none_match: str | None) -> tuple[Snapshot, int]:
        """Read the reference document and its size from the bucket; again if it is damaged, which may pass."""
        with suppress(FormatTooNew, StoreDamaged):
            snapshot, size = await self._ask_once(environment, if_none_match)
            if not snapshot.doubtful:
                return snapshot, size
        snapshot, size = await self._ask_once(environment, if_none_match)
        if snapshot.doubtful and await self._has_other_etags(snapshot.current):
            self.etags_tell = False
            snapshot = replace(snapshot, doubtful=False)
        return snapshot, size

    async def _has_other_etags(self, current: Current) -> bool:
        """Return whether a release document, whose SHA-256 is known, has an ETag that is not its MD5 either."""
        for state in current.tools.values():
            with suppress(StoreDamaged, ObjectNotFound):
                info, body = await self.read_bounded(state.release.key)
                if await sha256(body) == state.release.sha256:
                    return has_md5(info, body) is False
        return False

    async def _ask_once(self, environment: str, if_none_match: str | None) -> tuple[Snapshot, int]:
        key = keys.current(environment)
        asked_at = asyncio.get_running_loop().time()
        info, body = await self.read_bounded(key, if_none_match)
        if not info.etag:
            # Without it, the next write would have no condition.
            raise UnsupportedByServer(
                f"the server sends no ETag of '{self.where(key)}'", operation="read", bucket=self._objects.bucket,
                key=key, hint="suspect a proxy that removes headers: configurations need the ETag",
            )  # fmt: skip
        current = decode_current(body, environment=environment, where=self.where(key))
        doubtful = self.etags_tell and has_md5(info, body) is False
        return Snapshot(environment, current, info.etag, server_time(info), asked_at, doubtful=doubtful), len(body)

    async def require(self, environment: str) -> Snapshot:
        """Return the reference document.

        Raises:
            ConfigNotFound: the environment does not exist.
            StoreDamaged: there are releases, but no reference document.
        """
        snapshot = await self.current(environment)
        if snapshot is not None:
            return snapshot
        await self.check_empty(environment)
        snapshot = await self.current(environment)
        if snapshot is None:
            raise ConfigNotFound(
                f"there is no environment '{environment}' in bucket '{self._objects.bucket}'",
                environment=environment,
                hint="upload a configuration to it first, or check its name, the bucket and the prefix",
            )
        return snapshot

    async def check_empty(self, environment: str) -> None:
        """Refuse an environment that has releases or blobs but, after a second check, no reference document."""
        if await self._first_own(environment) is None:
            return
        if await self.current(environment) is None:
            key = await self._first_own(environment)
            raise StoreDamaged(
                f"'{self.where(keys.current(environment))}' is missing, but '{key}' exists",
                environment=environment,
            )

    async def _first_own(self, environment: str) -> str | None:
        """Return the first of our keys in the environment, ignoring foreign keys."""
        async with aclosing(self._objects.list(keys.environment_prefix(environment))) as listing:
            async for info in listing:
                if keys.is_own(info.key):
                    return info.key
        return None

    async def read_consistently(
        self,
        environment: str,
        read: Callable[[Snapshot], Awaitable[T]],
        *,
        begin: Callable[[str], Awaitable[Snapshot]] | None = None,
        first: Snapshot | None = None,
    ) -> T:
        """Return the result of `read` for the reference document; retry if objects are gone and the document changes.

        Args:
            begin: reads the document, instead of `require`.
            first: the document to begin with, which may be a cached one; it does not decide that something is gone.

        Raises:
            ConfigNotFound: the environment does not exist.
            StoreDamaged: an object is missing, or has other content, and the document does not change.
        """
        # A collector deletes what the document no longer names, while readers still follow the old document: an object
        # that is missing is no error, as long as the document has changed since. If it has not, nothing will bring the
        # object back, and another attempt would only hide the damage. Every attempt needs another commit to be
        # repeated.
        begin = begin or self.require
        snapshot = await begin(environment) if first is None else first
        while True:
            try:
                return await read(snapshot)
            except ConfigNotFound:
                if snapshot is not first:
                    raise
                again = await begin(environment)
                if again.etag == snapshot.etag:
                    raise
            except Gone as gone:
                again = await begin(environment)
                if again.etag == snapshot.etag:
                    raise StoreDamaged(gone.problem, environment=environment) from gone
            snapshot = again

    async def release(self, ref: ReleaseRef) -> Release:
        """Return the release document at `ref`.

        Raises:
            Gone: it is missing, or its bytes differ.
        """
        return (await self._fetch(ref.key, ("release", ref.sha256), _RELEASES, lambda _: self._release(ref))).value

    async def _release(self, ref: ReleaseRef) -> Release:
        shared = await self._shared_body(ref.key)
        if shared is not None and len(shared) <= MAX_DOCUMENT and await sha256(shared) == ref.sha256:
            with suppress(StoreDamaged):
                release = await self._decoded(ref.key, shared)
                if release.ref == ref:
                    return release

        async def read() -> tuple[Release, bytes]:
            _, body = await self.read_bounded(ref.key)
            release = await self._decoded(ref.key, body)
            if release.ref != ref:
                raise StoreDamaged(
                    f"the release document '{self.where(ref.key)}' does not have the SHA-256 {ref.sha256}"
                )
            return release, body

        try:
            release, body = await twice(read)
        except ObjectNotFound as exc:
            raise Gone(f"the release document '{self.where(ref.key)}' is missing") from exc
        except StoreDamaged as exc:
            raise Gone(exc.problem) from exc
        self._share(ref.key, body)
        return release

    async def document(self, key: str) -> Release:
        """Return the release document under `key`, committed or not.

        Not from the second level: a key that was listed has no hash to check the value with.

        Raises:
            ObjectNotFound: it does not exist.
            StoreDamaged: it is not a release document, or does not match its key.
        """
        return await twice(lambda: self._document(key))

    async def _document(self, key: str) -> Release:
        _, body = await self.read_bounded(key)
        return await self._decoded(key, body)

    async def read_bounded(self, key: str, if_none_match: str | None = None) -> tuple[FileInfo, bytes]:
        """Read the bytes of a document of this store, refusing only sizes that no document has.

        Raises:
            ObjectNotFound: it does not exist.
            StoreDamaged: it is larger than any document of a store; it was not read.
            NotModified: its ETag is still `if_none_match`.
        """
        try:
            return await self._objects.read(key, if_none_match=if_none_match, limit=MAX_DOCUMENT)
        except ObjectTooLarge as exc:
            raise StoreDamaged(f"'{self.where(key)}' is damaged: {exc.problem}") from exc

    async def _decoded(self, key: str, body: bytes) -> Release:
        if len(body) <= INLINE:
            return decode_release(body, key=key, where=self.where(key))
        return await asyncio.to_thread(decode_release, body, key=key, where=self.where(key))

    async def newest(self, snapshot: Snapshot, tool: str) -> Release | None:
        """Return the current release of a tool, or the previous one on a replica that does not have it yet.

        Raises:
            Gone: it is missing, or its bytes differ.
        """
        state = snapshot.current.tools.get(tool)
        if state is None:
            return None
        try:
            release = await self.release(state.release)
            return replace(release, damaged=True) if state.damage_of(release.revision) else release
        except Gone:
            if state.parent is None or not self.is_replica(snapshot.current):
                raise
            return await self.release(state.parent)

    def is_replica(self, current: Current) -> bool:
        """Return whether this bucket is a replica of the one in which `current` was written."""
        return current.home != self._objects.bucket

    async def files(self, release: Release, entries: Mapping[str, FileEntry] | None = None) -> Mapping[str, bytes]:
        """Return the contents of all files of a release, or of some of its entries, by name.

        Raises:
            Gone: one is missing, or its bytes differ.
        """
        wanted = release.files if entries is None else entries
        reads = (self.blob(release.environment, release.tool, entry) for entry in wanted.values())
        contents = await run_all(reads, limit=PARALLEL)
        return MappingProxyType(dict(zip(wanted, contents, strict=True)))

    async def blob(self, environment: str, tool: str, entry: FileEntry) -> bytes:
        """Return the plain content of a blob.

        Raises:
            Gone: it is missing, or its bytes differ.
        """
        return (await self.cached_blob(environment, tool, entry))[0]

    async def cached_blob(self, environment: str, tool: str, entry: FileEntry) -> tuple[bytes, Entry | None]:
        """Return the plain content of a blob, and its cache entry.

        Raises:
            Gone: it is missing, or its bytes differ.
        """
        key, detail = keys.blobs(environment, tool) + entry.blob, ("content", entry.sha256, entry.size)
        grow = partial(self._grow_soon, asyncio.get_running_loop(), Key(self._group(key), detail))

        async def read(_: Content | None) -> Content:
            return Content(await self._blob(key, entry), grow)

        found = await self._fetch(key, detail, _CONTENTS, read)
        return found.value.raw, found.entry

    def _grow_soon(self, loop: asyncio.AbstractEventLoop, key: Key, content: Content, by: int) -> None:
        # Parsing may happen in another thread, even after the event loop was closed.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._grow, key, content, by)

    def _grow(self, key: Key, content: Content, by: int) -> None:
        entry = None if self._cache is None else self._cache.peek(key)
        if self._cache is not None and entry is not None and entry.value is content:
            self._cache.grow(entry, by)

    async def _blob(self, key: str, entry: FileEntry) -> bytes:
        shared = await self._shared_body(key)
        near = None if shared is None or len(shared) > entry.size else await unpack(shared, entry)
        if near is not None:
            return near
        plain, body = await self.stored_blob(key, entry)
        self._share(key, body)
        return plain

    async def stored_blob(self, key: str, entry: FileEntry) -> tuple[bytes, bytes]:
        """Return a blob's plain content and its bytes, past every cache.

        Raises:
            Gone: it is missing, or its bytes differ.
        """

        async def read() -> tuple[bytes, bytes]:
            # A compressed blob is smaller than its content.
            _, body = await self._objects.read(key, limit=entry.size)
            unpacked = await unpack(body, entry)
            if unpacked is None:
                raise StoreDamaged(f"the blob '{self.where(key)}' does not have the SHA-256 {entry.sha256}")
            return unpacked, body

        try:
            return await twice(read)
        except ObjectNotFound as exc:
            raise Gone(f"the blob '{self.where(key)}' is missing") from exc
        except ObjectTooLarge as exc:
            raise Gone(f"the blob '{self.where(key)}' is not what was stored: {exc.problem}") from exc
        except StoreDamaged as exc:
            raise Gone(exc.problem) from exc

    async def listed_blobs(self, environment: str, tool: str, names: Collection[str] = ()) -> dict[str, FileInfo]:
        """List the blobs of a tool by name: all of them or, if that is enough, the one in `names`."""
        folder = keys.blobs(environment, tool)
        async with aclosing(self._objects.list(folder + (next(iter(names)) if len(names) == 1 else ""))) as listing:
            return {info.key.removeprefix(folder): info async for info in listing}

    async def chain(self, snapshot: Snapshot, tool: str, *, down_to: int = 1) -> list[Release]:
        """Yield the kept committed releases of a tool, newest first, by following the chain of parents.

        Documents outside the chain were never committed. Those that a repair marked as lost are omitted.

        Raises:
            Gone: a document of the chain is missing, or its bytes differ.
        """
        state = snapshot.current.tools[tool]
        last = max(down_to, state.oldest)
        near: dict[str, Release] | None = None
        found: list[Release] = []
        ref: ReleaseRef | None = state.release
        while ref is not None and ref.revision >= last:
            damage = state.damage_of(ref.revision)
            if damage is not None and damage.lost == "documents":
                ref = damage.older
                continue
            release = self._cached_release(ref)
            if release is None:
                if near is None:
                    near = await self._fetch_chain(snapshot.environment, tool, last, state, ref)
                release = await self._linked(ref, near)
            found.append(release if damage is None else replace(release, damaged=True))
            ref = release.parent
        return found

    def _cached_release(self, ref: ReleaseRef) -> Release | None:
        entry = None if self._cache is None else self._cache.peek(Key(self._group(ref.key), ("release", ref.sha256)))
        return entry.value if entry is not None and isinstance(entry.value, Release) else None

    async def _linked(self, ref: ReleaseRef, near: Mapping[str, Release]) -> Release:
        """Return the release at `ref` from those that were already read, if it matches."""
        release = near.get(ref.key)
        if release is None or release.ref != ref:
            return await self.release(ref)

        async def read(_: Release | None) -> Release:
            return release

        return (await self._fetch(ref.key, ("release", ref.sha256), _RELEASES, read)).value

    async def _fetch_chain(
        self, environment: str, tool: str, last: int, state: ToolState, newest: ReleaseRef
    ) -> dict[str, Release]:
        """Return release documents from revision `last` to `newest`, by key, omitting unreadable ones."""
        if last >= newest.revision:
            return {}
        folder = keys.releases(environment, tool)
        if newest == state.release and state.parent is not None and last == state.parent.revision:
            return await self._try_releases([newest.key, state.parent.key])
        names = []
        async with aclosing(self._objects.list(folder, start_after=f"{folder}{last:08d}")) as listing:
            async for info in listing:
                parsed = keys.parse_release(info.key)
                if parsed is not None and parsed[0] <= newest.revision:
                    names.append(info.key)
        return await self._try_releases(names)

    async def _try_releases(self, names: Sequence[str]) -> dict[str, Release]:
        fetched = await run_all((self._try_release(key) for key in names), limit=PARALLEL)
        return {key: release for key, release in zip(names, fetched, strict=True) if release is not None}

    async def _try_release(self, key: str) -> Release | None:
        try:
            return await self._document(key)
        except (ObjectNotFound, StoreDamaged, FormatTooNew):
            # If the release is needed, it is read again, which raises the error.
            return None

    async def find(self, snapshot: Snapshot, tool: str, revision: int) -> Release | None:
        """Return the committed release of `revision`; None if it does not exist (any more).

        Raises:
            Gone: a document of the chain is missing, or its bytes differ.
            StoreDamaged: a repair found that it is damaged.
        """
        self.check_whole(snapshot, tool, revision)
        return await self.committed(snapshot, tool, revision)

    def check_whole(self, snapshot: Snapshot, tool: str, revision: int) -> None:
        """Refuse a revision that a repair found damaged.

        Raises:
            StoreDamaged: it is damaged.
        """
        damage = snapshot.current.tools[tool].damage_of(revision)
        if damage is not None:
            what = "its release document is lost" if damage.lost == "documents" else "files of it are lost"
            raise StoreDamaged(
                f"revision {revision} of {tool} in '{snapshot.environment}' is damaged: {what}",
                environment=snapshot.environment,
                tool=tool,
                hint=Advice.CHOOSE_OTHER_REVISION(),
            )

    async def committed(self, snapshot: Snapshot, tool: str, revision: int) -> Release | None:
        """Return the committed release of `revision`, damaged or not; None if it does not exist (any more).

        Raises:
            Gone: a document of the chain is missing, or its bytes differ.
        """
        state = snapshot.current.tools[tool]
        if state.good is not None and state.good.revision == revision:
            return await self.release(state.good)
        if not state.oldest <= revision <= state.release.revision:
            return None
        found = await self.chain(snapshot, tool, down_to=revision)
        # A repair can skip revisions.
        return found[-1] if found and found[-1].revision == revision else None

    def where(self, key: str) -> str:
        """Return bucket and key, for errors."""
        return f"{self._objects.bucket}/{key}"


async def twice(read: Callable[[], Awaitable[T]]) -> T:
    """Return the result of `read`, called again if what came is damaged: perhaps it was damaged on its way."""
    with suppress(BackupInvalid, FormatTooNew, StoreDamaged):
        return await read()
    return await read()


def has_md5(info: FileInfo, body: bytes) -> bool | None:
    """Return whether the ETag of an object is the MD5 of `body`; None if it is none, or S3's checksum was verified.

    An ETag that looks like an MD5 may still be none, such as that of an object encrypted with a KMS key.
    """
    verified = any("-" not in checksum for checksum in info.checksums.values())
    return None if verified else is_md5(info.etag, body)


def is_md5(etag: str | None, body: bytes) -> bool | None:
    """Return whether an ETag is the MD5 of `body`; None if it cannot be an MD5."""
    match = _MD5.fullmatch(etag or "")
    return None if match is None else match[1].lower() == hashlib.md5(body, usedforsecurity=False).hexdigest()


async def sha256(body: bytes) -> str:
    """Return the SHA-256 in hex, computed in a thread if it takes long."""
    if len(body) <= INLINE:
        return hashlib.sha256(body).hexdigest()
    return await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())


async def unpack(body: bytes, entry: FileEntry) -> bytes | None:
    """Return the plain content of a blob; None if it does not match `entry`."""
    if max(len(body), entry.size) <= INLINE:
        return _unpack(body, entry)
    return await asyncio.to_thread(_unpack, body, entry)


def _unpack(body: bytes, entry: FileEntry) -> bytes | None:
    plain = body
    if entry.encoding == "gzip":
        unpacker = zlib.decompressobj(wbits=31)
        try:
            # Limited, so that a manipulated blob cannot exhaust memory.
            plain = unpacker.decompress(body, entry.size + 1)
        except zlib.error:
            return None
    if len(plain) != entry.size or hashlib.sha256(plain).hexdigest() != entry.sha256:
        return None
    return plain
