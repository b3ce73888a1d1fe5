"""Uploads: their sources, and the release that they create from the current one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Self

from apm_s3._naming import OVERLAY, check_file_name
from apm_s3._tools import Tool
from apm_s3.configs._content.names import check_names
from apm_s3.configs._content.overlays import RESERVED, is_internal
from apm_s3.configs._content.sources import (
    Source,
    check_type,
    gather_sources,
)
from apm_s3.configs._models.releases import FileEntry, Origin, Release
from apm_s3.configs._models.settings import LAX, check_rule_names
from apm_s3.configs._protocol.blobs import find_damaged
from apm_s3.configs._protocol.publish import Draft
from apm_s3.configs._protocol.reading.reader import Reader
from apm_s3.configs._protocol.reading.snapshots import Snapshot
from apm_s3.configs._writes.checks import keep_checks, only_unreadable, report_bundle, report_files, require_valid
from apm_s3.configs._writes.requests import ToolRequest
from apm_s3.errors import ConfigNotFound, InvalidKey, InvalidOption
from apm_s3.models import FileInfo
from apm_s3.reports import ValidationReport
from apm_s3.validators._validation.validate import Level

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


@dataclass(frozen=True, slots=True)
class UploadTerms:
    """The conditions under which an upload is accepted; see `ConfigStore.upload`."""

    force: str | None
    skip_unchanged: bool
    level: Level | None
    warnings_as_errors: Collection[str]
    create: bool = True


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
    terms: UploadTerms
    given: Mapping[str, bytes]
    gone: AbstractSet[str]
    whole: bool
    notes: Sequence[str]
    strict: tuple[str, ...]
    reports: Sequence[ValidationReport]
    unchanged: Release | None = None
    listed: Mapping[str, FileInfo] = field(default_factory=dict)

    @classmethod
    async def read(cls, reader: Reader, request: ToolRequest, what: Given, terms: UploadTerms) -> Self:
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
            raise InvalidOption(
                "no file would be left", hint=f"use remove({tool!r}, {environment!r}) to remove all files"
            )
        if self.terms.skip_unchanged and base is not None and await self._is_unchanged(base, kept):
            self.unchanged = base
            return []
        rules = begun.current.settings.rules(tool, level=self.terms.level, warnings_as_errors=self.strict)
        reports = self.reports if rules == LAX else await report_files(tool, given, rules, whole=self.whole)
        require_valid(reports, force)
        bundle = given
        if kept and base is not None:
            check_names(given, kept)
            bundle = {**await self.reader.files(base, kept), **given}
            reports = [await report_bundle(tool, bundle, rules)]
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
