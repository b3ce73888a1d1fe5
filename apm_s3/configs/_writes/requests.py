"""Requested changes: of the configuration of a tool, and of an environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

from apm_s3._naming import check_environment
from apm_s3._tools import Tool
from apm_s3.configs._content.sources import check_log_notes, check_notes, check_revisions, check_tool
from apm_s3.configs._models.log import LogAction, Note
from apm_s3.configs._models.releases import ConfigFile, FileEntry, Origin, Release
from apm_s3.configs._protocol.commit.repeated import request_hash
from apm_s3.configs._protocol.publish import Draft
from apm_s3.configs._protocol.reading.snapshots import Snapshot


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


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A requested change of one tool's configuration."""

    tool: Tool
    environment: str
    author: str | None
    message: str
    expect_revision: int | None
    timeout: float | None
    write_id: str | None

    def check(self, force: str | None = None) -> None:
        """Check the arguments, before anything is sent.

        Raises:
            InvalidRequest: one of them is not valid.
        """
        check_tool(self.tool)
        check_environment(self.environment)
        check_notes(self.author, self.message, force)
        check_revisions(expect_revision=self.expect_revision)

    @property
    def begun(self) -> Snapshot | None:
        """Return the document that the caller has already read.

        None with a write id: an earlier write is only certainly seen in a document that is read after looking for it.
        """
        expected = self.expect_revision
        return expected.begun if isinstance(expected, CurrentRevision) and self.write_id is None else None

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
            author=self.author,
            message=self.message,
            warnings=warnings,
            forced=forced,
            expect=self.expect_revision,
            known=known,
        )


@dataclass(frozen=True, slots=True)
class EnvironmentRequest:
    """A requested change of an environment that creates no release. The log keeps `message`."""

    environment: str
    author: str | None
    message: str
    timeout: float | None
    write_id: str | None

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
        message = check_log_notes(self.author, self.message)
        request = request_hash(self.write_id, arguments)
        return Note(action=action, author=self.author, message=message, request=request)
