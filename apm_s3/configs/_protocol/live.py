"""`live/`: copies of the current files for plain S3 clients.

Each file is eventually correct. Updates are not atomic, but never ahead of the commit.
"""

from __future__ import annotations

import logging
import mimetypes
from collections.abc import Coroutine, Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from typing import Any

from apm_s3._tasks import run_all
from apm_s3._tools import MAIN_FILES
from apm_s3.configs._content.overlays import is_reserved
from apm_s3.configs._models import FileEntry, Release
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.objects import ObjectStore, delete_what_can_be
from apm_s3.configs._protocol.reader import PARALLEL, Gone, Reader, Snapshot
from apm_s3.errors import ApmS3Error, ObjectNotFound, StoreDamaged
from apm_s3.models import FileInfo

MAX_KNOWN = 20_000
"""Maximum number of copies whose marks are cached, about 5 MB."""

HASH_METADATA = "apm-s3-sha256"
"""Metadata of each copy: the SHA-256 of its content. Objects without it are not ours and are not touched."""

log = logging.getLogger(__name__)


class Live:
    """Keeps the live copies of one store up to date."""

    def __init__(self, objects: ObjectStore, reader: Reader) -> None:
        self._objects = objects
        self._reader = reader
        self._known: dict[str, tuple[str | None, str | None]] = {}
        """The ETag and mark of copies that were written or read, by key."""

    async def try_refresh(self, release: Release, contents: Mapping[str, bytes], changed: AbstractSet[str]) -> bool:
        """Update the copies to `release`, which was just committed, and return whether this has to be done later."""
        try:
            return not await self.refresh(release, contents, changed)
        except ApmS3Error as error:
            log.warning("live copies of %s in %s are behind: %s", release.tool, release.environment, error)
            return True

    async def refresh(
        self, release: Release, contents: Mapping[str, bytes], changed: AbstractSet[str] = frozenset()
    ) -> bool:
        """Update the copies to `release`, or to a newer release, and return whether no copy of a removed file is left.

        Args:
            release: the committed release.
            contents: known contents of its files.
            changed: the files that differ from the previous release. They are written during the listing; all others
                are compared with the listing.
        """
        # Refreshes of two commits can overlap, and nothing orders their PUTs: the older one may overwrite a copy of the
        # newer one after that has finished. A lock would not help, because the other writer may be another process. So
        # each looks, after its last write, whether its release is still current, and else writes the newer one. Whoever
        # writes last looks last, and then finds the newest. Only a PUT that arrives after its call has ended escapes.
        while True:
            gone: Gone | None = None
            clean = False
            try:
                clean = await self._write(release, contents, changed)
            except Gone as missing:
                # A collector has deleted this release's blobs after a newer release, which is refreshed instead.
                gone = missing
            newer = await self._newer(release)
            if newer is None and gone is not None:
                raise StoreDamaged(gone.problem, environment=release.environment, tool=release.tool) from gone
            if newer is None:
                return clean
            release, contents, changed = newer, {}, frozenset()

    async def _newer(self, release: Release) -> Release | None:
        async def read(snapshot: Snapshot) -> Release | None:
            state = snapshot.current.tools.get(release.tool)
            if state is None or release.ref is None or state.release.key == release.ref.key:
                return None
            return await self._reader.newest(snapshot, release.tool)

        return await self._reader.read_consistently(release.environment, read)

    async def _write(self, release: Release, contents: Mapping[str, bytes], changed: AbstractSet[str]) -> bool:
        folder, main = keys.live(release.environment, release.tool), MAIN_FILES[release.tool]
        wanted = {name: entry for name, entry in release.files.items() if not is_reserved(name)}
        new = changed & wanted.keys()
        early = new if self._only_main_is_new(folder, main, wanted, new) else new - {main}
        copies: list[Coroutine[Any, Any, dict[str, FileInfo] | None]] = [
            self._copy(folder, release, name, contents) for name in sorted(early)
        ]
        present, *_ = await run_all([self._present(folder), *copies], limit=PARALLEL)
        # For copies written meanwhile, the listing may show the old or the new one.
        listed = {name: info for name, info in (present or {}).items() if name not in new}
        hashes = await self._hashes(folder, listed, wanted)
        wrong = [name for name, entry in wanted.items() if name not in early and hashes.get(name) != entry.sha256]
        await run_all((self._copy(folder, release, name, contents) for name in wrong if name != main), limit=PARALLEL)
        # Written last, so that clients that see the new main file find the files that it names.
        if main in wrong:
            await self._copy(folder, release, main, contents)
        gone = [name for name, sha256 in hashes.items() if sha256 is not None and name not in wanted]
        kept = await delete_what_can_be(self._objects, [folder + name for name in gone])
        for key, reason in kept.items():
            log.warning("the live copy '%s' of a removed file cannot be deleted: %s", key, reason)
        return not kept

    def _only_main_is_new(
        self, folder: str, main: str, wanted: Mapping[str, FileEntry], changed: AbstractSet[str]
    ) -> bool:
        """Return whether only the main file changes, and the other copies were correct when last seen."""
        if changed != {main}:
            return False
        marks = {name: self._known.get(folder + name, (None, None))[1] for name in wanted}
        return all(marks[name] == entry.sha256 for name, entry in wanted.items() if name != main)

    async def _present(self, folder: str) -> dict[str, FileInfo]:
        """Return the existing copies, by name."""
        async with aclosing(self._objects.list(folder)) as listing:
            return {info.key.removeprefix(folder): info async for info in listing}

    async def _hashes(
        self, folder: str, present: Mapping[str, FileInfo], wanted: Mapping[str, FileEntry]
    ) -> dict[str, str | None]:
        """Return the SHA-256 mark of each copy; None for other objects. Copies of another size are skipped."""
        asked = [name for name, info in present.items() if _may_be(info, wanted.get(name))]
        marks = await run_all((self._mark(folder + name, present[name]) for name in asked), limit=PARALLEL)
        return dict(zip(asked, marks, strict=True))

    async def _mark(self, key: str, listed: FileInfo) -> str | None:
        etag, mark = self._known.get(key, (None, None))
        # A different object in its place has another ETag.
        if etag is not None and etag == listed.etag:
            return mark
        try:
            info = await self._objects.head(key)
        except ObjectNotFound:
            return None
        mark = (info.metadata or {}).get(HASH_METADATA)
        self._remember(key, info.etag, mark)
        return mark

    def _remember(self, key: str, etag: str | None, mark: str | None) -> None:
        self._known.pop(key, None)
        self._known[key] = etag, mark
        while len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]

    async def _copy(self, folder: str, release: Release, name: str, contents: Mapping[str, bytes]) -> None:
        entry = release.files[name]
        body = contents[name] if name in contents else await self._reader.blob(release.environment, release.tool, entry)
        key, mark = folder + name, {HASH_METADATA: entry.sha256}
        info = await self._objects.put(key, body, hashed=True, content_type=content_type(name), metadata=mark)
        self._remember(key, info.etag, entry.sha256)


def _may_be(info: FileInfo, entry: FileEntry | None) -> bool:
    return entry is None or info.size == entry.size


def content_type(name: str) -> str:
    """Return the content type of a configuration file by its name."""
    if name.endswith((".yml", ".yaml")):
        return "application/yaml"
    return mimetypes.guess_type(name)[0] or "text/plain; charset=utf-8"
