"""Turns S3's error responses into exceptions, by S3's code, or else by the HTTP status.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
"""

from __future__ import annotations

import re
from typing import Any

from apm_s3._hints import Advice
from apm_s3._redaction import redacted
from apm_s3.errors import (
    AccessDenied,
    BucketAlreadyExists,
    BucketAlreadyOwned,
    BucketNotEmpty,
    BucketNotFound,
    ClockSkewed,
    ConditionalConflict,
    Conflict,
    DigestRejected,
    ExpiredToken,
    InvalidCredentials,
    KmsAccessDenied,
    KmsKeyUnusable,
    KmsThrottled,
    NotConfigured,
    NotFound,
    NotModified,
    ObjectArchived,
    ObjectNotFound,
    PreconditionFailed,
    RequestRejected,
    S3Error,
    ServiceUnavailable,
    Throttled,
    UnsupportedByServer,
    UploadNotFound,
    WrongRegion,
    place,
)

_BY_S3_CODE: dict[str, type[S3Error]] = {
    code: kind
    for kind, codes in {
        BucketNotFound: ("NoSuchBucket",),
        ObjectNotFound: ("NoSuchKey", "NoSuchVersion"),
        UploadNotFound: ("NoSuchUpload",),
        AccessDenied: ("AccessDenied", "AllAccessDisabled", "AccountProblem"),
        ExpiredToken: ("ExpiredToken", "TokenRefreshRequired"),
        InvalidCredentials: ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidSecurity"),
        ClockSkewed: ("RequestTimeTooSkewed", "RequestExpired"),
        BucketAlreadyExists: ("BucketAlreadyExists",),
        BucketAlreadyOwned: ("BucketAlreadyOwnedByYou",),
        BucketNotEmpty: ("BucketNotEmpty",),
        ConditionalConflict: ("ConditionalRequestConflict", "OperationAborted"),
        PreconditionFailed: ("PreconditionFailed",),
        NotModified: ("NotModified",),
        WrongRegion: (
            "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
        ),
        ObjectArchived: ("InvalidObjectState",),
        UnsupportedByServer: ("NotImplemented",),
        Throttled: (
            "SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException", "RequestLimitExceeded",
            "BandwidthLimitExceeded", "TooManyRequests",
        ),
        ServiceUnavailable: ("RequestTimeout", "InternalError", "ServiceUnavailable"),
        DigestRejected: ("BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"),
        NotConfigured: (
            "NoSuchLifecycleConfiguration", "NoSuchBucketPolicy", "NoSuchTagSet", "NoSuchTagSetError",
            "NoSuchConfiguration", "NoSuchCORSConfiguration", "NoSuchWebsiteConfiguration",
            "NoSuchPublicAccessBlockConfiguration", "NoSuchObjectLockConfiguration",
            "ObjectLockConfigurationNotFoundError", "OwnershipControlsNotFoundError",
            "ReplicationConfigurationNotFoundError", "ServerSideEncryptionConfigurationNotFoundError",
        ),
    }.items()
    for code in codes
}  # fmt: skip

_BY_KMS_CODE: dict[str, type[S3Error]] = {
    "AccessDenied": KmsAccessDenied,
    "Disabled": KmsKeyUnusable,
    "NotFound": KmsKeyUnusable,
    "InvalidState": KmsKeyUnusable,
    "InvalidKeyUsage": KmsKeyUnusable,
    "KeyUnavailable": ServiceUnavailable,
    "DependencyTimeout": ServiceUnavailable,
    "Internal": ServiceUnavailable,
    "Throttling": KmsThrottled,
    "LimitExceeded": KmsThrottled,
}
"""S3 passes on errors of KMS as "KMS." and the exception's name: https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html."""

_KMS_DENIES = re.compile(r"\bkms:[A-Z]\w+|The ciphertext refers to a customer master key")
"""What a denial by KMS says: the action, or, without the permission to learn of the key, this sentence."""

_BY_STATUS: dict[int, type[S3Error]] = {
    304: NotModified,
    401: AccessDenied,
    403: AccessDenied,
    404: NotFound,
    408: ServiceUnavailable,
    409: Conflict,
    412: PreconditionFailed,
    429: Throttled,
    501: UnsupportedByServer,
}

_REGION = re.compile(r"[A-Za-z0-9-]{1,63}", re.ASCII)
"""A region becomes part of a host name."""


