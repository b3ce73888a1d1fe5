"""Converts S3's XML documents to values, and back. Pure. The parser is loaded with the first document.

Documents with a DTD are refused: S3 does not send any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_plus

from apm_s3.errors import InvalidRequest
from apm_s3.models._objects import PartInfo

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

    from apm_s3.models import DeleteOutcome, DeleteReport, KeyFailure, UploadInfo
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
# Repetitions are possessive (`*+`), so that no document can cause backtracking.
_FLAT = re.compile(
    rb'\s*+(?:<\?xml version="1.0" encoding="UTF-8"\?>\s*+)?<(\w++)(?: xmlns="[^"<&]*+")?>'
    rb"((?:\s*+<(\w++)>[^<\x00-\x08\x0b\x0c\x0e-\x1f]*+</\3>){0,24})\s*+</\1>\s*+"
)
FLAT_FIELD = re.compile(r"<(\w++)>([^<]*+)</")
_NUMBER = re.compile(r"\d{1,19}", re.ASCII)
_MAX_MESSAGE = 2000
"""Maximum length of S3's message in an error."""
_CHECKSUMS = {
    "ChecksumCRC32": "crc32",
    "ChecksumCRC32C": "crc32c",
    "ChecksumCRC64NVME": "crc64nvme",
    "ChecksumSHA1": "sha1",
    "ChecksumSHA256": "sha256",
}

_REFERENCES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;", "\n": "&#10;"}
"""The ampersand first, because the others contain one. Line breaks, because parsers read a bare CR as LF."""

_NOT_HELD = re.compile("[\x00-\x1f\ufffe\uffff]")


class MalformedDocument(ValueError):
    """The body is not an XML document of S3."""


class ErrorInstead(MalformedDocument):
    """A response with status 200 contains an error document."""


class ErrorDocument(NamedTuple):
    """The body of an error response."""

    code: str = ""
    message: str = ""
    request_id: str | None = None
    region: str | None = None


class Written(NamedTuple):
    """What CopyObject, UploadPartCopy and CompleteMultipartUpload say about the new object or part."""

    etag: str
    last_modified: datetime | None
    checksums: dict[str, str]


def parse_error(body: bytes) -> ErrorDocument:
    """Parse the error in `body`; an empty one if there is none (for example in a proxy's HTML page)."""
    try:
        fields = fields_of(_parse(body))
    except MalformedDocument:
        return ErrorDocument()
    return ErrorDocument(
        code=fields.get("Code", ""),
        message=fields.get("Message", "")[:_MAX_MESSAGE],
        request_id=fields.get("RequestId"),
        region=fields.get("Region") or fields.get("BucketRegion"),
    )


def parse_deleted(body: bytes) -> DeleteReport:
    """Parse the response to DeleteObjects."""
    from apm_s3.models import DeleteOutcome, DeleteReport, KeyFailure  # noqa: PLC0415 - only deletions need them

    deleted: list[DeleteOutcome] = []
    failed: list[KeyFailure] = []
    root = document(body, "DeleteResult")
    skip = skip_of(root)
    for element in root:
        fields = fields_of(element)
        key = fields.get("Key", "")
        if element.tag[skip:] == "Deleted":
            version = fields.get("DeleteMarkerVersionId") or fields.get("VersionId")
            deleted.append(DeleteOutcome(key, version, delete_marker=fields.get("DeleteMarker") == "true"))
        elif element.tag[skip:] == "Error":
            failed.append(KeyFailure(key, fields.get("VersionId"), fields.get("Code", ""), fields.get("Message", "")))
    return DeleteReport(tuple(deleted), tuple(failed))


def parse_upload_id(body: bytes) -> str:
    """Parse the upload id of CreateMultipartUpload."""
    upload_id = fields_of(document(body)).get("UploadId")
    if not upload_id:
        raise MalformedDocument("it has no UploadId")
    return upload_id


