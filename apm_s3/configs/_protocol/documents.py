"""The documents of a store as JSON, and back. Pure.

Every document says what it is and its format. A newer format is refused, and so is everything whose shape is not
exactly as expected: a document is never guessed at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from apm_s3._naming import check_file_name
from apm_s3.configs._models import (
    Current,
    Deployed,
    FileEntry,
    Freeze,
    Origin,
    Release,
    ReleaseRef,
    ToolState,
)
from apm_s3.configs._protocol.keys import MAX_REVISION, is_blob_name
from apm_s3.errors import ApmS3Error, FormatTooNew, StoreDamaged

FORMAT = 1
"""The format of current.json, release documents and manifests that this version writes, and the newest it reads."""

MAX_DOCUMENT = 64 * 1024**2
"""Bytes; far above a release of 100 000 files."""

RING = 64
"""Write ids that current.json remembers."""

T = TypeVar("T")


def encode(kind: str, fields: Mapping[str, Any]) -> bytes:
    """The bytes of a document; the same fields give the same bytes."""
    document = {"kind": kind, "format": FORMAT, **fields}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def decode(kind: str, body: bytes, *, where: str) -> Fields:
    """The fields of a document.

    Args:
        where: bucket and key, for errors.

    Raises:
        FormatTooNew: a later version of this library wrote it.
        StoreDamaged: it is not a document of this kind.
    """
    if len(body) > MAX_DOCUMENT:
        raise StoreDamaged(f"'{where}' has {len(body)} bytes, too many for a document of this store")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise StoreDamaged(f"'{where}' is no JSON document") from exc
    if not isinstance(value, dict) or value.get("kind") != kind:
        raise StoreDamaged(f"'{where}' is not a document of kind '{kind}'")
    version = value.get("format")
    if isinstance(version, int) and not isinstance(version, bool) and version > FORMAT:
        raise FormatTooNew(f"'{where}' has format {version}, but this version of apm_s3 knows {FORMAT} at most")
    if version != FORMAT or isinstance(version, bool):
        raise StoreDamaged(f"'{where}' names no format")
    return Fields({name: field for name, field in value.items() if name not in ("kind", "format")}, where)


class Fields:
    """A JSON object that is taken apart field by field; what is missing, of another type or left over is damage."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise StoreDamaged(f"'{where}' holds a {type(value).__name__} where an object belongs")
        self._value: dict[str, Any] = dict(value)
        self.where = where

    def take(self, name: str, kind: type[T]) -> T:
        """The field `name`, which is a `kind`."""
        value = self._value.pop(name, None)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise StoreDamaged(f"'{self.where}' has no proper field '{name}'")
        return value

    def take_optional(self, name: str, kind: type[T]) -> T | None:
        """The field `name`, which is a `kind`, or null or missing."""
        if self._value.get(name) is None:
            self._value.pop(name, None)
            return None
        return self.take(name, kind)

    def take_strings(self, name: str) -> tuple[str, ...]:
        """The field `name`, which is a list of strings."""
        values = self.take(name, list)
        if not all(isinstance(value, str) for value in values):
            raise StoreDamaged(f"'{self.where}' has no proper field '{name}'")
        return tuple(values)

    def take_fields(self, name: str) -> Fields:
        """The field `name`, which is an object."""
        return Fields(self.take(name, dict), self.where)

    def take_optional_fields(self, name: str) -> Fields | None:
        """The field `name`, which is an object, or null or missing."""
        value = self.take_optional(name, dict)
        return None if value is None else Fields(value, self.where)

    def take_time(self, name: str) -> datetime:
        """The field `name`, which is a UTC time."""
        return parse_time(self.take(name, str), self.where)

    def take_each(self) -> dict[str, Fields]:
        """All fields, each of which is an object."""
        each = {name: Fields(value, self.where) for name, value in self._value.items()}
        self._value = {}
        return each

    def end(self) -> None:
        """Nothing may be left."""
        if self._value:
            names = ", ".join(repr(name) for name in sorted(self._value)[:5])
            raise StoreDamaged(f"'{self.where}' has fields that this format does not know: {names}")


def format_time(moment: datetime) -> str:
    """RFC 3339, UTC, microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: str, where: str) -> datetime:
    """What `format_time` wrote."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise StoreDamaged(f"'{where}' has no proper time: {text[:40]!r}") from exc
    if moment.tzinfo is None:
        raise StoreDamaged(f"'{where}' has a time without a zone: {text[:40]!r}")
    return moment.astimezone(UTC)


# --------------------------------------------------------------------------------------------------------------
# current.json

_CURRENT, _RELEASE = "apm-s3/environment", "apm-s3/release"


def encode_current(current: Current) -> bytes:
    """The bytes of current.json."""
    return encode(
        _CURRENT,
        {
            "sequence": current.sequence,
            "writers": list(current.writers),
            "home": current.home,
            "freeze": None
            if current.freeze is None
            else {
                "reason": current.freeze.reason,
                "by": current.freeze.by,
                "since": format_time(current.freeze.since),
            },
            "tools": {
                tool: {
                    "release": _encode_ref(state.release),
                    "parent": _encode_ref(state.parent),
                    "good": _encode_ref(state.good),
                    "oldest": state.oldest,
                }
                for tool, state in sorted(current.tools.items())
            },
        },
    )


