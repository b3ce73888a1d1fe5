"""What the documents of a store say, as frozen values. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Literal, get_args

from apm_s3._hints import Advice
from apm_s3._naming import check_environment
from apm_s3._plans import canonical_hash
from apm_s3._tools import MAIN_FILES, Tool
from apm_s3.configs._content.files import check_tool
from apm_s3.configs._content.overlays import inputs_of, is_internal, is_reserved
from apm_s3.configs._content.serialise import Content
from apm_s3.errors import ConfigNotFound, InvalidOption
from apm_s3.validators import ValidationOptions, parse_document
from apm_s3.validators._checking import MatcherMode, parse_version
from apm_s3.validators._validation.validate import Level, check_level, check_names

Extra = Mapping[str, Any]
"""Unknown fields of a document, from a newer version of this library. They are written back."""


def nothing() -> Mapping[str, Any]:
    """Return an empty mapping that nobody can fill, the default of fields."""
    return MappingProxyType({})


LEAST_KEPT = timedelta(hours=24)
"""Nothing younger is ever deleted; this is much longer than any write."""

KEEP_LOG = timedelta(days=365)
"""How long log entries are kept by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSettings:
    """An environment's rules for all changes. Calls can only be stricter.

    Attributes:
        target_versions: the release to validate against, by tool (`{"prometheus": "2.53"}`).
        level: "external" also runs promtool or amtool, if installed.
        matchers: Alertmanager's matcher mode; `classic` and `utf8-strict` are those of its feature flags.
        warnings_as_errors: rules whose warnings count as errors, such as "plain-text-secret"; "*" means all.
        require_author, require_message: whether every change needs an author, or a message.
        deploy_from: the environments that may be deployed to this one; None means any.
        keep_revisions: the minimum number of revisions that a collection keeps.
        keep_for: how long a collection keeps every revision, at least 24 hours (the default, None).
        keep_log: how long a collection keeps log entries, at least 24 hours; None means a year, unless the call says
            less.
        extra: settings of a newer version.
    """

    target_versions: Mapping[str, str] = field(default_factory=nothing)
    level: Level = "full"
    matchers: MatcherMode = "fallback"
    warnings_as_errors: tuple[str, ...] = ()
    require_author: bool = False
    require_message: bool = False
    deploy_from: tuple[str, ...] | None = None
    keep_revisions: int | None = None
    keep_for: timedelta | None = None
    keep_log: timedelta | None = None
    extra: Extra = field(default_factory=nothing, repr=False)

    def check(self) -> None:
        """Refuse invalid settings.

        Raises:
            InvalidRequest: a tool, version, level, mode or name is not valid, or a retention is too short.
        """
        _check_versions(self.target_versions)
        ValidationOptions(level=self.level, matchers=self.matchers, warnings_as_errors=self.warnings_as_errors).check()
        if self.deploy_from is not None:
            check_names(self.deploy_from, "deploy_from")
            for environment in self.deploy_from:
                check_environment(environment)
        for name in ("require_author", "require_message"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidOption(f"{name} must be True or False", hint="choose one")
        self._check_retention()

    def _check_retention(self) -> None:
        if self.keep_revisions is not None and (type(self.keep_revisions) is not int or self.keep_revisions < 1):
            raise InvalidOption("keep_revisions must be at least 1", hint="the current revision is always kept")
        for name in ("keep_for", "keep_log"):
            period = getattr(self, name)
            if period is not None and (not isinstance(period, timedelta) or period < LEAST_KEPT):
                raise InvalidOption(f"{name} must be at least 24 hours", hint="pass a timedelta")

    def check_note(self, environment: str, author: str | None, message: str) -> None:
        """Refuse a change without a required author or message.

        Raises:
            InvalidOption: the author or the message is missing.
        """
        missing = ["author"] if self.require_author and not (author or "").strip() else []
        missing += ["message"] if self.require_message and not message.strip() else []
        if missing:
            raise InvalidOption(
                f"'{environment}' does not accept changes without {' and '.join(missing)}",
                hint=Advice.ADD_NOTE(names=missing),
            )

    def rules(
        self, tool: str, *, level: Level | None = None, warnings_as_errors: Collection[str] = ()
    ) -> ValidationOptions:
        """Return how a configuration of `tool` is validated, by a call that may be stricter.

        Raises:
            InvalidOption: the call is less strict.
        """
        levels = get_args(Level)
        check_level(level)
        if level is not None and levels.index(level) < levels.index(self.level):
            raise InvalidOption(
                f"level={level!r} is less strict than the environment's {self.level!r}", hint="leave it out"
            )
        return ValidationOptions(
            target_version=self.target_versions.get(tool),
            level=level or self.level,
            matchers=self.matchers,
            warnings_as_errors=tuple(sorted({*self.warnings_as_errors, *warnings_as_errors})),
        )

    def refuses_source(self, environment: str) -> str | None:
        """Return why `environment` may not be deployed to this one; None if it may."""
        if self.deploy_from is None or environment in self.deploy_from:
            return None
        return f"its settings allow deploys from {', '.join(self.deploy_from) or 'nowhere'} only"


NO_SETTINGS = EnvironmentSettings()
"""The default settings."""


SettingsChange = EnvironmentSettings | Callable[[EnvironmentSettings], EnvironmentSettings]
"""New settings, or a function that returns them from the current ones."""


def changed_settings(old: EnvironmentSettings, new: EnvironmentSettings) -> list[str]:
    """Return the names of the settings that differ."""
    names = [each.name for each in fields(EnvironmentSettings) if each.name != "extra"]
    return [name for name in names if getattr(old, name) != getattr(new, name)]


def check_rule_names(names: Collection[str]) -> tuple[str, ...]:
    """Return the names of rules that a caller gave.

    Raises:
        InvalidOption: they are not a collection of names, or too many.
    """
    given = tuple(names) if not isinstance(names, str) and isinstance(names, Collection) else names
    check_names(given, "warnings_as_errors")
    return tuple(given)


def _check_versions(versions: Any) -> None:
    if not isinstance(versions, Mapping):
        raise InvalidOption(f"target_versions is a {type(versions).__name__}", hint="use a mapping by tool")
    for tool, version in versions.items():
        check_tool(tool)
        if not isinstance(version, str):
            raise InvalidOption(f"the version of {tool} is not text", hint="write it as '2.53'")
        parse_version(version)


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


Action = Literal["upload", "remove", "rollback", "deploy", "restore", "repair"]
"""The action that created a release."""

Encoding = Literal["identity", "gzip"]
"""The encoding of a blob. Sizes and hashes are always those of the plain content."""


@dataclass(frozen=True, slots=True)
class ReleaseRef:
    """A release document: its revision, key and the SHA-256 of its bytes.

    Attributes:
        extra: fields of a newer version.
    """

    revision: int
    key: str
    sha256: str
    extra: Extra = field(default_factory=nothing, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a release.

    Attributes:
        size, sha256: of the plain content.
        blob: the name of the object with the content, in the blobs folder of the release's tool.
        encoding: the encoding of that object.
    """

    size: int
    sha256: str
    blob: str
    encoding: Encoding = "identity"


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a release.

    Attributes:
        action: the action that created it.
        environment, revision: the source of its content, if it came from another release.
        bucket: the bucket of the source, if it is another one.
        backup: the key of the restored backup.
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
    """The last deploy to an environment that a release descends from.

    Attributes:
        revision: the revision that the deploy created here.
        digest: the content that it created (`Release.digest`).
        source_environment, source_revision, source_digest: what was deployed.
        source_bucket: the bucket of the source, if it is another one.
    """

    revision: int
    digest: str
    source_environment: str
    source_revision: int
    source_digest: str
    source_bucket: str | None = None


class SecretWarning(str):
    """A warning, stored with a release, of a plain-text secret in the file `file`."""

    file: str

    @classmethod
    def of(cls, file: str, text: str) -> SecretWarning:
        """Return the warning `text` about `file`."""
        warning = cls(text)
        warning.file = file
        return warning


@dataclass(frozen=True, slots=True)
class Release:
    """One revision of a tool's configuration in an environment: a whole bundle of files.

    Attributes:
        revision: the number of the release, counting from 1 for each tool and environment.
        parent: the release that it replaced; None for the first.
        write_id: the id of the write that created it, for all tools of that write.
        created_at: when that write began, by the server's clock.
        files: by name, in order; empty if the configuration was removed.
        warnings: warnings of validation and of the search for secrets, one line each.
        forced: the reason for storing errors.
        deployed: the last deploy that it descends from.
        ref: the location of the document.
        damaged: a repair found that some of its files are lost permanently. This is stored in the reference document.
        live_pending: the release is committed, but the copies under `live/` could not be updated yet. This is only
            known to the call that created the release, and is not stored.
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
        """Return one SHA-256 of the names and contents that the tool reads, to compare releases."""
        return bundle_digest({name: entry.sha256 for name, entry in self.files.items()})

    @property
    def size(self) -> int:
        """Return the total bytes of all files."""
        return sum(entry.size for entry in self.files.values())

    @property
    def drifted(self) -> bool:
        """Return whether it was changed by hand since the last deploy to its environment."""
        return self.deployed is not None and self.deployed.digest != self.digest

    @property
    def removed(self) -> bool:
        """Return whether this release removed the configuration."""
        return not self.files


def changed_files(old: Release | None, new: Release) -> dict[str, Literal["added", "removed", "changed"]]:
    """Compare the files of `new` with those of `old` (None: nothing), by name, in order."""
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


def masking_inputs(release: Release, name: str) -> tuple[tuple[str, str], ...]:
    """Return the names and hashes of the files from which an overlay may have made the file `name`.

    Whatever is a secret in one of them is one in the file.
    """
    reserved = [each for each in release.files if is_reserved(each)]
    return tuple((each, release.files[each].sha256) for each in inputs_of(name, reserved)) if reserved else ()


def bundle_digest(hashes: Mapping[str, str]) -> str:
    """Return one SHA-256 of the names and SHA-256s of a bundle's files, except those that only overlays use."""
    lines = (f"{sha256} {name}\n" for name, sha256 in sorted(hashes.items()) if not is_reserved(name))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class ConfigFile:
    """One file of a release, byte for byte as it was uploaded.

    Attributes:
        etag: changes exactly when the content does; quoted, as in HTTP.
        stale_since: when this was current, if S3 cannot be reached (see `CacheSettings.stale_if_error`).
    """

    name: str
    raw: bytes = field(repr=False)
    revision: int
    tool: Tool
    environment: str
    stale_since: datetime | None = field(default=None, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("shared", "inputs")}

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return len(self.raw)

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of `raw`, in hex."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def etag(self) -> str:
        """Return the SHA-256 of the content, in quotes."""
        return f'"{self.sha256}"'

    @cached_property
    def text(self) -> str:
        """Decode the content as UTF-8.

        Raises:
            UnicodeDecodeError: it is not text.
        """
        return self.raw.decode()

    @cached_property
    def data(self) -> Any:
        """Return the parsed content: mappings, lists and scalars. It is parsed on first use, in the caller's thread.

        You may modify it: it belongs to this object, even if a cache made the parsing unnecessary.

        The format is JSON or INI (sections of text) by the extension of the name, or else YAML.

        Raises:
            ConfigInvalid: it cannot be parsed.
        """
        shared: Content | None = vars(self).get("shared")  # if the content is cached
        if shared is not None:
            return shared.data(format_of(self.name))
        return parse_document(self.raw, format_of(self.name))


def format_of(name: str) -> Literal["yaml", "json", "ini"]:
    """Return the format of a file by the extension of its name; YAML by default."""
    ending = PurePosixPath(name).suffix.lower()
    return "json" if ending == ".json" else "ini" if ending in (".ini", ".conf") else "yaml"


@dataclass(frozen=True, slots=True)
class Bundle:
    """All files of one release.

    Attributes:
        stale_since: when this was current, if S3 cannot be reached (see `CacheSettings.stale_if_error`).
    """

    release: Release
    files: Mapping[str, ConfigFile]
    stale_since: datetime | None = field(default=None, compare=False)

    @property
    def main(self) -> ConfigFile:
        """Return the tool's main file.

        Raises:
            ConfigNotFound: the bundle has none.
        """
        name = MAIN_FILES[self.release.tool]
        if name not in self.files:
            raise ConfigNotFound(
                f"{self.release.tool} in {self.release.environment} has no {name}",
                tool=self.release.tool,
                environment=self.release.environment,
                hint=f"it has {', '.join([each for each in self.files if not is_internal(each)][:10])}",
            )
        return self.files[name]


@dataclass(frozen=True, slots=True)
class Freeze:
    """Why an environment is frozen.

    Attributes:
        removed: whether the environment was removed, and is listed no longer.
        extra: fields of a newer version.
    """

    reason: str
    by: str | None
    since: datetime
    removed: bool = False
    extra: Extra = field(default_factory=nothing, repr=False)


@dataclass(frozen=True, slots=True)
class Damage:
    """Consecutive revisions of a tool that are permanently lost, as found by a repair.

    Attributes:
        first, last: the revisions.
        lost: "documents": their release documents; "files": some of their files.
        older: if documents are lost, the release before them, at which the history continues; None if there is none.
        extra: fields of a newer version.
    """

    first: int
    last: int
    lost: Literal["documents", "files"]
    older: ReleaseRef | None = None
    extra: Extra = field(default_factory=nothing, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ToolState:
    """The state of one tool in the reference document.

    Attributes:
        release, parent: the current release and the one that it replaced.
        good: the release that was marked good.
        oldest: the oldest revision that is kept.
        damaged: the revisions that a repair could not recover, in order.
        extra: fields of a newer version.
    """

    release: ReleaseRef
    parent: ReleaseRef | None = None
    good: ReleaseRef | None = None
    oldest: int = 1
    damaged: tuple[Damage, ...] = ()
    extra: Extra = field(default_factory=nothing, repr=False)

    def damage_of(self, revision: int) -> Damage | None:
        """Return why `revision` cannot be read; None if no repair found it damaged."""
        return next((each for each in self.damaged if each.first <= revision <= each.last), None)


@dataclass(frozen=True, slots=True)
class Current:
    """The reference document of an environment, with its current state.

    Attributes:
        sequence: increases by one with each write.
        earlier: ids of writes before the log began, oldest first, while they are among the last 64.
        home: the bucket to which it was written; in any other bucket it is a replica.
        freeze: set while the environment is frozen.
        settings: the environment's rules for changes.
        log: the newest entries of the log, one for each write.
        features: features that readers of the document must know, each with the first version of this library that
            knows it.
        extra: fields of a newer version.
    """

    sequence: int
    earlier: tuple[str, ...]
    home: str
    freeze: Freeze | None = None
    tools: Mapping[str, ToolState] = field(default_factory=nothing)
    settings: EnvironmentSettings = field(default_factory=EnvironmentSettings)
    log: Log = field(default_factory=Log)
    features: Mapping[str, str] = field(default_factory=nothing)
    extra: Extra = field(default_factory=nothing, repr=False)

    @property
    def writers(self) -> tuple[str, ...]:
        """Return the ids of at least the last 64 writes, oldest first."""
        return (*self.earlier, *(entry["id"] for entry in self.log.entries))
