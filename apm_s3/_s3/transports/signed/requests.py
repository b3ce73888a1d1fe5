"""Converts our options to S3's headers and queries, names in lower case. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from apm_s3._wire import checksums
from apm_s3._wire.sigv4 import encode_path, encode_query, encode_tags
from apm_s3.errors import InvalidOption

if TYPE_CHECKING:
    from apm_s3.options import CopyOptions, DeleteOptions, ListOptions, ReadOptions, UploadOptions


DEFAULT_TYPE = "binary/octet-stream"
"""S3's default content type."""

Headers = dict[str, str]

_PLAIN = {
    "cache-control": "cache_control",
    "content-disposition": "content_disposition",
    "content-encoding": "content_encoding",
    "content-language": "content_language",
    "x-amz-storage-class": "storage_class",
    "x-amz-server-side-encryption": "encryption",
    "x-amz-server-side-encryption-aws-kms-key-id": "kms_key_id",
    "x-amz-object-lock-mode": "object_lock_mode",
    "x-amz-expected-bucket-owner": "expected_bucket_owner",
}
"""Headers whose values are options unchanged."""
_PLAIN_VALUES = attrgetter(*_PLAIN.values())
_NONE = (None,) * len(_PLAIN)


class Request(NamedTuple):
    """One request, without route, signature and body."""

    operation: str
    method: str
    bucket: str
    key: str | None
    query: str
    headers: Headers

    @property
    def where(self) -> dict[str, Any]:
        """Return what an error about this request names."""
        return {"operation": self.operation, "bucket": self.bucket, "key": self.key}

    def __repr__(self) -> str:
        # Without the headers, which have the signature, and may have a session token and a proxy's password.
        return f"Request({self.operation}: {self.method} {self.bucket}/{self.key or ''})"


_APIS = {
    ("GET", True, ""): "GetObject",
    ("GET", True, "tagging"): "GetObjectTagging",
    ("GET", True, "uploadId"): "ListParts",
    ("GET", False, "list-type"): "ListObjectsV2",
    ("GET", False, "versions"): "ListObjectVersions",
    ("GET", False, "uploads"): "ListMultipartUploads",
    ("GET", False, "object-lock"): "GetObjectLockConfiguration",
    ("HEAD", True, ""): "HeadObject",
    ("HEAD", False, ""): "HeadBucket",
    ("PUT", True, ""): "PutObject",
    ("PUT", True, "uploadId"): "UploadPart",
    ("DELETE", True, ""): "DeleteObject",
    ("DELETE", True, "uploadId"): "AbortMultipartUpload",
    ("POST", True, "uploads"): "CreateMultipartUpload",
    ("POST", True, "uploadId"): "CompleteMultipartUpload",
    ("POST", False, "delete"): "DeleteObjects",
}
"""S3's names of requests, by method, whether they have a key, and the parameter that distinguishes them."""

_TELLING = ("uploadId", "uploads", "tagging", "list-type", "versions", "object-lock", "delete")
_COPIES = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}


def api_of(call: Request) -> str:
    """Return the name that S3 gives this request ("GetObject")."""
    given = {parameter.partition("=")[0] for parameter in call.query.split("&")}
    telling = next((name for name in _TELLING if name in given), "")
    api = _APIS[call.method, call.key is not None, telling]
    return _COPIES.get(api, api) if "x-amz-copy-source" in call.headers else api


