"""The state of a manager's pool and cache, and warm-ups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from apm_s3.errors import ApmS3Error


@dataclass(frozen=True, slots=True)
class CacheStats:
    """The current state of a cache, and its totals since it was created.

    Attributes:
        entries, bytes: what is cached now; the bytes are an estimate that includes Python's objects.
        ttl_seconds: how long mutable entries are fresh; None if only immutable data is cached.
        hits: calls served without a request to S3.
        misses: calls that needed a request; `coalesced` of them shared the request of another call.
        hit_rate: the fraction of hits, from 0 to 1.
        evictions: entries removed because of the limits.
    """

    entries: int
    max_entries: int
    bytes: int
    max_bytes: int
    ttl_seconds: float | None
    hits: int
    misses: int
    hit_rate: float
    evictions: int
    coalesced: int


@dataclass(frozen=True, slots=True)
class PoolStats:
    """The current state of a pool, and its totals since it was created.

    Attributes:
        max_concurrency: the configured limit.
        limit: the current limit, which is lower while S3 asks to slow down.
        in_use: slots in use; `lent` of them belong to bodies that are not being read.
        waiting: calls that currently wait for a slot.
        acquired: total number of slots granted; `waited` of them after waiting.
        wait_seconds, longest_wait: total and longest wait, in seconds.
        slowdowns: how often the limit was lowered.
    """

    max_concurrency: int
    limit: int
    in_use: int
    lent: int
    waiting: int
    acquired: int
    waited: int
    wait_seconds: float
    longest_wait: float
    slowdowns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmupPlan:
    """What `warm_cache` reads.

    Attributes:
        region: of the buckets.
        buckets: buckets whose details are read; needs `S3Settings.cache`.
        files: objects, by bucket; needs `CacheSettings.objects`.
        configs: the environments whose configurations are read: (bucket, environment), or (bucket, environment, prefix)
            of a store that has a prefix.
    """

    region: str | None = None
    buckets: Sequence[str] = ()
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    configs: Sequence[tuple[str, str] | tuple[str, str, str]] = ()


@dataclass(frozen=True, slots=True)
class WarmupReport:
    """The result of a warm-up. Failures are not cached: the next call sends a request again.

    Attributes:
        warmed: what was read: "bucket", "bucket/key", and "bucket: environment" of configurations, or
            "bucket/prefix: environment".
        failed: what could not be read, and why.
    """

    warmed: tuple[str, ...]
    failed: Mapping[str, ApmS3Error]

    @property
    def ok(self) -> bool:
        """Return whether everything was read."""
        return not self.failed
