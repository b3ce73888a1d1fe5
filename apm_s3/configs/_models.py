"""What configuration stores give: frozen values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Literal

from apm_s3._tools import MAIN_FILES, Tool
from apm_s3.configs._content.overlays import is_reserved
from apm_s3.configs._content.parsed import Content
from apm_s3.configs._record import Log
from apm_s3.configs._settings import EnvironmentSettings
from apm_s3.errors import ConfigNotFound
from apm_s3.validators import parse_document

Action = Literal["upload", "remove", "rollback", "deploy", "restore", "repair"]
"""What made a release."""

Encoding = Literal["identity", "gzip"]
"""How a blob is stored. Sizes and hashes are always those of the plain content."""


Extra = Mapping[str, Any]
"""Fields of a document that a later version of this library wrote and this one does not know. They are written back."""


def no_extra() -> Extra:
    """No such fields."""
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ReleaseRef:
    """A release document: its revision, key and the SHA-256 of its bytes.

    Attributes:
        extra: fields of a later version.
    """

    revision: int
    key: str
    sha256: str
    extra: Extra = field(default_factory=no_extra, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a release.

    Attributes:
        size, sha256: of the plain content.
        blob: the name of the object that holds it, in the blobs folder of the release's tool.
        encoding: how that object is stored.
    """

    size: int
    sha256: str
    blob: str
    encoding: Encoding = "identity"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a release comes from.

    Attributes:
        action: what made it.
        environment, revision: the environment and revision whose content it took, where it did.
        bucket: the bucket of those, where it is another one.
        backup: the key of the backup that it was restored from.
        plan: the hash of the plan that was carried out.
    """

    action: Action
    environment: str | None = None
    revision: int | None = None
    bucket: str | None = None
    backup: str | None = None
    plan: str | None = None


@dataclass(frozen=True, slots=True)
class Deployed:
    """The last deploy into an environment that a release descends from.

    Attributes:
        revision: the revision that the deploy made here.
        digest: the content that it made (`Release.digest`).
        source_environment, source_revision, source_digest: what was deployed.
        source_bucket: the bucket of the source, where it is another one.
    """

    revision: int
    digest: str
    source_environment: str
    source_revision: int
    source_digest: str
    source_bucket: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """One revision of a tool's configuration in an environment: a whole bundle of files.

    Attributes:
        revision: counts from 1 for each tool and environment.
        parent: the release it replaced; None for the first.
        write_id: names the write that made it, over all its tools.
        created_at: by the server's clock, when that write began.
        files: by name, in order; empty once the configuration was removed.
        warnings: what validation and the search for secrets had to say, one line each.
        forced: the reason that was given to commit it in spite of errors.
        deployed: the last deploy that it descends from.
        ref: where the document lies.
        damaged: a repair found that files of it are lost for good. It stands in the reference document.
        live_pending: committed, but the copies under `live/` could not be brought up to date yet. It is a fact of
            the call that made the release and is not stored.
    """

    tool: Tool
    environment: str
    revision: int
    parent: ReleaseRef | None
    write_id: str
    author: str | None
    message: str
    created_at: datetime
    origin: Origin
    files: Mapping[str, FileEntry]
    warnings: tuple[str, ...] = ()
    forced: str | None = None
    deployed: Deployed | None = None
    ref: ReleaseRef | None = field(default=None, compare=False)
    damaged: bool = field(default=False, compare=False)
    live_pending: bool = field(default=False, compare=False)

    @property
    def digest(self) -> str:
        """One SHA-256 over the names and contents that the tool reads: equal for releases that hold the same."""
        return bundle_digest({name: entry.sha256 for name, entry in self.files.items()})

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(entry.size for entry in self.files.values())

    @property
    def drifted(self) -> bool:
        """Whether it is not what the last deploy into its environment made, but was changed by hand since."""
        return self.deployed is not None and self.deployed.digest != self.digest

    @property
    def removed(self) -> bool:
        """Whether this release removed the configuration."""
        return not self.files


def changed_files(old: Release | None, new: Release) -> dict[str, Literal["added", "removed", "changed"]]:
    """How the files of `new` differ from those of `old` (None: there was nothing), by name, in order."""
    before = {} if old is None else old.files
    changes: dict[str, Literal["added", "removed", "changed"]] = {}
    for name in sorted(before.keys() | new.files.keys()):
        if name not in before:
            changes[name] = "added"
        elif name not in new.files:
            changes[name] = "removed"
        elif before[name].sha256 != new.files[name].sha256:
            changes[name] = "changed"
    return changes


def bundle_digest(hashes: Mapping[str, str]) -> str:
    """One SHA-256 over the names and the SHA-256s of a bundle's files, but for those that only overlays use."""
    lines = (f"{sha256} {name}\n" for name, sha256 in sorted(hashes.items()) if not is_reserved(name))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class ConfigFile:
    """One file of a release, byte for byte as it was uploaded.

    Attributes:
        etag: changes exactly when the content does; quoted, as HTTP wants it.
        stale_since: S3 could not be reached, and this was current then (see `CacheSettings.stale_if_error`).
    """

    name: str
    raw: bytes = field(repr=False)
    revision: int
    tool: Tool
    environment: str
    stale_since: datetime | None = field(default=None, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "shared"}

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.raw)

    @cached_property
    def sha256(self) -> str:
        """Of `raw`, in hex."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def etag(self) -> str:
        """The SHA-256 of the content, in quotes."""
        return f'"{self.sha256}"'

    @cached_property
    def text(self) -> str:
        """The content as UTF-8.

        Raises:
            UnicodeDecodeError: it is not text.
        """
        return self.raw.decode()

    @cached_property
    def data(self) -> Any:
        """The parsed content: mappings, lists and scalars. Parsed at the first use, in the caller's thread.

        It is this object's own, to be changed at will, also where a cache spares the parsing.

        By the name's ending it is JSON, INI (sections of text), or else YAML.

        Raises:
            ConfigInvalid: it cannot be parsed.
        """
        shared: Content | None = vars(self).get("shared")  # where a cache holds the content
        if shared is not None:
            return shared.data(format_of(self.name))
        return parse_document(self.raw, format_of(self.name))


def format_of(name: str) -> Literal["yaml", "json", "ini"]:
    """The format of a file by its name's ending; YAML where it says nothing."""
    ending = PurePosixPath(name).suffix.lower()
    return "json" if ending == ".json" else "ini" if ending in (".ini", ".conf") else "yaml"


