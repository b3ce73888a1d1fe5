"""Changes of configurations, from what a caller gives to the drafts that are published."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from apm_s3._naming import check_environment, check_file_name
from apm_s3._tools import Tool
from apm_s3.configs._checks import (
    keep_checks,
    only_unreadable,
    report_bundle,
    report_files,
    report_secrets,
    require_valid,
)
from apm_s3.configs._content.directories import EXCLUDED, read_directory
from apm_s3.configs._content.names import check_names
from apm_s3.configs._content.overlays import OVERLAY
from apm_s3.configs._content.sources import (
    Source,
    check_log_notes,
    check_notes,
    check_revisions,
    check_tool,
    check_type,
    gather_sources,
)
from apm_s3.configs._models import FileEntry, Freeze, Origin, Release
from apm_s3.configs._protocol.calls import Call
from apm_s3.configs._protocol.changes import Change, MarkGood, SetFreeze, SetSettings
from apm_s3.configs._protocol.commit import Committer
from apm_s3.configs._protocol.log import read_entry
from apm_s3.configs._protocol.publish import Beside, Draft, Make, Publisher
from apm_s3.configs._protocol.reader import Reader
from apm_s3.configs._protocol.repeated import request_hash
from apm_s3.configs._protocol.settings import encode_settings
from apm_s3.configs._protocol.snapshots import Snapshot
from apm_s3.configs._record import Note
from apm_s3.configs._settings import LAX, EnvironmentSettings, SettingsChange, check_rule_names
from apm_s3.configs._views import Views
from apm_s3.errors import ConfigNotFound, InvalidOption
from apm_s3.reports import ValidationReport
from apm_s3.validators._validate import Level

_MAX_LEFT_OUT = 20
"""Names of what an `upload_dir` left out that are kept with the release."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What is uploaded, as the caller gave it."""

    source: Source | None = field(default=None, repr=False)
    files: Mapping[str, Source] | None = field(default=None, repr=False)
    name: str | None = None
    remove: Iterable[str] = ()


