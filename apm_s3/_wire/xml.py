"""S3's XML documents to values, and back. Pure.

Documents are read without any DTD: an answer that brings one is no answer of S3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from apm_s3.errors import InvalidRequest
from apm_s3.models import (
    DeleteOutcome,
    DeleteReport,
    FileInfo,
    FileVersion,
    KeyFailure,
    ListPage,
    PartInfo,
    UploadInfo,
    VersionPage,
)

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
_TOKEN = re.compile(rb"<NextContinuationToken>([!-%'-;=-~]{1,4096})</NextContinuationToken>")
_LAST = b"<IsTruncated>false</IsTruncated>"
# Repeats are possessive (`*+`), so that no document makes these patterns try again what they have passed.
_FLAT = re.compile(
    rb'\s*+(?:<\?xml version="1.0" encoding="UTF-8"\?>\s*+)?<(\w++)(?: xmlns="[^"<&]*+")?>'
    rb"((?:\s*+<(\w++)>[^<\x00-\x08\x0b\x0c\x0e-\x1f]*+</\3>){0,24})\s*+</\1>\s*+"
)
_FLAT_FIELD = re.compile(r"<(\w++)>([^<]*+)</")
_ENTRY = re.compile(rb"<Contents>((?:<(\w{1,40})>[^<]*+</\2>){1,24})</Contents>")
_TEXT = r"[^<&\x00-\x1f]*+"
_ENTRY_END = b"</Contents>"
_NUMBER = re.compile(r"\d{1,19}", re.ASCII)
_MAX_MESSAGE = 2000
"""Characters of S3's own words that an error repeats."""
_NOTHING: dict[str, str] = {}
_CHECKSUMS = {
    "ChecksumCRC32": "crc32",
    "ChecksumCRC32C": "crc32c",
    "ChecksumCRC64NVME": "crc64nvme",
    "ChecksumSHA1": "sha1",
    "ChecksumSHA256": "sha256",
}

_NOT_HELD = re.compile("[\x00-\x1f\ufffe\uffff]")


class MalformedDocument(ValueError):
    """What came is no XML document, or none of S3's."""


class ErrorInstead(MalformedDocument):
    """A document that came with 200 is an error document all the same."""


class ErrorDocument(NamedTuple):
    """The body of an answer that says no."""

    code: str = ""
    message: str = ""
    request_id: str | None = None
    region: str | None = None


class Written(NamedTuple):
    """What CopyObject, UploadPartCopy and CompleteMultipartUpload say of what they made."""

    etag: str
    last_modified: datetime | None
    checksums: dict[str, str]


def parse_error(body: bytes) -> ErrorDocument:
    """The error in `body`; an empty one where it holds none (a proxy's HTML page, for one)."""
    try:
        fields = _fields(_parse(body))
    except MalformedDocument:
        return ErrorDocument()
    return ErrorDocument(
        code=fields.get("Code", ""),
        message=fields.get("Message", "")[:_MAX_MESSAGE],
        request_id=fields.get("RequestId"),
        region=fields.get("Region") or fields.get("BucketRegion"),
    )


def next_token(body: bytes) -> str | None:
    """The continuation token of a ListObjectsV2 answer, looked for before it is parsed; None if none is found.

    It is a guess that saves time, to be held against what `parse_list` reads.
    """
    if _LAST in body:
        return None
    found = _TOKEN.search(body)
    return found[1].decode() if found else None


def is_whole_list(body: bytes) -> bool:
    """Whether this looks like a ListObjectsV2 answer from its beginning to its end, whose token `next_token` finds."""
    if not body.endswith(b"</ListBucketResult>"):
        return False
    return _LAST in body or _TOKEN.search(body) is not None


def parse_list(body: bytes, bucket: str) -> ListPage:
    """A page of ListObjectsV2."""
    body, names, rows = _cut_rows(body)
    root = _document(body, "ListBucketResult")
    decode = _decoder(root)
    quick = _Files(bucket, decode, int)
    files = [quick.make(names, row) for row in rows]
    entries = _Files(bucket, decode, _number)
    prefixes: list[str] = []
    truncated = ""
    token = None
    skip = _skip(root)
    for element in root:
        match element.tag[skip:]:
            case "Contents":
                files.append(entries.make([child.tag[skip:] for child in element], [child.text for child in element]))
            case "CommonPrefixes":
                prefixes.append(decode(_fields(element).get("Prefix", "")))
            case "NextContinuationToken":
                token = element.text
            case "IsTruncated":
                truncated = element.text or ""
    return ListPage(tuple(files), tuple(prefixes), _mark(truncated, token))


