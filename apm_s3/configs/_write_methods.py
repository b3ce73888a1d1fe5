"""The methods of `ConfigStore` that change configurations."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
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
from apm_s3.configs._models import CommitOutcome, FileEntry, Freeze, Origin, Release
from apm_s3.configs._protocol.calls import Call
from apm_s3.configs._protocol.changes import MarkGood, SetFreeze, SetSettings
from apm_s3.configs._protocol.commit import Committer
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.outcome import find_outcome
from apm_s3.configs._protocol.publish import Draft, Make, Publisher
from apm_s3.configs._protocol.reader import Reader, Snapshot
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


class WriteMethods:
    """Uploads, removals, rollbacks and marks. A part of `ConfigStore`."""

    _objects: ObjectStore
    _reader: Reader
    _views: Views
    _committer: Committer
    _publisher: Publisher

    async def validate(
        self,
        tool: Tool,
        source: Source | None = None,
        *,
        files: Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> ValidationReport:
        """What `upload` would say of the same arguments, without S3: one file, or the whole bundle `files`.

        Secrets in clear are warnings.

        Raises:
            InvalidRequest: no such tool, or a name that cannot be.
        """
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
        """Remove a tool's configuration: a new revision without files. Its history stays; rollback brings it back.

        Time, id and cancellation are as for `upload`.

        Raises:
            ConfigNotFound: there is none.
            RevisionConflict, EnvironmentFrozen, CommitUnknown, StoreDamaged: see `upload`.
        """
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
            if write_id is None:
                await self._views.current(tool, environment)
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
        """Make a new revision with the files of an old one; of the one marked good, where none is named.

        Time, id and cancellation are as for `upload`.

        Raises:
            ConfigNotFound: there is no such revision (any more), or none is marked good.
            RevisionConflict, EnvironmentFrozen, CommitUnknown, StoreDamaged: see `upload`.
        """
        check_tool(tool)
        check_environment(environment)
        check_notes(author, message)
        check_revisions(to_revision=to_revision, expect_revision=expect_revision)

        async def make(begun: Snapshot, bases: Mapping[str, Release | None]) -> Sequence[Draft]:
            old = await self._views.find(begun, tool, to_revision, good=to_revision is None)
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
            if write_id is None:
                await self._views.wanted(tool, environment, to_revision, good=to_revision is None)
            return await self._publish(environment, make, tool, expect_revision, call, same)

    async def _publish(
        self,
        environment: str,
        make: Make,
        tool: str,
        expect: int | None,
        call: Call,
        same: Callable[[Release], bool],
    ) -> Release:
        return (await self._publisher.publish(environment, make, {tool: expect}, call=call, same=same))[0]

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
    ) -> None:
        """Set what an environment expects of changes, from the next one on; a write that is under way meets it, too.

        Args:
            settings: all of them; or a function that makes them of those that are there, so that nothing that others
                set meanwhile is lost: `lambda old: replace(old, require_author=True)`.
            author, message: kept in the log.
            create: the environment may not exist yet.
            timeout: seconds for the change, as for `upload`.

        Raises:
            InvalidRequest: settings that cannot be.
            ConfigNotFound: there is no such environment.
            EnvironmentFrozen: nothing was changed.
            CommitUnknown: it is not known whether they were set; do it again.
        """
        check_environment(environment)
        note = Note(action="settings", author=author, message=check_log_notes(author, message))
        if isinstance(settings, EnvironmentSettings):
            settings.check()
        elif not callable(settings):
            raise InvalidOption(f"settings is a {type(settings).__name__}", hint="give EnvironmentSettings")
        change = SetSettings(environment, settings)
        async with self._committer.call(environment, timeout) as call:
            if not create:
                await self._reader.require(environment)
            await self._committer.change(environment, lambda _: change, note, call=call)

    async def mark_good(
        self,
        tool: Tool,
        environment: str,
        revision: int | None = None,
        *,
        author: str | None = None,
        message: str = "",
        timeout: float | None = None,
    ) -> Release:
        """Mark a revision, by default the current one, as the last known good one. It is kept for ever.

        Args:
            author, message: kept in the log.
            timeout: seconds for the change, as for `upload`.

        Raises:
            ConfigNotFound: there is no such revision (any more).
            CommitUnknown: it is not known whether it was marked; do it again.
        """
        check_tool(tool)
        check_environment(environment)
        check_revisions(revision=revision)
        note = Note(action="mark_good", author=author, message=check_log_notes(author, message))
        async with self._committer.call(environment, timeout) as call:
            release = await self._views.wanted(tool, environment, revision)
            if release.ref is None:
                raise AssertionError("a release that was read has a reference")
            mark = MarkGood(environment, tool, release.ref)
            await self._committer.change(environment, lambda _: mark, note, call=call)
        return release

    async def freeze(
        self, environment: str, reason: str, *, author: str | None = None, timeout: float | None = None
    ) -> None:
        """Let an environment take no change until it is thawed, whoever tries. Frozen again, the new reason counts.

        The log keeps the reason and the author when the environment is thawed.
        Marks, backups and reads go on; a collection does not. `timeout` is as for `upload`.

        Raises:
            ConfigNotFound: there is no such environment.
            CommitUnknown: it is not known whether it is frozen; do it again.
        """
        check_environment(environment)
        check_type("reason", reason, str)
        check_notes(author, "", reason)
        note = Note(action="freeze", author=author, message=check_log_notes(author, reason))

        def freeze(begun: Snapshot) -> SetFreeze:
            return SetFreeze(Freeze(reason, author, datetime.fromtimestamp(begun.server_time, UTC)))

        async with self._committer.call(environment, timeout) as call:
            await self._reader.require(environment)
            await self._committer.change(environment, freeze, note, call=call)

    async def thaw(
        self, environment: str, *, author: str | None = None, message: str = "", timeout: float | None = None
    ) -> None:
        """Let an environment take changes again.

        Args:
            author, message: kept in the log.
            timeout: seconds for the change, as for `upload`.

        Raises:
            ConfigNotFound: there is no such environment.
            CommitUnknown: it is not known whether it is thawed; do it again.
        """
        note = Note(action="thaw", author=author, message=check_log_notes(author, message))
        async with self._committer.call(check_environment(environment), timeout) as call:
            await self._reader.require(environment)
            await self._committer.change(environment, lambda _: SetFreeze(None), note, call=call)

    async def outcome(self, write_id: str) -> CommitOutcome:
        """How the write behind a `CommitUnknown` ended. A write that can still arrive is pending.

        Once the write is older than 15 minutes, this makes sure, by a write of its own that changes nothing else,
        that it can never take effect any more.

        Raises:
            InvalidOption: that is no write id.
        """
        check_type("write_id", write_id, str)
        return await find_outcome(write_id, self._objects, self._reader, self._committer)


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
