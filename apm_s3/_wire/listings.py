"""Pages of listings from S3's XML, objects of a bucket's list for a fraction of what a parser costs. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

from apm_s3._wire.xml import (
    FLAT_FIELD,
    decoder,
    document,
    fields_of,
    next_mark,
    number,
    parse_time,
    quoted,
    skip_of,
    with_quotes,
)
from apm_s3.models import FileInfo

if TYPE_CHECKING:
    from apm_s3.models import FileVersion, ListPage, VersionPage

_TOKEN = re.compile(rb"<NextContinuationToken>([!-%'-;=-~]{1,4096})</NextContinuationToken>")
_LAST = b"<IsTruncated>false</IsTruncated>"
# Repetitions are possessive (`*+`), so that no document can cause backtracking.
_ENTRY = re.compile(rb"<Contents>((?:<(\w{1,40})>[^<]*+</\2>){1,24})</Contents>")
_TEXT = r"[^<&\x00-\x1f]*+"
_ENTRY_END = b"</Contents>"
_NOTHING: dict[str, str] = {}


def next_token(body: bytes) -> str | None:
    """Find the continuation token in a ListObjectsV2 response before it is parsed; None if there is none.

    It is a guess that saves time; compare it with the result of `parse_list`.
    """
    if _LAST in body:
        return None
    found = _TOKEN.search(body)
    return found[1].decode() if found else None


def is_whole_list(body: bytes) -> bool:
    """Return whether this looks like a complete ListObjectsV2 response, in which `next_token` works."""
    if not body.endswith(b"</ListBucketResult>"):
        return False
    return _LAST in body or _TOKEN.search(body) is not None


def parse_list(body: bytes, bucket: str) -> ListPage:
    """Parse a page of ListObjectsV2."""
    from apm_s3.models import ListPage  # noqa: PLC0415 - only listings need it

    body, names, rows = _cut_rows(body)
    root = document(body, "ListBucketResult")
    decode = decoder(root)
    quick = _Files(bucket, decode, int)
    files = [quick.make(names, row) for row in rows]
    entries = _Files(bucket, decode, number)
    prefixes: list[str] = []
    truncated = ""
    token = None
    skip = skip_of(root)
    for element in root:
        match element.tag[skip:]:
            case "Contents":
                files.append(entries.make([child.tag[skip:] for child in element], [child.text for child in element]))
            case "CommonPrefixes":
                prefixes.append(decode(fields_of(element).get("Prefix", "")))
            case "NextContinuationToken":
                token = element.text
            case "IsTruncated":
                truncated = element.text or ""
    return ListPage(tuple(files), tuple(prefixes), next_mark(truncated, token))


def parse_versions(body: bytes) -> VersionPage:
    """Parse a page of ListObjectVersions."""
    from apm_s3.models import VersionPage  # noqa: PLC0415 - as in `parse_list`

    root = document(body, "ListVersionsResult")
    decode = decoder(root)
    versions: list[FileVersion] = []
    prefixes: list[str] = []
    markers: dict[str, str] = {}
    skip = skip_of(root)
    for element in root:
        match element.tag[skip:]:
            case "Version" | "DeleteMarker" as kind:
                versions.append(_version(fields_of(element), decode, is_delete_marker=kind == "DeleteMarker"))
            case "CommonPrefixes":
                prefixes.append(decode(fields_of(element).get("Prefix", "")))
            case "NextKeyMarker" | "NextVersionIdMarker" | "IsTruncated" as name:
                markers[name] = element.text or ""
    # S3 interleaves versions and delete markers, newest first; some servers send one kind after the other.
    versions.sort(key=newest_first)
    key = next_mark(markers.get("IsTruncated"), markers.get("NextKeyMarker"))
    if key is None:
        return VersionPage(tuple(versions), tuple(prefixes))
    return VersionPage(
        tuple(versions),
        tuple(prefixes),
        next_key=decode(key),
        next_version=markers.get("NextVersionIdMarker") or None,
    )


class _Files:
    """Creates the objects of a listing. All entries have their fields in the same order, which is looked up once."""

    def __init__(self, bucket: str, decode: Callable[[str], str], number: Callable[[str], int]) -> None:
        self._bucket = bucket
        self._decode = decode
        self._number = number
        self._names: list[str] = []

    def make(self, names: list[str], texts: Sequence[str | None]) -> FileInfo:
        if names != self._names:
            self._names = names
            at = {name: index for index, name in enumerate(names)}
            self._key = at["Key"]
            self._size, self._etag, self._modified = at.get("Size"), at.get("ETag"), at.get("LastModified")
            self._storage = at.get("StorageClass")
        etag = _at(texts, self._etag)
        return FileInfo(
            self._bucket,
            self._decode(texts[self._key] or ""),
            self._number(_at(texts, self._size) or "0"),
            quoted(etag) if etag else None,
            None,
            parse_time(_at(texts, self._modified)),
            None,
            None,
            _at(texts, self._storage) or "STANDARD",
            _NOTHING,
            None,
            _NOTHING,
        )


def _at(texts: Sequence[str | None], index: int | None) -> str | None:
    return None if index is None else texts[index]


def _cut_rows(body: bytes) -> tuple[bytes, list[str], list[tuple[str, ...]]]:
    """Read the entries of a listing, if all have the same flat fields, and return them with the rest of the document.

    This costs a fraction of a parser, which must read everything otherwise.
    """
    start = max(body.find(b"<Contents"), 0)
    first = _ENTRY.match(body, start)
    if first is None:
        return body, [], []
    stop = body.rindex(_ENTRY_END) + len(_ENTRY_END)
    try:
        text = with_quotes(body[start:stop]).decode()
    except UnicodeDecodeError:
        return body, [], []
    names = [name for name, _ in FLAT_FIELD.findall(first[1].decode())]
    if len(set(names)) != len(names):
        return body, [], []
    pattern, framing = _row(tuple(names))
    rows = [found.groups() for found in pattern.finditer(text)]
    # Rows do not overlap: if their total length is that of the list, it contains nothing else.
    if len(rows) * framing + sum(map(len, chain.from_iterable(rows))) != len(text):
        return body, [], []
    return body[:start] + body[stop:], names, rows


@lru_cache(maxsize=64)
def _row(names: tuple[str, ...]) -> tuple[re.Pattern[str], int]:
    """Return a pattern for an entry with these fields, and its length without their texts."""
    texts = {"Size": "[0-9]{1,19}+"}
    fields = "".join(f"<{name}>({texts.get(name, _TEXT)})</{name}>" for name in names)
    empty = "".join(f"<{name}></{name}>" for name in names)
    return re.compile(f"<Contents>{fields}</Contents>"), len(f"<Contents>{empty}</Contents>")


def _version(fields: dict[str, str], decode: Callable[[str], str], *, is_delete_marker: bool) -> FileVersion:
    from apm_s3.models import FileVersion  # noqa: PLC0415 - as in `parse_list`

    return FileVersion(
        key=decode(fields["Key"]),
        version_id=fields.get("VersionId", "null"),
        is_latest=fields.get("IsLatest") == "true",
        is_delete_marker=is_delete_marker,
        size=number(fields.get("Size")),
        etag=quoted(fields.get("ETag", "")) or None,
        last_modified=parse_time(fields.get("LastModified")),
        storage_class=fields.get("StorageClass"),
    )


def newest_first(version: FileVersion) -> tuple[str, bool, float]:
    """Sorts versions by key, each key's newest first."""
    at = version.last_modified.timestamp() if version.last_modified else 0.0
    return version.key, not version.is_latest, -at