def parse_versions(body: bytes) -> VersionPage:
    """A page of ListObjectVersions."""
    root = _document(body, "ListVersionsResult")
    decode = _decoder(root)
    versions: list[FileVersion] = []
    prefixes: list[str] = []
    markers: dict[str, str] = {}
    skip = _skip(root)
    for element in root:
        match element.tag[skip:]:
            case "Version" | "DeleteMarker" as kind:
                versions.append(_version(_fields(element), decode, is_delete_marker=kind == "DeleteMarker"))
            case "CommonPrefixes":
                prefixes.append(decode(_fields(element).get("Prefix", "")))
            case "NextKeyMarker" | "NextVersionIdMarker" | "IsTruncated" as name:
                markers[name] = element.text or ""
    # S3 sends the two kinds interleaved, newest first; some servers send one after the other.
    versions.sort(key=_newest_first)
    key = _mark(markers.get("IsTruncated"), markers.get("NextKeyMarker"))
    if key is None:
        return VersionPage(tuple(versions), tuple(prefixes))
    return VersionPage(
        tuple(versions),
        tuple(prefixes),
        next_key=decode(key),
        next_version=markers.get("NextVersionIdMarker") or None,
    )


def parse_deleted(body: bytes) -> DeleteReport:
    """The answer to DeleteObjects."""
    deleted: list[DeleteOutcome] = []
    failed: list[KeyFailure] = []
    root = _document(body, "DeleteResult")
    skip = _skip(root)
    for element in root:
        fields = _fields(element)
        key = fields.get("Key", "")
        if element.tag[skip:] == "Deleted":
            version = fields.get("DeleteMarkerVersionId") or fields.get("VersionId")
            deleted.append(DeleteOutcome(key, version, delete_marker=fields.get("DeleteMarker") == "true"))
        elif element.tag[skip:] == "Error":
            failed.append(KeyFailure(key, fields.get("VersionId"), fields.get("Code", ""), fields.get("Message", "")))
    return DeleteReport(tuple(deleted), tuple(failed))


def parse_upload_id(body: bytes) -> str:
    """The id that CreateMultipartUpload gave."""
    upload_id = _fields(_document(body)).get("UploadId")
    if not upload_id:
        raise MalformedDocument("it has no UploadId")
    return upload_id


def parse_written(body: bytes) -> Written:
    """The result of CopyObject, UploadPartCopy or CompleteMultipartUpload."""
    fields = _flat_fields(body)
    if fields is None:
        fields = _fields(_document(body))
    etag = fields.get("ETag")
    if not etag:
        raise MalformedDocument("it has no ETag")
    return Written(_etag(etag), parse_time(fields.get("LastModified")), _checksums(fields))


def parse_parts(body: bytes) -> tuple[list[PartInfo], str | None]:
    """A page of ListParts, and the marker of the next."""
    root = _document(body, "ListPartsResult", "ListPartsResponse")
    fields = _fields(root)
    parts = [
        PartInfo(_number(part["PartNumber"]), _etag(part["ETag"]), _number(part.get("Size")), _checksums(part))
        for part in _children(root, "Part")
    ]
    return parts, _mark(fields.get("IsTruncated"), fields.get("NextPartNumberMarker"))


def parse_uploads(body: bytes) -> tuple[list[UploadInfo], tuple[str, str] | None]:
    """A page of ListMultipartUploads, and the markers (key, upload id) of the next."""
    root = _document(body, "ListMultipartUploadsResult")
    decode = _decoder(root)
    fields = _fields(root)
    uploads = [
        UploadInfo(decode(upload["Key"]), upload["UploadId"], parse_time(upload.get("Initiated")))
        for upload in _children(root, "Upload")
    ]
    key = _mark(fields.get("IsTruncated"), fields.get("NextKeyMarker"))
    return uploads, None if key is None else (decode(key), fields.get("NextUploadIdMarker", ""))


