"""Requested changes: of the configuration of a tool, and of an environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from apm_s3._naming import check_environment
from apm_s3._tools import Tool
from apm_s3.configs._content.sources import check_log_notes, check_notes, check_revisions, check_tool
from apm_s3.configs._models.log import LogAction, Note
from apm_s3.configs._models.releases import FileEntry, Origin, Release
from apm_s3.configs._protocol.commit.repeated import request_hash
from apm_s3.configs._protocol.publish import Draft


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
