"""A million synthetic keys in one flat prefix, listed and moved by a stub: `python -m tests.migration.million [COUNT]`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apm_s3.models import FileInfo, ListPage
from tests.migration.stubs import stub_task
from tests.seams.migration import Journal, Moved, Row, Run


class Pages:
    """Lists them; nothing is held."""

    def __init__(self, count: int) -> None:
        self.count = count

    async def list_files(self, bucket: str, prefix: str = "", **options: Any) -> ListPage:
        await asyncio.sleep(0)
        after, token, size = options.get("start_after"), options.get("token"), options.get("max_keys", 1000)
        first = int(token) if token else 0 if after is None else self._behind(after)
        last = min(first + size, self.count)
        return ListPage(tuple(self._infos(first, last)), (), str(last) if last < self.count else None)

    def _infos(self, first: int, last: int) -> Iterator[FileInfo]:
        return (FileInfo(bucket="b", key=f"obj-{number:07}", size=1, etag='"e"') for number in range(first, last))

    def _behind(self, after: str) -> int:
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            if f"obj-{middle:07}" <= after:
                low = middle + 1
            else:
                high = middle
        return low


class Nowhere:
    """Moves nothing, and lists at the end what was there."""

    def __init__(self, pages: Pages) -> None:
        self.pages, self.moved, self.first = pages, 0, 0.0

    async def move(self, row: Row) -> Moved:
        self.first = self.first or time.perf_counter()
        self.moved += 1
        return Moved(row.size, row.etag, row.etag, "etag")

    async def list_files(self, bucket: str, prefix: str = "", **options: Any) -> ListPage:
        return await self.pages.list_files(bucket, prefix, **options) if self.moved else ListPage(())


def memory(name: str) -> float:
    found = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(found[0].split()[1]) / 1024


async def main(count: int) -> None:
    task, _ = stub_task([])
    pages = Pages(count)
    mover = Nowhere(pages)
    task.source_side.s3, task.target_side.s3, task.mover = pages, mover, mover  # type: ignore[assignment, union-attr]
    before, began = memory("VmRSS"), time.perf_counter()
    async with Journal(None, task.identity()) as journal:
        report = await Run(task, journal).run()
    seconds = time.perf_counter() - began
    found = {
        "moved": report.moved,
        "keys_per_second": round(count / seconds),
        "cpu_us_per_key": round(time.process_time() / count * 1e6, 1),
        "seconds_to_first_copy": round(mover.first - began, 3),
        "peak_mib": round(memory("VmHWM")),
        "grown_mib": round(memory("VmHWM") - before),
    }
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
