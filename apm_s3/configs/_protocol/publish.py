"""Making releases: blobs, then release documents, then the commit of all of them at once, then the live copies."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from apm_s3._tasks import run_all
from apm_s3._tools import Tool
from apm_s3.configs._content.sources import MAX_BUNDLE
from apm_s3.configs._models import Deployed, FileEntry, Origin, Release, ReleaseRef
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.archive import Archive
from apm_s3.configs._protocol.blobs import BlobPlan, Content, plan_blobs
from apm_s3.configs._protocol.changes import NewReleases, check_base, check_expected, check_thawed
from apm_s3.configs._protocol.commit import RESTARTS, Committer, WindowClosed
from apm_s3.configs._protocol.documents import encode_release
from apm_s3.configs._protocol.keys import MAX_REVISION
from apm_s3.configs._protocol.live import Live
from apm_s3.configs._protocol.log import MAY_STORE, LogPart, note_of
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reader import INLINE, PARALLEL, Gone, Reader, Snapshot
from apm_s3.errors import (
    ConfigNotFound,
    DeadlineExceeded,
    InvalidOption,
    ObjectNotFound,
    ObjectTooLarge,
    PreconditionFailed,
    StoreDamaged,
)

Contents = dict[str, bytes]
"""Files by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A new release of one tool, before anything of it is stored.

    Attributes:
        base: the release that it replaces.
        files: everything that it holds, by name.
        deploy: what a deploy takes from where; the new revision and digest are filled in. None: it is no deploy.
        expect: the revision that the caller expects, for the error.
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

    @property
    def revision(self) -> int:
        """That of the new release."""
        return 1 if self.base is None else self.base.revision + 1


Prepared = tuple[Snapshot, Sequence[Draft]]
"""The reference document, and the drafts that fit it."""


