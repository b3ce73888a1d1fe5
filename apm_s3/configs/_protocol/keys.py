"""Keys of a store's objects, and the fields of its JSON documents. Pure.

configs/{environment}/current.json                                     the only mutable object
    configs/{environment}/{tool}/releases/{revision:08d}-{write id}.json   immutable
    configs/{environment}/{tool}/blobs/{sha256}-{write id}                 immutable
    configs/{environment}/log/{last sequence:016d}-{write id}.json         immutable
    live/{environment}/{tool}/{name}                                       copies for plain S3 clients
    backups/{environment}/{UTC time}-{write id}/                           self-contained

All keys here are relative to the store's prefix in the bucket, as in its documents. A write id contains its
environment, so that the id alone is enough to find the outcome of the write.

Without these checks, the reference document of one environment could refer to the releases of another, or a chain of
parents could be a cycle.

Every document has a `kind`, a `format`, and the `features` that its readers must know. A document that needs more than
this version supports is refused; other unknown fields are kept, and written back.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar

from apm_s3._hints import Advice
from apm_s3._naming import check_environment, check_file_name
from apm_s3._tools import MAIN_FILES
from apm_s3.configs._content.files import MAX_BUNDLE, MAX_FILE
from apm_s3.configs._content.serialise import MAX_FILES
from apm_s3.configs._models import Current, FileEntry, Release, ReleaseRef, ToolState
from apm_s3.errors import FormatTooNew, InvalidKey, InvalidOption, StoreDamaged

MAX_REVISION = 99_999_999

MAX_SEQUENCE = 2**53
"""Maximum number of writes of an environment: the largest integer that every JSON reader represents exactly."""

MAX_PREFIX = 256
"""Maximum bytes of a prefix: with the longest names, every key stays below S3's 1024 bytes."""

_WRITE_ID = re.compile(r"([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\.([0-9a-f]{20})", re.ASCII)
_BLOB = re.compile(r"([0-9a-f]{64})-([a-z0-9.-]{1,90})", re.ASCII)
_RELEASE = re.compile(r"(\d{8})-([a-z0-9.-]{1,90})\.json", re.ASCII)

_LOG_PART = re.compile(r"(\d{16})-([a-z0-9.-]{1,90})\.json", re.ASCII)


def new_write_id(environment: str) -> str:
    """Return a unique write id: the environment and 80 random bits."""
    return f"{environment}.{secrets.token_hex(10)}"


def environment_of(write_id: str) -> str:
    """Return the environment of a write id.

    Raises:
        InvalidOption: it is not a valid write id.
    """
    match = _WRITE_ID.fullmatch(write_id)
    if match is None:
        raise InvalidOption(
            f"{write_id[:120]!r} is not a valid write id",
            hint=Advice.WRITE_ID_PLACE(),
        )
    return match[1]


def is_write_id(text: str, environment: str) -> bool:
    """Return whether `text` is the id of a write in `environment`."""
    match = _WRITE_ID.fullmatch(text)
    return match is not None and match[1] == environment


def check_prefix(prefix: str) -> str:
    """Return `prefix` if it is valid for a store: empty, or a relative path that ends with '/'.

    Raises:
        InvalidKey: it is not valid.
    """
    if prefix:
        if not prefix.endswith("/"):
            raise InvalidKey(f"the prefix {prefix[:80]!r} does not end with '/'", hint=f"use {prefix[:80] + '/'!r}")
        try:
            check_file_name(prefix[:-1])
        except InvalidKey as exc:
            raise InvalidKey(
                f"{prefix[:80]!r} is not a valid prefix: {exc.problem}", hint="use one such as 'team-a/'"
            ) from exc
        if len(prefix.encode()) > MAX_PREFIX:
            raise InvalidKey(f"the prefix has more than {MAX_PREFIX} bytes", hint="shorten it")
    return prefix


def environment_prefix(environment: str) -> str:
    """Return the folder of an environment's releases."""
    return f"configs/{check_environment(environment)}/"


def current(environment: str) -> str:
    """Return the key of an environment's reference document."""
    return f"{environment_prefix(environment)}current.json"


def releases(environment: str, tool: str) -> str:
    """Return the folder of a tool's release documents."""
    return f"{environment_prefix(environment)}{tool}/releases/"


def release(environment: str, tool: str, revision: int, write_id: str) -> str:
    """Return the key of a release document."""
    return f"{releases(environment, tool)}{revision:08d}-{write_id}.json"


def blobs(environment: str, tool: str) -> str:
    """Return the folder of a tool's blobs."""
    return f"{environment_prefix(environment)}{tool}/blobs/"


