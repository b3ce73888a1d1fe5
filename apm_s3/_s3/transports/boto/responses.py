"""Reads the responses of the client, and checks them against what S3 guarantees. Pure.

Behind a captive portal, or a proxy that answers by itself, a bucket would otherwise have no tags, no policy and no
public access block.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from apm_s3._hints import Advice
from apm_s3._s3.transports.boto.errors import server_time
from apm_s3._s3.transports.expectations import check_read
from apm_s3._wire import xml
from apm_s3.errors import IntegrityError, UnsupportedByServer
from apm_s3.models import FileInfo, FileVersion
from apm_s3.models._objects import PartInfo

if TYPE_CHECKING:
    from apm_s3.options import ReadOptions, UploadOptions


_ROOTS = {
    "GetBucketCors": "CORSConfiguration",
    "GetBucketEncryption": "ServerSideEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketLocation": "LocationConstraint",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
    "GetBucketOwnershipControls": "OwnershipControls",
    "GetBucketReplication": "ReplicationConfiguration",
    "GetBucketTagging": "Tagging",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetObjectLockConfiguration": "ObjectLockConfiguration",
    "GetPublicAccessBlock": "PublicAccessBlockConfiguration",
    "ListBuckets": "ListAllMyBucketsResult",
}
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html: root elements.

Servers have other names for some of them: "CreateBucketConfiguration" for a location, "GetBucketVersioningResponse".
"""

_LISTING, _NO_SETTINGS = "ListBucketResult", ("GetBucketLocation", "ListBuckets")
"""What a server sends that does not know the setting, and so takes the request for ListObjects."""

_OTHERS = {api: {*_ROOTS.values(), "html", "HTML"} - {root} for api, root in _ROOTS.items()}
"""Roots that tell of another document, by API."""

_PAGES = (b"<html", b"<!doctype html")
_HINT = Advice.CHECK_ENDPOINT_OR_PROXY()


def check_document(response_dict: Mapping[str, Any] | None, event_name: str, **_: Any) -> None:
    """Refuse a successful response with another document: a handler of `response-received`.

    Raises:
        UnsupportedByServer: the server has taken the request for a listing, because it does not know the setting.
        IntegrityError: it is not the document of S3, so it is not known what was done.
    """
    if response_dict is None or response_dict["status_code"] >= 300:
        return
    body = response_dict.get("body")
    if not isinstance(body, bytes):
        return
    api = event_name.rpartition(".")[2]
    if body.lstrip()[:15].lower().startswith(_PAGES):
        raise IntegrityError("the response is not a document of S3: it is a web page", hint=_HINT)
    try:
        if api in _ROOTS:
            root = xml.document(body)
            name = root.tag[xml.skip_of(root) :]
            if name == _LISTING and api not in _NO_SETTINGS:
                raise UnsupportedByServer("the server does not know this setting: it answered with a list of objects")
            if name in _OTHERS[api]:
                _refuse(f"its root is '{name}' instead of '{_ROOTS[api]}'")
        elif api == "GetBucketPolicy":
            _check_policy(body)
    except xml.ErrorInstead as exc:
        raise IntegrityError("the response is an error with the status of a success", hint=_HINT) from exc
    except (xml.MalformedDocument, ValueError) as exc:
        raise IntegrityError(f"the response is not a document of S3: {exc}", hint=_HINT) from exc


def _check_policy(body: bytes) -> None:
    if not isinstance(json.loads(body), dict):
        _refuse("it is not a JSON object")


def _refuse(why: str) -> NoReturn:
    raise xml.MalformedDocument(why)


_CHECKSUMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
_HEADERS = {
    "CacheControl": "cache-control",
    "ContentDisposition": "content-disposition",
    "ContentEncoding": "content-encoding",
    "ContentLanguage": "content-language",
}
_FACTS = frozenset({
    "x-amz-tagging-count", "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold",
})  # fmt: skip
"""Headers that botocore parses into other types, taken as they came."""


def required(response: Mapping[str, Any], name: str) -> Any:
    """Return a required field of a document.

    Raises:
        IntegrityError: it is missing: botocore accepts any XML as an empty response.
    """
    found = response.get(name)
    if found is None or found == "":
        raise IntegrityError(f"the response is not a document of S3: it has no {name}", hint=Advice.CHECK_ENDPOINT())
    return found


