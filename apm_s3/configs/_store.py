"""`ConfigStore`: the configurations of a bucket."""

from __future__ import annotations

import builtins
import os
import weakref
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType, NoneType
from typing import Unpack

from apm_s3._directories import EXCLUDED
from apm_s3._hints import Advice
from apm_s3._naming import OVERLAY, check_environment
from apm_s3._plans import PlanDocument
from apm_s3._tools import Tool
from apm_s3.configs._backups.backups import Backup, Backups
from apm_s3.configs._backups.restore import DRILL, RestorePlan, Restorer
from apm_s3.configs._care.fsck import Checker, FsckReport
from apm_s3.configs._care.garbage import Collector, GarbageReport, WantedRetention
from apm_s3.configs._care.repair import DryRun, Repairer, RepairReport
from apm_s3.configs._care.status import StatusReader, ToolStatus
from apm_s3.configs._content.diff import BundleDiff
from apm_s3.configs._content.files import (
    Source,
    check_log_notes,
    check_notes,
    check_revisions,
    check_tool,
    check_tools,
    check_type,
    read_directory,
    write_directory,
)
from apm_s3.configs._content.overlays import is_reserved
from apm_s3.configs._deploy import DeployPlan, DeployResult, Side, deploy, make_plan
from apm_s3.configs._imports.importing import (
    Importer,
    ImportPlan,
    Layout,
    Target,
    find_in_bucket,
    find_in_directory,
    find_in_history,
)
from apm_s3.configs._models import (
    Bundle,
    ConfigFile,
    EnvironmentSettings,
    LogEntry,
    Release,
    SettingsChange,
    check_rule_names,
)
from apm_s3.configs._progress import OnStoreProgress, Steps
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.changes import PostCommitTasks
from apm_s3.configs._protocol.commit import Committer
from apm_s3.configs._protocol.idempotency import CommitOutcome, find_outcome
from apm_s3.configs._protocol.keys import check_prefix
from apm_s3.configs._protocol.live import Live
from apm_s3.configs._protocol.objects import ObjectStore, Prefixed
from apm_s3.configs._protocol.probe import Probe
from apm_s3.configs._protocol.publish import Publisher
from apm_s3.configs._protocol.reader import Reader, StoreCache
from apm_s3.configs._reads import Views, Watches, compare
from apm_s3.configs._uploads import (
    ChangeKeywords,
    ChangeOptions,
    CurrentRevision,
    EnvironmentRequest,
    Given,
    ReleaseKeywords,
    ToolRequest,
    UploadKeywords,
    UploadOptions,
    Writer,
)
from apm_s3.errors import ApmS3Error, InvalidOption, StoreDamaged
from apm_s3.reports import ValidationReport
from apm_s3.validators._validation.validate import Level


