"""Reads and writes the fields of a store's JSON documents. Pure.

Every document has a `kind`, a `format`, and the `features` that its readers must know. A document that needs more than
this version supports is refused; other unknown fields are kept, and written back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar

from apm_s3.errors import FormatTooNew, StoreDamaged

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
    hint = "upgrade apm_s3" if newest is None else f"upgrade: apm_s3 {newest} or later reads it"
    return FormatTooNew(problem, hint=hint)


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