class Publisher:
    """Makes new releases current."""

    def __init__(self, objects: ObjectStore, reader: Reader, committer: Committer, live: Live) -> None:
        self._objects = objects
        self._reader = reader
        self._committer = committer
        self._live = live
        self._archive = Archive(objects, reader)

    async def publish(
        self,
        environment: str,
        make: Callable[[Snapshot, Mapping[str, Release | None]], Awaitable[Sequence[Draft]]],
        expect: Mapping[str, int | None],
    ) -> list[Release]:
        """Make the drafts current, all or none, and bring `live/` up to date.

        Args:
            make: the drafts, from the reference document and the current releases of the tools in `expect`; none where
                there is nothing to change. It may raise `Gone`, and may be called again.
            expect: the tools to change, and the revision that the caller expects of each (None: any).

        Raises:
            EnvironmentFrozen, RevisionConflict, StoreDamaged: nothing was changed.
            CommitUnknown: it is not known whether it was changed.
        """

        async def prepare(begun: Snapshot) -> Prepared:
            check_thawed(environment, begun.current)
            for tool, revision in expect.items():
                check_expected(tool, environment, begun.current.tools.get(tool), revision)
            bases = {tool: await self._reader.newest(begun, tool) for tool in expect}
            made = await make(begun, bases)
            for draft in made:
                begun.current.settings.check_note(environment, draft.author, draft.message)
            return begun, made

        begun, drafts = await self._reader.settled(environment, prepare, begin=self._committer.look)
        if drafts and not begun.etag:
            # Only now: what is refused leaves no environment behind.
            begun, drafts = await self._begin_again(begun, drafts, prepare)
        for _ in range(RESTARTS):
            if not drafts:
                return []
            try:
                releases, contents = await self._try(begun, drafts)
            except WindowClosed:
                begun, drafts = await self._begin_again(begun, drafts, prepare)
                continue
            except Gone as gone:
                raise await self._explain(environment, drafts, gone) from gone
            return await self._refresh_live(releases, contents)
        raise DeadlineExceeded(
            f"{environment}: storing the files takes longer than the {RESTARTS} x 15 minutes it may take",
            operation="upload", bucket=self._objects.bucket, hint="nothing was changed; check the connection to S3",
        )  # fmt: skip

    async def _begin_again(
        self, begun: Snapshot, drafts: Sequence[Draft], prepare: Callable[[Snapshot], Awaitable[Prepared]]
    ) -> Prepared:
        """The reference document as it is now and the drafts, if they still fit it; made anew for other settings."""
        environment = begun.environment
        fresh = await self._committer.begin(environment)
        for draft in drafts:
            base = None if draft.base is None else draft.base.ref
            check_base(draft.tool, environment, fresh.current.tools.get(draft.tool), base, draft.expect)
        if fresh.current.settings == begun.current.settings:
            return fresh, drafts
        return await self._reader.settled(environment, prepare, begin=self._committer.begin)

    async def _explain(self, environment: str, drafts: Sequence[Draft], gone: Gone) -> ConfigNotFound | StoreDamaged:
        """Why a file of an old revision cannot be taken: given up since the draft was made, or damaged."""
        fresh = await self._reader.require(environment)
        for draft in drafts:
            state, revision = fresh.current.tools.get(draft.tool), draft.origin.revision or 0
            if state is not None and revision < state.oldest and (not state.good or state.good.revision != revision):
                return ConfigNotFound(
                    f"revision {revision} of {draft.tool} in '{environment}' was pruned meanwhile",
                    tool=draft.tool, environment=environment, hint="nothing was changed; choose a newer revision",
                )  # fmt: skip
        return StoreDamaged(gone.problem, environment=environment)

    async def _try(self, begun: Snapshot, drafts: Sequence[Draft]) -> tuple[tuple[Release, ...], list[Contents]]:
        """The releases, committed, and what is known of the contents of their files."""
        environment = begun.environment
        write_id = keys.new_write_id(environment)
        plans = [await self._plan(draft, write_id) for draft in drafts]
        contents: list[Contents] = [_given(draft) for draft in drafts]
        work: list[Coroutine[Any, Any, object]] = [self._check_not_ahead(begun, draft) for draft in drafts]
        for draft, plan, known in zip(drafts, plans, contents, strict=True):
            folder = keys.blobs(environment, draft.tool)
            work += [self._put(folder + blob, body) for blob, body in plan.puts.items()]
            work += [self._copy(folder + source, folder + blob) for blob, source in plan.copies.items()]
            # A copy inside S3 takes damage along: it is read beside that, and needed for `live/` anyway.
            copied = set(plan.copies.values())
            work += [
                self._read(environment, draft.tool, name, entry, known)
                for name, entry in draft.files.items()
                if isinstance(entry, FileEntry) and entry.blob in copied
            ]
        part, *_ = await run_all([self._store_log(begun, write_id), *work], limit=PARALLEL)
        releases = [_release(begun, draft, plan, write_id) for draft, plan in zip(drafts, plans, strict=True)]
        named = tuple(await run_all((self._put_release(release) for release in releases), limit=PARALLEL))
        change = NewReleases(environment, named, {draft.tool: draft.expect for draft in drafts})
        note = note_of(named)
        await self._committer.commit(begun, change, write_id, note, releases=named, part=cast("LogPart | None", part))
        return named, contents

    async def _read(self, environment: str, tool: str, name: str, entry: FileEntry, into: Contents) -> None:
        into[name] = await self._reader.blob(environment, tool, entry)

    async def _store_log(self, begun: Snapshot, write_id: str) -> LogPart | None:
        """The log's older entries are stored beside the blobs, which costs no time, well before they have to leave."""
        if len(begun.current.log.unstored) < MAY_STORE:
            return None
        return await self._archive.store(begun.environment, begun.current, write_id)

    async def _plan(self, draft: Draft, write_id: str) -> BlobPlan:
        if draft.revision > MAX_REVISION:
            raise InvalidOption(f"{draft.tool} has reached revision {MAX_REVISION}", hint="use another environment")
        contents = draft.files.values()
        total = sum(content.size if isinstance(content, FileEntry) else len(content) for content in contents)
        if total > MAX_BUNDLE:
            raise ObjectTooLarge(size=total, limit=MAX_BUNDLE, hint=f"that is too much for one bundle of {draft.tool}")
        size = sum(len(content) for content in contents if not isinstance(content, FileEntry))
        # Blobs of a damaged release are not used again: who uploads them anew heals it.
        base = None if draft.base is None or draft.base.damaged else draft.base
        if size <= INLINE:
            return plan_blobs(draft.files, base, write_id)
        return await asyncio.to_thread(plan_blobs, draft.files, base, write_id)

    async def _check_not_ahead(self, begun: Snapshot, draft: Draft) -> None:
        """A document more than one above the current revision: `current.json` has lost commits."""
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

    async def _put(self, key: str, body: bytes) -> None:
        # Nobody else has our write id: where there is something, an earlier send of this very request has arrived.
        with suppress(PreconditionFailed):
            await self._objects.put(key, body, create=True, content_type="application/octet-stream")

    async def _copy(self, source: str, key: str) -> None:
        try:
            await self._objects.copy(source, key)
        except PreconditionFailed:
            return
        except ObjectNotFound as exc:
            raise Gone(f"the blob '{self._reader.where(source)}' is missing") from exc

    async def _put_release(self, release: Release) -> Release:
        key = keys.release(release.environment, release.tool, release.revision, release.write_id)
        body = encode_release(release)
        with suppress(PreconditionFailed):
            await self._objects.put(key, body, create=True, content_type="application/json")
        return replace(release, ref=ReleaseRef(release.revision, key, hashlib.sha256(body).hexdigest()))

    async def _refresh_live(
        self, releases: Sequence[Release], contents: Sequence[Mapping[str, bytes]]
    ) -> list[Release]:
        pending = await run_all(
            self._live.try_refresh(release, known) for release, known in zip(releases, contents, strict=True)
        )
        return [replace(release, live_pending=late) for release, late in zip(releases, pending, strict=True)]


def _given(draft: Draft) -> Contents:
    return {name: body for name, body in draft.files.items() if isinstance(body, bytes)}


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
