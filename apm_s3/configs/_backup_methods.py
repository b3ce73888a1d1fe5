"""The methods of `ConfigStore` about backups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType, NoneType

from apm_s3._naming import check_environment
from apm_s3._plans import PlanDocument
from apm_s3._tools import Tool
from apm_s3.configs._backups.backups import Backups
from apm_s3.configs._backups.manifest import Backup
from apm_s3.configs._backups.restore import DRILL, RestorePlan, Restorer
from apm_s3.configs._content.sources import check_notes, check_revisions, check_tool, check_tools, check_type
from apm_s3.configs._models import Release
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reader import Reader
from apm_s3.configs._views import Views
from apm_s3.errors import InvalidOption


class BackupMethods:
    """Backups of a store's configurations. A part of `ConfigStore`."""

    _objects: ObjectStore
    _reader: Reader
    _views: Views
    _restorer: Restorer
    _backups: Backups

    async def backup(
        self,
        tool: Tool | None,
        environment: str,
        *,
        target: BackupMethods | None = None,
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
        check_type("target", target, BackupMethods, NoneType)
        check_type("retain", retain, timedelta, NoneType)
        if retain is not None and retain <= timedelta(0):
            raise InvalidOption("retain is not more than nothing", hint="leave it out for no lock")
        into = (target or self)._objects  # noqa: SLF001 - another store of the same class
        return await self._backups.back_up(
            check_environment(environment), tools, into=into, author=author, message=message, retain=retain
        )

    async def backup_all(
        self,
        *,
        target: BackupMethods | None = None,
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
        source: BackupMethods | None = None,
    ) -> RestorePlan:
        """What a restore would do; the backup is verified, and nothing is changed. See `restore_environment`.

        Raises:
            ConfigNotFound: no such backup, or a tool is not in it.
            BackupInvalid: it is damaged.
        """
        check_type("key", key, str)
        check_type("source", source, BackupMethods, NoneType)
        checked = check_tools(tools)
        target = None if environment is None else check_environment(environment)
        return await self._restorer.plan(key, _from(source or self), environment=target, tools=checked)

    async def restore(
        self,
        key: str,
        *,
        tool: Tool | None = None,
        environment: str | None = None,
        source: BackupMethods | None = None,
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
        check_type("source", source, BackupMethods, NoneType)
        check_revisions(expect_revision=expect_revision)
        backup = await _from(source or self).manifest(key)
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
        source: BackupMethods | None = None,
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
        check_type("source", source, BackupMethods, NoneType)
        check_type("expect_revisions", expect_revisions, Mapping)
        check_revisions(**expect_revisions)
        checked = check_tools(tools)
        check_notes(author, message)
        target = None if environment is None else check_environment(environment)
        if not isinstance(key, str):
            if drill or target is not None or checked is not None or expect_revisions:
                raise InvalidOption("a plan has its environment, tools and revisions already", hint="leave them out")
            return await self._carry_out(key, _from(source or self), author, message, timeout, write_id)
        if drill:
            if target is not None:
                raise InvalidOption("a drill restores into an environment of its own", hint="leave environment out")
            if write_id is not None or timeout is not None:
                raise InvalidOption("a drill takes no timeout and no write_id", hint="leave them out")
            return tuple(await self._restorer.drill(key, _from(source or self), tools=checked, author=author))
        releases = await self._restorer.restore(
            key,
            _from(source or self),
            environment=target,
            tools=checked,
            author=author,
            message=message,
            expect=expect_revisions,
            timeout=timeout,
            write_id=write_id,
        )
        return tuple(releases)

    async def _carry_out(
        self,
        plan: RestorePlan | PlanDocument,
        source: Backups,
        author: str | None,
        message: str,
        timeout: float | None,
        write_id: str | None,
    ) -> tuple[Release, ...]:
        if isinstance(plan, PlanDocument):
            fresh = await self._restorer.plan(
                plan.text("backup", "key"),
                source,
                environment=check_environment(plan.text("target", "environment")),
                tools=check_tools(plan.names("tools")),
            )
            plan.require_same(fresh.to_dict(), bucket=fresh.bucket)
            plan = fresh
        releases = await self._restorer.restore(
            plan.backup.key,
            source,
            environment=plan.environment,
            tools=tuple(plan.revisions),
            author=author,
            message=message,
            expect=plan.revisions,
            plan=plan.hash,
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


def _from(source: BackupMethods) -> Backups:
    return source._backups  # noqa: SLF001 - another store of the same class
