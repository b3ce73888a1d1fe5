"""Restores of a backup: the plan, and the commit of what it holds."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from apm_s3._hints import Advice
from apm_s3._naming import check_environment
from apm_s3._plans import PlanDocument, plan_document
from apm_s3._tasks import run_all, shielded
from apm_s3._tools import Tool
from apm_s3.configs._backups.backups import Backup, Backups, Verified
from apm_s3.configs._checks import Checks, check_bundle, keep_checks
from apm_s3.configs._content.diff import BundleDiff, diff_bundles
from apm_s3.configs._content.files import check_tools
from apm_s3.configs._models import NO_SETTINGS, EnvironmentSettings, Origin, Release
from apm_s3.configs._progress import Steps
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.commit import WriteCall
from apm_s3.configs._protocol.objects import ObjectStore, delete_what_can_be, server_time
from apm_s3.configs._protocol.publish import Draft, Publisher
from apm_s3.configs._protocol.reader import Reader, Snapshot
from apm_s3.configs._reads import Views
from apm_s3.configs._uploads import ChangeOptions
from apm_s3.errors import ApmS3Error, BackupInvalid, ConfigNotFound, EnvironmentFrozen, InvalidOption, PlanOutdated
from apm_s3.validators._validation.offload import run_quick

KIND = "apm-s3/restore-plan"


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore would do.

    Attributes:
        revisions: the current revision of each tool to restore (0: none).
        diffs: the differences from the current files to the backup, by tool.
        warnings: the results of validating the backup's files, by tool; they do not stop a restore.
        blocked: why it would be refused now; empty if it would not.
        hashes: the SHA-256 of the current files, by tool and name.
    """

    backup: Backup
    bucket: str
    environment: str
    revisions: Mapping[str, int]
    diffs: Mapping[str, BundleDiff]
    warnings: Mapping[str, tuple[str, ...]]
    blocked: tuple[str, ...] = ()
    hashes: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    prefix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as a JSON document, as `DeployPlan.to_dict` does."""
        return plan_document(
            KIND,
            {
                "backup": {"bucket": self.backup.bucket, "key": self.backup.key},
                "target": {"bucket": self.bucket, "prefix": self.prefix, "environment": self.environment},
                "blocked": bool(self.blocked),
                "tools": {tool: self._described(tool) for tool in self.backup.tools if tool in self.revisions},
            },
        )

    def _described(self, tool: Tool) -> dict[str, Any]:
        old = self.hashes.get(tool, {})
        new = {name: file.sha256 for name, file in self.backup.tools[tool].files.items()}
        return {
            "revision": self.revisions[tool],
            "warnings": len(self.warnings.get(tool, ())),
            "files": {
                name: {"before": old.get(name), "after": new.get(name)} for name in sorted(old.keys() | new.keys())
            },
        }

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> PlanDocument:
        """Read a plan's document for `restore_environment`, as `DeployPlan.from_dict` does."""
        return PlanDocument.read(KIND, document)

    @property
    def hash(self) -> str:
        """Return the hash of the plan's whole content, which is stored in the log."""
        name: str = self.to_dict()["hash"]
        return name


log = logging.getLogger(__name__)

DRILL = "drill-"
"""The prefix of the names of scratch environments."""

_ABANDONED = timedelta(days=1)
"""Age after which a scratch environment must be from a drill that was killed."""
_CLEAN_UP = 30.0
"""Maximum seconds for removing a scratch environment."""


@dataclass(frozen=True, slots=True)
class _Replaced:
    """The files before a restore, from the same state."""

    revisions: Mapping[str, int]
    files: Mapping[str, Mapping[str, bytes]]
    frozen: str | None = None
    hashes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    settings: EnvironmentSettings = field(default_factory=EnvironmentSettings)