def parse_written(body: bytes) -> Written:
    """Parse the result of CopyObject or UploadPartCopy."""
    fields = _flat_fields(body) or fields_of(document(body))
    etag = fields.get("ETag")
    if not etag:
        raise MalformedDocument("it has no ETag")
    return Written(quoted(etag), parse_time(fields.get("LastModified")), _checksums(fields))


def parse_completed(body: bytes) -> Written:
    """Parse the result of CompleteMultipartUpload; its ETag may be empty if the upload was completed before."""
    fields = _flat_fields(body) or fields_of(document(body))
    if "ETag" not in fields:
        raise MalformedDocument("it has no ETag")
    return Written(quoted(fields["ETag"]), None, _checksums(fields))


def parse_parts(body: bytes) -> tuple[list[PartInfo], str | None]:
    """Parse a page of ListParts, and the marker of the next page."""
    root = document(body, "ListPartsResult", "ListPartsResponse")
    fields = fields_of(root)
    parts = [
        PartInfo(number(part["PartNumber"]), quoted(part["ETag"]), number(part.get("Size")), _checksums(part))
        for part in _children(root, "Part")
    ]
    return parts, next_mark(fields.get("IsTruncated"), fields.get("NextPartNumberMarker"))


def parse_uploads(body: bytes) -> tuple[list[UploadInfo], tuple[str, str] | None]:
    """Parse a page of ListMultipartUploads, and the markers (key, upload id) of the next page."""
    from apm_s3.models import UploadInfo  # noqa: PLC0415 - as in `parse_parts`

    root = document(body, "ListMultipartUploadsResult")
    decode = decoder(root)
    fields = fields_of(root)
    uploads = [
        UploadInfo(decode(upload["Key"]), upload["UploadId"], parse_time(upload.get("Initiated")))
        for upload in _children(root, "Upload")
    ]
    key = next_mark(fields.get("IsTruncated"), fields.get("NextKeyMarker"))
    return uploads, None if key is None else (decode(key), fields.get("NextUploadIdMarker", ""))


def parse_time(text: str | None) -> datetime | None:
    """Parse an ISO 8601 time from S3's documents ("2024-05-01T12:00:00.000Z"); None if it is malformed."""
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
    """Parse the response to GetObjectTagging; Ceph's gateway sends an empty one for an object without tags."""
    if not body:
        return {}
    root = document(body, "Tagging")
    tags: dict[str, str] = {}
    for tag_set in root:
        for tag in _children(tag_set, "Tag"):
            if not tag.get("Key") or tag["Key"] in tags:
                raise MalformedDocument("a tag has no key, or a duplicate one")
            tags[tag["Key"]] = tag.get("Value", "")
    return tags


def parse_object_lock(body: bytes) -> bool:
    """Parse the response to GetObjectLockConfiguration: whether object lock is enabled."""
    return fields_of(document(body, "ObjectLockConfiguration")).get("ObjectLockEnabled") == "Enabled"


def holds(key: str) -> bool:
    """Return whether XML can represent `key` without changing it.

    XML 1.0 cannot represent most control characters, and parsers change line breaks:
    https://www.w3.org/TR/xml/#charsets
    """
    return _NOT_HELD.search(key) is None


def build_delete(keys: Iterable[tuple[str, str | None]]) -> bytes:
    """Return the body of DeleteObjects for (key, version id). The response reports on each key."""
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
            "a key or version id is not valid Unicode (it has a lone surrogate)", hint="use UTF-8 text"
        ) from exc


def build_complete(parts: Sequence[PartInfo], algorithm: str | None) -> bytes:
    """Return the body of CompleteMultipartUpload, with the parts' checksums if the upload has an `algorithm`."""
    tag = next((tag for tag, name in _CHECKSUMS.items() if name == algorithm), "")

    def part(info: PartInfo) -> str:
        value = info.checksums.get(algorithm or "")
        checksum = f"<{tag}>{value}</{tag}>" if value else ""
        return f"<Part><PartNumber>{info.number}</PartNumber><ETag>{_text(info.etag)}</ETag>{checksum}</Part>"

    inner = "".join(map(part, parts))
    return f'{_DECLARATION}<CompleteMultipartUpload xmlns="{_NAMESPACE}">{inner}</CompleteMultipartUpload>'.encode()


