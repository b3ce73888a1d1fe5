"""The methods of `ConfigStore` that look after what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from apm_s3.configs.fsck import Checker, FsckReport
from apm_s3.configs.garbage import GRACE, Collector, GarbageReport
from apm_s3.configs.repair import Repairer, RepairReport
from apm_s3.naming import check_environment


class CareMethods:
    """Garbage, damage, status. A part of `ConfigStore`."""

    _collector: Collector
    _checker: Checker
    _repairer: Repairer

    async def collect_garbage(
        self, environment: str, *, keep_revisions: int, older_than: timedelta = GRACE, dry_run: bool = False
    ) -> GarbageReport:
        """Delete old revisions, and what was left by writes and backups that were cut short.

        Args:
            keep_revisions: the newest so many stay, and everything younger than `older_than`, and the one marked good.
            older_than: at least 24 hours.
            dry_run: only say what would be deleted.

        Raises:
            InvalidOption: less than one revision, or less than 24 hours.
            ConfigNotFound: there is no such environment.
            EnvironmentFrozen: nothing is given up while it is frozen.
            StoreDamaged: a release that is kept cannot be read; nothing was deleted.
            BatchError: some objects could not be deleted; the others are.
        """
        return await self._collector.collect(
            check_environment(environment), keep_revisions=keep_revisions, older_than=older_than, dry_run=dry_run
        )

    async def fsck(self, environment: str) -> FsckReport:
        """Read and compare every document, blob and copy of an environment. Nothing is changed.

        Raises:
            ConfigNotFound: there is no such environment.
        """
        return await self._checker.check(check_environment(environment))

    async def repair(self, environment: str, *, choose: Mapping[str, str] | None = None) -> RepairReport:
        """Mend what `fsck` finds, and bring `live/` up to date. Harmless where nothing is wrong.

        The reference document is taken from the version that was written last, where the bucket keeps versions, and
        lost objects from theirs. What cannot be had that way is asked for.

        Args:
            choose: by tool, the key of the release document that is to be taken up as a new revision.

        Raises:
            StoreDamaged: it cannot be known what was committed last; the message offers what there is.
            ConfigNotFound: there is no such environment or release.
            FormatTooNew: a later version of this library wrote it.
        """
        return await self._repairer.repair(check_environment(environment), choose or {})