class Restorer:
    """Restores backups to one store."""

    def __init__(
        self, objects: ObjectStore, prefix: str, reader: Reader, publisher: Publisher, views: Views, own: Backups
    ) -> None:
        self._objects = objects
        self._prefix = prefix
        self._reader = reader
        self._publisher = publisher
        self._views = views
        self._own = own

    async def plan(
        self, key: str, source: Backups, *, environment: str | None, tools: Sequence[str] | None, steps: Steps
    ) -> RestorePlan:
        """Verify a backup, and compare it with the current files, without changing anything.

        Raises:
            ConfigNotFound: the backup does not exist, or does not contain a tool.
            BackupInvalid: it is damaged.
            StoreDamaged: the current files cannot be read.
        """
        verified = _chosen(await source.verify(key, steps), tools)
        target = environment or verified.backup.environment
        replaced = await self._replaced(target, tuple(verified.files), steps)
        checks = await self._checked(verified, replaced.settings)
        label = f"{target}/"
        diffs = await run_quick(
            lambda: {
                tool: diff_bundles(
                    replaced.files.get(tool, {}), files, old_label=label + tool, new_label=f"backup/{tool}"
                )
                for tool, files in verified.files.items()
            }
        )
        return RestorePlan(
            backup=verified.backup,
            bucket=self._objects.bucket,
            environment=target,
            revisions=replaced.revisions,
            diffs=MappingProxyType(diffs),
            warnings=MappingProxyType({tool: each.warnings for tool, each in checks.items()}),
            blocked=() if replaced.frozen is None else (replaced.frozen,),
            hashes=replaced.hashes,
            prefix=self._prefix,
        )

    async def restore(
        self,
        key: str,
        source: Backups,
        *,
        environment: str | None,
        tools: Sequence[str] | None,
        change: ChangeOptions,
        expect: Mapping[str, int],
        steps: Steps,
    ) -> list[Release]:
        """Restore a backup's files as the current releases of its tools, in one commit.

        Raises:
            ConfigNotFound, BackupInvalid: see `plan`; nothing was changed.
            RevisionConflict, EnvironmentFrozen, StoreDamaged: nothing was changed.
            CommitUnknown: the outcome is not known.
        """
        backup = await source.manifest(key)
        target = environment or backup.environment
        async with self._publisher.committer.call(target, change.timeout, change.write_id) as call:
            return await self._restore(backup, source, target, call, steps, tools=tools, change=change, expect=expect)

    async def _restore(
        self,
        backup: Backup,
        source: Backups,
        target: str,
        call: WriteCall,
        steps: Steps,
        *,
        tools: Sequence[str] | None,
        change: ChangeOptions,
        expect: Mapping[str, int],
        plan: str | None = None,
    ) -> list[Release]:
        """Restore as `restore` does; `plan` is the hash of the plan that is carried out."""
        # Data is read twice (the backup and the replaced files) and written twice (their backup and the new release).
        call.allow(4 * backup.size)
        chosen = [tool for tool in backup.tools if tools is None or tool in tools]
        done = await self._publisher.repeated(target, chosen, call=call, same=lambda old: _is_of(old, backup))
        if done:
            return done
        verified = _chosen(await source.verify(backup.key, steps), tools)
        replaced = await self._replaced(target, tuple(verified.files), steps)
        if replaced.frozen is not None:
            raise EnvironmentFrozen(replaced.frozen, environment=target, hint=Advice.THAW(environment=target))
        replaced.settings.check_note(target, change.author, change.message)
        revisions = {tool: expect.get(tool, replaced.revisions[tool]) for tool in verified.files}
        present = [tool for tool, files in replaced.files.items() if files]
        if present and revisions == replaced.revisions:
            told = f"before the restore of {backup.key}"
            await self._own.back_up(
                target, present, into=self._objects, author=change.author, message=told, retain=None, steps=steps
            )
        return await self._publish(verified, target, revisions, change, call, steps, replaced.settings, plan)

    async def carry_out(
        self,
        plan: RestorePlan | PlanDocument,
        source: Backups,
        change: ChangeOptions,
        steps: Steps,
    ) -> tuple[Release, ...]:
        """Carry out a plan for `ConfigStore.restore_environment`; make a plan from a document again first."""
        target = (
            plan.environment if isinstance(plan, RestorePlan) else check_environment(plan.text("target", "environment"))
        )
        async with self._publisher.committer.call(target, change.timeout, change.write_id) as call:
            if isinstance(plan, PlanDocument):
                document = plan
                try:
                    plan = await self._plan_again(document, source, target, call, steps)
                except (PlanOutdated, ConfigNotFound):
                    # The change since the plan may be an earlier commit of this same call.
                    done = await self._made_before(document, target, call)
                    if not done:
                        raise
                    return tuple(done)
            releases = await self._restore(
                plan.backup,
                source,
                target,
                call,
                steps,
                tools=tuple(plan.revisions),
                change=change,
                expect=plan.revisions,
                plan=plan.hash,
            )
        return tuple(releases)

    async def _plan_again(
        self, document: PlanDocument, source: Backups, target: str, call: WriteCall, steps: Steps
    ) -> RestorePlan:
        key, tools = document.text("backup", "key"), check_tools(document.names("tools"))
        # The files of the backup, and about as much of the target's.
        call.allow(2 * (await source.manifest(key)).size)
        fresh = await self.plan(key, source, environment=target, tools=tools, steps=steps)
        document.require_same(fresh.to_dict(), bucket=fresh.bucket)
        return fresh

    async def _made_before(self, document: PlanDocument, target: str, call: WriteCall) -> list[Release]:
        # The hash covers the whole plan.
        return await self._publisher.repeated(
            target, document.names("tools"), call=call, same=lambda old: old.origin.plan == document.hash
        )

    async def drill(
        self, key: str, source: Backups, *, tools: Sequence[str] | None, author: str | None, steps: Steps
    ) -> list[Release]:
        """Restore a backup to a scratch environment, read it back, compare every byte, and remove it again.

        Raises:
            ConfigNotFound, BackupInvalid: see `plan`; or the files that were read back differ from the backup.
        """
        await self._remove_abandoned()
        verified = _chosen(await source.verify(key, steps), tools)
        scratch = f"{DRILL}{secrets.token_hex(8)}"
        try:
            revisions = dict.fromkeys(verified.files, 0)
            note = ChangeOptions(author=author, message=f"drill of {key}")
            async with self._publisher.committer.call(scratch) as call:
                call.allow(verified.backup.size)
                releases = await self._publish(verified, scratch, revisions, note, call, steps)
            steps.begin(scratch, "comparing files")
            await self._compare(verified, scratch)
            steps.begin(scratch, "removing the scratch environment")
        except BaseException:
            # Keep the original error; a later drill removes a remaining scratch environment.
            with suppress(ApmS3Error, TimeoutError):
                await self._clean_up(scratch)
            raise
        await self._clean_up(scratch)
        return releases

    async def _clean_up(self, scratch: str) -> None:
        async def remove() -> None:
            # It needs its own timeout: a shielded drill that was already cancelled would wait forever.
            async with asyncio.timeout(_CLEAN_UP):
                await self._remove(scratch)

        await shielded(remove(), timeout=_CLEAN_UP)

    async def _replaced(self, environment: str, tools: Sequence[str], steps: Steps) -> _Replaced:
        async def read(snapshot: Snapshot) -> _Replaced:
            found = await run_all(self._reader.newest(snapshot, tool) for tool in tools)
            releases = {tool: release for tool, release in zip(tools, found, strict=True) if release is not None}
            steps.begin(environment, "reading current files", len(releases))
            files = await run_all(steps.count(self._reader.files, release) for release in releases.values())
            freeze = snapshot.current.freeze
            return _Replaced(
                {tool: releases[tool].revision if tool in releases else 0 for tool in tools},
                dict(zip(releases, files, strict=True)),
                None if freeze is None else f"'{environment}' is frozen: {freeze.reason}",
                {
                    tool: {name: entry.sha256 for name, entry in release.files.items()}
                    for tool, release in releases.items()
                },
                snapshot.current.settings,
            )

        try:
            return await self._reader.read_consistently(environment, read)
        except ConfigNotFound:
            return _Replaced(dict.fromkeys(tools, 0), {})

    async def _checked(self, verified: Verified, settings: EnvironmentSettings) -> dict[str, Checks]:
        # Validation may have become stricter since the backup, but must not stop a restore.
        reason = f"restored from {verified.backup.key}"
        checks = {}
        for tool in verified.backup.tools:
            if tool in verified.files:
                files = verified.files[tool]
                report = await check_bundle(tool, files, settings.rules(tool))
                checks[str(tool)] = await keep_checks([report], files, (), force=reason)
        return checks

    async def _publish(
        self,
        verified: Verified,
        environment: str,
        revisions: Mapping[str, int],
        change: ChangeOptions,
        call: WriteCall,
        steps: Steps,
        settings: EnvironmentSettings = NO_SETTINGS,
        plan: str | None = None,
    ) -> list[Release]:
        checks, backup = await self._checked(verified, settings), verified.backup
        bucket = backup.source_bucket if backup.source_bucket != self._objects.bucket else None

        async def make(_: Snapshot, bases: Mapping[str, Release | None]) -> Sequence[Draft]:
            return [
                Draft(
                    tool=tool,
                    base=bases[tool],
                    files=dict(files),
                    origin=Origin("restore", backup.environment, backup.tools[tool].revision, bucket, backup.key, plan),
                    author=change.author,
                    message=change.message,
                    warnings=checks[tool].warnings,
                    forced=checks[tool].forced,
                    expect=revisions[tool],
                )
                for tool in backup.tools
                if (files := verified.files.get(tool)) is not None
            ]

        def same(release: Release) -> bool:
            return _is_of(release, backup)

        steps.begin(environment, "storing files")
        return await self._publisher.publish(environment, make, dict(revisions), call=call, same=same)

    async def _compare(self, verified: Verified, scratch: str) -> None:
        found = await self._views.environment(scratch, tuple(verified.files))
        for tool, files in verified.files.items():
            if {name: file.raw for name, file in found[tool].files.items()} != dict(files):
                raise BackupInvalid(
                    f"the drill of '{verified.backup.key}' read back files of {tool} that differ from the backup",
                    tool=tool, bucket=self._objects.bucket, key=verified.backup.key,
                )  # fmt: skip

    async def _remove(self, scratch: str) -> None:
        for prefix in (f"live/{scratch}/", keys.environment_prefix(scratch)):
            async with aclosing(self._objects.list(prefix)) as listing:
                found = [info.key async for info in listing]
            # Delete the reference document last, so that until then the objects are recognizable as an environment.
            current = keys.current(scratch)
            for batch in ([key for key in found if key != current], [key for key in found if key == current]):
                for key, reason in (await delete_what_can_be(self._objects, batch)).items():
                    log.warning("'%s' of a drill cannot be deleted: %s", key, reason)

    async def _remove_abandoned(self) -> None:
        async with aclosing(self._objects.list_folders("configs/")) as folders:
            left = [name async for name in folders if name.startswith(DRILL)]
        for scratch in left:
            async with aclosing(self._objects.list(keys.environment_prefix(scratch))) as listing:
                found = [info async for info in listing]
            if not found:
                continue
            now = datetime.fromtimestamp(server_time(await self._objects.head(found[0].key)), UTC)
            if all(info.last_modified is not None and now - info.last_modified > _ABANDONED for info in found):
                await self._remove(scratch)


def _is_of(release: Release, backup: Backup) -> bool:
    """Return whether a release was created by restoring a backup."""
    return release.origin.action == "restore" and release.origin.backup == backup.key


def _chosen(verified: Verified, tools: Sequence[str] | None) -> Verified:
    """Return the part of a backup to restore."""
    if tools is None:
        return verified
    absent = [tool for tool in tools if tool not in verified.files]
    if absent or not tools:
        held = ", ".join(verified.files)
        if not tools:
            raise InvalidOption("tools is empty", hint=f"the backup contains {held}")
        raise ConfigNotFound(
            f"backup '{verified.backup.key}' does not contain {', '.join(absent)}",
            key=verified.backup.key,
            hint=f"it contains {held}",
        )
    return Verified(verified.backup, MappingProxyType({tool: verified.files[tool] for tool in tools}))
