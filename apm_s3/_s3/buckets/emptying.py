"""Empties buckets: deletes versions, delete markers and open uploads, in parallel batches."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from apm_s3._paging import ListingProgress
from apm_s3._s3.buckets.requests import BucketRef
from apm_s3._s3.buckets.settings import BucketSettings
from apm_s3._s3.engine import Engine
from apm_s3._s3.objects.deletions import delete_alone
from apm_s3._s3.objects.listing import check_versions
from apm_s3._s3.objects.multipart import abort_upload
from apm_s3._s3_responses import s3_error
from apm_s3._tasks import run_all
from apm_s3._wire import xml
from apm_s3.errors import (
    AccessDenied,
    BatchError,
    BucketNotEmpty,
    IntegrityError,
    InvalidOption,
    S3Error,
    UnsupportedByServer,
)
from apm_s3.events import report_progress
from apm_s3.models import DeleteReport, EmptyReport, FileVersion, KeyFailure, UploadInfo, VersionPage
from apm_s3.options import DeleteOptions, ListOptions, UploadOptions
from apm_s3.options._bucket_settings import Tags

_PAGES_AT_ONCE = 8
_UPLOADS_AT_ONCE = 32

_ENVIRONMENT_TAGS = ("apm:environment", "environment", "env")
PRODUCTION = ("production", "prod")

Progress = Callable[[EmptyReport], object]


@dataclass
class _Tally:
    """What one call has deleted so far."""

    on_progress: Progress | None
    versions: int = 0
    markers: int = 0
    uploads: int = 0
    failed: list[KeyFailure] = field(default_factory=list)

    def report(self) -> EmptyReport:
        return EmptyReport(self.versions, self.markers, self.uploads)

    def tell(self) -> None:
        if self.on_progress is not None:
            report_progress(self.on_progress, self.report())


@dataclass
class _Window:
    """Some pages of the listing, and where it continues; `ends` is set after the last page."""

    pages: list[VersionPage]
    next_key: str | None
    next_version: str | None

    @property
    def ends(self) -> bool:
        return self.next_key is None


class BucketEmptying:
    """Empties buckets."""

    def __init__(self, settings: BucketSettings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._transport = engine.transport
        self._runner = engine.runner

    async def empty(
        self,
        operation: str,
        ref: BucketRef,
        *,
        confirm: str | None,
        mfa: str | None,
        bypass_governance: bool,
        on_progress: Progress | None,
    ) -> EmptyReport:
        """Delete everything in the bucket, including what is written meanwhile, unless that never ends.

        Raises:
            IntegrityError: versions that the server reported as deleted still exist.
            InvalidOption: the bucket is tagged as production, and `confirm` is not its name.
            BatchError: some versions could not be deleted.
        """
        await self._check_production(operation, ref, confirm)
        options = DeleteOptions(mfa=mfa, bypass_governance=bypass_governance, expected_bucket_owner=ref.owner)
        tally = _Tally(on_progress)
        await self._abort_uploads(operation, ref, tally)
        known: FileVersion | None = None
        while True:
            before = tally.report()
            tally.failed.clear()
            first = await self._pass(operation, ref, options, tally)
            # Every pass deletes something or is the last one: it stops at locked versions, and continues with new ones.
            if tally.report() == before:
                break
            if first is not None and first == known:
                raise IntegrityError(
                    "the server lists a version that it reported as deleted",
                    operation=operation,
                    bucket=ref.name,
                    key=first.key,
                    hint="the server, or a proxy in front of it, does not delete as S3 does",
                )
            known = first
        if tally.failed:
            raise _not_deleted(operation, ref, tally.failed)
        return tally.report()

    async def require_empty(self, operation: str, ref: BucketRef) -> None:
        """Refuse a bucket that contains anything, if the server lets us look.

        DeleteBucket does so as well; but SeaweedFS deletes a versioned bucket together with its objects.

        Raises:
            BucketNotFound: it does not exist.
            BucketNotEmpty: it is not empty.
        """
        listing = ListOptions(max_keys=1, expected_bucket_owner=ref.owner)

        async def attempt() -> VersionPage:
            return await self._transport.list_versions(ref.name, listing, None, None)

        try:
            page = await self._runner.run(operation, ref.name, None, attempt)
        except (AccessDenied, UnsupportedByServer):
            return
        if page.versions:
            raise BucketNotEmpty(
                f"bucket '{ref.name}' is not empty: it contains '{page.versions[0].key}'",
                operation=operation,
                bucket=ref.name,
            )

    async def _check_production(self, operation: str, ref: BucketRef, confirm: str | None) -> None:
        try:
            tags = await self._settings.read(operation, ref, Tags)
        except UnsupportedByServer:
            return
        if is_production(tags) and confirm != ref.name:
            raise InvalidOption(
                f"bucket '{ref.name}' is tagged as production: its contents would be lost permanently",
                operation=operation,
                bucket=ref.name,
                hint=f"pass confirm='{ref.name}' to delete it anyway",
            )

    async def _pass(self, operation: str, ref: BucketRef, options: DeleteOptions, tally: _Tally) -> FileVersion | None:
        """List all versions once, and delete each window of pages while the next one is listed.

        Returns:
            The first listed version that the server reported as deleted.
        """
        progress = ListingProgress(operation, ref.name)
        window = await self._list(operation, ref, progress, None, None)
        first: FileVersion | None = None
        while window.pages:
            work: list[Coroutine[Any, Any, Any]] = [
                self._delete(operation, ref, page.versions, options, tally) for page in window.pages if page.versions
            ]
            if not window.ends:
                work.append(self._list(operation, ref, progress, window.next_key, window.next_version))
            results = await run_all(work)
            deleted = results if window.ends else results[:-1]
            first = first or next((entry for entry in deleted if entry is not None), None)
            if window.ends:
                break
            window = results[-1]
        return first

    async def _list(
        self, operation: str, ref: BucketRef, progress: ListingProgress, key: str | None, version: str | None
    ) -> _Window:
        pages: list[VersionPage] = []
        listing = ListOptions(expected_bucket_owner=ref.owner)

        async def attempt() -> VersionPage:
            return await self._transport.list_versions(ref.name, listing, key, version)

        while len(pages) < _PAGES_AT_ONCE:
            page = await self._runner.run(operation, ref.name, None, attempt)
            check_versions(progress, page)
            pages.append(page)
            key, version = page.next_key, page.next_version
            if key is None:
                break
        return _Window(pages, key, version)

    async def _delete(
        self,
        operation: str,
        ref: BucketRef,
        versions: tuple[FileVersion, ...],
        options: DeleteOptions,
        tally: _Tally,
    ) -> FileVersion | None:
        """Delete `versions`, and return the first that the server reported as deleted."""
        keys = [(entry.key, entry.version_id) for entry in versions]
        held = [key for key in keys if xml.holds(key[0])]

        async def attempt() -> DeleteReport:
            return await self._transport.delete_many(ref.name, held, options)

        report = await self._runner.run(operation, ref.name, None, attempt) if held else DeleteReport((), ())
        for key in keys if len(held) < len(keys) else ():
            if not xml.holds(key[0]):
                report = await self._delete_alone(operation, ref, key, options, report)
        failed = {(failure.key, failure.version_id) for failure in report.failed}
        gone = [entry for entry in versions if (entry.key, entry.version_id) not in failed]
        markers = sum(entry.is_delete_marker for entry in gone)
        tally.markers += markers
        tally.versions += len(gone) - markers
        tally.failed += report.failed
        tally.tell()
        return gone[0] if gone else None

    async def _delete_alone(
        self,
        operation: str,
        ref: BucketRef,
        target: tuple[str, str | None],
        options: DeleteOptions,
        report: DeleteReport,
    ) -> DeleteReport:
        """Delete one more key, and add its result to `report`."""
        try:
            outcome = await delete_alone(self._engine, operation, ref.name, target, options)
        except S3Error as error:
            failure = KeyFailure(*target, error.s3_code, error.problem)
            return DeleteReport(report.deleted, (*report.failed, failure))
        return DeleteReport((*report.deleted, outcome), report.failed)

    async def _abort_uploads(self, operation: str, ref: BucketRef, tally: _Tally) -> None:
        async def attempt() -> tuple[UploadInfo, ...]:
            return await self._transport.list_uploads(ref.name, ListOptions(expected_bucket_owner=ref.owner))

        uploads = await self._runner.run(operation, ref.name, None, attempt)
        await run_all([self._abort(operation, ref, upload, tally) for upload in uploads], limit=_UPLOADS_AT_ONCE)

    async def _abort(self, operation: str, ref: BucketRef, upload: UploadInfo, tally: _Tally) -> None:
        options = UploadOptions(expected_bucket_owner=ref.owner)
        if await abort_upload(self._engine, ref.name, upload.key, upload.upload_id, options, operation=operation):
            tally.uploads += 1
            tally.tell()


def is_production(tags: Tags | None) -> bool:
    """Return whether these are the tags of a production bucket."""
    if tags is None:
        return False
    return any(name.lower() in _ENVIRONMENT_TAGS and value.lower() in PRODUCTION for name, value in tags.values.items())


def _not_deleted(operation: str, ref: BucketRef, failed: list[KeyFailure]) -> BatchError:
    failures = {
        f"{one.key} (version {one.version_id})": s3_error(
            operation=operation,
            status=403 if one.s3_code == "AccessDenied" else 0,
            s3_code=one.s3_code,
            message=one.message,
            bucket=ref.name,
            key=one.key,
        )
        for one in failed
    }
    first = next(iter(failures))
    return BatchError(
        f"{len(failures)} versions in bucket '{ref.name}' could not be deleted, the first is {first}",
        failures=dict(failures),
        operation=operation,
        bucket=ref.name,
        hint="object lock or a policy may protect them: see 'failures'",
    )
