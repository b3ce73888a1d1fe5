"""Changes of configurations, from a caller's arguments to the drafts that are published."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from apm_s3._naming import check_environment, check_file_name
from apm_s3._tasks import run_all
from apm_s3._tools import Tool
from apm_s3.configs._content.directories import read_directory
from apm_s3.configs._content.sources import (
    check_notes,
    check_revisions,
    check_tool,
    check_type,
    gather_sources,
)
from apm_s3.configs._models.current import Freeze
from apm_s3.configs._models.log import Note
from apm_s3.configs._models.releases import Origin, Release
from apm_s3.configs._models.settings import EnvironmentSettings, SettingsChange
from apm_s3.configs._protocol.commit.calls import Call
from apm_s3.configs._protocol.commit.changes import (
    Change,
    MarkGood,
    RemoveEnvironment,
    SetFreeze,
    SetSettings,
)
from apm_s3.configs._protocol.commit.committer import Committer
from apm_s3.configs._protocol.documents.log import read_entry
from apm_s3.configs._protocol.documents.settings import encode_settings
from apm_s3.configs._protocol.publish import Beside, Draft, Make, Publisher
from apm_s3.configs._protocol.reading.reader import Reader
from apm_s3.configs._protocol.reading.snapshots import Snapshot
from apm_s3.configs._reads.views import Views
from apm_s3.configs._writes.checks import Checks, check_bundle, report_bundle, report_files
from apm_s3.configs._writes.requests import CurrentRevision, EnvironmentRequest, ToolRequest
from apm_s3.configs._writes.uploads import Given, Upload, UploadTerms, left_out
from apm_s3.errors import InvalidOption
from apm_s3.reports import ValidationReport
from apm_s3.validators._checking import report_secrets
from apm_s3.validators._validation.offload import run_large


class Writer:
    """Changes configurations and environments of one store."""

    def __init__(self, reader: Reader, views: Views, committer: Committer, publisher: Publisher) -> None:
        self._reader = reader
        self._views = views
        self._committer = committer
        self._publisher = publisher

    async def validate(self, tool: Tool, what: Given) -> ValidationReport:
        given = await gather_sources(check_tool(tool), what.source, what.files, what.name)
        if not given:
            raise InvalidOption("there is nothing to validate", hint="pass source or files")
        reports = await report_files(tool, given, whole=what.files is not None)
        report = reports[0] if reports else await report_bundle(tool, given)
        return await run_large(partial(report_secrets, report, given), sum(map(len, given.values())))

    async def current(self, tool: Tool, environment: str, names: Collection[str] | None) -> CurrentRevision:
        """Return the current revision of a tool, with the contents of some files, or of all if `names` is None.

        Raises:
            UsageError: this bucket is a replica.
            StoreDamaged: the release, or one of the files, differs from what was stored.
        """
        for name in names or ():
            check_file_name(name)

        async def read(begun: Snapshot) -> CurrentRevision:
            release = await self._reader.newest(begun, check_tool(tool))
            if release is None:
                return CurrentRevision.of(begun, None, {})
            wanted = {name: entry for name, entry in release.files.items() if names is None or name in names}
            return CurrentRevision.of(begun, release, await self._reader.files(release, wanted))

        return await self._reader.settled(check_environment(environment), read, begin=self._committer.peek)

    async def upload(self, request: ToolRequest, what: Given, terms: UploadTerms) -> Release:
        request.check(terms.force)
        async with self._call(request) as call:
            return await self._upload(call, request, what, terms)

    async def upload_dir(
        self, request: ToolRequest, path: str | os.PathLike[str], exclude: Collection[str], terms: UploadTerms
    ) -> Release:
        request.check(terms.force)
        directory = await read_directory(path, exclude)
        what = Given(files=directory.files, notes=left_out(directory.left_out))
        async with self._call(request) as call:
            return await self._upload(call, request, what, terms)

    async def _upload(self, call: Call, request: ToolRequest, what: Given, terms: UploadTerms) -> Release:
        upload = await Upload.read(self._reader, request, what, terms)
        expect: dict[str, int | None] = {request.tool: request.expect_revision}

        async def make(begun: Snapshot, bases: Mapping[str, Release | None]) -> Sequence[Draft]:
            if not begun.etag and not terms.create:
                await self._views.check_may_begin(request.environment)
            return await upload.make(begun, bases)

        made = await self._publisher.publish(
            request.environment, make, expect, call=call, same=upload.is_made_by, beside=upload.look,
            first=request.begun,
        )  # fmt: skip
        release = made[0] if made else upload.unchanged
        if release is None:
            raise AssertionError("an upload makes a release, or finds it unchanged")
        return release

    async def remove(self, request: ToolRequest) -> Release:
        request.check()

        async def make(_: Snapshot, bases: Mapping[str, Release | None]) -> Sequence[Draft]:
            base = bases[request.tool]
            if base is None or base.removed:
                await self._views.current(request.tool, request.environment)  # says why not
            return [request.draft(base, {}, Origin("remove"))]

        async with self._call(request) as call:
            return await self._publish(request, make, call, lambda old: old.removed)

    async def rollback(self, request: ToolRequest, to_revision: int | None, force: str | None) -> Release:
        request.check(force)
        check_revisions(to_revision=to_revision)
        tool, environment = request.tool, request.environment
        found: list[tuple[Release, Mapping[str, bytes]]] = []

        async def find(begun: Snapshot) -> None:
            if tool not in begun.current.tools:
                await self._views.wanted(tool, environment, to_revision, good=to_revision is None)  # says why not
            old = await self._views.find(begun, tool, to_revision, good=to_revision is None)
            call.allow(old.size)
            found[:] = [(old, await self._reader.files(old))]

        async def make(begun: Snapshot, bases: Mapping[str, Release | None]) -> Sequence[Draft]:
            [(old, files)] = found
            rules = begun.current.settings.rules(tool)
            checks = Checks()
            if files:
                checks = await check_bundle(tool, files, force=force, rules=rules, known=(old,))
            origin = Origin("rollback", environment, old.revision)
            return [request.draft(bases[tool], old.files, origin, checks.warnings, checks.forced, files)]

        def same(release: Release) -> bool:
            return release.origin.action == "rollback" and to_revision in (None, release.origin.revision)

        async with self._call(request) as call:
            return await self._publish(request, make, call, same, beside=find)

    def _call(self, request: ToolRequest) -> AbstractAsyncContextManager[Call]:
        return self._publisher.call(request.environment, request.timeout, request.write_id)

    async def _publish(
        self,
        request: ToolRequest,
        make: Make,
        call: Call,
        same: Callable[[Release], bool],
        beside: Beside | None = None,
    ) -> Release:
        expect: dict[str, int | None] = {request.tool: request.expect_revision}
        made = await self._publisher.publish(
            request.environment, make, expect, call=call, same=same, beside=beside, first=request.begun
        )
        return made[0]

    async def set_settings(self, request: EnvironmentRequest, settings: SettingsChange, *, create: bool) -> None:
        request.check()
        if isinstance(settings, EnvironmentSettings):
            settings.check()
        elif not callable(settings):
            raise InvalidOption(f"settings is a {type(settings).__name__}", hint="pass EnvironmentSettings")
        # The result of a function depends on the current settings, so two functions cannot be distinguished.
        told = encode_settings(settings) if isinstance(settings, EnvironmentSettings) else {"function": True}
        note = request.note("settings", told)

        async def change(_: Snapshot) -> tuple[Change, Note]:
            return SetSettings(request.environment, settings), note

        await self._change(request, change, note, create=create)

    async def mark_good(self, request: EnvironmentRequest, tool: Tool, revision: int | None) -> Release:
        request.check()
        check_tool(tool)
        check_revisions(revision=revision)
        environment = request.environment
        note = request.note("mark_good", {"tool": tool, "revision": revision})
        found: list[Release] = []

        async def mark(begun: Snapshot) -> tuple[Change, Note]:
            found[:] = [await self._views.find(begun, tool, revision)]
            [release] = found
            if release.ref is None:
                raise AssertionError("a release that was read has a reference")
            return MarkGood(environment, tool, release.ref), replace(note, sources={tool: release.revision})

        call = await self._change(request, mark, note)
        marked = None if call.earlier is None else read_entry(call.earlier, environment).sources.get(tool)
        if found and marked in (None, found[0].revision):
            return found[0]
        return await self._views.wanted(tool, environment, marked)

    async def freeze(self, request: EnvironmentRequest) -> None:
        request.check()
        check_type("reason", request.message, str)
        check_notes(request.author, "", request.message)
        note = request.note("freeze", {"reason": request.message})

        async def freeze(begun: Snapshot) -> tuple[Change, Note]:
            at = datetime.fromtimestamp(begun.server_time, UTC)
            return SetFreeze(request.environment, Freeze(request.message, request.author, at)), note

        await self._change(request, freeze, note)

    async def thaw(self, request: EnvironmentRequest) -> None:
        request.check()
        note = request.note("thaw", {})

        async def thaw(_: Snapshot) -> tuple[Change, Note]:
            return SetFreeze(request.environment, None), note

        await self._change(request, thaw, note)

    async def remove_environment(self, request: EnvironmentRequest) -> None:
        request.check()
        environment = request.environment
        note = request.note("remove", {"reason": request.message})

        async def remove(begun: Snapshot) -> tuple[Change, Note]:
            at = datetime.fromtimestamp(begun.server_time, UTC)
            freeze = Freeze(request.message, request.author, at, removed=True)
            newest = await run_all(self._reader.newest(begun, tool) for tool in begun.current.tools)
            gone = (release.ref for release in newest if release is not None and release.removed)
            return RemoveEnvironment(environment, freeze, frozenset(ref.key for ref in gone if ref is not None)), note

        await self._change(request, remove, note)

    async def _change(
        self,
        request: EnvironmentRequest,
        make: Callable[[Snapshot], Awaitable[tuple[Change, Note]]],
        note: Note,
        *,
        create: bool = False,
    ) -> Call:
        async with self._committer.call(request.environment, request.timeout, request.write_id) as call:
            await self._committer.change(request.environment, make, note, call=call, create=create)
        return call
