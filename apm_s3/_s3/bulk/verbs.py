"""The manager's methods for many objects: their documentation, and argument checks.

Each method imports what it needs when it is called, because most programs call few of them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal, overload

from apm_s3._hints import Advice
from apm_s3._s3.engine import Engine, check_bucket, composed
from apm_s3._s3.objects.verbs import Objects
from apm_s3.errors import InvalidOption

if TYPE_CHECKING:
    from apm_s3._s3.bulk.sync import Run
    from apm_s3._s3.bulk.trees import Globs, Where
    from apm_s3.batch import BatchResult, OnProgress, OperationResult, Operations
    from apm_s3.models import DeleteReport, FileInfo, FileVersion, ListPage, UploadInfo, VersionPage
    from apm_s3.options import DeleteOptions
    from apm_s3.sync import SyncPlan, SyncReport


class Bulk(Objects):
    """The manager's methods for many objects."""

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
        """Return one page of the objects under a prefix, in key order.

        Args:
            delimiter: the separator of folders ("/"): deeper keys are grouped in the page's `prefixes`.
            max_keys: maximum number of keys and prefixes, 1 to 1000.
            start_after: start after this key.
            stop_before: stop before this key or common prefix. S3 has no such option, so a page can have fewer entries
                than `max_keys`. The server must list in key order, as S3 does.
            token: `next_token` of the previous page.
            include_metadata: add content type, metadata and headers, with one HEAD per object, in parallel. Objects
                deleted meanwhile are omitted.
            timeout: seconds for each request, instead of the manager's deadline.

        Raises:
            BucketNotFound: the bucket does not exist.
        """
        from apm_s3._s3.objects.listing import one_page
        from apm_s3.options import ListOptions

        engine = self._engine()
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
        return await one_page(engine, bucket, options, stop_before, include_metadata=include_metadata)

    def iter_files(
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
        """Iterate over all objects under a prefix, in key order. The next page is requested while one is being used.

        Args and errors: those of `list_files`. If you leave the loop early, close the iterator (`contextlib.aclosing`),
        so that the request for the next page is not left running.
        """
        from apm_s3._s3.objects.listing import all_files
        from apm_s3.options import ListOptions

        engine = self._engine()
        check_bucket(bucket)
        options = ListOptions(
            prefix=prefix,
            start_after=start_after,
            requester_pays=requester_pays,
            expected_bucket_owner=expected_bucket_owner,
            timeout=timeout,
        )
        return all_files(engine, bucket, options, stop_before, include_metadata=include_metadata)

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
        """Return one page of the versions and delete markers under a prefix, by key, newest first.

        Args:
            key_marker, version_marker: `next_key` and `next_version` of the previous page.

        Raises:
            BucketNotFound: the bucket does not exist.
        """
        from apm_s3._s3.objects.listing import version_page
        from apm_s3.options import ListOptions

        engine = self._engine()
        check_bucket(bucket)
        options = ListOptions(
            prefix=prefix,
            delimiter=delimiter,
            max_keys=max_keys,
            requester_pays=requester_pays,
            expected_bucket_owner=expected_bucket_owner,
            timeout=timeout,
        )
        return await version_page(engine, bucket, options, (key_marker, version_marker))

    def iter_versions(
        self,
        bucket: str,
        prefix: str = "",
        *,
        requester_pays: bool = False,
        expected_bucket_owner: str | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[FileVersion, None]:
        """Iterate over all versions and delete markers under a prefix, by key, newest first.

        Raises:
            BucketNotFound: the bucket does not exist.
        """
        from apm_s3._s3.objects.listing import all_versions
        from apm_s3.options import ListOptions

        engine = self._engine()
        check_bucket(bucket)
        options = ListOptions(
            prefix=prefix,
            requester_pays=requester_pays,
            expected_bucket_owner=expected_bucket_owner,
            timeout=timeout,
        )
        return all_versions(engine, bucket, options)

    @composed
    async def delete_files(
        self, bucket: str, keys: Iterable[str | tuple[str, str | None]], options: DeleteOptions | None = None
    ) -> DeleteReport:
        """Delete many objects, 1000 per request, and return the result of each.

        Args:
            keys: keys, or (key, version id).

        Raises:
            BucketNotFound: the bucket does not exist.
            ApmS3Error: all requests failed; otherwise the keys of a failed request are in the report's `failed`.
        """
        from apm_s3._s3.objects.deletions import delete_many

        return await delete_many(self._engine(), bucket, keys, options)

    @composed
    async def cleanup_uploads(
        self,
        bucket: str,
        older_than: timedelta,
        *,
        prefix: str = "",
        requester_pays: bool = False,
        expected_bucket_owner: str | None = None,
    ) -> tuple[UploadInfo, ...]:
        """Abort multipart uploads that were started longer than `older_than` ago, to free the space of their parts.

        This library leaves uploads open only if its process is killed, or if they are to be resumed.

        Returns:
            The aborted uploads.
        """
        from apm_s3._s3.objects.uploads import abort_old_uploads
        from apm_s3.options import UploadOptions

        engine = self._engine()
        check_bucket(bucket)
        if older_than < timedelta(0):
            raise InvalidOption("older_than is negative", hint="use a timedelta such as timedelta(days=1)")
        options = UploadOptions(requester_pays=requester_pays, expected_bucket_owner=expected_bucket_owner)
        return await abort_old_uploads(engine, bucket, prefix, datetime.now(UTC) - older_than, options)

    @composed
    async def batch(
        self,
        operations: Operations,
        *,
        concurrency: int | None = None,
        timeout: float | None = None,
        operation_timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> BatchResult:
        """Run many operations concurrently, in any order, and return the results in the order of the operations.

        A failure does not stop the others: check `ok` and `failed`, or call `raise_for_failures`. An iterator may have
        any length, because operations are taken from it only when they can be started. Deletions are sent 1000 per
        request; while operations keep coming, a deletion waits at most a second for others. When a cancelled batch
        raises `CancelledError`, it has stopped: operations that were in progress may or may not have been carried out.

        There is no batch size: operations never wait for a group to finish. `concurrency` limits those in progress.

        Args:
            operations: operations of `apm_s3.batch` of any kind, in a list, a generator or an async iterable. A
                generator runs in the event loop; if it reads files or waits, use an async one. An exception of the
                iterator stops the batch, and is raised here.
            concurrency: maximum number of operations in progress; by default the `max_concurrency` of the settings,
                which limits all requests. A large stream holds `part_size * parallel_parts` bytes: use
                less for many of them.
            timeout: seconds for the whole batch. Operations still in progress then are stopped; they, and those not
                started, fail with `DeadlineExceeded`.
            operation_timeout: seconds for each operation, in addition to the `timeout` in its options.
            on_progress: called after each operation.

        Raises:
            InvalidOption: a limit is not valid; nothing was sent.
            ManagerClosed: the manager was closed meanwhile.
        """
        from apm_s3._s3.bulk.batch import run_batch

        return await run_batch(
            self._engine(),
            self,
            operations,
            on_progress,
            concurrency=concurrency,
            timeout=timeout,
            operation_timeout=operation_timeout,
        )

    async def batch_iter(
        self,
        operations: Operations,
        *,
        concurrency: int | None = None,
        timeout: float | None = None,
        operation_timeout: float | None = None,
    ) -> AsyncGenerator[OperationResult, None]:
        """Run many operations, and yield each result as soon as it is available, in bounded memory.

        While no results are consumed, only a few more operations than `concurrency` are started. If you leave the loop
        early, the rest is stopped when the generator is closed; use `contextlib.aclosing` to do this immediately.

        Args: those of `batch`.

        Raises:
            DeadlineExceeded: after the last result, if `timeout` passed before all operations were taken from an
                iterator. Operations of a list always have a result.
            InvalidOption, ManagerClosed: as with `batch`.
        """
        from apm_s3._s3.bulk.batch import iter_batch

        results = iter_batch(
            self._engine(),
            self,
            operations,
            None,
            concurrency=concurrency,
            timeout=timeout,
            operation_timeout=operation_timeout,
        )
        async with aclosing(results):
            async for result in results:
                yield result

    @overload
    async def sync(
        self, source: Where, target: Where, *, dry_run: Literal[True], delete_extra: bool = False,
        include: Globs | None = None, exclude: Globs | None = None, on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncPlan: ...  # fmt: skip
    @overload
    async def sync(
        self, source: Where, target: Where, *, dry_run: Literal[False] = False, delete_extra: bool = False,
        include: Globs | None = None, exclude: Globs | None = None, on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncReport: ...  # fmt: skip
    @composed
    async def sync(
        self,
        source: Where,
        target: Where,
        *,
        dry_run: bool = False,
        delete_extra: bool = False,
        include: Globs | None = None,
        exclude: Globs | None = None,
        on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncPlan | SyncReport:
        """Transfer differences from a directory to a prefix, from a prefix to a directory, or between prefixes.

        Files and objects differ if their sizes do, or else their contents, which are compared by the ETag if it is a
        hash of the content. (With KMS or SSE-C it is not, so such objects are transferred again.) A downloaded file
        gets the time of its object, by which the next sync recognizes it. A failure does not stop the others; see the
        report's `failures`. Both sides are listed in parallel, so their size does not matter; only the names of extra
        entries are kept in memory. (A server other than S3 is listed once before, to check its order: if it lists
        folder by folder, as SeaweedFS does, both lists are kept in memory. The same is true for S3 Express.)

        Args:
            source, target: "s3://bucket/prefix", where the prefix is a folder, or the path of a directory. Links are
                not followed.
            dry_run: only return the plan.
            delete_extra: delete from the target what the source lacks, at the end and only if nothing failed. Before,
                the source is listed again.
            include, exclude: patterns of names relative to source and target, as in `fnmatch`; "*" also matches "/".
                Excluded names are neither transferred nor deleted.
            on_progress: called after each file or object.
            concurrency: number of concurrent transfers; by default the `max_concurrency` of the settings.

        Raises:
            InvalidOption: source or target is not valid, or they overlap; or `delete_extra` would delete everything
                because the source is empty.
            OSError: a directory cannot be read. Nothing was deleted.
            BucketNotFound: the bucket does not exist.
        """
        from apm_s3._s3.bulk.sync import choose_direction, copy_tree
        from apm_s3._s3.bulk.trees import Patterns

        engine = self._engine()
        direction = choose_direction(engine, source, target)
        run = None if dry_run else self._runner(engine, on_progress, concurrency)
        return await copy_tree(engine, direction, Patterns(include, exclude), run, delete_extra=delete_extra)

    @overload
    async def copy_prefix(
        self, source_bucket: str, source_prefix: str, bucket: str, prefix: str, *, dry_run: Literal[True],
        include: Globs | None = None, exclude: Globs | None = None, on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncPlan: ...  # fmt: skip
    @overload
    async def copy_prefix(
        self, source_bucket: str, source_prefix: str, bucket: str, prefix: str, *, dry_run: Literal[False] = False,
        include: Globs | None = None, exclude: Globs | None = None, on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncReport: ...  # fmt: skip
    @composed
    async def copy_prefix(
        self,
        source_bucket: str,
        source_prefix: str,
        bucket: str,
        prefix: str,
        *,
        dry_run: bool = False,
        include: Globs | None = None,
        exclude: Globs | None = None,
        on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncPlan | SyncReport:
        """Copy the objects under a prefix within S3, except those that already exist there; see `copy_file`, `sync`.

        Both prefixes are used literally: "logs" matches "logs/1" and "logs-old/1". In each key, `source_prefix` is
        replaced by `prefix`.

        Args and errors: those of `sync`.
        """
        from apm_s3._s3.bulk.sync import copy_tree, copying
        from apm_s3._s3.bulk.trees import Patterns, S3Place

        engine = self._engine()
        direction = copying(engine, S3Place(source_bucket, source_prefix), S3Place(bucket, prefix))
        run = None if dry_run else self._runner(engine, on_progress, concurrency)
        return await copy_tree(engine, direction, Patterns(include, exclude), run, delete_extra=False)

    @overload
    async def delete_prefix(
        self, bucket: str, prefix: str, *, dry_run: Literal[True], include: Globs | None = None,
        exclude: Globs | None = None, on_progress: OnProgress | None = None,
    ) -> SyncPlan: ...  # fmt: skip
    @overload
    async def delete_prefix(
        self, bucket: str, prefix: str, *, dry_run: Literal[False] = False, include: Globs | None = None,
        exclude: Globs | None = None, on_progress: OnProgress | None = None,
    ) -> SyncReport: ...  # fmt: skip
    @composed
    async def delete_prefix(
        self,
        bucket: str,
        prefix: str,
        *,
        dry_run: bool = False,
        include: Globs | None = None,
        exclude: Globs | None = None,
        on_progress: OnProgress | None = None,
    ) -> SyncPlan | SyncReport:
        """Delete all objects under a prefix, 1000 per request, while they are listed.

        The prefix is used literally: "logs" matches "logs/1" and "logs-old/1". A versioned bucket gets delete markers.

        Args and errors: those of `sync`.

        Raises:
            InvalidOption: the prefix is empty, which would mean the whole bucket: use `delete_bucket(force=True)`.
        """
        from apm_s3._s3.bulk.sync import delete_all
        from apm_s3._s3.bulk.trees import Patterns

        if not prefix:
            raise InvalidOption(
                "an empty prefix means the whole bucket",
                operation="delete_prefix",
                bucket=bucket,
                hint=Advice.EMPTY_BUCKET(),
            )
        engine = self._engine()
        check_bucket(bucket)
        run = None if dry_run else self._runner(engine, on_progress, None)
        return await delete_all(engine, bucket, prefix, Patterns(include, exclude), run)

    def _runner(self, engine: Engine, on_progress: OnProgress | None, concurrency: int | None) -> Run:
        """Carries out the actions of a sync in one batch."""
        from apm_s3._s3.bulk.batch import Limits, iter_batch

        limits = Limits(concurrency=concurrency, timeout=None, operation_timeout=None)
        return partial(iter_batch, engine, self, on_progress=on_progress, **limits)
