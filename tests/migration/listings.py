"""Listings of a server that is made of keys alone."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence

from apm_s3.models import FileInfo, ListPage


class KeyServer:
    """Lists keys as S3 does, or folder by folder.

    Attributes:
        listed: keys that were given in pages.
        requests: how many, by whether one key was asked for ("probe") or a page ("page").
        most: the most requests at once.
    """

    def __init__(self, keys: Sequence[str], *, folder_by_folder: bool = False, page: int = 1000) -> None:
        self._place: Callable[[str], object] = (lambda key: key.split("/")) if folder_by_folder else (lambda key: key)
        self._keys = sorted(keys, key=self._place)  # type: ignore[arg-type]
        self._places = [self._place(key) for key in self._keys]
        self._page = page
        self.requests: Counter[str] = Counter()
        self.running = self.most = self.listed = 0

    async def list_files(
        self,
        bucket: str,
        prefix: str = "",
        *,
        max_keys: int = 1000,
        start_after: str | None = None,
        token: str | None = None,
    ) -> ListPage:
        self.requests["probe" if max_keys == 1 else "page"] += 1
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        first = (
            int(token) if token else 0 if start_after is None else bisect_right(self._places, self._place(start_after))
        )  # type: ignore[type-var]
        size = min(max_keys, self._page)
        files = tuple(FileInfo("bucket", key, 1, '"e"') for key in self._keys[first : first + size])
        more = first + size < len(self._keys)
        self.listed += len(files) if max_keys > 1 else 0
        return ListPage(files, next_token=str(first + size) if more else None)
