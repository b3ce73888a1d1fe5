"""The methods of `ConfigStore` that look after what is stored."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from datetime import timedelta
from types import NoneType

from apm_s3._naming import check_environment
from apm_s3._tools import Tool
from apm_s3.configs._care.fsck import Checker, FsckReport
from apm_s3.configs._care.garbage import Collector, GarbageReport, WantedRetention
from apm_s3.configs._care.repair import Repairer, RepairReport
from apm_s3.configs._care.status import StatusReader, ToolStatus
from apm_s3.configs._content.sources import check_log_notes, check_tools, check_type
from apm_s3.configs._models import Release
from apm_s3.configs._record import LogEntry, Note
from apm_s3.configs._views import Views
from apm_s3.configs._watch import Watches
from apm_s3.errors import InvalidOption


class CareMethods:
    """Garbage, damage, status. A part of `ConfigStore`."""

    _collector: Collector
    _checker: Checker
    _repairer: Repairer
    _status: StatusReader
    _views: Views
    _watches: Watches

    async def collect_garbage(
        self,
        environment: str,
        *,
        keep_revisions: int | None = None,
        older_than: timedelta | None = None,
        keep_log: timedelta | None = None,
        author: str | None = None,
        message: str = "",
        dry_run: bool = False,
    ) -> GarbageReport:
        """Delete old revisions, the old part of the log, and what writes and backups left that were cut short.

        Args:
            keep_revisions: the newest so many stay, and everything younger than `older_than`, and the one marked good.
                This and the next two: by default what the environment's settings say; never less.
            older_than: at least 24 hours, which is the default.
            keep_log: how long the log's entries stay, a year by default, at least 24 hours. They are deleted by the
                dozen, so that some stay longer.
            author, message: kept in the log.
            dry_run: only say what would be deleted; a frozen environment can be asked, too.

        Raises:
            InvalidOption: less than one revision, less than 24 hours, or less than the environment's settings keep.
            ConfigNotFound: there is no such environment.
            EnvironmentFrozen: nothing is given up while it is frozen.
            StoreDamaged: a release that is kept cannot be read; nothing was deleted.
            BatchError: some objects could not be deleted; the others are.
        """
        check_type("keep_revisions", keep_revisions, int, NoneType)
        check_type("older_than", older_than, timedelta, NoneType)
        check_type("keep_log", keep_log, timedelta, NoneType)
        note = Note(action="collect", author=author, message=check_log_notes(author, message))
        wanted = WantedRetention(keep_revisions, older_than, keep_log)
        return await self._collector.collect(check_environment(environment), wanted, note, dry_run=dry_run)

    async def fsck(self, environment: str) -> FsckReport:
        """Read and compare every document, blob and copy of an environment. Nothing is changed.

        Raises:
            ConfigNotFound: there is no such environment.
        """
        return await self._checker.check(check_environment(environment))

    async def repair(
        self,
        environment: str,
        *,
        choose: Mapping[str, str] | None = None,
        author: str | None = None,
        message: str = "",
    ) -> RepairReport:
        """Mend what `fsck` finds, and bring `live/` up to date. Harmless where nothing is wrong.

        The reference document is taken from the version that was written last, where the bucket keeps versions; lost
        objects from their older versions, from other blobs, live copies and backups with the same SHA-256. Old
        revisions that stay damaged are marked so; all others are kept. Only where a tool's current release is lost,
        or the reference document, the caller is asked, after everything else was mended.

        Args:
            choose: by tool, the key of the release document whose files become a new revision, where that is asked.
            author, message: kept in the log; without a message, what was done.

        Raises:
            StoreDamaged: a choice is needed; the message offers what there is, and says what was done.
            ConfigNotFound: there is no such environment or release.
            FormatTooNew: a later version of this library wrote it.
        """
        check_type("choose", choose, Mapping, NoneType)
        check_log_notes(author, message)
        return await self._repairer.repair(check_environment(environment), choose or {}, author=author, message=message)

    async def status(self, environment: str | None = None) -> tuple[ToolStatus, ...]:
        """Revision, age, author, drift, good mark and last backup of every tool, in one environment or in all.

        Costs one request for each environment and a few for each tool, whatever the length of their histories.

        Raises:
            ConfigNotFound: there is no such environment.
            StoreDamaged: a current release is not what was stored.
        """
        names = await self._views.environments() if environment is None else [check_environment(environment)]
        return tuple(await self._status.status(names))

    def watch(
        self, environment: str, tools: Collection[Tool] | None = None, *, interval: float = 10.0
    ) -> AsyncGenerator[Release, None]:
        """The current releases, then each new one: `async for release in store.watch("production")`.

        It asks at most once an interval (with some jitter), however many watch the environment through this store.
        While nothing changes, the answer is empty (304), but AWS bills the GET like any other: 1 000 processes that
        ask every 10 seconds send 8.6 million GETs a day. An application that receives S3's events (EventBridge, SQS)
        can watch with a long interval and call `notify_changed` instead. Outages are waited out. Who is slow misses
        revisions in between, but never the last one. A removed configuration is a release without files.

        Args:
            tools: by default all.
            interval: seconds; the shortest of all watchers of the environment counts.

        Raises:
            InvalidRequest: no such tool, a name that cannot be, or an interval that is not more than 0.
            ApmS3Error: the first request was refused for good.
        """
        check_environment(environment)
        check_type("interval", interval, int, float)
        checked = check_tools(tools)
        wanted = None if checked is None else frozenset(checked)
        if not interval > 0:
            raise InvalidOption("interval is not more than 0 seconds", hint="10 suits most")
        return self._watches.watch(environment, wanted, interval)

    def notify_changed(self, environment: str) -> None:
        """Let the watchers of an environment, in this process and of this store, ask now and not in an interval.

        For events of S3 about `configs/{environment}/current.json`, or any other hint from outside. Costs one
        conditional GET, however many watch; hints that come while it is under way cost one more. Nothing happens
        where nobody watches.

        Raises:
            InvalidKey: a name that no environment can have.
        """
        self._watches.notify(check_environment(environment))

    def watch_log(
        self, environment: str, *, since: int | None = None, interval: float = 10.0
    ) -> AsyncGenerator[LogEntry, None]:
        """Each new entry of the log, in order and without a gap: `async for entry in store.watch_log("production")`.

        An entry tells all that its commit changed. While nothing changes it costs one conditional GET an interval,
        which AWS bills like any GET, however many watch the environment in this process; otherwise one GET for up to
        64 commits, and none for other objects. A watcher that was away for longer reads stored parts of the log, too.

        Args:
            since: the sequence of the last entry that is known already; None: only what comes from now on.
            interval: seconds; the shortest of all watchers of the environment counts.

        Raises:
            InvalidRequest: a name that cannot be, or an interval that is not more than 0.
            StoreDamaged: an entry is missing, or is not what was written.
            ApmS3Error: the first request was refused for good.
        """
        check_environment(environment)
        check_type("since", since, int, NoneType)
        check_type("interval", interval, int, float)
        if not interval > 0:
            raise InvalidOption("interval is not more than 0 seconds", hint="10 suits most")
        return self._watches.watch_log(environment, since, interval)