def blob_name(sha256: str, write_id: str) -> str:
    """Return the name of a blob in its folder."""
    return f"{sha256}-{write_id}"


def log_parts(environment: str) -> str:
    """Return the folder of the stored parts of an environment's log."""
    return f"{environment_prefix(environment)}log/"


def log_part(environment: str, last: int, write_id: str) -> str:
    """Return the key of a stored part of the log, up to the entry with the sequence `last`."""
    return f"{log_parts(environment)}{last:016d}-{write_id}.json"


def parse_log_part(key: str) -> tuple[int, str] | None:
    """Parse the last sequence and the write id from the key of a stored part of a log, or return None."""
    match = _LOG_PART.fullmatch(key.rpartition("/")[2]) if key.count("/") == 3 else None
    return (int(match[1]), match[2]) if match else None


def probes(environment: str) -> str:
    """Return the prefix of the keys for probing the endpoint."""
    return f"{environment_prefix(environment)}probe-"


def live(environment: str, tool: str, name: str = "") -> str:
    """Return the key of a live copy; without a name, their folder."""
    return f"live/{check_environment(environment)}/{tool}/{name}"


def backups(environment: str) -> str:
    """Return the folder of an environment's backups."""
    return f"backups/{check_environment(environment)}/"


def is_blob_name(name: str) -> bool:
    """Return whether a blob can have this name."""
    return _BLOB.fullmatch(name) is not None


def writer_of(blob: str) -> str:
    """Return the id of the write that stored a blob of this name."""
    return blob[65:]


def parse_release(key: str) -> tuple[int, str] | None:
    """Parse revision and write id from the key of a release document, or return None."""
    match = _RELEASE.fullmatch(key.rpartition("/")[2])
    return (int(match[1]), match[2]) if match else None


def parse_release_key(key: str) -> tuple[str, str, int, str] | None:
    """Parse environment, tool, revision and write id from the whole key of a release document, or return None."""
    parts = key.split("/")
    if len(parts) != 5 or parts[0] != "configs" or parts[3] != "releases":
        return None
    match = _RELEASE.fullmatch(parts[4])
    return (parts[1], parts[2], int(match[1]), match[2]) if match else None


def is_own(key: str) -> bool:
    """Return whether a key under an environment's prefix is that of a release document, blob or part of the log."""
    parts = key.split("/")
    if len(parts) == 4 and parts[2] == "log":
        return parse_log_part(key) is not None
    if len(parts) != 5:
        return False
    return (parts[3] == "releases" and parse_release(key) is not None) or (
        parts[3] == "blobs" and is_blob_name(parts[4])
    )


_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def check_current(current: Current, *, environment: str, where: str) -> None:
    """Refuse a reference document that does not belong to `environment`, or that contradicts itself.

    Args:
        where: bucket and key, for errors.

    Raises:
        StoreDamaged: it names tools, releases or write ids that cannot belong to it, or revisions in a wrong order.
    """
    for write_id in current.writers:
        if not is_write_id(write_id, environment):
            raise StoreDamaged(f"'{where}' was written by {write_id[:90]!r}, which is not a write of '{environment}'")
    for tool, state in current.tools.items():
        if tool not in MAIN_FILES:
            raise StoreDamaged(f"'{where}' names an unknown tool: {tool[:80]!r}")
        for ref in (state.release, state.parent, state.good):
            if ref is not None:
                _check_ref(ref, environment, tool, where)
        _check_order(state, tool, where)
        _check_damage(state, environment, tool, where)


def _check_order(state: ToolState, tool: str, where: str) -> None:
    newest = state.release
    if state.oldest > newest.revision:
        raise StoreDamaged(f"'{where}' keeps revisions of {tool} from {state.oldest} to {newest.revision}")
    if state.parent is not None and state.parent.revision >= newest.revision:
        raise StoreDamaged(f"'{where}' has revision {state.parent.revision} of {tool} before {newest.revision}")
    if state.good is not None and (
        state.good.revision > newest.revision or (state.good.revision == newest.revision and state.good != newest)
    ):
        raise StoreDamaged(f"'{where}' marks a revision {state.good.revision} of {tool} that it does not have")


def _check_damage(state: ToolState, environment: str, tool: str, where: str) -> None:
    last = 0
    for damage in state.damaged:
        if not last < damage.first <= damage.last <= state.release.revision:
            raise StoreDamaged(f"'{where}' marks revisions of {tool} as damaged that it does not have, or twice")
        last = damage.last
        if damage.older is not None:
            _check_ref(damage.older, environment, tool, where)
            if damage.older.revision >= damage.first:
                raise StoreDamaged(f"'{where}' continues after damage of {tool} at a revision that is not older")