def decode_current(body: bytes, *, where: str) -> Current:
    """What `encode_current` wrote.

    Raises:
        FormatTooNew, StoreDamaged: see `decode`.
    """
    fields = decode(_CURRENT, body, where=where)
    freeze = fields.take_optional_fields("freeze")
    current = Current(
        sequence=_count(fields, "sequence", least=0),
        writers=fields.take_strings("writers"),
        home=fields.take("home", str),
        freeze=None if freeze is None else _decode_freeze(freeze),
        tools={tool: _decode_state(state) for tool, state in fields.take_fields("tools").take_each().items()},
    )
    fields.end()
    if len(current.writers) > RING:
        raise StoreDamaged(f"'{where}' remembers {len(current.writers)} writers, more than {RING}")
    return current


def _decode_freeze(fields: Fields) -> Freeze:
    freeze = Freeze(fields.take("reason", str), fields.take_optional("by", str), fields.take_time("since"))
    fields.end()
    return freeze


def _decode_state(fields: Fields) -> ToolState:
    release = _decode_ref(fields, "release")
    if release is None:
        raise StoreDamaged(f"'{fields.where}' names a tool without a release")
    state = ToolState(
        release=release,
        parent=_decode_ref(fields, "parent"),
        good=_decode_ref(fields, "good"),
        oldest=_count(fields, "oldest", least=1),
    )
    fields.end()
    return state


def _encode_ref(ref: ReleaseRef | None) -> dict[str, Any] | None:
    return None if ref is None else {"revision": ref.revision, "key": ref.key, "sha256": ref.sha256}


def _decode_ref(parent: Fields, name: str) -> ReleaseRef | None:
    fields = parent.take_optional_fields(name)
    if fields is None:
        return None
    ref = ReleaseRef(_count(fields, "revision", least=1), fields.take("key", str), fields.take("sha256", str))
    fields.end()
    return ref


def _count(fields: Fields, name: str, *, least: int) -> int:
    value = fields.take(name, int)
    if not least <= value <= (MAX_REVISION if least else 2**53):
        raise StoreDamaged(f"'{fields.where}' has an impossible '{name}': {value}")
    return value


# --------------------------------------------------------------------------------------------------------------
# Release documents


def encode_release(release: Release) -> bytes:
    """The bytes of a release document."""
    origin, deployed = release.origin, release.deployed
    return encode(
        _RELEASE,
        {
            "tool": release.tool,
            "environment": release.environment,
            "revision": release.revision,
            "parent": _encode_ref(release.parent),
            "write_id": release.write_id,
            "author": release.author,
            "message": release.message,
            "created_at": format_time(release.created_at),
            "origin": {name: getattr(origin, name) for name in Origin.__slots__},
            "deployed": None if deployed is None else {name: getattr(deployed, name) for name in Deployed.__slots__},
            "warnings": list(release.warnings),
            "forced": release.forced,
            "files": {
                name: {"size": entry.size, "sha256": entry.sha256, "blob": entry.blob, "encoding": entry.encoding}
                for name, entry in sorted(release.files.items())
            },
        },
    )


def decode_release(body: bytes, *, key: str, where: str) -> Release:
    """What `encode_release` wrote, with its `ref` to `key`.

    Raises:
        FormatTooNew, StoreDamaged: see `decode`.
    """
    fields = decode(_RELEASE, body, where=where)
    revision = _count(fields, "revision", least=1)
    release = Release(
        tool=fields.take("tool", str),
        environment=fields.take("environment", str),
        revision=revision,
        parent=_decode_ref(fields, "parent"),
        write_id=fields.take("write_id", str),
        author=fields.take_optional("author", str),
        message=fields.take("message", str),
        created_at=fields.take_time("created_at"),
        origin=_decode_origin(fields.take_fields("origin")),
        deployed=_decode_deployed(fields.take_optional_fields("deployed")),
        warnings=fields.take_strings("warnings"),
        forced=fields.take_optional("forced", str),
        files={name: _decode_entry(name, entry) for name, entry in fields.take_fields("files").take_each().items()},
        ref=ReleaseRef(revision, key, hashlib.sha256(body).hexdigest()),
    )
    fields.end()
    return release


def _decode_origin(fields: Fields) -> Origin:
    action: Any = fields.take("action", str)
    origin = Origin(
        action=action,
        environment=fields.take_optional("environment", str),
        revision=fields.take_optional("revision", int),
        bucket=fields.take_optional("bucket", str),
        backup=fields.take_optional("backup", str),
    )
    fields.end()
    return origin


def _decode_deployed(fields: Fields | None) -> Deployed | None:
    if fields is None:
        return None
    deployed = Deployed(
        revision=_count(fields, "revision", least=1),
        digest=fields.take("digest", str),
        source_environment=fields.take("source_environment", str),
        source_revision=_count(fields, "source_revision", least=1),
        source_digest=fields.take("source_digest", str),
        source_bucket=fields.take_optional("source_bucket", str),
    )
    fields.end()
    return deployed


def _decode_entry(name: str, fields: Fields) -> FileEntry:
    try:
        check_file_name(name)
    except ApmS3Error as exc:
        raise StoreDamaged(f"'{fields.where}' names a file that cannot be: {name[:80]!r}") from exc
    encoding: Any = fields.take("encoding", str)
    entry = FileEntry(fields.take("size", int), fields.take("sha256", str), fields.take("blob", str), encoding)
    fields.end()
    if encoding not in ("identity", "gzip") or not is_blob_name(entry.blob) or entry.size < 0:
        raise StoreDamaged(f"'{fields.where}' describes the file '{name}' in a way that cannot be")
    return entry
