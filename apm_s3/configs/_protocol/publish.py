"""Makes new releases current: plans their blobs, stores them with the documents, commits, and updates live copies.

Blobs of the replaced release are reused, all others are new. Those of other releases are never reused: an old revision
can be pruned at any moment, and a collector that has listed its blobs as garbage does not look again before it deletes
them. The blobs of the replaced release are safe: a collector keeps them as long as the release is current, and a commit
finds out whether it still is. They may have been damaged since, so they are compared as far as a listing tells.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

from apm_s3._tasks import run_all
from apm_s3._tools import Tool
from apm_s3.configs._content.files import MAX_BUNDLE
from apm_s3.configs._models import Deployed, FileEntry, Origin, Release, ReleaseRef
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.changes import (
    NewReleases,
    check_base,
    check_expected,
    check_thawed,
)
from apm_s3.configs._protocol.commit import RESTARTS, Committer, WindowClosed, WriteCall
from apm_s3.configs._protocol.encoding import MAY_STORE, LogPart, encode_release, note_of
from apm_s3.configs._protocol.idempotency import Earlier, EarlierWrite, Overtaken, resumed
from apm_s3.configs._protocol.keys import MAX_REVISION, blob_name
from apm_s3.configs._protocol.live import Live
from apm_s3.configs._protocol.reader import INLINE, PARALLEL, Gone, Reader, Snapshot, is_md5
from apm_s3.errors import (
    ConfigNotFound,
    DeadlineExceeded,
    InvalidOption,
    ObjectNotFound,
    ObjectTooLarge,
    PreconditionFailed,
    RevisionConflict,
    StoreDamaged,
)
from apm_s3.models import FileInfo

COMPRESS_FROM = 16 * 1024
"""Size from which a file is compressed, if that saves a tenth."""

Content = bytes | FileEntry
"""A file of a new release: its bytes, or a file of another release of the same tool and environment."""


@dataclass(frozen=True, slots=True)
class BlobPlan:
    """How to store a release's files.

    Attributes:
        entries: the entries of the release document, by file name.
        puts: the contents to put, by blob name.
        copies: the blobs to copy within the bucket, by new blob name.
    """

    entries: Mapping[str, FileEntry]
    puts: Mapping[str, bytes]
    copies: Mapping[str, str]


def plan_blobs(files: Mapping[str, Content], base: Release | None, write_id: str) -> BlobPlan:
    """Hash the files, compare them with the replaced release, and compress new ones, in time proportional to bytes."""
    known = {entry.sha256: entry for entry in base.files.values()} if base is not None else {}
    entries: dict[str, FileEntry] = {}
    puts: dict[str, bytes] = {}
    copies: dict[str, str] = {}
    for name in sorted(files):
        content = files[name]
        sha256 = content.sha256 if isinstance(content, FileEntry) else hashlib.sha256(content).hexdigest()
        if sha256 not in known:
            blob = blob_name(sha256, write_id)
            if isinstance(content, FileEntry):
                copies[blob] = content.blob
                known[sha256] = FileEntry(content.size, sha256, blob, content.encoding)
            else:
                smaller = _pack(content)
                puts[blob] = content if smaller is None else smaller
                known[sha256] = FileEntry(len(content), sha256, blob, "identity" if smaller is None else "gzip")
        entries[name] = known[sha256]
    return BlobPlan(entries, puts, copies)


def _pack(content: bytes) -> bytes | None:
    if len(content) < COMPRESS_FROM:
        return None
    smaller = packed(content)
    return smaller if len(smaller) < len(content) * 0.9 else None


def packed(content: bytes) -> bytes:
    """Return a compressed blob's bytes. Other builds of zlib may compress the same content to other bytes."""
    return gzip.compress(content, compresslevel=6, mtime=0)