class Writer:
    """Changes configurations and environments of one store."""

    def __init__(self, reader: Reader, views: Views, committer: Committer, publisher: Publisher) -> None:
        self._reader = reader
        self._views = views
        self._committer = committer
        self._publisher = publisher

    async def validate(
        self,
        tool: Tool,
        source: Source | None = None,
        *,
        files: Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> ValidationReport:
        given = await gather_sources(check_tool(tool), source, files, name)
        if not given:
            raise InvalidOption("there is nothing to validate", hint="give source or files")
        reports = await report_files(tool, given, whole=files is not None)
        report = reports[0] if reports else await report_bundle(tool, given)
        return await asyncio.to_thread(report_secrets, report, given)

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
        async with self._publisher.call(check_environment(environment), timeout, write_id) as call:
            return await self._upload(
                tool,
                call,
                _Given(source, files, name, remove),
                author=author,
                message=message,
                expect_revision=expect_revision,
                force=force,
                skip_unchanged=skip_unchanged,
                level=level,
                warnings_as_errors=warnings_as_errors,
            )

    async def _upload(
        self,
        tool: Tool,
        call: Call,
        what: _Given,
        *,
        author: str | None,
        message: str,
        expect_revision: int | None,
        force: str | None,
        skip_unchanged: bool,
        level: Level | None,
        warnings_as_errors: Collection[str],
        notes: Sequence[str] = (),
    ) -> Release:
        """See `upload`; `notes` are kept with the release's warnings."""
        environment = call.environment
        check_tool(tool)
        check_notes(author, message, force)
        check_revisions(expect_revision=expect_revision)
        check_type("skip_unchanged", skip_unchanged, bool)
        gone, whole = _removed(what.remove, what.files), what.files is not None
        given = await gather_sources(tool, what.source, what.files, what.name)
        if not given and not gone:
            raise InvalidOption("there is nothing to upload", hint="give source, files or remove")
        strict = check_rule_names(warnings_as_errors)
        given_reports = await report_files(tool, given, whole=whole)
        # What nothing can read needs no look at the environment's settings.
        require_valid([only_unreadable(report) for report in given_reports], force)
        current: list[Release] = []

        async def make(begun: Snapshot, bases: Mapping[str, Release | None]) -> Sequence[Draft]:
            base = bases[tool]
            kept = _kept(tool, environment, base, gone, given, whole=whole)
            if not kept and not given:
                raise InvalidOption("no file would be left", hint=f"remove({tool!r}, {environment!r}) removes it all")
            if skip_unchanged and base is not None and await asyncio.to_thread(_is_unchanged, base, kept, given):
                current[:] = [base]
                return []
            rules = begun.current.settings.rules(tool, level=level, warnings_as_errors=strict)
            reports = given_reports if rules == LAX else await report_files(tool, given, rules, whole=whole)
            require_valid(reports, force)
            bundle = given
            if kept and base is not None:
                check_names(given, kept)
                bundle = {**await self._reader.files(base, kept), **given}
                reports = [await report_bundle(tool, bundle, rules)]
                require_valid(reports, force)
            checks = await keep_checks(reports, bundle, () if base is None else (base,), force=force)
            return [
                Draft(
                    tool=tool,
                    base=base,
                    files={**kept, **given},
                    origin=Origin("upload"),
                    author=author,
                    message=message,
                    warnings=(*notes, *checks.warnings),
                    forced=checks.forced,
                    expect=expect_revision,
                )
            ]

        def same(release: Release) -> bool:
            return release.origin.action == "upload" and _holds(release, given, gone, whole=whole)

        expect: dict[str, int | None] = {tool: expect_revision}
        return (await self._publisher.publish(environment, make, expect, call=call, same=same) or current)[0]

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
        check_tool(tool)
        directory = await read_directory(path, exclude)
        async with self._publisher.call(check_environment(environment), timeout, write_id) as call:
            return await self._upload(
                tool,
                call,
                _Given(files=directory.files),
                author=author,
                message=message,
                expect_revision=expect_revision,
                force=force,
                skip_unchanged=skip_unchanged,
                notes=_left_out(directory.left_out),
                level=level,
                warnings_as_errors=warnings_as_errors,
            )

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
        check_tool(tool)
        check_environment(environment)
        check_notes(author, message)
        check_revisions(expect_revision=expect_revision)

        async def make(_: Snapshot, bases: Mapping[str, Release | None]) -> Sequence[Draft]:
            base = bases[tool]
            if base is None or base.removed:
                await self._views.current(tool, environment)  # says why not
            return [
                Draft(
                    tool=tool,
                    base=base,
                    files={},
                    origin=Origin("remove"),
                    author=author,
                    message=message,
                    expect=expect_revision,
                )
            ]

        async with self._publisher.call(environment, timeout, write_id) as call:
            return await self._publish(environment, make, tool, expect_revision, call, lambda old: old.removed)

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
        check_tool(tool)
        check_environment(environment)
        check_notes(author, message)
        check_revisions(to_revision=to_revision, expect_revision=expect_revision)

        found: list[Release] = []

        async def find(begun: Snapshot) -> None:
            if tool not in begun.current.tools:
                await self._views.wanted(tool, environment, to_revision, good=to_revision is None)  # says why not
            found[:] = [await self._views.find(begun, tool, to_revision, good=to_revision is None)]

        async def make(_: Snapshot, bases: Mapping[str, Release | None]) -> Sequence[Draft]:
            [old] = found
            return [
                Draft(
                    tool=tool,
                    base=bases[tool],
                    files=old.files,
                    origin=Origin("rollback", environment, old.revision),
                    author=author,
                    message=message,
                    warnings=old.warnings,
                    forced=old.forced,
                    expect=expect_revision,
                )
            ]

        def same(release: Release) -> bool:
            return release.origin.action == "rollback" and to_revision in (None, release.origin.revision)

        async with self._publisher.call(environment, timeout, write_id) as call:
            return await self._publish(environment, make, tool, expect_revision, call, same, beside=find)

    async def _publish(
        self,
        environment: str,
        make: Make,
        tool: str,
        expect: int | None,
        call: Call,
        same: Callable[[Release], bool],
        beside: Beside | None = None,
    ) -> Release:
        expected = {tool: expect}
        return (await self._publisher.publish(environment, make, expected, call=call, same=same, beside=beside))[0]

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
        check_environment(environment)
        if isinstance(settings, EnvironmentSettings):
            settings.check()
        elif not callable(settings):
            raise InvalidOption(f"settings is a {type(settings).__name__}", hint="give EnvironmentSettings")
        # What a function makes of the settings depends on those it meets: two functions can not be told apart.
        asked = encode_settings(settings) if isinstance(settings, EnvironmentSettings) else {"function": True}
        request = request_hash(write_id, asked)
        note = Note(action="settings", author=author, message=check_log_notes(author, message), request=request)

        async def change(_: Snapshot) -> tuple[Change, Note]:
            return SetSettings(environment, settings), note

        async with self._committer.call(environment, timeout, write_id) as call:
            await self._committer.change(environment, change, note, call=call, create=create)

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
        check_tool(tool)
        check_environment(environment)
        check_revisions(revision=revision)
        request = request_hash(write_id, {"tool": tool, "revision": revision})
        note = Note(action="mark_good", author=author, message=check_log_notes(author, message), request=request)
        found: list[Release] = []

        async def mark(begun: Snapshot) -> tuple[Change, Note]:
            found[:] = [await self._views.find(begun, tool, revision)]
            [release] = found
            if release.ref is None:
                raise AssertionError("a release that was read has a reference")
            return MarkGood(environment, tool, release.ref), replace(note, sources={tool: release.revision})

        async with self._committer.call(environment, timeout, write_id) as call:
            await self._committer.change(environment, mark, note, call=call)
        marked = None if call.earlier is None else read_entry(call.earlier, environment).sources.get(tool)
        if found and marked in (None, found[0].revision):
            return found[0]
        return await self._views.wanted(tool, environment, marked)

    async def freeze(
        self,
        environment: str,
        reason: str,
        *,
        author: str | None = None,
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> None:
        check_environment(environment)
        check_type("reason", reason, str)
        check_notes(author, "", reason)
        request = request_hash(write_id, {"reason": reason})
        note = Note(action="freeze", author=author, message=check_log_notes(author, reason), request=request)

        async def freeze(begun: Snapshot) -> tuple[Change, Note]:
            return SetFreeze(Freeze(reason, author, datetime.fromtimestamp(begun.server_time, UTC))), note

        async with self._committer.call(environment, timeout, write_id) as call:
            await self._committer.change(environment, freeze, note, call=call)

    async def thaw(
        self,
        environment: str,
        *,
        author: str | None = None,
        message: str = "",
        timeout: float | None = None,
        write_id: str | None = None,
    ) -> None:
        check_environment(environment)
        request = request_hash(write_id, {})
        note = Note(action="thaw", author=author, message=check_log_notes(author, message), request=request)

        async def thaw(_: Snapshot) -> tuple[Change, Note]:
            return SetFreeze(None), note

        async with self._committer.call(environment, timeout, write_id) as call:
            await self._committer.change(environment, thaw, note, call=call)


def _kept(
    tool: Tool,
    environment: str,
    base: Release | None,
    gone: AbstractSet[str],
    given: Mapping[str, bytes],
    *,
    whole: bool,
) -> dict[str, FileEntry]:
    """The files of the release that is replaced which stay."""
    # A whole bundle is what the tool reads: what makes this environment different stays.
    entries = {} if base is None else {n: e for n, e in base.files.items() if not whole or n == OVERLAY}
    for missing in gone - entries.keys():
        raise ConfigNotFound(
            f"{tool} in '{environment}' has no file '{missing}' to remove", tool=tool, environment=environment
        )
    return {name: entry for name, entry in entries.items() if name not in gone and name not in given}


def _is_unchanged(base: Release, kept: Mapping[str, FileEntry], given: Mapping[str, bytes]) -> bool:
    if base.removed or base.damaged or base.files.keys() != kept.keys() | given.keys():
        return False
    # Only the same size is worth a hash.
    return all(base.files[name].size == len(raw) for name, raw in given.items()) and all(
        base.files[name].sha256 == hashlib.sha256(raw).hexdigest() for name, raw in given.items()
    )


def _left_out(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _MAX_LEFT_OUT} more" if len(names) > _MAX_LEFT_OUT else ""
    return [f"left out of the directory: {', '.join(names[:_MAX_LEFT_OUT])}{more}"]


def _holds(release: Release, given: Mapping[str, bytes], gone: AbstractSet[str], *, whole: bool) -> bool:
    """Whether a release is what an upload of the same arguments made, on whatever it was built."""
    hashes = {name: hashlib.sha256(raw).hexdigest() for name, raw in given.items()}
    there = {name: entry.sha256 for name, entry in release.files.items()}
    if whole and {name for name in there if name != OVERLAY} != {name for name in hashes if name != OVERLAY}:
        return False
    return not gone & there.keys() and all(there.get(name) == sha256 for name, sha256 in hashes.items())


def _removed(remove: Iterable[str], files: Mapping[str, Source] | None) -> set[str]:
    check_type("remove", remove, Iterable)
    gone = set([remove] if isinstance(remove, str) else remove)
    for name in gone:
        check_file_name(name)
    if gone and files is not None:
        raise InvalidOption("files is the whole bundle: it excludes remove", hint="leave those files out of it")
    return gone
