"""The log of an environment: one entry for each commit, each with the hash of the previous one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from apm_s3._plans import canonical_hash
from apm_s3.configs._models.extra import Extra, nothing

LogAction = Literal[
    "create",
    "upload",
    "remove",
    "rollback",
    "deploy",
    "restore",
    "repair",
    "mark_good",
    "freeze",
    "thaw",
    "settings",
    "collect",
    "rule_out",
]
"""The actions of commits. `rule_out`: `outcome` ensured that a write with an unknown outcome cannot take effect."""

RawEntry = Mapping[str, Any]
"""An entry as stored. Its hash covers all fields, so it is kept unchanged, including fields of newer versions."""

Moves = Mapping[str, tuple[int, int]]
"""Numbers before and after, by tool (0: none)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One commit: who changed what in an environment, when, and why.

    Attributes:
        sequence: the number of the commit. The next entry has the next number, except after a repair.
        write_id: names the write.
        at: the server's time, in whole seconds, when the writer last read the state that it replaced.
        author, message: as they were given. Of a release, the message's first line, at most 120 characters: the
            release document has all of it. Of a freeze, the reason.
        forced: the reason that was given to store a configuration in spite of its errors, likewise cut.
        tools: the revision of each tool that changed, before and after.
        good: likewise, the revision that is marked good.
        oldest: likewise, the oldest revision that is kept.
        settings: the names of the settings that changed.
        source_environment, source_bucket: what a deploy or a restore took its content from.
        sources: by tool, the revision whose content was taken, or that was marked.
        backup: the key of the backup that was restored.
        plan: the hash of the plan that was carried out.
        previous: the hash of the entry before this one; None for the first one.
        hash: of this entry.
    """

    sequence: int
    write_id: str
    at: datetime
    action: LogAction
    author: str | None = None
    message: str = ""
    forced: str | None = None
    tools: Moves = field(default_factory=nothing)
    good: Moves = field(default_factory=nothing)
    oldest: Moves = field(default_factory=nothing)
    settings: tuple[str, ...] = ()
    source_environment: str | None = None
    source_bucket: str | None = None
    sources: Mapping[str, int] = field(default_factory=nothing)
    backup: str | None = None
    plan: str | None = None
    previous: str | None = None
    hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a writer says about its commit; the rest of the entry follows from the documents before and after.

    Attributes:
        sources: of a deploy or a restore, see `LogEntry`; of a mark, the revision that is marked.
        request: the hash of the call's arguments, if the caller provided the write id of a change without a release.
    """

    action: LogAction
    author: str | None = None
    message: str = ""
    forced: str | None = None
    source_environment: str | None = None
    source_bucket: str | None = None
    sources: Mapping[str, int] = field(default_factory=nothing)
    backup: str | None = None
    plan: str | None = None
    request: str | None = None


@dataclass(frozen=True, slots=True)
class LogRef:
    """A stored part of the log: the sequences of its first and last entry, its key, and the SHA-256 of its bytes.

    Attributes:
        extra: fields of a later version.
    """

    first: int
    last: int
    key: str
    sha256: str
    extra: Extra = field(default_factory=nothing, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Log:
    """The log in the reference document.

    Attributes:
        entries: the newest entries, oldest first. An entry is removed only after it was stored.
        stored: the newest stored part; it and the parts before it have all entries up to its `last`.
        oldest: the sequence of the oldest entry that is kept.
        unproven: the sequences of entries that do not prove the entry before them, which a repair has found.
        extra: fields of a later version.
    """

    entries: tuple[RawEntry, ...] = ()
    stored: LogRef | None = None
    oldest: int = 0
    unproven: tuple[int, ...] = ()
    extra: Extra = field(default_factory=nothing, repr=False)

    @property
    def stored_up_to(self) -> int:
        """Return the sequence of the last stored entry; -1 if none is stored."""
        return -1 if self.stored is None else self.stored.last

    @property
    def unstored(self) -> tuple[RawEntry, ...]:
        """Return the entries that are in no stored part."""
        return tuple(entry for entry in self.entries if entry["seq"] > self.stored_up_to)


def entry_hash(entry: RawEntry) -> str:
    """Return the SHA-256 of an entry's canonical JSON: sorted keys, no spaces, UTF-8 (as in RFC 8785)."""
    return canonical_hash(entry)
