"""Lists both sides into the journal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress

from apm_s3._beneath import no_file
from apm_s3._migration.journal import Journal
from apm_s3._migration.listing.parallel import Listing, Unkept
from apm_s3._migration.places import FolderPlace, S3Place
from apm_s3._migration.rules import NAMELESS, MigrationRules
from apm_s3._migration.sides import Side
from apm_s3._migration.store import Found, Span
from apm_s3._s3.bulk.trees import Entry, Folder
from apm_s3.errors import InvalidKey
from apm_s3.models import FileInfo

_PAGE = 1000

Bounds = tuple[str | None, str | None]


class Source:
    """Lists the source into the journal, and continues an interrupted listing.

    Args:
        as_files: skip keys that cannot be file names.
        as_root: whether the empty key can be moved, that is, an object whose key is the prefix itself.
        news: called with the number of new rows and their bytes.
    """

    def __init__(
        self,
        journal: Journal,
        rules: MigrationRules,
        place: S3Place | FolderPlace,
        *,
        as_files: bool,
        as_root: bool,
        news: Callable[[int, int], None],
    ) -> None:
        self._journal = journal
        self._rules = rules
        self._patterns = rules.patterns
        self._place = place
        self._as_files = as_files
        self._as_root = as_root
        self._news = news
        self._cut = len(place.prefix) if isinstance(place, S3Place) else 0

    async def run(self, side: Side | None, bounds: Bounds) -> None:
        """List what has not been listed yet (in a directory, all), then mark the listing as complete."""
        if await self._journal.do(lambda store: store.get("listed")):
            return
        if side is None:
            await self._list_folder()
        else:
            start, stop = bounds
            place = side.place
            listing = Listing(side.s3, place.bucket, place.prefix, self, ordered=side.ordered, start=start, stop=stop)
            await listing.run()
        await self._journal.do(lambda store: store.set(listed="yes"))

    async def _list_folder(self) -> None:
        folder = _folder(self._place, missing_ok=False)
        span_id = await self.add_span(None, None)
        async for some in _pages(folder):
            found = [(one.key, one.size, None, one.modified, None) for one in some]
            await self._add(span_id, None, found, {}, done=False)
        await self._add(span_id, None, [], folder.skipped, done=True)

    # Checkpoints of a listing

    async def spans(self) -> list[Span]:
        return await self._journal.do(lambda store: store.spans())

    async def add_span(self, after: str | None, upto: str | None) -> int:
        return await self._journal.do(lambda store: store.add_span(after, upto))

    async def cut_span(self, span_id: int, upto: str, rest_upto: str | None) -> int:
        return await self._journal.do(lambda store: store.cut_span(span_id, upto, rest_upto))

    async def shrink_span(self, span_id: int, upto: str) -> None:
        await self._journal.do(lambda store: store.shrink_span(span_id, upto))

    async def start_again(self) -> None:
        await self._journal.do(lambda store: store.forget_spans())

    async def page(self, span_id: int, after: str | None, done: bool, files: Sequence[FileInfo]) -> None:
        cut = self._cut
        found = [
            (
                info.key[cut:],
                info.size,
                info.etag,
                None if info.last_modified is None else info.last_modified.timestamp(),
                info.storage_class,
            )
            for info in files
        ]
        await self._add(span_id, after, found, {}, done=done)

    async def _add(
        self,
        span_id: int,
        after: str | None,
        entries: Sequence[tuple[str, int, str | None, float | None, str | None]],
        skipped: dict[str, str],
        *,
        done: bool,
    ) -> None:
        rules, keeps = self._rules, self._patterns.keeps
        found: list[Found] = []
        for key, size, etag, modified, storage_class in entries:
            if not keeps(key):
                continue
            try:
                target_key = rules.target_key(key)
            except InvalidKey as exc:
                skipped[key] = exc.problem
                continue
            problem = self._problem(target_key, size)
            if problem is None:
                found.append(Found(key, target_key, size, etag, modified, storage_class))
            elif problem:
                skipped[key] = problem
        added = await self._journal.do(lambda store: store.add_page(span_id, after, found, skipped, done=done))
        if added:
            self._news(added, sum(one.size for one in found))

    def _problem(self, target_key: str, size: int) -> str | None:
        """Return why an object cannot be moved; "" for a placeholder by which consoles show a folder."""
        if self._as_files and (problem := no_file(target_key)):
            folder = not size and target_key.endswith("/") and not no_file(target_key[:-1])
            return "" if folder or not (size or target_key) else problem
        if not target_key and not self._as_root:
            return NAMELESS
        return None


async def list_target(
    journal: Journal, side: Side | None, place: S3Place | FolderPlace, bounds: Bounds = (None, None)
) -> None:
    """List the target within `bounds` into the journal, replacing any earlier listing of it."""

    async def forget() -> None:
        await journal.do(lambda store: store.clear_target())

    await forget()
    if side is None:
        async for some in _pages(_folder(place, missing_ok=True)):
            rows = [(one.key, one.size, None, one.modified) for one in some]
            await journal.do(lambda store, rows=rows: store.add_target(rows))  # type: ignore[misc]
        return
    cut = len(side.place.prefix)

    async def take(files: Sequence[FileInfo]) -> None:
        rows = [(info.key[cut:], info.size, info.etag, None) for info in files]
        await journal.do(lambda store: store.add_target(rows))

    start, stop = bounds
    checkpoints = Unkept(take, forget)
    await Listing(
        side.s3, side.place.bucket, side.place.prefix, checkpoints, ordered=side.ordered, start=start, stop=stop
    ).run()


async def keep_common(journal: Journal, rules: MigrationRules, side: Side | None, place: S3Place | FolderPlace) -> bool:
    """List the source again, and remove all that it has from the target's listing. Return whether it has anything."""
    found = False

    async def remove(keys: Iterable[str]) -> None:
        nonlocal found
        names = list(_target_keys(rules, keys))
        found = found or bool(names)
        await journal.do(lambda store: store.drop_target(names))

    if side is None:
        async for some in _pages(_folder(place, missing_ok=False)):
            await remove(one.key for one in some)
        return found
    cut = len(side.place.prefix)

    async def take(files: Sequence[FileInfo]) -> None:
        await remove(info.key[cut:] for info in files)

    async def again() -> None: ...

    await Listing(side.s3, side.place.bucket, side.place.prefix, Unkept(take, again), ordered=side.ordered).run()
    return found


def _target_keys(rules: MigrationRules, keys: Iterable[str]) -> Iterator[str]:
    keeps = rules.patterns.keeps
    for key in keys:
        if keeps(key):
            with suppress(InvalidKey):
                yield rules.target_key(key)


def _folder(place: S3Place | FolderPlace, *, missing_ok: bool) -> Folder:
    if not isinstance(place, FolderPlace):
        raise TypeError(f"{place} is not a directory")
    return Folder(place.root, missing_ok=missing_ok)


async def _pages(folder: Folder) -> AsyncIterator[list[Entry]]:
    some: list[Entry] = []
    async with aclosing(folder.entries()) as entries:
        async for entry in entries:
            some.append(entry)
            if len(some) == _PAGE:
                yield some
                some = []
    yield some