async def find_damaged(
    reader: Reader,
    environment: str,
    tool: str,
    wanted: Mapping[str, tuple[FileEntry, Content | None]],
    listed: Mapping[str, FileInfo],
) -> list[str]:
    """Return the names of `wanted` blobs that are gone or differ. Only those with another size or ETag are read.

    Args:
        wanted: the entry of each, and its content: without its bytes, only the size is compared.
    """
    folder = keys.blobs(environment, tool)

    def doubtful() -> list[str]:
        return [
            name
            for name, (entry, content) in wanted.items()
            if _may_differ(listed.get(name), entry, content if reader.etags_tell else None)
        ]

    async def is_damaged(name: str) -> bool:
        try:
            await reader.stored_blob(folder + name, wanted[name][0])
        except Gone:
            return True
        return False

    size = sum(entry.size for entry, content in wanted.values() if isinstance(content, bytes))
    names = doubtful() if size <= INLINE else await asyncio.to_thread(doubtful)
    damaged = await run_all((is_damaged(name) for name in names), limit=PARALLEL)
    return [name for name, is_so in zip(names, damaged, strict=True) if is_so]


def _may_differ(info: FileInfo | None, entry: FileEntry, content: Content | None) -> bool:
    if info is None or (entry.encoding == "identity" and info.size != entry.size):
        return True
    if not isinstance(content, bytes):
        return False
    return is_md5(info.etag, packed(content) if entry.encoding == "gzip" else content) is False


Contents = dict[str, bytes]
"""Files by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A new release of one tool, before it is stored.

    Attributes:
        base: the release that it replaces.
        files: all of its files, by name.
        deploy: the source of a deploy; the new revision and digest are added. None: it is not a deploy.
        expect: the revision that the caller expects, for the error.
        known: contents that were read already, of files that come from another release.
    """

    tool: Tool
    base: Release | None
    files: Mapping[str, Content]
    origin: Origin
    author: str | None = None
    message: str = ""
    warnings: tuple[str, ...] = ()
    forced: str | None = None
    deploy: Deployed | None = None
    expect: int | None = None
    known: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def revision(self) -> int:
        """Return the revision of the new release."""
        return 1 if self.base is None else self.base.revision + 1


Prepared = tuple[Snapshot, Sequence[Draft]]
"""The reference document, and drafts based on it."""


BuildDrafts = Callable[[Snapshot, Mapping[str, Release | None]], Awaitable[Sequence[Draft]]]
"""Returns the drafts of a write, from the reference document and the current releases of its tools."""


ConcurrentWork = Callable[[Snapshot], Coroutine[Any, Any, None]]
"""Reads what the drafts need in addition to the current releases, concurrently."""


