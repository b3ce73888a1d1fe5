"""`ConfigStore`: the configurations of a bucket."""

from __future__ import annotations

import builtins
import os
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType, NoneType

from apm_s3._naming import check_environment
from apm_s3._plans import PlanDocument
from apm_s3._tools import Tool
from apm_s3.configs._asked import Asked, AskedBeside
from apm_s3.configs._backups.backups import Backups
from apm_s3.configs._backups.manifest import Backup
from apm_s3.configs._backups.plans import RestorePlan
from apm_s3.configs._backups.restore import DRILL, Restorer
from apm_s3.configs._care.fsck import Checker, FsckReport
from apm_s3.configs._care.garbage import Collector, GarbageReport, WantedRetention
from apm_s3.configs._care.repair import Repairer, RepairReport
from apm_s3.configs._care.status import StatusReader, ToolStatus
from apm_s3.configs._content.diff import BundleDiff
from apm_s3.configs._content.directories import EXCLUDED, read_directory, write_directory
from apm_s3.configs._content.overlays import OVERLAY, is_reserved
from apm_s3.configs._content.sources import (
    Source,
    check_log_notes,
    check_notes,
    check_revisions,
    check_tool,
    check_tools,
    check_type,
)
from apm_s3.configs._deploy.carry_out import deploy
from apm_s3.configs._deploy.planning import make_plan
from apm_s3.configs._deploy.plans import DeployPlan, DeployResult, Side
from apm_s3.configs._models import Bundle, CommitOutcome, ConfigFile, Release
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.calls import Afterwards
from apm_s3.configs._protocol.commit import Committer
from apm_s3.configs._protocol.keys import check_prefix
from apm_s3.configs._protocol.live import Live
from apm_s3.configs._protocol.memory import Memory
from apm_s3.configs._protocol.objects import ObjectStore, Prefixed
from apm_s3.configs._protocol.outcome import find_outcome
from apm_s3.configs._protocol.probe import Probe
from apm_s3.configs._protocol.publish import Publisher
from apm_s3.configs._protocol.reader import Reader
from apm_s3.configs._protocol.repeated import request_hash
from apm_s3.configs._record import LogEntry, Note
from apm_s3.configs._settings import EnvironmentSettings, SettingsChange, check_rule_names
from apm_s3.configs._uploads import Given, UploadTerms
from apm_s3.configs._views import Views, compare
from apm_s3.configs._watch import Watches
from apm_s3.configs._writes import Writer
from apm_s3.errors import InvalidOption
from apm_s3.reports import ValidationReport
from apm_s3.validators._validate import Level


