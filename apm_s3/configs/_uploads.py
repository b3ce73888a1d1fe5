"""Uploads, and the other changes of an environment."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Self, TypedDict

from apm_s3._hints import Advice
from apm_s3._naming import OVERLAY, check_environment, check_file_name
from apm_s3._tasks import run_all
from apm_s3._tools import Tool
from apm_s3.configs._checks import (
    Checks,
    check_bundle,
    keep_checks,
    only_unreadable,
    report_files,
    require_valid,
)
from apm_s3.configs._content.files import (
    Source,
    check_log_notes,
    check_many_names,
    check_notes,
    check_revisions,
    check_tool,
    check_type,
    gather_sources,
    read_directory,
)
from apm_s3.configs._content.overlays import RESERVED, is_internal
from apm_s3.configs._models import (
    ConfigFile,
    EnvironmentSettings,
    FileEntry,
    Freeze,
    LogAction,
    Note,
    Origin,
    Release,
    SettingsChange,
    check_rule_names,
)
from apm_s3.configs._protocol.changes import (
    Change,
    MarkGood,
    RemoveEnvironment,
    SetFreeze,
    SetSettings,
    request_hash,
)
from apm_s3.configs._protocol.commit import Committer, WriteCall
from apm_s3.configs._protocol.encoding import encode_settings, read_entry
from apm_s3.configs._protocol.publish import BuildDrafts, ConcurrentWork, Draft, Publisher, find_damaged
from apm_s3.configs._protocol.reader import Reader, Snapshot
from apm_s3.configs._reads import Views
from apm_s3.errors import ConfigNotFound, InvalidKey, InvalidOption
from apm_s3.models import FileInfo
from apm_s3.reports import ValidationReport
from apm_s3.validators._checking import report_secrets
from apm_s3.validators._validation.offload import run_large
from apm_s3.validators._validation.validate import LENIENT_RULES, Level


class CurrentRevision(int):
    """The current revision of a tool's configuration, 0 if there has never been one, with what was read of it.

    A change that has one as its `expect_revision` begins with the same document instead of reading it again. That is
    safe, because the commit is conditional on the document.

    Attributes:
        begun: the reference document.
        release: the current release, even one without files; None if there has never been one.
        files: the contents of those files that were asked for.
    """

    begun: Snapshot
    release: Release | None
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, begun: Snapshot, release: Release | None, files: Mapping[str, bytes]) -> Self:
        """Return the revision of `release`."""
        revision = cls(0 if release is None else release.revision)
        revision.begun, revision.release, revision.files = begun, release, files
        return revision

    def file(self, name: str) -> ConfigFile | None:
        """Return a file that was asked for; None if the release has none of this name."""
        if self.release is None or name not in self.files:
            return None
        return ConfigFile(name, self.files[name], self.release.revision, self.release.tool, self.release.environment)


class ChangeKeywords(TypedDict, total=False):
    """The fields of `ChangeOptions` as keyword arguments, for changes that build on no revision."""

    author: str | None
    message: str
    timeout: float | None
    write_id: str | None


class ReleaseKeywords(ChangeKeywords, total=False):
    """The fields of `ChangeOptions` as keyword arguments, for changes that create a release."""

    expect_revision: int | None


class UploadKeywords(ReleaseKeywords, total=False):
    """The fields of `UploadOptions` as keyword arguments."""

    force: str | None
    skip_unchanged: bool
    level: Level | None
    warnings_as_errors: Collection[str]
    create: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOptions:
    """Who changes what, why and how. Changes take these fields as keyword arguments, or one such object.

    Attributes:
        author, message: stored with the release, or in the log.
        timeout: seconds for the whole call with all its requests; by default the store's deadline, plus one second
            per 64 KiB transferred. `collect_garbage` and `repair` have no limit by default.
        write_id: an id from `new_write_id`, of the environment that changes, that the caller has stored. Repeating the
            same call with it returns the first result and commits nothing; a different call is refused. For a change
            that creates a release it costs one round trip. Any other is found in the log: the last 64 commits cost
            nothing, each 64 before them one request.
        expect_revision: the revision that the change builds on; 0 means that there must be none yet. Only for changes
            of one tool's configuration.
    """

    author: str | None = None
    message: str = ""
    timeout: float | None = None
    write_id: str | None = None
    expect_revision: int | None = None

    @classmethod
    def of(cls, options: Self | None, keywords: Mapping[str, Any]) -> Self:
        """Return `options`, with the fields that `keywords` replace.

        Raises:
            InvalidOption: the options are those of other calls.
            TypeError: unknown keyword.
        """
        if options is not None and type(options) is not cls:
            raise InvalidOption(f"options is a {type(options).__name__}", hint=f"pass {cls.__name__}")
        return replace(options or cls(), **keywords)

    @classmethod
    def without_revision(cls, options: Self | None, keywords: ChangeKeywords) -> Self:
        """Return what `of` does, for a change that builds on no revision.

        Raises:
            InvalidOption: the options have a revision.
        """
        given = cls.of(options, keywords)
        if given.expect_revision is not None:
            raise InvalidOption("this change builds on no revision", hint="leave out expect_revision")
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadOptions(ChangeOptions):
    """Under which conditions an upload is accepted. Uploads take these fields as keyword arguments, or one such object.

    Attributes:
        author, message, timeout, write_id, expect_revision: see `ChangeOptions`.
        force: the reason for committing despite errors, which is stored.
        skip_unchanged: if no file would change, create no revision and return the current one.
        level: "external" also runs promtool or amtool. This and `warnings_as_errors` can only be stricter than the
            environment's settings.
        warnings_as_errors: rules whose warnings count as errors; "*" means all.
        create: False refuses a new environment, perhaps a misspelt one, in a store that has others.
    """

    force: str | None = None
    skip_unchanged: bool = False
    level: Level | None = None
    warnings_as_errors: Collection[str] = ()
    create: bool = True


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A requested change of one tool's configuration."""

    tool: Tool
    environment: str
    options: ChangeOptions

    def check(self, force: str | None = None) -> None:
        """Check the arguments, before anything is sent.

        Raises:
            InvalidRequest: one of them is not valid.
        """
        check_tool(self.tool)
        check_environment(self.environment)
        check_notes(self.options.author, self.options.message, force)
        check_revisions(expect_revision=self.options.expect_revision)

    @property
    def begun(self) -> Snapshot | None:
        """Return the document that the caller has already read.

        None with a write id: an earlier write is only certainly seen in a document that is read after looking for it.
        """
        expected = self.options.expect_revision
        return expected.begun if isinstance(expected, CurrentRevision) and self.options.write_id is None else None

    def draft(
        self,
        base: Release | None,
        files: Mapping[str, bytes | FileEntry],
        origin: Origin,
        warnings: tuple[str, ...] = (),
        forced: str | None = None,
        known: Mapping[str, bytes] = MappingProxyType({}),
    ) -> Draft:
        """Return the release to create on top of `base`; see `Draft`."""
        return Draft(
            tool=self.tool,
            base=base,
            files=files,
            origin=origin,
            author=self.options.author,
            message=self.options.message,
            warnings=warnings,
            forced=forced,
            expect=self.options.expect_revision,
            known=known,
        )


