"""What the groups of methods about buckets share."""

from __future__ import annotations

from apm_s3._s3.buckets.emptying import BucketEmptying
from apm_s3._s3.buckets.memory import BucketMemory
from apm_s3._s3.buckets.plans import BucketPlans
from apm_s3._s3.buckets.reads import BucketReads
from apm_s3._s3.buckets.requests import BucketRef, BucketRequests
from apm_s3._s3.buckets.settings import SettingOperations
from apm_s3._s3.engine import Engine, Operations, check_bucket


class BucketParts:
    """The parts of one open manager that only buckets need."""

    def __init__(self, engine: Engine) -> None:
        self.requests = BucketRequests(engine.control, engine.runner, engine.cache)
        self.settings = SettingOperations(self.requests)
        self.reads = BucketReads(self.requests, self.settings)
        self.memory = BucketMemory(self.reads, engine.cache, engine.policies)
        self.plans = BucketPlans(self.requests, self.settings)
        self.emptying = BucketEmptying(self.settings, engine)


class BucketGroup(Operations):
    """A group of the manager's methods about buckets."""

    _parts_made: BucketParts | None = None

    @property
    def _parts(self) -> BucketParts:
        engine = self._engine
        if self._parts_made is None:
            self._parts_made = BucketParts(engine)
        return self._parts_made


def bucket_ref(name: str, region: str | None = None, owner: str | None = None) -> BucketRef:
    """The bucket, if there can be one of that name.

    Raises:
        InvalidBucketName: it cannot be a bucket's name.
    """
    check_bucket(name)
    return BucketRef(name, region, owner)
