"""A correct S3 in memory: takes HTTP requests, returns HTTP responses, and does no I/O.

It supports path-style addresses, conditions, checksums, ranges, listings and multipart uploads, as AWS documents them. It
checks no signature.

`apm_s3.testing` has another fake, `MemoryBucket`, which cannot replace this one: it works above the transports, with the
library's own models and errors. This one works below them, in bytes. It shares no code with the library on purpose, so that
a mistake in our formats, conditions or checksums cannot be hidden by the same mistake here.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from time import time
from urllib.parse import parse_qsl, quote, unquote, urlencode
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_NEVER_MISSING = {
    "accelerate": "AccelerateConfiguration",
    "acl": "AccessControlPolicy",
    "logging": "BucketLoggingStatus",
    "notification": "NotificationConfiguration",
    "requestPayment": "RequestPaymentConfiguration",
    "versioning": "VersioningConfiguration",
}
"""Settings that a bucket without them has an empty document of, by their subresource."""
STORED_HEADERS = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language")


@dataclass(frozen=True)
class Request:
    """One HTTP request with its whole body."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def bucket(self) -> str:
        return self._path()[0]

    @property
    def key(self) -> str:
        return self._path()[1]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def operation(self) -> str:
        """The name of the S3 operation."""
        return _operation(self.method, self.bucket, self.key, self.query, self.headers)

    def _path(self) -> tuple[str, str]:
        bucket, _, key = unquote(self.target.partition("?")[0]).removeprefix("/").partition("/")
        return bucket, key


