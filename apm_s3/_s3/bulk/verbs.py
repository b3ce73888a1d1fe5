"""The manager's methods about many objects: their documentation, and the checks of their arguments."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal, overload

from apm_s3._s3.bulk.batch import Limits, iter_batch, run_batch
from apm_s3._s3.bulk.sync import Patterns, Place, bring, choose_way, copying, delete_all
from apm_s3._s3.bulk.trees import Rules
from apm_s3._s3.bulk.ways import Run
from apm_s3._s3.engine import Engine, check_bucket
from apm_s3._s3.objects.deletions import delete_many
from apm_s3._s3.objects.listing import all_files, all_versions, one_page, version_page
from apm_s3._s3.objects.multipart import abort_old_uploads
from apm_s3._s3.objects.verbs import Objects
from apm_s3.batch import BatchResult, OnProgress, OperationResult, Operations
from apm_s3.errors import InvalidOption
from apm_s3.models import DeleteReport, FileInfo, FileVersion, ListPage, UploadInfo, VersionPage
from apm_s3.options import DeleteOptions, ListOptions, UploadOptions
from apm_s3.sync import SyncPlan, SyncReport


class Bulk(Objects):
    """What the manager does with many objects at once."""

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
        """All objects under a prefix, in the order of their keys. A page is asked for while the one before is used.

        Args and errors: those of `list_files`.
        """
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
        """One page of the versions and delete markers under a prefix: by key, each key's newest first.

        Args:
            key_marker, version_marker: `next_key` and `next_version` of the page before.

        Raises:
            BucketNotFound: there is no such bucket.
        """
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
        """All versions and delete markers under a prefix: by key, each key's newest first.

        Raises:
            BucketNotFound: there is no such bucket.
        """
        engine = self._engine()
        check_bucket(bucket)
        options = ListOptions(
            prefix=prefix,
            requester_pays=requester_pays,
            expected_bucket_owner=expected_bucket_owner,
            timeout=timeout,
        )
        return all_versions(engine, bucket, options)

    async def delete_files(
        self, bucket: str, keys: Iterable[str | tuple[str, str | None]], options: DeleteOptions | None = None
    ) -> DeleteReport:
        """Delete many objects, 1000 a request, with the outcome of each.

        Args:
            keys: keys, or (key, version id).

        Raises:
            BucketNotFound: there is no such bucket.
            ApmS3Error: none of the requests was answered; otherwise the keys of a request that failed are in the
                report's `failed`.
        """
        return await delete_many(self._engine(), bucket, keys, options)

    async def cleanup_uploads(
        self,
        bucket: str,
        older_than: timedelta,
        *,
        prefix: str = "",
        requester_pays: bool = False,
        expected_bucket_owner: str | None = None,
    ) -> tuple[UploadInfo, ...]:
        """Abort multipart uploads that were begun longer than `older_than` ago, and so free what their parts take.

        Nothing of this library leaves any behind, except a process that is killed and an upload that is to be resumed.

        Returns:
            The uploads that were aborted.
        """
        engine = self._engine()
        check_bucket(bucket)
        if older_than < timedelta(0):
            raise InvalidOption("older_than is negative", hint="give a timedelta such as timedelta(days=1)")
        options = UploadOptions(requester_pays=requester_pays, expected_bucket_owner=expected_bucket_owner)
        return await abort_old_uploads(engine, bucket, prefix, datetime.now(UTC) - older_than, options)

    async def batch(
        self,
        operations: Operations,
        *,
        concurrency: int | None = None,
        timeout: float | None = None,
        operation_timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> BatchResult:
        """Carry out many operations, several at a time, in no set order; the results are in the order they were given.

        One that fails stops nothing: look at `ok` and `failed`, or call `raise_for_failures`. Operations are taken from
        an iterator as there is room for them, so that it may be of any length. Deletions are sent 1000 a request; one
        waits for others while operations come, a second at most. A cancelled batch has stopped when `CancelledError` is
        raised: what was under way was done, or was not.

        There is no batch size: nothing waits for a group of operations to end. `concurrency` bounds what is under way.

        Args:
            operations: of `apm_s3.batch`: a list, a generator or an async iterable, mixed as you like. A generator
                runs in the event loop: one that reads files or waits belongs into an async one. What it raises ends
                the batch, and is raised here.
            concurrency: operations under way at once; by default `max_concurrency` of the settings, which bounds the
                requests of all of them. A large stream holds `part_size * parallel_parts` bytes, so lower it for many.
            timeout: seconds for the whole. What is under way then is stopped; it and what was not begun has failed with
                `DeadlineExceeded`.
            operation_timeout: seconds for each operation, beside the `timeout` of its own options.
            on_progress: told whenever an operation ends.

        Raises:
            InvalidOption: a limit that makes no sense; nothing was sent.
            ManagerClosed: the manager was closed meanwhile.
        """
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
        """Carry out many operations, and give the result of each as it ends: in bounded memory, whatever their number.

        While nobody asks for results, few more operations are begun than `concurrency`. Leaving the loop early stops
        the rest once the generator is closed; use `contextlib.aclosing` to have that at once.

        Args: those of `batch`.

        Raises:
            DeadlineExceeded: after the last result, where `timeout` passed before all operations had been taken from an
                iterator. Those of a list have a result each.
            InvalidOption, ManagerClosed: as with `batch`.
        """
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
        self, source: Place, target: Place, *, dry_run: Literal[True], delete_extra: bool = False,
        include: Patterns | None = None, exclude: Patterns | None = None, on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncPlan: ...  # fmt: skip
    @overload
    async def sync(
        self, source: Place, target: Place, *, dry_run: Literal[False] = False, delete_extra: bool = False,
        include: Patterns | None = None, exclude: Patterns | None = None, on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncReport: ...  # fmt: skip
    async def sync(
        self,
        source: Place,
        target: Place,
        *,
        dry_run: bool = False,
        delete_extra: bool = False,
        include: Patterns | None = None,
        exclude: Patterns | None = None,
        on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncPlan | SyncReport:
        """Bring what differs from a directory to a prefix, from a prefix to a directory, or from a prefix to another.

        Files and objects of another size differ, and those of the same size whose content does: it is held against the
        ETag, where that is a sum of the content. (That of an object with KMS or SSE-C is none, and such an object is
        brought again.) A file that came from S3 gets the time of its object, which tells the next time that it is the
        same. One that fails stops nothing; see the report's `failures`. Both sides are listed in step, so that their
        size does not matter; of what is extra, the names are held. (A server other than S3 is asked for its list once
        more, before, for its order: one that lists folder by folder, as SeaweedFS does, has both lists held. So has S3
        Express.)

        Args:
            source, target: "s3://bucket/prefix", where a prefix stands for a folder, or the path of a directory. Links
                are not followed.
            dry_run: say what would be done, and write nothing.
            delete_extra: delete from the target what the source lacks: last, and only if nothing failed before.
            include, exclude: patterns of names below source and target, as of `fnmatch`; "*" stands for "/" too. What
                they leave out is neither brought nor deleted.
            on_progress: told whenever a file or object has moved.
            concurrency: how many move at once; by default `max_concurrency` of the settings.

        Raises:
            InvalidOption: source and target are not such places, or overlap; or `delete_extra` would delete everything,
                as the source has nothing.
            OSError: a directory cannot be read. Nothing was deleted.
            BucketNotFound: there is no such bucket.
        """
        engine = self._engine()
        way = choose_way(engine, source, target)
        run = None if dry_run else self._runner(engine, on_progress, concurrency)
        return await bring(engine, way, Rules(include, exclude), run, delete_extra=delete_extra)

    @overload
    async def copy_prefix(
        self, source_bucket: str, source_prefix: str, bucket: str, prefix: str, *, dry_run: Literal[True],
        include: Patterns | None = None, exclude: Patterns | None = None, on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncPlan: ...  # fmt: skip
    @overload
    async def copy_prefix(
        self, source_bucket: str, source_prefix: str, bucket: str, prefix: str, *, dry_run: Literal[False] = False,
        include: Patterns | None = None, exclude: Patterns | None = None, on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncReport: ...  # fmt: skip
    async def copy_prefix(
        self,
        source_bucket: str,
        source_prefix: str,
        bucket: str,
        prefix: str,
        *,
        dry_run: bool = False,
        include: Patterns | None = None,
        exclude: Patterns | None = None,
        on_progress: OnProgress | None = None,
        concurrency: int | None = None,
    ) -> SyncPlan | SyncReport:
        """Copy the objects under a prefix inside S3, those that are there already left out; see `copy_file`, `sync`.

        Both prefixes are taken as they are: "logs" stands for "logs/1" and "logs-old/1". Each key gets `prefix` in
        place of `source_prefix`.

        Args and errors: those of `sync`.
        """
        engine = self._engine()
        way = copying(engine, (source_bucket, source_prefix), (bucket, prefix))
        run = None if dry_run else self._runner(engine, on_progress, concurrency)
        return await bring(engine, way, Rules(include, exclude), run, delete_extra=False)

    @overload
    async def delete_prefix(
        self, bucket: str, prefix: str, *, dry_run: Literal[True], include: Patterns | None = None,
        exclude: Patterns | None = None, on_progress: OnProgress | None = None,
    ) -> SyncPlan: ...  # fmt: skip
    @overload
    async def delete_prefix(
        self, bucket: str, prefix: str, *, dry_run: Literal[False] = False, include: Patterns | None = None,
        exclude: Patterns | None = None, on_progress: OnProgress | None = None,
    ) -> SyncReport: ...  # fmt: skip
    async def delete_prefix(
        self,
        bucket: str,
        prefix: str,
        *,
        dry_run: bool = False,
        include: Patterns | None = None,
        exclude: Patterns | None = None,
        on_progress: OnProgress | None = None,
    ) -> SyncPlan | SyncReport:
        """Delete all objects under a prefix, 1000 a request, while they are listed.

        The prefix is taken as it is: "logs" stands for "logs/1" and "logs-old/1". A versioned bucket gets delete
        markers.

        Args and errors: those of `sync`.

        Raises:
            InvalidOption: an empty prefix, which stands for the whole bucket: `delete_bucket(force=True)` empties one.
        """
        if not prefix:
            raise InvalidOption(
                "an empty prefix stands for the whole bucket",
                operation="delete_prefix",
                bucket=bucket,
                hint="give a prefix; delete_bucket(bucket, force=True) empties a bucket, old versions included",
            )
        engine = self._engine()
        check_bucket(bucket)
        run = None if dry_run else self._runner(engine, on_progress, None)
        return await delete_all(engine, bucket, prefix, Rules(include, exclude), run)

    def _runner(self, engine: Engine, on_progress: OnProgress | None, concurrency: int | None) -> Run:
        """Carries out in one batch what a sync finds."""
        limits = Limits(concurrency=concurrency, timeout=None, operation_timeout=None)
        return partial(iter_batch, engine, self, on_progress=on_progress, **limits)