def parse_time(text: str | None) -> datetime | None:
    """An ISO 8601 time as S3's documents hold it ("2024-05-01T12:00:00.000Z"); None if it is malformed."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is UTC:
            return at
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_tags(body: bytes) -> dict[str, str]:
    """The answer to GetObjectTagging."""
    root = _document(body, "Tagging")
    tags: dict[str, str] = {}
    for tag_set in root:
        for tag in _children(tag_set, "Tag"):
            if not tag.get("Key") or tag["Key"] in tags:
                raise MalformedDocument("a tag has no key, or one that another has")
            tags[tag["Key"]] = tag.get("Value", "")
    return tags


def holds(key: str) -> bool:
    """Whether a document can name `key`, so that its reader gets the same one back.

    XML 1.0 has no way to write most control characters, and a parser changes line breaks:
    https://www.w3.org/TR/xml/#charsets
    """
    return _NOT_HELD.search(key) is None


def build_delete(keys: Iterable[tuple[str, str | None]]) -> bytes:
    """The body of DeleteObjects for (key, version id). Each key is answered for, one by one."""
    objects = "".join(
        f"<Object><Key>{_text(key)}</Key>"
        + (f"<VersionId>{_text(version)}</VersionId>" if version is not None else "")
        + "</Object>"
        for key, version in keys
    )
    try:
        return f'{_DECLARATION}<Delete xmlns="{_NAMESPACE}">{objects}</Delete>'.encode()
    except UnicodeEncodeError as exc:
        raise InvalidRequest(
            "a key or version id is no valid Unicode (a lone surrogate)", hint="use UTF-8 text"
        ) from exc


def build_complete(parts: Sequence[PartInfo], algorithm: str | None) -> bytes:
    """The body of CompleteMultipartUpload; with the parts' checksums where the upload has an `algorithm`."""
    tag = next((tag for tag, name in _CHECKSUMS.items() if name == algorithm), "")

    def part(info: PartInfo) -> str:
        value = info.checksums.get(algorithm or "")
        checksum = f"<{tag}>{value}</{tag}>" if value else ""
        return f"<Part><PartNumber>{info.number}</PartNumber><ETag>{_text(info.etag)}</ETag>{checksum}</Part>"

    inner = "".join(map(part, parts))
    return f'{_DECLARATION}<CompleteMultipartUpload xmlns="{_NAMESPACE}">{inner}</CompleteMultipartUpload>'.encode()


def _etag(text: str) -> str:
    """In quotes, as in headers; some servers leave them out of XML."""
    return f'"{text}"' if text and not text.endswith('"') else text


def _mark(truncated: str | None, mark: str | None) -> str | None:
    """Where the next page of a listing begins; None after the last one."""
    if truncated != "true":
        return None
    if not mark:
        raise MalformedDocument("it is truncated, and does not say where it goes on")
    return mark


def _number(text: str | None) -> int:
    """A number as S3 writes it; `int` takes signs, spaces, underscores and other scripts' digits, too."""
    if not text:
        return 0
    if not _NUMBER.fullmatch(text):
        raise MalformedDocument(f"'{text:.40}' is not a number")
    return int(text)


def _text(value: str) -> str:
    # A bare CR would be read as LF.
    return escape(value, {"\r": "&#13;", "\n": "&#10;"})


def _parse(body: bytes) -> ET.Element:
    # Without a DTD there are no entities. It could hide in another encoding: a declared one is overruled below, and
    # UTF-16, which expat recognises by itself, does not go without NUL bytes.
    if b"<!DOCTYPE" in body or b"\0" in body:
        raise MalformedDocument("it brings a DTD, or is not UTF-8")
    try:
        # S3 keeps a long CompleteMultipartUpload alive with white space, before the declaration too.
        return ET.XML(body.lstrip(), ET.XMLParser(encoding="utf-8"))  # noqa: S314 - no DTD, no entities
    except ET.ParseError as exc:
        raise MalformedDocument(f"it is no XML ({exc})") from exc