class ConfigStore:
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
        memory: what is remembered of it; an `S3Manager` gives its own.
    """

    def __init__(
        self,
        objects: ObjectStore,
        prefix: str = "",
        *,
        failover: bool = False,
        require_conditional_writes: bool = True,
        deadline: float = 60.0,
        memory: Memory | None = None,
    ) -> None:
        self.bucket: str = objects.bucket
        self.prefix: str = check_prefix(prefix)
        self._objects: ObjectStore = Prefixed(objects, prefix) if prefix else objects
        self._memory = memory
        self._reader = Reader(self._objects, memory)
        # What looks for damage, or deletes, rests on what is in the bucket now.
        seen_now = Reader(self._objects)
        self._views = Views(self._objects, self._reader, memory)
        self._afterwards = Afterwards()
        probe = Probe(self._objects, self._afterwards, needed=require_conditional_writes)
        self._committer = Committer(
            self._objects, self._reader, probe, self._afterwards, failover=failover, deadline=deadline
        )
        self._live = Live(self._objects, self._reader)
        self._publisher = Publisher(self._objects, self._reader, self._committer, self._live, self._afterwards)
        self._backups = Backups(self._objects, self._reader)
        self._restorer = Restorer(self._objects, self.prefix, self._reader, self._publisher, self._views, self._backups)
        self._collector = Collector(self._objects, seen_now, self._committer)
        self._checker = Checker(self._objects, seen_now)
        self._repairer = Repairer(self._objects, seen_now, self._checker, self._live, self._backups, self._afterwards)
        self._status = StatusReader(self._objects, self._reader, self._backups)
        self._watches = Watches(self._objects, self._reader)
        self._side = Side(self.bucket, prefix, self._reader, self._publisher)
        self._writer = Writer(self._reader, self._views, self._committer, self._publisher)

    def __repr__(self) -> str:
        return f"ConfigStore(bucket={self.bucket!r}, prefix={self.prefix!r})"

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

    # Reading ---------------------------------------------------------------------------------------------------------

    async def download(
        self,
        tool: Tool,
        environment: str,
        name: str | None = None,
        *,
        revision: int | None = None,
        refresh: bool = False,
    ) -> ConfigFile:
        """One file, by default the main one, of the current revision or an older one.

        Args:
            refresh: ask what is current now, whatever age `CacheSettings.current_staleness` accepts.

        Raises:
            ConfigNotFound: there is no such environment, configuration, revision or file.
            StoreDamaged: it is not what was stored.
        """
        if self._memory is not None and revision is None and not refresh:
            try:
                file = self._memory.file(tool, environment, name)
            except TypeError:  # what cannot be looked up is refused below
                file = None
            if file is not None:
                return file
        check_revisions(revision=revision)
        return await self._views.file(check_tool(tool), check_environment(environment), name, revision, refresh=refresh)

    async def download_bundle(
        self, tool: Tool, environment: str, *, revision: int | None = None, refresh: bool = False
    ) -> Bundle:
        """All files of the current revision or an older one.

        Args:
            refresh: see `download`.

        Raises:
            ConfigNotFound: there is no such environment, configuration or revision.
            StoreDamaged: it is not what was stored.
        """
        check_revisions(revision=revision)
        return await self._views.bundle(check_tool(tool), check_environment(environment), revision, refresh=refresh)

    async def download_environment(
        self, environment: str, tools: Sequence[Tool] | None = None, *, refresh: bool = False
    ) -> dict[str, Bundle]:
        """The bundles of all tools, or of `tools`, as they were at one moment: the states of one and the same commit.

        Args:
            refresh: see `download`.

        Raises:
            ConfigNotFound: there is no such environment, or one of `tools` is not in it.
            StoreDamaged: it is not what was stored.
        """
        wanted = check_tools(tools)
        return await self._views.environment(check_environment(environment), wanted, refresh=refresh)

    async def environments(self) -> tuple[str, ...]:
        """The environments that there are, by name."""
        return tuple(await self._views.environments())

    async def list(self, environment: str | None = None) -> tuple[Release, ...]:
        """The current release of each tool, in one environment or in all of them."""
        name = None if environment is None else check_environment(environment)
        return tuple(await self._views.releases(name))

    async def history(self, tool: Tool, environment: str, *, limit: int | None = None) -> tuple[Release, ...]:
        """The releases of a tool that are kept, newest first, at most `limit`.

        Raises:
            ConfigNotFound: there is no such environment or configuration.
            StoreDamaged: one of them is not what was stored.
        """
        check_type("limit", limit, int, NoneType)
        if limit is not None and limit < 1:
            raise InvalidOption(f"limit {limit} is less than 1", hint="leave it out for all of them")
        return tuple(await self._views.history(check_tool(tool), check_environment(environment), limit))

    async def log(
        self,
        environment: str,
        *,
        limit: int | None = None,
        tool: str | None = None,
        since: int | datetime | None = None,
    ) -> builtins.list[LogEntry]:
        """Every commit of an environment, newest first: who changed what, when and why.

        The last 64 cost one request. Each entry is checked against the hash that the one after it carries; entries
        older than a collection's `keep_log` are gone.

        Args:
            limit: at most so many.
            tool: only those that changed this tool's configuration or its marks.
            since: only those after the entry with this sequence, or from this time on.

        Raises:
            ConfigNotFound: there is no such environment.
            StoreDamaged: an entry is missing, or is not what was written.
        """
        check_type("limit", limit, int, NoneType)
        check_type("since", since, int, datetime, NoneType)
        if limit is not None and limit < 1:
            raise InvalidOption(f"limit {limit} is less than 1", hint="leave it out for all of them")
        if isinstance(since, datetime) and since.tzinfo is None:
            raise InvalidOption("since is a time without a zone", hint="use datetime.now(UTC)")
        name = None if tool is None else check_tool(tool)
        return await self._views.log(check_environment(environment), limit, name, since)

    async def diff(
        self,
        tool: Tool,
        environment: str,
        old_revision: int | None = None,
        new_revision: int | None = None,
        *,
        to_environment: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        exclude: Collection[str] = EXCLUDED,
    ) -> BundleDiff:
        """How two bundles of a tool differ, as text and by structure, secrets masked.

        Compared are two revisions of an environment (by default the current one with the one before), or the current
        revisions of `environment` and `to_environment`, or a revision (by default the current one) with a directory, of
        which `exclude` leaves out the same as in `upload_dir`.

        Raises:
            InvalidOption: arguments that exclude each other, or a directory that cannot be read.
            ConfigNotFound: there is no such environment, configuration or revision.
            StoreDamaged: it is not what was stored.
        """
        check_tool(tool)
        check_environment(environment)
        check_revisions(old_revision=old_revision, new_revision=new_revision)
        if directory is not None and (to_environment is not None or new_revision is not None):
            raise InvalidOption(
                "directory is the new side: it excludes to_environment and new_revision", hint="give one"
            )
        elsewhere = None if to_environment is None else check_environment(to_environment)
        if directory is not None:
            files = (await read_directory(directory, exclude)).files
            old = await self._views.files_of(tool, environment, old_revision)
            # An upload of the directory would keep the overlay, where it has none.
            kept = {OVERLAY: old[1][OVERLAY]} if OVERLAY in old[1] else {}
            return await compare(old, (str(directory), {**kept, **files}))
        new = await self._views.files_of(tool, elsewhere or environment, new_revision)
        if old_revision is None and elsewhere is None:
            current = await self._views.wanted(tool, environment, new_revision)
            old_revision = current.revision - 1
        old = await self._views.files_of(tool, environment, old_revision)
        return await compare(old, new)

    async def download_dir(
        self,
        tool: Tool,
        environment: str,
        path: str | os.PathLike[str],
        *,
        revision: int | None = None,
        replace: bool = False,
    ) -> Release:
        """Make `path` a directory that holds the bundle and nothing else, in one step.

        Args:
            replace: also take the place of a directory that has something in it, which is then deleted.

        Raises:
            ConfigNotFound, StoreDamaged: see `download_bundle`.
            InvalidOption: there is something at `path` already, or it holds the home or the working directory.
        """
        check_type("path", path, str, os.PathLike)
        bundle = await self.download_bundle(tool, environment, revision=revision)
        files = {name: file.raw for name, file in bundle.files.items() if not is_reserved(name)}
        await write_directory(path, files, replace=replace)
        return bundle.release

    # Writing ---------------------------------------------------------------------------------------------------------

    async def validate(
        self,
        tool: Tool,
        source: Source | None = None,
        *,
        files: Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> ValidationReport:
        """What `upload` would say of the same arguments, without S3: one file, or the whole bundle `files`.

        Plain-text secrets are warnings.

        Raises:
            InvalidRequest: no such tool, or a name that cannot be.
        """
        return await self._writer.validate(tool, Given(source, files, name))

    async def upload(
        self,
        tool: Tool,
        environment: str,
        source: Source | None = None,
        *,
        files: Mapping[str, Source] | None = None,
        name: str | None = None,
        remove: Iterable[str] = (),
        author: str | None = None,
        message: str = "",
        expect_revision: int | None = None,
        force: str | None = None,
        skip_unchanged: bool = False,
        level: Level | None = None,
        warnings_as_errors: Collection[str] = (),
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> Release:
        """Make a new revision of a tool's configuration.

        Text and bytes are stored byte for byte; only mappings are serialised, in the format of the file's name.
        Everything is validated first, over the bundle as a whole.

        Cancelled before the commit begins, nothing is changed. Cancelled later, the call waits for the commit, 10
        seconds at most; commit and live copies are brought to their end in the background, and closing the manager
        waits for them. `outcome(write_id)` then tells whether it was committed.

        Args:
            source: replaces the main file, or the file `name`; the other files stay.
            files: the whole bundle; what is not in it is gone, but for the environment's overlay (.apm/overlay.yml).
            remove: names of files to take out of the bundle.
            expect_revision: the revision it is built on; 0: there must be none yet.
            force: commit in spite of errors, for this reason, which is kept.
            skip_unchanged: where no file would change, make no revision and return the current one.
            level: "external" also asks promtool or amtool. This and the next can only be stricter than the
                environment's settings.
            warnings_as_errors: the rules whose warnings refuse it, too; "*": all.
            timeout: seconds for the whole call, however many requests it takes; by default the store's deadline, and
                a second more for each 64 KiB that it moves.
            write_id: one that the caller made with `new_write_id`, and keeps. Called again with it, the same upload
                returns the first release and commits nothing; another one is refused. It costs one round trip.

        Raises:
            InvalidRequest: an argument that cannot be, or a missing author or message that the environment's settings
                require; nothing was stored.
            ConfigInvalid: the configuration has errors, see its `report`; nothing was changed.
            RevisionConflict: somebody else was faster; nothing was changed.
            EnvironmentFrozen: nothing was changed.
            CommitUnknown: it is not known whether it was changed; `outcome` will tell.
            DeadlineExceeded: nothing was changed.
            StoreDamaged: what is stored contradicts itself; nothing was changed.
        """
        asked = Asked(tool, environment, author, message, expect_revision, timeout, write_id)
        terms = UploadTerms(force, skip_unchanged, level, warnings_as_errors)
        return await self._writer.upload(asked, Given(source, files, name, remove), terms)

    async def upload_dir(
        self,
        tool: Tool,
        environment: str,
        path: str | os.PathLike[str],
        *,
        exclude: Collection[str] = EXCLUDED,
        author: str | None = None,
        message: str = "",
        expect_revision: int | None = None,
        force: str | None = None,
        skip_unchanged: bool = False,
        level: Level | None = None,
        warnings_as_errors: Collection[str] = (),
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> Release:
        """Make a new revision that holds the files of a directory and no others.

        What begins with '.' is left out, but for the overlay (.apm/overlay.yml). What was left out is told in the
        release's warnings.

        Args:
            exclude: patterns of what else is left out: `*.bak` for names of files and folders, `drafts/*.yml` for
                paths. By default notes, copies of editors and merges, and caches.
            skip_unchanged, level, warnings_as_errors: as in `upload`.

        Time, id and cancellation are as for `upload`; reading the directory is not counted.

        Raises:
            InvalidRequest: no directory, or something in it that cannot be stored; nothing was sent.
            ConfigInvalid, RevisionConflict, EnvironmentFrozen, CommitUnknown, StoreDamaged: see `upload`.
        """
        asked = Asked(tool, environment, author, message, expect_revision, timeout, write_id)
        terms = UploadTerms(force, skip_unchanged, level, warnings_as_errors)
        return await self._writer.upload_dir(asked, path, exclude, terms)

    async def remove(
        self,
        tool: Tool,
        environment: str,
        *,
        author: str | None = None,
        message: str = "",
        expect_revision: int | None = None,
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> Release:
        """Remove a tool's configuration: a new revision without files. Its history stays; rollback brings it back.

        Time, id and cancellation are as for `upload`.

        Raises:
            ConfigNotFound: there is none.
            RevisionConflict, EnvironmentFrozen, CommitUnknown, StoreDamaged: see `upload`.
        """
        asked = Asked(tool, environment, author, message, expect_revision, timeout, write_id)
        return await self._writer.remove(asked)

    async def rollback(
        self,
        tool: Tool,
        environment: str,
        *,
        to_revision: int | None = None,
        author: str | None = None,
        message: str = "",
        expect_revision: int | None = None,
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> Release:
        """Make a new revision with the files of an old one; of the one marked good, where none is named.

        Time, id and cancellation are as for `upload`.

        Raises:
            ConfigNotFound: there is no such revision (any more), or none is marked good.
            RevisionConflict, EnvironmentFrozen, CommitUnknown, StoreDamaged: see `upload`.
        """
        asked = Asked(tool, environment, author, message, expect_revision, timeout, write_id)
        return await self._writer.rollback(asked, to_revision)

    async def outcome(self, write_id: str) -> CommitOutcome:
        """How the write behind a `CommitUnknown` ended. A write that can still arrive is pending.

        Once the write is older than 15 minutes, this makes sure, by a write of its own that changes nothing else,
        that it can never take effect any more.

        Raises:
            InvalidOption: that is no write id.
        """
        check_type("write_id", write_id, str)
        return await find_outcome(write_id, self._objects, self._reader, self._committer)

    # Environments ----------------------------------------------------------------------------------------------------

    async def settings(self, environment: str) -> EnvironmentSettings:
        """What an environment expects of changes; the defaults where nothing was set.

        Raises:
            ConfigNotFound: there is no such environment.
        """
        return (await self._reader.require(check_environment(environment))).current.settings

    async def set_settings(
        self,
        environment: str,
        settings: SettingsChange,
        *,
        author: str | None = None,
        message: str = "",
        create: bool = False,
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> None:
        """Set what an environment expects of changes, from the next one on; a write that is under way meets it, too.

        Args:
            settings: all of them; or a function that makes them of those that are there, so that nothing that others
                set meanwhile is lost: `lambda old: replace(old, require_author=True)`.
            author, message: kept in the log.
            create: the environment may not exist yet.
            timeout, write_id: see `mark_good`. Two functions under one id are not told apart.

        Raises:
            InvalidRequest: settings that cannot be, or another write has the write id.
            ConfigNotFound: there is no such environment.
            EnvironmentFrozen: nothing was changed.
            CommitUnknown: it is not known whether they were set; do it again.
        """
        asked = AskedBeside(environment, author, message, timeout, write_id)
        await self._writer.set_settings(asked, settings, create=create)

    async def mark_good(
        self,
        tool: Tool,
        environment: str,
        revision: int | None = None,
        *,
        author: str | None = None,
        message: str = "",
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> Release:
        """Mark a revision, by default the current one, as the last known good one. It is kept for ever.

        Cancelled before the commit begins, nothing is changed. Cancelled later, the call waits for the commit, 10
        seconds at most; it is brought to its end in the background, and closing the manager waits for it.

        Args:
            author, message: kept in the log.
            timeout: seconds for the change, as for `upload`.
            write_id: one that the caller made with `new_write_id`, and keeps. Called again with it, the same call
                returns the first one's result and commits nothing; another one is refused. The log tells which it was:
                the last 64 commits cost nothing, each 64 before those one request.

        Raises:
            ConfigNotFound: there is no such revision (any more).
            InvalidOption: another write has the write id.
            CommitUnknown: it is not known whether it was marked; do it again.
        """
        asked = AskedBeside(environment, author, message, timeout, write_id)
        return await self._writer.mark_good(asked, tool, revision)

    async def freeze(
        self,
        environment: str,
        reason: str,
        *,
        author: str | None = None,
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> None:
        """Let an environment take no change until it is thawed, whoever tries. Frozen again, the new reason counts.

        The log keeps the reason and the author when the environment is thawed.
        Marks, backups and reads go on; a collection does not. Time, id and cancellation are as for `mark_good`.

        Raises:
            ConfigNotFound: there is no such environment.
            InvalidOption: another write has the write id.
            CommitUnknown: it is not known whether it is frozen; do it again.
        """
        await self._writer.freeze(AskedBeside(environment, author, reason, timeout, write_id))

    async def thaw(
        self,
        environment: str,
        *,
        author: str | None = None,
        message: str = "",
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> None:
        """Let an environment take changes again.

        Args:
            author, message: kept in the log.
            timeout, write_id: see `mark_good`, also for what cancellation means.

        Raises:
            ConfigNotFound: there is no such environment.
            InvalidOption: another write has the write id.
            CommitUnknown: it is not known whether it is thawed; do it again.
        """
        await self._writer.thaw(AskedBeside(environment, author, message, timeout, write_id))

    # Deploys ---------------------------------------------------------------------------------------------------------

    async def plan_deploy(
        self,
        source_environment: str,
        target_environment: str,
        *,
        tools: Sequence[Tool] | None = None,
        target: ConfigStore | None = None,
        variables: Mapping[str, str] | None = None,
        create: bool = False,
        level: Level | None = None,
        warnings_as_errors: Collection[str] = (),
    ) -> DeployPlan:
        """What a deploy would do: files, diff, validation, and what blocks it. Nothing is changed.

        Args:
            tools: by default every tool of the source.
            target: the store of the target, in another bucket or region; by default this one.
            variables: values for those that the target's overlays declare; the report of each tool tells what nothing
                replaces.
            create: the target may be an environment that does not exist yet.
            level, warnings_as_errors: stricter than the target's settings. See `upload`.

        Raises:
            InvalidOption: source and target are the same, or no overlay declares one of `variables`.
            ConfigNotFound: there is no such environment or tool, or the source is empty.
            StoreDamaged: what is stored cannot be read.
        """
        check_type("target", target, ConfigStore, NoneType)
        check_type("variables", variables, Mapping, NoneType)
        return await make_plan(
            self._side,
            _side_of(target or self),
            check_environment(source_environment),
            check_environment(target_environment),
            tools=check_tools(tools),
            variables=variables or {},
            create=create,
            level=level,
            warnings_as_errors=check_rule_names(warnings_as_errors),
        )

    async def deploy(
        self,
        plan: DeployPlan | PlanDocument,
        *,
        author: str | None = None,
        message: str = "",
        allow_drift: bool = False,
        force: str | None = None,
        target: ConfigStore | None = None,
        variables: Mapping[str, str] | None = None,
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> DeployResult:
        """Carry out a plan of this store: one commit for all its tools, or nothing.

        Time, id (one of the target environment) and cancellation are as for `upload`.

        Args:
            plan: what `plan_deploy` made; or what `DeployPlan.from_dict` brought back, which is planned anew first.
            allow_drift: overwrite what was changed in the target by hand since its last deploy.
            force: deploy in spite of validation's errors, for this reason, which is kept.
            target, variables: as they were given to `plan_deploy`; only for a plan that `from_dict` brought back.

        Raises:
            PlanOutdated: planned anew, something is different; nothing was changed.
            DeployRefused: the plan is blocked, or its source has moved; nothing was changed.
            RevisionConflict: the target has moved; nothing was changed.
            EnvironmentFrozen, CommitUnknown, StoreDamaged: see `upload`.
        """
        check_type("plan", plan, DeployPlan, PlanDocument)
        check_type("target", target, ConfigStore, NoneType)
        check_type("variables", variables, Mapping, NoneType)
        check_notes(author, message, force)
        if isinstance(plan, DeployPlan) and (target is not None or variables is not None):
            raise InvalidOption("this plan has its target and variables already", hint="leave them out")
        return await deploy(
            plan,
            self._side,
            _side_of(target or self),
            variables or {},
            author=author,
            message=message,
            allow_drift=allow_drift,
            force=force,
            timeout=timeout,
            write_id=write_id,
        )

    # Backups ---------------------------------------------------------------------------------------------------------

    async def backup(
        self,
        tool: Tool | None,
        environment: str,
        *,
        target: ConfigStore | None = None,
        author: str | None = None,
        message: str = "",
        retain: timedelta | None = None,
    ) -> Backup:
        """Copy what is current, of one and the same state, with nothing else needed to restore it.

        Args:
            tool: whose configuration; None: of all tools in the environment.
            target: the store into which it goes: another bucket, another region. Default: this one.
            retain: lock every object of it for so long (object lock, GOVERNANCE); the bucket has to have object lock.

        Raises:
            ConfigNotFound: there is nothing to back up.
            InvalidOption: `retain` is given and the bucket has no object lock.
            StoreDamaged: it is not what was stored; no backup was made.
        """
        tools = None if tool is None else [check_tool(tool)]
        check_notes(author, message)
        check_type("target", target, ConfigStore, NoneType)
        check_type("retain", retain, timedelta, NoneType)
        if retain is not None and retain <= timedelta(0):
            raise InvalidOption("retain is not more than nothing", hint="leave it out for no lock")
        into = _objects_of(target or self)
        return await self._backups.back_up(
            check_environment(environment), tools, into=into, author=author, message=message, retain=retain
        )

    async def backup_all(
        self,
        *,
        target: ConfigStore | None = None,
        author: str | None = None,
        message: str = "",
        retain: timedelta | None = None,
    ) -> tuple[Backup, ...]:
        """Back up every environment that has a configuration, one after the other: one backup each. See `backup`."""
        names = [name for name in await self._views.environments() if not name.startswith(DRILL)]
        kept = [name for name in names if await self._views.releases(name)]
        return tuple(
            [
                await self.backup(None, name, target=target, author=author, message=message, retain=retain)
                for name in kept
            ]
        )

    async def list_backups(self, environment: str | None = None) -> tuple[Backup, ...]:
        """The backups in this store's bucket, of one environment or of all, newest first.

        One that was cut short has no manifest and is not among them. One that lost files since says so (`damage`).

        Raises:
            FormatTooNew: a later version of this library made one of them.
        """
        names = await self._backups.environments() if environment is None else [check_environment(environment)]
        found = [backup for name in names for backup in await self._backups.found(name)]
        return tuple(sorted(found, key=lambda each: (each.created_at, each.key), reverse=True))

    async def verify_backup(self, key: str) -> Backup:
        """Read every file of a backup and compare it with its SHA-256 in the manifest.

        Raises:
            ConfigNotFound: there is no such backup.
            BackupInvalid: it is damaged.
        """
        check_type("key", key, str)
        return (await self._backups.verify(key)).backup

    async def plan_restore(
        self,
        key: str,
        *,
        environment: str | None = None,
        tools: Sequence[Tool] | None = None,
        source: ConfigStore | None = None,
    ) -> RestorePlan:
        """What a restore would do; the backup is verified, and nothing is changed. See `restore_environment`.

        Raises:
            ConfigNotFound: no such backup, or a tool is not in it.
            BackupInvalid: it is damaged.
        """
        check_type("key", key, str)
        check_type("source", source, ConfigStore, NoneType)
        checked = check_tools(tools)
        target = None if environment is None else check_environment(environment)
        return await self._restorer.plan(key, _backups_of(source or self), environment=target, tools=checked)

    async def restore(
        self,
        key: str,
        *,
        tool: Tool | None = None,
        environment: str | None = None,
        source: ConfigStore | None = None,
        expect_revision: int | None = None,
        author: str | None = None,
        message: str = "",
        drill: bool = False,
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> Release:
        """Restore one tool's configuration: the only one in the backup, or `tool`. See `restore_environment`.

        Raises:
            InvalidOption: the backup holds several tools and none is named.
        """
        check_type("key", key, str)
        check_type("source", source, ConfigStore, NoneType)
        check_revisions(expect_revision=expect_revision)
        backup = await _backups_of(source or self).manifest(key)
        if tool is None and len(backup.tools) != 1:
            raise InvalidOption(
                f"backup '{backup.key}' holds {', '.join(backup.tools)}",
                hint="name the tool, or restore them all at once with restore_environment",
            )
        chosen = check_tool(tool) if tool is not None else next(iter(backup.tools))
        expect: dict[str, int] = {} if expect_revision is None else {chosen: expect_revision}
        releases = await self.restore_environment(
            key,
            environment=environment,
            tools=[chosen],
            source=source,
            expect_revisions=expect,
            author=author,
            message=message,
            drill=drill,
            timeout=timeout,
            write_id=write_id,
        )
        return releases[0]

    async def restore_environment(
        self,
        key: str | RestorePlan | PlanDocument,
        *,
        environment: str | None = None,
        tools: Sequence[Tool] | None = None,
        source: ConfigStore | None = None,
        expect_revisions: Mapping[str, int] = MappingProxyType({}),
        author: str | None = None,
        message: str = "",
        drill: bool = False,
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> tuple[Release, ...]:
        """Make a backup's files current again: new revisions of all its tools, in one commit.

        Every file is verified first, and what is replaced is backed up, in this store's bucket. Tools of the
        environment that the backup does not hold stay as they are. Errors that validation finds do not stop a restore;
        they are kept with the release.

        Args:
            key: of the backup; or a plan that `plan_restore` made; or one that `RestorePlan.from_dict` brought back,
                which is planned anew first. A plan has its environment, tools and revisions already.
            environment: where to; by default the environment that it is a backup of.
            tools: which of the backup's tools; all of them by default.
            source: the store whose bucket the backup lies in; by default this one.
            expect_revisions: the current revision of tools; another one there is a `RevisionConflict`.
            timeout, write_id: as for `upload`; the id is one of the environment that is restored into.
            drill: restore into a scratch environment, read it back, compare every byte, and remove it again.

        Raises:
            PlanOutdated: planned anew, something is different; nothing was changed.
            ConfigNotFound: no such backup, or a tool is not in it.
            BackupInvalid: it is damaged; nothing was changed.
            RevisionConflict, EnvironmentFrozen, StoreDamaged: nothing was changed.
            CommitUnknown: it is not known whether it was changed; `outcome` will tell.
        """
        check_type("key", key, str, RestorePlan, PlanDocument)
        check_type("source", source, ConfigStore, NoneType)
        check_type("expect_revisions", expect_revisions, Mapping)
        check_revisions(**expect_revisions)
        checked = check_tools(tools)
        check_notes(author, message)
        target = None if environment is None else check_environment(environment)
        if not isinstance(key, str):
            if drill or target is not None or checked is not None or expect_revisions:
                raise InvalidOption("a plan has its environment, tools and revisions already", hint="leave them out")
            return await self._restorer.carry_out(key, _backups_of(source or self), author, message, timeout, write_id)
        if drill:
            if target is not None:
                raise InvalidOption("a drill restores into an environment of its own", hint="leave environment out")
            if write_id is not None or timeout is not None:
                raise InvalidOption("a drill takes no timeout and no write_id", hint="leave them out")
            return tuple(await self._restorer.drill(key, _backups_of(source or self), tools=checked, author=author))
        releases = await self._restorer.restore(
            key,
            _backups_of(source or self),
            environment=target,
            tools=checked,
            author=author,
            message=message,
            expect=expect_revisions,
            timeout=timeout,
            write_id=write_id,
        )
        return tuple(releases)

    async def prune_backups(
        self,
        environment: str,
        *,
        keep: int | None = None,
        older_than: timedelta | None = None,
        dry_run: bool = False,
    ) -> tuple[Backup, ...]:
        """Delete old backups; those that were (or, in a dry run, would be) deleted, oldest first.

        One goes where, for each tool in it, there are `keep` newer ones, and where it is older than `older_than`.
        The newest whole backup of a tool never goes, nor one that object lock keeps.

        Raises:
            InvalidOption: neither `keep` nor `older_than` is given.
            ApmS3Error: some could not be deleted; do it again.
        """
        check_type("keep", keep, int, NoneType)
        check_type("older_than", older_than, timedelta, NoneType)
        gone = await self._backups.prune(
            check_environment(environment), keep=keep, older_than=older_than, dry_run=dry_run
        )
        return tuple(gone)

    # Care ------------------------------------------------------------------------------------------------------------

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
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> GarbageReport:
        """Delete old revisions, the old part of the log, and what writes and backups left that were cut short.

        First, one commit says what is given up; then it is deleted. Cancelled before the commit, nothing is changed;
        cancelled later, the commit is brought to its end, and the next collection deletes what this one left.

        Args:
            keep_revisions: the newest so many stay, and everything younger than `older_than`, and the one marked good.
                This and the next two: by default what the environment's settings say; never less.
            older_than: at least 24 hours, which is the default.
            keep_log: how long the log's entries stay, a year by default, at least 24 hours. They are deleted by the
                dozen, so that some stay longer.
            author, message: kept in the log.
            dry_run: only say what would be deleted; a frozen environment can be asked, too.
            timeout: seconds for the whole call; without, it has no limit.
            write_id: see `mark_good`. Called again with it, the same call commits nothing: it deletes what the first
                one left, and reports that.

        Raises:
            InvalidOption: less than one revision, less than 24 hours, or less than the environment's settings keep; or
                another write has the write id.
            ConfigNotFound: there is no such environment.
            EnvironmentFrozen: nothing is given up while it is frozen.
            StoreDamaged: a release that is kept cannot be read; nothing was deleted.
            BatchError: some objects could not be deleted; the others are.
            DeadlineExceeded: what was deleted stays deleted.
        """
        check_type("keep_revisions", keep_revisions, int, NoneType)
        check_type("older_than", older_than, timedelta, NoneType)
        check_type("keep_log", keep_log, timedelta, NoneType)
        wanted = WantedRetention(keep_revisions, older_than, keep_log)
        request = request_hash(write_id, wanted.to_dict())
        note = Note(action="collect", author=author, message=check_log_notes(author, message), request=request)
        return await self._collector.collect(
            check_environment(environment), wanted, note, dry_run=dry_run, timeout=timeout, write_id=write_id
        )

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
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> RepairReport:
        """Mend what `fsck` finds, and bring `live/` up to date. Harmless where nothing is wrong.

        The reference document is taken from the version that was written last, where the bucket keeps versions; lost
        objects from their older versions, from other blobs, live copies and backups with the same SHA-256. Old
        revisions that stay damaged are marked so; all others are kept. Only where a tool's current release is lost,
        or the reference document, the caller is asked, after everything else was mended.

        Args:
            choose: by tool, the key of the release document whose files become a new revision, where that is asked.
            author, message: kept in the log; without a message, what was done.
            timeout: seconds for the whole call; without, it has no limit.
            write_id: see `mark_good`. Called again with it, the same call does not write the reference document again:
                it brings `live/` up to date and checks. Where nothing had to be written, nothing keeps the id.

        Cancelled, what was restored by then stays. The write of the reference document, and the refresh of `live/`, are
        brought to their end; the caller waits for them, 10 seconds at most.

        Raises:
            StoreDamaged: a choice is needed; the message offers what there is, and says what was done.
            InvalidOption: the environment's settings require an author, or another write has the write id; nothing was
                changed.
            DeadlineExceeded: what was done by then stays.
            ConfigNotFound: there is no such environment or release.
            FormatTooNew: a later version of this library wrote it.
        """
        check_type("choose", choose, Mapping, NoneType)
        check_log_notes(author, message)
        return await self._repairer.repair(
            check_environment(environment),
            choose or {},
            author=author,
            message=message,
            timeout=timeout,
            write_id=write_id,
        )

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


# What a store may take of another one.


def _backups_of(store: ConfigStore) -> Backups:
    return store._backups  # noqa: SLF001


def _side_of(store: ConfigStore) -> Side:
    return store._side  # noqa: SLF001


def _objects_of(store: ConfigStore) -> ObjectStore:
    return store._objects  # noqa: SLF001
