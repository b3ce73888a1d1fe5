"""Shared parts of the manager's bucket methods."""

from __future__ import annotations

from apm_s3._s3.buckets.contents import BucketEmptying
from apm_s3._s3.buckets.plans import BucketPlans
from apm_s3._s3.buckets.reads import BucketReads, CachedBuckets
from apm_s3._s3.buckets.requests import BucketRequests
from apm_s3._s3.buckets.settings import BucketSettings
from apm_s3._s3.engine import Engine


class BucketParts:
    """The parts of an open manager that only bucket methods need."""

    def __init__(self, engine: Engine) -> None:
        self.requests = BucketRequests(engine.control, engine.runner, engine.cache)
        self.settings = BucketSettings(self.requests)
        self.reads = BucketReads(self.requests, self.settings)
        self.cached = CachedBuckets(self.reads, engine.cache, engine.policies)
        self.plans = BucketPlans(self.requests, self.settings)
        self.emptying = BucketEmptying(self.settings, engine)