@dataclass(frozen=True, slots=True)
class EnvironmentRequest:
    """A requested change of an environment that creates no release. The log keeps `message`."""

    environment: str
    options: ChangeOptions

    def check(self) -> None:
        """Check the name of the environment.

        Raises:
            InvalidKey: no environment can have this name.
        """
        check_environment(self.environment)

    def note(self, action: LogAction, arguments: Mapping[str, Any]) -> Note:
        """Return the note for the log. `arguments` identify repeated calls with the same write id.

        Raises:
            InvalidOption: the log cannot keep this author or message.
        """
        message = check_log_notes(self.options.author, self.options.message)
        request = request_hash(self.options.write_id, arguments)
        return Note(action=action, author=self.options.author, message=message, request=request)


_MAX_LEFT_OUT = 20
"""Maximum number of omitted names that are stored with a release of `upload_dir`."""


@dataclass(frozen=True, slots=True)
class Given:
    """The sources of an upload. `notes` are stored with the release's warnings."""

    source: Source | None = field(default=None, repr=False)
    files: Mapping[str, Source] | None = field(default=None, repr=False)
    name: str | None = None
    remove: Iterable[str] = ()
    notes: Sequence[str] = ()


@dataclass(slots=True)
class Upload:
    """An upload after its sources were read.

    Attributes:
        reports: validation of `given` under default settings.
        unchanged: the current release, if nothing would change and `skip_unchanged` is set.
        listed: the blobs of the tool, by name, if `skip_unchanged` is set.
    """

    reader: Reader
    request: ToolRequest
    terms: UploadOptions
    given: Mapping[str, bytes]
    gone: AbstractSet[str]
    whole: bool
    notes: Sequence[str]
    strict: tuple[str, ...]
    reports: Sequence[ValidationReport]
    unchanged: Release | None = None
    listed: Mapping[str, FileInfo] = field(default_factory=dict)

    @classmethod
    async def read(cls, reader: Reader, request: ToolRequest, what: Given, terms: UploadOptions) -> Self:
        """Read the sources.

        Raises:
            InvalidRequest: there are no sources, or one is not valid.
            ConfigInvalid: a file is invalid under any settings.
        """
        check_type("skip_unchanged", terms.skip_unchanged, bool)
        check_type("create", terms.create, bool)
        gone, whole = _removed(what.remove, what.files), what.files is not None
        given = await gather_sources(request.tool, what.source, what.files, what.name)
        if not given and not gone:
            raise InvalidOption("there is nothing to upload", hint="pass source, files or remove")
        strict = check_rule_names(terms.warnings_as_errors)
        reports = await report_files(request.tool, given, whole=whole)
        require_valid([only_unreadable(report) for report in reports], terms.force)
        return cls(reader, request, terms, given, gone, whole, what.notes, strict, reports)

    async def look(self, begun: Snapshot) -> None:
        """List the blobs, beside the current release: an upload that changes nothing heals damaged ones."""
        if self.terms.skip_unchanged:
            self.listed = await self.reader.listed_blobs(begun.environment, self.request.tool)

    async def make(self, begun: Snapshot, bases: Mapping[str, Release | None]) -> Sequence[Draft]:
        """Return the release to create from the current one; none if nothing would change."""
        request, given, force = self.request, self.given, self.terms.force
        tool, environment = request.tool, request.environment
        base = bases[tool]
        kept = _kept(tool, environment, base, self.gone, given, whole=self.whole)
        if not kept and not given:
            raise InvalidOption("no file would be left", hint=Advice.REMOVE_ALL(tool=tool, environment=environment))
        if self.terms.skip_unchanged and base is not None and await self._is_unchanged(base, kept):
            self.unchanged = base
            return []
        rules = begun.current.settings.rules(tool, level=self.terms.level, warnings_as_errors=self.strict)
        reports = self.reports if rules == LENIENT_RULES else await report_files(tool, given, rules, whole=self.whole)
        require_valid(reports, force)
        bundle = given
        if kept and base is not None:
            await check_many_names(given, kept)
            bundle = {**await self.reader.files(base, kept), **given}
            reports = [await check_bundle(tool, bundle, rules)]
            require_valid(reports, force)
        checks = await keep_checks(reports, bundle, () if base is None else (base,), force=force)
        warnings = (*self.notes, *checks.warnings)
        return [request.draft(base, {**kept, **given}, Origin("upload"), warnings, checks.forced)]

    async def _is_unchanged(self, base: Release, kept: Mapping[str, FileEntry]) -> bool:
        if not await asyncio.to_thread(_is_unchanged, base, kept, self.given):
            return False
        wanted = {entry.blob: (entry, self.given.get(name)) for name, entry in base.files.items()}
        return not await find_damaged(self.reader, base.environment, base.tool, wanted, self.listed)

    def is_made_by(self, release: Release) -> bool:
        """Return whether this upload creates such a release, whatever its base was."""
        hashes = {name: hashlib.sha256(raw).hexdigest() for name, raw in self.given.items()}
        there = {name: entry.sha256 for name, entry in release.files.items()}
        if release.origin.action != "upload":
            return False
        if self.whole and {name for name in there if name != OVERLAY} != {name for name in hashes if name != OVERLAY}:
            return False
        return not self.gone & there.keys() and all(there.get(name) == sha256 for name, sha256 in hashes.items())


