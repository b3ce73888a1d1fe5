"""What is in a bucket: objects and versions, a page at a time or all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from apm_s3._paging import ListingProgress
from apm_s3._s3.engine import READ_DEFAULTS, Engine, Operations, check_bucket
from apm_s3._s3.objects.verbs import head
from apm_s3._s3.transports.base import ParsedPage, RawPage
from apm_s3._tasks import run_all
from apm_s3.errors import NotFound
from apm_s3.models import FileInfo, FileVersion, ListPage, VersionPage
from apm_s3.options import ListOptions, ReadOptions

T = TypeVar("T")

_PARALLEL_HEADS = 32


class ListingOperations(Operations):
    """What the manager does to list objects and versions."""

    async def list_files(
        self,
        bucket: str,
        prefix: str = "",
        *,
        delimiter: str | None = None,
        max_keys: int = 1000,
        start_after: str | None = None,
        stop_before: str | None = None,
        token: str | None = None,
        include_metadata: bool = False,
        requester_pays: bool = False,
        expected_bucket_owner: str | None = None,
        timeout: float | None = None,
    ) -> ListPage:
        """One page of the objects under a prefix, in the order of their keys.

        Args:
            delimiter: what stands between folders ("/"): deeper keys are then summed up in the page's `prefixes`.
            max_keys: keys and prefixes of the page, 1 to 1000.
            start_after: begin after this key.
            stop_before: end before this key, or common prefix; S3 does not know such a bound, so that a page can have
                fewer entries than `max_keys`. The server has to list in the order of keys, as S3 does.
            token: `next_token` of the page before.
            include_metadata: fill in content type, metadata and headers, by one HEAD an object, in parallel. An object
                that is deleted meanwhile is left out.
            timeout: seconds for each request, in place of the manager's deadline.

        Raises:
            BucketNotFound: there is no such bucket.
        """
        engine = self._engine
        check_bucket(bucket)
        options = ListOptions(
            prefix=prefix,
            delimiter=delimiter,
            max_keys=max_keys,
            start_after=start_after,
            token=token,
            requester_pays=requester_pays,
            expected_bucket_owner=expected_bucket_owner,
            timeout=timeout,
        )
        return await _page(engine, bucket, options, include_metadata, stop_before)

    async def iter_files(
        self,
        bucket: str,
        prefix: str = "",
        *,
        start_after: str | None = None,
        stop_before: str | None = None,
        include_metadata: bool = False,
        requester_pays: bool = False,
        expected_bucket_owner: str | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[FileInfo, None]:
        """All objects under a prefix, in the order of their keys. A page is asked for while the one before is used.

        Args and errors: those of `list_files`.
        """
        engine = self._engine
        check_bucket(bucket)

        options = ListOptions(
            prefix=prefix,
            start_after=start_after,
            requester_pays=requester_pays,
            expected_bucket_owner=expected_bucket_owner,
            timeout=timeout,
        )

        async def page(token: str | None) -> tuple[RawPage, str | None]:
            found = await _raw_page(engine, bucket, replace(options, token=token))
            if stop_before is not None:
                # Parsed at once: what ends here needs no next page.
                found = ParsedPage(_cut(found.parse(), stop_before))
            return found, found.next_token

        progress = ListingProgress("list_files", bucket)
        # Closed in step with this generator: else its request would be left to the garbage collector.
        async with aclosing(_pages(engine, page)) as pages:
            async for raw in pages:
                found = raw.parse()
                if found.next_token is not None:
                    progress.check(found.next_token, found.files[0].key if found.files else None)
                if include_metadata:
                    found = await _described(engine, found, options)
                for info in found.files:
                    yield info

    async def list_versions(
        self,
        bucket: str,
        prefix: str = "",
        *,
        delimiter: str | None = None,
        max_keys: int = 1000,
        key_marker: str | None = None,
        version_marker: str | None = None,
        requester_pays: bool = False,
        expected_bucket_owner: str | None = None,
        timeout: float | None = None,
    ) -> VersionPage:
        """One page of the versions and delete markers under a prefix: by key, each key's newest first.

        Args:
            key_marker, version_marker: `next_key` and `next_version` of the page before.

        Raises:
            BucketNotFound: there is no such bucket.
        """
        engine = self._engine
        check_bucket(bucket)
        options = ListOptions(
            prefix=prefix,
            delimiter=delimiter,
            max_keys=max_keys,
            requester_pays=requester_pays,
            expected_bucket_owner=expected_bucket_owner,
            timeout=timeout,
        )
        return await _version_page(engine, bucket, options, (key_marker, version_marker))

    async def iter_versions(
        self,
        bucket: str,
        prefix: str = "",
        *,
        requester_pays: bool = False,
        expected_bucket_owner: str | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[FileVersion, None]:
        """All versions and delete markers under a prefix: by key, each key's newest first.

        Raises:
            BucketNotFound: there is no such bucket.
        """
        engine = self._engine
        check_bucket(bucket)
        options = ListOptions(
            prefix=prefix,
            requester_pays=requester_pays,
            expected_bucket_owner=expected_bucket_owner,
            timeout=timeout,
        )

        async def page(markers: _Markers | None) -> tuple[VersionPage, _Markers | None]:
            found = await _version_page(engine, bucket, options, markers or (None, None))
            return found, (found.next_key, found.next_version) if found.next_key else None

        progress = ListingProgress("list_versions", bucket)
        async with aclosing(_pages(engine, page)) as pages:
            async for found in pages:
                check_versions(progress, found)
                for version in found.versions:
                    yield version


def check_versions(progress: ListingProgress, page: VersionPage) -> None:
    """Hold a page of versions against those before it; see `ListingProgress.check`."""
    if page.next_key is not None:
        first = (page.versions[0].key, page.versions[0].version_id) if page.versions else None
        progress.check((page.next_key, page.next_version), first)


_Markers = tuple[str | None, str | None]
_P = TypeVar("_P")


async def _pages(
    engine: Engine, fetch: Callable[[T | None], Awaitable[tuple[_P, T | None]]]
) -> AsyncGenerator[_P, None]:
    """All pages, each asked for as soon as the one before has come."""

    async def fetched(mark: T | None) -> tuple[_P, T | None]:
        return await fetch(mark)

    page, mark = await fetch(None)
    while mark is not None:
        ahead = engine.spawn(fetched(mark), "next page")
        try:
            # Lets its request go out: whoever uses this page may not wait for anything until it is through.
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
    """The page up to a key. S3 lists in the order of UTF-8 bytes, which is that of Python's strings."""
    files = tuple(info for info in page.files if info.key < stop)
    prefixes = tuple(prefix for prefix in page.prefixes if prefix < stop)
    ended = len(files) < len(page.files) or len(prefixes) < len(page.prefixes)
    return ListPage(files, prefixes, None if ended else page.next_token)


async def _page(
    engine: Engine, bucket: str, options: ListOptions, include_metadata: bool, stop_before: str | None
) -> ListPage:
    transport = engine.transport
    page = await engine.runner.run(
        "list_files", bucket, None, lambda: transport.list_files(bucket, options), timeout=options.timeout
    )
    if stop_before is not None:
        page = _cut(page, stop_before)
    return await _described(engine, page, options) if include_metadata else page


async def _raw_page(engine: Engine, bucket: str, options: ListOptions) -> RawPage:
    transport = engine.transport
    return await engine.runner.run(
        "list_files", bucket, None, lambda: transport.fetch_files(bucket, options), timeout=options.timeout
    )


async def _described(engine: Engine, page: ListPage, options: ListOptions) -> ListPage:
    """The page with what one HEAD for each object tells."""
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


async def _version_page(engine: Engine, bucket: str, options: ListOptions, markers: _Markers) -> VersionPage:
    transport = engine.transport
    return await engine.runner.run(
        "list_versions",
        bucket,
        None,
        lambda: transport.list_versions(bucket, options, *markers),
        timeout=options.timeout,
    )