class Publisher:
    """Makes new releases current."""

    def __init__(self, committer: Committer, live: Live) -> None:
        self.committer = committer
        self._objects = committer.objects
        self._reader = committer.reader
        self._archive = committer.archive
        self._afterwards = committer.afterwards
        self._earlier = Earlier(committer.objects, committer.reader)
        self._live = live

    async def publish(
        self,
        environment: str,
        make: BuildDrafts,
        expect: Mapping[str, int | None],
        *,
        call: WriteCall,
        same: Callable[[Release], bool],
        beside: ConcurrentWork | None = None,
        first: Snapshot | None = None,
    ) -> list[Release]:
        """Make all drafts current, or none, and update `live/`.

        Args:
            make: returns the drafts, from the reference document and the current releases of the tools in `expect`;
                none if there is nothing to change. It may raise `Gone`, and may be called again.
            expect: the tools to change, and the revision that the caller expects of each (None: any).
            same: returns whether an earlier release with the same write id is the result of this call.
            beside: reads what `make` needs in addition to those releases. It may raise `Gone`, and may be called again.
            first: the reference document as the caller has just read it with `Committer.peek`.

        Raises:
            EnvironmentFrozen, RevisionConflict, StoreDamaged: nothing was changed.
            CommitUnknown: the outcome is not known.
            DeadlineExceeded: nothing was changed.
            InvalidOption: a different write has used this write id.
        """
        earlier = await self._look_back(environment, call)
        if earlier is not None and earlier.releases:
            return await self._repeat(environment, earlier, expect, call, same)
        try:
            return await self._publish(environment, make, expect, call, earlier, beside, first)
        except (RevisionConflict, Overtaken) as exc:
            # The conflicting commit may be this same write: two calls with one id both found nothing, stored the same
            # documents, and one of them was faster. To the other, its own success looks like a conflict, and a caller
            # that reacts to it would make the change twice.
            done = await self.repeated(environment, expect, call=call, same=same)
            if done:
                return done
            if isinstance(exc, RevisionConflict):
                raise
            raise DeadlineExceeded(
                f"'{environment}' changes too fast to look for earlier calls of this write; nothing was changed",
                operation="upload", bucket=self._objects.bucket, hint="repeat the call", sent=False,
            ) from exc  # fmt: skip

    async def _publish(
        self,
        environment: str,
        make: BuildDrafts,
        expect: Mapping[str, int | None],
        call: WriteCall,
        earlier: EarlierWrite | None,
        beside: ConcurrentWork | None,
        first: Snapshot | None,
    ) -> list[Release]:
        async def prepare(begun: Snapshot) -> Prepared:
            if earlier is not None:
                earlier.check_open(begun)
            return begun, await self._drafts(begun, make, expect, call, beside)

        begun, drafts = await self._reader.read_consistently(
            environment, prepare, begin=self.committer.look, first=first
        )
        if drafts and not begun.etag:
            # Only now, so that a refused write does not create an environment.
            begun, drafts = await self._begin_again(begun, drafts, prepare)
        call.allow(sum(size_of(draft) for draft in drafts))
        if earlier is not None:
            begun = earlier.since(begun)
        for _ in range(RESTARTS if earlier is None else 1):
            if not drafts:
                return []
            try:
                return await self._try(begun, drafts, call)
            except WindowClosed:
                begun, drafts = await self._begin_again(begun, drafts, prepare)
            except Gone as gone:
                raise await self._explain(environment, drafts, gone) from gone
        raise DeadlineExceeded(
            f"{environment}: storing the files takes longer than {RESTARTS} x 15 minutes, the limit",
            operation="upload", bucket=self._objects.bucket, hint="nothing was changed; check the connection to S3",
            sent=False,
        )  # fmt: skip

    async def _drafts(
        self,
        begun: Snapshot,
        make: BuildDrafts,
        expect: Mapping[str, int | None],
        call: WriteCall,
        beside: ConcurrentWork | None,
    ) -> list[Draft]:
        """Return the drafts of `make`, if the environment allows them."""
        environment = begun.environment
        check_thawed(environment, begun.current)
        for tool, revision in expect.items():
            check_expected(tool, environment, begun.current.tools.get(tool), revision)
        reads: list[Coroutine[Any, Any, Release | None]] = [self._base(begun, tool) for tool in expect]
        read = await run_all([*reads, *([] if beside is None else [beside(begun)])])
        bases = dict(zip(expect, read[: len(reads)], strict=True))
        call.allow(sum(base.size for base in bases.values() if base is not None))
        made = await make(begun, bases)
        for draft in made:
            begun.current.settings.check_note(environment, draft.author, draft.message)
        return list(made)

    async def _base(self, begun: Snapshot, tool: str) -> Release | None:
        try:
            return await self._reader.newest(begun, tool)
        except Gone as gone:
            # Not even by a whole bundle: the lost release may have an overlay, and says what was deployed last.
            raise Gone(f"{gone.problem}; {tool} cannot be changed before a repair has replaced it") from gone

    async def repeated(
        self, environment: str, tools: Collection[str] | None, *, call: WriteCall, same: Callable[[Release], bool]
    ) -> list[Release]:
        """Return the releases that were committed earlier under the caller's write id, if any.

        Args:
            tools: the tools that the write must have changed; None accepts any.

        Raises:
            RevisionConflict: the earlier write lost against another one.
            InvalidOption: a different write has used this write id.
        """
        earlier = await self._look_back(environment, call)
        if earlier is None or not earlier.releases:
            return []
        return await self._repeat(environment, earlier, tools, call, same)

    async def _look_back(self, environment: str, call: WriteCall) -> EarlierWrite | None:
        return None if call.write_id is None else await self._earlier.find(environment, call.write_id)

    async def _repeat(
        self,
        environment: str,
        earlier: EarlierWrite,
        tools: Collection[str] | None,
        call: WriteCall,
        same: Callable[[Release], bool],
    ) -> list[Release]:
        earlier.check(environment, tools, same)
        # The earlier call may have been interrupted before the copies were updated.
        nothing: list[Contents] = [{} for _ in earlier.releases]
        refresh = self._refresh_live(earlier.releases, nothing, [frozenset() for _ in nothing])
        call.commit_begins()
        return await self._refreshed(self._afterwards.start(refresh), earlier.releases, call)

    async def _begin_again(
        self, begun: Snapshot, drafts: Sequence[Draft], prepare: Callable[[Snapshot], Awaitable[Prepared]]
    ) -> Prepared:
        """Return the current reference document and the drafts, if they still apply; redo them for new settings."""
        environment = begun.environment
        fresh = await self.committer.begin(environment, None if begun.etag else begun)
        for draft in drafts:
            base = None if draft.base is None else draft.base.ref
            check_base(draft.tool, environment, fresh.current.tools.get(draft.tool), base, draft.expect)
        if fresh.current.settings == begun.current.settings:
            return fresh, drafts
        return await self._reader.read_consistently(environment, prepare, begin=self.committer.begin)

    async def _explain(self, environment: str, drafts: Sequence[Draft], gone: Gone) -> ConfigNotFound | StoreDamaged:
        """Return why a file of an old revision cannot be used: it was pruned since, or is damaged.

        Raises:
            RevisionConflict: another writer was faster, after which the files may have been collected.
        """
        fresh = await self._reader.require(environment)
        for draft in drafts:
            state, revision = fresh.current.tools.get(draft.tool), draft.origin.revision or 0
            base = None if draft.base is None else draft.base.ref
            check_base(draft.tool, environment, state, base, draft.expect)
            if state is not None and revision < state.oldest and (not state.good or state.good.revision != revision):
                return ConfigNotFound(
                    f"revision {revision} of {draft.tool} in '{environment}' was pruned meanwhile",
                    tool=draft.tool, environment=environment, hint="nothing was changed; choose a newer revision",
                )  # fmt: skip
        return StoreDamaged(gone.problem, environment=environment)

    async def _try(self, begun: Snapshot, drafts: Sequence[Draft], call: WriteCall) -> list[Release]:
        """Store and commit the releases."""
        environment = begun.environment
        write_id = call.write_id or keys.new_write_id(environment)
        plans = [await self._plan(draft, write_id) for draft in drafts]
        releases = [_release(begun, draft, plan, write_id) for draft, plan in zip(drafts, plans, strict=True)]
        contents: list[Contents] = [_given(draft) for draft in drafts]
        chosen = call.write_id is not None
        await self.committer.probe.ensure(environment)
        # Nothing reads these objects before the commit names them, so they are stored concurrently.
        documents = [
            self._put_checked(release, draft, plan, chosen=chosen)
            for release, draft, plan in zip(releases, drafts, plans, strict=True)
        ]
        work: list[Coroutine[Any, Any, object]] = [self._check_not_ahead(begun, draft) for draft in drafts]
        for draft, plan, known in zip(drafts, plans, contents, strict=True):
            work += self._files(environment, draft, plan, known)
        part, *stored = await run_all([self._store_log(begun, write_id), *documents, *work], limit=PARALLEL)
        named = cast("tuple[Release, ...]", tuple(stored[: len(documents)]))
        changed = [_changed(draft, plan) for draft, plan in zip(drafts, plans, strict=True)]
        change = NewReleases(environment, named, {draft.tool: draft.expect for draft in drafts})
        note = note_of(named)
        refresh = await call.commit(
            begun, change, write_id, note, releases=named, part=cast("LogPart | None", part),
            then=lambda: self._refresh_live(named, contents, changed),
        )  # fmt: skip
        return await self._refreshed(refresh, named, call)

    def _files(
        self, environment: str, draft: Draft, plan: BlobPlan, into: Contents
    ) -> list[Coroutine[Any, Any, object]]:
        """Return coroutines that store the files of a draft."""
        made = {entry.blob: entry for entry in plan.entries.values()}
        work: list[Coroutine[Any, Any, object]] = [
            self._put(environment, draft.tool, made[blob], body) for blob, body in plan.puts.items()
        ]
        work += [self._copy(environment, draft.tool, made[blob], source) for blob, source in plan.copies.items()]
        # A copy within S3 would copy damage, so the content is also read, which `live/` needs anyway.
        copied = set(plan.copies.values())
        work += [
            self._read(environment, draft.tool, name, entry, into)
            for name, entry in draft.files.items()
            if isinstance(entry, FileEntry) and entry.blob in copied and name not in into
        ]
        return work

    async def _refreshed(
        self, refresh: asyncio.Task[list[Release]] | None, named: Sequence[Release], call: WriteCall
    ) -> list[Release]:
        """Return the releases after the refresh of `live/`, which continues in the background after the deadline."""
        if refresh is not None:
            await asyncio.wait({refresh}, timeout=call.left)
            if refresh.done() and not refresh.cancelled():
                return refresh.result()
        return [replace(release, live_pending=True) for release in named]

    async def _read(self, environment: str, tool: str, name: str, entry: FileEntry, into: Contents) -> None:
        into[name] = await self._reader.blob(environment, tool, entry)

    async def _store_log(self, begun: Snapshot, write_id: str) -> LogPart | None:
        """Store the log's older entries together with the blobs, at no extra time, well before they must be removed."""
        if len(begun.current.log.unstored) < MAY_STORE:
            return None
        return await self._archive.store(begun.environment, begun.current, write_id)

    async def _plan(self, draft: Draft, write_id: str) -> BlobPlan:
        if draft.revision > MAX_REVISION:
            raise InvalidOption(f"{draft.tool} has reached revision {MAX_REVISION}", hint="use another environment")
        total = size_of(draft)
        if total > MAX_BUNDLE:
            raise ObjectTooLarge(size=total, limit=MAX_BUNDLE, hint=f"that is too much for one bundle of {draft.tool}")
        size = sum(len(content) for content in draft.files.values() if not isinstance(content, FileEntry))
        # Blobs of a damaged release are not reused, so that uploading them again repairs it.
        base = None if draft.base is None or draft.base.damaged else draft.base
        if size <= INLINE:
            return plan_blobs(draft.files, base, write_id)
        return await asyncio.to_thread(plan_blobs, draft.files, base, write_id)

    async def _check_not_ahead(self, begun: Snapshot, draft: Draft) -> None:
        """Refuse if a document is more than one above the current revision: `current.json` has lost commits."""
        # It can fall back: somebody restores an old version of it, or writes to a replica that lagged. Then revisions
        # would be given out twice, and commits that callers were told of would silently be missing. Their documents are
        # the trace. One revision above is none: a write that is running, or has lost its race, stores such a document.
        folder = keys.releases(begun.environment, draft.tool)
        async with aclosing(self._objects.list(folder, start_after=f"{folder}{draft.revision + 1:08d}")) as listing:
            async for info in listing:
                parsed = keys.parse_release(info.key)
                if parsed is None:
                    continue
                fresh = await self._reader.require(begun.environment)
                state = fresh.current.tools.get(draft.tool)
                if state is None or state.release.revision < parsed[0] - 1:
                    revision = 0 if state is None else state.release.revision
                    raise StoreDamaged(
                        f"'{self._reader.where(info.key)}' is ahead of the current revision {revision}",
                        environment=begun.environment,
                        tool=draft.tool,
                    )
                return

    async def _put(self, environment: str, tool: str, entry: FileEntry, body: bytes) -> None:
        key = keys.blobs(environment, tool) + entry.blob
        try:
            await self._objects.put(key, body, create=True, hashed=True, content_type="application/octet-stream")
        except PreconditionFailed:
            # No other write has our write id: an existing object is from an earlier attempt of this request, or of a
            # twin, whose compression may differ.
            await self._reader.blob(environment, tool, entry)

    async def _copy(self, environment: str, tool: str, entry: FileEntry, source: str) -> None:
        folder = keys.blobs(environment, tool)
        try:
            await self._objects.copy(folder + source, folder + entry.blob)
        except PreconditionFailed:
            await self._reader.blob(environment, tool, entry)
        except ObjectNotFound as exc:
            raise Gone(f"the blob '{self._reader.where(folder + source)}' is missing") from exc

    async def _put_checked(self, release: Release, draft: Draft, plan: BlobPlan, *, chosen: bool) -> Release:
        """Store the document and, beside it, check the blobs that the release takes over; write damaged ones anew."""
        new = plan.puts.keys() | plan.copies.keys()
        taken = {
            entry.blob: (entry, draft.files[name]) for name, entry in plan.entries.items() if entry.blob not in new
        }
        if not taken:
            return await self._put_release(release, chosen=chosen)
        environment, tool = release.environment, release.tool
        beside: list[Coroutine[Any, Any, Any]] = [self._reader.listed_blobs(environment, tool, taken)]
        stored, listed = await run_all([self._put_release(release, chosen=chosen), *beside])
        damaged = await find_damaged(self._reader, environment, tool, taken, listed)
        await run_all((self._write_anew(environment, tool, *taken[blob]) for blob in damaged), limit=PARALLEL)
        return cast("Release", stored)

    async def _write_anew(self, environment: str, tool: str, entry: FileEntry, content: Content) -> None:
        # Under its own key: the content is the one that the key names, and older releases are healed as well.
        plain = content if isinstance(content, bytes) else await self._reader.blob(environment, tool, content)
        body = packed(plain) if entry.encoding == "gzip" else plain
        key = keys.blobs(environment, tool) + entry.blob
        await self._objects.put(key, body, hashed=True, content_type="application/octet-stream")

    async def _put_release(self, release: Release, *, chosen: bool) -> Release:
        key = keys.release(release.environment, release.tool, release.revision, release.write_id)
        body = encode_release(release)
        ref = ReleaseRef(release.revision, key, hashlib.sha256(body).hexdigest())
        try:
            info = await self._objects.put(key, body, create=True, hashed=True, content_type="application/json")
            self._reader.etags_tell = self._reader.etags_tell and is_md5(info.etag, body) is not False
        except PreconditionFailed:
            # Our own write id: an earlier attempt of this request has arrived. A caller's id may also be that of
            # another call, before or now: both commit what is already stored.
            there = await self._reader.document(key)
            if chosen:
                there = resumed(there, release)
                if there.files != release.files:
                    # Files of this call exist once it has stored them; those of the other call may not.
                    await self._reader.files(there)
                return there
            if there.ref != ref:
                problem = f"'{self._reader.where(key)}' is not what was stored"
                raise StoreDamaged(problem, environment=release.environment) from None
        return replace(release, ref=ref)

    async def _refresh_live(
        self, releases: Sequence[Release], contents: Sequence[Contents], changed: Sequence[AbstractSet[str]]
    ) -> list[Release]:
        pending = await run_all(
            self._live.try_refresh(release, known, names)
            for release, known, names in zip(releases, contents, changed, strict=True)
        )
        return [replace(release, live_pending=late) for release, late in zip(releases, pending, strict=True)]


