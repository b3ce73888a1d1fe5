"""A migration without a network: a server of keys alone, and a mover that only counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from apm_s3.migration import MigrationOptions
from apm_s3.models import FileInfo, ListPage
from tests.migration.listings import KeyServer
from tests.seams.migration import Moved, Row, S3Place, Task


class Moving:
    """A mover and the target that it fills.

    Attributes:
        moved: how many objects came.
        listed_before: how many keys had been listed when the first object moved.
    """

    def __init__(self, source: KeyServer) -> None:
        self.source = source
        self.moved = 0
        self.listed_before = -1
        self.keys: list[str] = []

    async def move(self, row: Row) -> Moved:
        if self.listed_before < 0:
            self.listed_before = self.source.listed
        self.moved += 1
        self.keys.append(row.target_key)
        await asyncio.sleep(0)
        return Moved(row.size, row.etag, row.etag, "etag")

    async def is_same(self, row: Row) -> bool:
        return False

    async def check(self, row: Row) -> str | None:
        return None

    async def gone(self, row: Row) -> bool:
        return False

    async def delete(self, keys: list[str]) -> int:
        return 0

    async def list_files(self, bucket: str, prefix: str = "", **options: Any) -> ListPage:
        """The target's listing: what has come, in pages."""
        if options.get("start_after") is None and options.get("token") is None:
            self.keys.sort()
        start = int(options.get("token") or 0)
        page = self.keys[start : start + 1000]
        more = start + 1000 < len(self.keys)
        return ListPage(
            tuple(FileInfo("target", key, 1, '"e"') for key in page), (), str(start + 1000) if more else None
        )


def side(s3: object, bucket: str) -> Any:
    place = S3Place(bucket, "")
    return SimpleNamespace(
        s3=s3,
        place=place,
        ordered=bucket != "target",
        endpoint=SimpleNamespace(slow_downs=[]),
        is_aws=True,
    )


def stub_task(keys: Sequence[str], concurrency: int = 64) -> tuple[Task, Moving]:
    """A migration of `keys`."""
    server = KeyServer(keys)
    moving = Moving(server)
    source, target = side(server, "source"), side(moving, "target")
    return Task(source.place, target.place, source, target, MigrationOptions(concurrency=concurrency), moving), moving  # type: ignore[arg-type]
