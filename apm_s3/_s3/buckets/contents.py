"""The contents of a bucket: measured, and emptied in parallel batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apm_s3._naming import PRODUCTION
from apm_s3._paging import ListingProgress
from apm_s3._s3.buckets.requests import BucketRef
from apm_s3._s3.buckets.settings import BucketSettings
from apm_s3._s3.engine import Engine
from apm_s3._s3.objects.deletions import delete_alone
from apm_s3._s3.objects.listing import check_versions
from apm_s3._s3.objects.uploads import abort_upload
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
from apm_s3.models import (
    BucketUsage,
    DeleteReport,
    EmptyReport,
    FileVersion,
    KeyFailure,
    UploadInfo,
    Usage,
    VersionPage,
)
from apm_s3.options import DeleteOptions, ListOptions, UploadOptions
from apm_s3.options._bucket_settings import Tags

_PAGES_AT_ONCE = 8
_UPLOADS_AT_ONCE = 32

_ENVIRONMENT_TAGS = ("apm:environment", "environment", "env")

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
        await self._check_production(ref, confirm)
        options = DeleteOptions(
            mfa=mfa, bypass_governance=bypass_governance, expected_bucket_owner=ref.expected_bucket_owner
        )
        tally = _Tally(on_progress)
        await self._abort_uploads(ref, tally)
        known: FileVersion | None = None
        while True:
            before = tally.report()
            tally.failed.clear()
            first = await self._pass(ref, options, tally)
            # Every pass deletes something or is the last one: it stops at locked versions, and continues with new ones.
            if tally.report() == before:
                break
            if first is not None and first == known:
                raise IntegrityError(
                    "the server lists a version that it reported as deleted",
                    operation=ref.operation,
                    bucket=ref.name,
                    key=first.key,
                    hint="the server, or a proxy in front of it, does not delete as S3 does",
                )
            known = first
        if tally.failed:
            raise _not_deleted(ref, tally.failed)
        return tally.report()

    async def require_empty(self, ref: BucketRef) -> None:
        """Refuse a bucket that contains anything, if the server lets us look.

        DeleteBucket does so as well; but SeaweedFS deletes a versioned bucket together with its objects.

        Raises:
            BucketNotFound: it does not exist.
            BucketNotEmpty: it is not empty.
        """
        listing = ListOptions(max_keys=1, expected_bucket_owner=ref.expected_bucket_owner)

        async def attempt() -> VersionPage:
            return await self._transport.list_versions(ref.name, listing, None, None)

        try:
            page = await self._runner.run(ref.operation, ref.name, None, attempt)
        except (AccessDenied, UnsupportedByServer):
            return
        if page.versions:
            raise BucketNotEmpty(
                f"bucket '{ref.name}' is not empty: it contains '{page.versions[0].key}'",
                operation=ref.operation,
                bucket=ref.name,
            )

    async def _check_production(self, ref: BucketRef, confirm: str | None) -> None:
        try:
            tags = await self._settings.read(ref, Tags)
        except UnsupportedByServer:
            return
        if is_production(tags) and confirm != ref.name:
            raise InvalidOption(
                f"bucket '{ref.name}' is tagged as production: its contents would be lost permanently",
                operation=ref.operation,
                bucket=ref.name,
                hint=f"pass confirm='{ref.name}' to delete it anyway",
            )

    async def _pass(self, ref: BucketRef, options: DeleteOptions, tally: _Tally) -> FileVersion | None:
        """List all versions once, and delete each window of pages while the next one is listed.

        Returns:
            The first listed version that the server reported as deleted.
        """
        progress = ListingProgress(ref.operation, ref.name)
        window = await self._list(ref, progress, None, None)
        first: FileVersion | None = None
        while window.pages:
            work: list[Coroutine[Any, Any, Any]] = [
                self._delete(ref, page.versions, options, tally) for page in window.pages if page.versions
            ]
            if not window.ends:
                work.append(self._list(ref, progress, window.next_key, window.next_version))
            results = await run_all(work)
            deleted = results if window.ends else results[:-1]
            first = first or next((entry for entry in deleted if entry is not None), None)
            if window.ends:
                break
            window = results[-1]
        return first

    async def _list(self, ref: BucketRef, progress: ListingProgress, key: str | None, version: str | None) -> _Window:
        pages: list[VersionPage] = []
        listing = ListOptions(expected_bucket_owner=ref.expected_bucket_owner)

        async def attempt() -> VersionPage:
            return await self._transport.list_versions(ref.name, listing, key, version)

        while len(pages) < _PAGES_AT_ONCE:
            page = await self._runner.run(ref.operation, ref.name, None, attempt)
            check_versions(progress, page)
            pages.append(page)
            key, version = page.next_key, page.next_version
            if key is None:
                break
        return _Window(pages, key, version)

    async def _delete(
        self,
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

        report = await self._runner.run(ref.operation, ref.name, None, attempt) if held else DeleteReport((), ())
        for key in keys if len(held) < len(keys) else ():
            if not xml.holds(key[0]):
                report = await self._delete_alone(ref, key, options, report)
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
        ref: BucketRef,
        target: tuple[str, str | None],
        options: DeleteOptions,
        report: DeleteReport,
    ) -> DeleteReport:
        """Delete one more key, and add its result to `report`."""
        try:
            outcome = await delete_alone(self._engine, ref.operation, ref.name, target, options)
        except S3Error as error:
            failure = KeyFailure(*target, error.s3_code, error.problem)
            return DeleteReport(report.deleted, (*report.failed, failure))
        return DeleteReport((*report.deleted, outcome), report.failed)

    async def _abort_uploads(self, ref: BucketRef, tally: _Tally) -> None:
        async def attempt() -> tuple[UploadInfo, ...]:
            return await self._transport.list_uploads(
                ref.name, ListOptions(expected_bucket_owner=ref.expected_bucket_owner)
            )

        uploads = await self._runner.run(ref.operation, ref.name, None, attempt)
        await run_all([self._abort(ref, upload, tally) for upload in uploads], limit=_UPLOADS_AT_ONCE)

    async def _abort(self, ref: BucketRef, upload: UploadInfo, tally: _Tally) -> None:
        options = UploadOptions(expected_bucket_owner=ref.expected_bucket_owner)
        if await abort_upload(self._engine, ref.name, upload.key, upload.upload_id, options, operation=ref.operation):
            tally.uploads += 1
            tally.tell()


def is_production(tags: Tags | None) -> bool:
    """Return whether these are the tags of a production bucket."""
    if tags is None:
        return False
    return any(name.lower() in _ENVIRONMENT_TAGS and value.lower() in PRODUCTION for name, value in tags.values.items())


def _not_deleted(ref: BucketRef, failed: list[KeyFailure]) -> BatchError:
    failures = {
        f"{one.key} (version {one.version_id})": s3_error(
            operation=ref.operation,
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
        operation=ref.operation,
        bucket=ref.name,
        hint="object lock or a policy may protect them: see 'failures'",
    )


_PREFIXES_AT_ONCE = 16
_DEPTH = 2
"""Levels of folders that are listed separately, in parallel: tools and environments are on the second level."""
_MAX_FOLDERS = 32

_AREAS = ("configs", "live", "backups")
_AREAS_OF_TOOLS = ("configs", "live")


@dataclass
class _Count:
    objects: int = 0
    bytes: int = 0

    def add(self, version: FileVersion) -> None:
        self.objects += 1
        self.bytes += version.size

    def usage(self) -> Usage:
        return Usage(self.objects, self.bytes)


@dataclass
class _Sums:
    prefixes: tuple[str, ...]
    total: _Count = field(default_factory=_Count)
    noncurrent: _Count = field(default_factory=_Count)
    markers: int = 0
    classes: defaultdict[str, _Count] = field(default_factory=lambda: defaultdict(_Count))
    environments: defaultdict[str, _Count] = field(default_factory=lambda: defaultdict(_Count))
    tools: defaultdict[str, _Count] = field(default_factory=lambda: defaultdict(_Count))

    def add(self, versions: Iterable[FileVersion]) -> None:
        for version in versions:
            if version.is_delete_marker:
                self.markers += 1
                continue
            environment, tool = belongs_to(version.key, self.prefixes)
            self.total.add(version)
            self.classes[version.storage_class or "STANDARD"].add(version)
            self.environments[environment].add(version)
            self.tools[tool].add(version)
            if not version.is_latest:
                self.noncurrent.add(version)

    def report(self, bucket: str) -> BucketUsage:
        return BucketUsage(
            bucket,
            self.total.usage(),
            self.noncurrent.usage(),
            self.markers,
            _usages(self.classes),
            _usages(self.environments),
            _usages(self.tools),
        )


async def measure(engine: Engine, ref: BucketRef, prefixes: Sequence[str], timeout: float | None) -> BucketUsage:
    """Count the contents of the bucket, including old versions."""
    tally = _Sums(tuple(sorted(prefixes, key=len, reverse=True)))
    listing = _Listing(engine, ref, timeout, tally)
    folders = [""]
    for _ in range(_DEPTH):
        found = await run_all([listing.level(folder) for folder in folders], limit=_PREFIXES_AT_ONCE)
        folders = [inner for inners in found for inner in inners]
    await run_all([listing.everything(folder) for folder in folders], limit=_PREFIXES_AT_ONCE)
    return tally.report(ref.name)


@dataclass(frozen=True)
class _Listing:
    engine: Engine
    ref: BucketRef
    timeout: float | None
    tally: _Sums

    async def level(self, folder: str) -> tuple[str, ...]:
        """Count the objects directly in a folder, and return its subfolders; if there are many, count everything."""
        options = ListOptions(prefix=folder, delimiter="/", expected_bucket_owner=self.ref.expected_bucket_owner)
        page = await self._page(options, None, None)
        if page.next_key is not None or len(page.prefixes) > _MAX_FOLDERS:
            await self.everything(folder)
            return ()
        self.tally.add(page.versions)
        return page.prefixes

    async def everything(self, folder: str) -> None:
        """Count everything under the folder."""
        options = ListOptions(prefix=folder, expected_bucket_owner=self.ref.expected_bucket_owner)
        key: str | None = None
        version: str | None = None
        progress = ListingProgress(self.ref.operation, self.ref.name)
        while True:
            page = await self._page(options, key, version)
            check_versions(progress, page)
            self.tally.add(page.versions)
            key, version = page.next_key, page.next_version
            if key is None:
                return

    async def _page(self, options: ListOptions, key: str | None, version: str | None) -> VersionPage:
        async def attempt() -> VersionPage:
            return await self.engine.transport.list_versions(self.ref.name, options, key, version)

        return await self.engine.runner.run(self.ref.operation, self.ref.name, None, attempt, timeout=self.timeout)


def belongs_to(key: str, prefixes: Sequence[str]) -> tuple[str, str]:
    """Return the environment and tool that `key` belongs to, or "" for each. Pure."""
    for prefix in prefixes:
        if not key.startswith(prefix):
            continue
        area, *rest = key[len(prefix) :].split("/")
        if area in _AREAS and len(rest) > 1:
            tool = rest[1] if area in _AREAS_OF_TOOLS and len(rest) > 2 else ""
            return rest[0], tool
    return "", ""


def _usages(counts: Mapping[str, _Count]) -> dict[str, Usage]:
    return {name: counts[name].usage() for name in sorted(counts)}