def _operation(method: str, bucket: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    if not bucket:
        return "ListBuckets"
    copying = "x-amz-copy-source" in headers
    if key:
        if "uploadId" in query:
            part = "UploadPartCopy" if copying else "UploadPart"
            return {"PUT": part, "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}.get(
                method, "ListParts"
            )
        subresources = {
            "uploads": "CreateMultipartUpload",
            "tagging": f"{method.capitalize()}ObjectTagging",
            "restore": "RestoreObject",
        }
        for parameter, name in subresources.items():
            if parameter in query:
                return name
        names = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
        return "CopyObject" if copying else names[method]
    if method == "POST" and "delete" in query:
        return "DeleteObjects"
    listings = {"list-type": "ListObjectsV2", "versions": "ListObjectVersions", "uploads": "ListMultipartUploads"}
    for parameter, name in listings.items():
        if parameter in query:
            return name
    setting = next((name for name in query if not query[name] and name not in {"prefix", "delimiter"}), None)
    if setting:
        return f"{method.capitalize()}Bucket:{setting}"
    return {"GET": "ListObjects", "HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}[method]


@dataclass
class Response:
    """One HTTP response. `length` is the length that a HEAD reports."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None


class Refused(Exception):
    """The request is refused with an error response."""

    def __init__(self, status: int, code: str, message: str = "no", **headers: str) -> None:
        super().__init__(code)
        self.response = error_response(status, code, message, **headers)


_request_ids = itertools.count(1)


def error_response(status: int, code: str, message: str = "no", **headers: str) -> Response:
    """S3's error document."""
    document = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{escape(message)}</Message>'
        f"<RequestId>R{next(_request_ids)}</RequestId></Error>"
    )
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = b"" if status == 304 else document.encode()
    return Response(status, {"content-type": "application/xml", **named}, body)


@dataclass
class StoredObject:
    body: bytes
    headers: dict[str, str]
    etag: str
    modified: float = field(default_factory=time)

    @property
    def crc32(self) -> str:
        return base64.b64encode(zlib.crc32(self.body).to_bytes(4)).decode()


@dataclass
class Upload:
    bucket: str
    key: str
    headers: dict[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


class MemoryS3:
    """The state of a server, and what each request does to it.

    Attributes:
        buckets: objects by bucket and key. Tests may look at it and change it.
        uploads: the open multipart uploads by id.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, StoredObject]] = {}
        self.uploads: dict[str, Upload] = {}
        self.settings: dict[tuple[str, str], bytes] = {}
        self._ids = itertools.count(1)

    def handle(self, request: Request) -> Response:
        """Carry out `request`."""
        try:
            response = self._dispatch(request)
        except Refused as refused:
            response = refused.response
        if request.method == "HEAD":
            response.length = len(response.body) if response.length is None else response.length
            response.body = b""
        response.headers.setdefault("x-amz-request-id", f"R{next(_request_ids)}")
        response.headers.setdefault("date", formatdate(time(), usegmt=True))
        return response

    def _dispatch(self, request: Request) -> Response:
        operation = request.operation
        if operation not in {"CreateBucket", "ListBuckets"} and request.bucket not in self.buckets:
            raise Refused(404, "NoSuchBucket")
        if ":" in operation:
            return self._setting(request, operation)
        handler: Callable[[Request], Response] | None = getattr(self, "_" + _snake(operation), None)
        if handler is None:
            raise Refused(501, "NotImplemented", operation)
        return handler(request)

    # Buckets

    def _list_buckets(self, request: Request) -> Response:
        entries = "".join(
            f"<Bucket><Name>{name}</Name><CreationDate>2024-01-01T00:00:00.000Z</CreationDate></Bucket>"
            for name in sorted(self.buckets)
        )
        return _xml("ListAllMyBucketsResult", f"<Owner><ID>me</ID></Owner><Buckets>{entries}</Buckets>")

    def _create_bucket(self, request: Request) -> Response:
        if request.bucket in self.buckets:
            raise Refused(409, "BucketAlreadyOwnedByYou")
        self.buckets[request.bucket] = {}
        return Response(200, {"location": f"/{request.bucket}"})

    def _head_bucket(self, request: Request) -> Response:
        return Response(200, {"x-amz-bucket-region": "us-east-1"})

    def _delete_bucket(self, request: Request) -> Response:
        if self.buckets[request.bucket]:
            raise Refused(409, "BucketNotEmpty")
        del self.buckets[request.bucket]
        for place in [place for place in self.settings if place[0] == request.bucket]:
            del self.settings[place]
        return Response(204)

    def _setting(self, request: Request, operation: str) -> Response:
        verb, _, name = operation.partition("Bucket:")
        if name == "location":
            return _xml("LocationConstraint", "")
        place = (request.bucket, name)
        if verb == "Put":
            self.settings[place] = _checked(request)
            return Response(200)
        if verb == "Delete":
            self.settings.pop(place, None)
            return Response(204)
        if place in self.settings:
            return Response(200, {"content-type": "application/xml"}, self.settings[place])
        if name in _NEVER_MISSING:
            return _xml(_NEVER_MISSING[name], "")
        missing = {
            "policy": "NoSuchBucketPolicy",
            "tagging": "NoSuchTagSet",
            "replication": "ReplicationConfigurationNotFoundError",
        }
        raise Refused(404, missing.get(name, "NoSuchConfiguration"))

    # Objects

    def _put_object(self, request: Request) -> Response:
        objects = self.buckets[request.bucket]
        _check_write_conditions(request, objects.get(request.key))
        made = _store(objects, request, _checked(request))
        return Response(200, {"etag": made.etag, "x-amz-checksum-crc32": made.crc32})

    def _get_object(self, request: Request) -> Response:
        found = self._find(request.bucket, request.key)
        _check_read_conditions(request, found)
        headers = _object_headers(found)
        if request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and "range" not in request.headers:
            headers["x-amz-checksum-crc32"] = found.crc32
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if span is None:
            return Response(200, headers, found.body)
        start, last = int(span[1]), min(int(span[2] or len(found.body) - 1), len(found.body) - 1)
        if start >= len(found.body):
            raise Refused(416, "InvalidRange")
        headers["content-range"] = f"bytes {start}-{last}/{len(found.body)}"
        return Response(206, headers, found.body[start : last + 1])

    def _head_object(self, request: Request) -> Response:
        found = self._find(request.bucket, request.key)
        _check_read_conditions(request, found)
        return Response(200, _object_headers(found), length=len(found.body))

    def _delete_object(self, request: Request) -> Response:
        objects = self.buckets[request.bucket]
        found = objects.get(request.key)
        if "if-match" in request.headers and (found is None or found.etag != request.headers["if-match"]):
            raise Refused(412, "PreconditionFailed")
        objects.pop(request.key, None)
        return Response(204)

    def _delete_objects(self, request: Request) -> Response:
        if "content-md5" not in request.headers and not any(n.startswith("x-amz-checksum-") for n in request.headers):
            raise Refused(400, "MissingContentMD5")
        document = ET.fromstring(_checked(request))
        keys = [element.text or "" for element in document.iter() if element.tag.endswith("Key")]
        quiet = any(element.tag.endswith("Quiet") and element.text == "true" for element in document.iter())
        for key in keys:
            self.buckets[request.bucket].pop(key, None)
        told = "" if quiet else "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        return _xml("DeleteResult", told)

    def _copy_object(self, request: Request) -> Response:
        source = self._source(request)
        objects = self.buckets[request.bucket]
        _check_write_conditions(request, objects.get(request.key))
        replace = request.headers.get("x-amz-metadata-directive") == "REPLACE"
        made = _store(objects, request, source.body, headers=None if replace else source.headers)
        return _xml("CopyObjectResult", f"<ETag>{escape(made.etag)}</ETag><LastModified>{_iso(made)}</LastModified>")

    def _restore_object(self, request: Request) -> Response:
        found = self._find(request.bucket, request.key)
        if "x-amz-restore" in found.headers:
            raise Refused(409, "RestoreAlreadyInProgress")
        found.headers["x-amz-restore"] = 'ongoing-request="true"'
        return Response(202)

    def _get_object_tagging(self, request: Request) -> Response:
        found = self._find(request.bucket, request.key)
        tags = "".join(
            f"<Tag><Key>{escape(name)}</Key><Value>{escape(value)}</Value></Tag>"
            for name, value in parse_qsl(found.headers.get("x-amz-tagging", ""), keep_blank_values=True)
        )
        return _xml("Tagging", f"<TagSet>{tags}</TagSet>")

    def _put_object_tagging(self, request: Request) -> Response:
        found = self._find(request.bucket, request.key)
        tags = [{child.tag.rpartition("}")[2]: child.text or "" for child in tag}
                for tag in ET.fromstring(_checked(request)).iter() if tag.tag.endswith("}Tag")]  # fmt: skip
        found.headers["x-amz-tagging"] = urlencode([(tag["Key"], tag["Value"]) for tag in tags])
        return Response(200)

    # Listings

    def _list_objects_v2(self, request: Request) -> Response:
        query = request.query
        after = query.get("continuation-token") or query.get("start-after", "")
        keys, prefixes, more = self._page(request, after)
        shown = _shown(query)
        entries = "".join(
            f"<Contents><Key>{shown(key)}</Key><LastModified>{_iso(found)}</LastModified>"
            f"<ETag>{escape(found.etag)}</ETag><Size>{len(found.body)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key in keys
            for found in [self.buckets[request.bucket][key]]
        )
        entries += "".join(f"<CommonPrefixes><Prefix>{shown(name)}</Prefix></CommonPrefixes>" for name in prefixes)
        token = f"<NextContinuationToken>{shown(more)}</NextContinuationToken>" if more else ""
        return _xml(
            "ListBucketResult",
            f"<Name>{request.bucket}</Name>{_encoding(query)}<Prefix>{shown(query.get('prefix', ''))}</Prefix>"
            f"<KeyCount>{len(keys) + len(prefixes)}</KeyCount><MaxKeys>1000</MaxKeys>"
            f"<IsTruncated>{str(bool(more)).lower()}</IsTruncated>{token}{entries}",
        )

    def _list_object_versions(self, request: Request) -> Response:
        shown = _shown(request.query)
        keys, prefixes, more = self._page(request, request.query.get("key-marker", ""))
        entries = "".join(
            f"<Version><Key>{shown(key)}</Key><VersionId>null</VersionId><IsLatest>true</IsLatest>"
            f"<LastModified>{_iso(found)}</LastModified><ETag>{escape(found.etag)}</ETag><Size>{len(found.body)}</Size>"
            f"<StorageClass>STANDARD</StorageClass></Version>"
            for key in keys
            for found in [self.buckets[request.bucket][key]]
        )
        entries += "".join(f"<CommonPrefixes><Prefix>{shown(name)}</Prefix></CommonPrefixes>" for name in prefixes)
        marker = f"<NextKeyMarker>{shown(more)}</NextKeyMarker><NextVersionIdMarker>null</NextVersionIdMarker>"
        return _xml(
            "ListVersionsResult",
            f"<Name>{request.bucket}</Name>{_encoding(request.query)}<IsTruncated>{str(bool(more)).lower()}</IsTruncated>"
            f"{marker if more else ''}{entries}",
        )

    def _page(self, request: Request, after: str) -> tuple[list[str], list[str], str]:
        """The keys and common prefixes of one page, and where the next one begins."""
        query = request.query
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        room = int(query.get("max-keys", 1000))
        keys: list[str] = []
        prefixes: list[str] = []
        last = ""
        for key in sorted(self.buckets[request.bucket], key=str.encode):
            if not key.startswith(prefix) or key <= after or (prefixes and key.startswith(prefixes[-1])):
                continue
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            name = key[: cut + len(delimiter)] if cut >= 0 else key
            if cut >= 0 and name <= after:
                continue
            if len(keys) + len(prefixes) == room:
                return keys, prefixes, last
            (prefixes if cut >= 0 else keys).append(name)
            last = name
        return keys, prefixes, ""

    # Multipart

    def _create_multipart_upload(self, request: Request) -> Response:
        upload_id = f"upload-{next(self._ids)}"
        self.uploads[upload_id] = Upload(request.bucket, request.key, _stored_headers(request))
        inner = f"<Bucket>{request.bucket}</Bucket><Key>{escape(request.key)}</Key><UploadId>{upload_id}</UploadId>"
        return _xml("InitiateMultipartUploadResult", inner)

    def _upload_part(self, request: Request) -> Response:
        body = _checked(request)
        self._upload(request).parts[int(request.query["partNumber"])] = body
        return Response(200, {"etag": _etag(body)})

    def _upload_part_copy(self, request: Request) -> Response:
        body = self._source(request).body
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("x-amz-copy-source-range", ""))
        if span:
            body = body[int(span[1]) : int(span[2]) + 1]
        self._upload(request).parts[int(request.query["partNumber"])] = body
        inner = f"<ETag>{escape(_etag(body))}</ETag><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
        return _xml("CopyPartResult", inner)

    def _complete_multipart_upload(self, request: Request) -> Response:
        upload = self._upload(request)
        objects = self.buckets[request.bucket]
        _check_write_conditions(request, objects.get(request.key))
        document = ET.fromstring(request.body)
        numbers = [int(element.text or 0) for element in document.iter() if element.tag.endswith("PartNumber")]
        if not numbers or any(number not in upload.parts for number in numbers):
            raise Refused(400, "InvalidPart")
        bodies = [upload.parts[number] for number in numbers]
        digest = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest()
        made = StoredObject(b"".join(bodies), upload.headers, f'"{digest}-{len(bodies)}"')
        objects[request.key] = made
        del self.uploads[request.query["uploadId"]]
        inner = f"<Bucket>{request.bucket}</Bucket><Key>{escape(request.key)}</Key><ETag>{escape(made.etag)}</ETag>"
        return _xml("CompleteMultipartUploadResult", inner)

    def _abort_multipart_upload(self, request: Request) -> Response:
        self._upload(request)
        del self.uploads[request.query["uploadId"]]
        return Response(204)

    def _list_parts(self, request: Request) -> Response:
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(_etag(body))}</ETag><Size>{len(body)}</Size>"
            f"<LastModified>2024-01-01T00:00:00.000Z</LastModified></Part>"
            for number, body in sorted(self._upload(request).parts.items())
        )
        return _xml("ListPartsResult", f"<IsTruncated>false</IsTruncated>{parts}")

    def _list_multipart_uploads(self, request: Request) -> Response:
        uploads = "".join(
            f"<Upload><Key>{escape(upload.key)}</Key><UploadId>{upload_id}</UploadId>"
            f"<Initiated>2024-01-01T00:00:00.000Z</Initiated></Upload>"
            for upload_id, upload in self.uploads.items()
            if upload.bucket == request.bucket and upload.key.startswith(request.query.get("prefix", ""))
        )
        return _xml("ListMultipartUploadsResult", f"<IsTruncated>false</IsTruncated>{uploads}")

    # Shared

    def _upload(self, request: Request) -> Upload:
        upload = self.uploads.get(request.query["uploadId"])
        if upload is None:
            raise Refused(404, "NoSuchUpload")
        return upload

    def _find(self, bucket: str, key: str) -> StoredObject:
        if bucket not in self.buckets:
            raise Refused(404, "NoSuchBucket")
        found = self.buckets[bucket].get(key)
        if found is None:
            raise Refused(404, "NoSuchKey")
        return found

    def _source(self, request: Request) -> StoredObject:
        path = unquote(request.headers["x-amz-copy-source"].partition("?")[0]).removeprefix("/")
        bucket, _, key = path.partition("/")
        found = self._find(bucket, key)
        if request.headers.get("x-amz-copy-source-if-match", found.etag) != found.etag:
            raise Refused(412, "PreconditionFailed")
        return found


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _xml(root: str, inner: str) -> Response:
    document = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">{inner}</{root}>'
    return Response(200, {"content-type": "application/xml"}, document.encode())


def _shown(query: Mapping[str, str]) -> Callable[[str], str]:
    return quote if query.get("encoding-type") == "url" else escape


def _encoding(query: Mapping[str, str]) -> str:
    return "<EncodingType>url</EncodingType>" if query.get("encoding-type") == "url" else ""


def _iso(found: StoredObject) -> str:
    del found
    return "2024-01-01T00:00:00.000Z"


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def _stored_headers(request: Request) -> dict[str, str]:
    kept = {
        name: value
        for name, value in request.headers.items()
        if name in STORED_HEADERS or name == "x-amz-tagging" or name.startswith("x-amz-meta-")
    }
    encoding = [part for part in kept.pop("content-encoding", "").split(",") if part.strip() not in {"", "aws-chunked"}]
    return {**kept, "content-encoding": ",".join(encoding)} if encoding else kept


def _store(
    objects: dict[str, StoredObject], request: Request, body: bytes, *, headers: dict[str, str] | None = None
) -> StoredObject:
    made = StoredObject(body, _stored_headers(request) if headers is None else headers, _etag(body))
    objects[request.key] = made
    return made


def _object_headers(found: StoredObject) -> dict[str, str]:
    modified = formatdate(found.modified, usegmt=True)
    headers = {name: value for name, value in found.headers.items() if name != "x-amz-tagging"}
    if tags := parse_qsl(found.headers.get("x-amz-tagging", ""), keep_blank_values=True):
        headers["x-amz-tagging-count"] = str(len(tags))
    return {**headers, "etag": found.etag, "last-modified": modified, "accept-ranges": "bytes"}


def _check_write_conditions(request: Request, current: StoredObject | None) -> None:
    wanted = request.headers.get("if-match")
    if wanted is not None and current is None:
        raise Refused(404, "NoSuchKey")
    if wanted is not None and current is not None and current.etag != wanted:
        raise Refused(412, "PreconditionFailed")
    if request.headers.get("if-none-match") == "*" and current is not None:
        raise Refused(412, "PreconditionFailed")


def _check_read_conditions(request: Request, found: StoredObject) -> None:
    if request.headers.get("if-match", found.etag) != found.etag:
        raise Refused(412, "PreconditionFailed")
    if request.headers.get("if-none-match") == found.etag:
        raise Refused(304, "NotModified")


def _checked(request: Request) -> bytes:
    """The body, taken out of its chunks, if every checksum that came with it fits."""
    body = request.body
    headers = dict(request.headers)
    if "x-amz-decoded-content-length" in headers:
        body, trailers = _unchunked(body)
        headers.update(trailers)
    digests = {
        "content-md5": hashlib.md5(body).digest(),
        "x-amz-checksum-crc32": zlib.crc32(body).to_bytes(4),
        "x-amz-checksum-sha256": hashlib.sha256(body).digest(),
        "x-amz-checksum-sha1": hashlib.sha1(body).digest(),
    }
    for name, digest in digests.items():
        if name in headers and base64.b64decode(headers[name]) != digest:
            raise Refused(400, "BadDigest")
    claimed = headers.get("x-amz-content-sha256", "")
    if re.fullmatch(r"[0-9a-f]{64}", claimed) and claimed != hashlib.sha256(request.body).hexdigest():
        raise Refused(400, "XAmzContentSHA256Mismatch")
    return body


def _unchunked(data: bytes) -> tuple[bytes, dict[str, str]]:
    body = b""
    while True:
        head, _, data = data.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16)
        if size == 0:
            break
        body, data = body + data[:size], data[size + 2 :]
    trailers = (line.partition(b":") for line in data.split(b"\r\n") if line)
    return body, {name.decode().lower(): value.decode().strip() for name, _, value in trailers}