def _document(body: bytes, *names: str) -> ET.Element:
    """The root of a document that is called one of `names`; anything but an error where there are none.

    Raises:
        ErrorInstead: it is an error document.
        MalformedDocument: it is another document, or none.
    """
    root = _parse(body)
    name = root.tag[_skip(root) :]
    if name == "Error":
        raise ErrorInstead
    if not names or name in names:
        return root
    raise MalformedDocument(f"it is called '{name:.40}' instead of '{names[0]}'")


def _flat_fields(body: bytes) -> dict[str, str] | None:
    """The fields of a document of one level, for a third of what a parser costs; None where that has to be asked."""
    whole = _FLAT.fullmatch(body)
    if whole is None or whole[1] == b"Error":
        return None
    content = _with_quotes(whole[2])
    if b"&" in content:
        return None
    return dict(_FLAT_FIELD.findall(content.decode()))


def _with_quotes(content: bytes) -> bytes:
    # The references in which the quotes of ETags come; what has others is left to a parser.
    return content.replace(b"&quot;", b'"').replace(b"&#34;", b'"')


def _skip(element: ET.Element) -> int:
    # "{http://...}Name": the length of the namespace, which every element of a document shares.
    return element.tag.find("}") + 1


def _fields(element: ET.Element) -> dict[str, str]:
    return {child.tag[child.tag.find("}") + 1 :]: child.text or "" for child in element}


def _children(root: ET.Element, name: str) -> list[dict[str, str]]:
    return [_fields(child) for child in root if child.tag[child.tag.find("}") + 1 :] == name]


def _decoder(root: ET.Element) -> Callable[[str], str]:
    encoding = root.find(f"{root.tag[: _skip(root)]}EncodingType")
    return _decode if encoding is not None and encoding.text == "url" else str


def _decode(text: str) -> str:
    return unquote_plus(text) if "%" in text or "+" in text else text


class _Files:
    """Makes the objects of a listing. The fields of its entries come in one order, which is looked up once."""

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
            _etag(etag) if etag else None,
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
    """The fields of the entries of a listing, where all have the same ones and nothing below, and the rest of it.

    For a fraction of what a parser costs, which is left all of them otherwise.
    """
    start = max(body.find(b"<Contents"), 0)
    first = _ENTRY.match(body, start)
    if first is None:
        return body, [], []
    stop = body.rindex(_ENTRY_END) + len(_ENTRY_END)
    try:
        text = _with_quotes(body[start:stop]).decode()
    except UnicodeDecodeError:
        return body, [], []
    names = [name for name, _ in _FLAT_FIELD.findall(first[1].decode())]
    if len(set(names)) != len(names):
        return body, [], []
    pattern, framing = _row(tuple(names))
    rows = [found.groups() for found in pattern.finditer(text)]
    # Rows do not overlap: if they are as long as all of it together, there is nothing else in it.
    if len(rows) * framing + sum(map(len, chain.from_iterable(rows))) != len(text):
        return body, [], []
    return body[:start] + body[stop:], names, rows


@lru_cache(maxsize=64)
def _row(names: tuple[str, ...]) -> tuple[re.Pattern[str], int]:
    """What matches an entry of these fields, and its length without their texts."""
    texts = {"Size": "[0-9]{1,19}+"}
    fields = "".join(f"<{name}>({texts.get(name, _TEXT)})</{name}>" for name in names)
    empty = "".join(f"<{name}></{name}>" for name in names)
    return re.compile(f"<Contents>{fields}</Contents>"), len(f"<Contents>{empty}</Contents>")


def _version(fields: dict[str, str], decode: Callable[[str], str], *, is_delete_marker: bool) -> FileVersion:
    return FileVersion(
        key=decode(fields["Key"]),
        version_id=fields.get("VersionId", "null"),
        is_latest=fields.get("IsLatest") == "true",
        is_delete_marker=is_delete_marker,
        size=_number(fields.get("Size")),
        etag=_etag(fields.get("ETag", "")) or None,
        last_modified=parse_time(fields.get("LastModified")),
        storage_class=fields.get("StorageClass"),
    )


def _newest_first(version: FileVersion) -> tuple[str, bool, float]:
    at = version.last_modified.timestamp() if version.last_modified else 0.0
    return version.key, not version.is_latest, -at


def _checksums(fields: dict[str, str]) -> dict[str, str]:
    return {name: fields[tag] for tag, name in _CHECKSUMS.items() if fields.get(tag)}