def _kept(
    tool: Tool,
    environment: str,
    base: Release | None,
    gone: AbstractSet[str],
    given: Mapping[str, bytes],
    *,
    whole: bool,
) -> dict[str, FileEntry]:
    """Return the files of the replaced release that are kept."""
    # A whole bundle contains what the tool reads; the overlay of this environment is kept.
    entries = {} if base is None else {n: e for n, e in base.files.items() if not whole or n == OVERLAY}
    for missing in gone - entries.keys():
        raise ConfigNotFound(
            f"{tool} in '{environment}' has no file '{missing}' to remove", tool=tool, environment=environment
        )
    return {name: entry for name, entry in entries.items() if name not in gone and name not in given}


def _is_unchanged(base: Release, kept: Mapping[str, FileEntry], given: Mapping[str, bytes]) -> bool:
    if base.removed or base.damaged or base.files.keys() != kept.keys() | given.keys():
        return False
    # Hash only files of the same size.
    return all(base.files[name].size == len(raw) for name, raw in given.items()) and all(
        base.files[name].sha256 == hashlib.sha256(raw).hexdigest() for name, raw in given.items()
    )


def left_out(names: Sequence[str]) -> list[str]:
    """Return a note on the files of a directory that are not uploaded."""
    if not names:
        return []
    more = f" and {len(names) - _MAX_LEFT_OUT} more" if len(names) > _MAX_LEFT_OUT else ""
    return [f"left out of the directory: {', '.join(names[:_MAX_LEFT_OUT])}{more}"]