def size_of(draft: Draft) -> int:
    """Return the total bytes of its files."""
    return sum(content.size if isinstance(content, FileEntry) else len(content) for content in draft.files.values())


def _given(draft: Draft) -> Contents:
    return {**draft.known, **{name: body for name, body in draft.files.items() if isinstance(body, bytes)}}


def _changed(draft: Draft, plan: BlobPlan) -> AbstractSet[str]:
    """Return the files in which a draft differs from the release that it replaces."""
    before = {} if draft.base is None else draft.base.files
    return {name for name, entry in plan.entries.items() if name not in before or before[name].sha256 != entry.sha256}


def _release(begun: Snapshot, draft: Draft, plan: BlobPlan, write_id: str) -> Release:
    release = Release(
        tool=draft.tool,
        environment=begun.environment,
        revision=draft.revision,
        parent=None if draft.base is None else draft.base.ref,
        write_id=write_id,
        author=draft.author,
        message=draft.message,
        created_at=datetime.fromtimestamp(begun.server_time, UTC),
        origin=draft.origin,
        files=plan.entries,
        warnings=draft.warnings,
        forced=draft.forced,
        deployed=None if draft.base is None else draft.base.deployed,
    )
    if draft.deploy is None:
        return release
    return replace(release, deployed=replace(draft.deploy, revision=release.revision, digest=release.digest))