def check_release(release: Release, *, key: str, where: str) -> None:
    """Refuse a release document that does not match its key, or that describes impossible files.

    Raises:
        StoreDamaged: its environment, tool, revision or write id is not that of the key; its parent is not older, or of
            another tool; or its files are more or larger than a bundle can have.
    """
    if release.tool not in MAIN_FILES:
        raise StoreDamaged(f"'{where}' is of an unknown tool: {release.tool[:80]!r}")
    own = (release.environment, release.tool, release.revision, release.write_id)
    if parse_release_key(key) != own or not is_write_id(release.write_id, release.environment):
        raise StoreDamaged(
            f"'{where}' says that it is revision {release.revision} of {release.tool} in '{release.environment[:80]}'"
        )
    if release.parent is not None:
        _check_ref(release.parent, release.environment, release.tool, where)
        if release.parent.revision >= release.revision:
            raise StoreDamaged(f"'{where}' follows revision {release.parent.revision}, which is not older")
    if len(release.files) > MAX_FILES or sum(entry.size for entry in release.files.values()) > MAX_BUNDLE:
        raise StoreDamaged(f"'{where}' describes more files or bytes than a bundle can have")


def check_entry(entry: FileEntry, name: str, where: str) -> None:
    """Refuse an invalid description of a file.

    Raises:
        StoreDamaged: the name, size, hash or blob is not valid.
    """
    if (
        not 0 <= entry.size <= MAX_FILE
        or not _SHA256.fullmatch(entry.sha256)
        or not is_blob_name(entry.blob)
        or not entry.blob.startswith(entry.sha256)
        or entry.encoding not in ("identity", "gzip")
    ):
        raise StoreDamaged(f"'{where}' has an invalid description of the file '{name}'")


def _check_ref(ref: ReleaseRef, environment: str, tool: str, where: str) -> None:
    found = parse_release_key(ref.key)
    if found is None or found[:3] != (environment, tool, ref.revision) or not _SHA256.fullmatch(ref.sha256):
        raise StoreDamaged(f"'{where}' refers to '{ref.key[:200]}' for revision {ref.revision} of {tool}")


FORMAT = 2
"""The format that this version writes, and the newest it reads. It is raised only if older readers would do harm."""

OLDEST_FORMAT = 1
"""The oldest format that this version reads. Documents that it writes again get `FORMAT`."""

NEEDS = "0.1.0"
"""The first version of this library that reads `FORMAT`, for the messages of older ones."""

FEATURES: frozenset[str] = frozenset()
"""The features that this version knows."""

MAX_DOCUMENT = 16 * 1024**2
"""Maximum size of a document: twice that of a release of 10 000 files with the longest names."""

_ENVELOPE = ("kind", "format", "needs", "features")
_VERSION = re.compile(r"\d{1,4}(\.\d{1,6}){1,3}([a-z]{1,5}\d{1,4})?", re.ASCII)

T = TypeVar("T")


def encode(kind: str, fields: Mapping[str, Any], features: Mapping[str, str] | None = None) -> bytes:
    """Encode a document; the same fields give the same bytes.

    Args:
        features: features that readers must know, each with the first version of this library that knows it.
    """
    document: dict[str, Any] = {"kind": kind, "format": FORMAT, "needs": NEEDS}
    if features:
        document["features"] = dict(features)
    document.update(fields)
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except (UnicodeEncodeError, RecursionError) as exc:
        # Only unknown fields can contain this; callers' values were checked before.
        raise StoreDamaged(
            "a document cannot be written back: it has lone surrogates, or is nested too deeply"
        ) from exc


def decode(kind: str, body: bytes, *, where: str) -> Fields:
    """Decode a document to its fields.

    Args:
        where: bucket and key, for errors.

    Raises:
        FormatTooNew: a newer version of this library wrote it, and this one cannot read it.
        StoreDamaged: it is not a document of this kind.
    """
    if len(body) > MAX_DOCUMENT:
        raise StoreDamaged(f"'{where}' has {len(body)} bytes, which is too large for a document of a store")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise StoreDamaged(f"'{where}' is not valid JSON") from exc
    if not _is_unicode(body, value):
        raise StoreDamaged(f"'{where}' contains text that is not valid Unicode")
    if not isinstance(value, dict) or value.get("kind") != kind:
        raise StoreDamaged(f"'{where}' is not a document of kind '{kind}'")
    version = value.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < OLDEST_FORMAT:
        raise StoreDamaged(f"'{where}' has no format")
    if version > FORMAT:
        newer = f"'{where}' has format {version}, but this version of apm_s3 supports at most {FORMAT}"
        raise _too_new(newer, [value.get("needs")])
    features = _features(value.get("features"), where)
    unknown = sorted(features.keys() - FEATURES)
    if unknown:
        newer = f"'{where}' needs features that this version of apm_s3 does not know: {', '.join(unknown)[:200]}"
        raise _too_new(newer, [features[name] for name in unknown])
    fields = {name: field for name, field in value.items() if name not in _ENVELOPE}
    return Fields(fields, where, version=version, features=features)