@dataclass(frozen=True, slots=True)
class Bundle:
    """All files of one release.

    Attributes:
        stale_since: S3 could not be reached, and this was current then (see `CacheSettings.stale_if_error`).
    """

    release: Release
    files: Mapping[str, ConfigFile]
    stale_since: datetime | None = field(default=None, compare=False)

    @property
    def main(self) -> ConfigFile:
        """The tool's main file.

        Raises:
            ConfigNotFound: the bundle has none.
        """
        name = MAIN_FILES[self.release.tool]
        if name not in self.files:
            raise ConfigNotFound(
                f"{self.release.tool} in {self.release.environment} has no {name}",
                tool=self.release.tool,
                environment=self.release.environment,
                hint=f"it has {', '.join(list(self.files)[:10])}",
            )
        return self.files[name]


class CommitOutcome(StrEnum):
    """How a write ended.

    WON: it was committed. LOST: it was not and never will be. PENDING: neither yet, ask again.
    EXPIRED: there is no trace of it that could tell: it was pruned since; or it would have made no release, as
    `mark_good` and `freeze` do not, and was not committed until now. Such a call can be repeated under the same write
    id: it is committed once at most.
    """

    WON = "won"
    LOST = "lost"
    PENDING = "pending"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Freeze:
    """Why an environment takes no change.

    Attributes:
        extra: fields of a later version.
    """

    reason: str
    by: str | None
    since: datetime
    extra: Extra = field(default_factory=no_extra, repr=False)


@dataclass(frozen=True, slots=True)
class Damage:
    """Consecutive revisions of a tool that are lost for good, as a repair found them.

    Attributes:
        first, last: the revisions.
        lost: "documents": their release documents; "files": some of the files that these name.
        older: where documents are lost, the release before them, at which the history goes on; None: there is none.
        extra: fields of a later version.
    """

    first: int
    last: int
    lost: Literal["documents", "files"]
    older: ReleaseRef | None = None
    extra: Extra = field(default_factory=no_extra, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ToolState:
    """What the reference document says of one tool.

    Attributes:
        release, parent: the current release and the one it replaced.
        good: the release that was marked as the last known good one.
        oldest: the oldest revision that is kept.
        damaged: the revisions that a repair could not bring back, in order.
        extra: fields of a later version.
    """

    release: ReleaseRef
    parent: ReleaseRef | None = None
    good: ReleaseRef | None = None
    oldest: int = 1
    damaged: tuple[Damage, ...] = ()
    extra: Extra = field(default_factory=no_extra, repr=False)

    def damage_of(self, revision: int) -> Damage | None:
        """Why `revision` cannot be read; None where no repair found it damaged."""
        return next((each for each in self.damaged if each.first <= revision <= each.last), None)


@dataclass(frozen=True, slots=True)
class Current:
    """The reference document of an environment: what is current there.

    Attributes:
        sequence: grows by one with each write.
        earlier: write ids of writes before the log began, oldest first, as long as they are among the last 64.
        home: the bucket it was written in; elsewhere it is a replica.
        freeze: set while the environment is frozen.
        settings: what the environment expects of changes.
        log: the newest entries of the log, one for each write.
        features: what readers of the document have to know, each with the first version of this library that does.
        extra: fields of a later version.
    """

    sequence: int
    earlier: tuple[str, ...]
    home: str
    freeze: Freeze | None = None
    tools: Mapping[str, ToolState] = field(default_factory=lambda: MappingProxyType({}))
    settings: EnvironmentSettings = field(default_factory=EnvironmentSettings)
    log: Log = field(default_factory=Log)
    features: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    extra: Extra = field(default_factory=no_extra, repr=False)

    @property
    def writers(self) -> tuple[str, ...]:
        """The write ids of at least the last 64 writes, oldest first."""
        return (*self.earlier, *(entry["id"] for entry in self.log.entries))