def s3_error(
    *,
    operation: str,
    status: int,
    s3_code: str = "",
    message: str = "",
    bucket: str | None = None,
    key: str | None = None,
    **facts: Any,
) -> S3Error:
    """Return the exception for an error response, by S3's code, or else by the HTTP status.

    `facts` are the other attributes of `S3Error`. The response to a HEAD has no body, so no code: its 404 is a plain
    `NotFound`, which the operations layer resolves to the bucket or the key.
    Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
    """
    if facts.get("region") and not _REGION.fullmatch(facts["region"]):
        facts["region"] = None
    kind = _kms_kind(s3_code, message) or _BY_S3_CODE.get(s3_code)
    if kind is None:
        if status in (301, 302, 307, 308) or (status == 400 and facts.get("region")):
            kind = WrongRegion
        elif status >= 500 and status != 501:
            kind = ServiceUnavailable
        else:
            kind = _BY_STATUS.get(status, RequestRejected)
    elif kind is ServiceUnavailable and status == 503 and "reduce your request rate" in message.lower():
        kind = Throttled
    if kind is WrongRegion and not facts.get("region"):
        facts.setdefault(
            "hint",
            Advice.FOREIGN_REDIRECT(),
        )
    if kind is AccessDenied:
        facts.setdefault("hint", _why_denied(operation, named=bool(s3_code)))
    return kind(
        _problem(kind, bucket, key, s3_code, message),
        operation=operation,
        bucket=bucket,
        key=key,
        status=status,
        s3_code=s3_code,
        **facts,
    )


def _why_denied(operation: str, *, named: bool) -> str:
    """Return what to check after a denial: the permission that `operation` needs, and policies that may deny it.

    Args:
        named: whether S3 named a reason; then it knows the credentials.
    """
    permission, denied = next((row[1:] for row in _PERMISSIONS if row[0].match(operation)), ("this", ""))
    check = "" if named else "the response does not say why: check the access key id and its secret, then "
    allowed = f"that the IAM policy allows {permission} and no bucket policy denies it"
    listing = "; without s3:ListBucket, S3 also denies a key that does not exist" if "Get" in permission else ""
    return Advice.DENIED(allowed=f"{check or 'check '}{allowed}", denied=f"{denied}plain HTTP", listing=listing)


_PERMISSIONS = (
    (re.compile("upload|put_object|create_multipart|probe_checksums|abort"), "s3:PutObject",
     "uploads with another encryption, which servers that ignore conditions apply to all uploads, and "),
    (re.compile("copy|move"), "s3:PutObject, for the source s3:GetObject, and to move s3:DeleteObject", ""),
    (re.compile("delete_file|delete_object|delete_prefix"), "s3:DeleteObject, for versions s3:DeleteObjectVersion",
     "in production the removal of versions without MFA, and "),
    (re.compile("set_setting|ensure_|create_|put_bucket|delete_bucket"), "this change of the bucket",
     "in production changes of protections without MFA, and "),
    (re.compile("list_versions"), "s3:ListBucketVersions", ""),
    (re.compile("list_upload"), "s3:ListBucketMultipartUploads", ""),
    (re.compile("list_file|list_object|head_bucket|explain_head|bucket_exists"), "s3:ListBucket", ""),
    (re.compile("get_file_tags|get_object_tagging"), "s3:GetObjectTagging", ""),
    (re.compile("read|get_file|head|download|file_exists|get_object"), "s3:GetObject", ""),
)  # fmt: skip
"""Beginnings of operations, the permission that S3 asks for, and what our own policy denies of it.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""


def _kms_kind(s3_code: str, message: str) -> type[S3Error] | None:
    """Return the exception for an error of KMS, or None for any other error."""
    if s3_code.startswith("KMS"):
        exception = s3_code.removeprefix("KMS").removeprefix(".").removeprefix("KMS").removesuffix("Exception")
        return _BY_KMS_CODE.get(exception)
    if s3_code == "AccessDenied" and _KMS_DENIES.search(message):
        return KmsAccessDenied
    if s3_code in {"ThrottlingException", "Throttling", "SlowDown"} and "KMS" in message:
        return KmsThrottled
    return None


def _problem(kind: type[S3Error], bucket: str | None, key: str | None, s3_code: str, message: str) -> str:
    where = place(bucket, key)
    match kind.__name__:
        case "BucketNotFound":
            return f"bucket '{bucket}' does not exist"
        case "ObjectNotFound":
            return f"'{key}' does not exist in bucket '{bucket}'"
        case "NotFound":
            return f"{where} was not found"
        case "AccessDenied":
            # AWS names the user, the action and the kind of policy.
            told = f": {redacted(message).rstrip('.')}" if "is not authorized to perform" in message else ""
            return f"S3 denies access to {where}{told}"
        case "BucketAlreadyExists":
            return f"bucket '{bucket}' already exists and belongs to another account"
        case "BucketAlreadyOwned":
            return f"bucket '{bucket}' already exists and is yours"
        case "PreconditionFailed":
            return f"a condition did not hold for {where}"
        case "NotModified":
            return f"{where} has not changed"
        case "ObjectArchived":
            return f"{where} is archived and cannot be read now"
    # S3's message can quote what was signed, including the session token, so only the codes are safe to show.
    said = redacted(message).strip().rstrip(".") if message and not issubclass(kind, InvalidCredentials) else ""
    return f"{where}: {said or s3_code or kind.__name__}"