def _is_unicode(body: bytes, value: Any) -> bool:
    # Lone surrogates can only come from escapes; a document that contains one could not be written again.
    if b"\\ud" not in body and b"\\uD" not in body:
        return True
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


def _features(value: Any, where: str) -> Mapping[str, str]:
    if value is None:
        return MappingProxyType({})
    if not isinstance(value, dict) or not all(isinstance(version, str) for version in value.values()):
        raise StoreDamaged(f"'{where}' has no valid field 'features'")
    return MappingProxyType(value)


def _too_new(problem: str, versions: list[Any]) -> FormatTooNew:
    told = [text for text in versions if isinstance(text, str) and _VERSION.fullmatch(text)]
    newest = max(told, key=lambda text: [int(part) for part in re.findall(r"\d+", text)], default=None)
    # The quoted text comes from the document, so quote only what looks like a version.
    return FormatTooNew(problem, hint=None if newest is None else Advice.UPGRADE(version=newest))


class Fields:
    """A JSON object that is read field by field; a missing field, or one of another type, is damage.

    Attributes:
        version, features: of the document, if this is a whole document.
    """

    def __init__(
        self, value: Any, where: str, *, version: int = FORMAT, features: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        if not isinstance(value, dict):
            raise StoreDamaged(f"'{where}' has a {type(value).__name__} instead of an object")
        self._value: dict[str, Any] = dict(value)
        self.where = where
        self.version = version
        self.features = features

    def has(self, name: str) -> bool:
        """Return whether there is a field `name`."""
        return name in self._value

    def take(self, name: str, kind: type[T]) -> T:
        """Return the field `name`, which must be a `kind`."""
        value = self._value.pop(name, None)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise StoreDamaged(f"'{self.where}' has no valid field '{name}'")
        return value

    def take_optional(self, name: str, kind: type[T]) -> T | None:
        """Return the field `name`, which must be a `kind`, or null or missing."""
        if self._value.get(name) is None:
            self._value.pop(name, None)
            return None
        return self.take(name, kind)

    def take_strings(self, name: str) -> tuple[str, ...]:
        """Return the field `name`, which must be a list of strings."""
        values = self.take(name, list)
        if not all(isinstance(value, str) for value in values):
            raise StoreDamaged(f"'{self.where}' has no valid field '{name}'")
        return tuple(values)

    def take_fields(self, name: str) -> Fields:
        """Return the field `name`, which must be an object."""
        return Fields(self.take(name, dict), self.where)

    def take_optional_fields(self, name: str) -> Fields | None:
        """Return the field `name`, which must be an object, or null or missing."""
        value = self.take_optional(name, dict)
        return None if value is None else Fields(value, self.where)

    def take_optional_list(self, name: str) -> list[Fields]:
        """Return the field `name`, which must be a list of objects, or null or missing."""
        return [Fields(value, self.where) for value in self.take_optional(name, list) or ()]

    def take_time(self, name: str) -> datetime:
        """Return the field `name`, which must be a UTC time."""
        return parse_time(self.take(name, str), self.where)

    def take_each(self) -> dict[str, Fields]:
        """Return all fields, which must be objects."""
        each = {name: Fields(value, self.where) for name, value in self._value.items()}
        self._value = {}
        return each

    def rest(self) -> Mapping[str, Any]:
        """Return the fields that were not read, from a newer version, to be written back unchanged."""
        return MappingProxyType(self._value)


def format_time(moment: datetime) -> str:
    """Format a time: RFC 3339, UTC, microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def format_seconds(moment: datetime) -> str:
    """Format a time: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str, where: str) -> datetime:
    """Parse a time written by `format_time`."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise StoreDamaged(f"'{where}' has a time without a zone: {text[:40]!r}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise StoreDamaged(f"'{where}' has an invalid time: {text[:40]!r}") from exc
