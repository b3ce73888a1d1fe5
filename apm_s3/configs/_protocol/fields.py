"""The documents of a store as JSON, and back. Pure.

Every document says what it is (`kind`), its `format`, and which `features` its readers have to know. A document that
needs more than this version knows is refused; any other field that it does not know is kept, and written back.
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
"""The format that this version writes, and the newest it reads. Raised only where older readers would do harm."""

OLDEST_FORMAT = 1
"""The oldest format that this version reads. What it writes again becomes `FORMAT`."""

NEEDS = "0.1.0"
"""The first version of this library that reads `FORMAT`: told to older ones that meet it."""

FEATURES: frozenset[str] = frozenset()
"""The features that this version knows, of those that a document can ask of its readers."""

MAX_DOCUMENT = 16 * 1024**2
"""Bytes; twice a release of 10 000 files with the longest names."""

_ENVELOPE = ("kind", "format", "needs", "features")
_VERSION = re.compile(r"\d{1,4}(\.\d{1,6}){1,3}([a-z]{1,5}\d{1,4})?", re.ASCII)

T = TypeVar("T")


def encode(kind: str, fields: Mapping[str, Any], features: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a document; the same fields give the same bytes.

    Args:
        features: what its readers have to know, each with the first version of this library that does.
    """
    document: dict[str, Any] = {"kind": kind, "format": FORMAT, "needs": NEEDS}
    if features:
        document["features"] = dict(features)
    document.update(fields)
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except (UnicodeEncodeError, RecursionError) as exc:
        # Only fields that were kept unread can hold this: what callers give is checked before.
        raise StoreDamaged("a document holds what cannot be written back: lone surrogates, or endless nesting") from exc


def decode(kind: str, body: bytes, *, where: str) -> Fields:
    """The fields of a document.

    Args:
        where: bucket and key, for errors.

    Raises:
        FormatTooNew: a later version of this library wrote it, and this one does not know enough to read it.
        StoreDamaged: it is not a document of this kind.
    """
    if len(body) > MAX_DOCUMENT:
        raise StoreDamaged(f"'{where}' has {len(body)} bytes, too many for a document of this store")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise StoreDamaged(f"'{where}' is no JSON document") from exc
    if not _is_unicode(body, value):
        raise StoreDamaged(f"'{where}' holds text that is not valid Unicode")
    if not isinstance(value, dict) or value.get("kind") != kind:
        raise StoreDamaged(f"'{where}' is not a document of kind '{kind}'")
    version = value.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < OLDEST_FORMAT:
        raise StoreDamaged(f"'{where}' names no format")
    if version > FORMAT:
        newer = f"'{where}' has format {version}, but this version of apm_s3 knows {FORMAT} at most"
        raise _too_new(newer, [value.get("needs")])
    features = _features(value.get("features"), where)
    unknown = sorted(features.keys() - FEATURES)
    if unknown:
        newer = f"'{where}' needs what this version of apm_s3 does not know: {', '.join(unknown)[:200]}"
        raise _too_new(newer, [features[name] for name in unknown])
    fields = {name: field for name, field in value.items() if name not in _ENVELOPE}
    return Fields(fields, where, version=version, features=features)


def _is_unicode(body: bytes, value: Any) -> bool:
    # Only an escape can bring a lone surrogate in; nothing that holds one could be written again.
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
        raise StoreDamaged(f"'{where}' has no proper field 'features'")
    return MappingProxyType(value)


def _too_new(problem: str, versions: list[Any]) -> FormatTooNew:
    told = [text for text in versions if isinstance(text, str) and _VERSION.fullmatch(text)]
    newest = max(told, key=lambda text: [int(part) for part in re.findall(r"\d+", text)], default=None)
    # What is quoted comes from the document: only what looks like a version is.
    hint = "upgrade apm_s3" if newest is None else f"apm_s3 {newest} or later reads it: upgrade"
    return FormatTooNew(problem, hint=hint)


class Fields:
    """A JSON object that is taken apart field by field; what is missing or of another type is damage.

    Attributes:
        version, features: of the document, where this is the whole of one.
    """

    def __init__(
        self, value: Any, where: str, *, version: int = FORMAT, features: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        if not isinstance(value, dict):
            raise StoreDamaged(f"'{where}' holds a {type(value).__name__} where an object belongs")
        self._value: dict[str, Any] = dict(value)
        self.where = where
        self.version = version
        self.features = features

    def has(self, name: str) -> bool:
        """Whether the field `name` is there."""
        return name in self._value

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

    def take_optional_list(self, name: str) -> list[Fields]:
        """The field `name`, which is a list of objects, or null or missing."""
        return [Fields(value, self.where) for value in self.take_optional(name, list) or ()]

    def take_time(self, name: str) -> datetime:
        """The field `name`, which is a UTC time."""
        return parse_time(self.take(name, str), self.where)

    def take_each(self) -> dict[str, Fields]:
        """All fields, each of which is an object."""
        each = {name: Fields(value, self.where) for name, value in self._value.items()}
        self._value = {}
        return each

    def rest(self) -> Mapping[str, Any]:
        """What was not taken: fields of a later version, to be written back as they are."""
        return MappingProxyType(self._value)


def format_time(moment: datetime) -> str:
    """RFC 3339, UTC, microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def format_seconds(moment: datetime) -> str:
    """RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str, where: str) -> datetime:
    """What `format_time` wrote."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise StoreDamaged(f"'{where}' has a time without a zone: {text[:40]!r}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise StoreDamaged(f"'{where}' has no proper time: {text[:40]!r}") from exc
