"""Inside a migration: its journal, listings in ranges, schedule, and the parts that objects are sent in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from apm_s3 import S3Manager, TransferSettings
from apm_s3._migration import moving as _moving
from apm_s3._migration import run as _run
from apm_s3._migration.journal import Journal, Listed, Outcome, Row, Span, State, Store
from apm_s3._migration.listing import Checkpoints, Listing, Source, alphabet_of, ends, list_target, middle, width
from apm_s3._migration.models import MigrationKeywords, fingerprint
from apm_s3._migration.moving import Bandwidth, Memory, Moved, Schedule, reported_digests
from apm_s3._migration.plan import Task
from apm_s3._migration.run import Run
from apm_s3._migration.sides import differences, kept_options
from apm_s3._migration.trees import S3Place
from apm_s3._migration.versions import already_there
from apm_s3.migration_dask import Shard, merged, ranges_of, run_shard
from tests.seams.wire import allow_small_parts


def send_in_small_parts(monkeypatch: pytest.MonkeyPatch, *managers: S3Manager) -> None:
    """Send everything of more than 100 bytes in parts."""
    allow_small_parts(monkeypatch, 100)
    for name in ("_ONE_PUT", "_UNPARTED", "MIB"):
        monkeypatch.setattr(_moving, name, 100)
    transfer = TransferSettings()
    object.__setattr__(transfer, "part_size", 300_000)
    for s3 in managers:
        object.__setattr__(s3._engine().settings, "transfer", transfer)


def list_the_target_late(monkeypatch: pytest.MonkeyPatch, wait: Callable[[], Awaitable[Any]]) -> None:
    """List what is at the target only after `wait`, for which nothing else waits."""

    async def late(*arguments: Any) -> None:
        await wait()
        await list_target(*arguments)

    monkeypatch.setattr(_run, "_PATIENCE", 0.0)
    monkeypatch.setattr(_run, "list_target", late)