def _removed(remove: Iterable[str], files: Mapping[str, Source] | None) -> set[str]:
    check_type("remove", remove, Iterable)
    gone = set([remove] if isinstance(remove, str) else remove)
    for name in gone:
        check_file_name(name)
        if is_internal(name):
            raise InvalidKey(f"'{name[:80]}' is reserved", hint=f"only {OVERLAY} can be removed under {RESERVED}")
    if gone and files is not None:
        raise InvalidOption("remove cannot be used with files, the whole bundle", hint="omit the files to remove")
    return gone


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
        report = reports[0] if reports else await check_bundle(tool, given)
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

        return await self._reader.read_consistently(check_environment(environment), read, begin=self._committer.peek)

    async def upload(self, request: ToolRequest, what: Given, terms: UploadOptions) -> Release:
        request.check(terms.force)
        async with self._call(request) as call:
            return await self._upload(call, request, what, terms)

    async def upload_dir(
        self, request: ToolRequest, path: str | os.PathLike[str], exclude: Collection[str], terms: UploadOptions
    ) -> Release:
        request.check(terms.force)
        directory = await read_directory(path, exclude)
        what = Given(files=directory.files, notes=left_out(directory.left_out))
        async with self._call(request) as call:
            return await self._upload(call, request, what, terms)

    async def _upload(self, call: WriteCall, request: ToolRequest, what: Given, terms: UploadOptions) -> Release:
        upload = await Upload.read(self._reader, request, what, terms)
        expect: dict[str, int | None] = {request.tool: request.options.expect_revision}

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
            checks = Checks()
            if files:
                report = await check_bundle(tool, files, begun.current.settings.rules(tool))
                require_valid([report], force)
                checks = await keep_checks([report], files, (old,), force=force)
            origin = Origin("rollback", environment, old.revision)
            return [request.draft(bases[tool], old.files, origin, checks.warnings, checks.forced, files)]

        def same(release: Release) -> bool:
            return release.origin.action == "rollback" and to_revision in (None, release.origin.revision)

        async with self._call(request) as call:
            return await self._publish(request, make, call, same, beside=find)

    def _call(self, request: ToolRequest) -> AbstractAsyncContextManager[WriteCall]:
        return self._committer.call(request.environment, request.options.timeout, request.options.write_id)

    async def _publish(
        self,
        request: ToolRequest,
        make: BuildDrafts,
        call: WriteCall,
        same: Callable[[Release], bool],
        beside: ConcurrentWork | None = None,
    ) -> Release:
        expect: dict[str, int | None] = {request.tool: request.options.expect_revision}
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
        check_type("reason", request.options.message, str)
        check_notes(request.options.author, "", request.options.message)
        note = request.note("freeze", {"reason": request.options.message})

        async def freeze(begun: Snapshot) -> tuple[Change, Note]:
            at = datetime.fromtimestamp(begun.server_time, UTC)
            return SetFreeze(request.environment, Freeze(request.options.message, request.options.author, at)), note

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
        note = request.note("remove", {"reason": request.options.message})

        async def remove(begun: Snapshot) -> tuple[Change, Note]:
            at = datetime.fromtimestamp(begun.server_time, UTC)
            freeze = Freeze(request.options.message, request.options.author, at, removed=True)
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
    ) -> WriteCall:
        async with self._committer.call(request.environment, request.options.timeout, request.options.write_id) as call:
            await call.change(make, note, create=create)
        return call
