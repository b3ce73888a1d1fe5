"""Converts our options to boto3's parameters. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from apm_s3._wire.sigv4 import encode_tags

if TYPE_CHECKING:
    from apm_s3.options import CopyOptions, DeleteOptions, ListOptions, ReadOptions, UploadOptions


def read_parameters(options: ReadOptions) -> dict[str, Any]:
    """Return the parameters of GetObject and HeadObject."""
    parameters = _given(
        {
            "IfMatch": options.if_match,
            "IfNoneMatch": options.if_none_match,
            "IfModifiedSince": options.if_modified_since,
            "IfUnmodifiedSince": options.if_unmodified_since,
            "VersionId": options.version_id,
            "ExpectedBucketOwner": options.expected_bucket_owner,
        }
    )
    if options.range is not None:
        start, stop = options.range
        parameters["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
    return parameters | _customer_key(options.sse_customer_key) | _payer(options.requester_pays)


def checked_read_parameters(options: ReadOptions) -> dict[str, Any]:
    """Return the parameters of a read whose body is verified. S3 sends checksums of whole objects, if asked."""
    parameters = read_parameters(options)
    if options.range is None:
        parameters["ChecksumMode"] = "ENABLED"
    return parameters


def tags_parameters(options: ReadOptions) -> dict[str, Any]:
    """Return the parameters of GetObjectTagging."""
    parameters = _given({"VersionId": options.version_id, "ExpectedBucketOwner": options.expected_bucket_owner})
    return parameters | _payer(options.requester_pays)


def upload_parameters(options: UploadOptions) -> dict[str, Any]:
    """Return the parameters of PutObject and CreateMultipartUpload."""
    legal_hold = None if options.legal_hold is None else ("ON" if options.legal_hold else "OFF")
    parameters = _given(
        {
            "ContentType": options.content_type,
            "Metadata": dict(options.metadata) or None,
            "Tagging": encode_tags(options.tags) or None,
            "StorageClass": options.storage_class,
            "CacheControl": options.cache_control,
            "ContentDisposition": options.content_disposition,
            "ContentEncoding": options.content_encoding,
            "ContentLanguage": options.content_language,
            "Expires": options.expires,
            "IfMatch": options.if_match,
            "IfNoneMatch": options.if_none_match,
            "ServerSideEncryption": options.encryption,
            "SSEKMSKeyId": options.kms_key_id,
            "BucketKeyEnabled": options.bucket_key,
            "ObjectLockMode": options.object_lock_mode,
            "ObjectLockRetainUntilDate": options.retain_until,
            "ObjectLockLegalHoldStatus": legal_hold,
        }
    )
    return parameters | part_parameters(options)


def part_parameters(options: UploadOptions) -> dict[str, Any]:
    """Return the parameters of UploadPart, CompleteMultipartUpload and ListParts."""
    return access_parameters(options) | _customer_key(options.sse_customer_key)


def access_parameters(options: UploadOptions | ListOptions | DeleteOptions) -> dict[str, Any]:
    """Return the parameters of every request: the expected owner of the bucket, and who pays."""
    return _given({"ExpectedBucketOwner": options.expected_bucket_owner}) | _payer(options.requester_pays)


def delete_parameters(options: DeleteOptions) -> dict[str, Any]:
    """Return the parameters of DeleteObject (but its version id) and DeleteObjects."""
    return _given(
        {
            "MFA": options.mfa,
            "IfMatch": options.if_match,
            "BypassGovernanceRetention": options.bypass_governance or None,
        }
    ) | access_parameters(options)


def copy_parameters(source_bucket: str, source_key: str, options: CopyOptions) -> dict[str, Any]:
    """Return the parameters of CopyObject."""
    replaced: dict[str, Any] = {}
    if options.replace is not None:
        replaced = upload_parameters(options.replace)
        replaced["MetadataDirective"] = "REPLACE"
        replaced["TaggingDirective"] = "REPLACE"
    return (
        replaced
        | _given(
            {
                "StorageClass": options.storage_class,
                "IfMatch": options.if_match,
                "IfNoneMatch": options.if_none_match,
                "ServerSideEncryption": options.encryption,
                "SSEKMSKeyId": options.kms_key_id,
            }
        )
        | copy_part_parameters(source_bucket, source_key, options)
    )


def copy_part_parameters(source_bucket: str, source_key: str, options: CopyOptions) -> dict[str, Any]:
    """Return the parameters of UploadPartCopy."""
    source = {"Bucket": source_bucket, "Key": source_key}
    if options.source_version_id is not None:
        source["VersionId"] = options.source_version_id
    return (
        _given(
            {
                "CopySource": source,
                "CopySourceIfMatch": options.source_if_match,
                "CopySourceIfNoneMatch": options.source_if_none_match,
                "ExpectedBucketOwner": options.expected_bucket_owner,
                "ExpectedSourceBucketOwner": options.expected_source_bucket_owner,
            }
        )
        | _customer_key(options.sse_customer_key)
        | _customer_key(options.source_sse_customer_key, "CopySource")
        | _payer(options.requester_pays)
    )


def list_parameters(options: ListOptions) -> dict[str, Any]:
    """Return the parameters of ListObjectsV2; ListObjectVersions has no start_after and no token."""
    return _given(
        {
            "Prefix": options.prefix or None,
            "Delimiter": options.delimiter,
            "MaxKeys": options.max_keys,
            "StartAfter": options.start_after,
            "ContinuationToken": options.token,
        }
    ) | access_parameters(options)


def check_unicode(value: Any) -> None:
    """Check parameters for lone surrogates, with which the layers of botocore fail in different ways.

    Raises:
        UnicodeEncodeError: there is a lone surrogate.
    """
    if isinstance(value, str):
        if not value.isascii():
            value.encode()
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            check_unicode(name)
            check_unicode(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            check_unicode(inner)


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


def _customer_key(key: bytes | None, prefix: str = "") -> dict[str, Any]:
    # botocore adds the key's base64 form and its MD5.
    return {} if key is None else {f"{prefix}SSECustomerAlgorithm": "AES256", f"{prefix}SSECustomerKey": key}


def _payer(requester_pays: bool) -> dict[str, Any]:
    return {"RequestPayer": "requester"} if requester_pays else {}
