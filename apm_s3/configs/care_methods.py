"""The methods of `ConfigStore` that look after what is stored."""

from __future__ import annotations

from datetime import timedelta

from apm_s3.configs.garbage import GRACE, Collector, GarbageReport
from apm_s3.naming import check_environment


class CareMethods:
    """Garbage, damage, status. A part of `ConfigStore`."""

    _collector: Collector

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
