"""Measures the contents of a bucket by storage class, environment and tool."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from apm_s3._paging import ListingProgress
from apm_s3._s3.buckets.requests import BucketRef
from apm_s3._s3.engine import Engine
from apm_s3._s3.objects.listing import check_versions
from apm_s3._tasks import run_all
from apm_s3.models import BucketUsage, FileVersion, Usage, VersionPage
from apm_s3.options._reads import ListOptions

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
class _Tally:
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
    tally = _Tally(tuple(sorted(prefixes, key=len, reverse=True)))
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
    tally: _Tally

    async def level(self, folder: str) -> tuple[str, ...]:
        """Count the objects directly in a folder, and return its subfolders; if there are many, count everything."""
        options = ListOptions(prefix=folder, delimiter="/", expected_bucket_owner=self.ref.owner)
        page = await self._page(options, None, None)
        if page.next_key is not None or len(page.prefixes) > _MAX_FOLDERS:
            await self.everything(folder)
            return ()
        self.tally.add(page.versions)
        return page.prefixes

    async def everything(self, folder: str) -> None:
        """Count everything under the folder."""
        options = ListOptions(prefix=folder, expected_bucket_owner=self.ref.owner)
        key: str | None = None
        version: str | None = None
        progress = ListingProgress("bucket_usage", self.ref.name)
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

        return await self.engine.runner.run("bucket_usage", self.ref.name, None, attempt, timeout=self.timeout)


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
