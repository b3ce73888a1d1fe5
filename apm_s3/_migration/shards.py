"""Cuts a migration into ranges of keys, and runs each range separately with its own journal."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from apm_s3._manager import S3Manager
from apm_s3._migration.journal import Journal
from apm_s3._migration.listing import Bounds, Listing, NoCheckpoints
from apm_s3._migration.models import MigrationOptions, MigrationReport
from apm_s3._migration.plan import Task, open_task
from apm_s3._migration.run import MOST_SHOWN, Run
from apm_s3._migration.sides import Side
from apm_s3._s3.bulk.trees import FolderPlace, parse_place
from apm_s3.errors import InvalidOption, JournalRefused
from apm_s3.models import FileInfo


@dataclass(frozen=True, slots=True)
class S3Access:
    """How a worker reaches S3: with credentials from its own AWS chain. Holds no secrets."""

    endpoint_url: str | None = None
    region: str | None = None

    def manager(self) -> S3Manager:
        """Return a manager that is not open yet."""
        return S3Manager(endpoint_url=self.endpoint_url, region=self.region)


@dataclass(frozen=True, slots=True)
class Shard:
    """One range of a migration. It can be pickled if `transform_key` can."""

    source: str
    target: str
    source_access: S3Access
    target_access: S3Access
    rules: MigrationOptions
    bounds: Bounds
    journals: str | None

    def journal(self, identity: dict[str, str]) -> Path | None:
        """Return the path of the shard's journal: its name follows from `identity`, wherever the shard runs."""
        if self.journals is None:
            return None
        name = hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()[:24]
        return Path(self.journals) / f"{name}.journal"


def run_shard(shard: Shard) -> MigrationReport:
    """Run a shard in its own event loop. Blocks."""
    return asyncio.run(_run_shard(shard))


async def _run_shard(shard: Shard) -> MigrationReport:
    async with shard.source_access.manager() as one, shard.target_access.manager() as other:
        same = shard.source_access == shard.target_access
        task = await open_task(shard.source, shard.target, one, one if same else other, shard.rules)
        identity = {**task.identity(), "range": repr(shard.bounds)}
        path = shard.journal(identity)
        if path is not None:
            await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        try:
            return await _run(task, Journal(path, identity), shard)
        except JournalRefused:
            # Another task is running the same range: what it has moved will count as identical here.
            return await _run(task, Journal(None, identity), shard)


async def _run(task: Task, journal: Journal, shard: Shard) -> MigrationReport:
    async with journal:
        return await Run(task, journal, bounds=shard.bounds).run()


async def cut_source(task: Task, count: int) -> list[Bounds]:
    """List the source once and cut its keys into at most `count` ranges of about equally many objects.

    Raises:
        InvalidOption: the source is a directory.
    """
    side = task.source_side
    if side is None:
        raise InvalidOption("a directory cannot be split: other machines do not have it", hint="use migrate")
    return ranges_of(sorted(await _samples(side)), count)


async def _samples(side: Side) -> list[str]:
    found: list[str] = []
    cut = len(side.place.prefix)

    async def take(files: Sequence[FileInfo]) -> None:
        # Every hundredth key is enough to find the cuts, and takes little memory.
        found.extend(info.key[cut:] for info in files[::100])

    async def again() -> None:
        found.clear()

    await Listing(side.s3, side.place.bucket, side.place.prefix, NoCheckpoints(take, again), ordered=side.ordered).run()
    return found


def ranges_of(samples: Sequence[str], count: int) -> list[Bounds]:
    """Cut sorted `samples` into at most `count` ranges of about equally many. Pure."""
    step = max(len(samples) / count, 1.0)
    cuts = sorted({samples[int(number * step)] for number in range(1, count) if int(number * step) < len(samples)})
    edges: list[str | None] = [None, *cuts, None]
    return list(pairwise(edges))


def merged(reports: Sequence[MigrationReport], duration: float) -> MigrationReport:
    """Merge the reports of all ranges into one. Pure."""
    first = reports[0]
    return replace(
        first,
        objects=sum(one.objects for one in reports),
        moved=sum(one.moved for one in reports),
        identical=sum(one.identical for one in reports),
        vanished=sum(one.vanished for one in reports),
        verified=sum(one.verified for one in reports),
        trusted=sum(one.trusted for one in reports),
        failed=sum(one.failed for one in reports),
        bytes=sum(one.bytes for one in reports),
        failures=tuple(failure for one in reports for failure in one.failures)[:MOST_SHOWN],
        skipped=dict([item for one in reports for item in one.skipped.items()][:MOST_SHOWN]),
        resumed=any(one.resumed for one in reports),
        duration=duration,
    )


def check_shardable(source: str, target: str, rules: MigrationOptions) -> None:
    """Refuse migrations that cannot be done range by range.

    Raises:
        InvalidOption: a side is a directory, or `delete_extra`, `versions` or `bandwidth` is set.
    """
    if isinstance(parse_place(source), FolderPlace) or isinstance(parse_place(target), FolderPlace):
        raise InvalidOption("other machines do not have this directory", hint="use migrate")
    if rules.delete_extra or rules.versions:
        raise InvalidOption("delete_extra and versions need the whole prefix, not ranges", hint="use migrate")
    if rules.bandwidth is not None:
        raise InvalidOption("bandwidth limits one machine, not many", hint="omit it, or use migrate")
