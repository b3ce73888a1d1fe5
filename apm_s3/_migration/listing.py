"""Lists both sides of a migration: a source in S3 in parallel ranges, if the server lists in key order.

S3 lists in the order of UTF-8 bytes, which is also the order of Python's strings. A cut needs no key at its place: it
only has to lie between two keys, which a request for the first key after it shows.

Some servers (SeaweedFS) list folder by folder, and S3 Express lists in no order: ranges could
miss keys there. On a server other than S3, ranges are used only until the first folder appears, as both orders are the
same without folders. Then everything is listed again from the beginning as one range.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from apm_s3._beneath import no_file
from apm_s3._migration.journal import Journal, Listed, Span
from apm_s3._migration.models import NAMELESS, MigrationOptions, patterns_of, target_key_of
from apm_s3._migration.sides import Side
from apm_s3._migration.trees import Entry, Folder, FolderPlace, S3Place
from apm_s3._paging import ListingProgress
from apm_s3._s3.endpoint import Verbs
from apm_s3._tasks import stop_all
from apm_s3.errors import IntegrityError, InvalidKey
from apm_s3.models import FileInfo, ListPage

LAST = "\x7f"
"""Sorts after every printable ASCII character."""

_FIRST, _END, _SURROGATES = 0x20, 0x110000, range(0xD800, 0xE000)
_DEPTH = 12
"""Leading characters of a key that are used to estimate the width of a range."""


def alphabet_of(keys: Iterable[str]) -> str:
    """Return the characters of some keys in order, as a guess at the characters of the others."""
    return "".join(sorted(set("".join(keys))))


def ends(first: str, last: str) -> list[str]:
    """Return likely ends of the keys, nearest first, from the first and last key of a page."""
    common = 0
    while common < min(len(first), len(last)) and first[common] == last[common]:
        common += 1
    return [first[:length] + LAST for length in range(common, -1, -1)]


def middle(after: str, upto: str, alphabet: str) -> str | None:
    """Return a place about halfway between `after` and `upto`, or None if there is none."""
    at = 0
    while at < min(len(after), len(upto)) and after[at] == upto[at]:
        at += 1
    high = ord(upto[at]) if at < len(upto) else _END
    found = _between(after, at, high, alphabet)
    return found if found is not None and after < found < upto else None


def _between(after: str, at: int, high: int, alphabet: str) -> str | None:
    """Return a place that shares the first `at` characters of `after` and stays below `high` at the next."""
    while at <= len(after):
        low = ord(after[at]) if at < len(after) else _FIRST - 1
        known = [char for char in alphabet if low < ord(char) < high]
        if known:
            return after[:at] + known[len(known) // 2]
        if high - low > 1 and (code := (low + high) // 2) not in _SURROGATES and low < code:
            return after[:at] + chr(code)
        # No character lies between: look one character deeper, where any may follow.
        at, high = at + 1, ord(LAST)
    return None


def width(after: str | None, upto: str | None, alphabet: Sequence[str]) -> float:
    """Estimate the share of all keys between two places, from 0 to 1, as if all characters were equally frequent."""
    return (1.0 if upto is None else _place(upto, alphabet)) - (0.0 if after is None else _place(after, alphabet))


def _place(key: str, alphabet: Sequence[str]) -> float:
    place, step = 0.0, 1.0
    for char in key[:_DEPTH]:
        step /= len(alphabet) + 1
        place += bisect_left(alphabet, char) * step
    return place


_MOST_PROBES = 24
"""Most requests for finding one cut."""


PageTaker = Callable[[Sequence[FileInfo]], Awaitable[None]]


class Checkpoints:
    """Stores how far a listing has come. This one stores nothing: its listing always begins from the start.

    Args:
        take: called with the objects of each page.
        again: called when a listing that has begun starts again.
    """

    def __init__(self, take: PageTaker, again: Callable[[], Awaitable[None]]) -> None:
        self._take = take
        self._again = again
        self._ids = 0

    async def spans(self) -> list[Span]:
        """Return the remaining ranges; none if the listing has not begun."""
        return []

    async def add_span(self, after: str | None, upto: str | None) -> int:  # noqa: ARG002 - for those that store it
        """Add a range, with keys relative to the prefix, and return its id."""
        self._ids += 1
        return self._ids

    async def cut_span(self, span_id: int, upto: str, rest_upto: str | None) -> int:  # noqa: ARG002 - as above
        """End a range at `upto`, begin a new one there, and return its id."""
        return await self.add_span(upto, rest_upto)

    async def shrink_span(self, span_id: int, upto: str) -> None:
        """End a range at `upto`."""

    async def start_again(self) -> None:
        """Discard all ranges."""
        await self._again()

    async def page(self, span_id: int, after: str | None, done: bool, files: Sequence[FileInfo]) -> None:  # noqa: ARG002 - as above
        """Store a page of a range, which continues after `after`."""
        await self._take(files)


@dataclass
class _Range:
    id: int
    after: str | None
    upto: str | None
    pages: int = 0
    tight: bool = False


class _Unordered(Exception):
    """The server does not list in key order, or may not."""


class Listing:
    """Lists a prefix.

    Args:
        ordered: whether the server lists in key order; None if unknown.
        parallel: ranges listed at once.
        start: list only keys after this one, up to and including `stop`.
    """

    def __init__(
        self,
        s3: Verbs,
        bucket: str,
        prefix: str,
        checkpoints: Checkpoints,
        *,
        ordered: bool | None,
        parallel: int = 8,
        start: str | None = None,
        stop: str | None = None,
    ) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._prefix = prefix
        self._checkpoints = checkpoints
        self._ordered = ordered
        self._parallel = parallel
        self._whole = (start, stop)
        self._alphabet = ""
        self._ends: list[str] = []
        self._has_folders = False
        self._cut = False
        self._progressed = asyncio.Event()
        self._running: dict[asyncio.Task[None], _Range] = {}

    async def run(self) -> None:
        """List everything that has not been listed yet.

        Raises:
            IntegrityError: the server lists keys that were not requested.
        """
        spans = await self._checkpoints.spans()
        if self._ordered is not True and any(span.after is not None for span in spans):
            # It is not known where such a server continues after a given key.
            await self._checkpoints.start_again()
            spans = []
        ranges = [_Range(span.id, span.after, span.upto) for span in spans]
        self._cut = len(ranges) > 1
        try:
            await self._all(ranges or [await self._first()])
        except _Unordered:
            self._ordered = False
            await self._checkpoints.start_again()
            await self._all([await self._first()])

    async def _first(self) -> _Range:
        start, stop = self._whole
        return _Range(await self._checkpoints.add_span(start, stop), start, stop)

    async def _all(self, ranges: list[_Range]) -> None:
        waiting = ranges[::-1]
        splitter = asyncio.create_task(self._keep_splitting(), name="apm_s3 cut ranges")
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._parallel:
                    self._begin(waiting.pop())
                await asyncio.wait({*self._running, splitter}, return_when=asyncio.FIRST_COMPLETED)
                if splitter.done():
                    splitter.result()
                for task in [task for task in self._running if task.done()]:
                    del self._running[task]
                    task.result()
        finally:
            await stop_all([splitter, *self._running])
            self._running.clear()

    async def _keep_splitting(self) -> None:
        while True:
            if not await self._split():
                self._progressed.clear()
                await self._progressed.wait()

    def _begin(self, one: _Range) -> None:
        self._running[asyncio.create_task(self._list(one), name="apm_s3 list a range")] = one

    async def _list(self, one: _Range) -> None:
        progress = ListingProgress("list_files", self._bucket)
        token, last = None, one.after
        start = None if one.after is None else self._prefix + one.after
        while True:
            page = await self._page(start_after=start, token=token)
            files = self._checked(page, last)
            keys = [info.key[len(self._prefix) :] for info in files]
            if keys:
                last = keys[-1]
                self._learn(keys)
            if page.next_token is not None:
                progress.check(page.next_token, keys[0] if keys else None)
            upto = None if self._ordered is False else one.upto
            beyond = upto is not None and last is not None and last > upto
            if upto is not None and beyond:
                files = [info for info in files if info.key[len(self._prefix) :] <= upto]
            done = page.next_token is None or beyond
            one.after, one.pages = last, one.pages + 1
            await self._checkpoints.page(one.id, last, done, self._wanted(files))
            self._progressed.set()
            if done:
                return
            token = page.next_token

    def _wanted(self, files: list[FileInfo]) -> list[FileInfo]:
        """Drop keys outside `start` and `stop`, as an unordered server is asked for everything."""
        start, stop = self._whole
        if self._ordered is not False or (start is None and stop is None):
            return files
        cut = len(self._prefix)
        return [
            info
            for info in files
            if (start is None or info.key[cut:] > start) and (stop is None or info.key[cut:] <= stop)
        ]

    async def _page(self, *, start_after: str | None, token: str | None) -> ListPage:
        if self._ordered is False:
            start_after = None
        return await self._s3.list_files(
            self._bucket, self._prefix, start_after=None if token else start_after, token=token
        )

    def _checked(self, page: ListPage, last: str | None) -> list[FileInfo]:
        """Return the page's objects after checking that they match the request.

        Raises:
            IntegrityError: a key is outside the prefix.
            _Unordered: a key is out of order, or is the first folder on a server whose order is unknown.
        """
        cut = len(self._prefix)
        before = None if last is None else self._prefix + last
        for info in page.files:
            if not info.key.startswith(self._prefix):
                raise IntegrityError(
                    f"the server lists a key outside of the prefix '{self._prefix}'",
                    operation="migrate",
                    bucket=self._bucket,
                    key=info.key,
                )
            if self._ordered is None and not self._has_folders and "/" in info.key[cut:]:
                self._has_folders = True
                if self._cut or self._whole != (None, None):
                    raise _Unordered
            if before is not None and info.key <= before and self._ordered is not False:
                if self._ordered or self._cut or self._whole != (None, None):
                    raise _Unordered
                self._ordered = False
            before = info.key
        return list(page.files)

    def _learn(self, keys: list[str]) -> None:
        if not self._alphabet:
            self._alphabet = alphabet_of(keys)
            self._ends = ends(keys[0], keys[-1])

    def _may_cut(self) -> bool:
        return self._ordered is True or (self._ordered is None and not self._has_folders)

    async def _split(self) -> bool:
        """Cut the widest range in two and begin the new one. Return False if there is nothing to cut."""
        if not self._may_cut():
            return False
        if len(self._running) >= self._parallel:
            return False
        ranges = [one for one in self._running.values() if one.pages and not one.tight]
        if not ranges:
            return False
        widest = max(ranges, key=lambda one: width(one.after, one.upto, self._alphabet))
        for _ in range(_MOST_PROBES):
            place = self._place(widest)
            if place is None:
                break
            # The range goes on being listed while the server is asked. So everything is looked at again afterwards: a
            # folder may have shown that there is no order, and the listing may have passed the place, whose keys would
            # then be listed twice.
            found = await self._page_behind(place)
            if not self._may_cut():
                return False
            # From now on, the first folder means that keys may have been missed.
            self._cut = self._ordered is None
            upto = widest.upto
            if widest.after is not None and widest.after >= place:
                # The listing has passed that place meanwhile.
                continue
            if found is None or (upto is not None and found > upto):
                await self._checkpoints.shrink_span(widest.id, place)
                widest.upto = place
                continue
            new = await self._checkpoints.cut_span(widest.id, place, upto)
            widest.upto = place
            self._begin(_Range(new, place, upto))
            return True
        widest.tight = True
        return True

    def _place(self, one: _Range) -> str | None:
        if one.after is None:
            return None
        if one.upto is None:
            places = [place for place in self._ends if place > one.after]
            if not places:
                return None
            self._ends = places[1:]
            return places[0]
        return middle(one.after, one.upto, self._alphabet)

    async def _page_behind(self, place: str) -> str | None:
        page = await self._s3.list_files(self._bucket, self._prefix, max_keys=1, start_after=self._prefix + place)
        return page.files[0].key[len(self._prefix) :] if page.files else None


_PAGE = 1000

Bounds = tuple[str | None, str | None]


class Source(Checkpoints):
    """Lists the source into the journal, and continues an interrupted listing.

    Args:
        as_files: skip keys that cannot be file names.
        as_root: whether the empty key can be moved, that is, an object whose key is the prefix itself.
        on_found: called with the number of new rows and their bytes.
    """

    def __init__(
        self,
        journal: Journal,
        rules: MigrationOptions,
        place: S3Place | FolderPlace,
        *,
        as_files: bool,
        as_root: bool,
        on_found: Callable[[int, int], None],
    ) -> None:
        self._journal = journal
        self._rules = rules
        self._patterns = patterns_of(rules)
        self._place = place
        self._as_files = as_files
        self._as_root = as_root
        self._on_found = on_found
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
        found: list[Listed] = []
        for key, size, etag, modified, storage_class in entries:
            if not keeps(key):
                continue
            try:
                target_key = target_key_of(rules, key)
            except InvalidKey as exc:
                skipped[key] = exc.problem
                continue
            problem = self._problem(target_key, size)
            if problem is None:
                found.append(Listed(key, target_key, size, etag, modified, storage_class))
            elif problem:
                skipped[key] = problem
        added = await self._journal.do(lambda store: store.add_page(span_id, after, found, skipped, done=done))
        if added:
            self._on_found(added, sum(one.size for one in found))

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
    checkpoints = Checkpoints(take, forget)
    await Listing(
        side.s3, side.place.bucket, side.place.prefix, checkpoints, ordered=side.ordered, start=start, stop=stop
    ).run()


async def keep_common(
    journal: Journal, rules: MigrationOptions, side: Side | None, place: S3Place | FolderPlace
) -> bool:
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

    await Listing(side.s3, side.place.bucket, side.place.prefix, Checkpoints(take, again), ordered=side.ordered).run()
    return found


def _target_keys(rules: MigrationOptions, keys: Iterable[str]) -> Iterator[str]:
    keeps = patterns_of(rules).keeps
    for key in keys:
        if keeps(key):
            with suppress(InvalidKey):
                yield target_key_of(rules, key)


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