def quoted(text: str) -> str:
    """Add quotes, as in headers; some servers omit them in XML."""
    return f'"{text}"' if text and not text.endswith('"') else text


def next_mark(truncated: str | None, mark: str | None) -> str | None:
    """Return where the next page of a listing begins; None after the last one."""
    if truncated != "true":
        return None
    if not mark:
        raise MalformedDocument("it is truncated, but does not say where it continues")
    return mark


def number(text: str | None) -> int:
    """Parse a number; unlike `int`, refuse signs, spaces, underscores and non-ASCII digits."""
    if not text:
        return 0
    if not _NUMBER.fullmatch(text):
        raise MalformedDocument(f"'{text:.40}' is not a number")
    return int(text)


def _text(value: str) -> str:
    for character, reference in _REFERENCES.items():
        value = value.replace(character, reference)
    return value


def _parse(body: bytes) -> ET.Element:
    from xml.etree import ElementTree as ET  # noqa: PLC0415 - a read that succeeds needs no parser

    # Without a DTD there are no entities. A DTD could hide in another encoding: declared encodings are overridden
    # below, and UTF-16, which expat detects, always has NUL bytes.
    if b"<!DOCTYPE" in body or b"\0" in body:
        raise MalformedDocument("it has a DTD, or is not UTF-8")
    try:
        # During a long CompleteMultipartUpload, S3 sends white space, even before the declaration.
        return ET.XML(body.lstrip(), ET.XMLParser(encoding="utf-8"))  # noqa: S314 - no DTD, no entities
    except ET.ParseError as exc:
        raise MalformedDocument(f"it is not XML ({exc})") from exc


def document(body: bytes, *names: str) -> ET.Element:
    """Return the root of a document, which must have one of `names`; without names, it may be anything but an error.

    Raises:
        ErrorInstead: it is an error document.
        MalformedDocument: it is another document, or not valid.
    """
    root = _parse(body)
    name = root.tag[skip_of(root) :]
    if name == "Error":
        raise ErrorInstead
    if not names or name in names:
        return root
    raise MalformedDocument(f"its root is '{name:.40}' instead of '{names[0]}'")


def _flat_fields(body: bytes) -> dict[str, str] | None:
    """Read the fields of a flat document, at a third of a parser's cost; None if the parser is needed."""
    whole = _FLAT.fullmatch(body)
    if whole is None or whole[1] == b"Error":
        return None
    content = with_quotes(whole[2])
    if b"&" in content:
        return None
    return dict(FLAT_FIELD.findall(content.decode()))


def with_quotes(content: bytes) -> bytes:
    # Only the references for quotes in ETags are handled here; documents with others need the parser.
    return content.replace(b"&quot;", b'"').replace(b"&#34;", b'"')


def skip_of(element: ET.Element) -> int:
    # "{http://...}Name": the length of the namespace, which all elements of a document share.
    return element.tag.find("}") + 1


def fields_of(element: ET.Element) -> dict[str, str]:
    return {child.tag[child.tag.find("}") + 1 :]: child.text or "" for child in element}


def _children(root: ET.Element, name: str) -> list[dict[str, str]]:
    return [fields_of(child) for child in root if child.tag[child.tag.find("}") + 1 :] == name]


def decoder(root: ET.Element) -> Callable[[str], str]:
    encoding = root.find(f"{root.tag[: skip_of(root)]}EncodingType")
    return _decode if encoding is not None and encoding.text == "url" else str


def _decode(text: str) -> str:
    return unquote_plus(text) if "%" in text or "+" in text else text


def _checksums(fields: dict[str, str]) -> dict[str, str]:
    return {name: fields[tag] for tag, name in _CHECKSUMS.items() if fields.get(tag)}