def read_headers(options: ReadOptions, *, verify: bool = True) -> Headers:
    """Return the headers of GetObject and HeadObject. S3 sends checksums of whole objects, if asked."""
    headers: Headers = {}
    if options.range is not None:
        start, stop = options.range
        headers["range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
    elif verify:
        headers["x-amz-checksum-mode"] = "ENABLED"
    if options.if_match is not None:
        headers["if-match"] = options.if_match
    if options.if_none_match is not None:
        headers["if-none-match"] = options.if_none_match
    if options.if_modified_since is not None:
        headers["if-modified-since"] = http_date(options.if_modified_since)
    if options.if_unmodified_since is not None:
        headers["if-unmodified-since"] = http_date(options.if_unmodified_since)
    if options.expected_bucket_owner is not None:
        headers["x-amz-expected-bucket-owner"] = options.expected_bucket_owner
    if options.requester_pays:
        headers["x-amz-request-payer"] = "requester"
    if options.sse_customer_key is not None:
        headers.update(_customer_key(options.sse_customer_key))
    return headers


def version_query(version_id: str | None) -> str:
    """Return the query that names a version."""
    return "" if version_id is None else encode_query([("versionId", version_id)])


def tags_query(version_id: str | None) -> str:
    """Return the query of GetObjectTagging."""
    return encode_query([("tagging", ""), *([] if version_id is None else [("versionId", version_id)])])


def upload_headers(options: UploadOptions) -> Headers:
    """Return the headers of PutObject and CreateMultipartUpload, except the conditions."""
    headers: Headers = {"content-type": options.content_type or DEFAULT_TYPE}
    values = _PLAIN_VALUES(options)
    if values != _NONE:
        headers.update((name, value) for name, value in zip(_PLAIN, values, strict=True) if value is not None)
    for name, value in options.metadata.items():
        headers[f"x-amz-meta-{name.lower()}"] = value
    if options.tags:
        headers["x-amz-tagging"] = encode_tags(options.tags)
    if options.bucket_key is not None:
        headers["x-amz-server-side-encryption-bucket-key-enabled"] = "true" if options.bucket_key else "false"
    if options.expires is not None:
        headers["expires"] = http_date(options.expires)
    if options.retain_until is not None:
        headers["x-amz-object-lock-retain-until-date"] = _utc(options.retain_until).strftime("%Y-%m-%dT%H:%M:%SZ")
    if options.legal_hold is not None:
        headers["x-amz-object-lock-legal-hold"] = "ON" if options.legal_hold else "OFF"
    if options.requester_pays:
        headers["x-amz-request-payer"] = "requester"
    if options.sse_customer_key is not None:
        headers.update(_customer_key(options.sse_customer_key))
    return headers


def condition_headers(if_match: str | None, if_none_match: str | None) -> Headers:
    """Return the headers with the conditions of a write."""
    headers: Headers = {}
    if if_match is not None:
        headers["if-match"] = if_match
    if if_none_match is not None:
        headers["if-none-match"] = if_none_match
    return headers


def owner_headers(expected_bucket_owner: str | None) -> Headers:
    """Return the headers of requests that have no other option."""
    return {} if expected_bucket_owner is None else {"x-amz-expected-bucket-owner": expected_bucket_owner}


def access_headers(options: ReadOptions | UploadOptions | ListOptions | DeleteOptions | CopyOptions) -> Headers:
    """Return the headers of every request: the expected owner of the bucket, and who pays."""
    headers = owner_headers(options.expected_bucket_owner)
    if options.requester_pays:
        headers["x-amz-request-payer"] = "requester"
    return headers


def part_headers(options: UploadOptions) -> Headers:
    """Return the headers of UploadPart, CompleteMultipartUpload and ListParts."""
    return access_headers(options) | _customer_key(options.sse_customer_key)


def _customer_key(key: bytes | None, prefix: str = "x-amz") -> Headers:
    """Return the headers of SSE-C: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html."""
    if key is None:
        return {}
    name = f"{prefix}-server-side-encryption-customer"
    return {
        f"{name}-algorithm": "AES256",
        f"{name}-key": b64encode(key).decode(),
        f"{name}-key-md5": checksums.checksum("md5", key),
    }


def delete_headers(options: DeleteOptions) -> Headers:
    """Return the headers of DeleteObject and DeleteObjects."""
    headers = access_headers(options)
    if options.mfa is not None:
        headers["x-amz-mfa"] = options.mfa
    if options.if_match is not None:
        headers["if-match"] = options.if_match
    if options.bypass_governance:
        headers["x-amz-bypass-governance-retention"] = "true"
    return headers


def copy_headers(source_bucket: str, source_key: str, options: CopyOptions) -> Headers:
    """Return the headers of CopyObject."""
    headers: Headers = {}
    if options.replace is not None:
        headers = upload_headers(options.replace)
        headers["x-amz-metadata-directive"] = headers["x-amz-tagging-directive"] = "REPLACE"
    if options.storage_class is not None:
        headers["x-amz-storage-class"] = options.storage_class
    if options.encryption is not None:
        headers["x-amz-server-side-encryption"] = options.encryption
    if options.kms_key_id is not None:
        headers["x-amz-server-side-encryption-aws-kms-key-id"] = options.kms_key_id
    headers.update(condition_headers(options.if_match, options.if_none_match))
    headers.update(source_headers(source_bucket, source_key, options))
    return headers


def source_headers(source_bucket: str, source_key: str, options: CopyOptions) -> Headers:
    """Return the headers of UploadPartCopy, which CopyObject has as well."""
    version = version_query(options.source_version_id)
    # For access points: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html.
    source = encode_path(f"{source_bucket}{'/object/' if source_bucket.startswith('arn:') else '/'}{source_key}")
    headers = {"x-amz-copy-source": f"{source}?{version}" if version else source}
    if options.source_if_match is not None:
        headers["x-amz-copy-source-if-match"] = options.source_if_match
    if options.source_if_none_match is not None:
        headers["x-amz-copy-source-if-none-match"] = options.source_if_none_match
    if options.expected_source_bucket_owner is not None:
        headers["x-amz-source-expected-bucket-owner"] = options.expected_source_bucket_owner
    if options.expected_bucket_owner is not None:
        headers["x-amz-expected-bucket-owner"] = options.expected_bucket_owner
    if options.requester_pays:
        headers["x-amz-request-payer"] = "requester"
    if options.sse_customer_key is not None:
        headers.update(_customer_key(options.sse_customer_key))
    if options.source_sse_customer_key is not None:
        headers.update(_customer_key(options.source_sse_customer_key, "x-amz-copy-source"))
    return headers


def list_query(options: ListOptions) -> str:
    """Return the query of ListObjectsV2. Keys are returned percent-encoded, because XML cannot hold all of them."""
    parameters = [("list-type", "2"), *_page(options)]
    if options.start_after is not None:
        parameters.append(("start-after", options.start_after))
    if options.token is not None:
        parameters.append(("continuation-token", options.token))
    return encode_query(parameters)


def versions_query(options: ListOptions, key_marker: str | None, version_marker: str | None) -> str:
    """Return the query of ListObjectVersions."""
    parameters = [("versions", ""), *_page(options)]
    if key_marker:
        parameters.append(("key-marker", key_marker))
    if version_marker:
        parameters.append(("version-id-marker", version_marker))
    return encode_query(parameters)


def uploads_query(prefix: str, marker: tuple[str, str] | None) -> str:
    """Return the query of ListMultipartUploads; `marker` is the (key, upload id) of the page before."""
    parameters = [("uploads", ""), ("encoding-type", "url"), ("prefix", prefix)]
    if marker is not None:
        parameters += [("key-marker", marker[0]), ("upload-id-marker", marker[1])]
    return encode_query(parameters)


def http_date(at: datetime) -> str:
    """Format an HTTP date; a time without a zone counts as UTC."""
    from email.utils import format_datetime  # noqa: PLC0415 - slow to import, and only conditions on times need it

    return format_datetime(_utc(at), usegmt=True)


def _page(options: ListOptions) -> list[tuple[str, str]]:
    parameters = [("encoding-type", "url"), ("max-keys", str(options.max_keys))]
    if options.prefix:
        parameters.append(("prefix", options.prefix))
    if options.delimiter is not None:
        parameters.append(("delimiter", options.delimiter))
    return parameters


def _utc(at: datetime) -> datetime:
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError as exc:
        raise InvalidOption(
            f"the time {at} is out of range in UTC", hint="use a time between the years 1 and 9999"
        ) from exc
