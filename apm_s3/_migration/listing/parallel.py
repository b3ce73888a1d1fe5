"""Lists all objects under a prefix page by page, in parallel ranges if the server lists in key order.

S3 lists in key order. Some servers (SeaweedFS) list folder by folder, and S3 Express lists in no order: ranges could
miss keys there. On a server other than S3, ranges are used only until the first folder appears, as both orders are the
same without folders. Then everything is listed again from the beginning as one range.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from apm_s3._migration.listing.ranges import alphabet_of, ends, middle, width
from apm_s3._migration.store import Span
from apm_s3._paging import ListingProgress
from apm_s3._tasks import stop_all
from apm_s3.errors import IntegrityError
from apm_s3.models import FileInfo, ListPage

_MOST_PROBES = 24
"""Most requests for finding one cut."""


class Lists(Protocol):
    """The method of a manager that a listing needs; see `S3Manager.list_files`."""

    async def list_files(
        self,
        bucket: str,
        prefix: str = "",
        *,
        max_keys: int = 1000,
        start_after: str | None = None,
        token: str | None = None,
    ) -> ListPage: ...


class Checkpoints(Protocol):
    """Stores how far a listing has come. Keys are relative to the prefix."""

    async def spans(self) -> list[Span]:
        """Return the remaining ranges; none if the listing has not begun."""

    async def add_span(self, after: str | None, upto: str | None) -> int:
        """Add a range and return its id."""

    async def cut_span(self, span_id: int, upto: str, rest_upto: str | None) -> int:
        """End a range at `upto`, begin a new one there, and return its id."""

    async def shrink_span(self, span_id: int, upto: str) -> None:
        """End a range at `upto`."""

    async def start_again(self) -> None:
        """Discard all ranges."""

    async def page(self, span_id: int, after: str | None, done: bool, files: Sequence[FileInfo]) -> None:
        """Store a page of a range, which continues after `after`."""


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
        s3: Lists,
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
        self._news = asyncio.Event()
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
                self._news.clear()
                await self._news.wait()

    def _begin(self, one: _Range) -> None:
        self._running[asyncio.create_task(self._list(one), name="apm_s3 list a range")] = one

    async def _list(self, one: _Range) -> None:
        progress = ListingProgress("list_files", self._bucket)
        token, last = None, one.after
        start = None if one.after is None else self._prefix + one.after
        while True:
            page = await self._page(start_after=start, token=token)
            files = self._held(page, last)
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
            self._news.set()
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

    def _held(self, page: ListPage, last: str | None) -> list[FileInfo]:
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


PageTaker = Callable[[Sequence[FileInfo]], Awaitable[None]]


class Unkept:
    """Checkpoints of a listing that always begins from the start."""

    def __init__(self, take: PageTaker, again: Callable[[], Awaitable[None]]) -> None:
        self._take = take
        self._again = again
        self._ids = 0

    async def spans(self) -> list[Span]:
        return []

    async def add_span(self, after: str | None, upto: str | None) -> int:  # noqa: ARG002 - of the protocol
        self._ids += 1
        return self._ids

    async def cut_span(self, span_id: int, upto: str, rest_upto: str | None) -> int:  # noqa: ARG002 - of the protocol
        return await self.add_span(upto, rest_upto)

    async def shrink_span(self, span_id: int, upto: str) -> None: ...

    async def start_again(self) -> None:
        await self._again()

    async def page(self, span_id: int, after: str | None, done: bool, files: Sequence[FileInfo]) -> None:  # noqa: ARG002 - of the protocol
        await self._take(files)