class ConfigStore:
    """Versioned configurations of five tools, in environments, under one prefix of one bucket.

    Every change creates a new revision and becomes visible in one atomic step, or not at all. Except for what it
    learned about the endpoint, a store is stateless: any number of stores, processes and machines can use one bucket.

    Args:
        objects: the bucket.
        prefix: where everything is in the bucket, so that teams can share one. It ends with '/', or is empty.
        failover: write although the bucket is a replica. Use this only if the original is permanently lost, because
            the two would diverge.
        require_conditional_writes: False allows an endpoint that ignores conditional headers: two writers can then
            overwrite each other's commits.
        deadline: seconds for a whole write without a `timeout`.
        cache: the cache; an `S3Manager` passes its own.
    """

    def __init__(
        self,
        objects: ObjectStore,
        prefix: str = "",
        *,
        failover: bool = False,
        require_conditional_writes: bool = True,
        deadline: float = 60.0,
        cache: StoreCache | None = None,
    ) -> None:
        self.bucket: str = objects.bucket
        self.prefix: str = check_prefix(prefix)
        self._objects: ObjectStore = Prefixed(objects, prefix) if prefix else objects
        self._reader = Reader(self._objects, cache)
        # Code that looks for damage or deletes must read the bucket, not the cache.
        seen_now = Reader(self._objects)
        self._views = Views(self._objects, self._reader)
        self._afterwards = PostCommitTasks()
        self._probe = Probe(self._objects, self._afterwards, needed=require_conditional_writes)
        self._committer = Committer(
            self._objects, self._reader, self._probe, self._afterwards, failover=failover, deadline=deadline
        )
        self._live = Live(self._objects, self._reader)
        self._publisher = Publisher(self._committer, self._live)
        self._backups = Backups(self._objects, self._reader)
        self._restorer = Restorer(self._objects, self.prefix, self._reader, self._publisher, self._views, self._backups)
        self._collector = Collector(self._objects, seen_now, self._committer)
        self._checker = Checker(self._objects, seen_now)
        self._repairer = Repairer(self._objects, seen_now, self._checker, self._live, self._backups, self._afterwards)
        self._status = StatusReader(self._objects, self._reader, self._backups)
        self._watches = Watches(self._objects, self._reader)
        self._side = Side(self.bucket, prefix, self._reader, self._publisher)
        # The plans that this store has made, by identity: equal ones may be for servers that differ.
        self._targets: dict[int, Side] = {}
        self._writer = Writer(self._reader, self._views, self._committer, self._publisher)
        self._importer = Importer(self.bucket, self.prefix, self._reader, self._views, self._writer)

    def __repr__(self) -> str:
        return f"ConfigStore(bucket={self.bucket!r}, prefix={self.prefix!r})"

    @staticmethod
    def new_write_id(environment: str) -> str:
        """Return an id for a write in `environment`, to be stored before the write, for `write_id=` and `outcome`."""
        return keys.new_write_id(check_environment(environment))

    @property
    def has_unfinished_writes(self) -> bool:
        """Return whether commits or refreshes of `live/` of cancelled or timed-out callers are still running."""
        return self._afterwards.unfinished

    async def finish(self, *, timeout: float = 30.0) -> None:
        """Wait for commits and refreshes of `live/` whose callers were cancelled or timed out.

        Closing an `S3Manager` does this for all its stores. After `timeout` seconds, they are cancelled.
        """
        self._probe.abandon()
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
        """Return one file, by default the main one, of the current revision or an older one.

        Args:
            refresh: request the current state, regardless of `CacheSettings.current_staleness`.

        Raises:
            ConfigNotFound: the environment, configuration, revision or file does not exist.
            StoreDamaged: the content differs from what was stored.
        """
        if revision is None and not refresh:
            try:
                file = self._reader.file(tool, environment, name)
            except TypeError:  # unhashable arguments are refused below
                file = None
            if file is not None:
                return file
        check_revisions(revision=revision)
        return await self._views.file(check_tool(tool), check_environment(environment), name, revision, refresh=refresh)

    async def download_bundle(
        self, tool: Tool, environment: str, *, revision: int | None = None, refresh: bool = False
    ) -> Bundle:
        """Return all files of the current revision or an older one.

        Args:
            refresh: see `download`.

        Raises:
            ConfigNotFound: the environment, configuration or revision does not exist.
            StoreDamaged: the content differs from what was stored.
        """
        check_revisions(revision=revision)
        return await self._views.bundle(check_tool(tool), check_environment(environment), revision, refresh=refresh)

    async def download_environment(
        self, environment: str, tools: Sequence[Tool] | None = None, *, refresh: bool = False
    ) -> dict[str, Bundle]:
        """Return the bundles of all tools, or of `tools`, as of the same commit.

        Args:
            refresh: see `download`.

        Raises:
            ConfigNotFound: the environment does not exist, or does not have one of `tools`.
            StoreDamaged: the content differs from what was stored.
        """
        wanted = check_tools(tools)
        return await self._views.environment(check_environment(environment), wanted, refresh=refresh)

    async def environments(self) -> tuple[str, ...]:
        """Return the names of the environments, sorted, without removed ones."""
        return tuple(await self._views.environments())

    async def list(self, environment: str | None = None) -> tuple[Release, ...]:
        """Return the current release of each tool, in one environment or in all of them.

        Raises:
            ConfigNotFound: the environment does not exist.
            StoreDamaged: a current release differs from what was stored.
        """
        name = None if environment is None else check_environment(environment)
        return tuple(await self._views.releases(name))

    async def history(self, tool: Tool, environment: str, *, limit: int | None = None) -> tuple[Release, ...]:
        """Return the kept releases of a tool, newest first, at most `limit`.

        Raises:
            ConfigNotFound: the environment or configuration does not exist.
            StoreDamaged: one of the documents differs from what was stored. `releases` of the error has those that can
                be read, and `lost` says by revision why the others cannot.
        """
        _check_limit(limit)
        try:
            return tuple(await self._views.history(check_tool(tool), check_environment(environment), limit))
        except StoreDamaged as exc:
            with suppress(ApmS3Error):
                exc.releases, exc.lost = await self._checker.history(environment, tool, limit)
            raise

    async def log(
        self,
        environment: str,
        *,
        limit: int | None = None,
        tool: str | None = None,
        since: int | datetime | None = None,
    ) -> builtins.list[LogEntry]:
        """Return the commits of an environment, newest first: who changed what, when and why.

        The last 64 cost one request. Each entry is verified by the hash in the next one. Entries older than a
        collection's `keep_log` have been deleted.

        Args:
            limit: the maximum number of entries.
            tool: only entries that changed this tool's configuration or marks.
            since: only entries after the one with this sequence, or from this time.

        Raises:
            ConfigNotFound: the environment does not exist.
            StoreDamaged: an entry is missing, or differs from what was written.
        """
        _check_limit(limit)
        check_type("since", since, int, datetime, NoneType)
        if isinstance(since, datetime) and since.tzinfo is None:
            raise InvalidOption("since has no time zone", hint="use a time such as datetime.now(UTC)")
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
        """Compare two bundles of a tool, as text and by structure, with secrets masked.

        Compare two revisions of an environment (by default the current one with the one before), or the current
        revisions of `environment` and `to_environment`, or a revision (by default the current one) with a directory, in
        which `exclude` works as in `upload_dir`.

        Raises:
            InvalidOption: arguments are mutually exclusive, or the directory cannot be read.
            ConfigNotFound: the environment, configuration or revision does not exist.
            StoreDamaged: the content differs from what was stored.
        """
        check_tool(tool)
        check_environment(environment)
        check_revisions(old_revision=old_revision, new_revision=new_revision)
        if directory is not None and (to_environment is not None or new_revision is not None):
            raise InvalidOption("directory cannot be used with to_environment or new_revision", hint="pass one of them")
        elsewhere = None if to_environment is None else check_environment(to_environment)
        if directory is not None:
            files = (await read_directory(directory, exclude)).files
            old = await self._views.files_of(tool, environment, old_revision)
            # An upload of a directory without an overlay would keep the current overlay.
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
        """Write the bundle to a new directory `path` atomically.

        Args:
            replace: also replace a directory that is not empty; its contents are deleted.

        Raises:
            ConfigNotFound, StoreDamaged: see `download_bundle`.
            InvalidOption: `path` already exists, or contains the home or the working directory.
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
        """Validate one file, or the whole bundle `files`, as `upload` does, but without S3.

        Plain-text secrets are warnings.

        Raises:
            InvalidRequest: unknown tool, or invalid name.
        """
        return await self._writer.validate(tool, Given(source, files, name))

    async def _current(self, tool: Tool, environment: str, names: Collection[str] | None = ()) -> CurrentRevision:
        """Return the current revision for the `expect_revision` of a change, which then begins with what was read."""
        return await self._writer.current(tool, environment, names)

    async def upload(
        self,
        tool: Tool,
        environment: str,
        source: Source | None = None,
        *,
        files: Mapping[str, Source] | None = None,
        name: str | None = None,
        remove: Iterable[str] = (),
        options: UploadOptions | None = None,
        **keywords: Unpack[UploadKeywords],
    ) -> Release:
        """Create a new revision of a tool's configuration.

        Text and bytes are stored byte for byte; only mappings are serialized, in the format of the file. The whole
        bundle is validated first.

        If the call is cancelled before the commit begins, nothing is changed. Later, a cancelled call waits at most 10
        seconds for the commit; the commit and the update of live copies finish in the background, and closing the
        manager waits for them. Then `outcome(write_id)` says whether it was committed.

        Args:
            source: replaces the main file, or the file `name`; other files are kept.
            files: the whole bundle; other files are removed, except the environment's overlay (.apm/overlay.yml).
            remove: names of files to remove from the bundle.
            options, keywords: see `UploadOptions`.

        Raises:
            InvalidRequest: an argument is not valid, or an author or message that the environment's settings require is
                missing; nothing was stored.
            ConfigInvalid: the configuration has errors, see its `report`; nothing was changed.
            ConfigNotFound: see `create` and `remove`; nothing was changed.
            RevisionConflict: another writer was faster; nothing was changed.
            EnvironmentFrozen: nothing was changed.
            CommitUnknown: the outcome is not known; use `outcome` to find out.
            DeadlineExceeded: nothing was changed.
            StoreDamaged: stored objects contradict each other; nothing was changed.
        """
        terms = UploadOptions.of(options, keywords)
        return await self._writer.upload(
            ToolRequest(tool, environment, terms), Given(source, files, name, remove), terms
        )

    async def upload_dir(
        self,
        tool: Tool,
        environment: str,
        path: str | os.PathLike[str],
        *,
        exclude: Collection[str] = EXCLUDED,
        options: UploadOptions | None = None,
        **keywords: Unpack[UploadKeywords],
    ) -> Release:
        """Create a new revision with exactly the files of a directory.

        Names that begin with '.' are omitted, except the overlay (.apm/overlay.yml). The release's warnings list what
        was omitted.

        Args:
            exclude: patterns of other files to omit: `*.bak` for names of files and folders, `drafts/*.yml` for paths.
                By default notes, backup files of editors and merges, and caches.
            options, keywords: see `UploadOptions`.

        Cancellation is as in `upload`; the timeout does not include reading the directory.

        Raises:
            InvalidRequest: it is not a directory, or contains something that cannot be stored; nothing was sent.
            ConfigInvalid, RevisionConflict, EnvironmentFrozen, CommitUnknown, StoreDamaged: see `upload`.
        """
        terms = UploadOptions.of(options, keywords)
        return await self._writer.upload_dir(ToolRequest(tool, environment, terms), path, exclude, terms)

    async def remove(
        self,
        tool: Tool,
        environment: str,
        *,
        options: ChangeOptions | None = None,
        **keywords: Unpack[ReleaseKeywords],
    ) -> Release:
        """Remove a tool's configuration by creating a revision without files. The history is kept for a rollback.

        `options` and `keywords` are those of `ChangeOptions`; cancellation is as in `upload`.

        Raises:
            ConfigNotFound: it does not exist.
            RevisionConflict, EnvironmentFrozen, CommitUnknown, StoreDamaged: see `upload`.
        """
        request = ToolRequest(tool, environment, ChangeOptions.of(options, keywords))
        return await self._writer.remove(request)

    async def rollback(
        self,
        tool: Tool,
        environment: str,
        *,
        to_revision: int | None = None,
        force: str | None = None,
        options: ChangeOptions | None = None,
        **keywords: Unpack[ReleaseKeywords],
    ) -> Release:
        """Create a new revision with the files of an old one, by default of the one marked good.

        They are validated by the rules of today: an old revision may have been imported, or stored before a rule.

        Args:
            force: the reason for committing despite errors, which is stored.

        `options` and `keywords` are those of `ChangeOptions`; cancellation is as in `upload`.

        Raises:
            ConfigInvalid: the old revision has errors, see its `report`; nothing was changed.
            ConfigNotFound: the revision does not exist (any more), or none is marked good.
            RevisionConflict, EnvironmentFrozen, CommitUnknown, StoreDamaged: see `upload`.
        """
        request = ToolRequest(tool, environment, ChangeOptions.of(options, keywords))
        return await self._writer.rollback(request, to_revision, force)

    async def outcome(self, write_id: str) -> CommitOutcome:
        """Return the outcome of a write, for example after `CommitUnknown`. A write that can still arrive is pending.

        If the write is older than 15 minutes, this makes sure that it can never take effect, with a commit that changes
        nothing else.

        Raises:
            InvalidOption: it is not a valid write id.
        """
        check_type("write_id", write_id, str)
        return await find_outcome(write_id, self._committer)

    # Environments ----------------------------------------------------------------------------------------------------

    async def settings(self, environment: str) -> EnvironmentSettings:
        """Return the settings of an environment, with defaults for those that were not set.

        Raises:
            ConfigNotFound: the environment does not exist.
        """
        return (await self._reader.require(check_environment(environment))).current.settings

    async def set_settings(
        self,
        environment: str,
        settings: SettingsChange,
        *,
        create: bool = False,
        options: ChangeOptions | None = None,
        **keywords: Unpack[ChangeKeywords],
    ) -> None:
        """Set the settings of an environment. They apply to all later commits, even of writes already in progress.

        Args:
            settings: all settings; or a function that returns them from the current ones, so that concurrent changes
                are kept: `lambda old: replace(old, require_author=True)`.
            create: allow an environment that does not exist yet.
            options, keywords: see `ChangeOptions`. Different functions with the same id are not distinguished.

        Raises:
            InvalidRequest: the settings are not valid, or the write id belongs to another write.
            ConfigNotFound: the environment does not exist.
            EnvironmentFrozen: nothing was changed.
            CommitUnknown: the outcome is not known; repeat the call.
        """
        request = EnvironmentRequest(environment, ChangeOptions.without_revision(options, keywords))
        await self._writer.set_settings(request, settings, create=create)

    async def mark_good(
        self,
        tool: Tool,
        environment: str,
        revision: int | None = None,
        *,
        options: ChangeOptions | None = None,
        **keywords: Unpack[ChangeKeywords],
    ) -> Release:
        """Mark a revision, by default the current one, as good. It is kept forever.

        If the call is cancelled before the commit begins, nothing is changed. Later, a cancelled call waits at most 10
        seconds for the commit, which finishes in the background; closing the manager waits for it.

        Args:
            options, keywords: see `ChangeOptions`.

        Raises:
            ConfigNotFound: the revision does not exist (any more).
            InvalidOption: the write id belongs to another write.
            CommitUnknown: the outcome is not known; repeat the call.
        """
        request = EnvironmentRequest(environment, ChangeOptions.without_revision(options, keywords))
        return await self._writer.mark_good(request, tool, revision)

    async def freeze(
        self,
        environment: str,
        reason: str,
        *,
        author: str | None = None,
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> None:
        """Block all changes to an environment until it is thawed. Freezing it again replaces the reason.

        The log keeps the reason and the author after the environment is thawed.
        Marks, backups and reads still work; collections do not. Timeout, id and cancellation are as in `mark_good`.

        Raises:
            ConfigNotFound: the environment does not exist.
            InvalidOption: the write id belongs to another write.
            CommitUnknown: the outcome is not known; repeat the call.
        """
        await self._writer.freeze(
            EnvironmentRequest(
                environment, ChangeOptions(author=author, message=reason, timeout=timeout, write_id=write_id)
            )
        )

    async def thaw(
        self,
        environment: str,
        *,
        options: ChangeOptions | None = None,
        **keywords: Unpack[ChangeKeywords],
    ) -> None:
        """Allow changes to an environment again.

        Args:
            options, keywords: see `ChangeOptions`; and `mark_good` for cancellation.

        Raises:
            ConfigNotFound: the environment does not exist.
            InvalidOption: the write id belongs to another write.
            CommitUnknown: the outcome is not known; repeat the call.
        """
        await self._writer.thaw(EnvironmentRequest(environment, ChangeOptions.without_revision(options, keywords)))

    async def remove_environment(
        self,
        environment: str,
        *,
        options: ChangeOptions | None = None,
        **keywords: Unpack[ChangeKeywords],
    ) -> None:
        """Take away an environment whose configurations were removed. `thaw` brings it back, with its history.

        It is listed no longer, and refuses changes as a frozen one does; its history and its log stay readable.

        Args:
            options, keywords: see `ChangeOptions`; everybody whose change is refused is told the author and message.

        Raises:
            ConfigNotFound: the environment does not exist.
            InvalidOption: it still has a configuration, or the write id belongs to another write.
            EnvironmentFrozen: nothing was changed.
            CommitUnknown: the outcome is not known; repeat the call.
        """
        await self._writer.remove_environment(
            EnvironmentRequest(environment, ChangeOptions.without_revision(options, keywords))
        )

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
        """Plan a deploy: its files, diff, validation, and what blocks it. Nothing is changed.

        Args:
            tools: by default every tool of the source.
            target: the store of the target, in another bucket or region; by default this one.
            variables: values of variables that the target's overlays declare; the report of each tool lists variables
                that are not replaced.
            create: allow a target environment that does not exist yet.
            level, warnings_as_errors: stricter than the target's settings. See `upload`.

        Raises:
            InvalidOption: source and target are the same, or no overlay declares one of `variables`.
            ConfigNotFound: an environment or tool does not exist, or the source is empty.
            StoreDamaged: stored objects cannot be read.
        """
        check_type("target", target, ConfigStore, NoneType)
        check_type("variables", variables, Mapping, NoneType)
        side = _side_of(target or self)
        plan = await make_plan(
            self._side,
            side,
            check_environment(source_environment),
            check_environment(target_environment),
            tools=check_tools(tools),
            variables=variables or {},
            create=create,
            level=level,
            warnings_as_errors=check_rule_names(warnings_as_errors),
        )
        self._targets[id(plan)] = side
        weakref.finalize(plan, self._targets.pop, id(plan)).atexit = False
        return plan

    async def deploy(
        self,
        plan: DeployPlan | PlanDocument,
        *,
        allow_drift: bool = False,
        force: str | None = None,
        target: ConfigStore | None = None,
        variables: Mapping[str, str] | None = None,
        options: ChangeOptions | None = None,
        **keywords: Unpack[ChangeKeywords],
    ) -> DeployResult:
        """Carry out a plan of this store in one commit for all its tools, or change nothing.

        `options` and `keywords` are those of `ChangeOptions`; cancellation is as in `upload`.

        Args:
            plan: the result of `plan_deploy`, or of `DeployPlan.from_dict`. A plan that comes from elsewhere is planned
                again first.
            allow_drift: overwrite manual changes of the target since its last deploy.
            force: the reason for deploying despite errors of validation, which is stored.
            target, variables: as in `plan_deploy`; only for a plan from elsewhere.

        Raises:
            PlanOutdated: the plan would be different now; nothing was changed.
            DeployRefused: the plan is blocked, or its source has changed; nothing was changed.
            RevisionConflict: the target has changed; nothing was changed.
            EnvironmentFrozen, CommitUnknown, StoreDamaged: see `upload`.
        """
        check_type("plan", plan, DeployPlan, PlanDocument)
        check_type("target", target, ConfigStore, NoneType)
        check_type("variables", variables, Mapping, NoneType)
        change = ChangeOptions.without_revision(options, keywords)
        check_notes(change.author, change.message, force)
        side = self._targets.get(id(plan))
        if side is None and isinstance(plan, DeployPlan):
            plan = DeployPlan.from_dict(plan.to_dict())
        elif side is not None and (target is not None or variables is not None):
            raise InvalidOption("this plan already has its target and variables", hint="omit them")
        return await deploy(
            plan,
            self._side,
            side or _side_of(target or self),
            variables or {},
            change,
            allow_drift=allow_drift,
            force=force,
        )

    # Imports ---------------------------------------------------------------------------------------------------------

    async def plan_import(
        self,
        source: str | os.PathLike[str] | ConfigStore,
        environment: str | None = None,
        *,
        tool: Tool | None = None,
        history: bool = False,
        ref: str = "HEAD",
        exclude: Collection[str] = EXCLUDED,
    ) -> ImportPlan:
        """Plan the import of an existing layout, byte for byte. Nothing is changed.

        Its bundles are in folders `{environment}/{tool}/`; with `environment`, in `{tool}/`; with `tool` as well, the
        source is one bundle. Everything else is left out, as the plan lists.

        Args:
            source: a directory; or a store, for everything under its prefix as it is in the bucket:
                `s3.configs("old-bucket", "legacy/")`.
            history: the directory is a Git checkout: import each commit of its first-parent history that changed a
                bundle as a revision, with its author and message; the message's first line, which the log keeps, also
                has the commit's id and time. What is not committed does not count.
            ref: the commit, branch or tag whose history is imported.
            exclude: as in `upload_dir`.

        Raises:
            InvalidRequest: the source cannot be read, or has a name that cannot be stored.
            ApmS3Error: S3 failed.
        """
        check_type("source", source, str, os.PathLike, ConfigStore)
        check_type("ref", ref, str)
        layout = Layout(
            None if environment is None else check_environment(environment),
            None if tool is None else check_tool(tool),
            tuple(exclude),
        )
        target = Target(self.bucket, self.prefix)
        if isinstance(source, ConfigStore):
            if history:
                raise InvalidOption("a prefix in S3 has no history", hint="import a checkout, or omit history")
            found = await find_in_bucket(_objects_of(source), layout, target)
            return await self._importer.plan(f"s3://{source.bucket}/{source.prefix}", found)
        if history:
            found = await find_in_history(source, ref, layout, target)
        else:
            found = await find_in_directory(source, layout, target)
        return await self._importer.plan(os.fspath(source), found)

    async def import_configs(
        self,
        plan: ImportPlan,
        *,
        author: str | None = None,
        message: str = "",
        force: str | None = None,
        on_progress: OnStoreProgress | None = None,
    ) -> tuple[Release, ...]:
        """Carry out a plan of `plan_import`, and return the releases that it committed, in their order.

        Each revision is one commit, under a write id that is made from its source. If the import is interrupted, what
        was committed stays; a new plan then has only the rest, and a repeated import commits nothing twice. Older
        revisions of a history may have errors, which are stored with them; the newest one of each bundle may not.

        Args:
            author, message: for revisions without a history.
            force: the reason for importing despite errors of validation, which is stored.
            on_progress: called after each revision.

        Raises:
            ConfigInvalid: the newest revision of a bundle has errors; nothing was imported.
            RevisionConflict: a tool has releases that are not from this source; or another writer was faster: the
                revisions before were imported.
            EnvironmentFrozen, CommitUnknown, StoreDamaged: see `upload`; the revisions before were imported.
        """
        check_type("plan", plan, ImportPlan)
        check_notes(author, message, force)
        return await self._importer.carry_out(
            plan, author=author, message=message, force=force, steps=Steps(on_progress)
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
        on_progress: OnStoreProgress | None = None,
    ) -> Backup:
        """Make a self-contained copy of the current state.

        If the call fails or is cancelled, what was copied has no manifest: it is not a backup, and a later collection
        deletes it.

        Args:
            tool: the tool to back up; None means all tools of the environment.
            target: the store for the backup, in another bucket or region; by default this one.
            retain: protect every object of the backup for this time (object lock, GOVERNANCE). The bucket must have
                object lock.
            on_progress: called after each file.

        Raises:
            ConfigNotFound: there is nothing to back up.
            InvalidOption: `retain` is set, but the bucket has no object lock.
            StoreDamaged: the content differs from what was stored; no backup was made.
        """
        tools = None if tool is None else [check_tool(tool)]
        check_notes(author, message)
        check_type("target", target, ConfigStore, NoneType)
        check_type("retain", retain, timedelta, NoneType)
        if retain is not None and retain <= timedelta(0):
            raise InvalidOption("retain must be more than 0", hint="omit it for no lock")
        into = _objects_of(target or self)
        return await self._backups.back_up(
            check_environment(environment), tools, into=into, author=author, message=message, retain=retain,
            steps=Steps(on_progress),
        )  # fmt: skip

    async def backup_all(
        self,
        *,
        target: ConfigStore | None = None,
        author: str | None = None,
        message: str = "",
        retain: timedelta | None = None,
        on_progress: OnStoreProgress | None = None,
    ) -> tuple[Backup, ...]:
        """Back up every environment that has a configuration, one after the other. See `backup`.

        The first failure ends the call; the backups that were finished before are kept.
        """
        names = [name for name in await self._views.environments() if not name.startswith(DRILL)]
        kept = [name for name in names if await self._views.releases(name)]
        return tuple(
            [
                await self.backup(
                    None, name, target=target, author=author, message=message, retain=retain, on_progress=on_progress
                )
                for name in kept
            ]
        )

    async def list_backups(self, environment: str | None = None) -> tuple[Backup, ...]:
        """Return the backups in this store's bucket, of one environment or of all, newest first.

        Interrupted backups have no manifest, so they are not listed. A backup that has lost files has `damage` set.

        Raises:
            FormatTooNew: a newer version of this library made one of them.
        """
        names = await self._backups.environments() if environment is None else [check_environment(environment)]
        found = [backup for name in names for backup in await self._backups.found(name)]
        return tuple(sorted(found, key=lambda each: (each.created_at, each.key), reverse=True))

    async def verify_backup(self, key: str, *, on_progress: OnStoreProgress | None = None) -> Backup:
        """Verify every file of a backup by its SHA-256 in the manifest.

        Args:
            on_progress: called after each file.

        Raises:
            ConfigNotFound: the backup does not exist.
            BackupInvalid: it is damaged.
        """
        check_type("key", key, str)
        return (await self._backups.verify(key, Steps(on_progress))).backup

    async def plan_restore(
        self,
        key: str,
        *,
        environment: str | None = None,
        tools: Sequence[Tool] | None = None,
        source: ConfigStore | None = None,
        on_progress: OnStoreProgress | None = None,
    ) -> RestorePlan:
        """Plan a restore: verify the backup, and change nothing. See `restore_environment`.

        Args:
            on_progress: called after each file.

        Raises:
            ConfigNotFound: the backup does not exist, or does not contain a tool.
            BackupInvalid: it is damaged.
        """
        check_type("key", key, str)
        check_type("source", source, ConfigStore, NoneType)
        checked = check_tools(tools)
        target = None if environment is None else check_environment(environment)
        return await self._restorer.plan(
            key, _backups_of(source or self), environment=target, tools=checked, steps=Steps(on_progress)
        )

    async def restore(
        self,
        key: str,
        *,
        tool: Tool | None = None,
        environment: str | None = None,
        source: ConfigStore | None = None,
        drill: bool = False,
        on_progress: OnStoreProgress | None = None,
        options: ChangeOptions | None = None,
        **keywords: Unpack[ReleaseKeywords],
    ) -> Release:
        """Restore one tool's configuration: `tool`, or the only one in the backup. See `restore_environment`.

        Raises:
            InvalidOption: the backup contains several tools, and `tool` is not set.
        """
        check_type("key", key, str)
        check_type("source", source, ConfigStore, NoneType)
        change = ChangeOptions.of(options, keywords)
        expected = change.expect_revision
        check_revisions(expect_revision=expected)
        backup = await _backups_of(source or self).manifest(key)
        if tool is None and len(backup.tools) != 1:
            raise InvalidOption(
                f"backup '{backup.key}' contains {', '.join(backup.tools)}",
                hint=Advice.RESTORE_ALL(),
            )
        chosen = check_tool(tool) if tool is not None else next(iter(backup.tools))
        expect: dict[str, int] = {} if expected is None else {chosen: expected}
        releases = await self.restore_environment(
            key,
            environment=environment,
            tools=[chosen],
            source=source,
            expect_revisions=expect,
            drill=drill,
            options=replace(change, expect_revision=None),
            on_progress=on_progress,
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
        drill: bool = False,
        on_progress: OnStoreProgress | None = None,
        options: ChangeOptions | None = None,
        **keywords: Unpack[ChangeKeywords],
    ) -> tuple[Release, ...]:
        """Restore the files of a backup as new revisions of all its tools, in one commit.

        Every file is verified first, and the replaced state is backed up, in this store's bucket. Tools that are not in
        the backup are not changed. Validation errors do not stop a restore; they are stored with the release.

        Args:
            key: the key of the backup; or a plan from `plan_restore`; or one from `RestorePlan.from_dict`, which is
                planned again first. A plan already has its environment, tools and revisions.
            environment: the environment to restore to; by default that of the backup.
            tools: the tools to restore; by default all tools of the backup.
            source: the store whose bucket contains the backup; by default this one.
            expect_revisions: the expected current revisions of tools; others raise `RevisionConflict`.
            options, keywords: see `ChangeOptions`.
            drill: restore to a scratch environment, read it back, compare every byte, and remove it again.
            on_progress: called after each file that is verified or backed up, and before each other phase.

        Raises:
            PlanOutdated: the plan would be different now; nothing was changed.
            ConfigNotFound: the backup does not exist, or does not contain a tool.
            BackupInvalid: it is damaged; nothing was changed.
            RevisionConflict, EnvironmentFrozen, StoreDamaged: nothing was changed.
            CommitUnknown: the outcome is not known; use `outcome` to find out.
        """
        check_type("key", key, str, RestorePlan, PlanDocument)
        check_type("source", source, ConfigStore, NoneType)
        check_type("expect_revisions", expect_revisions, Mapping)
        check_revisions(**expect_revisions)
        checked = check_tools(tools)
        change = ChangeOptions.without_revision(options, keywords)
        check_notes(change.author, change.message)
        target = None if environment is None else check_environment(environment)
        steps = Steps(on_progress)
        if not isinstance(key, str):
            if drill or target is not None or checked is not None or expect_revisions:
                raise InvalidOption("a plan already has its environment, tools and revisions", hint="omit them")
            return await self._restorer.carry_out(key, _backups_of(source or self), change, steps)
        if drill:
            if target is not None:
                raise InvalidOption("a drill restores to a scratch environment", hint="omit environment")
            if change.write_id is not None or change.timeout is not None:
                raise InvalidOption("a drill does not accept timeout or write_id", hint="omit them")
            return tuple(
                await self._restorer.drill(
                    key, _backups_of(source or self), tools=checked, author=change.author, steps=steps
                )
            )
        releases = await self._restorer.restore(
            key,
            _backups_of(source or self),
            environment=target,
            tools=checked,
            change=change,
            expect=expect_revisions,
            steps=steps,
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
        """Delete old backups, and return those that were (or, in a dry run, would be) deleted, oldest first.

        A backup is deleted if each tool in it has `keep` newer backups, and if it is older than `older_than`. The
        newest intact backup of a tool is never deleted, nor is a backup that object lock protects.

        Raises:
            InvalidOption: neither `keep` nor `older_than` is set.
            ApmS3Error: some could not be deleted; repeat the call.
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
        dry_run: bool = False,
        on_progress: OnStoreProgress | None = None,
        options: ChangeOptions | None = None,
        **keywords: Unpack[ChangeKeywords],
    ) -> GarbageReport:
        """Delete old revisions, old log entries, and objects left by interrupted writes and backups.

        First, one commit records what is dropped; then it is deleted. If the call is cancelled before the commit,
        nothing is changed; later, the commit is finished, and the next collection deletes the rest.

        Args:
            keep_revisions: keep this number of revisions, everything younger than `older_than`, and the revision
                marked good. For this and the next two, the environment's settings are the default and the minimum.
            older_than: at least 24 hours, which is the default.
            keep_log: how long log entries are kept: a year by default, at least 24 hours. They are deleted in groups,
                so some are kept longer.
            dry_run: only report what would be deleted; this also works if the environment is frozen.
            options, keywords: see `ChangeOptions`. Repeating the same call with its write id commits nothing: it
                deletes what the first call left, and reports that.
            on_progress: called after each object of a listing, and before and after the deletion.

        Raises:
            InvalidOption: less than one revision, less than 24 hours, or less than the environment's settings keep; or
                the write id belongs to another write.
            ConfigNotFound: the environment does not exist.
            EnvironmentFrozen: nothing is dropped while it is frozen.
            StoreDamaged: a release that is kept cannot be read; nothing was deleted.
            BatchError: some objects could not be deleted; the others were.
            DeadlineExceeded: the deadline passed; objects already deleted stay deleted.
        """
        check_type("keep_revisions", keep_revisions, int, NoneType)
        check_type("older_than", older_than, timedelta, NoneType)
        check_type("keep_log", keep_log, timedelta, NoneType)
        wanted = WantedRetention(keep_revisions, older_than, keep_log)
        change = ChangeOptions.without_revision(options, keywords)
        request = EnvironmentRequest(check_environment(environment), change)
        note = request.note("collect", wanted.to_dict())
        return await self._collector.collect(
            environment, wanted, note, dry_run=dry_run, timeout=change.timeout, write_id=change.write_id,
            steps=Steps(on_progress),
        )  # fmt: skip

    async def fsck(self, environment: str, *, on_progress: OnStoreProgress | None = None) -> FsckReport:
        """Check every document, blob and copy of an environment, without changing anything.

        Args:
            on_progress: called after each document, blob and copy.

        Raises:
            ConfigNotFound: the environment does not exist.
        """
        return await self._checker.check(check_environment(environment), Steps(on_progress))

    async def repair(
        self,
        environment: str,
        *,
        choose: Mapping[str, str | int] | None = None,
        dry_run: bool = False,
        options: ChangeOptions | None = None,
        **keywords: Unpack[ChangeKeywords],
    ) -> RepairReport:
        """Repair what `fsck` finds, and update `live/`. Harmless if nothing is wrong.

        In a versioned bucket, the reference document is recovered from its last version. Lost objects are recovered
        from older versions, other blobs, live copies and backups with the same SHA-256. Old revisions that cannot be
        recovered are marked as damaged; all others are kept. The caller must choose only if a tool's current release or
        the reference document is lost, after everything else was repaired.

        Args:
            choose: by tool, if a choice is needed, the revision whose files become a new one, or the key of its release
                document; 0 means a revision without files, if no release is intact.
            dry_run: change nothing, and report what would be done, and how the environment would be afterwards.
            options, keywords: see `ChangeOptions`; by default, the message says what was done. Repeating the same call
                with its write id does not write the reference document again: it updates `live/` and checks. If nothing
                had to be written, the id is not stored.

        If the call is cancelled, recovered objects are kept. The write of the reference document and the refresh of
        `live/` are finished; the caller waits for them at most 10 seconds.

        Raises:
            StoreDamaged: a choice is needed; the message lists the candidates, and says what was done.
            InvalidOption: the environment's settings require an author, or the write id belongs to another write;
                nothing was changed.
            DeadlineExceeded: the deadline passed; what was repaired by then is kept.
            ConfigNotFound: the environment or a chosen release does not exist.
            FormatTooNew: a newer version of this library wrote it.
        """
        check_type("choose", choose, Mapping, NoneType)
        for tool, choice in (choose or {}).items():
            check_tool(tool)
            check_type("choose", choice, str, int)
        change = ChangeOptions.without_revision(options, keywords)
        check_log_notes(change.author, change.message)
        repairer = self._repairer
        if dry_run:
            objects = DryRun(self._objects)
            reader = Reader(objects)
            live, backups = Live(objects, reader), Backups(objects, reader)
            repairer = Repairer(objects, reader, Checker(objects, reader), live, backups, self._afterwards)
        return await repairer.repair(
            check_environment(environment),
            choose or {},
            author=change.author,
            message=change.message,
            timeout=change.timeout,
            write_id=change.write_id,
        )

    async def status(self, environment: str | None = None) -> tuple[ToolStatus, ...]:
        """Return revision, age, author, drift, good mark and last backup of every tool, in one environment or in all.

        A release that cannot be read is a row that says so (`damaged`); the others stand. It costs one request per
        environment and a few per tool, independent of the length of the history.

        Raises:
            ConfigNotFound: the environment does not exist.
            StoreDamaged: the reference document of `environment` is damaged.
        """
        names = await self._views.environments() if environment is None else [check_environment(environment)]
        return tuple(await self._status.status(names))

    def watch(
        self, environment: str, tools: Collection[Tool] | None = None, *, interval: float = 10.0
    ) -> AsyncGenerator[Release, None]:
        """Yield the current releases, then each new one: `async for release in store.watch("production")`.

        It sends at most one request per interval (with some jitter), for any number of watchers of this store. While
        nothing changes, the response is empty (304), but AWS bills the GET like any other: 1 000 processes with an
        interval of 10 seconds send 8.6 million GETs a day. An application that receives S3's events (EventBridge, SQS)
        can use a long interval and call `notify_changed`. Outages do not stop a watch. A slow consumer may miss
        revisions, but never the last one. A removed configuration is a release without files.

        Args:
            tools: by default all.
            interval: seconds; the shortest one of all watchers of the environment applies.

        Raises:
            InvalidRequest: a tool or name is not valid, or the interval is not more than 0.
            ApmS3Error: the first request failed permanently.
        """
        check_environment(environment)
        _check_interval(interval)
        checked = check_tools(tools)
        wanted = None if checked is None else frozenset(checked)
        return self._watches.watch(environment, wanted, interval)

    def notify_changed(self, environment: str) -> None:
        """Make this store's watchers of an environment check now, without waiting for the interval.

        Call it for S3's events about `configs/{environment}/current.json`, or other notifications. It costs one
        conditional GET for all watchers, and one more if called again during that request. Without watchers, it does
        nothing.

        Raises:
            InvalidKey: the environment name is not valid.
        """
        self._watches.notify(check_environment(environment))

    def watch_log(
        self, environment: str, *, since: int | None = None, interval: float = 10.0
    ) -> AsyncGenerator[LogEntry, None]:
        """Yield each new log entry, in order and without gaps: `async for entry in store.watch_log("production")`.

        An entry describes everything that its commit changed. While nothing changes, all watchers in this process
        together cost one conditional GET per interval, which AWS bills like any GET; otherwise they cost one GET for up
        to 64 commits, and no other requests. After a longer absence, a watcher also reads stored parts of the log.

        Args:
            since: the sequence of the last known entry; None means only new entries.
            interval: seconds; the shortest one of all watchers of the environment applies.

        Raises:
            InvalidRequest: the name is not valid, or the interval is not more than 0.
            StoreDamaged: an entry is missing, or differs from what was written.
            ApmS3Error: the first request failed permanently.
        """
        check_environment(environment)
        check_type("since", since, int, NoneType)
        _check_interval(interval)
        return self._watches.watch_log(environment, since, interval)


def _check_limit(limit: int | None) -> None:
    check_type("limit", limit, int, NoneType)
    if limit is not None and limit < 1:
        raise InvalidOption(f"limit {limit} is less than 1", hint="omit it for all of them")


def _check_interval(interval: float) -> None:
    check_type("interval", interval, int, float)
    if not interval > 0:
        raise InvalidOption("interval must be more than 0 seconds", hint="10 is a good value")


# The parts of a store that another store may use.


def _backups_of(store: ConfigStore) -> Backups:
    return store._backups  # noqa: SLF001


def _side_of(store: ConfigStore) -> Side:
    return store._side  # noqa: SLF001


def _objects_of(store: ConfigStore) -> ObjectStore:
    return store._objects  # noqa: SLF001