def next_mark(response: Mapping[str, Any], name: str) -> Any:
    """Return where the next page of a listing begins; None after the last one."""
    if not required(response, "IsTruncated"):
        return None
    return required(response, name)


def time_of(response: Mapping[str, Any]) -> float | None:
    return server_time(response["ResponseMetadata"]["HTTPHeaders"].get("date"))


def checksums_of(response: Mapping[str, Any]) -> dict[str, str]:
    return {name.lower(): response[f"Checksum{name}"] for name in _CHECKSUMS if response.get(f"Checksum{name}")}


def check_response(
    response: Mapping[str, Any], operation: str, method: str, bucket: str, key: str, options: ReadOptions
) -> None:
    """Check that the response to GET or HEAD matches the request."""
    check_read(
        operation,
        method,
        bucket,
        key,
        options,
        status=response["ResponseMetadata"]["HTTPStatusCode"],
        content_range=response.get("ContentRange"),
        length=response.get("ContentLength") if method == "GET" else None,
        etag=response.get("ETag"),
        version_id=response.get("VersionId"),
    )


def file_info_of(bucket: str, key: str, response: Mapping[str, Any]) -> FileInfo:
    if response.get("ContentLength") is None:
        raise UnsupportedByServer("the server does not send the size of the object", bucket=bucket, key=key)
    whole = str(response.get("ContentRange") or "").rpartition("/")[2]
    return FileInfo(
        bucket,
        key,
        size=int(whole or response["ContentLength"]),
        etag=quoted(response.get("ETag")),
        version_id=response.get("VersionId"),
        last_modified=response.get("LastModified"),
        content_type=response.get("ContentType"),
        metadata={name.lower(): value for name, value in response.get("Metadata", {}).items()},
        storage_class=response.get("StorageClass") or "STANDARD",
        checksums=checksums_of(response) if response.get("ChecksumType") != "COMPOSITE" else {},
        server_time=time_of(response),
        headers=_headers(response),
    )


def written(bucket: str, key: str, size: int, response: Mapping[str, Any], options: UploadOptions) -> FileInfo:
    return FileInfo(
        bucket,
        key,
        size=size,
        etag=quoted(response.get("ETag")),
        version_id=response.get("VersionId"),
        content_type=options.content_type,
        metadata={name.lower(): value for name, value in options.metadata.items()},
        storage_class=options.storage_class or "STANDARD",
        checksums=checksums_of(response),
        server_time=time_of(response),
    )


def quoted(etag: str | None) -> str | None:
    """Return `etag` in quotes: some servers omit them in XML, so that it would not match the header's."""
    return f'"{etag}"' if etag and not etag.endswith('"') else etag


def version_of(entry: Mapping[str, Any], *, marker: bool) -> FileVersion:
    return FileVersion(
        key=required(entry, "Key"),
        version_id=entry.get("VersionId") or "null",
        is_latest=bool(entry.get("IsLatest")),
        is_delete_marker=marker,
        size=size_of(entry),
        etag=quoted(entry.get("ETag")),
        last_modified=entry.get("LastModified"),
        storage_class=entry.get("StorageClass"),
    )


def size_of(entry: Mapping[str, Any]) -> int:
    size = int(entry.get("Size") or 0)
    if size < 0:
        raise IntegrityError(f"the response is not a document of S3: it has a size of {size}")
    return size


def part_of(entry: Mapping[str, Any]) -> PartInfo:
    etag = quoted(required(entry, "ETag")) or ""
    return PartInfo(required(entry, "PartNumber"), etag, size_of(entry), checksums_of(entry))


def completed(part: PartInfo) -> dict[str, Any]:
    checksums = {f"Checksum{name.upper()}": value for name, value in part.checksums.items()}
    return {"PartNumber": part.number, "ETag": part.etag, **checksums}


def _headers(response: Mapping[str, Any]) -> dict[str, str]:
    received = response["ResponseMetadata"]["HTTPHeaders"]
    found = {header: response[name] for name, header in _HEADERS.items() if response.get(name)}
    return found | {name: received[name] for name in _FACTS if name in received}
