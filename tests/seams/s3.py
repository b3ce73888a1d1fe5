"""Inside a manager: the engine, retries, the pool, sources of uploads, trees of files, and bucket operations."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from apm_s3 import S3ConnectionPool, S3Manager, S3Settings
from apm_s3._backoff import Backoff, spread
from apm_s3._manager import make_cache
from apm_s3._migration.sync import _are_ordered as are_compared_in_order
from apm_s3._migration.sync import copying
from apm_s3._migration.trees import Entry, Folder, Patterns, S3Place, compared, remove_files
from apm_s3._s3 import batch as _batch
from apm_s3._s3 import retry as _retry
from apm_s3._s3.buckets.apm_buckets import apm_lifecycle, apm_policy
from apm_s3._s3.buckets.contents import belongs_to
from apm_s3._s3.buckets.replication import permissions_policy, trust_policy
from apm_s3._s3.buckets.requests import BucketRef, bucket_ref
from apm_s3._s3.engine import Engine
from apm_s3._s3.objects.sources import PIECE, MemorySource, PathSource, StreamReader, open_path
from apm_s3._s3.pool import StreamSlot
from apm_s3._s3.retry import RetryBudget, is_transient, pause_after, with_retries
from apm_s3._s3.runner import Runner
from apm_s3._s3.transports.base import ControlPlane, ObjectTransport
from apm_s3.options._buckets import CLASS_ORDER
from apm_s3.testing._memory import MemoryBucket, Verb


class VerifyingSettings(S3Settings):
    """Settings for servers that verify checksums, and are not asked whether they do."""

    _known_to_verify = True


def stop_the_clock_of_retries(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """Let no time pass for the loop that retries."""
    monkeypatch.setattr(_retry, "time", SimpleNamespace(monotonic=lambda: now))


def gather_deletions_for(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let a batch wait only `seconds` for more deletions that fit into one request."""
    monkeypatch.setattr(_batch, "LINGER", seconds)


def buckets_on(transport: ObjectTransport, control: ControlPlane, settings: S3Settings) -> S3Manager:
    """Return a manager whose bucket operations are on `control`, which may fail when it is told to."""
    pool = S3ConnectionPool(16)
    engine = Engine(transport, control, Runner(settings, pool), pool, settings, make_cache())
    s3 = S3Manager(settings=settings)
    s3._engine = lambda: engine
    return s3


def forget_the_server(s3: S3Manager) -> None:
    """Let bucket operations never learn which server answers."""
    s3._parts.requests.capabilities.learn_server = lambda response: None  # type: ignore[method-assign]


class ManagerOn(S3Manager):
    """A manager whose objects are behind the transport that it is given."""

    def __init__(self, transport: object, settings: S3Settings, **arguments: Any) -> None:
        super().__init__(region="us-east-1", settings=settings, **arguments)
        self._given = transport

    def _make_transport(self, clients: object) -> ObjectTransport:
        return cast("ObjectTransport", self._given)


def transport_of(s3: S3Manager) -> Any:
    """Return what an open manager sends its requests through."""
    return s3._engine().transport


def iterations_of(s3: S3Manager) -> int:
    """Return how many listings of an open manager are under way."""
    return len(s3._engine().tasks)


def let_deadlines_pass(s3: S3Manager) -> None:
    """End all calls of `s3` as if their time were over, at a moment that no busy machine can move."""
    s3._engine().runner._deadlines.expire_all()


def spend_all_retries(s3: S3Manager) -> None:
    """Leave no retry in the budget of a manager."""
    s3._engine().runner.budget.tokens = 0.0


def pretend_to_be_slowed_down(s3: S3Manager, times: int) -> None:
    """Let S3 have asked a manager so often to send fewer requests."""
    s3.pool._slowdowns = times
