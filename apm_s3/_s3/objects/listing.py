"""Lists objects and versions, one page at a time or all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from apm_s3._paging import ListingProgress
from apm_s3._s3.engine import READ_DEFAULTS, Engine
from apm_s3._s3.objects.reading import head
from apm_s3._s3.transports.base import RawPage
from apm_s3._tasks import run_all
from apm_s3.errors import NotFound
from apm_s3.models import FileInfo, FileVersion, ListPage, VersionPage
from apm_s3.options import ListOptions, ReadOptions

T = TypeVar("T")
P = TypeVar("P")

Markers = tuple[str | None, str | None]
"""The start of a page of versions: a key and a version."""

_PARALLEL_HEADS = 32


async def one_page(
    engine: Engine, bucket: str, options: ListOptions, stop_before: str | None, *, include_metadata: bool
) -> ListPage:
    """Return one page of objects, up to the key `stop_before`."""
    transport = engine.transport
    page = await engine.runner.run(
        "list_files", bucket, None, lambda: transport.list_files(bucket, options), timeout=options.timeout
    )
    if stop_before is not None:
        page = _cut(page, stop_before)
    return await _described(engine, page, options) if include_metadata else page


async def all_files(
    engine: Engine, bucket: str, options: ListOptions, stop_before: str | None = None, *, include_metadata: bool = False
) -> AsyncGenerator[FileInfo, None]:
    """Yield all objects, up to the key `stop_before`."""

    async def page(token: str | None) -> tuple[RawPage, str | None]:
        found = await _raw_page(engine, bucket, replace(options, token=token))
        if stop_before is not None:
            # Parsed now, because no next page is needed if the listing stops here.
            found = RawPage.of(_cut(found.parse(), stop_before))
        return found, found.next_token

    progress = ListingProgress("list_files", bucket)
    # Closed together with this generator, so that its request is not left to the garbage collector.
    async with aclosing(_pages(engine, page)) as pages:
        async for raw in pages:
            found = raw.parse()
            progress.check(found.next_token, found.files[0].key if found.files else None)
            if include_metadata:
                found = await _described(engine, found, options)
            for info in found.files:
                yield info


async def version_page(engine: Engine, bucket: str, options: ListOptions, markers: Markers) -> VersionPage:
    """Return one page of versions, starting at `markers`."""
    transport = engine.transport
    return await engine.runner.run(
        "list_versions",
        bucket,
        None,
        lambda: transport.list_versions(bucket, options, *markers),
        timeout=options.timeout,
    )


async def all_versions(engine: Engine, bucket: str, options: ListOptions) -> AsyncGenerator[FileVersion, None]:
    """Yield all versions and delete markers."""

    async def page(markers: Markers | None) -> tuple[VersionPage, Markers | None]:
        found = await version_page(engine, bucket, options, markers or (None, None))
        return found, (found.next_key, found.next_version) if found.next_key else None

    progress = ListingProgress("list_versions", bucket)
    async with aclosing(_pages(engine, page)) as pages:
        async for found in pages:
            check_versions(progress, found)
            for version in found.versions:
                yield version


def check_versions(progress: ListingProgress, page: VersionPage) -> None:
    """Check that a page of versions follows the pages before it; see `ListingProgress.check`."""
    first = (page.versions[0].key, page.versions[0].version_id) if page.versions else None
    progress.check(None if page.next_key is None else (page.next_key, page.next_version), first)


async def _pages(engine: Engine, fetch: Callable[[T | None], Awaitable[tuple[P, T | None]]]) -> AsyncGenerator[P, None]:
    """Yield all pages, requesting each one as soon as the one before has arrived."""

    async def fetched(mark: T | None) -> tuple[P, T | None]:
        return await fetch(mark)

    page, mark = await fetch(None)
    while mark is not None:
        ahead = engine.spawn(fetched(mark), "next page")
        try:
            # Let the request be sent now, because the consumer of this page may not await anything.
            await asyncio.sleep(0)
            yield page
            page, mark = await ahead
        finally:
            if not ahead.done():
                ahead.cancel()
                await asyncio.wait({ahead})
            elif not ahead.cancelled():
                ahead.exception()
    yield page


def _cut(page: ListPage, stop: str) -> ListPage:
    """Cut the page at a key. S3 lists in the order of UTF-8 bytes, which is the order of Python's strings."""
    files = tuple(info for info in page.files if info.key < stop)
    prefixes = tuple(prefix for prefix in page.prefixes if prefix < stop)
    ended = len(files) < len(page.files) or len(prefixes) < len(page.prefixes)
    return ListPage(files, prefixes, None if ended else page.next_token)


async def _raw_page(engine: Engine, bucket: str, options: ListOptions) -> RawPage:
    transport = engine.transport
    return await engine.runner.run(
        "list_files", bucket, None, lambda: transport.fetch_files(bucket, options), timeout=options.timeout
    )


async def _described(engine: Engine, page: ListPage, options: ListOptions) -> ListPage:
    """Add metadata to the page, with one HEAD for each object."""
    reading = READ_DEFAULTS
    if options.requester_pays or options.expected_bucket_owner or options.timeout is not None:
        reading = ReadOptions(
            requester_pays=options.requester_pays,
            expected_bucket_owner=options.expected_bucket_owner,
            timeout=options.timeout,
        )
    found = await run_all([_with_metadata(engine, info, reading) for info in page.files], limit=_PARALLEL_HEADS)
    return ListPage(tuple(info for info in found if info is not None), page.prefixes, page.next_token)


async def _with_metadata(engine: Engine, info: FileInfo, options: ReadOptions) -> FileInfo | None:
    try:
        return await head(engine, info.bucket, info.key, options)
    except NotFound:
        return None
