"""`ConfigStore`: the configurations of a bucket."""

from __future__ import annotations

from apm_s3._naming import check_environment
from apm_s3.configs._backup_methods import BackupMethods
from apm_s3.configs._backups.backups import Backups
from apm_s3.configs._backups.restore import Restorer
from apm_s3.configs._care.fsck import Checker
from apm_s3.configs._care.garbage import Collector
from apm_s3.configs._care.repair import Repairer
from apm_s3.configs._care.status import StatusReader
from apm_s3.configs._care_methods import CareMethods
from apm_s3.configs._deploy import Side
from apm_s3.configs._deploy_methods import DeployMethods
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.calls import Afterwards
from apm_s3.configs._protocol.commit import Committer
from apm_s3.configs._protocol.keys import check_prefix
from apm_s3.configs._protocol.live import Live
from apm_s3.configs._protocol.objects import ObjectStore, Prefixed
from apm_s3.configs._protocol.probe import Probe
from apm_s3.configs._protocol.publish import Publisher
from apm_s3.configs._protocol.reader import Reader
from apm_s3.configs._read_methods import ReadMethods
from apm_s3.configs._views import Views
from apm_s3.configs._watch import Watches
from apm_s3.configs._write_methods import WriteMethods


class ConfigStore(WriteMethods, ReadMethods, DeployMethods, BackupMethods, CareMethods):
    """Versioned configurations of five tools, in environments, below one prefix of one bucket.

    Every change makes a new revision and becomes visible in one atomic step, or not at all. Stateless but for what it
    learned of the endpoint: any number of stores, processes and machines can work on one bucket at once.

    Args:
        objects: the bucket.
        prefix: where in the bucket everything lies; teams can share one. Ends with '/', or is empty.
        failover: write although the bucket is a replica. Only once the original is lost for good: the two would part.
        require_conditional_writes: False lets an endpoint be used that ignores conditional headers: two writers can
            then overwrite each other's commits.
        deadline: seconds for a whole write, where it has no `timeout` of its own.
    """

    def __init__(
        self,
        objects: ObjectStore,
        prefix: str = "",
        *,
        failover: bool = False,
        require_conditional_writes: bool = True,
        deadline: float = 60.0,
    ) -> None:
        self.bucket: str = objects.bucket
        self.prefix: str = check_prefix(prefix)
        self._objects: ObjectStore = Prefixed(objects, prefix) if prefix else objects
        self._reader = Reader(self._objects)
        self._views = Views(self._objects, self._reader)
        probe = Probe(self._objects, needed=require_conditional_writes)
        self._afterwards = Afterwards()
        self._committer = Committer(
            self._objects, self._reader, probe, self._afterwards, failover=failover, deadline=deadline
        )
        self._live = Live(self._objects, self._reader)
        self._publisher = Publisher(self._objects, self._reader, self._committer, self._live, self._afterwards)
        self._backups = Backups(self._objects, self._reader)
        self._restorer = Restorer(self._objects, self._reader, self._publisher, self._views, self._backups)
        self._collector = Collector(self._objects, self._reader, self._committer)
        self._checker = Checker(self._objects, self._reader)
        self._repairer = Repairer(self._objects, self._reader, self._checker, self._live, self._backups)
        self._status = StatusReader(self._objects, self._reader, self._backups)
        self._watches = Watches(self._objects, self._reader)
        self._side = Side(self.bucket, prefix, self._reader, self._publisher)

    @staticmethod
    def new_write_id(environment: str) -> str:
        """An id for a write in `environment`, to be kept before the write is made: for `write_id=` and `outcome`."""
        return keys.new_write_id(check_environment(environment))

    @property
    def has_unfinished_writes(self) -> bool:
        """Whether commits, or refreshes of `live/`, go on whose callers were cancelled or had no more time."""
        return self._afterwards.unfinished

    async def finish(self, *, timeout: float = 30.0) -> None:
        """Wait for the commits, and the refreshes of `live/`, whose callers were cancelled or had no more time.

        Closing an `S3Manager` does that for all its stores. What has not ended after `timeout` seconds is cancelled.
        """
        await self._afterwards.finish(timeout)

    def __repr__(self) -> str:
        return f"ConfigStore(bucket={self.bucket!r}, prefix={self.prefix!r})"
