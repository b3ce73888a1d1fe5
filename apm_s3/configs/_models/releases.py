"""Releases and what they consist of, all frozen: bundles, files, and where they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Literal

from apm_s3._tools import MAIN_FILES, Tool
from apm_s3.configs._content.overlays import inputs_of, is_internal, is_reserved
from apm_s3.configs._content.parsed import Content
from apm_s3.configs._models.extra import Extra, nothing
from apm_s3.errors import ConfigNotFound
from apm_s3.validators import parse_document

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
